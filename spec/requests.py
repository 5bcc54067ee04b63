"""What all requests have in common: whoever asked is told, once, what is known; what was answered may listen on.

A put that is turned down when it is asked again is *indefinite*: that says nothing of the first time.
"""

from __future__ import annotations

from msgspec import Struct

from spec.events import Effect, Reply, Send
from spec.messages import Failed, Forwarded, Found, Indefinite, Operation, Put, Refused, Result
from spec.siblings import Siblings, context_of
from spec.state import GetInFlight, Node, Outcome, PutInFlight
from spec.types import Milliseconds, NodeId, RequestId


class Asked(Struct, frozen=True):
    """A request that is to be coordinated or forwarded."""

    request: RequestId
    origin: NodeId | None
    """The node that forwarded it; None if the client asked here."""
    patience_ms: Milliseconds
    """How long it may take."""


def answer(origin: NodeId | None, request: RequestId, result: Result) -> Effect:
    """The result, to whoever asked: the client, or the node that forwarded."""
    return Reply(request, result) if origin is None else Send(origin, Forwarded(request, result))


def unchanged(operation: Operation, result: Failed | Refused) -> Result:
    """What is said of an operation that changes nothing this time; what an earlier attempt changed is not known."""
    if isinstance(operation, Put) and operation.again:
        return Indefinite(f"it was asked before; this time: {result.reason}")
    return result


def refuse(
    node: Node, origin: NodeId | None, request: RequestId, operation: Operation, result: Failed | Refused
) -> Outcome:
    """Turn a request down before anything changed."""
    return Outcome(node, None, effects=(answer(origin, request, unchanged(operation, result)),))


def found(siblings: Siblings) -> Found:
    """A set as it is shown to a client."""
    return Found(siblings, context_of(siblings))


def may_linger(node: Node, request: PutInFlight | GetInFlight) -> bool:
    """Whether a request that is answered may wait for who has not answered: it does already, or there is room."""
    return request.answered or node.lingering < node.config.limits.lingering_requests
