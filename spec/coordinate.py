"""Coordination of puts and gets by an owner of the key, and forwarding by everybody else.

**put.** The coordinator mints one dot for the request onto the set it holds, stores that durably, and sends the whole
set to the other owners. Its own copy and every distinct owner's acknowledgement count; at W the client is told, and
shown what its coordinator then holds if it wished. A request that this row already minted for mints nothing again: it
is replicated and acknowledged like the first time. A row remembers only its latest requests, so a put that *is asked
again* says so: where it may have been forgotten nothing is minted, for an overwritten value would come back.

**get.** The coordinator asks all owners, itself included, and answers with everything that the first R of them know,
merged. From then on every owner whose answer is staler than the merged set, late ones too, is sent that set.

**forward.** A node that does not own the key hands the request once to the first owner. Whoever receives a forwarded
request and does not own the key either refuses: two hops would mean that rings differ.

A request may take as long as whoever asks waits for it, and no longer than the configuration says.
A put that times out is *indefinite*: the dot exists, and may yet spread. So is one that is turned down when it is
asked again: that says nothing of the first time. A get that times out has simply failed.
(Dynamo paper §4.5, §4.6; read repair §5, the state machine.)
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from spec.clock import Actor, Clock, Dot, covers
from spec.events import CancelTimer, Effect, Reply, Send, SetTimer, StorageWrite, WriteDisk, WriteRow
from spec.handoff import owe, owing
from spec.maps import FMap, FSet
from spec.messages import (
    Answer,
    Failed,
    Forward,
    Forwarded,
    Found,
    Get,
    Indefinite,
    Operation,
    Overloaded,
    Put,
    Read,
    Refused,
    Result,
    Stored,
    Write,
    Written,
)
from spec.placement import first_holder, holders_of, with_coordinator
from spec.quorum import is_read_quorum, is_write_quorum
from spec.repair import NOBODY, fold_answers, repair_stale
from spec.rows import Disk, Minted, Row
from spec.siblings import Siblings, Version, add, context_of, is_context
from spec.state import ForwardInFlight, GetInFlight, Node, Outcome, PutInFlight, Request, Storage, awaits_result
from spec.trust import known_disk, may_answer, may_have_lost, minting_disk, numbered
from spec.types import Config, Key, Limits, Milliseconds, NodeId, RequestId


def answer(origin: NodeId | None, request: RequestId, result: Result) -> Effect:
    """The result, to whoever asked: the client, or the node that forwarded."""
    return Reply(request, result) if origin is None else Send(origin, Forwarded(request, result))


def unchanged(operation: Operation, result: Failed | Refused) -> Result:
    """What is said of an operation that changes nothing this time; what an earlier attempt changed is not known."""
    if isinstance(operation, Put) and operation.again:
        return Indefinite(f"it was asked before; this time: {result.reason}")
    return result


def refuse(node: Node, origin: NodeId | None, request: RequestId, operation: Operation, refused: Refused) -> Outcome:
    """Turn a request down before anything changed."""
    return Outcome(node, None, effects=(answer(origin, request, unchanged(operation, refused)),))


def found(siblings: Siblings) -> Found:
    """A set as it is shown to a client."""
    context = context_of(siblings)
    assert is_context(context, siblings), "the context covers exactly what is shown"
    return Found(siblings, context)


# Admission.


class Asked(Struct, frozen=True):
    """A request that is to be coordinated or forwarded."""

    request: RequestId
    origin: NodeId | None
    """The node that forwarded it; None if the client asked here."""
    patience_ms: Milliseconds
    """How long it may take."""


def size_problem(operation: Operation, limits: Limits) -> str:
    """What is too large about an operation; empty if nothing is."""
    if len(operation.key) > limits.key_bytes:
        return f"the key is {len(operation.key)} bytes, the limit is {limits.key_bytes}"
    if isinstance(operation, Put) and len(operation.value) > limits.value_bytes:
        return f"the value is {len(operation.value)} bytes, the limit is {limits.value_bytes}"
    return ""


def whom_to_ask(node: Node, key: Key, origin: NodeId | None) -> FMap[NodeId, NodeId]:
    """The holders of a key, as the node sees them; itself among them, unless it is strict, if another node asks it."""
    holders = holders_of(node, key)
    return with_coordinator(holders, node.name) if origin is not None and node.config.sloppy else holders


def accept(
    node: Node,
    storage: Storage,
    request: RequestId,
    operation: Operation,
    within_ms: Milliseconds | None,
    origin: NodeId | None,
) -> Outcome:
    """Take on a new request: refuse it, coordinate it, or forward it."""
    problem = size_problem(operation, node.config.limits)
    if problem:
        return refuse(node, origin, request, operation, Refused(problem))
    if node.in_flight >= node.config.limits.requests_in_flight:
        busy = f"node {node.name} is overloaded: {node.in_flight} requests in flight"
        return refuse(node, origin, request, operation, Overloaded(busy))
    asked = Asked(request, origin, timeout_ms(node.config, operation, within_ms))
    holders = whom_to_ask(node, operation.key, origin)
    if node.name in holders:
        if isinstance(operation, Put):
            return start_put(node, storage, asked, operation, holders)
        return start_get(node, storage, asked, operation, holders)
    if origin is not None:
        problem = f"node {node.name} does not own the key, nor should {origin} think so"
        return refuse(node, origin, request, operation, Refused(problem))
    return forward(node, asked, operation)


def timeout_ms(config: Config, operation: Operation, within_ms: Milliseconds | None) -> Milliseconds:
    """How long a request may take: no longer than whoever asked waits, and never longer than nodes do."""
    longest = config.put_timeout_ms if isinstance(operation, Put) else config.get_timeout_ms
    return longest if within_ms is None else min(longest, within_ms)


# Forwarding.


def forward(node: Node, asked: Asked, operation: Operation) -> Outcome:
    """Let the first holder coordinate, and wait for its result."""
    coordinator = first_holder(node, operation.key)
    return Outcome(
        node,
        ForwardInFlight(asked.request, is_put=isinstance(operation, Put)),
        effects=(
            Send(coordinator, Forward(asked.request, operation, asked.patience_ms)),
            SetTimer(asked.request, asked.patience_ms),
        ),
    )


def forwarded(node: Node, request: Request | None, message: Forwarded) -> Outcome:
    """The coordinator's result arrived: pass it on, unless the client was already told something."""
    if not isinstance(request, ForwardInFlight):
        return Outcome(node, request)
    result = message.result
    if request.is_put and isinstance(result, Refused):
        # The network may have repeated the forward, and the moment may have passed when the other copy arrives.
        result = Indefinite(f"the coordinator turned it down, unless it is asked again: {result.reason}")
    return Outcome(node, None, effects=(Reply(request.request, result), CancelTimer(request.request)))


