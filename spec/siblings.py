"""Versions of a key, and the sibling sets that replicas hold and exchange.

A version is one write: its dot, the context its writer had seen, and a value. `u` *supersedes* `v` when the context of
`u` covers the dot of `v`: the writer of `u` had seen `v`. Two versions of which neither supersedes the other are
*siblings*: concurrent writes, kept side by side until somebody who has seen both writes again.

A sibling set keeps exactly the versions that no other supersedes. Sets are merged, never overwritten, and replicas
always exchange whole sets: only so does holding a version imply knowing, directly or through a successor, all earlier
versions of the same actor, and only then may a clock stand for a set of versions. On causally closed sets `merge` is
commutative, associative and idempotent, and keeps exactly the maximal versions: proved, for any sets, by
`ringspec prove`.

The dot is kept apart from the context on purpose. With a plain version vector, two puts that bring the same context
through one coordinator are ordered by its counter and the second silently covers the first.
"""

from __future__ import annotations

from functools import reduce
from typing import TypeAlias

from msgspec import Struct

from spec.clock import NOTHING, Actor, Clock, Dot, covers, descends, join, show_clock
from spec.maps import FSet
from spec.types import Value


class Version(Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """One write of one key."""

    dot: Dot
    """Names the write event."""
    context: Clock
    """What the writer had seen; never covers its own dot."""
    value: Value

    def __str__(self) -> str:
        return f"{self.dot} after {show_clock(self.context)}"


Siblings: TypeAlias = FSet[Version]
"""The versions of one key of which none supersedes another."""

NO_VERSIONS: Siblings = FSet()


def supersedes(newer: Version, older: Version) -> bool:
    """Whether the writer of `newer` had seen `older`."""
    return covers(newer.context, older.dot)


def merge(a: Siblings, b: Siblings) -> Siblings:
    """All versions of both sets that no version of the other supersedes."""
    kept_a = FSet.of(v for v in a if not any(supersedes(u, v) for u in b))
    kept_b = FSet.of(v for v in b if not any(supersedes(u, v) for u in a))
    return kept_a | kept_b


def add(siblings: Siblings, version: Version) -> Siblings:
    """The set after a put: what the writer had seen goes, whatever else there is stays beside the new version."""
    return FSet.of(v for v in siblings if not supersedes(version, v)) | FSet.of([version])


def is_antichain(siblings: Siblings) -> bool:
    """Whether no version of the set supersedes another."""
    return all(not supersedes(u, v) for u in siblings for v in siblings)


def absorb(clock: Clock, version: Version) -> Clock:
    """The least clock that descends from `clock` and from the version's context, and covers its dot."""
    known = join(clock, version.context)
    return known.set(version.dot.actor, max(known[version.dot.actor], version.dot.counter))


def context_of(siblings: Siblings) -> Clock:
    """What somebody who was shown this set has seen."""
    return reduce(absorb, siblings, NOTHING)


def is_context(clock: Clock, siblings: Siblings) -> bool:
    """Whether `clock` is the least clock at or above every dot and context of the set: what `context_of` computes."""
    for v in siblings:
        if not (covers(clock, v.dot) and descends(clock, v.context)):
            return False
    for actor in clock:
        if not is_named(siblings, actor, clock[actor]):
            return False
    return True


def is_named(siblings: Siblings, actor: Actor, count: int) -> bool:
    """Whether this is an actor's count in a dot or a context of the set."""
    for v in siblings:
        if (v.dot.actor == actor and v.dot.counter == count) or v.context[actor] == count:
            return True
    return False
