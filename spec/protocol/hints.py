"""Actions of hints: what a node owes to an owner it hands over, and owes no more when the owner knows it durably.

A node that is no owner of the key forgets it when it owes nothing any more.
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.clock import Clock
from spec.handoff import may_release
from spec.maps import FSet
from spec.protocol.state import Handed, State, Taken
from spec.siblings import is_context, merge
from spec.types import NodeId


def hint_ok(s: State, n: NodeId, owner: NodeId) -> bool:
    """An owner may lack what a node stores, or is about to store."""
    return n in s.nodes and owner in s.owners


def hint(s: State, n: NodeId, owner: NodeId) -> State:
    """The node notes that it owes it."""
    return replace(s, owed=s.owed.set(n, s.owed[n] | FSet.of([owner])))


def hand_ok(s: State, n: NodeId, owner: NodeId) -> bool:
    """A node owes something."""
    return n in s.nodes and owner in s.owed[n]


def hand(s: State, n: NodeId, owner: NodeId) -> State:
    """It sends everything that it holds."""
    return replace(s, handed=s.handed | FSet.of([Handed(n, owner, s.store[n])]))


def take_ok(s: State, m: Handed, context: Clock) -> bool:
    """What was owed arrives; the context is that of what arrives."""
    return m in s.handed and is_context(context, m.versions)


def take(s: State, m: Handed, context: Clock) -> State:
    """The owner merges it, durably, and acknowledges."""
    return replace(
        s,
        store=s.store.set(m.owner, merge(s.store[m.owner], m.versions)),
        taken=s.taken | FSet.of([Taken(m.holder, m.owner, context)]),
    )


def release_ok(s: State, t: Taken) -> bool:
    """The owner has acknowledged all that its creditor stores by now."""
    return t in s.taken and may_release(s.store[t.holder], t.context)


def release(s: State, t: Taken) -> State:
    """The hint goes."""
    return replace(s, owed=s.owed.set(t.holder, s.owed[t.holder] - FSet.of([t.owner])))


def drop_ok(s: State, n: NodeId) -> bool:
    """A node that is no owner owes nothing any more."""
    return n in s.nodes and n not in s.owners and s.owed[n] == FSet()


def drop(s: State, n: NodeId) -> State:
    """Its row goes, and its numbering with it."""
    return replace(s, store=s.store.set(n, FSet()), birth=s.birth.set(n, 0), counter=s.counter.set(n, 0))
