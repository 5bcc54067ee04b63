"""Whatever the order, and by fingerprints too: the same states, verdicts and, where promised, shortest paths."""

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from checker.explore import explore
from checker.fingerprints import NoFingerprint, collision_odds, fingerprinting
from checker.models import machine_of
from checker.orders import explore_in_order
from checker.outcome import Bounds, How, ModelError, Result
from tests.machines import odd
from tests.machines.die_hard import DieHard
from tests.machines.graph import Graph, Grid, graphs
from tests.machines.odd import Count, Counter
from tests.machines.two_phase import TwoPhase
from tests.seeds import same_under_two_hash_seeds

OTHERS = [
    How(fingerprints=True),
    How("depth"),
    How("depth", fingerprints=True),
    How("deepening"),
    How("deepening", fingerprints=True),
]


def by_name(how: How) -> str:
    return how.order + "-fingerprints" * how.fingerprints


every_other = pytest.mark.parametrize("how", OTHERS, ids=by_name)


# The same states, whatever the order.


@every_other
def test_the_same_states_and_standings(how: How) -> None:
    plain, other = explore(TwoPhase(3)), explore_in_order(TwoPhase(3), how)
    assert (other.verdict, other.states, other.depth) == (plain.verdict, plain.states, plain.depth)
    assert [(p.name, p.standing) for p in other.properties] == [(p.name, p.standing) for p in plain.properties]
    assert [(c.kind, c.new > 0) for c in other.coverage] == [(c.kind, c.new > 0) for c in plain.coverage]
    if how.order != "deepening":
        assert other.generated == plain.generated
        assert [c.generated for c in other.coverage] == [c.generated for c in plain.coverage]


@every_other
def test_the_cluster_has_the_same_states(how: How) -> None:
    plain, other = explore(machine_of("sloppy-put")), explore_in_order(machine_of("sloppy-put"), how)
    assert (other.verdict, other.states) == (plain.verdict, plain.states)


@given(graphs(), st.sampled_from(OTHERS), st.none() | st.integers(0, 8))
def test_it_agrees_with_the_search_breadth_first(graph: Graph, how: How, depth: int | None) -> None:
    """The number of states within a depth does not depend on the order, nor whether one of them is bad."""
    plain, other = explore(graph, Bounds(depth=depth)), explore_in_order(graph, how, Bounds(depth=depth))
    assert other.verdict == plain.verdict
    if plain.violation is None:
        assert (other.states, other.stopped) == (plain.states, plain.stopped)
        assert how.order == "depth" or other.depth == plain.depth
        return
    assert other.violation is not None
    path = [step.state.id for step in other.violation.path]
    assert path[0] == 0
    assert path[-1] in graph.bad
    assert all(there in graph.edges[here] for here, there in pairwise(path))
    assert len(path) >= len(plain.violation.path)
    assert how.order == "depth" or len(path) == len(plain.violation.path)


def test_depth_first_meets_what_is_far_away_before_what_is_beside() -> None:
    chain = Graph([[1, 9], *[[i + 1] for i in range(1, 8)], [], []], bad={8, 9})
    near, far = explore(chain).violation, explore_in_order(chain, How("depth")).violation
    assert near is not None
    assert far is not None
    assert (len(near.path), len(far.path)) == (2, 9)


@every_other
@pytest.mark.parametrize(
    ("machine", "property"),
    [(odd.DEADLOCKS, "deadlock-free"), (odd.BREAKS_A_STEP, None), (odd.UNMET, None), (DieHard(True), "unsolvable")],
    ids=["deadlock", "step", "unmet", "state"],
)
def test_the_same_properties_fail(how: How, machine: Counter, property: str | None) -> None:
    plain, other = explore(machine).violation, explore_in_order(machine, how).violation
    assert plain is not None
    assert other is not None
    assert other.property == plain.property
    assert property in (None, other.property)
    if how.order != "depth":
        assert other == plain


