"""Gets: the coordinator of a get asks everybody who holds the key, and answers with what enough of them know.

It asks all owners, itself included, and answers with everything that the first R of them know, merged. From then on
every owner whose answer is staler than the merged set, late ones too, is sent that set. (Dynamo paper §4.5; read repair
§5, the state machine.)

Of these R, PR have to be owners themselves. Where it is not `notfound_ok` who holds nothing does not count for R; that
nothing is there is then said when all N say so, or with `basic_quorum` more than half of them; and when all N have
answered and too few of them hold something the get has failed. (Riak, "Replication Properties".)

Where repair is *blocking* the reply waits until W owners durably hold what it shows. With R + W > N every later get
then meets one of them, so nobody who looks again sees less; a get that cannot repair fails. (CASSANDRA-10726.)
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.events import CancelTimer, Effect, Send, SetTimer, StorageWrite
from spec.handoff import may_release
from spec.maps import FMap, FSet
from spec.messages import Answer, Failed, Found, Get, Read, Repaired
from spec.placement import primaries, primaries_problem
from spec.quorum import is_quorum, is_read, majority, read_quorum, so_far
from spec.repair import as_known, fold_answers, repair_stale
from spec.requests import Asked, answer, found, may_linger, refuse
from spec.siblings import NO_VERSIONS, Siblings
from spec.state import GetInFlight, Node, Outcome, Request, Storage
from spec.trust import known_disk, may_answer
from spec.types import NodeId


def start_get(node: Node, storage: Storage, asked: Asked, get: Get, holders: FMap[NodeId, NodeId]) -> Outcome:
    """Coordinate a get: ask the other holders, and count what this node holds as the first answer, if it may answer."""
    request = asked.request
    quorum = read_quorum(get.wishes, node.config)
    lacking = primaries_problem("pr", quorum.pr, holders)
    if not lacking and node.config.blocking_repair:
        lacking = primaries_problem("w", node.config.w, holders)
    if lacking:
        return refuse(node, asked.origin, request, get, Failed(lacking))
    started = GetInFlight(request, get.key, asked.origin, quorum, holders, answers=FMap(), answered=False)
    question = Read(request, get.key)
    sends = tuple([Send(holder, question) for holder, _ in holders.entries if holder != node.name])
    timer = SetTimer(request, asked.patience_ms)
    if not may_answer(node, known_disk(storage), get.key):
        return Outcome(node, started, effects=(*sends, timer))
    own = FMap(((node.name, storage.row(get.key).siblings),))
    weighed = weigh(node, storage, started, replace(started, answers=own), node.name)
    return replace(weighed, effects=(*sends, timer, *weighed.effects))


def weigh(node: Node, storage: Storage, request: GetInFlight, heard: GetInFlight, holder: NodeId) -> Outcome:
    """One more holder has answered: answer the client if they are enough, and from then on repair whatever is stale."""
    effects: tuple[Effect, ...] = ()
    merged = fold_answers(heard.answers)
    if not request.answered and not request.settling:
        result = conclusion(heard, merged)
        if result is None:
            return Outcome(node, heard)
        if node.config.blocking_repair and isinstance(result, Found) and result.siblings:
            heard = replace(heard, settling=True)
        else:
            effects = (answer(request.origin, request.request, result),)
            heard = replace(heard, answered=True)
    if heard.settling:
        heard, effects = settle(node, having(node, request, heard, holder, merged), merged)
    repaired, writes, repairs = repair_stale(node, storage, heard, merged)
    return go_on(node, request, repaired, writes, (*effects, *repairs))


def go_on(
    node: Node,
    before: GetInFlight,
    after: GetInFlight,
    writes: tuple[StorageWrite, ...],
    effects: tuple[Effect, ...],
) -> Outcome:
    """Wait for who has not answered, and for what the reply waits for; else the get is over."""
    listening = len(after.answers.entries) < len(after.holders.entries) and may_linger(node, before)
    if listening or not after.answered:
        return Outcome(node, after, writes, effects)
    return Outcome(node, None, writes, (*effects, CancelTimer(after.request)))


# Blocking repair.


def having(node: Node, before: GetInFlight, heard: GetInFlight, holder: NodeId, merged: Siblings) -> GetInFlight:
    """Which owners hold all that is known, now that one more has answered.

    Who answered exactly that does, and the reader itself, if it has answered, for it writes it down in this step. Who
    was repaired is only hoped to, until it says so; and if the answer brought anything new, what it has said by then is
    not enough.
    """
    said = [holder] if before.settling else [*heard.answers]
    fresh = FSet.of(name for name in said if heard.answers[name] == merged)
    itself = FSet.of(name for name in heard.answers if name == node.name)
    kept = before.confirmed if fold_answers(before.answers) == merged else FSet[NodeId]()
    return replace(heard, confirmed=kept | primaries(heard.holders, fresh | itself))


def settle(node: Node, request: GetInFlight, merged: Siblings) -> tuple[GetInFlight, tuple[Effect, ...]]:
    """Answer a get that only waits for W owners to hold what it shows, if they do."""
    if not is_quorum(request.confirmed, node.config.w):
        return request, ()
    told = answer(request.origin, request.request, found(merged))
    return replace(request, answered=True, settling=False, confirmed=FSet()), (told,)


def confirmed(node: Node, request: Request | None, source: NodeId, message: Repaired) -> Outcome:
    """An owner holds what it was repaired with; that counts if it was all that is known by now."""
    if not isinstance(request, GetInFlight) or not request.settling or request.holders.get(source) != source:
        return Outcome(node, request)
    merged = fold_answers(request.answers)
    if not may_release(merged, message.context):
        return Outcome(node, request)
    counted = replace(request, confirmed=request.confirmed | FSet.of([source]))
    settled, effects = settle(node, counted, merged)
    return go_on(node, request, settled, (), effects)


# Enough.


def telling(request: GetInFlight) -> FSet[NodeId]:
    """Whose answers count for R."""
    if request.quorum.notfound_ok:
        return request.answers.keys()
    return FSet.of(holder for holder, siblings in request.answers.items() if siblings)


def conclusion(request: GetInFlight, merged: Siblings) -> Found | Failed | None:
    """What the answers that are there, merged, amount to; None while others have to be heard."""
    quorum, told = request.quorum, telling(request)
    if is_read(told, primaries(request.holders, told), quorum):
        return found(merged)
    everybody = len(request.holders.entries)
    if not told.items:
        answers = request.answers.keys()
        enough = majority(everybody) if quorum.basic_quorum else everybody
        is_nothing = is_quorum(answers, enough) and is_quorum(primaries(request.holders, answers), quorum.pr)
        return found(NO_VERSIONS) if is_nothing else None
    if len(request.answers.entries) == everybody:
        return Failed(f"nobody is left to ask: {unanswered(request)}")
    return None


def lacking(request: GetInFlight, w: int) -> str:
    """How far a get is from its reply; `w` is how many owners have to hold it where repair is blocking."""
    if request.settling:
        return f"{len(request.confirmed)} of {w} owners hold what is to be answered"
    return unanswered(request)


def unanswered(request: GetInFlight) -> str:
    """How far the answers to a get are from being enough."""
    quorum, told = request.quorum, telling(request)
    did = "answered" if quorum.notfound_ok else "answered with a value"
    return so_far(told, quorum.r, primaries(request.holders, told), quorum.pr, did)


def answered(node: Node, storage: Storage, request: Request | None, source: NodeId, message: Answer) -> Outcome:
    """A holder's answer arrived; a repeated one, or one to a get that is over, says nothing new."""
    if not isinstance(request, GetInFlight):
        return Outcome(node, request)
    if request.holders.get(source) is None or request.answers.get(source) is not None:
        return Outcome(node, request)
    answers = request.answers.set(source, as_known(request.answers, message.siblings))
    return weigh(node, storage, request, replace(request, answers=answers), source)
