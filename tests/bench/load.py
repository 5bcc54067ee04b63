"""A load of closed-loop clients, cheap enough not to be what is measured.

Each client (`tests.bench.talk`) asks, waits for the reply, and asks again. All of a process's clients share one
`epoll`; there is no event loop and no task. Run as a process of its own, `python -m tests.bench.load`, it takes a
`Load` as a line of JSON on standard input, prepares, says `ready`, waits for another line, and writes a `Measured` as
JSON. So that several of them, and none of their preparations, are measured together.
"""

from __future__ import annotations

import random
import secrets
import select
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Literal

import msgspec
from msgspec import Struct

from spec.types import Key, Value
from tests.bench.talk import CLIENTS, Client, Language

Kind = Literal["fill", "get", "put"]

KINDS: tuple[Kind, ...] = ("get", "put")
"""What is measured."""


class Load(Struct, frozen=True):
    """What the clients of one process do."""

    kind: Kind
    """`fill` puts every key once; `get` gets them, again and again; `put` puts over what is there, each key once, with
    the context of a get that was made in preparation."""
    language: Language
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
            client = CLIENTS[load.language](load.addresses[i % len(load.addresses)])
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