# Put.


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
        owed=row.owed,
    )


def put_problem(put: Put, dot: Dot, row: Row, minted: Row, limits: Limits, sole: bool, lost: bool) -> str:
    """Why a put may not mint this dot and turn the one row into the other; empty if it may."""
    if put.again and may_have_forgotten(row):
        return "it may be among the puts that are no longer remembered"
    if put.again and lost:
        return "it may be among the puts that were lost with a disk"
    if put.again and not sole:
        return "another node may have coordinated it"
    if not may_mint(put.context, dot):
        return f"the context covers {dot}, a write that has not happened"
    if len(minted.siblings) > max(limits.siblings, len(row.siblings)):
        return f"the key has {limits.siblings} siblings; get it and put with the context"
    return ""


def start_put(node: Node, storage: Storage, asked: Asked, put: Put, holders: FMap[NodeId, NodeId]) -> Outcome:
    """Coordinate a put: mint, store, replicate. A repeated request is replicated again under the dot it has."""
    request, disk, held = asked.request, minting_disk(node, known_disk(storage)), storage.row(put.key)
    row = numbered(disk, held)
    actor, stands_for = minting_actor(node.name, disk, row.birth), holders[node.name]
    dot = dot_minted_for(actor, row, request)
    writes: tuple[StorageWrite, ...] = ()
    kept = row
    if dot is None:
        dot, limits = next_dot(actor, row.counter), node.config.limits
        minted = mint(row, Version(dot, put.context, put.value), request, limits.remembered_requests)
        sole = is_sole_coordinator(node, asked, stands_for)
        problem = put_problem(put, dot, row, minted, limits, sole, may_have_lost(node, disk, held, put.key))
        if problem:
            return refuse(node, asked.origin, request, put, Refused(problem))
        if row.birth == 0:
            writes = (WriteDisk(replace(disk, births=actor.birth)),)
        kept = minted
    if stands_for != node.name:
        kept = owing(kept, FSet.of([stands_for]))
    started = PutInFlight(request, put.key, asked.origin, dot, put.show, holders, acknowledged=FSet())
    sends = tuple(
        [
            Send(holder, Write(request, put.key, kept.siblings, None if holder == owner else owner))
            for holder, owner in holders.items()
            if holder != node.name
        ]
    )
    timer = SetTimer(request, asked.patience_ms)
    counted = acknowledge(node, started, node.name, kept)
    kept = counted.row
    if kept != row:
        writes = (*writes, WriteRow(put.key, kept))
    return Outcome(node, counted.request, writes, (*sends, timer, *counted.effects))


