"""Reduced searches: as many states as orbits, the same verdicts, real counterexamples; false declarations are named."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from checker.audit import audit_all
from checker.audit_report import audits_told
from checker.explore import explore
from checker.machine import Always, Property, SimpleMachine, Sometimes, SometimesStep, Transition
from checker.outcome import Bounds, ModelError
from checker.reduce import Quotient, explore_reduced
from checker.symmetry import Interchangeable, Renaming, Renamings, Symmetry
from tests.machines.die_hard import DieHard
from tests.machines.two_phase import Action, ChoosesToAbort, FastTwoPhase, State, TwoPhase, parts, whole


def orbits(n: int) -> int:
    """Of two-phase commit: how many multisets of managers there are."""
    return comb(n + 5, 5) + comb(n + 3, 3) + comb(n + 1, 1)


@pytest.mark.parametrize(("n", "published"), [(3, 80), (5, 314), (7, 920), (9, 2_232)])
def test_two_phase_commit_has_the_published_number_of_orbits(n: int, published: int) -> None:
    result = explore_reduced(FastTwoPhase(n))
    assert (result.verdict, result.states) == ("holds", published)
    assert published == orbits(n)
    assert result.stands_for == 6**n + 4**n + 2**n
    assert {p.name: p.standing for p in result.properties} == {
        "consistency": "holds",
        "type-ok": "holds",
        "deadlock-free": "holds",
        "some-commits": "met",
        "some-aborts": "met",
        "some-heard": "met",
    }


def renamings(n: int) -> Renamings[State]:
    """The same symmetry in the other form."""
    return Renamings(Interchangeable(n, parts, whole).generators())


@pytest.mark.parametrize("n", [2, 3, 4])
def test_both_forms_give_the_same_orbits(n: int) -> None:
    machine = FastTwoPhase(n)
    machine.symmetry = renamings(n)
    result = explore_reduced(machine)
    assert (result.states, result.stands_for) == (orbits(n), 6**n + 4**n + 2**n)


def test_an_orbit_counts_once_however_often_it_is_asked_about() -> None:
    machine = FastTwoPhase(3)
    quotient = Quotient(machine, machine.symmetry)
    for _ in range(2):
        explore(quotient)
    assert quotient.stands_for() == 288


def test_what_declares_nothing_is_searched_in_full() -> None:
    assert explore_reduced(DieHard()).states == 16
    assert not explore_reduced(DieHard()).reduced


def test_a_bound_leaves_it_open_for_how_many_states_the_search_stands() -> None:
    result = explore_reduced(FastTwoPhase(5), Bounds(states=100))
    assert (result.verdict, result.states, result.stands_for) == ("incomplete", 100, None)


class Hasty(TwoPhase):
    """A manager that has prepared may still abort on its own."""

    def actions(self, state: State) -> Iterator[Action]:
        yield from super().actions(state)
        yield from (ChoosesToAbort(r) for r in range(self.n) if state.managers[r] == "prepared")


def test_a_counterexample_of_orbits_is_a_path_of_the_machine() -> None:
    machine = Hasty(3)
    plain, reduced = explore(machine).violation, explore_reduced(machine).violation
    assert plain is not None
    assert reduced is not None
    assert (reduced.property, reduced.kind, len(reduced.path)) == (plain.property, plain.kind, len(plain.path))
    state = reduced.path[0].state
    assert state in machine.initial()
    for step in reduced.path[1:]:
        assert step.action is not None
        state = machine.step(state, step.action)
        assert state == step.state
    clause = machine.properties[0]
    assert isinstance(clause, Always)
    assert clause.violation(state) == reduced.clause


# A machine whose processes differ in nothing, and what can be wrong with saying so.


class Bits(Struct, frozen=True, cache_hash=True):
    """How far each process is, and who was last."""

    at: tuple[int, ...]


class Go(Struct, frozen=True):
    who: int


class Counting(SimpleMachine[Bits, Go]):
    """Three processes, each counts to two."""

    name = "counting"

    def __init__(self, *properties: Property[Bits, Go], symmetry: Symmetry[Bits] | None = None) -> None:
        self.properties = properties
        self.symmetry = symmetry or COUNTING

    def initial(self) -> list[Bits]:
        return [Bits((0, 0, 0))]

    def actions(self, state: Bits) -> list[Go]:
        return [Go(i) for i in range(3) if state.at[i] < 2]

    def step(self, state: Bits, action: Go) -> Bits:
        return Bits((*state.at[: action.who], state.at[action.who] + 1, *state.at[action.who + 1 :]))

    def is_final(self, state: Bits) -> bool:
        return state.at == (2, 2, 2)


COUNTING = Interchangeable(3, lambda s: s.at, lambda _, parts: Bits(tuple(parts)))


def complaints(machine: SimpleMachine[Bits, Go]) -> dict[str, str]:
    return {a.claim: a.complaint for a in audit_all(machine, 10_000)}


def test_a_true_symmetry_stands_up() -> None:
    assert complaints(Counting()) == {"step": "", "symmetry": ""}
    assert (explore_reduced(Counting()).states, explore_reduced(Counting()).stands_for) == (10, 27)
    assert {a.claim: a.complaint for a in audit_all(FastTwoPhase(3), 10_000)} == {"step": "", "symmetry": ""}


def first_is_small(state: Bits) -> str | None:
    return "the first is done" if state.at[0] == 2 else None


class FirstFirst(Counting):
    """Process 0 goes first."""

    def actions(self, state: Bits) -> list[Go]:
        return [go for go in super().actions(state) if go.who == 0 or state.at[0] > 0]


class StartsFirst(Counting):
    """Process 0 has a head start."""

    def initial(self) -> list[Bits]:
        return [Bits((1, 0, 0))]


class EndsFirst(Counting):
    """Only process 0 is waited for."""

    def is_final(self, state: Bits) -> bool:
        return state.at[0] == 2


class Fickle(Counting):
    """Says another thing every other time."""

    asked = 0

    def actions(self, state: Bits) -> list[Go]:
        self.asked += 1
        return super().actions(state)[:: 1 if self.asked % 2 else -1]


def folded(state: Bits) -> Bits:
    """No renaming: it makes different states one."""
    return Bits((state.at[0], state.at[1], 0))


class Favourite(Renamings[Bits]):
    """Every state stands for itself."""

    def representative(self, state: Bits) -> Bits:
        return state


class Miscounting(Renamings[Bits]):
    """Thinks that every orbit is one state larger than it is."""

    def orbit_size(self, state: Bits) -> int:
        return super().orbit_size(state) + 1


SWAP = COUNTING.generators()


@pytest.mark.parametrize(
    ("machine", "claim", "said"),
    [
        (FirstFirst(), "symmetry", "where nothing leads to"),
        (StartsFirst(), "symmetry", "turns an initial state into one that is none"),
        (EndsFirst(), "symmetry", "only one of the two is final"),
        (Counting(Always("small", first_is_small)), "symmetry", "and small holds in only one of the two"),
        (Counting(Sometimes("one", lambda s: s.at[0] > 0, of="x")), "symmetry", "and one holds in only one"),
        (
            Counting(Transition("step", lambda _, go, __: "it is 0" if go.who == 0 else None)),
            "symmetry",
            "judged step, as it should",
        ),
        (
            Counting(SometimesStep("seen", lambda _, go, __: go.who == 0, of="x")),
            "symmetry",
            "judged seen, as it should",
        ),
        (Counting(symmetry=Renamings([Renaming("folds", folded)])), "symmetry", "a renaming that folds"),
        (Counting(symmetry=Favourite(SWAP)), "symmetry", "another representative than"),
        (Counting(symmetry=Miscounting(SWAP)), "symmetry", "add up to 37, and there are 27 states"),
        (Fickle(), "step", "two answers"),
    ],
)
def test_an_audit_names_what_is_false(machine: Counting, claim: str, said: str) -> None:
    found = complaints(machine)
    assert said in found[claim]
    assert "Bits(at=" in found[claim] or "initial" in found[claim] or "add up" in found[claim]


def test_what_an_audit_did_not_see_it_does_not_vouch_for() -> None:
    audits = list(audit_all(Counting(), 5))
    assert [a.complete for a in audits] == [False, False]
    assert "stood up on the first 5 states" in audits_told(audits)
    assert "stood up on 27 states" in audits_told(list(audit_all(Counting(), 27)))


def test_a_counterexample_that_the_machine_cannot_take_is_the_reductions_fault() -> None:
    class Merging(Renamings[Bits]):
        """Takes any state for the one in which all are done."""

        def representative(self, state: Bits) -> Bits:
            return Bits((2, 2, 1)) if sum(state.at) == 2 else state

    machine = Counting(
        Always("not-all", lambda s: "all are done" if s.at == (2, 2, 2) else None), symmetry=Merging(SWAP)
    )
    with pytest.raises(ModelError, match="a reduction: the machine itself cannot go on as its reduction does"):
        explore_reduced(machine)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_the_size_of_an_orbit_is_counted_right(at: list[int]) -> None:
    sorting = Interchangeable[Bits](len(at), lambda s: s.at, lambda _, parts: Bits(tuple(parts)))
    trying = Renamings(sorting.generators())
    assert sorting.orbit_size(Bits(tuple(at))) == trying.orbit_size(Bits(tuple(at)))


def test_a_step_is_judged_before_its_end_is_replaced() -> None:
    """No step goes down; between representatives some would seem to."""
    down = Transition[Bits, Go]("down", lambda a, _, b: "it went down" if b.at < a.at else None)
    assert explore_reduced(Counting(down)).verdict == "holds"
    last = Transition[Bits, Go]("last", lambda _, __, b: "all are done" if b.at == (2, 2, 2) else None)
    found = explore_reduced(Counting(last)).violation
    assert found is not None
    assert (found.property, len(found.path)) == ("last", 7)
