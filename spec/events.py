"""The contract between a node and whatever drives it: events in, writes and effects out.

`step(node, request, storage, event)` is deterministic and total. The driver, be it the runtime over SQLite and TCP or
the explorer over immutable values, owes it four things:

1. the request in flight that `request_of(event)` names, or None, and after the step keeps what the outcome says;
2. a storage view of committed state overlaid with all writes of earlier steps, committed or not;
3. the outcome's writes are durable **before** any of its effects is released;
4. a crash keeps what was committed and loses everything else: the node value, requests, timers, unreleased effects.

Time never enters: a timer is an effect, its firing an event, and it may fire at any moment.
"""

from __future__ import annotations

from typing import TypeAlias, final

from msgspec import Struct

from spec.messages import (
    Answer,
    Forward,
    Forwarded,
    Message,
    Operation,
    Read,
    Repaired,
    Result,
    Write,
    Written,
)
from spec.rows import Disk, Row
from spec.types import Key, Milliseconds, NodeId, RequestId

# Storage writes.


class WriteDisk(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Replace what the node knows of itself."""

    disk: Disk


class WriteRow(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Replace the row of a key."""

    key: Key
    row: Row


StorageWrite: TypeAlias = WriteDisk | WriteRow


# Events.


@final
class Start(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The node process came up. The first event of every run of a node."""

    incarnation: str
    """A fresh id, used if the disk is new, or may be from the past."""


@final
class Invoke(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """A client asks this node."""

    request: RequestId
    operation: Operation
    within_ms: Milliseconds | None = None
    """How long the client goes on waiting; None: as long as nodes do."""


@final
class Deliver(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """A message from another node arrived."""

    source: NodeId
    message: Message


@final
class Timeout(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The timer of a request fired."""

    request: RequestId


@final
class Suspicion(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """From now on this node takes another to be down, or to be up again; it may be wrong."""

    about: NodeId
    suspected: bool


@final
class HandOff(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """It is time to hand another node what it is owed of these keys."""

    target: NodeId
    keys: tuple[Key, ...]


@final
class Beat(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """A while has passed in which the node stored something, or waited for others to tell it about itself."""


Event: TypeAlias = Start | Invoke | Deliver | Timeout | Suspicion | HandOff | Beat


# Effects.


class Send(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Hand a message to the network; it may never arrive."""

    target: NodeId
    message: Message


class Reply(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Tell the client that invoked the request; at most once per request."""

    request: RequestId
    result: Result


class SetTimer(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """Deliver a `Timeout` for the request after this long, unless cancelled."""

    request: RequestId
    after_ms: int


class CancelTimer(Struct, frozen=True, order=True, cache_hash=True, tag=True, gc=False):
    """The request is over; its timeout has nothing to say any more."""

    request: RequestId


Effect: TypeAlias = Send | Reply | SetTimer | CancelTimer


def request_of(event: Event) -> RequestId | None:
    """Which request in flight the driver must hand to the step along with this event."""
    if type(event) is Deliver:  # exact types are told at once; for a Struct, that it is no instance of a class is not
        about = event.message
        if type(about) is Answer:  # the usual ones first
            return about.request
        if type(about) is Read or type(about) is Write:
            return None
        if type(about) is Written or type(about) is Repaired:
            return about.request
        return about.request if type(about) is Forward or type(about) is Forwarded else None
    return event.request if type(event) is Invoke or type(event) is Timeout else None
