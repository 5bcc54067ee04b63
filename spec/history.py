"""What really happened: the ghost of a run, against which answers and stores are judged.

A node knows only clocks; whether they tell the truth is decided here, by who was really shown what. History records
every version that came to be, which request it was for and which writes its writer had been shown; and which writes
were acknowledged. Nothing in `spec.node` can see it.

A set of versions *knows* a write if it contains it, or a version whose writer had been shown it.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from spec.clock import Dot
from spec.maps import FSet, SetMap
from spec.siblings import Siblings, Version
from spec.types import ClientId, RequestId

NOBODY = RequestId(ClientId(""), 0)
"""The request of a version that came to be without one: none should."""


class Created(Struct, frozen=True, order=True, cache_hash=True):
    """A version came to be."""

    version: Version
    request: RequestId
    seen: FSet[Dot]
    """The writes that its writer had been shown, and what their writers had, and so on."""


class History(Struct, frozen=True, order=True, cache_hash=True):
    """Everything that was written, shown and promised so far."""

    shown: SetMap[RequestId, Dot] = SetMap()
    """For each put, what its writer had been shown when it asked; nothing for a blind put."""
    created: FSet[Created] = FSet()
    acknowledged: FSet[Dot] = FSet()
    """Puts that their coordinator has called stored."""
    refused: FSet[RequestId] = FSet()
    """Requests whose client was told that they had no effect and never will."""


def known_by(history: History, siblings: Siblings) -> FSet[Dot]:
    """The writes that a set of versions knows."""
    past = [dot for c in history.created if c.version in siblings for dot in c.seen]
    return FSet.of([*(v.dot for v in siblings), *past])


def record(history: History, request: RequestId, siblings: Siblings) -> History:
    """The history after a node stored these versions; those never met before came to be just now."""
    known = {c.version for c in history.created}
    fresh = [v for v in siblings if v not in known]
    if not fresh:
        return history
    created = FSet.of(Created(v, request, history.shown[request]) for v in fresh)
    return replace(history, created=history.created | created)
