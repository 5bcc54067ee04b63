"""What a node is made of: what it holds durably, what it holds in memory, and what one step makes of them.

Durable are the `Row` of each key and the node's `Disk`; everything else is lost in a crash. Requests in flight live
outside the node value and are handed to their handler one at a time, so that a step costs what it touches and not what
else is going on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias, final

from msgspec import Struct

from spec.clock import Dot
from spec.events import Effect, StorageWrite
from spec.maps import FMap, FSet
from spec.quorum import ReadQuorum, WriteQuorum
from spec.ring import Ring
from spec.rows import Disk, Row
from spec.siblings import Siblings
from spec.types import Config, Key, NodeId, RequestId


class Storage(Protocol):
    """The read-only view that a step has of its node's storage."""

    def disk(self) -> Disk | None:
        """What the node knows of itself; None on a new disk."""
        ...

    def row(self, key: Key) -> Row:
        """The row of a key; the empty row where there is none."""
        ...

    def rows_after(self, after: tuple[Key, ...]) -> Iterator[tuple[Key, Row]]:
        """The rows, by key, after this one; from the first on, after none. To be taken within the step, one by one."""
        ...

    def count_hints(self) -> int:
        """How many hints all rows have together: for each row the owners to whom it is owed."""
        ...


class PutInFlight(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """A put that this node coordinates."""

    request: RequestId
    key: Key
    origin: NodeId | None
    """The node that forwarded it and wants the result; None if the client asked here."""
    dot: Dot
    """The name it was given."""
    show: bool
    """Whether the client wants to be shown what there is afterwards."""
    quorum: WriteQuorum
    holders: FMap[NodeId, NodeId]
    """Who is to hold it, each with the owner that it stands for."""
    acknowledged: FSet[NodeId]
    """Those of them that hold it durably; the coordinator itself included."""
    answered: bool = False
    """Whether whoever asked was told; it then waits to learn whom it is owed to."""


class GetInFlight(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """A get that this node coordinates; it outlives its reply, to repair what answers late."""

    request: RequestId
    key: Key
    origin: NodeId | None
    quorum: ReadQuorum
    holders: FMap[NodeId, NodeId]
    """Who is to answer, each with the owner that it stands for; the coordinator itself included."""
    answers: FMap[NodeId, Siblings]
    """What each of them that answered is known, or after a repair hoped, to hold."""
    answered: bool
    """Whether the client has its reply."""
    settling: bool = False
    """Whether enough have answered, and the reply waits until W owners hold what it shows."""
    confirmed: FSet[NodeId] = FSet()
    """The owners of whom that is known."""


@final
class ForwardInFlight(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """A client's request that another node coordinates for us."""

    request: RequestId
    is_put: bool


Request: TypeAlias = PutInFlight | GetInFlight | ForwardInFlight


def awaits_result(request: Request) -> bool:
    """Whether whoever asked still waits for the result; a request that was answered only listens for who is late."""
    return type(request) is ForwardInFlight or not request.answered


class Node(Struct, frozen=True, cache_hash=True, gc=False):
    """What a node knows in memory besides its requests in flight."""

    name: NodeId
    config: Config
    ring: Ring
    started: bool = False
    """Whether it has taken its start event; it takes nothing before."""
    in_flight: int = 0
    """How many requests it coordinates or forwards, and has not answered."""
    lingering: int = 0
    """How many it has answered, and still listens for."""
    suspected: FSet[NodeId] = FSet()
    """The nodes that it takes to be down; never itself."""
    run: str = ""
    """The fresh id of this run: an incarnation, should it need one."""
    confirmed: bool = False
    """Whether it need not wonder any more if its disk is from the past: it began anew, or enough others said so."""
    vouchers: FSet[NodeId] = FSet()
    """Who has said so by now, while they are not enough."""
    anew: bool = False
    """Whether it began anew in this run: on a new disk, or since its disk was from the past."""
    fetched: FMap[NodeId, Key] = FMap()
    """Up to which key others have given it what it lacks, of those who have begun and are not done."""


class Outcome(Struct, frozen=True, gc=False):
    """What a step decided. Nothing has happened yet: the driver commits the writes, then releases the effects."""

    node: Node
    request: Request | None
    """The request in flight after the step; None if it is over, or there was none."""
    writes: tuple[StorageWrite, ...] = ()
    effects: tuple[Effect, ...] = ()
