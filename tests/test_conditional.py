"""Conditional puts: what one coordinator promises, and what nobody does."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from impl.client import Client, ConditionUnmet
from spec.clock import NOTHING, Clock
from spec.events import Reply
from spec.maps import FSet
from spec.messages import Condition, Forward, Forwarded, Indefinite, Put, Repair, Stored, Unmet
from spec.siblings import context_of
from spec.types import Config, Limits, NodeId
from tests.nodes import Running
from tests.small import KEY, Hands, put, request, small_config
from tests.test_client import NAMES, with_store
from tests.test_coordinate import version

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
FIRST, SECOND = request(1), request(2)
THEIRS = FSet.of([version(B)])


def only_if(condition: Condition, context: Clock = NOTHING, value: bytes = b"v", *, again: bool = False) -> Put:
    return replace(put(value, context), condition=condition, again=again)


def test_of_two_puts_that_want_nothing_to_be_there_the_second_is_turned_down_before_anything_changed() -> None:
    hands = Hands()
    hands.ask(A, FIRST, only_if("none-match"))
    before = hands.servers[A]
    assert hands.ask(A, SECOND, only_if("none-match", value=b"w")) == (Reply(SECOND, Unmet("a value is there")),)
    assert hands.servers[A] == before


def test_what_others_sent_is_there_too_and_is_unchanged_while_its_context_is() -> None:
    hands = Hands()
    hands.send(B, A, Repair(KEY, THEIRS))
    hands.ask(A, FIRST, only_if("none-match"))
    assert hands.results(FIRST) == [Unmet("a value is there")]
    hands.ask(A, FIRST, only_if("context-unchanged"))
    assert hands.results(FIRST)[1:] == [Unmet("what is there has another context")]
    hands.ask(A, SECOND, only_if("context-unchanged", context_of(THEIRS)))
    assert len(hands.mail) == 2, "it is taken"
    hands.ask(A, request(3), only_if("context-unchanged", context_of(THEIRS)))
    assert hands.results(request(3)) == [Unmet("what is there has another context")]


def test_what_only_others_know_is_not_there() -> None:
    """No compare-and-swap: the coordinator has missed a write, takes a put, and then there are siblings."""
    hands = Hands()
    hands.send(C, B, Repair(KEY, THEIRS))
    hands.ask(A, FIRST, only_if("none-match"))
    hands.deliver()
    assert isinstance(hands.results(FIRST)[0], Stored)
    assert len(hands.held(B)) == 2


def test_a_put_that_is_asked_again_is_not_asked_for_its_condition() -> None:
    hands = Hands()
    hands.ask(A, FIRST, only_if("none-match"))
    hands.expire(A, FIRST)
    held = hands.held(A)
    hands.ask(A, FIRST, only_if("none-match", again=True))
    hands.deliver()
    assert hands.held(A) == held
    assert isinstance(hands.results(FIRST)[-1], Stored)


def test_a_condition_that_fails_the_second_time_leaves_what_happened_the_first_time_open() -> None:
    hands = Hands(config=small_config(limits=Limits(remembered_requests=1)))
    hands.send(B, A, Repair(KEY, THEIRS))
    hands.ask(A, FIRST, only_if("none-match", again=True))
    assert hands.results(FIRST) == [Indefinite("it was asked before; this time: a value is there")]


def test_who_forwarded_cannot_tell_for_certain() -> None:
    """The network may repeat what was forwarded, and the condition may hold when the other copy arrives."""
    hands = Hands("abcd")
    owner, other = hands.owners()[0], hands.stranger()
    hands.send(hands.owners()[1], owner, Repair(KEY, THEIRS))
    hands.ask(other, FIRST, only_if("none-match"))
    hands.deliver(lambda e: isinstance(e.message, Forward | Forwarded))
    (told,) = hands.results(FIRST)
    assert isinstance(told, Indefinite)
    assert told.reason.endswith("a value is there")


def test_clients_are_told_by_a_type_of_its_own(tmp_path: Path) -> None:
    async def test(_: list[Running], stores: list[Client]) -> None:
        store = stores[0]
        await store.put(b"k", b"1", condition="none-match")
        with pytest.raises(ConditionUnmet, match="a value is there"):
            await store.put(b"k", b"2", condition="none-match")
        found = await store.get(b"k")
        shown = await store.put_and_show(b"k", b"3", found.context, condition="context-unchanged")
        assert shown.values == (b"3",)
        with pytest.raises(ConditionUnmet, match="another context"):
            await store.put(b"k", b"4", found.context, condition="context-unchanged")
        assert (await store.get(b"k")).values == (b"3",)

    with_store(tmp_path, NAMES, Config(), test)
