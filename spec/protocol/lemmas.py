"""Lemmas: what holds whenever the guard of an action and the invariants do, and proofs of invariants rest on.

Lemmas about merging (`lib_…`) are proved once, for any sets; `<action>_uses` says for which sets an action needs them.
"""

# ruff: noqa: ARG001  a guard takes the parameters of its action, and an action those of its guard

from __future__ import annotations

from spec.clock import Clock, covers, descends
from spec.maps import FSet, implies
from spec.protocol.comeback import lose, take_back
from spec.protocol.gets import collect, mend
from spec.protocol.hints import take
from spec.protocol.puts import next_version, put, receive
from spec.protocol.state import (
    Given,
    Handed,
    Pushed,
    Reading,
    Reply,
    Sent,
    State,
    Taken,
    Told,
    is_excused,
    knows,
    stored,
)
from spec.quorum import ReadQuorum
from spec.rows import Disk
from spec.siblings import Siblings, is_antichain, is_context, merge, supersedes
from spec.types import NodeId, Value

# Lemmas about merging, proved once for any sets and used where an action merges.


def is_held(s: State, versions: Siblings) -> bool:
    """Whether a set is one that can be held: written versions of which none supersedes another."""
    return versions.issubset(s.created) and is_antichain(versions)


def lib_merge_dominates(s: State, a: Siblings, b: Siblings) -> bool:
    """The merge knows every member of either set."""
    return implies(is_held(s, a) and is_held(s, b), all(knows(s, merge(a, b), v) for v in a))


def lib_merge_keeps(s: State, a: Siblings, b: Siblings) -> bool:
    """Merging loses nothing: what a set knew, the merge knows."""
    return implies(is_held(s, a) and is_held(s, b), all(knows(s, merge(a, b), x) for x in s.created if knows(s, a, x)))


def uses_merge_keeps(s: State, a: Siblings, b: Siblings) -> bool:
    """By its members."""
    return lib_merge_dominates(s, a, b)


def receive_uses(s: State, m: Sent) -> bool:
    """Both sides of the merge."""
    return lib_merge_keeps(s, s.store[m.target], m.versions) and lib_merge_keeps(s, m.versions, s.store[m.target])


def mend_uses(s: State, p: Pushed) -> bool:
    """Both sides of the merge."""
    return lib_merge_keeps(s, s.store[p.target], p.versions) and lib_merge_keeps(s, p.versions, s.store[p.target])


def take_uses(s: State, m: Handed, context: Clock) -> bool:
    """Both sides of the merge."""
    return lib_merge_keeps(s, s.store[m.owner], m.versions) and lib_merge_keeps(s, m.versions, s.store[m.owner])


def take_back_uses(s: State, g: Given) -> bool:
    """Both sides of the merge."""
    return lib_merge_keeps(s, s.store[g.target], g.versions) and lib_merge_keeps(s, g.versions, s.store[g.target])


def collect_uses(s: State, t: Told) -> bool:
    """Both sides of the merge."""
    return lib_merge_keeps(s, s.gathered[t.reading], t.versions) and lib_merge_keeps(
        s, t.versions, s.gathered[t.reading]
    )


# Lemmas of actions.


