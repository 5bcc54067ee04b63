"""Clocks: a partial order with least upper bounds, for clocks of any kind."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from spec.clock import NOTHING, Actor, Clock, Dot, covers, descends, join, show_clock
from spec.maps import Counts
from spec.types import NodeId
from tests.strategies import clocks, dots

A, B = Actor(NodeId("A"), "x", 1), Actor(NodeId("B"), "x", 2)


@given(clocks, clocks, clocks)
def test_descends_is_a_partial_order_with_a_least_element(a: Clock, b: Clock, c: Clock) -> None:
    assert descends(a, a)
    assert not (descends(a, b) and descends(b, a)) or a == b
    assert not (descends(a, b) and descends(b, c)) or descends(a, c)
    assert descends(a, NOTHING)


@given(clocks, clocks, clocks)
def test_join_is_the_least_upper_bound(a: Clock, b: Clock, c: Clock) -> None:
    joined = join(a, b)
    assert descends(joined, a)
    assert descends(joined, b)
    assert descends(c, joined) == (descends(c, a) and descends(c, b))
    assert joined == join(b, a)
    assert join(joined, c) == join(a, join(b, c))
    assert join(a, a) == join(a, NOTHING) == a


@given(clocks, clocks, dots)
def test_covers_agrees_with_the_order(a: Clock, b: Clock, dot: Dot) -> None:
    assert covers(a, dot) == descends(a, Counts.of({dot.actor: dot.counter}))
    assert covers(join(a, b), dot) == (covers(a, dot) or covers(b, dot))
    assert not covers(NOTHING, dot)


def test_descends_notices_what_is_missing() -> None:
    assert not descends(Counts.of({A: 2}), Counts.of({A: 1, B: 1}))
    assert not descends(Counts.of({A: 1, B: 1}), Counts.of({A: 2}))


@pytest.mark.parametrize(
    "text",
    ['[["A","x",1],0]', '[["A","x",1],-1]', '[["A","x",0],1]', '[["A","x",1],1.5]', '[["A","x",1]]', '[["A",7,1],1]'],
)
def test_a_dot_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Dot)


def test_clocks_are_shown_as_in_the_papers() -> None:
    assert show_clock(NOTHING) == "[]"
    assert show_clock(Counts.of({B: 1, A: 2})) == "[A:2, B.2:1]"
    assert str(Dot(A, 3)) == "A:3"
