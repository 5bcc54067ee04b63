"""The network: a bag in one order, from which a cut takes exactly what crosses it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from spec import network as net
from spec.maps import FSet
from spec.messages import Message, Read, Written
from spec.network import Envelope, Network
from spec.types import NodeId
from tests.small import KEY, request
from tests.strategies import FEWER, NAMES, of_type

names = st.sampled_from(NAMES[:3])
# Mostly few different messages, so that they repeat; sometimes any.
messages: st.SearchStrategy[Message] = st.one_of(
    st.sampled_from((Read(request(1), KEY), Written(request(1)), Written(request(2)))), of_type(Message)
)
envelopes = st.builds(Envelope, names, names, messages)
bags = st.lists(envelopes, max_size=6)
cuts = st.sets(names).map(FSet.of)


@FEWER
@given(bags, st.data())
def test_the_bag_is_the_same_in_whatever_order_it_was_filled(sent: list[Envelope], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(sent))
    at_once = net.send(Network(), tuple(sent))
    one_by_one = Network()
    for envelope in shuffled:
        one_by_one = net.send(one_by_one, (envelope,))
    assert at_once == one_by_one
    assert Counter(at_once.in_flight) == Counter(sent)
    assert net.distinct(at_once) == tuple(sorted(set(sent), key=net.rank))


@FEWER
@given(bags)
def test_taking_and_doubling_move_one_copy(sent: list[Envelope]) -> None:
    network = net.send(Network(), tuple(sent))
    for envelope in sent:
        assert Counter(net.take(network, envelope).in_flight) == Counter(sent) - Counter([envelope])
        doubled = net.duplicate(network, envelope)
        assert Counter(doubled.in_flight) == Counter([*sent, envelope])
        assert net.take(doubled, envelope) == network


@FEWER
@given(bags, bags, cuts)
def test_a_cut_loses_what_crosses_it_and_nothing_else(
    before: list[Envelope], during: list[Envelope], side: FSet[NodeId]
) -> None:
    def survives(envelope: Envelope) -> bool:
        return (envelope.source in side) == (envelope.target in side)

    cut = net.cut(net.send(Network(), tuple(before)), side)
    assert Counter(cut.in_flight) == Counter(filter(survives, before))
    sent = net.send(cut, tuple(during))
    assert Counter(sent.in_flight) == Counter(filter(survives, [*before, *during]))
    assert sent.cut_off == side
    healed = net.heal(sent)
    assert healed.in_flight == sent.in_flight
    assert not healed.cut_off
    assert Counter(net.send(healed, tuple(before)).in_flight) == Counter([*sent.in_flight, *before])
