"""Messages that can change nothing any more.

Most messages in flight in a large model are of no consequence: acknowledgements of puts that were answered, answers to
gets that are over, sets that their target knows already. Whether one is, is computed by running the node's own step on
it: it writes nothing, leaves the request as it was, and causes nothing but messages that are spent themselves. Taking
such messages out of the network changes no store, no reply and no history; it only spares the explorer their orderings.

That a message stays spent for ever rests on two facts. Rows only ever learn. And a request that is over is not opened
again, unless a `Forward` of it is still on its way; then nothing that names the request counts as spent. Tests audit
this on full small models: what is called spent in a state is spent in every later state in which it is still in flight.
"""

from __future__ import annotations

from spec.events import Deliver
from spec.messages import Answer, Forward, Forwarded, Repair, Written
from spec.network import Envelope, Network
from spec.types import RequestId
from spec.world import AdvanceFunction, State


def settle(before: State, after: State, advanced: AdvanceFunction) -> State:
    """The state after an action without the messages that are spent in it; there were none before the action."""
    in_flight = after.network.in_flight
    changed = {name for name, server in after.servers.items() if server is not before.servers[name]}
    concerned = dict.fromkeys(e for e in in_flight if e.target in changed or e.source in changed)
    reopening = {e.message.request for e in in_flight if isinstance(e.message, Forward)}
    spent = {e for e in concerned if is_spent(after, e, reopening, advanced)}
    if not spent:
        return after
    network = Network(tuple(e for e in in_flight if e not in spent), after.network.cut_off)
    return State(after.servers, after.clients, network, after.faults, after.history)


def is_spent(state: State, envelope: Envelope, reopening: set[RequestId], advanced: AdvanceFunction) -> bool:
    """Whether delivering a message, now or ever, changes nothing."""
    message, server = envelope.message, state.servers[envelope.target]
    if reopening and not isinstance(message, Repair) and message.request in reopening:
        return False
    if not server.node.started:
        return isinstance(message, Written | Answer | Forwarded)  # what they answer died with the node
    outcome = advanced(server, Deliver(envelope.source, message))
    if outcome.server != server:
        return False
    return all(isinstance(said, Envelope) and is_spent(state, said, reopening, advanced) for said in outcome.leaving)
