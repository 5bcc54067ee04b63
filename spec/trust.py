"""What a node may still rely on: whether its disk is what it was, and what follows for names and answers.

How it comes to know is told in `spec.comeback`. Here is what it means: a node that does not know yet, or lacks what it
lost, names its writes as nobody did before and does not answer for what it may have known.
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.maps import FSet
from spec.quorum import is_quorum
from spec.ring import owners_of, preference_lists
from spec.rows import Disk, Row
from spec.siblings import context_of
from spec.state import Node, Storage
from spec.types import Key, NodeId


def others(node: Node) -> FSet[NodeId]:
    """All nodes but this one."""
    return FSet(tuple([member.name for member in node.ring.members if member.name != node.name]))


def known_disk(storage: Storage) -> Disk:
    """The disk of a node that has started."""
    disk = storage.disk()
    assert disk is not None, "a node that has started has a disk"
    return disk


def is_behind(disk: Disk, mark: int) -> bool:
    """Whether a disk of which somebody saw this mark is from the past."""
    return disk.mark < mark


def is_vouched_for(node: Node, vouchers: FSet[NodeId]) -> bool:
    """Whether enough others have seen no later mark of a node's disk than it has: at least one.

    Of every preference list under which the node may write they are W, with the node itself if it is in it: so many
    that, if fewer than W disks of the list are lost or from the past, one of the others is neither.
    """
    lists = preference_lists(node.ring, node.config.n)
    told = vouchers | FSet.of([node.name])
    concerned = [owners for owners in lists if node.config.sloppy or node.name in owners]
    return len(vouchers) > 0 and all(is_quorum(told & owners, node.config.w) for owners in concerned)


def may_answer(node: Node, disk: Disk, key: Key) -> bool:
    """Whether what the node holds of a key counts as an answer."""
    if not node.confirmed or not disk.lacking.items:
        return node.confirmed
    return is_whole(disk, FSet.of(owners_of(node.ring, key, node.config.n)))


def is_whole(disk: Disk, owners: FSet[NodeId]) -> bool:
    """Whether a disk lacks nothing that these nodes hold."""
    return not any(owner in disk.lacking for owner in owners)


def renamed(disk: Disk, run: str) -> Disk:
    """The disk under the incarnation of this run; what was born before it is not continued."""
    return disk if disk.incarnation == run else replace(disk, incarnation=run, since=disk.births)


def minting_disk(node: Node, disk: Disk) -> Disk:
    """The disk as the node mints on it: under a new incarnation, while nobody knows whether it is from the past."""
    return disk if node.confirmed else renamed(disk, node.run)


def numbered(disk: Disk, row: Row) -> Row:
    """The row without a numbering that was begun before the disk's incarnation; for whom it minted it still knows."""
    if row.birth == 0 or row.birth > disk.since:
        return row
    former = (*row.former, *[minted.request for minted in row.minted])
    return replace(row, birth=0, counter=0, minted=(), former=former)


def may_have_lost(node: Node, disk: Disk, row: Row, key: Key) -> bool:
    """Whether the node may have minted for requests that the row does not remember: on a disk that is lost, or that
    was not, under an earlier name; then the row knows writes of that name."""
    if disk.forgetful or not may_answer(node, disk, key):
        return True
    return any(a.node == node.name and a.incarnation != disk.incarnation for a in context_of(row.siblings))


def begun_anew(node: Node, disk: Disk) -> Disk:
    """The disk of a node that begins anew: it mints under a new name, and lacks what all others hold."""
    return lacking_all(renamed(disk, node.run), others(node))


def lacking_all(disk: Disk, nodes: FSet[NodeId]) -> Disk:
    """The disk of a node that lacks whatever these hold."""
    return replace(disk, lacking=nodes)


def is_asked(disk: Disk, source: NodeId, incarnation: str) -> bool:
    """Whether the node waits for what another gives it that it asked under this incarnation."""
    return disk.incarnation == incarnation and source in disk.lacking


def given_all(disk: Disk, source: NodeId) -> Disk:
    """The disk when another node has given all that it holds."""
    return replace(disk, lacking=disk.lacking - FSet.of([source]))
