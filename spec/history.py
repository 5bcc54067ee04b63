"""What really happened: the ghost of a run, against which answers and stores are judged.

A node knows only clocks; whether they tell the truth is decided here, by who was really shown what. History records
every version that came to be, which request it was for and which writes its writer had been shown; and which writes
were acknowledged. Nothing in `spec.node` can see it.

A set of versions *knows* a write if it contains it, or a version whose writer had been shown it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from spec.clock import Dot
from spec.maps import FSet, SetMap
from spec.messages import Condition, Put
from spec.quorum import (
    AS_CONFIGURED_GET,
    AS_CONFIGURED_PUT,
    GetWishes,
    PutWishes,
    WriteQuorum,
    must_meet,
    read_quorum,
    write_quorum,
)
from spec.siblings import Siblings, Version
from spec.types import Config, NodeId, RequestId


class Created(Struct, frozen=True, order=True, cache_hash=True):
    """A version came to be."""

    version: Version
    request: RequestId
    seen: FSet[Dot]
    """The writes that its writer had been shown, and what their writers had, and so on."""
    wishes: PutWishes = AS_CONFIGURED_PUT
    """When its put was to be called stored."""
    condition: Condition | None = None
    """On what it was to be taken."""


class History(Struct, frozen=True, order=True, cache_hash=True):
    """Everything that was written, shown and promised so far."""

    shown: SetMap[RequestId, Dot] = SetMap()
    """For each put, what its writer had been shown when it asked; nothing for a blind put."""
    created: FSet[Created] = FSet()
    acknowledged: FSet[Dot] = FSet()
    """Puts that their coordinator has called stored."""
    refused: FSet[RequestId] = FSet()
    """Requests whose client was told that they had no effect and never will."""
    lost: SetMap[NodeId, Dot] = SetMap()
    """What the disks knew that were lost, of nodes that still lack some of it as far as they know themselves."""
    read: FSet[Dot] = FSet()
    """Where repair is blocking: what gets have shown by now, but for what later ones have shown to be superseded."""
    gone: FSet[Dot] = FSet()
    """What an owner lost when no other owner knew it durably, or another one had lost it and was catching up."""
    unpaid: SetMap[NodeId, Dot] = SetMap()
    """For each owner, what disks knew that were lost, of nodes that owed it to that owner."""
    copied: FSet[NodeId] = FSet()
    """Nodes whose disk is a copy made earlier, and that have not begun anew since."""


def known_by(history: History, siblings: Siblings) -> FSet[Dot]:
    """The writes that a set of versions knows."""
    past = [dot for c in history.created if c.version in siblings for dot in c.seen]
    return FSet.of([*(v.dot for v in siblings), *past])


def wished(created: Iterable[Created]) -> dict[Dot, PutWishes]:
    """The writes whose puts had wishes."""
    return {c.version.dot: c.wishes for c in created if c.wishes != AS_CONFIGURED_PUT}


class Owed(Struct, frozen=True):
    """What a get has to know that begins now."""

    known: FSet[Dot] = FSet()
    """The acknowledged writes whose quorums meet its own."""
    undeniable: FSet[Dot] = FSet()
    """Further ones: it may miss them, but if so it may not tell that nothing is there."""


NOTHING_OWED = Owed()


def promised_to(
    get: GetWishes, acknowledged: FSet[Dot], read: FSet[Dot], puts: Mapping[Dot, PutWishes], config: Config
) -> Owed:
    """What a get with these wishes is promised; `puts` has the wishes of those puts that had any.

    What an earlier get has shown, under blocking repair, W owners hold themselves.
    """
    if not acknowledged and not read:
        return NOTHING_OWED
    reading = read_quorum(get, config)

    def meeting(dots: FSet[Dot], *, denied: bool) -> FSet[Dot]:
        wishes = {AS_CONFIGURED_PUT, *puts.values()}
        met = {put for put in wishes if must_meet(write_quorum(put, config), reading, config, denied=denied)}
        return FSet(tuple([dot for dot in dots if puts.get(dot, AS_CONFIGURED_PUT) in met]))

    known = meeting(acknowledged, denied=False)
    if config.blocking_repair and must_meet(WriteQuorum(config.w, config.w), reading, config):
        known = known | read
    return Owed(known, FSet() if reading.notfound_ok else meeting(acknowledged - known, denied=True))


def claimed_to(
    get: GetWishes, acknowledged: FSet[Dot], read: FSet[Dot], puts: Mapping[Dot, PutWishes], config: Config
) -> Owed:
    """What it is claimed to know in the explored machine: of puts and gets without wishes, all.

    That is false where the store's own quorums need not meet, and controls show it.
    """
    promised = promised_to(get, acknowledged, read, puts, config)
    if get != AS_CONFIGURED_GET:
        return promised
    return Owed(promised.known | FSet(tuple([dot for dot in acknowledged if dot not in puts])), promised.undeniable)


def having_read(read: FSet[Dot], shown: Siblings, seen: FSet[Dot]) -> FSet[Dot]:
    """What gets have shown by now, one more having shown these versions, and so everything that their writers saw."""
    return (read - seen) | FSet.of(version.dot for version in shown)


def record(history: History, request: RequestId, put: Put | None, siblings: Siblings) -> History:
    """The history after a node stored these versions; those never met before came to be just now."""
    known = {c.version for c in history.created}
    fresh = [v for v in siblings if v not in known]
    if not fresh:
        return history
    wishes, condition = (AS_CONFIGURED_PUT, None) if put is None else (put.wishes, put.condition)
    created = FSet.of(Created(v, request, history.shown[request], wishes, condition) for v in fresh)
    return replace(history, created=history.created | created)
