"""Real nodes that come back under their old names without their data files, or with old copies of them."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from impl.inspection import inspect_file
from impl.local import LocalCluster, open_cluster
from impl.standing import BEAT_SECONDS
from spec.rows import Disk
from spec.types import Config, NodeId
from tests.chaos import Chaos

CONFIG = Config(partitions=8, tokens=4, put_timeout_ms=1_000, get_timeout_ms=1_000)
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
KEYS = [b"key-%d" % i for i in range(300)]


async def put_all(cluster: LocalCluster, node: NodeId, value: bytes) -> None:
    """A value, over what was there, under each key."""
    async with await cluster.client(node) as store:
        for key in KEYS:
            await store.put(key, value, (await store.get(key)).context)


async def read_all(cluster: LocalCluster, node: NodeId) -> set[tuple[bytes, ...]]:
    """What is found under any key."""
    async with await cluster.client(node) as store:
        return {tuple((await store.get(key)).values) for key in KEYS}


async def seen(cluster: LocalCluster, node: NodeId, mark: int) -> None:
    """Wait until all others have seen a mark of a node at least as high as this."""
    for other in {A, B, C} - {node}:
        async with await cluster.client(other) as store:
            while next(peer.mark for peer in (await store.status()).peers if peer.name == node) < mark:
                await asyncio.sleep(0.05)


def disk_of(cluster: LocalCluster, node: NodeId) -> Disk:
    """What a node that is down knows of itself."""
    with inspect_file(cluster.data(node)) as file:
        disk = file.about().disk
    assert disk is not None
    return disk


def test_a_node_without_its_data_file_catches_up_and_answers(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = open_cluster(tmp_path / "run", 3, CONFIG)
        async with cluster:
            await put_all(cluster, A, b"one")
            await seen(cluster, A, 1)
            await cluster.kill(A)
            before = disk_of(cluster, A)
            cluster.lose_disk(A)
            await cluster.start(A)
            await cluster.stop(B)
            assert await read_all(cluster, A) == {(b"one",)}
            await cluster.start(B)
            await put_all(cluster, A, b"two")
            await cluster.stop()
            after = disk_of(cluster, A)
            assert before.incarnation != after.incarnation
            assert (after.forgetful, len(after.lacking)) == (True, 0)

    asyncio.run(main())


def test_a_node_with_an_old_copy_of_its_data_file_catches_up_and_answers(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = open_cluster(tmp_path / "run", 3, CONFIG)
        async with cluster:
            await put_all(cluster, A, b"one")
            await cluster.kill(A)
            Chaos.copy(cluster.directory, tmp_path / "copy", A)
            before = disk_of(cluster, A)
            await cluster.start(A)
            await put_all(cluster, A, b"two")
            await seen(cluster, A, before.mark + 1)
            await cluster.kill(A)
            cluster.lose_disk(A)
            Chaos.copy(tmp_path / "copy", cluster.directory, A)
            shutil.rmtree(tmp_path / "copy")
            await cluster.start(A)
            await cluster.stop(B)
            assert await read_all(cluster, A) == {(b"two",)}
            await cluster.start(B)
            await cluster.stop()
            after = disk_of(cluster, A)
            assert before.incarnation != after.incarnation
            assert (after.forgetful, after.since, len(after.lacking)) == (True, before.births, 0)

    asyncio.run(main())


def test_a_node_says_what_it_lacks_while_another_is_down_and_one_that_is_alone_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = open_cluster(tmp_path / "run", 3, CONFIG)
        async with cluster:
            await cluster.stop(C)
            await cluster.kill(A)
            cluster.lose_disk(A)
            await cluster.start(A)
            async with await cluster.client(A) as store:
                status = await store.status()
            assert (status.confirmed, status.lacking) == (True, (C,))
            await cluster.kill(A)
            await cluster.stop(B)
            await cluster.start(A)
            async with await cluster.client(A) as store:
                status = await store.status()
                assert (status.confirmed, status.lacking) == (False, (C,))
            await cluster.start(B, C)
            until = time.monotonic() + 10 * BEAT_SECONDS
            async with await cluster.client(A) as store:
                while (status := await store.status()).lacking or not status.confirmed:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.05)

    asyncio.run(main())
