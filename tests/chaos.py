"""Everything at once: nodes killed, stopped and cut off, disks lost and replaced by old copies, while clients go on.

Writers work on a few shared keys and many of their own. Every put writes a value of its own, over the context of a get
or blindly; what its writer had been shown is remembered, and in the end every acknowledged write must be accounted
for: read again at every node, or superseded through a chain of writers each of whom was shown the one before. That is
`checker.stateful.Promises`, fed by real clients. The logs of nodes and clients are there to be validated as well.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random

from msgspec.structs import replace

from checker.stateful import Promises, Read, Stored, TurnedDown, Unknown
from impl.client import Client, MayHaveHappened, OperationFailed
from impl.inspection import inspect_file
from impl.local import LocalCluster, open_cluster
from impl.wire import CallFaults
from spec.types import Config, NodeId

CONFIG = Config(partitions=16, tokens=8, put_timeout_ms=500, get_timeout_ms=500)
NODES = 5
WRITERS = 6
PEACE_SECONDS = 60.0
SHARED = [b"shared-%d" % i for i in range(8)]


class Chaos:
    """One run."""

    def __init__(self, directory: Path, seed: int, *, sloppy: bool) -> None:
        """The logs will be in `directory/logs`."""
        config = replace(CONFIG, sloppy=sloppy)
        self.chance = Random(seed)
        self.logs = directory / "logs"
        self.logs.mkdir(parents=True)
        self.copies = directory / "copies"
        self.copies.mkdir()
        self.cluster: LocalCluster = open_cluster(directory / "cluster", NODES, config, record=True, faults=True)
        self.promises = Promises(config.w, reads_meet_writes=not sloppy)
        self.done = Counter[str]()
        """What happened how often."""
        self.stop = asyncio.Event()

    async def run(self, seconds: float) -> None:
        """Chaos for so long, then peace and the account."""
        async with self.cluster, AsyncExitStack() as stack:
            clients = []
            for i in range(WRITERS):
                first = self.cluster.nodes[i % NODES :] + self.cluster.nodes[: i % NODES]
                client = await self.cluster.client(*first, log=self.logs / f"writer-{i}.ndjson")
                clients.append(await stack.enter_async_context(client))
            writers = [asyncio.create_task(self.write(client, i)) for i, client in enumerate(clients)]
            evil = asyncio.create_task(self.harm())
            await asyncio.wait([evil, *writers], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            self.stop.set()
            for end in await asyncio.gather(evil, *writers, return_exceptions=True):
                if isinstance(end, BaseException):
                    raise end
            await self.account()
            await self.cluster.stop()
        self.cluster.export(self.logs)

    # Clients.

    async def write(self, store: Client, number: int) -> None:
        """Get and put, on and on."""
        chance, n = Random(self.chance.random()), 0
        while not self.stop.is_set():
            n += 1
            value = b"%d.%d" % (number, n)
            shared = chance.random() < 0.6
            key = chance.choice(SHARED) if shared else b"own-%d-%d" % (number, n // 3)
            shown: Read | None = None
            if not shared or chance.random() < 0.9:
                shown = await self.get(store, key)
                if shown is None:
                    continue
            context = shown.context if shown is not None else None
            assert context is None or isinstance(context, str)
            self.promises.asked_to_put(key, value, shown.values if shown is not None else ())
            write = self.promises.writes[value]
            try:
                await store.put(key, value, context)
                write.told = Stored()
                self.done["acknowledged"] += 1
            except MayHaveHappened as doubt:
                write.told = Unknown(str(doubt))
                self.done["may have happened"] += 1
            except OperationFailed as error:
                write.told = TurnedDown(str(error))
                self.done["failed"] += 1
                await asyncio.sleep(0.02)

    async def get(self, store: Client, key: bytes) -> Read | None:
        """What is there, checked against what was promised; None if the get failed."""
        look = self.promises.asked_to_get(key)
        try:
            found = await store.get(key)
        except OperationFailed:
            self.done["gets failed"] += 1
            await asyncio.sleep(0.02)
            return None
        read = Read(tuple(found.values), found.context)
        self.promises.check_read(look, read)
        self.done["gets"] += 1
        return read

    # Faults.

    async def harm(self) -> None:
        """One thing after another goes wrong, with one or two nodes at a time; whatever it was, it is mended."""
        while not self.stop.is_set():
            nodes = self.chance.sample(self.cluster.nodes, self.chance.choice((1, 1, 2)))
            kind = self.chance.choice(
                (self.kill, self.kill, self.freeze, self.cut, self.cut_one_way, self.disturb, self.wipe, self.restore)
            )
            if await kind(nodes) is not False:
                self.done[kind.__name__.replace("_", " ")] += 1

    async def pause(self) -> None:
        """Let it be like this for a while."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), self.chance.uniform(0.05, 0.8))

    async def kill(self, nodes: list[NodeId]) -> None:
        """`kill -9`, from outside or by their own hand between a commit and its effects."""
        if self.chance.random() < 0.5:
            for node in nodes:
                await self.cluster.faults(node, CallFaults(0, crash_after_commits=self.chance.randint(1, 20)))
            await self.pause()
        for node in nodes:
            await self.cluster.kill(node)
        await self.pause()
        await self.cluster.start(*nodes)

    async def freeze(self, nodes: list[NodeId]) -> None:
        """SIGSTOP, and later SIGCONT: connections stay, and nobody answers."""
        for node in nodes:
            self.cluster.pause(node)
        await self.pause()
        for node in nodes:
            self.cluster.resume(node)

    async def cut(self, nodes: list[NodeId]) -> None:
        """Nothing passes between these and the others."""
        await self.cluster.cut(nodes, [node for node in self.cluster.nodes if node not in nodes])
        await self.pause()
        await self.cluster.heal()

    async def cut_one_way(self, nodes: list[NodeId]) -> None:
        """What these send does not arrive; they still hear."""
        others = tuple(node for node in self.cluster.nodes if node not in nodes)
        for node in nodes:
            await self.cluster.faults(node, CallFaults(0, mute=others))
        await self.pause()
        await self.cluster.heal()

    async def disturb(self, nodes: list[NodeId]) -> None:
        """Messages are lost, repeated, late and out of order."""
        for node in nodes:
            await self.cluster.faults(node, CallFaults(0, drop=0.2, duplicate=0.2, delay_ms=100.0))
        await self.pause()
        await self.cluster.heal()

    # Disks. One at a time, and W = 2: what was acknowledged is on another disk, until it is on this one again.

    async def wipe(self, nodes: list[NodeId]) -> bool:
        """A node comes back with no data file."""
        return await self.lose_disk(nodes[0], None)

    async def restore(self, nodes: list[NodeId]) -> bool:
        """A node comes back with a copy of its data file from before; the first time there is none, and one is made."""
        node = nodes[0]
        copy = self.copies / node
        if not copy.exists():
            await self.cluster.kill(node)
            self.copy(self.cluster.directory, copy, node)
            await self.cluster.start(node)
            return False
        return await self.lose_disk(node, copy)

    async def lose_disk(self, node: NodeId, copy: Path | None) -> bool:
        """Kill a node, put the copy, or nothing, in place of its data file, and wait until it has caught up.

        Not if others have seen no later mark of it: then nobody could tell.
        """
        mark = 0
        if copy is not None:
            with inspect_file(copy / f"{node}.db") as file:
                about = file.about().disk
                assert about is not None, "it was written by a node"
                mark = about.mark
        for other in self.cluster.nodes:
            if other != node:
                seen = await self.cluster.status(other)
                if seen is None or next(peer.mark for peer in seen.peers if peer.name == node) <= mark:
                    return False
        await self.cluster.kill(node)
        self.cluster.lose_disk(node)
        if copy is not None:
            self.copy(copy, self.cluster.directory, node)
            shutil.rmtree(copy)
        await self.pause()
        await self.cluster.start(node)
        async with asyncio.timeout(PEACE_SECONDS):
            await self.cluster.caught_up(node)
        return True

    @staticmethod
    def copy(source: Path, target: Path, node: NodeId) -> None:
        """Copy the data file of a node that is down, and its write-ahead log."""
        target.mkdir(exist_ok=True)
        for file in source.glob(f"{node}.db*"):
            shutil.copyfile(file, target / file.name)

    # The account.

    async def account(self) -> None:
        """In peace every key is read at every node, and no get misses an acknowledged write.

        Under sloppy placement peace begins when nobody owes anybody anything, and nobody suspects anybody.
        """
        for node in self.cluster.nodes:
            async with asyncio.timeout(PEACE_SECONDS):
                while not await self.at_peace(node):
                    await asyncio.sleep(0.02)
        self.promises.reads_meet_writes = True
        keys = sorted({write.key for write in self.promises.writes.values()})
        for node in self.cluster.nodes:
            async with await self.cluster.client(node, log=self.logs / f"reader-{node}.ndjson") as store:
                for at in range(0, len(keys), 100):
                    reads = await asyncio.gather(*(self.get(store, key) for key in keys[at : at + 100]))
                    assert None not in reads, "a get failed in peace"

    async def at_peace(self, node: NodeId) -> bool:
        """Whether a node owes and lacks nothing, and suspects nobody; not if it cannot be asked."""
        status = await self.cluster.status(node)
        stands = status is not None and status.confirmed and not status.lacking
        return status is not None and stands and not any(peer.owed or peer.opinion.why for peer in status.peers)


def tell(done: Counter[str]) -> str:
    """What happened, in words."""
    return ", ".join(f"{count:,} × {what}" for what, count in sorted(done.items()))
