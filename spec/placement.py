"""Who holds a key at the moment: the preference list, and who stands in for those of it that are suspected to be down.

*Strict* placement asks the owners of a key and nobody else, whatever is suspected. With a *sloppy quorum* a node asks
the first N nodes of the key's walk that it does not suspect. Each of them that is not an owner, a *fallback*, stands
for one owner that was passed over, to whom it owes what it is given. Where there are not enough unsuspected nodes the
suspected owners are asked after all, for suspicion may be wrong. So there are always N, for N distinct owners. A node
that is none of them lets an owner coordinate, and does so itself where it suspects them all.

Suspicion is each node's own, may be wrong, and changes what a node asks, never what it holds. (Dynamo paper §4.6.)
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

from spec.maps import FMap, FSet
from spec.ring import Ring, owners_of, partition_of, walk_of
from spec.state import Node
from spec.types import Key, NodeId


def is_owner(node: Node, name: NodeId, key: Key) -> bool:
    """Whether the named node is in the preference list of the key."""
    return name in owners_of(node.ring, key, node.config.n)


def holders_of(node: Node, key: Key) -> FMap[NodeId, NodeId]:
    """The N nodes that a node asks about a key, each with the owner that it stands for: itself, if it is one."""
    if not node.config.sloppy or not node.suspected:
        return owners_alone(node.ring, partition_of(key, len(node.ring.walks)), node.config.n)
    owners = owners_of(node.ring, key, node.config.n)
    up = (name for name in walk_of(node.ring, key) if name not in node.suspected)
    passed_over = (owner for owner in owners if owner in node.suspected)
    holders = tuple(dict.fromkeys(chain(up, passed_over)))[: node.config.n]
    return stand(holders, owners)


@lru_cache(maxsize=4096)  # as many as there are partitions, and nearly every request asks
def owners_alone(ring: Ring, partition: int, n: int) -> FMap[NodeId, NodeId]:
    """The owners of a partition, each for itself."""
    owners = ring.walks[partition][:n]
    return stand(owners, owners)


@lru_cache(maxsize=4096)  # mostly the same few
def stand(holders: tuple[NodeId, ...], owners: tuple[NodeId, ...]) -> FMap[NodeId, NodeId]:
    """Each holder with the owner that it stands for: owners for themselves, the others for those that are left."""
    left = iter([owner for owner in owners if owner not in holders])
    return FMap.of({holder: holder if holder in owners else next(left) for holder in holders})


@lru_cache(maxsize=4096)  # of the same few, at every answer
def primaries(holders: FMap[NodeId, NodeId], nodes: FSet[NodeId]) -> FSet[NodeId]:
    """Those of some holders who stand for themselves: who are owners."""
    return FSet(tuple([node for node in nodes if holders[node] == node]))


@lru_cache(maxsize=4096)
def primaries_problem(name: str, wanted: int, holders: FMap[NodeId, NodeId]) -> str:
    """Why there cannot be so many primaries among those who are asked; empty if there can."""
    asked = primaries(holders, holders.keys())
    if len(asked) >= wanted:
        return ""
    return f"{name} = {wanted}, but of the owners only {', '.join(asked) or 'none'} can be asked; others stand in"


def with_coordinator(holders: FMap[NodeId, NodeId], node: NodeId) -> FMap[NodeId, NodeId]:
    """The same with a node that is to coordinate among them: it takes a place, if it can that of no owner."""
    if node in holders:
        return holders
    places = [(holder == owner, holder, owner) for holder, owner in holders.items()]
    _, leaves, owner = min(places, key=lambda place: place[0])
    return holders.remove(leaves).set(node, owner)


def coordinator_of(node: Node, key: Key, holders: FMap[NodeId, NodeId]) -> NodeId:
    """Who is to coordinate what a client asks this node: itself where it is a holder of the key, else an owner.

    Where it suspects all owners, itself again. So nobody else is asked to coordinate for others: a row of a fallback
    comes and goes, and could not tell that it had been asked before.
    """
    if node.name in holders:
        return node.name
    owners = owners_of(node.ring, key, node.config.n)
    if not node.config.sloppy:
        return owners[0]
    return next((owner for owner in owners if owner not in node.suspected), node.name)
