"""What a node costs against the number of keys it holds: to start, to keep in memory, and to ask.

One node process, n=r=w=1, over a data file with 10³ to 10⁶ keys of 100-byte values, synchronous=FULL. The file is
written beforehand, in no order, through the node's own storage; the rows are those that one put each would have left.
Gets go over all keys in no order, so that caches are as full as they get when the memory is read; puts go over keys
that are spread over the whole file. Run as `pytest -m bench -s tests/bench/test_node_bench.py` or
`python -m tests.bench.bench_keys [KEYS …]`.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from impl.local import node_names, open_cluster
from impl.storage import open_storage
from spec.clock import NOTHING, Actor, Dot
from spec.events import WriteDisk, WriteRow
from spec.maps import FSet
from spec.rows import Disk, Minted, Row
from spec.siblings import Version
from spec.types import ClientId, Config, NodeId, RequestId, Value
from tests.bench.load import key_of
from tests.bench.measuring import VALUE_BYTES, measure
from tests.bench.stores import store_of

SIZES = (1_000, 10_000, 100_000, 1_000_000)
CLIENTS = 64
PUTS = 5_000
"""How many keys are put, at most."""

ROWS_A_COMMIT = 5_000


def fill(path: Path, node: NodeId, keys: int, value_bytes: int = VALUE_BYTES) -> None:
    """Write the data file of a node that has put each key once."""
    numbers, disk = list(range(keys)), "a disk"
    random.Random(keys).shuffle(numbers)
    storage = open_storage(path, node)
    storage.write([WriteDisk(Disk(disk, births=keys))])
    for birth, number in enumerate(numbers, 1):
        version = Version(Dot(Actor(node, disk, birth), 1), NOTHING, Value(number.to_bytes(value_bytes)))
        minted = Minted(RequestId(ClientId("filler"), birth), 1)
        storage.write([WriteRow(key_of(number), Row(FSet.of([version]), birth, 1, (minted,)))])
        if birth % ROWS_A_COMMIT == 0:
            storage.commit()
    storage.commit()
    storage.close()


def resident_mb(process: int) -> float:
    """The memory of a process that is in use."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


async def one(keys: int, seconds: float) -> str:
    """A line: the number of keys, and what it costs."""
    with tempfile.TemporaryDirectory(prefix="ringspec-bench-") as name:
        (node,) = node_names(1)
        nodes = open_cluster(Path(name) / "node", 1, Config(n=1, r=1, w=1))
        await asyncio.to_thread(fill, nodes.data(node), NodeId(node), keys)
        size = nodes.data(node).stat().st_size / 2**20
        async with nodes:
            await nodes.stop(node)
            started = time.perf_counter()
            await nodes.start(node)
            taken = time.perf_counter() - started
            store = store_of(nodes)
            gets = await asyncio.to_thread(measure, store, "get", CLIENTS, keys, seconds)
            every = max(1, keys // PUTS)
            puts = await asyncio.to_thread(measure, store, "put", CLIENTS, keys, seconds, every)
            used = resident_mb(store.processes[0])
    return (
        f"{keys:>10,}{size:>10.0f}{taken:>10.2f}{used:>10.0f}{gets.per_second:>9,.0f}{gets.cpu_ms:>8.3f}"
        f"{gets.p99_ms:>8.1f}{puts.per_second:>9,.0f}{puts.cpu_ms:>8.3f}{puts.p99_ms:>8.1f}"
    )


def main(sizes: Sequence[int] = SIZES, seconds: float = 5.0, say: Callable[[str], None] = print) -> None:
    """Run it."""
    say(f"one node, {CLIENTS} clients, {VALUE_BYTES}-byte values")
    say(f"{'keys':>10}{'file MB':>10}{'start s':>10}{'RSS MB':>10}{'gets/s':>9}{'CPU ms':>8}{'p99 ms':>8}"
        f"{'puts/s':>9}{'CPU ms':>8}{'p99 ms':>8}")  # fmt: skip
    for keys in sizes:
        say(asyncio.run(one(keys, seconds)))


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or SIZES)
