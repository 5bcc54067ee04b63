"""The explored world as a value: who is there, what they will do, what may go wrong, and how things stand.

A *scenario* bounds the world: the nodes, one key, what each client will do and whom it may ask, and how many faults of
each kind may happen. A *state* is everything there is at one moment; `spec.enabled` says what can happen in it, and
`spec.cluster` what comes of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from msgspec import Struct

from spec.clock import NOTHING, Clock, Dot
from spec.events import (
    CancelTimer,
    Event,
    Reply,
    Send,
    SetTimer,
    StorageWrite,
    Timeout,
    WriteDisk,
    WriteRow,
    request_of,
)
from spec.history import History
from spec.maps import FMap, FSet
from spec.messages import Condition, Put
from spec.network import Envelope, Network
from spec.node import step
from spec.quorum import AS_CONFIGURED_GET, AS_CONFIGURED_PUT, GetWishes, PutWishes
from spec.ring import Member, owners_of
from spec.rows import NO_ROW, Disk, Row
from spec.siblings import Siblings
from spec.state import Node, Request
from spec.types import ClientId, Config, Key, NodeId, RequestId

# The scenario.


class BlindPut(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The client writes without having read."""

    wishes: PutWishes = AS_CONFIGURED_PUT
    condition: Condition | None = None


