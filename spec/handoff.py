"""Hinted handoff: what a node holds for others reaches them, and only then is let go.

How hints come to be is told in `spec.hints`. From time to time a node hands what it owes to an owner that it does not
suspect. The hint goes when the owner has acknowledged, durably, a set that covers everything that the row holds by
then; what came meanwhile is handed over next time. A row that is held for others only goes with its last hint, and its
numbering with it. (Dynamo paper §4.6.)

Whole sets are handed over, as everywhere, so what the owner acknowledges is named by its context.
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.clock import Clock, covers
from spec.events import HandOff, Send, WriteRow
from spec.maps import FSet
from spec.messages import Handoff, Taken
from spec.placement import is_owner
from spec.repair import known_by, store
from spec.rows import NO_ROW
from spec.siblings import Siblings
from spec.state import Node, Outcome, Request, Storage
from spec.types import NodeId


def hand_off(node: Node, storage: Storage, event: HandOff) -> Outcome:
    """Send an owner what it is owed, as far as it is."""
    if event.target in node.suspected:
        return Outcome(node, None)
    rows = ((key, storage.row(key)) for key in event.keys)
    sends = (Send(event.target, Handoff(key, row.siblings)) for key, row in rows if event.target in row.owed)
    return Outcome(node, None, effects=tuple(sends))


def take_over(node: Node, request: Request | None, storage: Storage, source: NodeId, message: Handoff) -> Outcome:
    """A fallback hands over: make it durable, then acknowledge."""
    taken = Taken(message.key, known_by(message.siblings))
    return Outcome(node, request, store(storage, message.key, message.siblings), (Send(source, taken),))


def may_release(held: Siblings, context: Clock) -> bool:
    """Whether an owner that holds a set with this context lacks nothing that is held here."""
    return all(covers(context, v.dot) for v in held)


def release(node: Node, request: Request | None, storage: Storage, source: NodeId, message: Taken) -> Outcome:
    """An owner has acknowledged: let the hint go, and the row with the last hint if the node is no owner itself."""
    row = storage.row(message.key)
    if source not in row.owed or not may_release(row.siblings, message.context):
        return Outcome(node, request)
    left = row.owed - FSet.of([source])
    kept = len(left) > 0 or is_owner(node, node.name, message.key)
    return Outcome(node, request, (WriteRow(message.key, replace(row, owed=left) if kept else NO_ROW),))
