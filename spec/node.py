"""A node: the only place where the protocol decides anything.

`step` is dispatch: it finds the handler of an event and keeps count of the requests in flight. Handlers are named
functions of `coordinate` and `repair`. It is deterministic and total over events that a started node can be given;
what drives it owes it the contract that `spec.events` states.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from spec.coordinate import accept, answered, forwarded, time_out, written
from spec.events import Deliver, Event, Invoke, Start, Timeout, WriteDisk, request_of
from spec.messages import Answer, Forward, Forwarded, Read, Repair, Write, Written
from spec.repair import read, repaired, replicate
from spec.rows import Disk
from spec.state import Node, Outcome, Request, Storage


def step(node: Node, request: Request | None, storage: Storage, event: Event) -> Outcome:
    """What a node does about an event; see `spec.events` for what the driver owes and must do with the outcome."""
    assert node.started != isinstance(event, Start), "a run of a node has one start, and it comes first"
    assert request is None or request.request == request_of(event), "the request in flight must be the event's"
    outcome = handle(node, request, storage, event)
    opened = (outcome.request is not None) - (request is not None)
    if opened == 0:
        return outcome
    return replace(outcome, node=replace(outcome.node, in_flight=node.in_flight + opened))


def handle(node: Node, request: Request | None, storage: Storage, event: Event) -> Outcome:
    """Find the handler of an event."""
    match event:
        case Start():
            return start(node, storage, event)
        case Invoke():
            if request is not None:
                return Outcome(node, request)  # the same request again, while it is being served
            return accept(node, storage, event.request, event.operation, origin=None)
        case Deliver():
            return receive(node, request, storage, event)
        case Timeout():
            return time_out(node, request)
        case _:
            assert_never(event)


def receive(node: Node, request: Request | None, storage: Storage, event: Deliver) -> Outcome:
    """Find the handler of a message from another node."""
    message, source = event.message, event.source
    match message:
        case Write():
            return replicate(node, request, storage, source, message)
        case Written():
            return written(node, storage, request, source)
        case Read():
            return read(node, request, storage, source, message)
        case Answer():
            return answered(node, storage, request, source, message)
        case Repair():
            return repaired(node, request, storage, message)
        case Forward():
            if request is not None:
                return Outcome(node, request)  # a repeated message
            return accept(node, storage, message.request, message.operation, origin=source)
        case Forwarded():
            return forwarded(node, request, message)
        case _:
            assert_never(message)


def start(node: Node, storage: Storage, event: Start) -> Outcome:
    """Come up: a new disk is given its incarnation, one that has one keeps it."""
    ready = replace(node, started=True)
    if storage.disk() is not None:
        return Outcome(ready, None)
    return Outcome(ready, None, (WriteDisk(Disk(event.incarnation)),))
