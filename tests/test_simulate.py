"""Random walks: the same for the same seed, judged at every step, counted right, and shrunk to what matters."""

import io
import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from checker.check import HOLDS, INCOMPLETE, OUR_BUG, USAGE, VIOLATED, AnyMachine, Registry, Streams
from checker.cluster_machine import ClusterMachine
from checker.explore import explore
from checker.machine import A, Always, S, SimpleMachine, Sometimes, SometimesStep, Transition, invariant
from checker.models import MODELS, machine_of
from checker.outcome import DEADLOCK, ModelError, Step
from checker.replay import replay
from checker.shrink import clause_of, shrink
from checker.simulate import Plan, Simulation, Walked, simulate, steps_one_by_one
from checker.simulate_report import run_simulation, walked_json, walked_line
from spec.actions import Action
from spec.world import State
from tests.machines import odd
from tests.machines.abd import Abd
from tests.machines.die_hard import DieHard
from tests.machines.odd import Add, Count, Counter, Finished
from tests.machines.single_copy import SingleCopy
from tests.machines.two_phase import FastTwoPhase, TwoPhase
from tests.seeds import same_under_two_hash_seeds


def untimed(result: Simulation[S, A]) -> Simulation[S, A]:
    return replace(result, seconds=0.0)


# What is found.


def test_walks_find_what_a_search_finds() -> None:
    result = simulate(DieHard(claim_unsolvable=True), Plan(seed=1, runs=200, steps=50))
    assert result.verdict == "violated"
    [failure] = result.failures
    assert failure.violation.property == "unsolvable"
    assert failure.violation.clause == "the big jug holds 4 gallons"
    assert failure.steps >= len(failure.violation.path) - 1 >= 6
    assert [p.standing for p in result.properties if p.name == "unsolvable"] == ["violated"]


@pytest.mark.parametrize(
    ("machine", "name", "kind"),
    [
        (odd.DEADLOCKS, DEADLOCK, "deadlock"),
        (odd.BREAKS_A_STEP, "never-3-to-5", "transition"),
        (Counter(invariant("not-seven", lambda state: state.value != 7)), "not-seven", "always"),
        (Counter(invariant("never", lambda state: state.value > 0)), "never", "always"),
        (SingleCopy(2, 2), "linearizable", "always"),
    ],
)
def test_every_kind_of_failure_is_found(machine: AnyMachine, name: str, kind: str) -> None:
    result = simulate(machine, Plan(seed=3, runs=300, steps=30))
    found = result.failures[0].violation
    assert (found.property, found.kind) == (name, kind)
    assert clause_of(machine, name)(found.path[-2].state if len(found.path) > 1 else None, found.path[-1])


def test_where_nothing_fails_it_only_says_so_far() -> None:
    result = simulate(TwoPhase(3), Plan(runs=400, steps=40))
    assert (result.verdict, result.runs, result.failures) == ("holds", 400, ())
    assert {p.name: p.standing for p in result.properties} == {
        "consistency": "not violated so far",
        "type-ok": "not violated so far",
        "deadlock-free": "not violated so far",
        "some-commits": "met",
        "some-aborts": "met",
        "some-heard": "met",
    }
    assert sum(count for _, count in result.kinds) == result.steps


def test_what_is_met_is_told_from_what_is_not() -> None:
    assert [p.standing for p in simulate(odd.UNMET, Plan(runs=50)).properties][-1] == "not met so far"
    assert [p.standing for p in simulate(odd.UNMET_STEP, Plan(runs=50)).properties][-1] == "not met so far"


def test_a_final_state_ends_a_walk() -> None:
    result = simulate(Finished(stuck=True), Plan(runs=20, steps=100))
    assert (result.verdict, result.runs) == ("holds", 20)
    assert 5 * 20 <= result.steps <= 10 * 20


