"""Nodes for tests: real servers, files and sockets, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from impl.client import Client, connect
from impl.local import free_ports
from impl.process import serve
from impl.settings import Settings
from impl.transport import Address
from spec.ring import Member
from spec.types import Config, NodeId

SECRET = b"a secret of 16 b"
ONE = Config(n=1, r=1, w=1, partitions=8, tokens=8)
DRAIN_SECONDS = 1.0
"""How long a node that is to stop waits for what it has begun: many tests leave something that nobody answers."""
THREE = Config(n=3, r=2, w=2, partitions=8, tokens=8, put_timeout_ms=500, get_timeout_ms=500)


def settings_of(
    directory: Path, names: Sequence[str], config: Config, *, record: bool = False, faults: bool = True
) -> dict[NodeId, Settings]:
    """The settings of a cluster with these nodes, each with a data file in the directory."""
    where = {NodeId(n): Address("127.0.0.1", p) for n, p in zip(names, free_ports(len(names)), strict=True)}
    members = tuple(sorted(Member(name) for name in where))
    return {
        name: Settings(
            name,
            where[name],
            directory / f"{name}.db",
            SECRET,
            config,
            members,
            {peer: address for peer, address in where.items() if peer != name},
            record,
            faults,
            drain_seconds=DRAIN_SECONDS,
        )
        for name in where
    }


class Running:
    """One node that serves."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.said: list[str] = []
        """Each event and its fields, as `event key=value …`."""
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(serve(settings, self._hear, self.stop))

    def _hear(self, event: str, /, **about: str | int) -> None:
        self.said.append(" ".join([event, *(f"{name}={value}" for name, value in about.items())]))

    async def ready(self) -> None:
        while not any(line.startswith("listening ") for line in self.said):
            if self.task.done():
                await self.task
            await asyncio.sleep(0.002)

    def stands(self, others: set[NodeId]) -> bool:
        """Whether what it holds counts, as far as these others can help it."""
        lacking = [line.partition("=")[2] for line in self.said if line.startswith(("catching up", "caught up"))]
        unconfirmed = others and "disk confirmed" not in self.said
        return not unconfirmed and not (lacking and others & set(lacking[-1].split(", ")))

    async def end(self) -> None:
        self.stop.set()
        await self.task


@asynccontextmanager
async def running(*settings: Settings) -> AsyncIterator[list[Running]]:
    """Nodes that serve, and whose links are up, until the end of the block."""
    nodes = [Running(each) for each in settings]
    try:
        for node in nodes:
            await node.ready()
        for node in nodes:
            while not all(f"peer connected peer={p.settings.name}" in node.said for p in nodes if p is not node):
                await asyncio.sleep(0.002)
            while not node.stands({p.settings.name for p in nodes if p is not node}):
                await asyncio.sleep(0.002)
        yield nodes
    finally:
        for node in nodes:
            node.stop.set()
        await asyncio.gather(*(node.task for node in nodes))


@asynccontextmanager
async def clients(*settings: Settings) -> AsyncIterator[list[Client]]:
    """A client of each of these nodes."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(await connect([each.listen])) for each in settings]
