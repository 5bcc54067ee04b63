"""One of three nodes is killed under load and comes back: what clients notice, and how soon it has everything again.

64 clients put, each key once, with W=2. The figures are printed; what is asserted is what was promised: nothing fails
but what was in flight when the node died, and what it is owed is handed over within ten seconds of its return.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median

import pytest

from impl.client import Client, MayHaveHappened, OperationFailed
from impl.local import open_cluster
from impl.storage import open_storage
from spec.types import Config, Key

CLIENTS = 64
BEFORE_SECONDS, AWAY_SECONDS, AFTER_SECONDS = 3.0, 8.0, 3.0
DRAIN_SECONDS = 10.0


class Putters:
    """Clients that put, one put after the other."""

    def __init__(self) -> None:
        self.killed_at = self.stop_at = float("inf")
        self.stored: dict[bytes, float] = {}
        """When each key's put succeeded."""
        self.failed: list[tuple[float, str]] = []
        """When each put that did not succeed began, and what was said of it."""

    async def put(self, store: Client, name: int) -> None:
        number = 0
        while time.monotonic() < self.stop_at:
            number += 1
            key, began = b"%d-%d" % (name, number), time.monotonic()
            try:
                await store.put(key, key * 10)
                self.stored[key] = time.monotonic()
            except (MayHaveHappened, OperationFailed) as error:
                self.failed.append((began, str(error)))

    def rate(self, since: float, until: float) -> float:
        """The median over the seconds in between of puts that succeeded."""
        seconds = range(max(1, int(until - since)))
        return median(sum(since + s <= at < since + s + 1 for at in self.stored.values()) for s in seconds)


@pytest.mark.deep
def test_a_node_is_killed_under_load_and_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = open_cluster(tmp_path / "cluster", 3, Config(w=2))
        putters = Putters()
        async with cluster:
            stores = [await cluster.client("ab"[i % 2], attempts=1) for i in range(CLIENTS)]
            began = time.monotonic()
            tasks = [asyncio.create_task(putters.put(store, i)) for i, store in enumerate(stores)]
            await asyncio.sleep(BEFORE_SECONDS)
            putters.killed_at = killed = time.monotonic()
            await cluster.kill("c")
            await asyncio.sleep(AWAY_SECONDS)
            returned = time.monotonic()
            hints = await cluster.owed_to("c")
            await cluster.start("c")
            serves = time.monotonic()
            while await cluster.owed_to("c"):
                await asyncio.sleep(0.05)
            drained = time.monotonic()
            await asyncio.sleep(AFTER_SECONDS)
            putters.stop_at = time.monotonic()
            await asyncio.gather(*tasks)
            while await cluster.owed_to("c"):
                await asyncio.sleep(0.05)
            for store in stores:
                await store.close()
            await cluster.stop()
        print(
            f"\nputs a second: {putters.rate(began, killed):.0f} before, {putters.rate(killed, returned):.0f} while it"
        )
        rates = [putters.rate(*span) for span in ((began, killed), (killed, returned), (drained, putters.stop_at))]
        print("\nputs a second: {:.0f} before, {:.0f} while it was away, {:.0f} after;".format(*rates))
        print(f"{hints:,} hints when it was started; it had everything")
        print(f"{drained - returned:.1f} s after its start ({drained - serves:.1f} s after it served);")
        print(f"{len(putters.stored):,} puts succeeded, {len(putters.failed)} did not: {putters.failed[:3]}")
        late = [(at - killed, said) for at, said in putters.failed if at > killed]
        assert not late, f"{len(late)} puts that began after the kill did not succeed: {late[:3]}"
        assert len(putters.failed) <= CLIENTS
        assert drained - returned <= DRAIN_SECONDS
        storage = open_storage(cluster.data("c"))
        missing = [key for key in putters.stored if not storage.row(Key(key)).siblings]
        storage.close()
        assert not missing, f"{len(missing)} of {len(putters.stored)} keys are not at the node that was away"

    asyncio.run(main())
