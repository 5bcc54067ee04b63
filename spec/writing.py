"""Puts: the coordinator of a put gives it its name, and sees to it that enough owners hold it.

The coordinator mints one dot for the request onto the set it holds, stores that durably, and sends the whole set to the
other owners. Its own copy and every distinct owner's acknowledgement count; at W, if PW are of owners themselves, the
client is told, and shown what its coordinator then holds if it wished. A put that wants more owners themselves than are
asked is turned down. A request that this row already minted for mints nothing again: it is replicated and acknowledged
like the first time; or, if that was under a name that the node bears no more, nobody knows what became of it. A row
remembers only its latest requests, so a put that *is asked again* says so: where it may have been forgotten nothing is
minted, for an overwritten value would come back. (Dynamo paper §4.5, §4.6.)

A put may have a *condition*: that nothing is there, or that what is there has exactly the context that it brings. Its
coordinator decides, when it mints, on what it holds itself. So of two puts that one node takes on the same condition
only the first is stored, and the other's client is told for certain. That is all. It is no compare-and-swap: nobody
else is asked, so a coordinator that has missed a write takes a put that it should not, and two of them may each take
one. Then there are siblings, as after any two puts that did not know of each other. What was minted for is never asked
for its condition again; and a put that may have happened is not made undone by a condition that fails the next time.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from spec.clock import Actor, Clock, Dot, covers
from spec.events import CancelTimer, Effect, Send, SetTimer, StorageWrite, WriteDisk, WriteRow
from spec.hints import may_owe, owing
from spec.maps import FMap, FSet
from spec.messages import Indefinite, Overloaded, Put, Refused, Stored, Unmet, Write, Written
from spec.placement import primaries, primaries_problem
from spec.quorum import is_written, so_far, write_quorum
from spec.repair import NOBODY
from spec.requests import Asked, answer, found, may_linger, refuse
from spec.rows import Disk, Minted, Row
from spec.siblings import Siblings, Version, add, context_of
from spec.state import Node, Outcome, PutInFlight, Request, Storage
from spec.trust import known_disk, may_have_lost, minting_disk, numbered
from spec.types import Limits, NodeId, RequestId

# Minting.


def minting_actor(node: NodeId, disk: Disk, birth: int) -> Actor:
    """The actor under which a node mints for a row: of the row's birth, or, if that is 0, the next to be born."""
    return Actor(node, disk.incarnation, birth if birth > 0 else disk.births + 1)


def next_dot(actor: Actor, counter: int) -> Dot:
    """The dot after `counter` writes of an actor."""
    return Dot(actor, counter + 1)


def may_mint(context: Clock, dot: Dot) -> bool:
    """Whether a put with this context may be given this dot: nobody has seen a write that has not happened."""
    return not covers(context, dot)


def dot_minted_for(actor: Actor, row: Row, request: RequestId) -> Dot | None:
    """The dot that a repeated request was given the first time."""
    return next((Dot(actor, m.counter) for m in row.minted if m.request == request), None)


def may_have_forgotten(row: Row) -> bool:
    """Whether a row has minted for requests that it does not remember."""
    return row.counter > len(row.minted)


def is_sole_coordinator(node: Node, asked: Asked, stands_for: NodeId) -> bool:
    """Whether nobody but this node, in a row that it has kept, can have minted for the request at an earlier attempt.

    Its client asks the same node each time. Under strict placement that node always coordinates, or always asks the
    same owner to. Under sloppy placement that goes by suspicion, but for an owner who was asked itself.
    """
    return not node.config.sloppy or (asked.origin is None and stands_for == node.name)


def mint(row: Row, version: Version, request: RequestId, remembered: int) -> Row:
    """The row after a put of a new version."""
    counter = version.dot.counter
    return Row(
        siblings=add(row.siblings, version),
        birth=version.dot.actor.birth,
        counter=counter,
        minted=(*row.minted, Minted(request, counter))[-remembered:],
        former=row.former[-remembered:],
        owed=row.owed,
    )


def put_problem(put: Put, dot: Dot, row: Row, minted: Row, limits: Limits, sole: bool, lost: bool) -> str:
    """Why a put may not mint this dot and turn the one row into the other; empty if it may."""
    if put.again and may_have_forgotten(row):
        return "it may be among the puts that are no longer remembered"
    if lost:
        return "it may be among the puts that were lost with a disk"
    if put.again and not sole:
        return "another node may have coordinated it"
    if not may_mint(put.context, dot):
        return f"the context covers {dot}, a write that has not happened"
    if len(minted.siblings) > max(limits.siblings, len(row.siblings)):
        return f"the key has {limits.siblings} siblings; get it and put with the context"
    return ""


def unmet(put: Put, held: Siblings) -> str:
    """Why the condition of a put does not hold of what its coordinator holds; empty if it does, or there is none."""
    if put.condition == "none-match" and held:
        return f"{len(held)} siblings are there" if len(held) > 1 else "a value is there"
    if put.condition == "context-unchanged" and context_of(held) != put.context:
        return "what is there has another context"
    return ""


# Coordination.


