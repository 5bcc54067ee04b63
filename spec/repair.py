"""Repair: how replicas that missed a write get it after all.

A replica stores what it is sent by merging it with what it holds, and acknowledges only what is durable. *Read repair*
sends the merged set of a get to every owner whose answer was staler: after the reply, and for answers that come after
it as well; or, where it is *blocking*, before the reply, which then waits to hear that it is held. (Dynamo paper §5.)
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.clock import Clock
from spec.events import Effect, Send, StorageWrite, WriteRow
from spec.hints import may_owe
from spec.maps import FMap, FSet
from spec.messages import Answer, Read, Repair, Repaired, Write, Written
from spec.siblings import NO_VERSIONS, Siblings, context_of, is_context, merge
from spec.state import GetInFlight, Node, Outcome, Request, Storage
from spec.trust import known_disk, may_answer
from spec.types import NO_REQUEST, Key, NodeId

NOBODY: FSet[NodeId] = FSet()


def store(storage: Storage, key: Key, siblings: Siblings, owed: FSet[NodeId] = NOBODY) -> tuple[StorageWrite, ...]:
    """The write that merges a set into a row, owed to these owners; none where the row knows it all."""
    row = storage.row(key)
    merged = merge(row.siblings, siblings)
    if merged == row.siblings and owed.issubset(row.owed):
        return ()
    return (WriteRow(key, replace(row, siblings=merged, owed=row.owed | owed)),)


def replicate(node: Node, request: Request | None, storage: Storage, source: NodeId, message: Write) -> Outcome:
    """A coordinator sends a set, perhaps for another to have later: make it durable, then acknowledge.

    Without room for the hint it is as if it had never come.
    """
    owed = NOBODY
    if message.owner is not None and message.owner != node.name:
        if not may_owe(node, storage, message.key, message.owner):
            return Outcome(node, request)
        owed = FSet.of([message.owner])
    return Outcome(
        node,
        request,
        store(storage, message.key, message.siblings, owed),
        (Send(source, Written(message.request, message.owner)),),
    )


def read(node: Node, request: Request | None, storage: Storage, source: NodeId, message: Read) -> Outcome:
    """A coordinator asks: tell it the whole set; but not if some of it may have been lost."""
    if not may_answer(node, known_disk(storage), message.key):
        return Outcome(node, request)
    siblings = storage.row(message.key).siblings
    return Outcome(node, request, effects=(Send(source, Answer(message.request, siblings)),))


def repaired(node: Node, request: Request | None, storage: Storage, source: NodeId, message: Repair) -> Outcome:
    """A reader says that this node's answer was stale: make it durable, then acknowledge, if it waits for that."""
    writes = store(storage, message.key, message.siblings)
    if message.request == NO_REQUEST:
        return Outcome(node, request, writes)
    told = Repaired(message.request, known_by(message.siblings))
    return Outcome(node, request, writes, (Send(source, told),))


def known_by(siblings: Siblings) -> Clock:
    """What whoever holds a set knows: told to those who rely on it, and let go of what it covers."""
    context = context_of(siblings)
    assert is_context(context, siblings), "the context covers exactly what is held"
    return context


def as_known(answers: FMap[NodeId, Siblings], siblings: Siblings) -> Siblings:
    """An answer, and where it says what somebody has said before, that very object: what is one is equal at once."""
    for _, known in answers.entries:
        if known == siblings:
            return known
    return siblings


def fold_answers(answers: FMap[NodeId, Siblings]) -> Siblings:
    """Everything that the owners who answered know."""
    merged = NO_VERSIONS
    for _, siblings in answers.entries:
        if not merged.items:
            merged = siblings
        elif siblings is not merged:  # who says the same adds nothing; it is the same object, says `as_known`
            merged = merge(merged, siblings)
    return merged


def repair_stale(
    node: Node, storage: Storage, request: GetInFlight, merged: Siblings
) -> tuple[GetInFlight, tuple[StorageWrite, ...], tuple[Effect, ...]]:
    """Send the merged set to whichever owner answered less, and from then on take it to hold that set.

    While the reply waits for that, it is to be acknowledged.
    """
    stale = [name for name, known in request.answers.entries if known != merged and request.holders[name] == name]
    if not stale:
        return request, (), ()
    writes = store(storage, request.key, merged) if node.name in stale else ()
    awaited = request.request if request.settling else NO_REQUEST
    sends = tuple(Send(owner, Repair(request.key, merged, awaited)) for owner in stale if owner != node.name)
    level = FMap(tuple((owner, merged) for owner in request.answers))
    return replace(request, answers=level), writes, sends
