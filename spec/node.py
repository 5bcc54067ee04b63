"""A node: the only place where the protocol decides anything.

`step` is dispatch: it finds the handler of an event and keeps count of the requests in flight. Handlers are named
functions of `coordinate`, `writing`, `reading`, `repair`, `handoff` and `comeback`. It is deterministic and total over
events that a started node can be given; what drives it owes it the contract that `spec.events` states.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from spec.comeback import beat, give, learn, see, start, take_back
from spec.coordinate import accept, asked_again, forwarded, time_out
from spec.events import Beat, Deliver, Event, HandOff, Invoke, Start, Suspicion, Timeout, request_of
from spec.handoff import hand_off, release, take_over
from spec.maps import FSet
from spec.messages import (
    Answer,
    Fetch,
    Fetched,
    Forward,
    Forwarded,
    Handoff,
    Known,
    Mark,
    Read,
    Repair,
    Repaired,
    Taken,
    Write,
    Written,
)
from spec.reading import answered, confirmed
from spec.repair import read, repaired, replicate
from spec.state import Node, Outcome, Request, Storage, awaits_result
from spec.writing import written


def step(node: Node, request: Request | None, storage: Storage, event: Event) -> Outcome:
    """What a node does about an event; see `spec.events` for what the driver owes and must do with the outcome."""
    assert node.started or isinstance(event, Start), "a run of a node begins with its start"
    assert request is None or request.request == request_of(event), "the request in flight must be the event's"
    outcome = handle(node, request, storage, event)
    return outcome if outcome.request is request else counted(request, outcome)


def counted(before: Request | None, outcome: Outcome) -> Outcome:
    """What was decided about a request, which is counted anew among those in flight or those that linger."""
    node, after = outcome.node, outcome.request
    in_flight, lingering = node.in_flight, node.lingering
    if before is not None:
        if awaits_result(before):
            in_flight -= 1
        else:
            lingering -= 1
    if after is not None:
        if awaits_result(after):
            in_flight += 1
        else:
            lingering += 1
    if in_flight == node.in_flight and lingering == node.lingering:
        return outcome
    node = replace(node, in_flight=in_flight, lingering=lingering)
    return Outcome(node, after, outcome.writes, outcome.effects)


def handle(node: Node, request: Request | None, storage: Storage, event: Event) -> Outcome:
    """Find the handler of an event, the usual ones first, by its exact type: a `case` that does not fit costs more."""
    if type(event) is Deliver:
        return receive(node, request, storage, event)
    if type(event) is Invoke:
        if request is not None:
            return asked_again(node, request, storage, event.operation, origin=None)
        return accept(node, storage, event.request, event.operation, event.within_ms, origin=None)
    if type(event) is Timeout:
        return time_out(node, request, storage)
    if type(event) is Suspicion:
        return suspect(node, event)
    if type(event) is HandOff:
        return hand_off(node, storage, event)
    if type(event) is Beat:
        return beat(node, storage)
    if type(event) is Start:
        assert not node.started, "a run of a node has one start"
        return start(node, storage, event)
    assert_never(event)


def receive(node: Node, request: Request | None, storage: Storage, event: Deliver) -> Outcome:
    """Find the handler of a message from another node, the usual ones first, by its exact type: a `case` costs more."""
    message, source = event.message, event.source
    if type(message) is Read:
        return read(node, request, storage, source, message)
    if type(message) is Answer:
        return answered(node, storage, request, source, message)
    if type(message) is Write:
        return replicate(node, request, storage, source, message)
    if type(message) is Written:
        return written(node, storage, request, source, message)
    if type(message) is Repair:
        return repaired(node, request, storage, source, message)
    if type(message) is Repaired:
        return confirmed(node, request, source, message)
    if type(message) is Handoff:
        return take_over(node, request, storage, source, message)
    if type(message) is Taken:
        return release(node, request, storage, source, message)
    if type(message) is Mark:
        return see(node, storage, source, message)
    if type(message) is Known:
        return learn(node, storage, source, message)
    if type(message) is Fetch:
        return give(node, storage, source, message)
    if type(message) is Fetched:
        return take_back(node, storage, source, message)
    if type(message) is Forward:
        if request is not None:
            return asked_again(node, request, storage, message.operation, origin=source)
        return accept(node, storage, message.request, message.operation, message.within_ms, origin=source)
    if type(message) is Forwarded:
        return forwarded(node, request, message)
    assert_never(message)


def suspect(node: Node, event: Suspicion) -> Outcome:
    """Take another node to be down, or up again; it changes whom the node asks from now on."""
    about = FSet.of([event.about] if event.about != node.name else [])
    suspected = node.suspected | about if event.suspected else node.suspected - about
    return Outcome(replace(node, suspected=suspected), None)
