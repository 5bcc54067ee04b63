"""Actions of puts: a coordinator mints a version, sends it to who is to hold it, and counts who does.

Its own copy counts; what it counted is forgotten when it is done with a put. That a node mints for *another* key is
all that one key can tell of the others.
"""

# ruff: noqa: ARG001  a guard takes the parameters of its action, and an action those of its guard

from __future__ import annotations

from msgspec.structs import replace

from spec.clock import NOTHING
from spec.maps import FSet
from spec.protocol.state import Acknowledgement, Reply, Sent, State, Success, acts_for, mints_as
from spec.quorum import WriteQuorum, is_written
from spec.siblings import Version, add, merge
from spec.types import NodeId, Value
from spec.writing import may_mint, minting_actor, next_dot


def next_version(s: State, n: NodeId, p: Reply, value: Value) -> Version:
    """The version that a put at a node would write."""
    dot = next_dot(minting_actor(n, s.disks[n], s.birth[n]), s.counter[n])
    return Version(dot, p.context, value)


def put_ok(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> bool:
    """A client writes, with the context of a reply or blindly, at an owner or at a node that stands in for one."""
    return (
        n in s.nodes
        and acts_for(s, n, owner)
        and (p in s.replies or (p.context == NOTHING and p.saw == FSet()))
        and may_mint(p.context, next_version(s, n, p, value).dot)
    )


def put(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> State:
    """It mints a version and stores it; its own copy counts."""
    v = next_version(s, n, p, value)
    actor = v.dot.actor
    return replace(
        s,
        disks=s.disks.set(n, replace(s.disks[n], births=max(s.disks[n].births, actor.birth))),
        birth=s.birth.set(n, actor.birth),
        counter=s.counter.set(n, v.dot.counter),
        store=s.store.set(n, add(s.store[n], v)),
        counted=s.counted | FSet.of([Acknowledgement(n, n, owner, v)]),
        created=s.created | FSet.of([v]),
        seen=s.seen.set(v, p.saw),
        minted=s.minted.set(actor, v.dot.counter),
    )


def again_ok(s: State, n: NodeId, v: Version, owner: NodeId) -> bool:
    """A put is repeated at the node that minted for it."""
    return n in s.nodes and acts_for(s, n, owner) and v in s.created and mints_as(s, n, v.dot.actor)


def again(s: State, n: NodeId, v: Version, owner: NodeId) -> State:
    """It mints nothing: the copy that is there counts as before."""
    return replace(s, counted=s.counted | FSet.of([Acknowledgement(n, n, owner, v)]))


def send_ok(s: State, n: NodeId, v: Version, target: NodeId, owner: NodeId) -> bool:
    """The coordinator of a put has an owner to tell, or somebody who stands in for it."""
    return n in s.nodes and target in s.nodes and owner in s.owners and v in s.created and mints_as(s, n, v.dot.actor)


def send(s: State, n: NodeId, v: Version, target: NodeId, owner: NodeId) -> State:
    """It sends everything that it holds."""
    return replace(s, sent=s.sent | FSet.of([Sent(n, target, owner, v, s.store[n])]))


def receive_ok(s: State, m: Sent) -> bool:
    """A coordinator's set arrives; who stands in for another has made its hint."""
    return m in s.sent and acts_for(s, m.target, m.owner)


def receive(s: State, m: Sent) -> State:
    """The holder merges it, durably, and acknowledges."""
    return replace(
        s,
        store=s.store.set(m.target, merge(s.store[m.target], m.versions)),
        acks=s.acks | FSet.of([Acknowledgement(m.coordinator, m.target, m.owner, m.about)]),
    )


def count_ok(s: State, a: Acknowledgement) -> bool:
    """An acknowledgement arrives."""
    return a in s.acks


def count(s: State, a: Acknowledgement) -> State:
    """The coordinator counts it."""
    return replace(s, counted=s.counted | FSet.of([a]))


def acknowledge_ok(s: State, n: NodeId, v: Version, quorum: WriteQuorum) -> bool:
    """A coordinator has counted enough owners for a version, and enough of them as primaries."""
    return is_written(
        FSet.of(a.owner for a in s.counted if a.coordinator == n and a.version == v),
        FSet.of(a.owner for a in s.counted if a.coordinator == n and a.version == v and a.holder == a.owner),
        quorum,
    )


def acknowledge(s: State, n: NodeId, v: Version, quorum: WriteQuorum) -> State:
    """It tells the client."""
    return replace(s, acked=s.acked | FSet.of([Success(v, quorum)]))


def finish_ok(s: State, n: NodeId, v: Version) -> bool:
    """A coordinator is done with a put, or has waited long enough."""
    return n in s.nodes


def finish(s: State, n: NodeId, v: Version) -> State:
    """It forgets what it counted."""
    return replace(s, counted=FSet.of(a for a in s.counted if not (a.coordinator == n and a.version == v)))


def elsewhere_ok(s: State, n: NodeId) -> bool:
    """A node mints for the first time for another key."""
    return n in s.nodes


def elsewhere(s: State, n: NodeId) -> State:
    """That takes a birth from its disk."""
    return replace(s, disks=s.disks.set(n, replace(s.disks[n], births=s.disks[n].births + 1)))
