"""Logical time: actors, dots and version vectors.

An *actor* is one unbroken line of numbering: a node, on one disk, since the key's row came to be there. A *dot* names
one write event: the actor that minted it and a counter that starts at one and never skips. A *clock* (version vector)
says, for each actor, up to which counter everything is known; it *covers* a dot when the dot's counter is not beyond
that.

Clocks are ordered by `descends`, a partial order, and `join` is their least upper bound. Both are proved for any
clocks by `ringspec prove`. (Dynamo paper §4.4; Preguiça et al., "Dotted Version Vectors", 2012.)
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from spec.maps import Counts
from spec.types import NodeId


class Actor(Struct, frozen=True, order=True, cache_hash=True, array_like=True, gc=False):
    """One unbroken numbering of writes."""

    node: NodeId
    """The node that mints."""
    incarnation: str
    """Its disk: a fresh id whenever a disk is new, lost or restored."""
    birth: Annotated[int, Meta(ge=1)]
    """Which row of that disk: a durable counter, advanced when a row first mints."""

    def __str__(self) -> str:
        return self.node if self.birth == 1 else f"{self.node}.{self.birth}"


class Dot(Struct, frozen=True, order=True, cache_hash=True, array_like=True, gc=False):
    """The name of one write event."""

    actor: Actor
    counter: Annotated[int, Meta(ge=1)]
    """1 for the actor's first write, then 2, and so on without a gap."""

    def __str__(self) -> str:
        return f"{self.actor}:{self.counter}"


Clock: TypeAlias = Counts[Actor]
"""A version vector: the highest counter known of each actor, zero where none is."""

NOTHING: Clock = Counts()
"""The clock of a writer that has seen nothing."""


def covers(clock: Clock, dot: Dot) -> bool:
    """Whether the write named by the dot is within what the clock knows."""
    return clock[dot.actor] >= dot.counter


def descends(later: Clock, earlier: Clock) -> bool:
    """Whether `later` knows at least everything that `earlier` knows."""
    for actor in earlier:
        if not later[actor] >= earlier[actor]:
            return False
    return True


def join(a: Clock, b: Clock) -> Clock:
    """The least clock that descends from both."""
    if a == NOTHING:
        return b  # where every fold begins
    return Counts.of({actor: max(a[actor], b[actor]) for actor in a.keys() | b.keys()})


def show_clock(clock: Clock) -> str:
    """A clock as the papers print it: `[A:2, B:1]`."""
    return "[" + ", ".join(f"{actor}:{count}" for actor, count in clock.items()) + "]"