@every_other
def test_a_bound_is_never_holds(how: How) -> None:
    whole = explore(TwoPhase(2))
    for states in range(1, whole.states):
        cut = explore_in_order(TwoPhase(2), how, Bounds(states=states))
        assert (cut.verdict, cut.states) == ("incomplete", states)
    assert explore_in_order(TwoPhase(2), how, Bounds(depth=whole.depth + 1)).verdict == "holds"
    cut = explore_in_order(TwoPhase(2), how, Bounds(depth=whole.depth))
    assert (cut.verdict, cut.stopped) == ("incomplete", f"bound of depth {whole.depth} reached")


@pytest.mark.parametrize("how", [How(), *OTHERS], ids=by_name)
def test_time_and_memory_are_bounds(how: How) -> None:
    late = explore_in_order(TwoPhase(4), how, Bounds(seconds=1e-6))
    assert (late.verdict, late.stopped) == ("incomplete", "bound of 1e-06 seconds reached")
    full = explore_in_order(TwoPhase(4), how, Bounds(memory=1 << 20))
    assert (full.verdict, full.stopped) == ("incomplete", "bound of 1 MiB of memory reached")
    assert explore_in_order(TwoPhase(2), how, Bounds(memory=1 << 40)).verdict == "holds"


@every_other
def test_a_model_at_fault_is_told_with_the_way_there(how: How) -> None:
    with pytest.raises(ModelError, match="property buggy: ZeroDivisionError") as caught:
        explore_in_order(odd.RAISES, how)
    assert caught.value.path[0].state == Count(0)


# Fingerprints.


class Colour(Enum):
    RED = 1


class Pair(NamedTuple):
    a: int
    b: int


@dataclass(frozen=True)
class Point:
    x: int


class A(Struct, frozen=True):
    x: object


class B(Struct, frozen=True):
    x: object


texts = st.text("ab", max_size=2) | st.binary(max_size=2)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2, width=16) | texts,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(inner, max_size=3)
        | inner.map(A)
        | inner.map(B)
        | st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda both: Pair(*both))
        | st.integers(0, 2).map(Point)
    ),
    max_leaves=5,
)  # fmt: skip


@given(values, values)
def test_fingerprints_are_equal_exactly_where_values_are(a: object, b: object) -> None:
    fingerprint = fingerprinting()
    assert (fingerprint(a) == fingerprint(b)) == (a == b)
    assert fingerprint((a, b)) == fingerprinting()((a, b)), "whatever is remembered"


def test_fingerprints_do_not_depend_on_hash_seeds() -> None:
    program = (
        "from checker.fingerprints import fingerprinting\n"
        "print(fingerprinting()((frozenset({'a', 'b', 'c', 1}), 'x', b'y', None, 1.5)))"
    )
    same_under_two_hash_seeds(program)


class Own(Struct, frozen=True):
    x: int

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class Identical(Struct, frozen=True, eq=False):
    x: int


@pytest.mark.parametrize("value", [Own(1), Identical(1), 1j, [1], {1: 2}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(NoFingerprint):
        fingerprinting()((value,))


def test_a_machine_of_such_states_is_refused_by_name() -> None:
    class Odd(Counter):
        def initial(self) -> list[Count]:
            return [complex(1)]  # type: ignore[list-item] # the mistake

    with pytest.raises(ModelError, match="a fingerprint: a complex has no fingerprint"):
        explore_in_order(Odd(), How(fingerprints=True))


def test_the_odds_of_a_collision_are_told() -> None:
    result = explore_in_order(TwoPhase(3), How(fingerprints=True))
    assert result.collision_odds == collision_odds(288) == 288 * 287 / 2 / 2**128
    assert explore(TwoPhase(3)).collision_odds == 0
    assert collision_odds(1) == 0


def test_equal_fingerprints_would_merge_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the odds are of: with fingerprints of a few bits, states are lost."""
    monkeypatch.setattr("checker.orders.fingerprinting", lambda: lambda state: hash(str(state)) % 5)
    found: Result[Count, odd.Action] = explore_in_order(Counter(), How(fingerprints=True))
    assert found.states <= 5 < explore(Counter()).states


def test_grids_are_as_wide_as_they_say() -> None:
    for how in OTHERS:
        assert replace(explore_in_order(Grid(5, 4), how), seconds=0).states == 20