class SeenPut(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The client writes with the context of what it was shown last."""

    condition: Condition | None = None


class ShownPut(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The same, and the client wants to be shown what there is afterwards."""


class Look(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The client reads."""

    wishes: GetWishes = AS_CONFIGURED_GET


Task: TypeAlias = BlindPut | SeenPut | ShownPut | Look


class Faults(Struct, frozen=True, order=True, cache_hash=True, kw_only=True):
    """How often each thing may still go wrong. Timeouts are not faults: they may come at any time."""

    drops: int = 0
    duplicates: int = 0
    crashes: int = 0
    cuts: int = 0
    suspicions: int = 0
    """How often a node may come to suspect another; it may always change its mind."""
    wipes: int = 0
    """How often a node may come back with an empty disk."""
    backups: int = 0
    """How often somebody may copy a disk."""
    restores: int = 0
    """How often a node may come back with such a copy in place of its disk."""


class Scenario(Struct, frozen=True, kw_only=True):
    """A bounded world to explore."""

    config: Config
    members: tuple[Member, ...]
    key: Key
    """The one key that they are all about."""
    programs: tuple[tuple[Task, ...], ...]
    """For each client, what it does, one after the other."""
    contacts: tuple[NodeId, ...]
    """Whom clients may ask."""
    faults: Faults = Faults()
    suspicious: tuple[NodeId, ...] = ()
    """Who may come to suspect others; of a node that coordinates nothing, it would only put off what it hands over."""
    losing: tuple[NodeId, ...] = ()
    """Whose disks may be lost. If nobody's, a node that restarts need not ask anybody whether its own is from the past;
    see `spec.failures`."""
    young_copies: bool = False
    """Whether copies of disks may be younger than the last mark that others saw of them."""
    patience: int = 0
    """How often each client may ask again for a put, the same node, if it does not know what came of it."""
    repeating: bool = False
    """Whether the network may deliver each message any number of times: unlimited loss and duplication."""
    keep_spent: bool = False
    """Whether messages that can change nothing any more stay in flight; see `spec.spent`."""


# The state.


class Memory(Struct, frozen=True, cache_hash=True):
    """A disk as an immutable value: the explorer's `Storage`."""

    about: Disk | None = None
    table: FMap[Key, Row] = FMap()

    def disk(self) -> Disk | None:
        """What the node knows of itself."""
        return self.about

    def row(self, key: Key) -> Row:
        """The row of a key."""
        return self.table.get(key) or NO_ROW

    def rows_after(self, after: tuple[Key, ...]) -> Iterator[tuple[Key, Row]]:
        """The next rows, by key."""
        return (entry for entry in self.table.items() if not after or entry[0] > after[0])

    def count_hints(self) -> int:
        """How many hints there are."""
        return sum(len(row.owed) for _, row in self.table.items())


class Server(Struct, frozen=True, cache_hash=True):
    """A node and its disk."""

    node: Node
    """Not started while it is down."""
    requests: FMap[RequestId, Request]
    timers: FSet[RequestId]
    """Requests whose timeout may fire."""
    disk: Memory
    backup: Memory | None = None
    """A copy of the disk that somebody made."""


class Asked(Struct, frozen=True, order=True, cache_hash=True):
    """A put that its client may ask for again."""

    node: NodeId
    put: Put


class Client(Struct, frozen=True, order=True, cache_hash=True):
    """A client between and during its operations."""

    done: int = 0
    """How many of its operations are over."""
    patience: int = 0
    """How often it may still ask again."""
    asked: Asked | None = None
    """What it is about to ask again, if it waits for nobody; else what it may come to ask again."""
    waits_for: NodeId | None = None
    context: Clock = NOTHING
    """Of what it was shown last, if its latest operation showed it anything."""
    seen: FSet[Dot] = FSet()
    """Ghost: the writes that it was shown then, and their past."""
    owed: FSet[Dot] = FSet()
    """Ghost, during a get: the writes acknowledged before it began that it has to know."""
    undeniable: FSet[Dot] = FSet()
    """Ghost, during a get: further ones, which it has to know if it is to tell that nothing is there."""
    missed: FSet[Dot] = FSet()
    """Ghost: those of them that the get did not know."""


class State(Struct, frozen=True, cache_hash=True):
    """Everything there is."""

    servers: FMap[NodeId, Server]
    clients: tuple[Client, ...]
    network: Network
    faults: Faults
    history: History


def client_id(index: int) -> ClientId:
    """The name of a client of a scenario."""
    return ClientId(f"client{index + 1}")


def owners_asked(scenario: Scenario, state: State) -> tuple[NodeId, ...]:
    """The owners of the key that clients ask for."""
    return owners_of(state.servers.entries[0][1].node.ring, scenario.key, scenario.config.n)


def request_at_hand(index: int, client: Client) -> RequestId:
    """The request that a client waits for, or is about to make."""
    return RequestId(client_id(index), client.done + 1)


# One step of one server.


class Advance(Struct, frozen=True):
    """What a step makes of a server, and what leaves it."""

    server: Server
    """After the commit, before any effect is released."""
    stored: tuple[Siblings, ...]
    """The sets that it made durable."""
    leaving: tuple[Envelope | Reply, ...]
    """What it sends and says, in order."""


def advance(server: Server, event: Event) -> Advance:
    """Let the node of a server decide about an event, and keep what it says."""
    about = request_of(event)
    outcome = step(server.node, None if about is None else server.requests.get(about), server.disk, event)
    requests, timers = server.requests, server.timers
    if about is not None:
        requests = requests.remove(about) if outcome.request is None else requests.set(about, outcome.request)
    if isinstance(event, Timeout):
        timers = timers - FSet((event.request,))
    leaving: list[Envelope | Reply] = []
    for effect in outcome.effects:
        match effect:
            case Send():
                leaving.append(Envelope(server.node.name, effect.target, effect.message))
            case Reply():
                leaving.append(effect)
            case SetTimer():
                timers = timers | FSet((effect.request,))
            case CancelTimer():
                timers = timers - FSet((effect.request,))
    stored = tuple(written.row.siblings for written in outcome.writes if isinstance(written, WriteRow))
    after = Server(outcome.node, requests, timers, write(server.disk, outcome.writes), server.backup)
    return Advance(after, stored, tuple(leaving))


def write(disk: Memory, writes: tuple[StorageWrite, ...]) -> Memory:
    """The disk after these writes."""
    about, table = disk.about, disk.table
    for written in writes:
        if isinstance(written, WriteDisk):
            about = written.disk
        else:
            gone = written.row == NO_ROW
            table = table.remove(written.key) if gone else table.set(written.key, written.row)
    return Memory(about, table) if writes else disk
