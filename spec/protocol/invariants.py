"""The invariants: they hold of `init` states, and every action keeps them.

First those that the protocol is about, then those that support them.
"""

from __future__ import annotations

from spec.clock import covers, descends
from spec.maps import FSet, implies
from spec.protocol.gets import was_promised
from spec.protocol.state import (
    Acknowledgement,
    State,
    held_for,
    is_contiguous,
    is_excused,
    is_missed,
    knows,
    mints_as,
    stored,
)
from spec.quorum import is_quorum, is_written
from spec.siblings import Version, is_antichain, supersedes
from spec.types import NodeId, RequestId


def is_eventful(s: State) -> bool:
    """Whether enough has happened for the invariants to say something: no proof is about empty states only."""
    return (
        any(x.version in s.seen[u] and supersedes(u, x.version) for u in s.created for x in s.acked)
        and any(v.dot.actor.node != n and v in s.store[n] for n in s.nodes for v in s.created)
        and any(all(a.version != v for a in s.acked) for v in s.created)
    )


# The invariants that it is about.


def inv_dot_uniqueness(s: State) -> bool:
    """A dot names one version."""
    return all(implies(u.dot == v.dot, u == v) for u in s.created for v in s.created)


def inv_only_maximal(s: State) -> bool:
    """Nothing that holds or carries versions has one that another of them supersedes."""
    return (
        all(is_antichain(s.store[n]) for n in s.nodes)
        and all(is_antichain(m.versions) for m in s.sent)
        and all(is_antichain(p.versions) for p in s.pushed)
        and all(is_antichain(t.versions) for t in s.told)
        and all(is_antichain(m.versions) for m in s.handed)
        and all(is_antichain(g.versions) for g in s.given)
        and all(is_antichain(s.gathered[r]) for r in s.gathered)
    )


def is_durable(s: State, a: Acknowledgement) -> bool:
    """Whether what is acknowledged is known for the owner, and to it, if it says so itself."""
    return (
        a.version in s.created
        and (held_for(s, a.owner, a.version) or is_missed(s, a.owner, a.version))
        and implies(a.holder == a.owner, stored(s, a.owner, a.version) or is_excused(s, a.owner, a.version))
    )


def inv_durable_acknowledgement(s: State) -> bool:
    """Acknowledgements stand for durable copies, success for a write quorum of owners for whom the write is known.

    Who lost it is excused until it has caught up; for ever only if too many lost it at once.
    """
    return (
        all(is_durable(s, a) for a in s.acks)
        and all(is_durable(s, a) for a in s.counted)
        and all(
            a.version in s.created
            and is_written(
                FSet.of(o for o in s.owners if held_for(s, o, a.version) or is_missed(s, o, a.version)),
                FSet.of(o for o in s.owners if stored(s, o, a.version) or is_excused(s, o, a.version)),
                a.quorum,
            )
            for a in s.acked
        )
    )


def is_loyal(s: State, request: RequestId, o: NodeId, x: Version) -> bool:
    """Whether an owner knows `x`, and whatever it has told a get does; so whatever it can tell it does.

    Who is catching up tells nothing; and of what is gone nobody can.
    """
    return x in s.gone or (
        (stored(s, o, x) or x in s.lost[o])
        and all(knows(s, t.versions, x) for t in s.told if t.reading.request == request and t.owner == o)
        and all(implies(o in s.heard[r], knows(s, s.gathered[r], x)) for r in s.heard if r.request == request)
    )


def inv_due(s: State) -> bool:
    """Of what a get may look for as many owners can only tell as its write was acknowledged by."""
    return all(
        any(
            was_promised(d, a)
            and is_quorum(FSet.of(o for o in s.owners if is_loyal(s, d.request, o, d.version)), a.quorum.pw)
            for a in s.acked
        )
        for d in s.due
    )


def inv_released(s: State) -> bool:
    """An owner's acknowledgement of what it was handed stands for durable copies of all that its context covers."""
    return all(
        implies(covers(t.context, x.dot), stored(s, t.owner, x) or is_excused(s, t.owner, x))
        for t in s.taken
        for x in s.created
    ) and all(
        implies(covers(t.context, x.dot), covers(t.context, y.dot))
        for t in s.taken
        for x in s.created
        for y in s.seen[x]
    )


def inv_told(s: State) -> bool:
    """What an owner has told a reader it knows durably, unless it lost its disk since."""
    return all(
        implies(t.owner in s.owners and knows(s, t.versions, x), stored(s, t.owner, x) or is_excused(s, t.owner, x))
        for t in s.told
        for x in s.created
    )


def inv_confirmed(s: State) -> bool:
    """An owner who confirmed what a reader gathered knows all of it durably, unless it lost its disk since."""
    return all(c.owner in s.owners for c in s.confirmed) and all(
        implies(knows(s, s.gathered[c.reading], x), stored(s, c.owner, x) or is_excused(s, c.owner, x))
        for c in s.confirmed
        for x in s.created
    )


def will_give(s: State, p: NodeId, o: NodeId, x: Version) -> bool:
    """Whether an owner that knows `x` durably has still to give it to one that lost it, and has given nothing less."""
    return (
        p in s.disks[o].lacking
        and stored(s, p, x)
        and x not in s.lost[p]
        and all(
            knows(s, g.versions, x)
            for g in s.given
            if g.source == p and g.target == o and g.incarnation == s.disks[o].incarnation
        )
    )


