"""A load put on a store, and what the store made of it."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import msgspec

from tests.bench.load import Kind, Load, Measured
from tests.bench.stores import Store

KEYS, VALUE_BYTES = 20_000, 100


class Figures(NamedTuple):
    """One measurement."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    """What the three processes spent on one operation, together."""
    load_cpu_ms: float
    """What the clients spent on it."""
    busy: float
    """How many cores all of that kept busy."""


def measure(store: Store, kind: Kind, clients: int, keys: int, seconds: float, every: int = 1) -> Figures:
    """Put so many clients, in one process or two, on a store and so many keys, or every so many-th of them."""
    parts = 1 if clients < 8 else 2
    loads = [
        Load(
            kind,
            store.language,
            store.addresses,
            (clients * part // parts, clients * (part + 1) // parts),
            (keys * part // parts, keys * (part + 1) // parts),
            every,
            VALUE_BYTES,
            seconds,
        )
        for part in range(parts)
    ]
    command = [sys.executable, "-m", "tests.bench.load"]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in loads]
    for process, load in zip(running, loads, strict=True):
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(load) + b"\n")
        process.stdin.flush()
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "a load did not start"
    before = store.cpu_seconds()
    told = at_once(running)
    spent = store.cpu_seconds() - before
    return figures([msgspec.json.decode(said, type=Measured) for said in told], spent)


def at_once(running: list[subprocess.Popen[bytes]]) -> list[bytes]:
    """Let all begin before any is waited for."""
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    return [process.communicate()[0] for process in running]


def figures(measured: list[Measured], spent: float) -> Figures:
    """What several loads measured together; every reply must be a success."""
    for part in measured:
        assert set(part.told) <= {"Stored", "FoundHere", "Echo"}, part.told
    latencies = sorted(latency for part in measured for latency in part.latencies_us)
    count, seconds = len(latencies), max(part.seconds for part in measured)
    clients = sum(part.cpu_seconds for part in measured)
    return Figures(
        count / seconds,
        latencies[count // 2] / 1e3,
        latencies[count * 99 // 100] / 1e3,
        1e3 * spent / count,
        1e3 * clients / count,
        (spent + clients) / seconds,
    )
