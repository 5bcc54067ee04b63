"""The network between nodes: a bag of messages and at most one cut.

Messages are delivered in any order, and may wait for ever, so that loss needs no action of its own to be possible;
`drop` and `duplicate` exist for models that want either explicitly. A cut separates a set of nodes from the rest:
what is in flight across it is lost, and so is whatever is sent across it until it heals.

A *repeating* network is a set: what was sent stays, and may be delivered again and again. That is unlimited loss and
duplication, for less than a single explicit duplicate costs.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence

from msgspec import Struct

from spec.maps import FSet
from spec.messages import Forwarded, Message
from spec.types import NodeId


class Envelope(Struct, frozen=True, cache_hash=True):
    """A message on its way."""

    source: NodeId
    target: NodeId
    message: Message


class Network(Struct, frozen=True, cache_hash=True):
    """What is in flight, and what is cut off."""

    in_flight: tuple[Envelope, ...] = ()
    """A bag, sorted by `rank`; a message sent twice is in it twice, or, where the network repeats, once."""
    cut_off: FSet[NodeId] = FSet()
    """The nodes on one side of the cut; empty while there is none."""
    repeating: bool = False
    """Whether what was delivered stays, to be delivered again."""


def rank(envelope: Envelope) -> tuple[str, str, str, str, Message]:
    """The order of messages in flight. Structs of different types do not compare; their names do."""
    message = envelope.message
    result = type(message.result).__name__ if isinstance(message, Forwarded) else ""
    return envelope.target, envelope.source, type(message).__name__, result, message


def crosses(envelope: Envelope, cut_off: FSet[NodeId]) -> bool:
    """Whether a cut stands between sender and receiver."""
    return (envelope.source in cut_off) != (envelope.target in cut_off)


def distinct(network: Network) -> tuple[Envelope, ...]:
    """The messages in flight, each once."""
    return tuple(dict.fromkeys(network.in_flight))


def send(network: Network, envelopes: Sequence[Envelope]) -> Network:
    """The network after messages were handed to it."""
    arriving = [e for e in envelopes if not crosses(e, network.cut_off)] if network.cut_off else envelopes
    if network.repeating:
        arriving = [e for e in dict.fromkeys(arriving) if e not in network.in_flight]
    if not arriving:
        return network
    bag = list(network.in_flight)
    for envelope in arriving:
        insort(bag, envelope, key=rank)
    return Network(tuple(bag), network.cut_off, network.repeating)


def take(network: Network, envelope: Envelope) -> Network:
    """The network after a message was delivered: without one copy of it, unless it repeats what it delivers."""
    return network if network.repeating else drop(network, envelope)


def drop(network: Network, envelope: Envelope) -> Network:
    """The network without one copy of a message."""
    at = network.in_flight.index(envelope)
    in_flight = network.in_flight[:at] + network.in_flight[at + 1 :]
    return Network(in_flight, network.cut_off, network.repeating)


def duplicate(network: Network, envelope: Envelope) -> Network:
    """The network with one more copy of a message."""
    return send(network, (envelope,))


def cut(network: Network, side: FSet[NodeId]) -> Network:
    """Cut these nodes off from the rest; what is in flight across is lost."""
    return Network(tuple(e for e in network.in_flight if not crosses(e, side)), side, network.repeating)


def heal(network: Network) -> Network:
    """Mend the cut."""
    return Network(network.in_flight, repeating=network.repeating)
