"""Nodes find a node's door open, however many others stand before it and say nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec import structs

from spec.types import Limits, NodeId
from tests.nodes import THREE, running, settings_of

A, B = NodeId("a"), NodeId("b")
PLACES = 40


def test_strangers_who_say_nothing_keep_no_node_out(tmp_path: Path) -> None:
    """More of them than there are places, before a node comes and ever more while it does; each that has to make way
    is told so, logged and counted."""
    config = structs.replace(THREE, limits=Limits(connections=PLACES))

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], config)
        silent: list[asyncio.StreamWriter] = []

        async def come() -> None:
            while True:
                silent.append((await asyncio.open_connection(*settings[A].listen))[1])
                await asyncio.sleep(0.001)

        async with running(settings[A]) as (a,):
            coming = asyncio.create_task(come())
            while len(silent) < 2 * PLACES:
                await asyncio.sleep(0.001)
            async with running(settings[B]) as (b,):
                while "peer connected peer=a" not in b.said:
                    await asyncio.sleep(0.001)
                more = len(silent) + 2 * PLACES
                while len(silent) < more:
                    await asyncio.sleep(0.001)
                assert not any("peer disconnected" in line for line in b.said)
                assert not any("turned away" in line for line in b.said), "it was not let in at once"
            coming.cancel()
            reason = f"connection turned away reason=node a has no place left: {PLACES} others wait to say who they are"
            assert a.said.count(reason) >= PLACES
            for writer in silent:
                writer.transport.abort()

    asyncio.run(main())
