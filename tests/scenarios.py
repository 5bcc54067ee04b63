"""Golden scenarios: commands and what they must give, on the specification by hand and on real nodes.

A scenario is a text. A command stands on a line, below it a line of `----`, below that what it gives, up to an empty
line. Lines that begin with `#` between commands are for the reader.

    cluster A B C [n=3 r=2 w=2 …]     these nodes, with this configuration; the first command, and the only such one
    put A x=1 [with NAME]             a client puts at A, with the context that a get was called NAME for, or blindly
    get A x [as NAME]                 a client gets at A: each value, with its clock as the papers print it
    held x                            what each node durably holds of x, and for whom besides itself
    down C …                          these nodes die, and the others come to suspect them
    up C …                            they come back with their disks, and are trusted again
    cut A | B C                       what is sent across is lost, until
    heal

After each command everything that can arrive arrives, before time passes, and then whatever is owed is handed over to
whoever is up and not suspected; real nodes are given that time by `held`, which waits for what it must see. What a
scenario must give is rewritten only by `python -m tests.scenarios --rewrite FILE …`, from what the specification gives;
whoever does so has understood why it differs.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from impl.client import Client, MayHaveHappened, StoreError, connect
from impl.storage import open_storage
from impl.wire import CallFaults
from spec.clock import NOTHING, show_clock
from spec.events import HandOff, Suspicion
from spec.maps import Counts
from spec.messages import Failed, Found, Get, Indefinite, Operation, Put, Refused, Stored
from spec.rows import Row
from spec.siblings import Siblings, absorb
from spec.types import Config, Key, NodeId, Value
from tests.nodes import Running, running, settings_of
from tests.small import Hands, request

RULE = "----"
PATIENCE_SECONDS = 20.0


class Step(NamedTuple):
    """A command, what the reader is told before it, and what it must give."""

    line: int
    remarks: tuple[str, ...]
    command: str
    gives: str


class Target(Protocol):
    """What a scenario runs on. Contexts are whatever it gives."""

    waits: bool
    """Whether what is held may not be there yet."""

    async def begin(self, names: list[str], config: Config) -> None:
        """Start these nodes."""

    async def put(self, node: NodeId, key: Key, value: Value, context: object) -> str:
        """How it ended."""

    async def get(self, node: NodeId, key: Key) -> tuple[Siblings, object] | str:
        """What was found, and its context; or how it failed."""

    async def held(self, node: NodeId, key: Key) -> Row:
        """What a node durably holds."""

    async def down(self, nodes: list[NodeId]) -> None:
        """Let these nodes die, and the others suspect them."""

    async def up(self, nodes: list[NodeId]) -> None:
        """Let these nodes come back, and be trusted."""

    async def cut(self, sides: list[frozenset[NodeId]]) -> None:
        """Separate these sides; one side is a whole network."""


# The text.


def parse(text: str) -> list[Step]:
    """The steps of a scenario. Raises ValueError where it has another form."""
    steps: list[Step] = []
    remarks: list[str] = []
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line or line.startswith("#"):
            remarks += [line] if line else []
            continue
        if next(lines, (0, ""))[1] != RULE:
            raise ValueError(f"line {number}: a line of {RULE} has to follow `{line}`")
        gives: list[str] = []
        for _, below in lines:
            if not below:
                break
            gives.append(below)
        steps.append(Step(number, tuple(remarks), line, "\n".join(gives)))
        remarks.clear()
    if remarks:
        raise ValueError(f"line {number}: nothing comes after this remark")
    return steps


def render(steps: list[Step]) -> str:
    """The text of these steps."""
    blocks: list[str] = []
    for step in steps:
        if step.remarks:
            blocks.append("\n".join(step.remarks))
        blocks.append("\n".join([step.command, RULE, *([step.gives] if step.gives else [])]))
    return "\n\n".join(blocks) + "\n"


# Running.


class Play:
    """A scenario under way."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.nodes: list[NodeId] = []
        self.contexts: dict[str, object] = {}

    async def do(self, command: str) -> str:
        """What a command gives. Raises ValueError for one that there is not."""
        match shlex.split(command):
            case ["cluster", *words] if not self.nodes:
                names = [word for word in words if "=" not in word]
                options = dict(word.split("=", 1) for word in words if "=" in word)
                small = {"partitions": 8, "tokens": 8, "put_timeout_ms": 400, "get_timeout_ms": 400}
                self.nodes = [NodeId(name) for name in names]
                await self.target.begin(names, msgspec.convert({**small, **options}, Config, strict=False))
                return "ok"
            case ["put", node, entry, *brought] if "=" in entry and node in self.nodes:
                key, value = entry.encode().split(b"=", 1)
                seen = self.contexts[brought[1]] if brought[:1] == ["with"] else None
                return await self.target.put(NodeId(node), Key(key), Value(value), seen)
            case ["get", node, name, *called] if node in self.nodes:
                found = await self.target.get(NodeId(node), Key(name.encode()))
                if isinstance(found, str):
                    return found
                siblings, context = found
                if called[:1] == ["as"]:
                    self.contexts[called[1]] = context
                return "\n".join(told(siblings)) or "nothing"
            case ["held", name]:
                lines: list[str] = []
                for replica in self.nodes:
                    row = await self.target.held(replica, Key(name.encode()))
                    owed = f"  for {', '.join(row.owed)}" if row.owed else ""
                    lines += [f"{replica}: {version}{owed}" for version in told(row.siblings) or ["nothing"]]
                return "\n".join(lines)
            case ["down", *names] if set(names) <= set(self.nodes):
                await self.target.down([NodeId(name) for name in names])
                return "ok"
            case ["up", *names] if set(names) <= set(self.nodes):
                await self.target.up([NodeId(name) for name in names])
                return "ok"
            case ["cut", *words]:
                sides = [frozenset(map(NodeId, side.split())) for side in " ".join(words).split("|")]
                await self.target.cut(sides)
                return "ok"
            case ["heal"]:
                await self.target.cut([frozenset(self.nodes)])
                return "ok"
            case _:
                raise ValueError(f"there is no command `{command}` here")


