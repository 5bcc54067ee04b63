"""The step of a node: total over what the wire brings, deterministic, hard on drivers that break its contract."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.events import Deliver, Event, Invoke, Reply, Send, SetTimer, Start, Timeout, WriteDisk, request_of
from spec.maps import FSet
from spec.messages import Answer, Forward, Forwarded, Mark, Message, Read, Repair, Repaired, Write, Written
from spec.node import step
from spec.rows import Disk
from spec.siblings import is_antichain
from spec.state import ForwardInFlight, PutInFlight
from spec.types import NodeId
from spec.world import Memory, advance
from tests.small import Hands, get, put, request
from tests.strategies import FEWER, of_type

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")

events = st.one_of(of_type(Invoke), of_type(Deliver), of_type(Timeout))


def test_a_new_disk_is_given_its_incarnation_and_an_old_one_keeps_it() -> None:
    down = Hands().servers[A]
    fresh = step(type(down.node)(A, down.node.config, down.node.ring), None, Memory(), Start("x"))
    assert fresh.node.started
    assert fresh.writes == (WriteDisk(Disk("x", lacking=FSet.of([B, C]))),)
    kept = step(type(down.node)(A, down.node.config, down.node.ring), None, Memory(Disk("x", 3)), Start("y"))
    assert kept.node.started
    assert kept.writes == ()
    assert kept.effects == (Send(B, Mark("y", 0)), Send(C, Mark("y", 0)))


# The contract. A broken one is our bug: an assertion, before anything changed.


def test_a_node_that_has_not_started_takes_nothing_else() -> None:
    server = Hands().servers[A]
    down = type(server.node)(A, server.node.config, server.node.ring)
    for event in (Invoke(request(), put()), Timeout(request()), Deliver(B, Written(request()))):
        with pytest.raises(AssertionError, match="begins with its start"):
            step(down, None, server.disk, event)


def test_a_node_starts_once() -> None:
    server = Hands().servers[A]
    with pytest.raises(AssertionError, match="has one start"):
        step(server.node, None, server.disk, Start("again"))


@pytest.mark.parametrize(
    "event",
    [
        Invoke(request(1), put()),
        Timeout(request(1)),
        Deliver(B, Written(request(1))),
        Deliver(B, Read(request(2), put().key)),
    ],
)
def test_the_request_in_flight_must_be_the_one_that_the_event_names(event: Event) -> None:
    server = Hands().servers[A]
    for wrong in (ForwardInFlight(request(2), is_put=True), ForwardInFlight(request(3), is_put=False)):
        with pytest.raises(AssertionError, match="must be the event's"):
            step(server.node, wrong, server.disk, event)


def test_a_node_without_a_disk_mints_nothing() -> None:
    server = Hands().servers[A]
    with pytest.raises(AssertionError, match="has a disk"):
        step(server.node, None, Memory(), Invoke(request(), put()))


def test_an_assertion_leaves_the_server_as_it_was() -> None:
    hands = Hands()
    hands.ask(A, request(), put())
    before, mail, told = hands.servers[A], list(hands.mail), list(hands.told)
    with pytest.raises(AssertionError):
        hands.event(A, Start("again"))
    assert hands.servers[A] is before
    assert (hands.mail, hands.told) == (mail, told)


def test_request_of_names_what_an_answer_is_about_and_nothing_else() -> None:
    about = request(5)
    named = {Written, Answer, Repaired, Forward, Forwarded}
    assert request_of(Start("x")) is None
    assert request_of(Invoke(about, get())) == request_of(Timeout(about)) == about
    for kind in get_args(Message):

        @FEWER
        @given(of_type(kind))
        def names(message: Write | Written | Read | Answer | Repair | Repaired | Forward | Forwarded) -> None:
            found = request_of(Deliver(A, message))
            if isinstance(message, Repair) or type(message) not in named:
                assert found is None
            else:
                assert found == message.request

        names()


# Total and deterministic.


@FEWER
@given(st.lists(events, max_size=6))
def test_a_started_node_takes_whatever_can_be_decoded(happenings: list[Event]) -> None:
    """Nothing that the wire can carry trips an assertion; what is counted is what is in flight."""
    hands = Hands()
    for event in happenings:
        server = hands.servers[A]
        before = advance(server, event)
        assert advance(server, event) == before, "the same step again decides the same"
        hands.event(A, event)
        server = hands.servers[A]
        assert server.node.in_flight + server.node.lingering == len(server.requests)
        assert server.node.started
        assert all(name in server.timers for name in server.requests)
        assert server.timers == server.requests.keys(), "whatever waits has a timer, and nothing else has"


@FEWER
@given(st.lists(events, max_size=6))
def test_a_client_is_told_once_of_what_it_asked(happenings: list[Event]) -> None:
    hands = Hands()
    for event in happenings:
        said = hands.event(A, event)
        replies = [r for r in said if isinstance(r, Reply)]
        assert len(replies) <= 1
        assert all(r.request == request_of(event) for r in replies)


@FEWER
@given(st.lists(of_type(Write), max_size=4))
def test_an_acknowledged_set_is_durable(writes: list[Write]) -> None:
    hands = Hands()
    for message in writes:
        server = hands.servers[B]
        outcome = step(server.node, None, server.disk, Deliver(A, message))
        assert outcome.effects == (Send(A, Written(message.request, message.owner)),)
        hands.send(A, B, message)
        if is_antichain(message.siblings):
            held = hands.held(B, message.key)
            known = {
                v for v in message.siblings if v in held or any(u.context[v.dot.actor] >= v.dot.counter for u in held)
            }
            assert known == set(message.siblings)


def test_a_put_in_flight_names_its_timer_and_dot() -> None:
    server = Hands().servers[A]
    outcome = step(server.node, None, server.disk, Invoke(request(), put()))
    assert isinstance(outcome.request, PutInFlight)
    assert [e for e in outcome.effects if isinstance(e, SetTimer)] == [SetTimer(request(), 5_000)]
    assert str(outcome.request.dot) == "a:1"