class Counted(Struct, frozen=True):
    """What an acknowledgement makes of a put."""

    request: PutInFlight | None
    row: Row
    effects: tuple[Effect, ...] = ()


def acknowledge(node: Node, request: PutInFlight, holder: NodeId, row: Row) -> Counted:
    """One more holder has it durably. At W the client is told (of this row); then it is seen whom it is owed to.

    Who has not acknowledged by then is waited for, unless placement is strict: then there are no hints. Where too many
    are waited for already it is owed to them at once.
    """
    counted = replace(request, acknowledged=request.acknowledged | FSet.of([holder]))
    effects: tuple[Effect, ...] = ()
    if not counted.answered:
        if not is_write_quorum(counted.acknowledged, node.config):
            return Counted(counted, row)
        effects = (answer(request.origin, request.request, stored(request, row)),)
        counted = replace(counted, answered=True)
    owed = missing(counted) if node.config.sloppy else NOBODY
    if owed and may_linger(node, request):
        return Counted(counted, row, effects)
    return Counted(None, owing(row, owed), (*effects, CancelTimer(request.request)))


def stored(request: PutInFlight, row: Row) -> Stored:
    """The success of a put, and what this row shows of the key if its client wished to see it."""
    return Stored(request.dot, found(row.siblings) if request.show else None)


def asked_again(node: Node, request: Request, storage: Storage, operation: Operation, origin: NodeId | None) -> Outcome:
    """A request that is in flight arrives again: whoever waits will be told.

    A put that was answered already, and is asked for again, was answered in vain: so it is once more.
    """
    if not isinstance(request, PutInFlight) or not request.answered:
        return Outcome(node, request)
    if not isinstance(operation, Put) or not operation.again:
        return Outcome(node, request)
    told = answer(origin, request.request, stored(request, storage.row(request.key)))
    return Outcome(node, request, effects=(told,))


def may_linger(node: Node, request: PutInFlight | GetInFlight) -> bool:
    """Whether a request that is answered may wait for who has not answered: it does already, or there is room."""
    return request.answered or node.lingering < node.config.limits.lingering_requests


def missing(request: PutInFlight) -> FSet[NodeId]:
    """The owners for whom nobody has acknowledged a put."""
    return FSet.of(owner for holder, owner in request.holders.items() if holder not in request.acknowledged)