def put_lemma_fresh(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> bool:
    """Nobody has written under the new dot, and nobody's context covers it."""
    v = next_version(s, n, p, value)
    return (
        all(not covers(s.minted, v.dot) and u.dot != v.dot for u in s.created)
        and all(not covers(u.context, v.dot) for u in s.created)
        and all(not covers(q.context, v.dot) for q in s.replies)
        and s.minted[v.dot.actor] <= s.counter[n]
    )


def put_lemma_past(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> bool:
    """What the writer had seen is written, closed, and told exactly by the context."""
    v = next_version(s, n, p, value)
    return (
        p.saw.issubset(s.created)
        and all(y in p.saw for x in p.saw for y in s.seen[x])
        and all(supersedes(v, x) == (x in p.saw) for x in s.created)
        and descends(s.minted, p.context)
    )


def put_lemma_grow(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> bool:
    """A put makes no node forget."""
    after = put(s, n, p, value, owner)
    return all(stored(after, t, x) for t in s.nodes for x in s.created if stored(s, t, x))


def receive_lemma_grow(s: State, m: Sent) -> bool:
    """Nor does a merge, and the target learns what it was sent."""
    after = receive(s, m)
    return all(stored(after, t, x) for t in s.nodes for x in s.created if stored(s, t, x)) and all(
        stored(after, m.target, x) for x in s.created if knows(s, m.versions, x)
    )


def take_lemma_told(s: State, m: Handed, context: Clock) -> bool:
    """What the owner acknowledges is what it was handed."""
    return all(covers(context, x.dot) == knows(s, m.versions, x) for x in s.created)


def take_lemma_grow(s: State, m: Handed, context: Clock) -> bool:
    """It learns that, and nobody forgets."""
    after = take(s, m, context)
    return all(stored(after, t, x) for t in s.nodes for x in s.created if stored(s, t, x)) and all(
        stored(after, m.owner, x) for x in s.created if knows(s, m.versions, x)
    )


def release_lemma_known(s: State, t: Taken) -> bool:
    """The owner knows all that its creditor knows, unless it lost its disk since."""
    return all(stored(s, t.owner, x) or is_excused(s, t.owner, x) for x in s.created if stored(s, t.holder, x))


def confirm_lemma_known(s: State, r: Reading, t: Taken) -> bool:
    """The owner knows all that the reader knows, unless it lost its disk since."""
    return all(stored(s, t.owner, x) or is_excused(s, t.owner, x) for x in s.created if knows(s, s.gathered[r], x))


def mend_lemma_grow(s: State, p: Pushed) -> bool:
    """Nor does a repair, and the target learns what it was sent."""
    after = mend(s, p)
    return all(stored(after, t, x) for t in s.nodes for x in s.created if stored(s, t, x)) and all(
        stored(after, p.target, x) for x in s.created if knows(s, p.versions, x)
    )


def take_back_lemma_grow(s: State, g: Given) -> bool:
    """Nor does what is given back, and the target learns what it was given."""
    after = take_back(s, g)
    return all(stored(after, t, x) for t in s.nodes for x in s.created if stored(s, t, x)) and all(
        stored(after, g.target, x) for x in s.created if knows(s, g.versions, x)
    )


def lose_lemma_spared(s: State, n: NodeId, disk: Disk, kept: Siblings, owed: FSet[NodeId]) -> bool:
    """One loss at a time takes nothing that was acknowledged by more than one owner as held by its own disk."""
    after = lose(s, n, disk, kept, owed)
    return all(
        a.version in s.gone or a.version not in after.gone or any(o != n and a.version in s.lost[o] for o in s.owners)
        for a in s.acked
        if a.quorum.pw >= 2
    )


def regain_lemma_known(s: State, n: NodeId) -> bool:
    """An owner that has been given all that others hold knows what it lost, but for what is gone."""
    return n not in s.owners or all(stored(s, n, x) or x in s.gone for x in s.lost[n])


def answer_lemma_known(s: State, r: Reading, n: NodeId) -> bool:
    """So does one that lacks nothing of the other owners, and so it may answer."""
    return n not in s.owners or all(stored(s, n, x) or x in s.gone for x in s.lost[n])


def collect_lemma_grow(s: State, t: Told) -> bool:
    """A reader loses nothing that it was told."""
    after = collect(s, t)
    return all(
        knows(after, after.gathered[t.reading], x)
        for x in s.created
        if knows(s, s.gathered[t.reading], x) or knows(s, t.versions, x)
    )


def reply_lemma_context(s: State, r: Reading, quorum: ReadQuorum, context: Clock) -> bool:
    """However many have answered, the context is that of what its reader knows."""
    return is_context(context, s.gathered[r])


def reply_lemma_told(s: State, r: Reading, quorum: ReadQuorum, context: Clock) -> bool:
    """The context of a reply covers exactly what its reader knows."""
    return all(covers(context, x.dot) == knows(s, s.gathered[r], x) for x in s.created)


def reply_lemma_due(s: State, r: Reading, quorum: ReadQuorum, context: Clock) -> bool:
    """A reply knows all that was acknowledged before it was asked for by a quorum that its own has to meet.

    But for what too many owners lost at once.
    """
    everybody = len(s.owners)
    return all(
        implies(
            d.request == r.request and d.owners + quorum.pr > everybody,
            knows(s, s.gathered[r], d.version) or d.version in s.gone,
        )
        for d in s.due
    )


def show_lemma_told(s: State, n: NodeId, context: Clock) -> bool:
    """So does the context of what a coordinator shows."""
    return all(covers(context, x.dot) == stored(s, n, x) for x in s.created)
