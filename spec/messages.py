"""What nodes say to each other, and what clients ask and are told.

Between nodes, messages may be lost, repeated, delayed and reordered; none relies on another having arrived. Sets of
versions always travel whole. A request is named by its client, all the way: `request` is what ties an answer to the
coordination that asked for it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, final

from msgspec import Struct
from msgspec.structs import replace

from spec.clock import Clock, Dot
from spec.quorum import AS_CONFIGURED_GET, AS_CONFIGURED_PUT, GetWishes, PutWishes
from spec.siblings import Siblings
from spec.types import NO_REQUEST, Key, Milliseconds, NodeId, RequestId, Value

Condition: TypeAlias = Literal["none-match", "context-unchanged"]
"""On what a put is to be taken: that nothing is there, or that what is there has exactly the context that it brings."""


class Put(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False, omit_defaults=True):
    """Write a value over everything that the context covers."""

    key: Key
    value: Value
    context: Clock
    """From an earlier get of this key; nothing, for a blind put, which becomes a sibling of whatever there is."""
    again: bool = False
    """Whether this was asked before, under the same request, and whoever asks does not know what came of it."""
    show: bool = False
    """Whether the client wants to be shown what there is afterwards."""
    wishes: PutWishes = AS_CONFIGURED_PUT
    condition: Condition | None = None
    """Decided by the one node that coordinates it, on what that holds: see `spec.writing` for what it is not."""


class Get(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False, omit_defaults=True):
    """Read the siblings of a key."""

    key: Key
    wishes: GetWishes = AS_CONFIGURED_GET


Operation: TypeAlias = Put | Get


def as_asked_again(operation: Operation) -> Operation:
    """An operation as it is when it is asked again: a put says so, a get need not."""
    return replace(operation, again=True) if isinstance(operation, Put) else operation


class Found(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The get succeeded: what R owners know of the key; no siblings where nothing is known."""

    siblings: Siblings
    context: Clock
    """Covers exactly what is shown; a put that brings it back supersedes it."""


class Stored(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The put succeeded: W owners hold it durably."""

    dot: Dot
    """The name the write was given."""
    shown: Found | None = None
    """What its coordinator knows of the key, if the client wanted to see it; others may know more."""


class Indefinite(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The put may have been written, or may yet be."""

    reason: str


class Failed(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The operation had no effect and never will; for a get: too few owners answered, in time or at all."""

    reason: str


class Refused(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The request was turned down before anything changed: it, or the moment, exceeds a limit."""

    reason: str


class Overloaded(Refused, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The node has too much to do: nothing changed, and elsewhere or later the same may be taken."""


class Unmet(Refused, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The condition of a put did not hold of what its coordinator held: nothing changed."""


Result: TypeAlias = Stored | Found | Indefinite | Failed | Refused | Overloaded | Unmet


def shown_by(result: Result) -> Found | None:
    """What a result shows its client of the key; None if nothing."""
    return result.shown if isinstance(result, Stored) else result if isinstance(result, Found) else None


@final
class Write(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Coordinator to holder: merge this whole set, durably, and acknowledge."""

    request: RequestId
    key: Key
    siblings: Siblings
    owner: NodeId | None = None
    """The owner that the holder stands in for, and owes it to; None if it is one itself."""


@final
class Written(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Holder to coordinator: the set sent for this request is durably merged here."""

    request: RequestId
    owner: NodeId | None = None
    """The owner that the holder stands in for, as in the `Write`."""


@final
class Read(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Coordinator to owner: what do you hold of this key?"""

    request: RequestId
    key: Key


@final
class Answer(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Owner to coordinator: all that I hold of the key."""

    request: RequestId
    siblings: Siblings


@final
class Repair(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False, omit_defaults=True):
    """Reader to owner: your answer was stale, merge this whole set."""

    key: Key
    siblings: Siblings
    request: RequestId = NO_REQUEST
    """The get that waits for it to be acknowledged, if one does."""


@final
class Repaired(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Owner to reader: I hold what you repaired me with, durably."""

    request: RequestId
    context: Clock
    """Of the set that I was sent."""


@final
class Handoff(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Fallback to owner: this is owed to you, merge it, durably, and acknowledge."""

    key: Key
    siblings: Siblings


@final
class Taken(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Owner to fallback: I hold what you handed over, durably."""

    key: Key
    context: Clock
    """Of the set that was handed over."""


@final
class Mark(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Node to node: this is the mark of my disk; have you seen a later one?"""

    run: str
    """Of the sender, so that it knows an answer to an earlier run."""
    mark: int


@final
class Known(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The answer: the latest mark that was seen of the asker, before it asked."""

    run: str
    mark: int
    lacking: bool
    """Whether who answers lacks what the asker may hold, and with it may have forgotten a later mark."""


@final
class Fetch(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """A node that lacks what it lost to another: what do you hold of my keys?"""

    incarnation: str
    """Of the sender's disk, so that it knows an answer to an earlier one."""
    after: tuple[Key, ...] = ()
    """What it was given already: all up to this key; nothing, if there is none."""


@final
class Fetched(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The answer: the next of them, as many as fit."""

    incarnation: str
    after: tuple[Key, ...]
    """After which key, as it was asked."""
    rows: tuple[tuple[Key, Siblings], ...]
    upto: tuple[Key, ...]
    """Up to which key this is all; if there is none, to the end."""
    mark: int
    """Of the sender's disk, for it was forgotten with what was lost."""


@final
class Forward(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """A node that does not own the key to one that does: coordinate this; never forwarded again."""

    request: RequestId
    operation: Operation
    within_ms: Milliseconds | None = None
    """How long its sender goes on waiting for the result; None: as long as nodes do."""


@final
class Forwarded(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The coordinator's result, back to the node that forwarded."""

    request: RequestId
    result: Result


Message: TypeAlias = (
    Write
    | Written
    | Read
    | Answer
    | Repair
    | Repaired
    | Handoff
    | Taken
    | Mark
    | Known
    | Fetch
    | Fetched
    | Forward
    | Forwarded
)
