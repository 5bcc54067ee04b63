"""The search finds every state once, tells shortest counterexamples, and never says *holds* when it does not know."""

import gc
from collections import deque
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.explore import explore
from checker.machine import Always, Sometimes, SometimesStep, Transition, audit, invariant, unwitnessed
from checker.outcome import Bounds, ModelError, Progress, Result, Step
from tests.machines import odd
from tests.machines.die_hard import BigToSmall, DieHard, EmptySmall, FillBig, Jugs
from tests.machines.graph import Graph, graphs
from tests.machines.odd import Add, Count, Counter, Finished, Forgetful, Fused, Stay, Unhashable
from tests.machines.two_phase import COMMIT, Action, ChoosesToAbort, FastTwoPhase, State, TwoPhase
from tests.seeds import same_under_two_hash_seeds

# Published counts.


@pytest.mark.parametrize(("n", "generated"), [(3, 1_146), (5, 58_146)])
@pytest.mark.parametrize("machine", [TwoPhase, FastTwoPhase])
def test_two_phase_commit_has_the_published_number_of_states(machine: type[TwoPhase], n: int, generated: int) -> None:
    result = explore(machine(n))
    assert (result.verdict, result.states, result.generated) == ("holds", 6**n + 4**n + 2**n, generated)
    assert {p.name: p.standing for p in result.properties} == {
        "consistency": "holds",
        "type-ok": "holds",
        "deadlock-free": "holds",
        "some-commits": "met",
        "some-aborts": "met",
        "some-heard": "met",
    }


def test_two_phase_commit_with_seven_managers() -> None:
    result = explore(FastTwoPhase(7))
    assert (result.verdict, result.states, result.generated) == ("holds", 296_448, 2_744_706)


def test_die_hard_has_sixteen_states() -> None:
    result = explore(DieHard())
    assert (result.verdict, result.states, result.generated) == ("holds", 16, 97)


def test_die_hard_is_solved_in_six_steps() -> None:
    result = explore(DieHard(claim_unsolvable=True))
    assert result.verdict == "violated"
    assert result.violation is not None
    assert (result.violation.property, result.violation.clause) == ("unsolvable", "the big jug holds 4 gallons")
    assert result.violation.path == (
        Step(None, Jugs(0, 0)),
        Step(FillBig(), Jugs(0, 5)),
        Step(BigToSmall(), Jugs(3, 2)),
        Step(EmptySmall(), Jugs(0, 2)),
        Step(BigToSmall(), Jugs(2, 0)),
        Step(FillBig(), Jugs(2, 5)),
        Step(BigToSmall(), Jugs(3, 4)),
    )


def test_a_broken_protocol_is_caught() -> None:
    class Hasty(TwoPhase):
        """A manager that has prepared may still abort on its own."""

        def actions(self, state: State) -> Iterator[Action]:
            yield from super().actions(state)
            yield from (ChoosesToAbort(r) for r in range(self.n) if state.managers[r] == "prepared")

    result = explore(Hasty(2))
    assert result.verdict == "violated"
    assert result.violation is not None
    assert result.violation.property == "consistency"
    assert result.violation.clause == "manager 0 committed, manager 1 aborted"
    assert COMMIT in result.violation.path[-1].state.messages


# What is wrong is noticed.


def violation_of(result: Result[Count, odd.Action]) -> tuple[str, str, list[int]]:
    assert result.verdict == "violated"
    assert result.violation is not None
    return result.violation.property, result.violation.clause, [step.state.value for step in result.violation.path]


def test_a_deadlock_is_told_by_the_shortest_path() -> None:
    name, clause, values = violation_of(explore(odd.DEADLOCKS))
    assert (name, clause) == ("deadlock-free", "nothing can happen here, and the state is not declared final")
    assert values == [0, 2, 4, 6, 8, 10]


def test_a_final_state_is_no_deadlock() -> None:
    assert explore(Finished(stuck=True)).verdict == "holds"


