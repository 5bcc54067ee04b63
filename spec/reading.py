"""Gets: the coordinator of a get asks everybody who holds the key, and answers with what enough of them know.

It asks all owners, itself included, and answers with everything that the first R of them know, merged. From then on
every owner whose answer is staler than the merged set, late ones too, is sent that set. (Dynamo paper §4.5; read repair
§5, the state machine.)

Of these R, PR have to be owners themselves. Where it is not `notfound_ok` who holds nothing does not count for R; that
nothing is there is then said when all N say so, or with `basic_quorum` more than half of them, and when all N have
answered and too few of them hold something the get has failed. (Riak, "Replication Properties" and "Fetch Object".)
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.events import CancelTimer, Effect, Send, SetTimer
from spec.maps import FMap, FSet
from spec.messages import Answer, Failed, Found, Get, Read
from spec.placement import primaries, primaries_problem
from spec.quorum import is_quorum, is_read, majority, read_quorum, so_far
from spec.repair import fold_answers, repair_stale
from spec.requests import Asked, answer, found, may_linger, refuse
from spec.siblings import NO_VERSIONS
from spec.state import GetInFlight, Node, Outcome, Request, Storage
from spec.trust import known_disk, may_answer
from spec.types import NodeId


def start_get(node: Node, storage: Storage, asked: Asked, get: Get, holders: FMap[NodeId, NodeId]) -> Outcome:
    """Coordinate a get: ask the other holders, and count what this node holds as the first answer, if it may answer."""
    request = asked.request
    quorum = read_quorum(get.wishes, node.config)
    lacking = primaries_problem("pr", quorum.pr, holders)
    if lacking:
        return refuse(node, asked.origin, request, get, Failed(lacking))
    started = GetInFlight(request, get.key, asked.origin, quorum, holders, answers=FMap(), answered=False)
    sends = tuple([Send(holder, Read(request, get.key)) for holder in holders if holder != node.name])
    timer = SetTimer(request, asked.patience_ms)
    if not may_answer(node, known_disk(storage), get.key):
        return Outcome(node, started, effects=(*sends, timer))
    own = collect(node, storage, started, node.name, Answer(request, storage.row(get.key).siblings))
    return replace(own, effects=(*sends, timer, *own.effects))


def collect(node: Node, storage: Storage, request: GetInFlight, holder: NodeId, message: Answer) -> Outcome:
    """One more holder has answered: answer the client if they are enough, and from then on repair whatever is stale."""
    heard = replace(request, answers=request.answers.set(holder, message.siblings))
    effects: tuple[Effect, ...] = ()
    if not request.answered:
        result = conclusion(heard)
        if result is None:
            return Outcome(node, heard)
        effects = (answer(request.origin, request.request, result),)
        heard = replace(heard, answered=True)
    merged = fold_answers(heard.answers)
    repaired, writes, repairs = repair_stale(node, storage, heard, merged)
    if len(repaired.answers) < len(request.holders) and may_linger(node, request):
        return Outcome(node, repaired, writes, (*effects, *repairs))
    return Outcome(node, None, writes, (*effects, *repairs, CancelTimer(request.request)))


def telling(request: GetInFlight) -> FSet[NodeId]:
    """Whose answers count for R."""
    if request.quorum.notfound_ok:
        return request.answers.keys()
    return FSet.of(holder for holder, siblings in request.answers.items() if siblings)


def conclusion(request: GetInFlight) -> Found | Failed | None:
    """What the answers that are there amount to; None while others have to be heard."""
    quorum, answers, told = request.quorum, request.answers.keys(), telling(request)
    if is_read(told, primaries(request.holders, told), quorum):
        return found(fold_answers(request.answers))
    everybody = len(request.holders)
    if not told:
        enough = majority(everybody) if quorum.basic_quorum else everybody
        is_nothing = is_quorum(answers, enough) and is_quorum(primaries(request.holders, answers), quorum.pr)
        return found(NO_VERSIONS) if is_nothing else None
    return Failed(f"nobody is left to ask: {lacking(request)}") if len(answers) == everybody else None


def lacking(request: GetInFlight) -> str:
    """How far the answers to a get are from being enough."""
    quorum, told = request.quorum, telling(request)
    did = "answered" if quorum.notfound_ok else "answered with a value"
    return so_far(told, quorum.r, primaries(request.holders, told), quorum.pr, did)


def answered(node: Node, storage: Storage, request: Request | None, source: NodeId, message: Answer) -> Outcome:
    """A holder's answer arrived; a repeated one, or one to a get that is over, says nothing new."""
    if not isinstance(request, GetInFlight) or source not in request.holders or source in request.answers:
        return Outcome(node, request)
    return collect(node, storage, request, source, message)
