"""Actions of disks that are lost or from the past, and of nodes that come back with them and catch up.

A disk in the place of one that is lost holds what might have been held once. Its node takes another incarnation, so it
continues no numbering, and lacks what all others hold: it asks each of them for it, merges what comes, and answers no
read while it lacks anything of an owner. When it lacks nothing it has *regained* what it lost (`inv_lost`), and counts
again as an owner that knows it: but for what is `gone`, because too many lost it at once.

A disk from the past that its node takes for its own is, here, one that lacks everything from the start.
"""

# ruff: noqa: ARG001  a guard takes the parameters of its action, and an action those of its guard

from __future__ import annotations

from msgspec.structs import replace

from spec.maps import FSet, SetMap
from spec.protocol.state import Given, State, is_contiguous, stored
from spec.rows import Disk
from spec.siblings import Siblings, Version, is_antichain, merge
from spec.trust import given_all, is_asked, lacking_all
from spec.types import NodeId

# Disks.


def is_new(s: State, n: NodeId, disk: Disk) -> bool:
    """Whether nothing was ever minted, or asked for, under the incarnation of a disk."""
    return all(not (a.node == n and a.incarnation == disk.incarnation) for a in s.minted) and all(
        not (g.target == n and g.incarnation == disk.incarnation) for g in s.given
    )


def is_spared(s: State, n: NodeId, x: Version) -> bool:
    """Whether `x` is safe if this owner loses it: another one knows it, and none has lost it and is catching up."""
    return any(o != n and stored(s, o, x) for o in s.owners) and all(o == n or x not in s.lost[o] for o in s.owners)


def lose_ok(s: State, n: NodeId, disk: Disk, kept: Siblings, owed: FSet[NodeId]) -> bool:
    """A disk is lost, and an empty one takes its place, or one from the past: with what might have been held once."""
    return (
        n in s.nodes
        and is_new(s, n, disk)
        and all(o == n or o in disk.lacking for o in s.owners)
        and kept.issubset(s.created)
        and is_antichain(kept)
        and is_contiguous(s, kept)
        and owed.issubset(s.owners)
    )


def lose(s: State, n: NodeId, disk: Disk, kept: Siblings, owed: FSet[NodeId]) -> State:
    """Its node continues no numbering."""
    knew = s.lost[n] | FSet.of(x for x in s.created if stored(s, n, x))
    return replace(
        s,
        disks=s.disks.set(n, disk),
        birth=s.birth.set(n, 0),
        counter=s.counter.set(n, 0),
        store=s.store.set(n, kept),
        owed=s.owed.set(n, owed),
        lost=s.lost.set(n, knew),
        unpaid=SetMap.of(
            {o: s.unpaid[o] | FSet.of(x for x in s.created if o in s.owed[n] and stored(s, n, x)) for o in s.owners}
        ),
        gone=s.gone | FSet.of(x for x in knew if n in s.owners and not is_spared(s, n, x)),
    )


def rename_ok(s: State, n: NodeId, disk: Disk) -> bool:
    """A node that cannot know whether its disk is from the past takes another incarnation."""
    return n in s.nodes and is_new(s, n, disk) and disk.lacking == s.disks[n].lacking


def rename(s: State, n: NodeId, disk: Disk) -> State:
    """It continues no numbering either."""
    return replace(s, disks=s.disks.set(n, disk), birth=s.birth.set(n, 0), counter=s.counter.set(n, 0))


# Catching up.


def doubt_ok(s: State, n: NodeId, others: FSet[NodeId]) -> bool:
    """A node begins anew, whether it has lost anything or not; to lack less than before, it must have lost nothing."""
    return n in s.nodes and (s.disks[n].lacking.issubset(others) or s.lost[n] == FSet())


def doubt(s: State, n: NodeId, others: FSet[NodeId]) -> State:
    """It lacks what these others hold."""
    return replace(s, disks=s.disks.set(n, lacking_all(s.disks[n], others)))


def give_ok(s: State, n: NodeId, target: NodeId, incarnation: str) -> bool:
    """A node that catches up has asked another."""
    return n in s.nodes and target in s.nodes


def give(s: State, n: NodeId, target: NodeId, incarnation: str) -> State:
    """It is sent everything that the other holds of its keys."""
    versions = FSet.of(v for v in s.store[n] if target in s.owners)
    return replace(s, given=s.given | FSet.of([Given(n, target, incarnation, versions)]))


def take_back_ok(s: State, g: Given) -> bool:
    """What another holds arrives."""
    return g in s.given


def take_back(s: State, g: Given) -> State:
    """The node merges it, durably, and lacks the other no more, if it still waits for that."""
    disk = s.disks[g.target]
    asked = is_asked(disk, g.source, g.incarnation)
    return replace(
        s,
        store=s.store.set(g.target, merge(s.store[g.target], g.versions)),
        disks=s.disks.set(g.target, given_all(disk, g.source) if asked else disk),
    )


def regain_ok(s: State, n: NodeId) -> bool:
    """A node lacks nothing any more."""
    return n in s.nodes and s.disks[n].lacking == FSet()


def regain(s: State, n: NodeId) -> State:
    """It counts again: whatever it lost, it has."""
    return replace(s, lost=s.lost.set(n, FSet()))
