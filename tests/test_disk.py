"""Disks that fill and disks that fail, under real nodes: nothing acknowledged is lost, and nobody is left in doubt.

A full disk is met in three ways: SQLite is told that it has no more pages, a small file system (where tests may mount
one) runs out of room, and the system refuses to let a file grow. The first two are full disks, and pass: requests fail
definitely until there is room. The last is a write that failed, and the node stops with one line.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest

from checker.validate import examine, told
from impl import process
from impl.client import MayHaveHappened, OperationFailed, connect
from impl.local import open_cluster
from impl.recorder import export_log
from impl.settings import Settings
from impl.storage import Storage, open_storage
from spec.events import Deliver, Timeout
from spec.messages import Written
from spec.trace import Line, Step
from spec.types import Config, NodeId
from tests.nodes import running, settings_of

ONE = Config(n=1, r=1, w=1, partitions=8, tokens=8)
THREE = Config(partitions=8, tokens=8, put_timeout_ms=700, get_timeout_ms=700)
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
PLENTY_OF_PAGES = 2**31


class Disks:
    """The storages of nodes that are served in this process."""

    def __init__(self) -> None:
        self.of: dict[NodeId, Storage] = {}

    def open(self, path: Path, node: NodeId) -> Storage:
        self.of[node] = open_storage(path, node)
        return self.of[node]

    def fill(self, node: NodeId) -> None:
        self.of[node].limit_pages(1)

    def make_room(self, node: NodeId) -> None:
        self.of[node].limit_pages(PLENTY_OF_PAGES)


@pytest.fixture
def disks() -> Iterator[Disks]:
    found = Disks()
    with patch.object(process, "open_storage", found.open):
        yield found


def steps_of(settings: Settings) -> list[Step]:
    """What a node that is down has recorded."""
    lines = [msgspec.json.decode(line, type=Line).entry for line in export_log(settings.data)]
    return [entry for entry in lines if isinstance(entry, Step)]


def test_a_full_disk_fails_what_it_is_asked_and_loses_nothing(tmp_path: Path, disks: Disks) -> None:
    """Of three nodes one has a full disk: it refuses definitely, the others go on, and it does once there is room."""

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], THREE, record=True)
        logs = tmp_path / "logs"
        logs.mkdir()
        acknowledged: set[bytes] = set()
        failed: dict[bytes, str] = {}
        async with running(*settings.values()):
            full = await connect([settings[A].listen], logs / "client-a.ndjson", attempts=1)
            other = await connect([settings[B].listen], logs / "client-b.ndjson", attempts=1)
            async with full, other:
                for number in range(60):
                    if number == 10:
                        disks.fill(A)
                    if number == 40:
                        disks.make_room(A)
                    key = b"%d" % number
                    try:
                        await full.put(key, b"x" * 3000)
                        acknowledged.add(key)
                    except OperationFailed as error:
                        failed[key] = str(error)
                    await other.put(b"other-" + key, b"y" * 3000)
                    acknowledged.add(b"other-" + key)
                assert len(failed) > 20
                assert all("disk is full" in reason for reason in failed.values())
                assert max(int(key) for key in failed) < 40, "there was room again"
                for store in (full, other):
                    for key in sorted(acknowledged):
                        assert len((await store.get(key)).values) == 1, f"{key!r} was acknowledged"
                    for key in sorted(failed):
                        assert (await store.get(key)).values == (), f"{key!r} failed for good"
        for each in settings.values():
            (logs / f"{each.name}.ndjson").write_bytes(b"".join(export_log(each.data)))
        report = examine(logs, orders=0)
        assert report.problem is None, told(logs, report)

    asyncio.run(main())


def test_timers_fire_once_there_is_room_and_never_for_what_is_over(tmp_path: Path, disks: Disks) -> None:
    """Puts wait for nodes that are away, their time is up, and the disk is full: they are told when there is room.

    Then the others come back while timeouts wait for room: what is acknowledged meanwhile times out no more.
    """

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], THREE, record=True)
        async with running(settings[A]) as (a,), await connect([settings[A].listen], attempts=1) as store:
            puts = [asyncio.create_task(store.put(b"%d" % number, b"x")) for number in range(10)]
            await asyncio.sleep(0.1)
            disks.fill(A)
            fillers = [asyncio.create_task(store.put(b"fill%d" % number, b"x" * 3000)) for number in range(10)]
            await asyncio.sleep(2.0)
            assert not any(put.done() for put in puts), "nothing can be told before it is durable"
            complaints = sum("full" in line for line in a.said)
            assert 2 <= complaints < 30, f"{complaints} times the disk was found full: timers wait between attempts"
            disks.make_room(A)
            ends = await asyncio.wait_for(asyncio.gather(*puts, *fillers, return_exceptions=True), 5)
            assert all(isinstance(end, MayHaveHappened) for end in ends[:10]), ends
            assert all(isinstance(end, MayHaveHappened | OperationFailed) for end in ends[10:]), ends
            status = await store.status()
            assert status.requests == 0

            puts = [asyncio.create_task(store.put(b"late%d" % number, b"x")) for number in range(10)]
            await asyncio.sleep(0.3)
            disks.fill(A)
            fillers = [asyncio.create_task(store.put(b"more%d" % number, b"x" * 3000)) for number in range(10)]
            await asyncio.sleep(0.6)  # the timeouts have met the full disk, and will come again
            disks.make_room(A)
            async with running(settings[B], settings[C]):
                await asyncio.wait_for(asyncio.gather(*puts, *fillers, return_exceptions=True), 5)
                await asyncio.sleep(1.2)
                assert (await store.status()).requests == 0
        steps = steps_of(settings[A])
        fired = Counter(step.event.request for step in steps if isinstance(step.event, Timeout))
        assert fired
        assert set(fired.values()) == {1}, "a timer fired twice"
        assert all(step.effects for step in steps if isinstance(step.event, Timeout)), "a timer of what was over fired"
        assert any(isinstance(step.event, Deliver) and isinstance(step.event.message, Written) for step in steps)

    asyncio.run(main())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB; tests that need one are skipped where none may be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if (
        sys.platform != "linux"
        or os.geteuid() != 0
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_small_file_system_fills_and_empties(tmp_path: Path, small_disk: Path) -> None:
    """Real ENOSPC: definite failures while it is full, service when there is room, and nothing acknowledged lost."""

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        settings = msgspec.structs.replace(settings, data=small_disk / "a.db")
        acknowledged: list[bytes] = []
        reasons: set[str] = set()
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"\0" * 1024 * 1024)

        async def put(count: int) -> int:
            """How many of these puts failed."""
            failed = 0
            for _ in range(count):
                key = b"%d" % (len(acknowledged) + 1000 * failed)
                try:
                    await store.put(key, key * 2000)
                    acknowledged.append(key)
                except OperationFailed as error:
                    reasons.add(str(error).partition("the ")[2])
                    failed += 1
            return failed

        async with running(settings) as (node,), await connect([settings.listen], attempts=1) as store:
            assert await put(10) == 0
            while await put(10) < 10:
                pass
            ballast.unlink()
            assert await put(10) == 0, "there is room again"
            assert reasons == {"disk is full"}
            assert not node.task.done()
        async with running(settings), await connect([settings.listen], attempts=1) as store:
            for key in acknowledged:
                assert (await store.get(key)).values == (key * 2000,), f"{key!r} was acknowledged"

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only")
def test_a_write_that_fails_stops_the_node_with_one_line(tmp_path: Path) -> None:
    """The system refuses to let a file grow: nobody knows what is durable, so the node ends; a restart has it all."""

    async def main() -> None:
        cluster = open_cluster(tmp_path / "cluster", 1, ONE)
        acknowledged: list[bytes] = []
        doubtful = 0
        async with cluster:
            async with await connect(cluster.addresses(), attempts=1) as store:
                for number in range(1000):
                    if number == 20:
                        limit = sum(file.stat().st_size for file in cluster.directory.glob("a.db*")) + 50_000
                        pid = int(await asyncio.to_thread(pid_of, str(cluster.directory / "a.toml")))
                        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, limit))
                    key = b"%d" % number
                    try:
                        await store.put(key, key * 1000)
                        acknowledged.append(key)
                    except MayHaveHappened:
                        doubtful += 1
                        break
                    except OperationFailed:
                        break
            status = await asyncio.wait_for(cluster.ended("a"), 10)
            assert status not in (0, -9), "it stops by itself, and says that it failed"
            words = cluster.log(NodeId("a")).read_text()
            assert "outcome is unknown" in cluster.last_words("a")
            assert "Traceback" not in words
            await cluster.kill("a")  # already gone; forget it
            await cluster.restart("a")
            async with await connect(cluster.addresses(), attempts=1) as store:
                for key in acknowledged:
                    assert (await store.get(key)).values == (key * 1000,), f"{key!r} was acknowledged"
                await store.put(b"and on", b"it goes")
        assert 20 < len(acknowledged) < 1000

    asyncio.run(main())


def pid_of(argument: str) -> str:
    """The process that was started with this argument."""
    for place in Path("/proc").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile, or is none
            if place.name.isdigit() and argument.encode() in (place / "cmdline").read_bytes().split(b"\0"):
                return place.name
    raise AssertionError(f"no process has the argument {argument}")
