"""Everything there is about one key: on disks, in memory, in the network and with clients; and what it means to know.

*Ghosts* are what nobody stores: `created`, `seen` (version → everything its writer had seen), `minted`, `acked`, `due`,
and what the client who holds a reply has seen. No decision of a node needs them: they say what is claimed, and which
version an action is about.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from spec.clock import NOTHING, Actor, Clock
from spec.maps import Counts, FMap, FSet, SetMap, implies
from spec.quorum import WriteQuorum
from spec.rows import Disk
from spec.siblings import Siblings, Version
from spec.types import NodeId, RequestId


class Sent(Struct, frozen=True, order=True, cache_hash=True):
    """A whole set on its way to a holder who will acknowledge one version by it, for an owner: itself, or another."""

    coordinator: NodeId
    target: NodeId
    owner: NodeId
    about: Version
    versions: Siblings


class Pushed(Struct, frozen=True, order=True, cache_hash=True):
    """A whole set on its way to an owner whose answer was stale; nobody waits for it."""

    target: NodeId
    versions: Siblings


class Handed(Struct, frozen=True, order=True, cache_hash=True):
    """A whole set on its way, from a node that owes it or waits for it, to the owner who will acknowledge it."""

    holder: NodeId
    owner: NodeId
    versions: Siblings


class Given(Struct, frozen=True, order=True, cache_hash=True):
    """Everything that a node holds, on its way to an owner that lacks it, and asked for it under this incarnation."""

    source: NodeId
    target: NodeId
    incarnation: str
    versions: Siblings


class Taken(Struct, frozen=True, order=True, cache_hash=True):
    """An owner has told a node that sent it a set with this context that it knows all of it durably."""

    holder: NodeId
    owner: NodeId
    context: Clock


class Acknowledgement(Struct, frozen=True, order=True, cache_hash=True):
    """A coordinator has been told, or is about to be, that an owner or who stands in for it knows a version durably."""

    coordinator: NodeId
    holder: NodeId
    """Who says so; a primary, if it is the owner."""
    owner: NodeId
    version: Version


class Success(Struct, frozen=True, order=True, cache_hash=True):
    """A client has been told that its put is stored; or was shown a version, where repair comes before the reply."""

    version: Version
    quorum: WriteQuorum
    """What that was to mean."""


class Due(Struct, frozen=True, order=True, cache_hash=True):
    """A version that a get may look for, since so many owners at least know it by their own disks."""

    request: RequestId
    version: Version
    owners: Annotated[int, Meta(ge=0)]


class Reading(Struct, frozen=True, order=True, cache_hash=True):
    """A get, at the node that coordinates it."""

    reader: NodeId
    request: RequestId


class Told(Struct, frozen=True, order=True, cache_hash=True):
    """An owner's answer to a get: its whole set."""

    reading: Reading
    owner: NodeId
    versions: Siblings


class Confirmation(Struct, frozen=True, order=True, cache_hash=True):
    """A reader knows that an owner durably knows all that was gathered by now."""

    reading: Reading
    owner: NodeId


class Reply(Struct, frozen=True, order=True, cache_hash=True):
    """What a client was given by a get, or by a put that it wanted to see the result of."""

    context: Clock
    saw: FSet[Version]
    """Ghost: all that it was shown, and all that the writers of these had seen."""


BLIND = Reply(NOTHING, FSet())
"""What a client holds that was never given a reply."""


