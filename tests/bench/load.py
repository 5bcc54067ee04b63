"""A load of closed-loop clients, cheap enough not to be what is measured.

Each client is one connection that asks, waits for the reply, and asks again. All of a process's clients share one
`epoll`; there is no event loop and no task, and calls are encoded beforehand but for their numbers. Run as a process of
its own, `python -m tests.bench.load`, it takes a `Load` as JSON on standard input and writes a `Measured` as JSON.
"""

from __future__ import annotations

import random
import secrets
import select
import socket
import sys
import time
from collections import Counter
from typing import Literal

import msgspec
from msgspec import Struct

from impl.transport import parse_address
from impl.wire import LENGTH_BYTES, PROTOCOL, CallGet, CallPut, ClientHello, Reply, encode, framed, reply_decoder
from spec.types import ClientId, Key, Value

Kind = Literal["put", "get"]


class Load(Struct, frozen=True):
    """What the clients of one process do."""

    kind: Kind
    addresses: list[str]
    """Client i talks to the i-th of them, around and around."""
    clients: int
    first: int
    """The number of the first client, so that processes share the nodes out evenly."""
    keys: int
    value_bytes: int
    seconds: float
    """How long to ask; each client then waits for its last reply."""
    each_key_once: bool = False
    """Whether to ask for every key exactly once instead, which fills a store."""


class Measured(Struct, frozen=True):
    """What became of it."""

    latencies_us: list[int]
    """Of every reply, microseconds."""
    seconds: float
    cpu_seconds: float
    """What this process spent."""
    told: dict[str, int]
    """How often each kind of reply came."""


class Client:
    """One connection."""

    def __init__(self, address: str) -> None:
        host, port = parse_address(address)
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(framed(encode(ClientHello(PROTOCOL, ClientId(secrets.token_hex(8))))))
        size = int.from_bytes(self.socket.recv(LENGTH_BYTES, socket.MSG_WAITALL))
        self.socket.recv(size, socket.MSG_WAITALL)
        self.call = 0
        self.asked_ns = 0
        self.received = b""

    def ask(self, kind: Kind, key: Key, value: Value) -> None:
        """Make the next call."""
        self.call += 1
        call = CallPut(self.call, key, value, None) if kind == "put" else CallGet(self.call, key)
        self.asked_ns = time.perf_counter_ns()
        self.socket.sendall(framed(encode(call)))

    def hear(self) -> Reply | None:
        """What arrived, if that is all of the reply."""
        arrived = self.socket.recv(1 << 16)
        if not arrived:
            raise ConnectionError("the node closed the connection")
        self.received += arrived
        size = int.from_bytes(self.received[:LENGTH_BYTES])
        if len(self.received) < LENGTH_BYTES + size:
            return None
        body, self.received = self.received[LENGTH_BYTES:], b""
        return reply_decoder.decode(body)


def key_of(number: int) -> Key:
    """The name of a key."""
    return Key(b"key-%08d" % number)


def run(load: Load) -> Measured:
    """Ask until the time is over or every key was asked for."""
    poll = select.epoll()
    chance = random.Random(load.first)
    clients: dict[int, Client] = {}
    for i in range(load.first, load.first + load.clients):
        client = Client(load.addresses[i % len(load.addresses)])
        clients[client.socket.fileno()] = client
        poll.register(client.socket, select.EPOLLIN)
    order = iter(range(load.keys)) if load.each_key_once else iter(lambda: chance.randrange(load.keys), -1)
    value = Value(chance.randbytes(load.value_bytes))
    latencies, told = list[int](), Counter[str]()
    started, cpu = time.perf_counter_ns(), time.process_time()
    end = started + int(load.seconds * 1e9)
    waiting = 0
    for client in clients.values():
        number = next(order, None)
        if number is not None:
            client.ask(load.kind, key_of(number), value)
            waiting += 1
    while waiting:
        for file, _ in poll.poll():
            client = clients[file]
            reply = client.hear()
            if reply is None:
                continue
            now = time.perf_counter_ns()
            latencies.append((now - client.asked_ns) // 1000)
            told[type(reply.told).__name__] += 1
            number = next(order, None) if load.each_key_once or now < end else None
            if number is None:
                waiting -= 1
            else:
                client.ask(load.kind, key_of(number), value)
    taken, spent = (time.perf_counter_ns() - started) / 1e9, time.process_time() - cpu
    for client in clients.values():
        client.socket.close()
    return Measured(latencies, taken, spent, dict(told))


if __name__ == "__main__":
    measured = run(msgspec.json.decode(sys.stdin.buffer.read(), type=Load))
    sys.stdout.buffer.write(msgspec.json.encode(measured))
