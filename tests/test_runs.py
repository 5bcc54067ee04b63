"""Whole runs are judged by `check` too, and a run that fails is a trace that replays."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from checker.check import HOLDS, INCOMPLETE, VIOLATED, Registry, check
from checker.convergence import CONVERGENCE
from checker.liveness import check_liveness, why_unfair
from checker.liveness_report import lasso_of, liveness
from checker.machine import ClaimsLiveness, Eventually, Fair, LeadsTo, Liveness, SimpleMachine, invariant
from checker.outcome import Bounds
from checker.replay import replay
from tests.machines.dining import Dining
from tests.machines.ewd840 import Ewd840
from tests.machines.mutual import Lock, Peterson


class Ring(SimpleMachine[int, str]):
    """Round and round 0, 1, 2, with a way out to 3 at 1 and a wait at every place."""

    name = "ring"
    properties = (invariant("small", lambda state: state < 4),)
    liveness: Sequence[Liveness[int]] = (
        Eventually("out", lambda state: state == 3),
        LeadsTo("round", lambda state: state == 1, lambda state: state in (0, 3)),
    )
    fairness: Sequence[Fair[str]] = (Fair("on", lambda action: action if action == "on" else None),)

    def initial(self) -> list[int]:
        return [0]

    def actions(self, state: int) -> list[str]:
        return ["on", "wait", *(["leave"] if state == 1 else [])] if state < 3 else []

    def step(self, state: int, action: str) -> int:
        return {"on": (state + 1) % 3, "wait": state, "leave": 3}[action]

    def is_final(self, state: int) -> bool:
        return state == 3


class Strict(Ring):
    """Whoever may leave again and again leaves."""

    fairness = (*Ring.fairness, Fair("leave", lambda action: action if action == "leave" else None, strong=True))


class Lazy(Ring):
    """Nothing has to happen."""

    fairness = ()


REGISTRY: Registry = {
    **CONVERGENCE,
    "ring": ("", Ring),
    "strict": ("", Strict),
    "lazy": ("", Lazy),
    "lock": ("", Lock),
    "peterson": ("", Peterson),
    "ewd840-3": ("", lambda: Ewd840(3)),
    "dining-3": ("", lambda: Dining(3)),
}


def run(name: str, **options: object) -> int:
    return check(REGISTRY, name, **options)  # type: ignore[arg-type]  # each option has a type of its own


@pytest.mark.parametrize("name", REGISTRY)
def test_check_says_what_a_search_of_runs_says(name: str, tmp_path: Path) -> None:
    result = check_liveness(REGISTRY[name][1]())
    trace = tmp_path / "run.itf.json"
    assert run(name, out=trace) == {"holds": HOLDS, "violated": VIOLATED}[result.verdict]
    assert trace.exists() == (result.verdict == "violated")
    if trace.exists():
        assert replay(REGISTRY, trace) == HOLDS, "the trace is right: what it says fails does fail"


def test_the_answers_are_as_known() -> None:
    codes = {name: run(name) for name in REGISTRY}
    assert codes["strict"] == codes["peterson"] == codes["converge"] == HOLDS
    assert codes["ring"] == codes["lazy"] == VIOLATED
    assert {codes[name] for name in CONVERGENCE if name != "converge"} == {VIOLATED}


def test_a_lasso_loops_where_it_should(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "ring.itf.json"
    assert liveness(REGISTRY, "ring", out=trace) == VIOLATED
    written = json.loads(trace.read_text())
    states = [state["state"] for state in written["states"]]
    assert states == [0, 1, 2, 0]
    assert written["loop"] == 1
    capsys.readouterr()
    assert replay(REGISTRY, trace) == HOLDS
    out = capsys.readouterr().out
    assert "after the last step it goes on with step 1, for ever" in out
    assert "out fails: no state of this run satisfies it" in out


def test_a_run_that_stops_stays_in_its_last_state(tmp_path: Path) -> None:
    trace = tmp_path / "lazy.itf.json"
    assert run("lazy", out=trace) == VIOLATED
    assert json.loads(trace.read_text())["loop"] == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"loop":1', '"loop":2', "the last state does not lead back to step 2"),
        ('"loop":1', '"loop":3', "this run is not fair, so that it is none against out: on: on is put off for ever"),
        ('"loop":1', '"loop":9', "it comes back to state 9, and has states 0 to 3"),
        ('"property":"out"', '"property":"in"', "claims no 'in' of runs that go on for ever"),
        ('"property":"out"', '"property":"round"', "the trace says that round fails: of this run it holds"),
        (
            '"machine":"ring"',
            '"machine":"strict"',
            "none against out: leave: leave",
        ),
    ],
)
def test_a_lasso_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    trace = tmp_path / "ring.itf.json"
    run("ring", out=trace)
    assert old in trace.read_text()
    trace.write_text(trace.read_text().replace(old, new))
    capsys.readouterr()
    assert replay(REGISTRY, trace) != HOLDS
    captured = capsys.readouterr()
    assert said in captured.out + captured.err


def test_every_lasso_is_fair_by_what_its_steps_show() -> None:
    for name, (_, make) in REGISTRY.items():
        machine = make()
        assert isinstance(machine, ClaimsLiveness)
        for claim in check_liveness(machine).claims:
            if claim.lasso is not None:
                cycle = (claim.lasso.stem[-1], *claim.lasso.cycle)
                assert why_unfair(machine, machine.fairness, cycle) is None, name


def test_json_holds_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ring", json=True) == VIOLATED
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["liveness"]["verdict"]) == ("holds", "violated")
    assert [claim["standing"] for claim in report["liveness"]["claims"]] == ["violated", "holds"]
    assert run("ring", one_line=True) == VIOLATED
    assert capsys.readouterr().out == "out: no state of this run satisfies it\n"


def test_runs_are_not_judged_where_states_are_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    class Wrong(Ring):
        properties = (invariant("small", lambda state: state < 2),)

    assert check({"wrong": ("", Wrong)}, "wrong") == VIOLATED
    assert "of whole runs" not in capsys.readouterr().out


def test_a_bound_is_never_holds() -> None:
    assert run("strict", bounds=Bounds(depth=1)) == INCOMPLETE
    assert run("strict", bounds=Bounds(depth=9)) == HOLDS


def test_no_lasso_no_trace() -> None:
    assert lasso_of("strict", Strict(), check_liveness(Strict())) is None