def inv_lost(s: State) -> bool:
    """What an owner lost it knows again, or another will give it back, but for what is gone."""
    return all(
        stored(s, o, x) or x in s.gone or any(will_give(s, p, o, x) for p in s.owners)
        for o in s.owners
        for x in s.lost[o]
    )


# The invariants that support them.


def inv_owners(s: State) -> bool:
    """Only owners are counted and owed to."""
    return (
        all(m.coordinator in s.nodes and m.target in s.nodes and m.owner in s.owners for m in s.sent)
        and all(p.target in s.nodes for p in s.pushed)
        and all(a.owner in s.owners for a in s.acks)
        and all(a.owner in s.owners for a in s.counted)
        and all(m.holder in s.nodes and m.owner in s.owners for m in s.handed)
        and all(t.holder in s.nodes and t.owner in s.owners for t in s.taken)
        and all(o in s.owners for n in s.nodes for o in s.owed[n])
        and all(g.source in s.nodes and g.target in s.nodes for g in s.given)
        and s.owners.issubset(s.nodes)
    )


def inv_numbering(s: State) -> bool:
    """A row's counter is where its actor's numbering ends, and the next actor of a disk has minted nothing."""
    return (
        all(s.birth[n] <= s.disks[n].births and implies(s.birth[n] == 0, s.counter[n] == 0) for n in s.nodes)
        and all(implies(mints_as(s, n, a), s.minted[a] == s.counter[n]) for n in s.nodes for a in s.minted)
        and all(
            implies(a.node == n and a.incarnation == s.disks[n].incarnation, a.birth <= s.disks[n].births)
            for n in s.nodes
            for a in s.minted
        )
    )


def inv_minted(s: State) -> bool:
    """No version or context is ahead of what was minted."""
    return (
        all(covers(s.minted, v.dot) and descends(s.minted, v.context) for v in s.created)
        and all(descends(s.minted, p.context) for p in s.replies)
        and all(descends(s.minted, t.context) for t in s.taken)
    )


def inv_irreflexive(s: State) -> bool:
    """No version supersedes itself."""
    return all(not supersedes(v, v) for v in s.created)


def inv_past(s: State) -> bool:
    """Only what was written was seen."""
    return all(x in s.created for u in s.created for x in s.seen[u])


def inv_past_closed(s: State) -> bool:
    """Who saw a version saw what its writer had seen."""
    return all(y in s.seen[u] for u in s.created for x in s.seen[u] for y in s.seen[x])


def inv_honest(s: State) -> bool:
    """Clocks tell the causal past, exactly."""
    return all(supersedes(u, x) == (x in s.seen[u]) for u in s.created for x in s.created)


def inv_created(s: State) -> bool:
    """Only what was written is held or carried."""
    return (
        all(s.store[n].issubset(s.created) for n in s.nodes)
        and all(m.versions.issubset(s.created) for m in s.sent)
        and all(p.versions.issubset(s.created) for p in s.pushed)
        and all(t.versions.issubset(s.created) for t in s.told)
        and all(m.versions.issubset(s.created) for m in s.handed)
        and all(g.versions.issubset(s.created) for g in s.given)
        and all(s.gathered[r].issubset(s.created) for r in s.gathered)
        and all(s.lost[n].issubset(s.created) for n in s.lost)
        and all(s.unpaid[o].issubset(s.created) for o in s.unpaid)
        and s.gone.issubset(s.created)
    )


def inv_contiguous(s: State) -> bool:
    """Whatever holds or carries a version knows all earlier ones of its actor."""
    return (
        all(
            implies(x.dot.actor == u.dot.actor and x.dot.counter <= u.dot.counter, stored(s, n, x))
            for n in s.nodes
            for u in s.store[n]
            for x in s.created
        )
        and all(is_contiguous(s, m.versions) for m in s.sent)
        and all(is_contiguous(s, p.versions) for p in s.pushed)
        and all(is_contiguous(s, t.versions) for t in s.told)
        and all(is_contiguous(s, m.versions) for m in s.handed)
        and all(is_contiguous(s, g.versions) for g in s.given)
        and all(is_contiguous(s, s.gathered[r]) for r in s.gathered)
    )


def inv_own(s: State) -> bool:
    """A node knows everything that it minted under its row's actor."""
    return all(implies(mints_as(s, n, x.dot.actor), stored(s, n, x)) for n in s.nodes for x in s.created)


def inv_sent(s: State) -> bool:
    """A set that is to be acknowledged knows the version that it is acknowledged for."""
    return all(m.about in s.created and knows(s, m.versions, m.about) for m in s.sent)


def inv_replies(s: State) -> bool:
    """A reply's context covers exactly what its client has seen, which is causally closed."""
    return (
        all(p.saw.issubset(s.created) for p in s.replies)
        and all(y in p.saw for p in s.replies for x in p.saw for y in s.seen[x])
        and all(covers(p.context, x.dot) == (x in p.saw) for p in s.replies for x in s.created)
    )
