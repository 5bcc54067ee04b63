"""What can happen in the explored machine, as values: one kind of action each.

An action names all that it needs to be taken: who takes the step, with which message or request. Which actions are
possible in a state is said by `spec.enabled`, what comes of one by `spec.cluster`.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from spec.events import Deliver, Event, HandOff, Invoke, Suspicion, Timeout
from spec.maps import FSet
from spec.messages import Operation
from spec.network import Envelope
from spec.types import Key, NodeId, RequestId


class Ask(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A client puts its next operation to a node."""

    client: int
    """Its index."""
    node: NodeId
    request: RequestId
    operation: Operation


class Arrive(Struct, frozen=True, cache_hash=True, tag=True):
    """A message reaches its target."""

    envelope: Envelope


class Expire(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A timer fires."""

    node: NodeId
    request: RequestId


class Suspect(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node comes to take another to be down, rightly or wrongly, or to be up again."""

    node: NodeId
    about: NodeId
    suspected: bool


class HandOver(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node hands another what it owes it."""

    node: NodeId
    target: NodeId
    key: Key


class Drop(Struct, frozen=True, cache_hash=True, tag=True):
    """The network loses a message."""

    envelope: Envelope


class Duplicate(Struct, frozen=True, cache_hash=True, tag=True):
    """The network repeats a message."""

    envelope: Envelope


class Crash(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node dies between two steps."""

    node: NodeId


class CrashAfterCommit(Struct, frozen=True, cache_hash=True, tag=True):
    """A node dies in the middle of a step: its writes are durable, of its effects only some left."""

    during: Awaited
    released: tuple[int, ...]
    """Which of its effects left, by their place."""


class Restart(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node that died comes back with its disk."""

    node: NodeId


class Wipe(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node dies and comes back with an empty disk."""

    node: NodeId


class Backup(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """Somebody copies the disk of a node, which then tells the others how far it is."""

    node: NodeId


class Restore(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node dies and comes back with the copy of its disk in place of it."""

    node: NodeId


class Cut(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The network separates some nodes from the others."""

    side: FSet[NodeId]


class Heal(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The network is whole again."""


Awaited: TypeAlias = Ask | Arrive | Expire
"""What a node takes a step for because somebody waits, or time has passed."""


NodeAction: TypeAlias = Awaited | Suspect | HandOver
"""What a node takes a step for."""


Action: TypeAlias = (
    NodeAction | Drop | Duplicate | Crash | CrashAfterCommit | Restart | Wipe | Backup | Restore | Cut | Heal
)


def event_of(action: NodeAction) -> tuple[NodeId, Event]:
    """Which node takes the step, and the event that it takes."""
    match action:
        case Ask():
            return action.node, Invoke(action.request, action.operation)
        case Arrive():
            return action.envelope.target, Deliver(action.envelope.source, action.envelope.message)
        case Expire():
            return action.node, Timeout(action.request)
        case Suspect():
            return action.node, Suspicion(action.about, action.suspected)
        case HandOver():
            return action.node, HandOff(action.target, (action.key,))