def start_put(node: Node, storage: Storage, asked: Asked, put: Put, holders: FMap[NodeId, NodeId]) -> Outcome:
    """Coordinate a put: mint, store, replicate. A repeated request is replicated again under the dot it has."""
    request, disk = asked.request, minting_disk(node, known_disk(storage))
    row = numbered(disk, storage.row(put.key))
    quorum = write_quorum(put.wishes, node.config)
    lacking = primaries_problem("pw", quorum.pw, holders)
    if lacking:
        return refuse(node, asked.origin, request, put, Refused(lacking))
    actor, stands_for = minting_actor(node.name, disk, row.birth), holders[node.name]
    if stands_for != node.name and not may_owe(node, storage, put.key, stands_for):
        full = f"node {node.name} is overloaded: it keeps {storage.count_hints()} hints"
        return refuse(node, asked.origin, request, put, Overloaded(full))
    if request in row.former:
        again = Indefinite(f"node {node.name} was asked before, under a name that it bears no more")
        return Outcome(node, None, effects=(answer(asked.origin, request, again),))
    dot = dot_minted_for(actor, row, request)
    writes: tuple[StorageWrite, ...] = ()
    kept = row
    if dot is None:
        dot, limits = next_dot(actor, row.counter), node.config.limits
        minted = mint(row, Version(dot, put.context, put.value), request, limits.remembered_requests)
        changed = unmet(put, row.siblings)
        if changed:
            return refuse(node, asked.origin, request, put, Unmet(changed))
        sole = is_sole_coordinator(node, asked, stands_for)
        lost = put.again and may_have_lost(node, disk, row, put.key)
        problem = put_problem(put, dot, row, minted, limits, sole, lost)
        if problem:
            return refuse(node, asked.origin, request, put, Refused(problem))
        if row.birth == 0:
            writes = (WriteDisk(replace(disk, births=actor.birth)),)
        kept = minted
    if stands_for != node.name:
        kept = owing(node, storage, put.key, kept, FSet.of([stands_for]))
    started = PutInFlight(request, put.key, asked.origin, dot, put.show, quorum, holders, acknowledged=FSet())
    sends = tuple(
        [
            Send(holder, Write(request, put.key, kept.siblings, None if holder == owner else owner))
            for holder, owner in holders.items()
            if holder != node.name
        ]
    )
    timer = SetTimer(request, asked.patience_ms)
    counted = acknowledge(node, storage, started, node.name, kept)
    kept = counted.row
    if kept != row:
        writes = (*writes, WriteRow(put.key, kept))
    return Outcome(node, counted.request, writes, (*sends, timer, *counted.effects))


class Counted(Struct, frozen=True):
    """What an acknowledgement makes of a put."""

    request: PutInFlight | None
    row: Row
    effects: tuple[Effect, ...] = ()


def acknowledge(node: Node, storage: Storage, request: PutInFlight, holder: NodeId, row: Row) -> Counted:
    """One more holder has it durably. At W and PW the client is told (of this row); then it is seen whom it is owed to.

    Who has not acknowledged by then is waited for, unless placement is strict: then there are no hints. Where too many
    are waited for already it is owed to them at once.
    """
    counted = replace(request, acknowledged=request.acknowledged | FSet.of([holder]))
    effects: tuple[Effect, ...] = ()
    if not counted.answered:
        if not is_written(counted.acknowledged, primaries(counted.holders, counted.acknowledged), counted.quorum):
            return Counted(counted, row)
        effects = (answer(request.origin, request.request, stored(request, row)),)
        counted = replace(counted, answered=True)
    owed = missing(counted) if node.config.sloppy else NOBODY
    if owed and may_linger(node, request):
        return Counted(counted, row, effects)
    return Counted(None, owing(node, storage, request.key, row, owed), (*effects, CancelTimer(request.request)))


def stored(request: PutInFlight, row: Row) -> Stored:
    """The success of a put, and what this row shows of the key if its client wished to see it."""
    return Stored(request.dot, found(row.siblings) if request.show else None)


def missing(request: PutInFlight) -> FSet[NodeId]:
    """The owners for whom nobody has acknowledged a put."""
    return FSet.of(owner for holder, owner in request.holders.items() if holder not in request.acknowledged)


def unacknowledged(request: PutInFlight) -> str:
    """How far the acknowledgements of a put are from being enough."""
    quorum, counted = request.quorum, request.acknowledged
    return so_far(counted, quorum.w, primaries(request.holders, counted), quorum.pw, "acknowledged")


def written(node: Node, storage: Storage, request: Request | None, source: NodeId, message: Written) -> Outcome:
    """An acknowledgement arrived; only who was asked counts, for the owner that it was asked to stand for."""
    if not isinstance(request, PutInFlight) or request.holders.get(source) != (message.owner or source):
        return Outcome(node, request)
    row = storage.row(request.key)
    counted = acknowledge(node, storage, request, source, row)
    writes = () if counted.row == row or not row.siblings else (WriteRow(request.key, counted.row),)
    return Outcome(node, counted.request, writes, counted.effects)