class State(Struct, frozen=True, order=True, cache_hash=True):
    """Everything about one key."""

    nodes: FSet[NodeId]
    """Everybody."""
    owners: FSet[NodeId]
    """Whose the key is."""

    # On disk.
    disks: FMap[NodeId, Disk]
    """Of a node that never came up: the disk that it will be given."""
    birth: Counts[NodeId]
    """Of the row's actor; 0 before its node first mints."""
    counter: Counts[NodeId]
    """How many dots that actor has minted."""
    store: SetMap[NodeId, Version]
    owed: SetMap[NodeId, NodeId]
    """Hints: which owners may lack some of what a node stores."""

    # In the memory of coordinators.
    counted: FSet[Acknowledgement]
    """Acknowledgements that arrived, of puts that still wait."""
    heard: SetMap[Reading, NodeId]
    """Who has answered a get."""
    gathered: SetMap[Reading, Version]
    """What they know, merged."""
    confirmed: FSet[Confirmation]
    """Which of them, and of those that were repaired, hold all of that; where a reply waits for it."""

    # In the network; losing is an action, repeating is delivering twice.
    sent: FSet[Sent]
    pushed: FSet[Pushed]
    acks: FSet[Acknowledgement]
    told: FSet[Told]
    handed: FSet[Handed]
    taken: FSet[Taken]
    given: FSet[Given]

    # With clients.
    replies: FSet[Reply]

    # Ghosts.
    created: FSet[Version]
    """Every version that was ever written."""
    seen: SetMap[Version, Version]
    """The causal past of each of them."""
    minted: Counts[Actor]
    """How many dots each actor ever minted."""
    acked: FSet[Success]
    """Writes whose clients were told of success, and what gets showed that had waited until it was held."""
    due: FSet[Due]
    """What gets that clients wait for may look for: it was acknowledged before they were asked."""
    lost: SetMap[NodeId, Version]
    """What the disks of a node knew that it lost, until it has been given all that others hold."""
    unpaid: SetMap[NodeId, Version]
    """For each owner, what lost disks knew of nodes that owed it something."""
    gone: FSet[Version]
    """What an owner lost when no other owner knew it durably, or another one was still to be given it back."""


# What it means to know.


def knows(s: State, versions: Siblings, x: Version) -> bool:
    """Whether a set holds `x`, or a version whose writer had seen it."""
    return x in versions or any(x in s.seen[u] for u in versions)


def is_contiguous(s: State, versions: Siblings) -> bool:
    """Whether a set knows, with every version, all earlier ones of the same actor."""
    return all(
        implies(x.dot.actor == u.dot.actor and x.dot.counter <= u.dot.counter, knows(s, versions, x))
        for u in versions
        for x in s.created
    )


def stored(s: State, n: NodeId, x: Version) -> bool:
    """Whether a node knows `x` durably."""
    return knows(s, s.store[n], x)


def held_for(s: State, o: NodeId, x: Version) -> bool:
    """Whether an owner knows `x` durably, or a node that owes it to that owner does."""
    return stored(s, o, x) or any(o in s.owed[n] and stored(s, n, x) for n in s.nodes)


def is_excused(s: State, o: NodeId, x: Version) -> bool:
    """Whether an owner need not know `x`: it lost it and is still catching up, or too many lost it at once."""
    return x in s.lost[o] or x in s.gone


def is_missed(s: State, o: NodeId, x: Version) -> bool:
    """Whether nobody need know `x` for an owner."""
    return is_excused(s, o, x) or x in s.unpaid[o]


def acts_for(s: State, n: NodeId, o: NodeId) -> bool:
    """Whether what a node stores counts for an owner: it is one, or it owes it."""
    return o in s.owners and (n == o or o in s.owed[n])


def mints_as(s: State, n: NodeId, actor: Actor) -> bool:
    """Whether this is the actor under which the node's row has minted."""
    return actor.node == n and actor.incarnation == s.disks[n].incarnation and actor.birth == s.birth[n]


def init(s: State) -> bool:
    """Nothing has happened to the key; the disks may be in use for other keys."""
    return (
        s.owners.issubset(s.nodes)
        and all(s.birth[n] == 0 and s.counter[n] == 0 and s.store[n] == FSet() for n in s.nodes)
        and all(False for n in s.owed)
        and s.counted == FSet()
        and all(False for r in s.heard)
        and all(False for r in s.gathered)
        and s.confirmed == FSet()
        and s.sent == FSet()
        and s.pushed == FSet()
        and s.acks == FSet()
        and s.told == FSet()
        and s.handed == FSet()
        and s.taken == FSet()
        and s.given == FSet()
        and s.replies == FSet()
        and s.created == FSet()
        and all(False for a in s.minted)
        and s.acked == FSet()
        and s.due == FSet()
        and all(False for n in s.lost)
        and all(False for n in s.unpaid)
        and s.gone == FSet()
    )
