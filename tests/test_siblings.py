"""Sibling sets: on sets that can come about, merging is a join that keeps exactly the maximal versions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.clock import NOTHING, Clock, Dot, covers, descends, join
from spec.maps import Counts, FSet
from spec.siblings import (
    NO_VERSIONS,
    Siblings,
    Version,
    add,
    context_of,
    is_antichain,
    is_context,
    merge,
    supersedes,
)
from spec.types import Value
from tests.strategies import actor_of, clocks, worlds


@given(worlds(), st.data())
def test_merge_is_a_join(ever: tuple[Siblings, ...], data: st.DataObject) -> None:
    a, b, c = (data.draw(st.sampled_from(ever)) for _ in range(3))
    assert merge(a, a) == a
    assert merge(a, NO_VERSIONS) == merge(NO_VERSIONS, a) == a
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(worlds(), st.data())
def test_merge_keeps_exactly_the_maximal(ever: tuple[Siblings, ...], data: st.DataObject) -> None:
    a, b = (data.draw(st.sampled_from(ever)) for _ in range(2))
    both = a | b
    maximal = FSet.of(v for v in both if not any(supersedes(u, v) for u in both))
    assert merge(a, b) == maximal
    assert all(v in maximal or any(supersedes(u, v) for u in maximal) for v in both), "nothing vanished unseen"


@given(worlds())
def test_whatever_is_held_is_an_antichain_with_a_context(ever: tuple[Siblings, ...]) -> None:
    for held in ever:
        assert is_antichain(held)
        assert is_context(context_of(held), held)


@given(worlds(), st.data())
def test_the_context_of_a_merge_is_the_join_of_the_contexts(ever: tuple[Siblings, ...], data: st.DataObject) -> None:
    a, b = (data.draw(st.sampled_from(ever)) for _ in range(2))
    assert context_of(merge(a, b)) == join(context_of(a), context_of(b))


@given(worlds())
def test_supersession_is_a_strict_partial_order(ever: tuple[Siblings, ...]) -> None:
    versions = {v for held in ever for v in held}
    for u in versions:
        assert not supersedes(u, u)
        for v in versions:
            assert not (supersedes(u, v) and supersedes(v, u))
            assert all(supersedes(u, w) for w in versions if supersedes(u, v) and supersedes(v, w))


@given(worlds(), st.data())
def test_a_put_removes_exactly_what_its_context_covers(ever: tuple[Siblings, ...], data: st.DataObject) -> None:
    held, read = (data.draw(st.sampled_from(ever)) for _ in range(2))
    fresh = Version(Dot(actor_of(4), 1), context_of(read), Value(b"new"))
    after = add(held, fresh)
    assert fresh in after
    for version in held:
        assert (version in after) != covers(context_of(read), version.dot)
        assert (version in after) == (version not in read and not any(supersedes(r, version) for r in read))


@given(clocks, worlds())
def test_is_context_accepts_only_the_least(other: Clock, ever: tuple[Siblings, ...]) -> None:
    for held in ever:
        assert is_context(other, held) == (other == context_of(held))


def test_two_puts_with_one_context_stay_two_siblings() -> None:
    actor = actor_of(0)
    first = Version(Dot(actor, 1), NOTHING, Value(b"1"))
    second = Version(Dot(actor, 2), NOTHING, Value(b"2"))
    assert add(add(NO_VERSIONS, first), second) == FSet.of([first, second])


def test_outside_causally_closed_sets_a_clock_stands_for_nothing() -> None:
    """Why whole sets travel: {a:2 after []} alone, as context, would claim a:1, which its holder never saw."""
    actor = actor_of(0)
    first = Version(Dot(actor, 1), NOTHING, Value(b"1"))
    second = Version(Dot(actor, 2), NOTHING, Value(b"2"))
    claim = context_of(FSet.of([second]))
    assert covers(claim, first.dot)
    assert not supersedes(second, first)


@pytest.mark.parametrize("counter", [1, 2])
def test_descends_and_contexts_see_dots_and_contexts(counter: int) -> None:
    a, b = actor_of(0), actor_of(1)
    version = Version(Dot(b, 1), Counts.of({a: counter}), Value(b""))
    context = context_of(FSet.of([version]))
    assert context == Counts.of({a: counter, b: 1})
    assert descends(context, version.context)
    assert str(version) == f"b:1 after [a:{counter}]"
