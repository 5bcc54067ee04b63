"""`kill -9`, over and over, under load: nothing that was acknowledged is ever gone.

Three node processes store every key three times (R=W=2) and record what they do. Each is killed again and again, by
itself and at the same time as the others: from outside, at any moment, or by its own hand between a commit and the
sends that wait for it. Meanwhile writers put. Some keys are written once. Others are sets that grow: a writer reads
all siblings, adds its element to their union, and puts with the context of what it read, so that an element that was
acknowledged is in some sibling of every later state, in a version itself or in one whose writer had seen it.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from checker.validate import validate
from impl.client import Client, MayHaveHappened, OperationFailed
from impl.local import LocalCluster, open_cluster
from impl.wire import CallFaults
from spec.trace import End, Line, NodeLog, Step, link
from spec.types import Config

KILLS = 51
PATIENCE_SECONDS = 10.0
"""How long a node that is to die after some commits may take to have made them, on a machine that has much to do."""

SETS = [b"set-1", b"set-2"]
CONFIG = Config(partitions=16, tokens=8, put_timeout_ms=1000, get_timeout_ms=1000)


class Load:
    """What writers did."""

    def __init__(self) -> None:
        self.once: dict[bytes, bytes] = {}
        """Keys written once, acknowledged, with their values."""
        self.elements: dict[bytes, set[bytes]] = {key: set() for key in SETS}
        """For each set the elements whose put was acknowledged."""
        self.indefinite = self.failed = 0

    async def write(self, store: Client, name: str, stop: asyncio.Event) -> None:
        """Put, on and on."""
        n = 0
        while not stop.is_set():
            n += 1
            element = f"{name}.{n}".encode()
            try:
                if n % 4:
                    await store.put(b"once-" + element, element * 10)
                    self.once[b"once-" + element] = element * 10
                else:
                    key = SETS[n // 4 % len(SETS)]
                    found = await store.get(key)
                    await store.put(key, b" ".join(sorted({element}.union(*members(found.values)))), found.context)
                    self.elements[key].add(element)
            except MayHaveHappened:
                self.indefinite += 1
            except OperationFailed:
                self.failed += 1
                await asyncio.sleep(0.05)

    @property
    def acknowledged(self) -> int:
        """How many puts were acknowledged."""
        return len(self.once) + sum(map(len, self.elements.values()))


def members(values: tuple[bytes, ...]) -> list[set[bytes]]:
    """The elements of each of these sets."""
    return [set(value.split()) for value in values]


async def keep_killing(cluster: LocalCluster, node: str, times: int, chance: random.Random) -> int:
    """Kill and restart a node; how often it died by its own hand, between commit and send."""
    own_hand = 0
    for _ in range(times):
        await asyncio.sleep(chance.uniform(0, 0.1))
        if chance.random() < 0.5:
            await cluster.faults(node, CallFaults(0, crash_after_commits=chance.randint(1, 8)))
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    assert await cluster.ended(node) == -9
                own_hand += 1
            except TimeoutError:  # writers waited for others, and there was nothing to commit
                pass
        await cluster.kill(node)
        await cluster.restart(node)
    return own_hand


def check_logs(files: list[Path]) -> None:
    """Every log is whole: chained, one run after the other, each without a gap."""
    for file in files:
        chain, last = "", (0, 0)
        entries = [msgspec.json.decode(line, type=Line) for line in file.read_bytes().splitlines()]
        for line in entries:
            chain = link(chain, line.entry)
            assert line.chain == chain
        assert isinstance(entries[0].entry, NodeLog)
        assert entries[-1].entry == End(len(entries) - 1)
        for line in entries[1:-1]:
            assert isinstance(line.entry, Step)
            at = line.entry.epoch, line.entry.seq
            assert at in ((last[0], last[1] + 1), (last[0] + 1, 1))
            last = at
        assert last[0] == 1 + KILLS // 3


@pytest.mark.first
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    chance = random.Random(7)

    async def main() -> None:
        cluster = open_cluster(tmp_path / "run", 3, CONFIG, record=True, faults=True)
        load, stop = Load(), asyncio.Event()
        nodes = cluster.nodes
        async with cluster, AsyncExitStack() as stack:
            stores = []
            for i in range(4):
                first = nodes[i % 3 :] + nodes[: i % 3]
                store = await cluster.client(*first, log=tmp_path / f"client-{i}.ndjson")
                stores.append(await stack.enter_async_context(store))
            writers = [asyncio.create_task(load.write(store, f"w{i}", stop)) for i, store in enumerate(stores)]
            own_hand = await asyncio.gather(*(keep_killing(cluster, n, KILLS // 3, chance) for n in nodes))
            stop.set()
            await asyncio.gather(*writers)
            for node in nodes:
                async with await cluster.client(node, log=tmp_path / f"reader-{node}.ndjson") as store:
                    for key, value in load.once.items():
                        assert value in (await store.get(key)).values, f"{key!r} is gone at node {node}"
                    for key, elements in load.elements.items():
                        missing = elements.difference(*members((await store.get(key)).values))
                        assert not missing, f"{missing} of {key!r} are gone at node {node}"
            await cluster.stop()
        assert load.acknowledged >= KILLS, "there was hardly any load"
        assert sum(own_hand) >= KILLS // 5, "hardly any node died between commit and send"
        print(f"{KILLS} kills, {sum(own_hand)} between commit and send; {load.acknowledged} acknowledged,", end=" ")
        print(f"{load.indefinite} may have happened, {load.failed} failed")
        check_logs(cluster.export(tmp_path))
        said: list[str] = []
        assert validate(tmp_path, say=said.append) == 0, "\n".join(said)

    asyncio.run(main())
