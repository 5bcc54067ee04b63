"""Owners that are down or cut off, on real sockets: others stand in for them, and give them everything back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from checker.validate import examine, told
from impl.client import Client, connect
from impl.detector import Patience
from impl.recorder import export_log
from impl.settings import Settings
from impl.storage import open_storage
from impl.wire import CallFaults, Status
from spec.ring import build_ring, owners_of, walk_of
from spec.types import Config, Key, NodeId
from tests.nodes import Running, settings_of

NAMES = ["a", "b", "c", "d"]
CONFIG = Config(n=3, r=2, w=2, partitions=8, tokens=8, put_timeout_ms=2_000, get_timeout_ms=2_000)
KEY = Key(b"k")
RING = build_ring(settings_of(Path(), NAMES, CONFIG)[NodeId("a")].members, CONFIG)
COORDINATOR, LOST, OTHER, FALLBACK = walk_of(RING, KEY)
ENOUGH_SECONDS = 60.0


class Four:
    """Four nodes, each of which can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        """They are down."""
        self.logs = directory / "logs"
        self.logs.mkdir()
        made = settings_of(directory, NAMES, CONFIG, record=True)
        hasty = Patience(deviation_seconds=0.1)
        self.settings = {name: structs.replace(each, detector=hasty) for name, each in made.items()}
        self.nodes: dict[NodeId, Running] = {}
        self._clients = 0

    async def start(self, *names: NodeId) -> None:
        for name in names:
            self.nodes[name] = Running(self.settings[name])
        for name in names:
            await self.nodes[name].ready()

    async def end(self, *names: NodeId) -> None:
        for name in names:
            await self.nodes.pop(name).end()

    async def client(self, name: NodeId) -> Client:
        self._clients += 1
        return await connect([self.settings[name].listen], self.logs / f"client-{self._clients}.ndjson")

    async def faults(self, name: NodeId, wanted: CallFaults) -> None:
        async with await connect([self.settings[name].listen]) as client:
            await client.faults(wanted)

    async def until(self, name: NodeId, holds: Callable[[Status], bool]) -> Status:
        """Wait until this can be said of a node."""
        async with asyncio.timeout(ENOUGH_SECONDS), await connect([self.settings[name].listen]) as client:
            while not holds(status := await client.status()):
                await asyncio.sleep(0.02)
        return status

    async def until_suspected(self, about: NodeId) -> None:
        for name in set(self.nodes) - {about}:
            await self.until(name, lambda status: why(status, about) != "")

    async def until_settled(self) -> None:
        """Nobody that runs suspects anybody, or owes anybody anything."""
        for name in self.nodes:
            await self.until(name, lambda status: not any(p.owed or p.opinion.why for p in status.peers))

    def check_logs(self) -> None:
        """The nodes are down, and what they logged is what the specification does."""
        for name, each in self.settings.items():
            (self.logs / f"{name}.ndjson").write_bytes(b"".join(export_log(each.data)))
        report = examine(self.logs)
        assert report.problem is None, told(self.logs, report)

    def held(self, name: NodeId) -> dict[Key, tuple[list[bytes], tuple[NodeId, ...]]]:
        """What a node that is down holds: values, and to whom they are owed."""
        return held(self.settings[name])


def why(status: Status, about: NodeId) -> str:
    """Why a node suspects another; empty if it does not."""
    return next(peer.opinion.why for peer in status.peers if peer.name == about)


def owes(status: Status, owner: NodeId) -> int:
    return next(peer.owed for peer in status.peers if peer.name == owner)


def held(settings: Settings) -> dict[Key, tuple[list[bytes], tuple[NodeId, ...]]]:
    storage = open_storage(settings.data)
    rows = {key: ([bytes(v.value) for v in row.siblings], tuple(row.owed)) for key, row in storage.rows()}
    storage.close()
    return rows


def test_an_owner_that_is_down_is_stood_in_for_and_gets_everything_when_it_returns(tmp_path: Path) -> None:
    """Meanwhile its fallback is stopped and started: hints are as durable as what they are about."""

    async def main() -> None:
        four = Four(tmp_path)
        await four.start(*map(NodeId, NAMES))
        try:
            await four.until_settled()
            await four.end(LOST)
            await four.until_suspected(LOST)
            async with await four.client(COORDINATOR) as client:
                await client.put(KEY, b"1")
                assert (await client.get(KEY)).values == (b"1",)
            status = await four.until(FALLBACK, lambda status: owes(status, LOST) == 1)
            assert why(status, LOST) == "connection refused"
            await four.end(FALLBACK)
            assert four.held(FALLBACK) == {KEY: ([b"1"], (LOST,))}
            await four.start(FALLBACK)
            await four.until(FALLBACK, lambda status: owes(status, LOST) == 1)
            await four.until_suspected(LOST)
            async with await four.client(OTHER) as client:
                await client.put(KEY, b"2", (await client.get(KEY)).context)
            await four.start(LOST)
            await four.until_settled()
        finally:
            await four.end(*four.nodes)
        for name in owners_of(RING, KEY, 3):
            assert four.held(name) == {KEY: ([b"2"], ())}
        assert four.held(FALLBACK) == {}, "what was handed over is let go of"
        four.check_logs()

    asyncio.run(main())


@pytest.mark.parametrize("muted", [False, True])
def test_an_owner_that_is_cut_off_is_suspected_for_its_silence_and_gets_everything_after_it(
    muted: bool, tmp_path: Path
) -> None:
    """Cut off in both directions, or not heard while it hears."""

    async def main() -> None:
        four = Four(tmp_path)
        await four.start(*map(NodeId, NAMES))
        try:
            await four.until_settled()
            others = tuple(sorted(set(map(NodeId, NAMES)) - {LOST}))
            await four.faults(LOST, CallFaults(0, mute=others) if muted else CallFaults(0, cut=others))
            await four.until_suspected(LOST)
            async with await four.client(COORDINATOR) as client:
                await client.put(KEY, b"1")
                assert (await client.get(KEY)).values == (b"1",)
            status = await four.until(FALLBACK, lambda status: owes(status, LOST) == 1)
            assert why(status, LOST) == "silent"
            await four.faults(LOST, CallFaults(0))
            await four.until_settled()
        finally:
            await four.end(*four.nodes)
        for name in owners_of(RING, KEY, 3):
            assert four.held(name) == {KEY: ([b"1"], ())}
        assert four.held(FALLBACK) == {}
        four.check_logs()

    asyncio.run(main())
