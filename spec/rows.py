"""Rows: what a node's disk holds.

A row owns the numbering under which its node mints for the key. The actor is born, from a durable counter of the disk,
when the row first mints, and its counter runs from 1 without a gap for as long as the row exists; both go with the
row. So a node never continues a numbering that it has not held all along. (The amnesia and reused-actor bugs of Riak:
basho/riak_kv 679, 1094 and 127.)

A node that holds a row for others only, as their fallback, lets it go once nothing of it is owed any more.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from spec.maps import Counts, FSet
from spec.siblings import NO_VERSIONS, Siblings
from spec.types import NodeId, RequestId


class Minted(Struct, frozen=True, order=True, cache_hash=True, array_like=True, gc=False):
    """Which dot of the row's actor a request was given."""

    request: RequestId
    counter: Annotated[int, Meta(ge=1)]


class Row(Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """What a node holds durably for one key."""

    siblings: Siblings = NO_VERSIONS
    birth: Annotated[int, Meta(ge=0)] = 0
    """The birth of the actor under which the node mints for this key; 0 before it first does."""
    counter: Annotated[int, Meta(ge=0)] = 0
    """How many dots that actor has minted."""
    minted: tuple[Minted, ...] = ()
    """The latest of them, oldest first, so that a repeated request mints no second dot."""
    former: tuple[RequestId, ...] = ()
    """The latest requests that it minted for under numberings which it does not continue, oldest first."""
    owed: FSet[NodeId] = FSet()
    """Owners of the key who may lack some of this: a *hint* that it is to be handed to them."""


NO_ROW = Row()


class Disk(Struct, frozen=True, order=True, cache_hash=True):
    """What a node holds durably about itself."""

    incarnation: str
    """Under what the node mints: a fresh id when the disk was new, and another whenever its numbering may be old."""
    births: Annotated[int, Meta(ge=0)] = 0
    """How many rows have been given an actor."""
    since: Annotated[int, Meta(ge=0)] = 0
    """How many of them before this incarnation; their numbering is not continued."""
    mark: Annotated[int, Meta(ge=0)] = 0
    """Grows from time to time while the node runs, and is told to the others; see `spec.comeback`."""
    seen: Counts[NodeId] = Counts()
    """The highest mark that the node was told of each other; 0 before it was."""
    lacking: FSet[NodeId] = FSet()
    """The others who still have to give it all that they hold of its keys; nobody, if it has lost nothing."""
    forgetful: bool = False
    """Whether an earlier disk of the node, or a later state of this one, was lost."""