def test_a_step_that_violates_is_told_even_where_its_end_was_known() -> None:
    """5 was reached by 1, 2, 2 before 3 was looked at; both states are fine, only the step is not."""
    name, clause, values = violation_of(explore(odd.BREAKS_A_STEP))
    assert (name, clause, values) == ("never-3-to-5", "it went from 3 to 5", [0, 1, 3, 5])


def test_the_first_of_several_violating_steps_is_told() -> None:
    never = Transition[Count, odd.Action]("never", lambda _, action, __: f"{action}")
    name, clause, values = violation_of(explore(Counter(never)))
    assert (name, clause, values) == ("never", "Add(amount=1)", [0, 1])


def test_a_step_property_sees_steps_to_known_states() -> None:
    stays = Transition[Count, odd.Action](
        "moves", lambda before, _, after: "it stood still" if before == after else None
    )
    name, _, values = violation_of(explore(Counter(stays)))
    assert (name, values) == ("moves", [0, 2, 4, 6, 8, 10, 10])


@pytest.mark.parametrize(("machine", "unmet"), [(odd.UNMET, "negative"), (odd.UNMET_STEP, "backwards")])
def test_a_sometimes_unmet_after_everything_is_a_failure(machine: Counter, unmet: str) -> None:
    result = explore(machine)
    name, clause, path = violation_of(result)
    assert (name, path) == (unmet, [])
    assert "none of 12 states" in clause
    assert [p.standing for p in result.properties] == ["holds", "holds", "unmet"]


@pytest.mark.parametrize("machine", [odd.UNMET, odd.UNMET_STEP])
def test_a_sometimes_unmet_in_an_unfinished_search_is_open(machine: Counter) -> None:
    result = explore(machine, Bounds(states=5))
    assert result.verdict == "incomplete"
    assert [p.standing for p in result.properties] == ["not violated so far", "not violated so far", "not met so far"]


