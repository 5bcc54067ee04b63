"""Records `traces/recorded/siblings`: `python -m tests.record_run DIRECTORY`.

Three real nodes, a cut, the same key written on both sides, healed, read, reconciled. To be run again whenever the
specification decides something differently, for then the recorded run is no longer one of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path

from impl.client import MayHaveHappened
from impl.demo import get_siblings
from impl.local import open_cluster
from impl.recorder import export_log
from spec.types import Config

KEY = b"cart"


async def record(logs: Path, scratch: Path) -> None:
    """Run the nodes in one directory, leave the logs in the other."""
    config = Config(n=3, r=2, w=2, partitions=8, tokens=4, put_timeout_ms=500, get_timeout_ms=500)
    cluster = open_cluster(scratch / "cluster", 3, config, record=True, faults=True)
    async with cluster:
        async with (
            await cluster.client("a", log=logs / "client-1.ndjson", attempts=1) as first,
            await cluster.client("b", log=logs / "client-2.ndjson") as second,
        ):
            await cluster.cut(["a"], ["b", "c"])
            with contextlib.suppress(MayHaveHappened):
                await first.put(KEY, b"apples")
            await second.put(KEY, b"pears")
            await cluster.heal()
            found = await get_siblings(first, KEY, 2)
            await first.put(KEY, b"apples and pears", found.context)
            await second.get(KEY)
        await cluster.stop()
    for name in cluster.nodes:
        (logs / f"node-{name}.ndjson").write_bytes(b"".join(export_log(cluster.data(name))))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(record(target, Path(place)))
