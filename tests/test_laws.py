"""The laws, evaluated: on arbitrary values, and on the histories of random behaviours, where their premises hold."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker.prove.counterexample import SMALL, refute_law, show
from checker.prove.subset import Function, functions_of
from spec import laws
from spec.maps import FSet
from spec.siblings import Siblings, is_antichain, merge
from spec.types import Config, NodeId
from tests.arbitrary import arguments, walk

LAWS = functions_of(laws, "law_")
CONTROLS = functions_of(laws, "control_")
ON_HISTORIES = [law for law in LAWS.values() if {"seen", "written"} & set(law.__annotations__)]


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_laws_hold_of_arbitrary_values(law: Callable[..., bool]) -> None:
    @settings(max_examples=40)
    @given(arguments(law))
    def holds(drawn: dict[str, object]) -> None:
        assert law(**drawn)

    holds()


def test_laws_hold_of_the_histories_of_random_behaviours() -> None:
    checked = 0
    for seed in range(0, 120, 2):  # walks without hints, in which stores differ most
        for _, _, s in walk(seed, 80, Config(n=3, r=2, w=2))[::5]:
            assert laws.is_closed(s.seen, s.created)
            held: list[Siblings] = [s.store[n] for n in (*s.owners, *s.nodes)]
            a, b, c, *_ = held
            assert laws.law_supersedes_transitive(s.seen, s.created)
            assert laws.law_merge_antichain(s.seen, s.created, a, b)
            assert laws.law_merge_maximal(s.seen, s.created, a, b)
            assert laws.law_merge_associative(s.seen, s.created, a, b, c)
            assert is_antichain(merge(merge(a, b), c))
            checked += len({a, b, c}) == 3
    assert checked > 20
    assert len(ON_HISTORIES) >= 5


@given(st.sets(st.sampled_from("ABCDE")), st.sets(st.sampled_from("ABCDE")), st.integers(1, 5), st.data())
def test_quorums_of_real_sizes_intersect(a: set[str], b: set[str], n: int, data: st.DataObject) -> None:
    r, w = data.draw(st.integers(1, n)), data.draw(st.integers(1, n))
    owners = FSet.of(NodeId(name) for name in "ABCDE"[:n])
    readers, writers = (FSet.of(NodeId(name) for name in names) & owners for names in (a, b))
    assert laws.law_quorums_intersect(readers, writers, owners, r, w)


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_controls_are_false_and_their_counterexamples_are_real(control: Function) -> None:
    found = refute_law(control.__name__, control, SMALL)
    assert found is not None
    assert control(**found.arguments) is False
    assert all(show(value) for value in found.arguments.values())


def test_quorums_that_need_not_intersect_are_small() -> None:
    found = refute_law("", laws.control_quorums_intersect_without_overlap, SMALL)
    assert found is not None
    r, w, owners = (found.arguments[name] for name in ("r", "w", "owners"))
    assert isinstance(r, int)
    assert isinstance(w, int)
    assert isinstance(owners, FSet)
    assert r + w <= len(owners)