def test_every_state_is_met_in_the_end_and_then_nothing_is_new() -> None:
    machine = TwoPhase(2)
    result = simulate(machine, Plan(runs=1_000, steps=20))
    assert result.states == explore(machine).states == sum(result.new_states)
    assert len(result.new_states) == -(-result.steps // 1_000)
    assert result.new_states[0] > 10 * result.new_states[-1]


# The same seed, the same result: in every process, under every hash seed, with any number of workers.


@pytest.mark.parametrize("machine", [TwoPhase(4), Counter(invariant("not-seven", lambda state: state.value != 7))])
def test_the_number_of_workers_changes_nothing(machine: AnyMachine) -> None:
    plan = Plan(seed=5, runs=120, steps=30, keep_going=True)
    alone = untimed(simulate(machine, plan))
    assert alone == untimed(simulate(machine, plan))
    assert alone == untimed(simulate(machine, replace(plan, workers=3)))
    assert alone != untimed(simulate(machine, replace(plan, seed=6)))


def test_stopping_at_the_first_failure_does_not_depend_on_the_workers() -> None:
    machine = DieHard(claim_unsolvable=True)
    plan = Plan(seed=2, runs=400, steps=12)
    alone = untimed(simulate(machine, plan))
    assert alone.failures[0].run > 16  # not of the first batch
    assert alone == untimed(simulate(machine, replace(plan, workers=2)))


def test_hash_seeds_change_nothing() -> None:
    program = (
        "from checker.simulate import *; from checker.simulate_report import *; from checker.models import machine_of\n"
        "from msgspec.structs import replace; from tests.machines.two_phase import TwoPhase\n"
        "for m in (TwoPhase(3), machine_of('weak'), machine_of('puts-get-crash')):\n"
        "    p = Plan(3, 40, 40, True); r = replace(simulate(m, p), seconds=0.0)\n"
        "    print(as_json(m, p, r)); print(as_text(m, p, r))\n"
    )
    assert b"quorum-meaning-get fails" in same_under_two_hash_seeds(program)


# Shrinking.


class Bits(Struct, frozen=True, cache_hash=True):
    """Which switches are on."""

    on: frozenset[int]


class Flip(Struct, frozen=True, tag=True):
    """A switch is flipped."""

    switch: int


class Switches(SimpleMachine[Bits, Flip]):
    """Twelve switches; it fails once all of `bad` are on. `needs` says which one has to be on to flip another."""

    name = "switches"

    def __init__(self, bad: frozenset[int], needs: dict[int, int]) -> None:
        self.needs = needs
        self.properties = (Always("safe", lambda bits: "all are on" if bad <= bits.on else None),)

    def initial(self) -> list[Bits]:
        return [Bits(frozenset())]

    def actions(self, state: Bits) -> Iterator[Flip]:
        yield from (Flip(i) for i in range(12) if self.needs.get(i, i) in state.on or i not in self.needs)

    def step(self, state: Bits, action: Flip) -> Bits:
        return Bits(state.on ^ {action.switch})


@given(st.frozensets(st.integers(0, 11), max_size=5), st.dictionaries(st.integers(6, 11), st.integers(0, 5)),
       st.integers(0, 1_000))  # fmt: skip
def test_a_shrunk_walk_takes_each_step_that_it_needs_and_no_other(
    bad: frozenset[int], needs: dict[int, int], seed: int
) -> None:
    machine = Switches(bad, needs)
    result = simulate(machine, Plan(seed=seed, runs=30, steps=200))
    for failure in result.failures:
        path = failure.violation.path
        for here, there in pairwise(path):
            assert (there.action, there.state) in list(machine.transitions(here.state))
        flipped = [step.action.switch for step in path if step.action is not None]
        needed = bad | {needs[i] for i in bad if i in needs}
        assert sorted(flipped) == sorted(needed)  # each once


def test_shrinking_keeps_the_property() -> None:
    """Two fail on the way; the one that is asked for stays, though the other is nearer."""
    machine = Counter(
        invariant("not-three", lambda state: state.value != 3), invariant("not-eight", lambda state: state.value != 8)
    )
    path = [Step[Count, odd.Action](None, Count(0))]
    for _ in range(8):
        path.append(Step(Add(1), Count(path[-1].state.value + 1)))
    assert [step.state.value for step in shrink(machine, path, "not-three")] == [0, 1, 2, 3]
    assert [step.state.value for step in shrink(machine, path, "not-eight")] == list(range(9))
    with pytest.raises(ValueError, match="has no property nothing"):
        shrink(machine, path, "nothing")


def test_a_long_walk_of_the_store_is_shrunk_to_a_put_and_a_get() -> None:
    result = simulate(machine_of("weak"), Plan(seed=11, runs=60, keep_going=True))
    assert len(result.failures) > 5
    assert max(failure.steps for failure in result.failures) > 2
    assert {len(failure.violation.path) - 1 for failure in result.failures} == {2}


# Walks take what `transitions` gives, whichever form is used.


def test_actions_stand_in_for_transitions_only_where_these_were_not_written_later() -> None:
    assert steps_one_by_one(TwoPhase(3))
    assert not steps_one_by_one(FastTwoPhase(3))
    assert not steps_one_by_one(Abd())
    assert steps_one_by_one(machine_of("puts"))


def test_both_forms_walk_alike() -> None:
    plan = Plan(seed=4, runs=50, steps=30)
    slow, fast = simulate(TwoPhase(3), plan), simulate(FastTwoPhase(3), plan)
    assert untimed(slow) == untimed(fast)


@pytest.mark.parametrize("name", ["puts-get-crash", "forward-duplicate", "put-get-cut", "put-get-drop"])
def test_the_store_gives_the_same_one_by_one(name: str) -> None:
    class Whole(ClusterMachine):
        """The same, with `transitions` written later."""

        def transitions(self, state: State) -> Iterable[tuple[Action, State]]:
            return super().transitions(state)

    model = MODELS[name]
    whole = Whole(name, model.scenario, model.claims)
    assert not steps_one_by_one(whole)
    plan = Plan(seed=9, runs=30)
    assert untimed(simulate(whole, plan)) == untimed(simulate(machine_of(name), plan))


# Models at fault.


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("machine", "doing"),
    [
        (odd.RAISES, "property buggy"),
        (Counter(Transition("buggy", odd.raises)), "property buggy"),
        (Counter(invariant("a", bool), Sometimes("b", lambda s: 1 // (s.value - 5) > 9, of="a")), "property b"),
        (
            Counter(invariant("a", bool), SometimesStep("b", lambda _, __, a: 1 // (a.value - 5) > 9, of="a")),
            "property b",
        ),
    ],
)
def test_what_raises_is_named(machine: Counter, doing: str, workers: int) -> None:
    if any(isinstance(p, Sometimes | SometimesStep) for p in machine.properties):
        machine.properties = (Always("a", lambda _: None), *machine.properties[1:])
    with pytest.raises(ModelError) as caught:
        simulate(machine, Plan(runs=100, workers=workers))
    assert caught.value.doing == doing
    assert "ZeroDivisionError" in str(caught.value)
    assert caught.value.path


# The command.

REGISTRY: Registry = {
    "two-phase-3": ("two-phase commit", lambda: TwoPhase(3)),
    "die-hard-solved": ("the jug puzzle", lambda: DieHard(claim_unsolvable=True)),
    "deadlocks": ("gets stuck", lambda: odd.DEADLOCKS),
    "breaks-a-step": ("breaks a step property", lambda: odd.BREAKS_A_STEP),
    "weak": ("R = W = 1", lambda: machine_of("weak")),
    "raises": ("its property has a bug", lambda: odd.RAISES),
}


def run(name: str, plan: Plan, **options: object) -> tuple[int, str, str]:
    said, complained = io.StringIO(), io.StringIO()
    streams = Streams(io.StringIO(), said, complained)
    code = run_simulation(REGISTRY, name, plan, streams=streams, **options)  # type: ignore[arg-type] # of several types
    return code, said.getvalue(), complained.getvalue()


def test_the_command_tells_what_walks_found() -> None:
    code, out, err = run("two-phase-3", Plan(seed=7, runs=200, steps=40))
    assert (code, err) == (HOLDS, "")
    assert out.startswith("two-phase-3: no walk failed\nseed 7: 200 walks of at most 40 steps; ")
    assert "not violated so far" in out
    assert "new states per 1,000 steps" in out


@pytest.mark.parametrize("name", ["die-hard-solved", "deadlocks", "breaks-a-step", "weak"])
def test_a_walk_that_failed_is_written_and_replayed(tmp_path: Path, name: str) -> None:
    code, out, err = run(name, Plan(seed=7, runs=500), out=tmp_path)
    assert code == VIOLATED
    assert " of seed 7, " in out
    [file] = list(tmp_path.iterdir())
    assert str(file) in err
    said = io.StringIO()
    assert replay(REGISTRY, file, streams=Streams(io.StringIO(), said, said)) == HOLDS
    assert said.getvalue().rpartition("\n\n")[0] in out


def test_it_tells_how_far_it_is_only_where_asked() -> None:
    plan = Plan(seed=7, runs=64, steps=40)
    told = list[Walked]()
    result = simulate(TwoPhase(3), plan, told.append, every_seconds=0.0)
    assert [walked.runs for walked in told] == [16, 32, 48, 64]
    assert (told[-1].steps, told[-1].failures) == (result.steps, 0)
    assert all(walked.rate > 0 for walked in told)
    failing = list[Walked]()
    simulate(odd.DEADLOCKS, replace(plan, keep_going=True), failing.append, every_seconds=0.0)
    assert failing[-1].failures > 0
    assert walked_line(Walked(1_600, 17_000, 2, 1.0)) == "1,600 walks, 17,000 steps, 2 failed, 1 s, 17,000 steps/s"
    assert json.loads(walked_json(told[-1]))["steps"] == result.steps


class Terminal(io.StringIO):
    """Where a line can be rewritten."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("asked", [None, True, False])
def test_a_terminal_is_left_as_it_was(asked: bool | None) -> None:
    terminal, said = Terminal(), io.StringIO()
    streams = Streams(io.StringIO(), said, terminal)
    assert run_simulation(REGISTRY, "two-phase-3", Plan(runs=16), progress=asked, streams=streams) == HOLDS
    assert terminal.getvalue() == ("" if asked is False else "\r\x1b[K")


def test_walks_that_shrink_to_the_same_are_told_once(tmp_path: Path) -> None:
    code, out, _ = run("breaks-a-step", Plan(seed=7, runs=100, keep_going=True), json=True, out=tmp_path)
    report = json.loads(out)
    assert code == VIOLATED
    assert (report["seed"], report["runs"], report["verdict"]) == (7, 100, "violated")
    assert len(report["failures"]) == len(list(tmp_path.iterdir())) <= 3
    assert {f["path"][-1]["state"]["value"] for f in report["failures"]} == {5}


def test_the_command_refuses_and_blames(tmp_path: Path) -> None:
    for plan, said in (
        (Plan(runs=0), "0 walks are none"),
        (Plan(steps=0), "0 steps are"),
        (Plan(seconds=0.0), "no time"),
    ):
        code, _, err = run("weak", plan)
        assert code == USAGE
        assert said in err
    assert run("weak", Plan(), out=tmp_path / "nowhere")[0] == USAGE
    assert run("week", Plan())[0] == USAGE
    code, _, err = run("raises", Plan(seed=77))
    assert code == OUR_BUG
    assert err.endswith("seed 77\n")
    assert run("two-phase-3", Plan(runs=10**6, seconds=0.05))[0] == INCOMPLETE


def test_what_is_remembered_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if it is forgotten again and again: without looking for garbage each time, which takes long here."""
    monkeypatch.setattr("checker.simulate.gc.collect", lambda: 0)
    plan = Plan(seed=3, runs=60, steps=40, keep_going=True)
    for make in (lambda: machine_of("puts-get"), lambda: DieHard(claim_unsolvable=True), lambda: TwoPhase(3)):
        monkeypatch.setattr("checker.simulate.MOST_PLACES", 50_000)
        whole = replace(simulate(make(), plan), seconds=0.0)
        monkeypatch.setattr("checker.simulate.MOST_PLACES", 3)
        assert replace(simulate(make(), plan), seconds=0.0) == whole