@given(st.integers(0, 200))
def test_a_sometimes_is_met_wherever_it_can_be(value: int) -> None:
    """Not only in those states at which it is looked for in passing."""
    machine = Counter(
        invariant("small", lambda state: state.value <= 101),
        Sometimes("there", lambda state: state.value == value, of="small"),
        SometimesStep("thither", lambda _, __, after: after.value == value, of="small"),
        limit=100,
    )
    result = explore(machine)
    assert result.verdict == ("holds" if 0 < value <= 101 else "violated")
    if 0 < value <= 101:
        assert [p.depth for p in result.properties if p.kind == "sometimes"] == [-(-value // 2)] * 2


@pytest.mark.parametrize(
    ("machine", "doing", "values"),
    [
        (odd.RAISES, "property buggy", [0, 1, 3]),
        (Counter(Always("buggy", odd.raises)), "property buggy", [0]),
        (Counter(Transition("buggy", odd.raises)), "property buggy", [0, 1]),
        (
            Counter(invariant("a", bool), Sometimes("b", lambda s: 1 // (s.value - 5) > 9, of="a")),
            "property b",
            [0, 1, 3, 5],
        ),
        (
            Counter(invariant("a", bool), SometimesStep("b", lambda _, __, a: 1 // (a.value - 5) > 9, of="a")),
            "property b",
            [0, 1, 3, 5],
        ),
    ],
)
def test_a_property_that_raises_is_the_models_fault(machine: Counter, doing: str, values: list[int]) -> None:
    with pytest.raises(ModelError) as caught:
        explore(machine)
    assert caught.value.doing == doing
    assert "ZeroDivisionError" in str(caught.value)
    assert [step.state for step in caught.value.path] == [Count(value) for value in values]
    assert gc.isenabled()


def test_a_predicate_in_the_place_of_a_violation_is_refused() -> None:
    true = Always[Count]("small", lambda state: state.value < 100)  # type: ignore[arg-type,return-value] # the mistake
    with pytest.raises(ModelError, match="property small: TypeError: `violation` gave True"):
        explore(Counter(true))


def test_a_machine_that_raises_names_the_state() -> None:
    class Fragile(Counter):
        def step(self, state: Count, action: odd.Action) -> Count:
            assert state.value < 4, "a step that must not be"
            return super().step(state, action)

    with pytest.raises(
        ModelError, match="a step from the last state: AssertionError: a step that must not be"
    ) as caught:
        explore(Fragile())
    assert caught.value.path[-1] == Step(Add(2), Count(4))


def test_a_machine_that_answers_otherwise_the_second_time_is_refused() -> None:
    with pytest.raises(ModelError, match="it is not deterministic: asked twice, it gives Add"):
        explore(Forgetful(invariant("small", lambda state: state.value < 5)))


def test_one_that_does_so_far_away_is_found_by_its_counterexample() -> None:
    class ForgetfulLater(Counter):
        asked = 0

        def step(self, state: Count, action: odd.Action) -> Count:
            after = super().step(state, action)
            if state.value < 40:
                return after
            self.asked += 1
            return Count(after.value + self.asked)

    with pytest.raises(ModelError, match="asked again, no action leads from"):
        explore(ForgetfulLater(invariant("small", lambda state: state.value < 50), limit=60))


def test_states_that_cannot_be_hashed_are_refused() -> None:
    with pytest.raises(ModelError, match="an initial state: it is a list, which can change: use a tuple"):
        explore(Unhashable())


def test_a_machine_without_initial_states_is_refused() -> None:
    class Nowhere(Counter):
        def initial(self) -> list[Count]:
            return []

    with pytest.raises(ModelError, match="there are none"):
        explore(Nowhere())


def test_properties_are_told_apart_by_name() -> None:
    with pytest.raises(ModelError, match="two are named same"):
        explore(Counter(invariant("same", bool), invariant("same", bool)))


def test_a_sometimes_names_what_it_witnesses() -> None:
    with pytest.raises(ModelError, match="witnesses 'nothing'"):
        explore(Counter(Sometimes("met", bool, of="nothing")))
    claims = (invariant("a", bool), invariant("b", bool), Sometimes("met", bool, of="b"))
    assert unwitnessed(claims) == ["a"]


def test_running_out_of_memory_is_incomplete() -> None:
    def hungry(state: Count) -> str | None:
        if state.value == 5:
            raise MemoryError
        return None

    result = explore(Counter(Always("hungry", hungry)))
    assert (result.verdict, result.stopped) == ("incomplete", "out of memory")


def test_an_interrupted_search_is_incomplete() -> None:
    def impatient(state: Count) -> str | None:
        if state.value == 5:
            raise KeyboardInterrupt
        return None

    result = explore(Counter(Always("impatient", impatient)))
    assert (result.verdict, result.stopped) == ("incomplete", "interrupted")


# Bounds.


def test_a_bound_that_was_reached_is_never_holds() -> None:
    whole = explore(TwoPhase(2))
    for states in range(1, whole.states):
        cut = explore(TwoPhase(2), Bounds(states=states))
        assert (cut.verdict, cut.states) == ("incomplete", states)
    assert explore(TwoPhase(2), Bounds(states=whole.states)).verdict == "holds"
    for depth in range(whole.depth + 1):
        cut = explore(TwoPhase(2), Bounds(depth=depth))
        assert (cut.verdict, cut.depth) == ("incomplete", depth)
    assert explore(TwoPhase(2), Bounds(depth=whole.depth + 1)).verdict == "holds"


def test_time_is_a_bound() -> None:
    result = explore(FastTwoPhase(7), Bounds(seconds=1e-6))
    assert (result.verdict, result.stopped) == ("incomplete", "bound of 1e-06 seconds reached")


def test_a_violation_within_the_bound_is_told() -> None:
    assert explore(DieHard(claim_unsolvable=True), Bounds(depth=6)).verdict == "violated"
    assert explore(DieHard(claim_unsolvable=True), Bounds(depth=5)).verdict == "incomplete"


# Against a plain search, on random graphs.


def distances(graph: Graph) -> dict[int, int]:
    found, queue = {0: 0}, deque([0])
    while queue:
        here = queue.popleft()
        for there in graph.edges[here]:
            if there not in found:
                found[there] = found[here] + 1
                queue.append(there)
    return found


@given(graphs())
def test_it_agrees_with_a_plain_search(graph: Graph) -> None:
    result, far = explore(graph), distances(graph)
    bad = graph.bad & far.keys()
    if not bad:
        assert result.verdict == "holds"
        assert (result.states, result.depth) == (len(far), max(far.values()))
        assert result.generated == 2 + sum(len(graph.edges[id]) for id in far)
        assert [(c.generated, c.new) for c in result.coverage] in ([], [(result.generated - 2, result.states - 1)])
        return
    assert result.violation is not None
    path = [step.state.id for step in result.violation.path]
    assert path[0] == 0
    assert path[-1] in bad
    assert len(path) - 1 == min(far[id] for id in bad)
    assert all(there in graph.edges[here] for here, there in pairwise(path))


# The two forms of a machine agree.


def test_the_fused_transitions_are_the_simple_ones() -> None:
    assert audit(FastTwoPhase(3)) is None
    assert audit(DieHard()) is None


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (Fused(lambda right: right[::-1]), "transitions gives (Add(amount=2), Count(value=5)), actions and step give"),
        (Fused(lambda right: right[:1]), "in Count(value=3): only actions has Add(amount=2)"),
        (Fused(lambda right: [*right, (Stay(), Count(3))]), "in Count(value=3): only transitions has Stay()"),
        (Fused(lambda right: [(Add(1), Count(5)), *right[1:]]), "transitions gives (Add(amount=1), Count(value=5))"),
    ],
)
def test_an_audit_names_where_they_differ(machine: Fused, said: str) -> None:
    assert said in (audit(machine) or "")


# What is observable does not depend on hashes, and progress and coverage are told.


def test_hash_seeds_change_nothing() -> None:
    program = (
        "from checker.explore import *; from checker.outcome import *\n"
        "from checker.itf import *; from checker.machine import *\n"
        "from checker.report import *; from msgspec.structs import replace\n"
        "from tests.machines.two_phase import *; from tests.machines.die_hard import *\n"
        "late = TwoPhase(4); late.properties = (*late.properties, Always('late', lambda s: 'it did' if some_commits(s)"
        " else None))\n"
        "for m in (TwoPhase(3), DieHard(True), late):\n"
        "    r = replace(explore(m), seconds=0.0); print(as_json(m, r)); print(as_text(m, r))\n"
        "    t = as_trace('m', m, r)\n"
        "    print(dump(t).decode() if t else '')\n"
    )
    assert b"it did" in same_under_two_hash_seeds(program)


def test_progress_is_reported() -> None:
    seen: list[Progress] = []
    result = explore(FastTwoPhase(4), on_progress=seen.append, every_seconds=0.0)
    assert len(seen) > 50
    assert all(0 <= p.queue <= p.states <= p.generated <= result.generated for p in seen)
    assert [p.depth for p in seen] == sorted(p.depth for p in seen)


def test_coverage_shows_what_was_never_taken() -> None:
    result = explore(Counter())
    assert [(c.kind, c.generated, c.new) for c in result.coverage] == [
        ("Add", 20, 11),
        ("Stay", 2, 0),
        ("Subtract", 0, 0),
    ]


def test_coverage_by_the_machines_own_kinds() -> None:
    class Named(Counter):
        def action_kind(self, action: odd.Action) -> str:
            return f"add {action.amount}" if isinstance(action, Add) else "Stay"

    kinds = [(c.kind, c.generated) for c in explore(Named()).coverage]
    assert kinds == [("Add", 0), ("Stay", 2), ("Subtract", 0), ("add 1", 10), ("add 2", 10)]
