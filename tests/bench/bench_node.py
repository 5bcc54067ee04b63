"""What nodes do in a second, beside what the machine could do in the same minute.

Three node processes, n=3, r=w=2, 100-byte values, 20,000 keys, synchronous=FULL; clients are closed loops with a
connection each, in processes of their own (`tests.bench.load`). A put is one over what is there, with the context of a
get. Three things take turns, because a machine that is shared is never the same twice: nodes without recording, nodes
with it, and the same messages and commits without a specification (`tests.bench.echo`); then come the storage alone and
`step` alone. Throughput says what this machine did at that moment; what lasts is the CPU that an operation takes and
the ratios between neighbours. Run as `pytest -m bench -s tests/bench/test_node_bench.py` or
`python -m tests.bench.bench_node [rounds] [seconds] [plot.svg]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from impl.local import free_ports, node_names, open_cluster
from impl.storage import CHECKPOINT_PAGES
from spec.clock import NOTHING
from spec.events import Deliver, Event, Invoke, StorageWrite, WriteDisk, request_of
from spec.messages import Answer, Get, Put, Written
from spec.node import step
from spec.ring import Member, build_ring
from spec.rows import NO_ROW, Disk, Row
from spec.siblings import NO_VERSIONS
from spec.state import Node, Request
from spec.types import ClientId, Config, Key, Limits, NodeId, RequestId, Value
from tests.bench.load import Kind, Load, Measured, key_of
from tests.bench.plot import Panel, svg

KEYS, VALUE_BYTES, CLIENTS = 20_000, 100, (1, 8, 64)
PUT_KEYS = {1: 2_000, 8: 8_000, 64: KEYS}
"""How many keys the puts of so many clients have, each to be put once."""

Subject = Literal["node", "recording", "echo"]
TICKS = os.sysconf("SC_CLK_TCK")


class Store(NamedTuple):
    """Three processes that serve."""

    addresses: list[str]
    processes: list[int]


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


@contextlib.asynccontextmanager
async def cluster(directory: Path, record: bool) -> AsyncIterator[Store]:
    """Three nodes."""
    nodes = open_cluster(directory, 3, Config(), record=record)
    async with nodes:
        processes = [process.pid for process in nodes._processes.values()]
        yield Store(nodes.addresses(), processes)


@contextlib.asynccontextmanager
async def echoes(directory: Path) -> AsyncIterator[Store]:
    """Three processes without a specification."""
    directory.mkdir()
    names = node_names(3)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(3)]
    peers = [f"{name}={address}" for name, address in zip(names, addresses, strict=True)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.echo", name, str(directory / f"{name}.db"), *peers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n", "an echo did not start"
        yield Store(addresses, [process.pid for process in processes])
    finally:
        for process in processes:
            process.communicate()


def cpu_seconds(process: int) -> float:
    """What a process has spent so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(store: Store, kind: Kind, clients: int, keys: int, seconds: float, every: int = 1) -> Figures:
    """Put so many clients, in one process or two, on a store and so many keys, or every so many-th of them."""
    parts = 1 if clients < 8 else 2
    loads = [
        Load(
            kind,
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
    before = sum(map(cpu_seconds, store.processes))
    told = at_once(running)
    spent = sum(map(cpu_seconds, store.processes)) - before
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


# The whole comparison.


Findings: TypeAlias = dict[tuple[Subject, Kind, int], list[Figures]]
"""What was measured of whom, doing what, for so many clients; a measurement for each round."""


async def compare(rounds: int, seconds: float, say: Callable[[str], None]) -> Findings:
    """Measure everything and print the tables."""
    with tempfile.TemporaryDirectory(prefix="ringspec-bench-") as name:
        directory = Path(name)
        async with (
            cluster(directory / "node", False) as node,
            cluster(directory / "recording", True) as recording,
            echoes(directory / "echo") as echo,
        ):
            stores: dict[Subject, Store] = {"node": node, "recording": recording, "echo": echo}
            for store in stores.values():
                await asyncio.to_thread(measure, store, "fill", 64, KEYS, 3600.0)
            say(f"{'':>15}{'clients':>8}{'ops/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'CPU ms/op':>11}{'load ms/op':>11}"
                f"{'cores':>7}{'machine':>9}")  # fmt: skip
            found: Findings = {}
            for number in range(rounds):
                for clients in CLIENTS if number == 0 else CLIENTS[-1:]:
                    for kind in kinds():
                        for subject, store in stores.items():
                            keys = PUT_KEYS[clients] if kind == "put" else KEYS
                            measured = await asyncio.to_thread(measure, store, kind, clients, keys, seconds)
                            found.setdefault((subject, kind, clients), []).append(measured)
                            say(line(f"{subject} {kind}", clients, measured))
            say("")
            for kind in kinds():
                say(ratios(kind, {s: found[s, kind, CLIENTS[-1]] for s in stores}))
    say("")
    for text in (*storage_alone(), *step_alone(), *others()):
        say(text)
    return found


def panels(found: Findings) -> Iterator[Panel]:
    """Throughput and the slowest of a hundred, against the number of clients."""
    for title, number in (("operations per second", "per_second"), ("99th percentile, ms", "p99_ms")):
        for kind in kinds():
            lines: dict[str, dict[str, list[float]]] = {}
            for (subject, what, clients), measured in found.items():
                if what == kind:
                    lines.setdefault(subject, {})[str(clients)] = [getattr(f, number) for f in measured]
            yield Panel(f"{kind}s: {title}", "clients", lines)


def kinds() -> Iterator[Kind]:
    """What is measured."""
    yield "get"
    yield "put"


def line(what: str, clients: int, f: Figures) -> str:
    """One measurement."""
    return (
        f"{what:>15}{clients:>8}{f.per_second:>9,.0f}{f.p50_ms:>8.1f}{f.p99_ms:>8.1f}{f.cpu_ms:>11.3f}"
        f"{f.load_cpu_ms:>11.3f}{f.busy:>7.2f}{os.getloadavg()[0]:>9.1f}"
    )


def ratios(kind: Kind, found: dict[Subject, list[Figures]]) -> str:
    """Medians over the rounds: of throughput, of CPU, and of what a round says of neighbours."""

    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    def over(a: Subject, b: Subject) -> str:
        rates = median([x.per_second / y.per_second for x, y in zip(found[a], found[b], strict=True)])
        cpus = median([y.cpu_ms / x.cpu_ms for x, y in zip(found[a], found[b], strict=True)])
        return f"{rates:.2f} ({cpus:.2f} by CPU)"

    rates = ", ".join(f"{s} {median([f.per_second for f in found[s]]):,.0f}/s" for s in found)
    shares = f"recording/node {over('recording', 'node')}, node/echo {over('node', 'echo')}"
    return f"{kind}s, {CLIENTS[-1]} clients: {rates}; {shares}"


# The storage alone.


def storage_alone(seconds: float = 2.0) -> Iterator[str]:
    """Rows that SQLite makes durable, in groups of several sizes."""
    for group in (1, 8, 64):
        with tempfile.TemporaryDirectory(prefix="ringspec-bench-") as name:
            db = sqlite3.connect(Path(name) / "rows.db", isolation_level=None)
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                db.execute(f"PRAGMA {pragma}")
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            db.execute("CREATE TABLE rows (key BLOB PRIMARY KEY, row BLOB NOT NULL) STRICT")
            chance, row = random.Random(1), b"x" * 250
            commits, cpu, started = 0, time.process_time(), time.perf_counter()
            while time.perf_counter() - started < seconds:
                rows = [(key_of(chance.randrange(KEYS)), row) for _ in range(group)]
                db.execute("BEGIN IMMEDIATE")
                db.executemany(
                    "INSERT INTO rows VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET row = excluded.row", rows
                )
                db.execute("COMMIT")
                commits += 1
            taken, spent = time.perf_counter() - started, time.process_time() - cpu
            db.close()
        rates = f"{commits / taken:>7,.0f} commits/s, {commits * group / taken:>8,.0f} rows/s"
        yield f"SQLite alone, {group:>2} rows a commit: {rates}, {1e6 * spent / commits / group:.1f} µs of CPU a row"


# The step alone.


class Table:
    """A storage that costs nothing."""

    def __init__(self) -> None:
        self._disk: Disk | None = Disk("a disk")
        self._rows: dict[Key, Row] = {}

    def disk(self) -> Disk | None:
        """As the specification asks for it."""
        return self._disk

    def row(self, key: Key) -> Row:
        """As the specification asks for it."""
        return self._rows.get(key, NO_ROW)

    def write(self, writes: Sequence[StorageWrite]) -> None:
        """What a commit would do."""
        for write in writes:
            if isinstance(write, WriteDisk):
                self._disk = write.disk
            else:
                self._rows[write.key] = write.row

    def rows_after(self, after: tuple[Key, ...], limit: int) -> tuple[tuple[Key, Row], ...]:
        later = sorted(entry for entry in self._rows.items() if not after or entry[0] > after[0])
        return tuple(later[:limit])

    def count_hints(self) -> int:
        return sum(len(row.owed) for row in self._rows.values())


class Driver:
    """A node whose steps are timed, and nothing else."""

    def __init__(self, config: Config, names: Sequence[NodeId]) -> None:
        self._table, self._requests = Table(), dict[RequestId, Request]()
        self._node = Node(names[0], config, build_ring(tuple(map(Member, names)), config), started=True, confirmed=True)
        self.spent = 0.0

    def take(self, event: Event) -> None:
        """One step."""
        about = request_of(event)
        assert about is not None
        request = self._requests.get(about)
        started = time.perf_counter()
        outcome = step(self._node, request, self._table, event)
        self.spent += time.perf_counter() - started
        self._node = outcome.node
        self._table.write(outcome.writes)
        if outcome.request is None:
            self._requests.pop(about, None)
        else:
            self._requests[about] = outcome.request


def step_alone(operations: int = 5_000) -> Iterator[str]:
    """What the steps of an operation at its coordinator cost, with so many other requests in flight."""
    names = [NodeId(name) for name in node_names(3)]
    config = Config(limits=Limits(requests_in_flight=20_000))
    for in_flight in (1, 100, 10_000):
        driver = Driver(config, names)
        for i in range(in_flight - 1):
            driver.take(Invoke(RequestId(ClientId("others"), i + 1), Get(key_of(i))))
        costs = []
        for kind in kinds():
            driver.spent = 0.0
            for i in range(operations):
                about, key = RequestId(ClientId(kind), i + 1), key_of(i)
                if kind == "get":
                    driver.take(Invoke(about, Get(key)))
                else:
                    driver.take(Invoke(about, Put(key, Value(b"x" * VALUE_BYTES), NOTHING)))
                for peer in names[1:]:
                    driver.take(Deliver(peer, Answer(about, NO_VERSIONS) if kind == "get" else Written(about)))
            costs.append(f"{kind} {1e6 * driver.spent / operations:.0f} µs")
        yield f"step alone, {in_flight:>6,} requests in flight: {', '.join(costs)}, all three steps at the coordinator"


def others() -> Iterator[str]:
    """Stores of others, where they are installed."""
    for program, name in (("etcd", "etcd"), ("redis-server", "Redis with WAIT")):
        if shutil.which(program) is None:
            yield f"{name}: {program} is not installed here, nothing to compare with"
        else:
            yield f"{name}: installed, but this benchmark does not know how to drive it yet"


def main(rounds: int = 3, seconds: float = 5.0, plot: Path | None = None) -> None:
    """Run it, and draw it if there is a file to draw to."""
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; {KEYS:,} keys, {VALUE_BYTES}-byte values")
    found = asyncio.run(compare(rounds, seconds, lambda text: print(text, flush=True)))
    if plot is not None:
        plot.write_text(
            svg(f"ringspec: 3 nodes, n=3, r=w=2, {VALUE_BYTES}-byte values, {KEYS:,} keys", [*panels(found)])
        )
        print(f"plot: {plot}")


if __name__ == "__main__":
    said = dict(zip(("rounds", "seconds", "plot"), sys.argv[1:], strict=False))
    main(int(said.get("rounds", 3)), float(said.get("seconds", 5)), Path(said["plot"]) if "plot" in said else None)
