"""What a node keeps in memory, and reads when it starts, does not grow with the number of its keys.

Real node processes over data files with few keys and with many, filled beforehand through the node's own storage.
Memory is what the system says of the process after every key was got, so that caches are as full as they get; what was
read is what the system counted until the node served. Time is only told: `tests/bench/bench_keys.py` measures it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from impl.local import LocalCluster, open_cluster
from impl.storage import PAGE_CACHE_KIB
from spec.types import Config, NodeId
from tests.bench.bench_keys import fill, resident_mb
from tests.bench.load import key_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells what a process holds and has read")

A = NodeId("a")
ALONE = Config(n=1, r=1, w=1)
FEW, MANY, MOST = 1_000, 100_000, 1_000_000
AT_ONCE = 1_000
"""Gets that are under way together."""

CACHES_MB = ALONE.limits.cache_bytes / 2**20 + PAGE_CACHE_KIB / 2**10
CHANGE_MB = 24
"""What memory may differ for other reasons than keys."""

READ_MB = 1
"""What may be read more before a node with more keys serves; as it is, nothing."""

LARGE_BYTES = 1_000
"""Values so large that many of them are more than the caches may hold, and the change."""


class Costs(NamedTuple):
    """What a node cost."""

    file_mb: float
    read_mb: float
    """Until it served; the program itself is part of it."""
    started_seconds: float
    resident_mb: float
    """After every key was got; 0 if none was."""


async def costs(directory: Path, keys: int, value_bytes: int, *, record: bool = False, get: bool = True) -> Costs:
    """Run a node over so many keys, for the second time."""
    nodes = open_cluster(directory, 1, ALONE, record=record)
    await asyncio.to_thread(fill, nodes.data(A), A, keys, value_bytes)
    async with nodes:  # the first run: if it records, it began the recording
        await nodes.stop()
        started = time.perf_counter()
        await nodes.start()
        seconds, read = time.perf_counter() - started, read_mb(nodes.process(A))
        if get:
            await get_all(nodes, keys, value_bytes)
        told = Costs(nodes.data(A).stat().st_size / 2**20, read, seconds, resident_mb(nodes.process(A)))
    print(f"{keys:,} keys of {value_bytes} bytes, recording {record}: {told}")
    return told


async def get_all(nodes: LocalCluster, keys: int, value_bytes: int) -> None:
    """Get every key once."""
    async with await nodes.client(A) as store:
        for first in range(0, keys, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, keys))
            found = await asyncio.gather(*(store.get(key_of(number), timeout=60) for number in numbers))
            assert [values.values for values in found] == [(number.to_bytes(value_bytes),) for number in numbers]


def read_mb(process: int) -> float:
    """What a process has read, from wherever."""
    lines = Path(f"/proc/{process}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar:")) / 2**20


@pytest.mark.first
def test_memory_is_bounded_by_the_caches_whatever_the_number_of_keys(tmp_path: Path) -> None:
    few = asyncio.run(costs(tmp_path / "few", FEW, LARGE_BYTES))
    many = asyncio.run(costs(tmp_path / "many", MANY, LARGE_BYTES))
    assert many.resident_mb - few.resident_mb < CACHES_MB + CHANGE_MB
    assert many.read_mb - few.read_mb < READ_MB, "a node that starts does not read its rows"


def test_a_recording_that_goes_on_does_not_read_all_rows(tmp_path: Path) -> None:
    few, many = (
        asyncio.run(costs(tmp_path / str(keys), keys, 100, record=True, get=False)) for keys in (FEW, MANY // 4)
    )
    assert many.read_mb - few.read_mb < READ_MB


@pytest.mark.deep
def test_a_million_keys_take_less_than_300_mb(tmp_path: Path) -> None:
    few = asyncio.run(costs(tmp_path / "few", FEW, 100))
    most = asyncio.run(costs(tmp_path / "most", MOST, 100))
    assert most.resident_mb < 300
    assert most.resident_mb - few.resident_mb < CACHES_MB + CHANGE_MB
    assert most.read_mb - few.read_mb < READ_MB
