"""Messages that can change nothing any more.

Most messages in flight in a large model are of no consequence: acknowledgements of puts that were answered, answers to
gets that are over, sets that their target knows already. Whether one is, is computed by running the node's own step on
it: it writes nothing, leaves the request as it was, and causes nothing but messages that are spent themselves. Taking
such messages out of the network changes no store, no reply and no history; it only spares the explorer their orderings.

That a message stays spent for ever rests on two facts. Disks only ever learn, but for rows that a fallback holds and
hands over, and for disks that may be lost: what concerns them never counts as spent. And a request that is over is not
opened again, unless a `Forward` of it is still on its way, or its client may ask again; then nothing that names the
request counts as spent. Tests audit this on full small models: what is called spent in a state is spent in every later
state in which it is still in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from msgspec import Struct

from spec.events import Deliver, Event
from spec.messages import (
    Answer,
    Fetch,
    Fetched,
    Forward,
    Forwarded,
    Handoff,
    Known,
    Mark,
    Message,
    Repair,
    Taken,
    Write,
    Written,
)
from spec.network import Envelope, Network
from spec.types import NodeId, RequestId
from spec.world import Advance, Client, Server, State, advance, request_at_hand

AdvanceFunction: TypeAlias = Callable[[Server, Event], Advance]
"""How a server is moved."""


def is_spent(envelope: Envelope, target: Server, source: Server, advanced: AdvanceFunction = advance) -> bool:
    """Whether delivering a message, now or ever, changes nothing, as things stand at both ends."""
    if not target.node.started:
        return isinstance(envelope.message, Written | Answer | Forwarded)  # what they answer died with the node
    outcome = advanced(target, Deliver(envelope.source, envelope.message))
    return outcome.server == target and all(
        isinstance(said, Envelope) and said.target == envelope.source and is_spent(said, source, target, advanced)
        for said in outcome.leaving
    )


SpentFunction: TypeAlias = Callable[[Envelope, Server, Server, AdvanceFunction], bool]
"""Whether a message is spent, given the servers at both ends and how they are moved."""


class Driver(Struct, frozen=True):
    """How servers are moved: `advance` and `is_spent`, or the same with a memory."""

    advance: AdvanceFunction = advance
    is_spent: SpentFunction = is_spent


DRIVER = Driver()


def reopened_by(in_flight: Iterable[Envelope], clients: Iterable[Client]) -> list[RequestId]:
    """The requests that may be opened again when they are over."""
    forwarded = [m.request for e in in_flight if type(m := e.message) is Forward]
    return forwarded + [request_at_hand(i, client) for i, client in enumerate(clients) if client.asked is not None]


def names_one_of(requests: Collection[RequestId], envelope: Envelope) -> bool:
    """Whether a message is about one of these requests."""
    message = envelope.message
    return not isinstance(message, Repair | Handoff | Taken | Mark | Known | Fetch | Fetched) and (
        message.request in requests
    )


def may_matter_later(message: Message) -> bool:
    """Whether it concerns a row that is held for others, which may go and come again, or what a node has lost."""
    if isinstance(message, Write):
        return message.owner is not None
    return isinstance(message, (Handoff, Taken, Fetch, Fetched))


def settle(before: State, after: State, driver: Driver, losing: tuple[NodeId, ...] = ()) -> State:
    """The state after an action without the messages that are spent in it; there were none before the action.

    What a node is told whose disk may yet be lost is never spent: it may come to know nothing of it.
    """
    in_flight, servers = after.network.in_flight, dict(after.servers.entries)
    changed = [new[0] for old, new in zip(before.servers.entries, after.servers.entries, strict=True) if old is not new]
    reopening = reopened_by(in_flight, after.clients)
    gone = [
        e
        for e in in_flight
        if (e.target in changed or e.source in changed)
        and not (losing and (e.target in losing or (e.source in losing and isinstance(e.message, Mark))))
        and not may_matter_later(e.message)
        and not (reopening and names_one_of(reopening, e))
        and driver.is_spent(e, servers[e.target], servers[e.source], driver.advance)
    ]
    if not gone:
        return after
    left = tuple([e for e in in_flight if e not in gone])
    network = Network(left, after.network.cut_off, after.network.repeating)
    return State(after.servers, after.clients, network, after.faults, after.history)