def told(siblings: Siblings) -> list[str]:
    """Each version: its value, and its clock as the papers print it."""
    return [f"{v.value.decode()}  {show_clock(absorb(v.context, v))}" for v in siblings]


async def run(steps: list[Step], target: Target) -> list[Step]:
    """The same steps with what they give here."""
    play, done = Play(target), list[Step]()
    for step in steps:
        gives = await play.do(step.command)
        until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while target.waits and step.command.startswith("held ") and gives != step.gives:
            if asyncio.get_running_loop().time() > until:
                break
            await asyncio.sleep(0.02)
            gives = await play.do(step.command)
        done.append(step._replace(gives=gives))
    return done


# On the specification.


class Spec:
    """Nodes of the specification, driven by hand."""

    waits = False

    async def begin(self, names: list[str], config: Config) -> None:
        """Start these nodes."""
        self.hands = Hands(names, config)
        self.side_of: dict[NodeId, int] = {}
        self.asked = 0
        self.are_down: set[NodeId] = set()

    async def put(self, node: NodeId, key: Key, value: Value, context: object) -> str:
        """How it ended."""
        assert context is None or isinstance(context, Counts)
        result = self.ask(node, Put(key, value, NOTHING if context is None else context))
        assert isinstance(result, Stored | Indefinite | Failed | Refused)
        return f"stored as {result.dot}" if isinstance(result, Stored) else ended(result)

    async def get(self, node: NodeId, key: Key) -> tuple[Siblings, object] | str:
        """What was found, and its context; or how it failed."""
        result = self.ask(node, Get(key))
        if isinstance(result, Found):
            return result.siblings, result.context
        assert isinstance(result, Indefinite | Failed | Refused)
        return ended(result)

    async def held(self, node: NodeId, key: Key) -> Row:
        """What a node durably holds."""
        return self.hands.row(node, key)

    async def down(self, nodes: list[NodeId]) -> None:
        """Let these nodes die, and the others suspect them."""
        self.are_down |= set(nodes)
        self.suspect(nodes, suspected=True)

    async def up(self, nodes: list[NodeId]) -> None:
        """Let these nodes come back, suspecting who is still down, and be trusted by all that are up."""
        self.are_down -= set(nodes)
        for name in nodes:
            self.hands.restart(name)
            for other in self.are_down:
                self.hands.event(name, Suspicion(other, suspected=True))
        self.suspect(nodes, suspected=False)
        self.hand_over()

    def suspect(self, nodes: list[NodeId], *, suspected: bool) -> None:
        """Let all that are up come to suspect, or to trust, these nodes."""
        for name in self.hands.servers:
            for about in nodes:
                if name not in self.are_down and name != about:
                    self.hands.event(name, Suspicion(about, suspected))

    def hand_over(self) -> None:
        """Let everybody hand over what they owe, if not in vain."""
        for name, server in self.hands.servers.items():
            for key, row in server.disk.table.items():
                for owner in row.owed - server.node.suspected:
                    if name not in self.are_down:
                        self.hands.event(name, HandOff(owner, (key,)))
        self.deliver()

    async def cut(self, sides: list[frozenset[NodeId]]) -> None:
        """Separate these sides."""
        self.side_of = {node: i for i, side in enumerate(sides) for node in side}

    def ask(self, node: NodeId, operation: Operation) -> object:
        """Ask a node, let everything arrive that can, then let time pass."""
        self.asked += 1
        about = request(self.asked)
        self.hands.ask(node, about, operation)
        self.deliver()
        for name in self.hands.servers:
            if about in self.hands.servers[name].requests:
                self.hands.expire(name, about)
        self.deliver()
        self.hand_over()
        (result,) = self.hands.results(about)
        return result

    def deliver(self) -> None:
        self.hands.deliver(
            lambda e: e.target not in self.are_down and self.side_of.get(e.source) == self.side_of.get(e.target)
        )
        self.hands.mail.clear()


