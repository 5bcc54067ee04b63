"""Coordination: a request is admitted, and coordinated by a node that holds the key, or forwarded to one.

How a node coordinates puts is in `spec.writing`, gets in `spec.reading`. A node that holds nothing of the key hands the
request once to an owner. Whoever receives a forwarded request and does not own the key either refuses: two hops would
mean that rings differ.

A request may take as long as whoever asks waits for it, and no longer than the configuration says.
A put that times out is *indefinite*: the dot exists, and may yet spread. A get that times out has simply failed.
(Dynamo paper §4.5.)
"""

from __future__ import annotations

from spec.events import CancelTimer, Reply, Send, SetTimer, StorageWrite
from spec.hints import owe
from spec.messages import (
    Failed,
    Forward,
    Forwarded,
    Get,
    Indefinite,
    Operation,
    Overloaded,
    Put,
    Refused,
    Result,
)
from spec.placement import coordinator_of, holders_of, is_owner, with_coordinator
from spec.quorum import wish_problem
from spec.reading import lacking, start_get
from spec.requests import Asked, answer, refuse
from spec.state import ForwardInFlight, GetInFlight, Node, Outcome, PutInFlight, Request, Storage, awaits_result
from spec.types import Config, Milliseconds, NodeId, RequestId
from spec.writing import missing, start_put, stored, unacknowledged

# Admission.


def problem_of(operation: Operation, config: Config) -> str:
    """What is too large about an operation, or cannot be as it wishes; empty if nothing."""
    limits = config.limits
    if len(operation.key) > limits.key_bytes:
        return f"the key is {len(operation.key)} bytes, the limit is {limits.key_bytes}"
    if type(operation) is Put and len(operation.value) > limits.value_bytes:
        return f"the value is {len(operation.value)} bytes, the limit is {limits.value_bytes}"
    return wish_problem(operation.wishes, config)


def accept(
    node: Node,
    storage: Storage,
    request: RequestId,
    operation: Operation,
    within_ms: Milliseconds | None,
    origin: NodeId | None,
) -> Outcome:
    """Take on a new request: refuse it, coordinate it, or forward it."""
    problem = problem_of(operation, node.config)
    if problem:
        return refuse(node, origin, request, operation, Refused(problem))
    if node.in_flight >= node.config.limits.requests_in_flight:
        busy = f"node {node.name} is overloaded: {node.in_flight} requests in flight"
        return refuse(node, origin, request, operation, Overloaded(busy))
    asked = Asked(request, origin, timeout_ms(node.config, operation, within_ms))
    if origin is not None and not is_owner(node, node.name, operation.key):
        problem = f"node {node.name} does not own the key, nor should {origin} think so"
        return refuse(node, origin, request, operation, Refused(problem))
    holders = holders_of(node, operation.key)
    coordinator = node.name if origin is not None else coordinator_of(node, operation.key, holders)
    if coordinator != node.name:
        return forward(node, asked, operation, coordinator)
    holders = with_coordinator(holders, node.name)
    if isinstance(operation, Get):
        return start_get(node, storage, asked, operation, holders)
    return start_put(node, storage, asked, operation, holders)


def timeout_ms(config: Config, operation: Operation, within_ms: Milliseconds | None) -> Milliseconds:
    """How long a request may take: no longer than whoever asked waits, and never longer than nodes do."""
    longest = config.put_timeout_ms if type(operation) is Put else config.get_timeout_ms
    return longest if within_ms is None else min(longest, within_ms)


# Forwarding.


def forward(node: Node, asked: Asked, operation: Operation, coordinator: NodeId) -> Outcome:
    """Let an owner coordinate, and wait for its result."""
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


# Asking again, and running out of time.


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


def time_out(node: Node, request: Request | None, storage: Storage) -> Outcome:
    """A request has taken too long: say what is known of it and let it go. A put is owed to whoever is late."""
    if request is None:
        return Outcome(node, None)
    writes: tuple[StorageWrite, ...] = ()
    if isinstance(request, PutInFlight) and node.config.sloppy:
        writes = owe(node, storage, request.key, missing(request))
    if not awaits_result(request):
        return Outcome(node, None, writes)
    origin = None if isinstance(request, ForwardInFlight) else request.origin
    return Outcome(node, None, writes, (answer(origin, request.request, overdue(request, node.config)),))


def overdue(request: Request, config: Config) -> Result:
    """What is known of a request whose time is up: a put may have happened, a get has not."""
    match request:
        case PutInFlight():
            return Indefinite(f"{unacknowledged(request)} in time")
        case GetInFlight():
            return Failed(f"{lacking(request, config.w)} in time")
        case ForwardInFlight():
            reason = "the coordinator did not answer in time"
            return Indefinite(reason) if request.is_put else Failed(reason)
