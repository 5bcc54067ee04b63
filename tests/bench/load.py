"""A load of closed-loop clients, cheap enough not to be what is measured.

Each client is one connection that asks, waits for the reply, and asks again. All of a process's clients share one
`epoll`; there is no event loop and no task. Run as a process of its own, `python -m tests.bench.load`, it takes a
`Load` as a line of JSON on standard input, prepares, says `ready`, waits for another line, and writes a `Measured` as
JSON. So that several of them, and none of their preparations, are measured together.
"""

from __future__ import annotations

import random
import secrets
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Literal

import msgspec
from msgspec import Struct

from impl.transport import parse_address
from impl.wire import LENGTH_BYTES, PROTOCOL, CallGet, CallPut, ClientHello, encode, framed
from spec.types import ClientId, Key, Value

Kind = Literal["fill", "get", "put"]


class Load(Struct, frozen=True):
    """What the clients of one process do."""

    kind: Kind
    """`fill` puts every key once; `get` gets them, again and again; `put` puts over what is there, each key once, with
    the context of a get that was made in preparation."""
    addresses: list[str]
    """Client i talks to the i-th of them, around and around."""
    clients: tuple[int, int]
    """From the first, up to but without the second."""
    keys: tuple[int, int]
    """From the first, up to but without the second."""
    every: int = 1
    """Only every so many-th of them."""
    value_bytes: int = 100
    seconds: float = 3600.0
    """How long to ask, while there are keys; each client then waits for its last reply."""


class Measured(Struct, frozen=True):
    """What became of it."""

    latencies_us: list[int]
    """Of every reply, microseconds."""
    seconds: float
    cpu_seconds: float
    """What this process spent."""
    told: dict[str, int]
    """How often each kind of reply came."""


class Told(Struct, frozen=True, gc=False):
    """What clients look at in a reply, of whatever kind."""

    type: str
    context: str | None = None


reply_decoder = msgspec.msgpack.Decoder(tuple[int, Told])


class Client:
    """One connection."""

    def __init__(self, address: str) -> None:
        """Introduced and welcome."""
        self.socket = socket.create_connection(parse_address(address))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(framed(encode(ClientHello(PROTOCOL, ClientId(secrets.token_hex(8))))))
        size = int.from_bytes(self.socket.recv(LENGTH_BYTES, socket.MSG_WAITALL))
        self.socket.recv(size, socket.MSG_WAITALL)
        self.key = Key(b"")
        self.asked_ns = 0
        self._call = 0
        self._received = b""

    def get(self, key: Key) -> None:
        """Ask for a key."""
        self._call += 1
        self._ask(key, encode(CallGet(self._call, key)))

    def put(self, key: Key, value: Value, context: str | None) -> None:
        """Put a key."""
        self._call += 1
        self._ask(key, encode(CallPut(self._call, key, value, context)))

    def _ask(self, key: Key, call: bytes) -> None:
        self.key, self.asked_ns = key, time.perf_counter_ns()
        self.socket.sendall(framed(call))

    def hear(self) -> Told | None:
        """What was told, if all of it arrived."""
        arrived = self.socket.recv(1 << 16)
        if not arrived:
            raise ConnectionError("the node closed the connection")
        self._received += arrived
        size = int.from_bytes(self._received[:LENGTH_BYTES])
        if len(self._received) < LENGTH_BYTES + size:
            return None
        call, told = reply_decoder.decode(memoryview(self._received)[LENGTH_BYTES:])
        assert call == self._call, f"a reply to call {call}, not to {self._call}: {told}"
        self._received = b""
        return told


def key_of(number: int) -> Key:
    """The name of a key."""
    return Key(b"key-%08d" % number)


class Clients:
    """All clients of one process."""

    def __init__(self, load: Load) -> None:
        """They are connected."""
        self._poll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._value = Value(secrets.token_bytes(load.value_bytes))
        self.contexts: dict[Key, str | None] = {}
        """What the latest gets said, to put with."""
        for i in range(*load.clients):
            client = Client(load.addresses[i % len(load.addresses)])
            self._clients[client.socket.fileno()] = client
            self._poll.register(client.socket, select.EPOLLIN)

    def run(self, kind: Kind, keys: Iterable[Key], seconds: float) -> Measured:
        """Ask for these keys, in this order, until there are no more or the time is over."""
        order, latencies, told = iter(keys), list[int](), Counter[str]()
        started, cpu = time.perf_counter_ns(), time.process_time()
        end = started + int(seconds * 1e9)
        waiting = sum(self._ask(client, kind, order) for client in self._clients.values())
        while waiting:
            for file, _ in self._poll.poll():
                client = self._clients[file]
                reply = client.hear()
                if reply is None:
                    continue
                now = time.perf_counter_ns()
                latencies.append((now - client.asked_ns) // 1000)
                told[reply.type] += 1
                if kind == "get":
                    self.contexts[client.key] = reply.context
                if now >= end or not self._ask(client, kind, order):
                    waiting -= 1
        return Measured(latencies, (time.perf_counter_ns() - started) / 1e9, time.process_time() - cpu, dict(told))

    def _ask(self, client: Client, kind: Kind, order: Iterator[Key]) -> bool:
        """Make the next call; whether there was one to make."""
        key = next(order, None)
        if key is None:
            return False
        if kind == "get":
            client.get(key)
        else:
            client.put(key, self._value, self.contexts.get(key))
        return True


def main() -> None:
    """One load."""
    load = msgspec.json.decode(sys.stdin.buffer.readline(), type=Load)
    keys = [key_of(number) for number in range(*load.keys, load.every)]
    random.Random(load.keys[0]).shuffle(keys)
    clients = Clients(load)
    if load.kind == "put":
        clients.run("get", keys, 3600.0)
    print("ready", flush=True)
    sys.stdin.buffer.readline()
    measured = clients.run(load.kind, cycle(keys) if load.kind == "get" else keys, load.seconds)
    sys.stdout.buffer.write(msgspec.json.encode(measured))


if __name__ == "__main__":
    main()
