"""Gets: the coordinator of a get asks everybody who holds the key, and answers with what enough of them know.

It asks all owners, itself included, and answers with everything that the first R of them know, merged. From then on
every owner whose answer is staler than the merged set, late ones too, is sent that set. (Dynamo paper §4.5; read repair
§5, the state machine.)
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.events import CancelTimer, Effect, Send, SetTimer
from spec.maps import FMap
from spec.messages import Answer, Get, Read
from spec.quorum import is_read_quorum
from spec.repair import fold_answers, repair_stale
from spec.requests import Asked, answer, found, may_linger
from spec.state import GetInFlight, Node, Outcome, Request, Storage
from spec.types import NodeId


def start_get(node: Node, storage: Storage, asked: Asked, get: Get, holders: FMap[NodeId, NodeId]) -> Outcome:
    """Coordinate a get: ask the other holders, and count what this node holds as the first answer."""
    request = asked.request
    started = GetInFlight(request, get.key, asked.origin, holders.keys(), answers=FMap(), answered=False)
    sends = tuple([Send(holder, Read(request, get.key)) for holder in holders if holder != node.name])
    timer = SetTimer(request, asked.patience_ms)
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
        heard = replace(heard, answered=True)
    repaired, writes, repairs = repair_stale(node, storage, heard, merged)
    if len(repaired.answers) < len(request.asked) and may_linger(node, request):
        return Outcome(node, repaired, writes, (*effects, *repairs))
    return Outcome(node, None, writes, (*effects, *repairs, CancelTimer(request.request)))


def answered(node: Node, storage: Storage, request: Request | None, source: NodeId, message: Answer) -> Outcome:
    """A holder's answer arrived; a repeated one, or one to a get that is over, says nothing new."""
    if not isinstance(request, GetInFlight) or source not in request.asked or source in request.answers:
        return Outcome(node, request)
    return collect(node, storage, request, source, message)
