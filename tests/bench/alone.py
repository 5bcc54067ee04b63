"""What the parts of a node cost alone: SQLite's commits, and the step of the specification.

They are the limits of whatever is measured of nodes in the same minute (`tests.bench.bench_node`).
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from impl.local import node_names
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
from tests.bench.load import KINDS, key_of
from tests.bench.measuring import KEYS, VALUE_BYTES


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

    def rows_after(self, after: tuple[Key, ...]) -> Iterator[tuple[Key, Row]]:
        return iter(sorted(entry for entry in self._rows.items() if not after or entry[0] > after[0]))

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
        for kind in KINDS:
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
