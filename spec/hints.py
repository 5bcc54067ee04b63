"""Hints: whom a node owes what it holds, and how much of that it may take on.

A *hint* is a note in a row: this may be lacking at that owner. A fallback makes one for the owner that it stands in
for, with what it stores; a coordinator makes one for an owner that did not acknowledge in time. (Dynamo paper §4.6.)

A node keeps only so many hints. They are counted on its disk, so no crash makes the count wrong. Where there is no room
for another one, a node stands in for nobody to whom it does not owe the key already: as a fallback it stores nothing
and does not acknowledge, as if what it was sent had been lost; as a coordinator it turns the put down before anything
changed. Who is late with an acknowledgement is then owed nothing by the coordinator, and has to be repaired when
somebody reads: that costs no promise, for nobody was counted on a hint that is not there.
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.events import StorageWrite, WriteRow
from spec.maps import FSet
from spec.rows import Row
from spec.state import Node, Storage
from spec.types import Key, NodeId


def may_owe(node: Node, storage: Storage, key: Key, owner: NodeId) -> bool:
    """Whether the node has a hint for this owner of the key, or room for one."""
    return owner in storage.row(key).owed or storage.count_hints() < node.config.limits.hints


def owing(node: Node, storage: Storage, key: Key, row: Row, owners: FSet[NodeId]) -> Row:
    """The row, which a step makes of that of a key, with hints for these owners; the first of them, if not all fit."""
    lacking = owners - row.owed
    if not lacking:
        return row
    made = len(row.owed) - len(storage.row(key).owed)
    room = max(0, node.config.limits.hints - storage.count_hints() - made)
    return replace(row, owed=row.owed | FSet(lacking.items[:room]))


def owe(node: Node, storage: Storage, key: Key, owners: FSet[NodeId]) -> tuple[StorageWrite, ...]:
    """The write that makes hints; none where they are there, nothing is held, or there is no room."""
    row = storage.row(key)
    after = owing(node, storage, key, row, owners)
    return () if after == row or not row.siblings else (WriteRow(key, after),)