def ended(result: Indefinite | Failed | Refused) -> str:
    """How an operation ended that did not succeed."""
    return f"{type(result).__name__.lower()}: {result.reason}"


# On real nodes.


class Nodes:
    """Real nodes in this process, with files and sockets."""

    waits = True

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        """Until the stack is unwound."""
        self.directory, self.stack = directory, stack

    async def begin(self, names: list[str], config: Config) -> None:
        """Start these nodes."""
        self.settings = settings_of(self.directory, names, config)
        nodes = await self.stack.enter_async_context(running(*self.settings.values()))
        self.running = {node.settings.name: node for node in nodes}
        self.stores: dict[NodeId, Client] = {}
        for name in self.settings:
            await self.connect(name)

    async def connect(self, node: NodeId) -> None:
        """Have a client of a node."""
        store = await connect([self.settings[node].listen], attempts=1)
        self.stores[node] = await self.stack.enter_async_context(store)

    async def down(self, nodes: list[NodeId]) -> None:
        """Let these nodes end, and wait until the others suspect them."""
        for node in nodes:
            await self.running.pop(node).end()
        await self.agreed()

    async def up(self, nodes: list[NodeId]) -> None:
        """Start these nodes again, and wait until they and the others trust each other."""
        for name in nodes:
            node = self.running[name] = Running(self.settings[name])
            self.stack.push_async_callback(node.end)
            await node.ready()
            await self.connect(name)
        await self.agreed()

    async def agreed(self) -> None:
        """Wait until the nodes that run suspect those that do not, and no others."""
        down = set(self.settings) - set(self.running)
        async with asyncio.timeout(PATIENCE_SECONDS):
            for name in self.running:
                while {peer.name for peer in (await self.stores[name].status()).peers if peer.opinion.why} != down:
                    await asyncio.sleep(0.02)

    async def put(self, node: NodeId, key: Key, value: Value, context: object) -> str:
        """How it ended."""
        assert context is None or isinstance(context, str)
        return await said(lambda: self.stores[node].put(key, value, context))

    async def get(self, node: NodeId, key: Key) -> tuple[Siblings, object] | str:
        """What was found, and its context; or how it failed."""
        try:
            found = await self.stores[node].get(key)
        except StoreError as error:
            return f"failed: {error}"
        return found.siblings, found.context

    async def held(self, node: NodeId, key: Key) -> Row:
        """What a node durably holds, by a copy of its files: while they are small, SQLite only ever appends to them."""
        copy = self.directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in self.directory.glob(f"{node}.db*"):
            shutil.copy(file, copy)
        storage = open_storage(copy / f"{node}.db")
        try:
            return storage.row(key)
        finally:
            storage.close()

    async def cut(self, sides: list[frozenset[NodeId]]) -> None:
        """Separate these sides."""
        for side in sides:
            others = tuple(sorted(frozenset(self.stores) - side))
            for node in side:
                await self.stores[node].faults(CallFaults(0, cut=others))


async def said(put: Callable[[], Awaitable[Stored]]) -> str:
    """How a put ended."""
    try:
        return f"stored as {(await put()).dot}"
    except MayHaveHappened as doubt:
        return f"indefinite: {doubt}"
    except StoreError as error:
        return f"failed: {error}"


def rewrite(file: Path) -> None:
    """Let a scenario say what the specification gives."""
    file.write_text(render(asyncio.run(run(parse(file.read_text()), Spec()))))


if __name__ == "__main__":
    if sys.argv[1:2] != ["--rewrite"]:
        raise SystemExit("usage: python -m tests.scenarios --rewrite FILE …")
    for name in sys.argv[2:]:
        rewrite(Path(name))
