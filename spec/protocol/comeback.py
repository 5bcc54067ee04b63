"""Actions of disks that are lost or from the past, and of the nodes that come back with them.

A disk in its place holds what might have been held once. Its node takes another incarnation, so it continues no
numbering, and is sent what others hold.
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.maps import FSet
from spec.protocol.state import Pushed, State, is_contiguous
from spec.rows import Disk
from spec.siblings import Siblings, is_antichain
from spec.types import NodeId


def is_new(s: State, n: NodeId, disk: Disk) -> bool:
    """Whether nothing was ever minted under the incarnation of a disk."""
    return all(not (a.node == n and a.incarnation == disk.incarnation) for a in s.minted)


def lose_ok(s: State, n: NodeId, disk: Disk, kept: Siblings, owed: FSet[NodeId]) -> bool:
    """A disk is lost, and an empty one takes its place, or one from the past: with what might have been held once."""
    return (
        n in s.nodes
        and is_new(s, n, disk)
        and kept.issubset(s.created)
        and is_antichain(kept)
        and is_contiguous(s, kept)
        and owed.issubset(s.owners)
    )


def lose(s: State, n: NodeId, disk: Disk, kept: Siblings, owed: FSet[NodeId]) -> State:
    """Its node continues no numbering."""
    return replace(
        s,
        disks=s.disks.set(n, disk),
        birth=s.birth.set(n, 0),
        counter=s.counter.set(n, 0),
        store=s.store.set(n, kept),
        owed=s.owed.set(n, owed),
        bereft=s.bereft | FSet.of([n]) | s.owed[n],
    )


def rename_ok(s: State, n: NodeId, disk: Disk) -> bool:
    """A node that cannot know whether its disk is from the past takes another incarnation."""
    return n in s.nodes and is_new(s, n, disk)


def rename(s: State, n: NodeId, disk: Disk) -> State:
    """It continues no numbering either."""
    return replace(s, disks=s.disks.set(n, disk), birth=s.birth.set(n, 0), counter=s.counter.set(n, 0))


def give_ok(s: State, n: NodeId, target: NodeId) -> bool:
    """A node that catches up has asked another."""
    return n in s.nodes and target in s.nodes


def give(s: State, n: NodeId, target: NodeId) -> State:
    """It is sent everything that the other holds."""
    return replace(s, pushed=s.pushed | FSet.of([Pushed(target, s.store[n])]))