def written(node: Node, storage: Storage, request: Request | None, source: NodeId, message: Written) -> Outcome:
    """An acknowledgement arrived; only who was asked counts, for the owner that it was asked to stand for."""
    if not isinstance(request, PutInFlight) or request.holders.get(source) != (message.owner or source):
        return Outcome(node, request)
    row = storage.row(request.key)
    counted = acknowledge(node, request, source, row)
    writes = () if counted.row == row or not row.siblings else (WriteRow(request.key, counted.row),)
    return Outcome(node, counted.request, writes, counted.effects)


# Get.


def start_get(node: Node, storage: Storage, asked: Asked, get: Get, holders: FMap[NodeId, NodeId]) -> Outcome:
    """Coordinate a get: ask the other holders, and count what this node holds as the first answer, if it may answer."""
    request, answers = asked.request, may_answer(node, known_disk(storage), get.key)
    asking = holders.keys() if answers else holders.keys() - FSet.of([node.name])
    started = GetInFlight(request, get.key, asked.origin, asking, answers=FMap(), answered=False)
    sends = tuple([Send(holder, Read(request, get.key)) for holder in holders if holder != node.name])
    timer = SetTimer(request, asked.patience_ms)
    if not answers:
        return Outcome(node, started, effects=(*sends, timer))
    own = collect(node, storage, started, node.name, Answer(request, storage.row(get.key).siblings))
    return replace(own, effects=(*sends, timer, *own.effects))


def collect(node: Node, storage: Storage, request: GetInFlight, holder: NodeId, message: Answer) -> Outcome:
    """One more holder has answered: answer the client at R, and from then on repair whatever is stale."""
    heard = replace(request, answers=request.answers.set(holder, message.siblings))
    if not is_read_quorum(heard.answers.keys(), node.config):
        return Outcome(node, heard)
    merged = fold_answers(heard.answers)
    effects: tuple[Effect, ...] = ()
    if not request.answered:
        effects = (answer(request.origin, request.request, found(merged)),)
    repaired, writes, repairs = repair_stale(node, storage, replace(heard, answered=True), merged)
    if len(repaired.answers) < len(request.asked) and may_linger(node, request):
        return Outcome(node, repaired, writes, (*effects, *repairs))
    return Outcome(node, None, writes, (*effects, *repairs, CancelTimer(request.request)))


def answered(node: Node, storage: Storage, request: Request | None, source: NodeId, message: Answer) -> Outcome:
    """A holder's answer arrived; a repeated one, or one to a get that is over, says nothing new."""
    if not isinstance(request, GetInFlight) or source not in request.asked or source in request.answers:
        return Outcome(node, request)
    return collect(node, storage, request, source, message)


# Time.


def time_out(node: Node, request: Request | None, storage: Storage) -> Outcome:
    """A request has taken too long: say what is known of it and let it go. A put is owed to whoever is late."""
    if request is None:
        return Outcome(node, None)
    writes: tuple[StorageWrite, ...] = ()
    if isinstance(request, PutInFlight) and node.config.sloppy:
        writes = owe(storage, request.key, missing(request))
    if not awaits_result(request):
        return Outcome(node, None, writes)
    origin = None if isinstance(request, ForwardInFlight) else request.origin
    return Outcome(node, None, writes, (answer(origin, request.request, overdue(request, node.config)),))


def overdue(request: Request, config: Config) -> Result:
    """What is known of a request whose time is up: a put may have happened, a get has not."""
    match request:
        case PutInFlight():
            return Indefinite(f"{len(request.acknowledged)} of {config.w} owners acknowledged in time")
        case GetInFlight():
            return Failed(f"{len(request.answers)} of {config.r} owners answered in time")
        case ForwardInFlight():
            reason = "the coordinator did not answer in time"
            return Indefinite(reason) if request.is_put else Failed(reason)
