"""Coordination: what a put and a get promise, when, and what is turned down before anything changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from spec.clock import NOTHING, Actor, Dot
from spec.events import CancelTimer, Deliver, Invoke, Reply, Send, SetTimer, Suspicion, Timeout, WriteDisk, WriteRow
from spec.maps import Counts, FMap, FSet
from spec.messages import (
    Answer,
    Failed,
    Forward,
    Forwarded,
    Found,
    Indefinite,
    Message,
    Overloaded,
    Put,
    Read,
    Refused,
    Repair,
    Result,
    Stored,
    Write,
    Written,
)
from spec.network import Envelope
from spec.node import step
from spec.quorum import AS_CONFIGURED_GET, WriteQuorum, read_quorum
from spec.siblings import NO_VERSIONS, Siblings, Version, context_of
from spec.state import ForwardInFlight, GetInFlight, PutInFlight
from spec.types import Key, Limits, NodeId, Value
from spec.writing import may_mint
from tests.small import KEY, Hands, get, put, request, small_config
from tests.strategies import clocks, dots

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
PUT, GET = request(1), request(2)


def actor(name: NodeId, birth: int = 1) -> Actor:
    return Actor(name, f"disk-{name}", birth)


def version(name: NodeId, counter: int = 1, value: bytes = b"v") -> Version:
    return Version(Dot(actor(name), counter), NOTHING, Value(value))


# Put.


def test_a_put_is_stored_replicated_and_waits_for_w() -> None:
    hands = Hands()
    server = hands.servers[A]
    outcome = step(server.node, None, server.disk, Invoke(PUT, put()))
    row_write, disk_write = outcome.writes[1], outcome.writes[0]
    assert isinstance(disk_write, WriteDisk)
    assert disk_write.disk.births == 1
    assert isinstance(row_write, WriteRow)
    whole = FSet.of([version(A)])
    assert row_write.row.siblings == whole
    others = sorted(owner for owner in hands.owners() if owner != A)
    assert outcome.effects == (
        *(Send(owner, Write(PUT, KEY, whole)) for owner in others),
        SetTimer(PUT, hands.config.put_timeout_ms),
    )
    assert outcome.request == PutInFlight(
        PUT, KEY, None, version(A).dot, False, WriteQuorum(2, 0), FMap.of({n: n for n in (A, B, C)}), FSet.of([A])
    )
    assert outcome.node.in_flight == 1


def test_w_acknowledgements_answer_the_put_and_later_ones_are_ignored() -> None:
    hands = Hands()
    hands.ask(A, PUT, put())
    assert hands.told == []
    assert hands.send(B, A, Written(PUT)) == (Reply(PUT, Stored(version(A).dot)),)
    assert hands.servers[A].requests.get(PUT) is None
    assert not hands.servers[A].timers
    assert hands.send(C, A, Written(PUT)) == ()
    assert hands.results(PUT) == [Stored(version(A).dot)]


def test_w_1_answers_at_once_and_still_replicates() -> None:
    hands = Hands(config=small_config(r=1, w=1))
    left = hands.ask(A, PUT, put())
    assert hands.results(PUT) == [Stored(version(A).dot)]
    assert sum(isinstance(said, Envelope) for said in left) == 2
    assert len(hands.servers[A].requests) == len(hands.servers[A].timers) == 0
    hands.deliver()
    assert hands.held(A) == hands.held(B) == hands.held(C)


def test_one_owner_counts_once_however_often_it_acknowledges() -> None:
    hands = Hands(config=small_config(w=3))
    hands.ask(A, PUT, put())
    for _ in range(3):
        assert hands.send(B, A, Written(PUT)) == ()
    assert hands.send(C, A, Written(PUT)) != ()


def test_acknowledgements_of_others_do_not_count() -> None:
    hands = Hands("abcde")
    coordinator = hands.owners()[0]
    hands.ask(coordinator, PUT, put())
    before = hands.servers[coordinator]
    for stranger in (hands.stranger(), NodeId("nobody")):
        assert hands.send(stranger, coordinator, Written(PUT)) == ()
        assert hands.servers[coordinator] == before


def test_a_later_put_continues_the_numbering_and_another_key_begins_its_own() -> None:
    hands = Hands(config=small_config(r=1, w=1))
    hands.ask(A, request(1), put(b"1"))
    hands.ask(A, request(2), put(b"2", context_of(hands.held(A))))
    hands.ask(A, request(3), put(b"3", key=Key(b"other")))
    assert [v.dot for v in hands.held(A)] == [Dot(actor(A), 2)]
    assert [v.dot for v in hands.held(A, Key(b"other"))] == [Dot(actor(A, birth=2), 1)]
    about = hands.servers[A].disk.disk()
    assert about is not None
    assert about.births == 2


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("answered", [False, True])
def test_a_repeated_put_mints_no_second_dot(restarted: bool, answered: bool) -> None:
    hands = Hands()
    hands.ask(A, PUT, put())
    if answered:
        hands.deliver()
    elif not restarted:
        assert hands.ask(A, PUT, put()) == (), "it is being served"
        hands.expire(A, PUT)
    if restarted:
        hands.restart(A)
    held, births = hands.held(A), hands.servers[A].disk.about
    hands.mail.clear()
    hands.ask(A, PUT, put())
    assert (hands.held(A), hands.servers[A].disk.about) == (held, births)
    assert [e.message for e in hands.mail] == [Write(PUT, KEY, held)] * 2
    hands.deliver()
    assert hands.results(PUT)[-1] == Stored(version(A).dot)
    assert hands.held(B) == hands.held(C) == held


def test_a_repeated_put_is_recognised_after_its_version_was_superseded() -> None:
    hands = Hands(config=small_config(r=1, w=1))
    hands.ask(A, request(1), put(b"1"))
    hands.ask(A, request(2), put(b"2", context_of(hands.held(A))))
    held = hands.held(A)
    hands.ask(A, request(1), put(b"1"))
    assert hands.held(A) == held
    assert hands.results(request(1)) == [Stored(Dot(actor(A), 1))] * 2


def test_as_many_puts_are_recognised_as_the_limit_says() -> None:
    hands = Hands(config=small_config(r=1, w=1, limits=Limits(remembered_requests=2)))
    for number in (1, 2, 3):
        hands.ask(A, request(number), put(b"x", context_of(hands.held(A))))
    hands.ask(A, request(2), put())
    assert hands.row(A).counter == 3
    hands.ask(A, request(1), put())
    assert hands.row(A).counter == 4, "forgotten: the limit's price"


# Contexts.


@given(clocks, dots)
def test_a_context_may_not_cover_the_write_it_comes_with(context: Counts[Actor], dot: Dot) -> None:
    assert may_mint(context, dot) == (context[dot.actor] < dot.counter)


@pytest.mark.parametrize(("seen", "allowed"), [(0, True), (1, True), (2, False), (9, False)])
def test_a_put_that_has_seen_the_future_is_refused(seen: int, allowed: bool) -> None:
    hands = Hands(config=small_config(r=1, w=1))
    hands.ask(A, request(1), put())
    before = hands.servers[A]
    hands.ask(A, request(2), put(b"2", Counts.of({actor(A): seen})))
    (result,) = hands.results(request(2))
    assert isinstance(result, Stored) == allowed
    assert (hands.servers[A] == before) == (not allowed)
    if not allowed:
        assert result == Refused("the context covers a:2, a write that has not happened")


# Limits.


def refused_unchanged(hands: Hands, name: NodeId, operation: Put, reason: str, kind: type[Refused] = Refused) -> None:
    before = hands.servers[name]
    about = request(99)
    assert hands.ask(name, about, operation) == (Reply(about, kind(reason)),)
    assert hands.servers[name] == before


def test_what_is_too_large_is_refused_before_anything_changed() -> None:
    hands = Hands(config=small_config(limits=Limits(key_bytes=2, value_bytes=3)))
    refused_unchanged(hands, A, put(key=Key(b"kkk")), "the key is 3 bytes, the limit is 2")
    refused_unchanged(hands, A, put(b"vvvv"), "the value is 4 bytes, the limit is 3")
    hands.ask(A, PUT, put(b"vvv", key=Key(b"kk")))
    assert hands.results(PUT) == []
    hands.ask(A, GET, get(Key(b"kkk")))
    assert hands.results(GET) == [Refused("the key is 3 bytes, the limit is 2")]


def test_too_many_siblings_are_refused_until_somebody_reconciles() -> None:
    hands = Hands(config=small_config(r=1, w=1, limits=Limits(siblings=2)))
    for number in (1, 2):
        hands.ask(A, request(number), put(str(number).encode()))
    refused_unchanged(hands, A, put(b"3"), "the key has 2 siblings; get it and put with the context")
    hands.ask(A, request(4), put(b"4", Counts.of({actor(A): 1})))
    assert len(hands.held(A)) == 2, "one goes, one comes"
    hands.ask(A, request(5), put(b"5", context_of(hands.held(A))))
    assert [v.value for v in hands.held(A)] == [b"5"]


def test_merging_never_refuses_and_a_full_set_can_be_reconciled_bit_by_bit() -> None:
    hands = Hands(config=small_config(r=1, w=1, limits=Limits(siblings=2)))
    many = FSet.of(version(B, n) for n in range(1, 5))
    hands.send(B, A, Write(PUT, KEY, many))
    assert hands.held(A) == many
    refused_unchanged(hands, A, put(b"5"), "the key has 2 siblings; get it and put with the context")
    hands.ask(A, request(6), put(b"6", Counts.of({actor(B): 1})))
    assert hands.results(request(6)) == [Stored(Dot(actor(A), 1))]
    assert len(hands.held(A)) == 4, "no more than before"


def test_the_whole_set_is_replicated_not_the_new_version_alone() -> None:
    hands = Hands()
    hands.send(B, A, Repair(KEY, FSet.of([version(B)])))
    hands.ask(A, PUT, put())
    assert len(hands.held(A)) == 2
    assert [e.message for e in hands.mail] == [Write(PUT, KEY, hands.held(A))] * 2


def test_requests_in_flight_are_bounded() -> None:
    hands = Hands("abcd", config=small_config(limits=Limits(requests_in_flight=2)))
    owner, stranger = hands.owners()[0], hands.stranger()
    for name in (owner, stranger):
        hands.ask(name, request(1), put())
        hands.ask(name, request(2), get())
        busy = f"node {name} is overloaded: 2 requests in flight"
        refused_unchanged(hands, name, put(), busy, Overloaded)
        refused_unchanged(hands, name, put(b"v" * 2**21), "the value is 2097152 bytes, the limit is 1048576")
        hands.expire(name, request(1))
        hands.ask(name, request(3), put())
        assert hands.servers[name].node.in_flight == 2


# Time.


def test_a_put_that_takes_too_long_may_have_happened() -> None:
    hands = Hands()
    hands.ask(A, PUT, put())
    assert hands.expire(A, PUT) == (Reply(PUT, Indefinite("1 of 2 owners acknowledged in time")),)
    assert hands.servers[A].node.in_flight == 0
    assert len(hands.held(A)) == 1
    assert hands.send(B, A, Written(PUT)) == ()


def test_a_get_that_takes_too_long_has_failed() -> None:
    hands = Hands()
    hands.ask(A, GET, get())
    assert hands.expire(A, GET) == (Reply(GET, Failed("1 of 2 owners answered in time")),)
    assert hands.send(B, A, Answer(GET, FSet.of([version(B)]))) == ()
    assert hands.held(A) == NO_VERSIONS


def test_a_timeout_of_what_is_over_says_nothing() -> None:
    hands = Hands()
    hands.ask(A, GET, get())
    hands.send(B, A, Answer(GET, NO_VERSIONS))
    assert len(hands.told) == 1
    assert hands.servers[A].timers, "the get still waits to repair the third owner"
    assert hands.expire(A, GET) == ()
    assert hands.servers[A].node.in_flight == 0
    assert hands.expire(A, GET) == (), "nor does one that was on its way when it was cancelled"


# Get.


def test_a_get_asks_the_other_owners_and_answers_after_r() -> None:
    hands = Hands()
    left = hands.ask(A, GET, get())
    assert sorted(left, key=str) == [Envelope(A, B, Read(GET, KEY)), Envelope(A, C, Read(GET, KEY))]
    assert hands.told == []
    theirs = FSet.of([version(B)])
    hands.send(B, A, Answer(GET, theirs))
    assert hands.results(GET) == [Found(theirs, Counts.of({actor(B): 1}))]


def test_r_1_answers_at_once_and_repairs_all_the_same() -> None:
    hands = Hands(config=small_config(r=1, w=1))
    hands.ask(B, PUT, put())
    hands.mail.clear()
    hands.ask(B, GET, get())
    assert len(hands.results(GET)) == 1
    hands.deliver()
    assert hands.held(A) == hands.held(C) == hands.held(B) != NO_VERSIONS
    assert len(hands.results(GET)) == 1
    assert hands.servers[B].node.in_flight == 0


def test_nothing_found_is_an_answer() -> None:
    hands = Hands()
    hands.ask(A, GET, get())
    hands.deliver()
    assert hands.results(GET) == [Found(NO_VERSIONS, NOTHING)]


def test_repeated_answers_and_answers_of_others_do_not_count() -> None:
    hands = Hands("abcde", config=small_config(r=3, w=1))
    coordinator, second, third = hands.owners()
    hands.ask(coordinator, GET, get())
    hands.send(second, coordinator, Answer(GET, NO_VERSIONS))
    before = hands.servers[coordinator]
    newer = FSet.of([version(second)])
    assert hands.send(second, coordinator, Answer(GET, newer)) == ()
    assert hands.send(coordinator, coordinator, Answer(GET, newer)) == ()
    assert hands.send(hands.stranger(), coordinator, Answer(GET, newer)) == ()
    assert hands.servers[coordinator] == before
    hands.send(third, coordinator, Answer(GET, NO_VERSIONS))
    assert hands.results(GET) == [Found(NO_VERSIONS, NOTHING)]


# Read repair: after the answer, late answers too, and the coordinator's own row.

Said = tuple[Envelope | Reply, ...]


def repairs(said: Said) -> dict[NodeId, Siblings]:
    return {e.target: e.message.siblings for e in said if isinstance(e, Envelope) and isinstance(e.message, Repair)}


def test_whoever_answered_less_is_repaired_after_the_reply() -> None:
    hands = Hands(config=small_config(r=3))
    hands.ask(A, GET, get())
    first, second = FSet.of([version(B)]), FSet.of([version(C)])
    assert hands.send(B, A, Answer(GET, first)) == ()
    said = hands.send(C, A, Answer(GET, second))
    merged = first | second
    assert isinstance(said[0], Reply)
    assert repairs(said) == {B: merged, C: merged}
    assert hands.held(A) == merged, "its own row was stale too"
    assert hands.servers[A].node.in_flight == 0


def test_a_late_stale_answer_is_repaired() -> None:
    hands = Hands()
    hands.ask(A, GET, get())
    theirs = FSet.of([version(B)])
    hands.send(B, A, Answer(GET, theirs))
    assert repairs(hands.send(C, A, Answer(GET, NO_VERSIONS))) == {C: theirs}
    assert len(hands.results(GET)) == 1


def test_a_late_fresher_answer_repairs_everybody_else() -> None:
    hands = Hands()
    hands.ask(A, GET, get())
    hands.send(B, A, Answer(GET, NO_VERSIONS))
    theirs = FSet.of([version(C)])
    assert repairs(hands.send(C, A, Answer(GET, theirs))) == {B: theirs}
    assert hands.held(A) == theirs
    assert hands.results(GET) == [Found(NO_VERSIONS, NOTHING)]


def test_nobody_is_repaired_who_knows_it_all() -> None:
    hands = Hands()
    hands.ask(A, PUT, put())
    hands.deliver()
    hands.ask(A, GET, get())
    hands.deliver()
    assert len(hands.results(GET)) == 1
    assert not hands.mail
    assert hands.servers[A].node.in_flight == 0


# Forwarding.


def test_a_stranger_forwards_once_and_passes_the_result_on() -> None:
    hands = Hands("abcd")
    stranger, coordinator = hands.stranger(), hands.owners()[0]
    assert hands.ask(stranger, PUT, put()) == (Envelope(stranger, coordinator, Forward(PUT, put(), 5_000)),)
    assert hands.servers[stranger].requests.get(PUT) == ForwardInFlight(PUT, is_put=True)
    hands.deliver()
    (result,) = hands.results(PUT)
    assert isinstance(result, Stored)
    assert result.dot.actor.node == coordinator
    assert hands.held(stranger) == NO_VERSIONS
    assert all(len(hands.held(owner)) == 1 for owner in hands.owners())
    assert hands.servers[stranger].node.in_flight == 0
    assert not hands.servers[stranger].timers
    assert hands.send(coordinator, stranger, Forwarded(PUT, result)) == ()


def test_a_forwarded_get_brings_its_siblings_back() -> None:
    hands = Hands("abcd")
    hands.ask(hands.owners()[1], PUT, put())
    hands.deliver()
    hands.ask(hands.stranger(), GET, get())
    hands.deliver()
    (result,) = hands.results(GET)
    assert isinstance(result, Found)
    assert len(result.siblings) == 1


def test_a_repeated_forward_mints_no_second_dot() -> None:
    hands = Hands("abcd")
    stranger, coordinator = hands.stranger(), hands.owners()[0]
    hands.ask(stranger, PUT, put())
    (message,) = (e.message for e in hands.mail)
    hands.deliver(lambda e: isinstance(e.message, Forward))
    assert hands.send(stranger, coordinator, message) == (), "it is being served"
    hands.deliver()
    hands.send(stranger, coordinator, message)
    hands.deliver()
    assert hands.row(coordinator).counter == 1
    assert len(hands.results(PUT)) == 1


@pytest.mark.parametrize("operation", [put(), get()])
def test_a_forward_to_somebody_who_does_not_own_the_key_is_refused(operation: Put) -> None:
    hands = Hands("abcd")
    stranger, source = hands.stranger(), hands.owners()[0]
    before = hands.servers[stranger]
    reason = f"node {stranger} does not own the key, nor should {source} think so"
    said = hands.send(source, stranger, Forward(PUT, operation))
    assert said == (Envelope(stranger, source, Forwarded(PUT, Refused(reason))),)
    assert hands.servers[stranger] == before


def test_a_refusal_of_the_coordinator_reaches_the_client() -> None:
    hands = Hands("abcd", config=small_config(limits=Limits(siblings=1)))
    hands.ask(hands.owners()[0], request(1), put(b"1"))
    hands.deliver()
    hands.ask(hands.stranger(), request(2), put(b"2"))
    hands.deliver()
    (result,) = hands.results(request(2))
    assert isinstance(result, Indefinite), "the network may have repeated the forward, so it is not definite"


def test_a_forward_that_takes_too_long() -> None:
    hands = Hands("abcd")
    stranger = hands.stranger()
    hands.ask(stranger, PUT, put())
    hands.ask(stranger, GET, get())
    reason = "the coordinator did not answer in time"
    assert hands.expire(stranger, PUT) == (Reply(PUT, Indefinite(reason)),)
    assert hands.expire(stranger, GET) == (Reply(GET, Failed(reason)),)
    hands.deliver()
    assert len(hands.told) == 2, "the client is told once"


def test_a_coordinator_that_runs_out_of_time_tells_the_forwarder() -> None:
    hands = Hands("abcd")
    stranger, coordinator = hands.stranger(), hands.owners()[0]
    hands.ask(stranger, PUT, put())
    hands.deliver(lambda e: isinstance(e.message, Forward))
    hands.expire(coordinator, PUT)
    hands.deliver(lambda e: isinstance(e.message, Forwarded))
    assert hands.results(PUT) == [Indefinite("1 of 2 owners acknowledged in time")]


# What does not fit what is in flight.


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (put(), Answer(PUT, FSet.of([version(B)]))),
        (put(), Forwarded(PUT, Failed("?"))),
        (put(), Forward(PUT, get())),
        (get(), Written(PUT)),
        (get(), Forwarded(PUT, Failed("?"))),
        (get(), Forward(PUT, put())),
        (None, Written(PUT)),
        (None, Answer(PUT, FSet.of([version(B)]))),
        (None, Forwarded(PUT, Failed("?"))),
    ],
)
def test_a_message_that_does_not_fit_the_request_changes_nothing(operation: Put | None, message: Message) -> None:
    hands = Hands()
    if operation is not None:
        hands.ask(A, PUT, operation)
    before = hands.servers[A]
    assert hands.send(B, A, message) == ()
    assert hands.servers[A] == before


def test_an_answer_or_acknowledgement_does_not_fit_a_forward() -> None:
    hands = Hands("abcd")
    stranger = hands.stranger()
    hands.ask(stranger, PUT, put())
    before = hands.servers[stranger]
    for message in (Written(PUT), Answer(PUT, NO_VERSIONS)):
        assert hands.send(hands.owners()[0], stranger, message) == ()
    assert hands.servers[stranger] == before


@given(st.lists(st.sampled_from(["b acks", "c acks", "b again", "expire", "put again"]), max_size=8))
def test_a_client_is_told_once_per_request_in_flight(happenings: list[str]) -> None:
    hands = Hands(config=small_config(w=3))
    hands.ask(A, PUT, put())
    opened = 1
    for happening in happenings:
        match happening:
            case "b acks" | "b again":
                hands.send(B, A, Written(PUT))
            case "c acks":
                hands.send(C, A, Written(PUT))
            case "expire":
                hands.expire(A, PUT)
            case _:
                opened += hands.servers[A].requests.get(PUT) is None
                hands.ask(A, PUT, put())
        assert len(hands.told) == opened - hands.servers[A].node.in_flight
    assert hands.row(A).counter == 1


def test_an_acknowledgement_counts_for_the_owner_that_it_was_asked_for() -> None:
    """D stood for B at first; it acknowledges that when it stands for C already."""
    hands = Hands(names="abcd", config=small_config(w=3, sloppy=True))
    coordinator, first, second = hands.owners()
    stranger = hands.stranger()
    hands.event(coordinator, Suspicion(first, True))
    hands.ask(coordinator, PUT, put())
    hands.deliver(lambda e: e.target == stranger)
    (late,) = [e for e in hands.mail if e.source == stranger]
    assert late.message == Written(PUT, first)
    hands.expire(coordinator, PUT)
    hands.event(coordinator, Suspicion(first, False))
    hands.event(coordinator, Suspicion(second, True))
    hands.ask(coordinator, PUT, replace(put(), again=True))
    hands.send(stranger, coordinator, late.message)
    about = hands.servers[coordinator].requests[PUT]
    assert isinstance(about, PutInFlight)
    assert about.holders[stranger] == second
    assert about.acknowledged == FSet.of([coordinator])


@pytest.mark.parametrize("forwarded", [False, True])
def test_a_put_that_is_asked_again_while_it_waits_for_who_is_late_is_answered_again(forwarded: bool) -> None:
    """Its answer was lost; once, nothing was said until nobody was waited for any more."""
    hands = Hands(config=small_config(r=1, w=1, sloppy=True))
    source = B if forwarded else None

    def ask(operation: Put) -> None:
        if source is None:
            hands.ask(A, PUT, operation)
        else:
            hands.send(source, A, Forward(PUT, operation))

    def answers() -> list[Result]:
        sent: list[Result] = [e.message.result for e in hands.mail if isinstance(e.message, Forwarded)]
        return sent if forwarded else hands.results(PUT)

    ask(put())
    (first,) = answers()
    ask(put())
    assert answers() == [first], "a repeated message says nothing new"
    ask(replace(put(), again=True))
    assert answers() == [first, first]
    assert hands.row(A).counter == 1
    node = hands.servers[A].node
    assert (node.in_flight, node.lingering) == (0, 1)


def test_a_reply_and_its_timer_go_together() -> None:
    """Every outcome that ends a request cancels its timer, unless the timer was what ended it."""
    hands = Hands(config=small_config(r=1, w=1))
    server = hands.servers[A]
    outcome = step(server.node, None, server.disk, Invoke(PUT, put()))
    assert outcome.effects[-1] == CancelTimer(PUT)
    everybody, nothing = FMap.of({n: n for n in (A, B, C)}), FMap.of({A: NO_VERSIONS, B: NO_VERSIONS})
    quorum = read_quorum(AS_CONFIGURED_GET, hands.config)
    waiting = GetInFlight(GET, KEY, None, quorum, everybody, nothing, answered=True)
    busy = step(server.node, None, server.disk, Invoke(GET, get())).node
    late = step(busy, waiting, server.disk, Deliver(C, Answer(GET, NO_VERSIONS)))
    assert late.effects == (CancelTimer(GET),)
    assert step(busy, waiting, server.disk, Timeout(GET)).effects == ()


def test_what_may_yet_come_to_be_is_not_called_refused() -> None:
    """The network repeats a `Forward`. One copy is refused, for the siblings there are; they are reconciled; then the
    other copy arrives, and is taken: so the client must not have been told that the put was refused."""
    hands = Hands("abcd", config=small_config(limits=Limits(siblings=2)))
    stranger, coordinator = hands.stranger(), hands.owners()[0]
    for number in (1, 2):
        hands.ask(coordinator, request(number), put(str(number).encode()))
        hands.deliver()
    hands.ask(stranger, request(3), put(b"3"))
    (copy,) = (e.message for e in hands.mail)
    hands.deliver()
    assert isinstance(hands.results(request(3))[0], Indefinite)
    hands.ask(coordinator, request(4), put(b"4", context_of(hands.held(coordinator))))
    hands.deliver()
    hands.send(stranger, coordinator, copy)
    assert {v.value for v in hands.held(coordinator)} == {b"3", b"4"}
