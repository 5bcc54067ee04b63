"""`check` and `replay` as the command line calls them: what they say, where, and their exit codes."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from checker.audit_report import audit
from checker.check import HOLDS, INCOMPLETE, OUR_BUG, USAGE, VIOLATED, Registry, Streams, check, list_models
from checker.machine import Always
from checker.outcome import Bounds, How
from checker.replay import replay
from tests.machines import odd
from tests.machines.die_hard import DieHard
from tests.machines.two_phase import FastTwoPhase, TwoPhase

REGISTRY: Registry = {
    "die-hard": ("the jug puzzle", DieHard),
    "die-hard-solved": ("its solution as a counterexample", lambda: DieHard(claim_unsolvable=True)),
    "two-phase-3": ("two-phase commit, three managers", lambda: TwoPhase(3)),
    "deadlocks": ("gets stuck", lambda: odd.DEADLOCKS),
    "breaks-a-step": ("breaks a step property", lambda: odd.BREAKS_A_STEP),
    "unmet": ("a sometimes that never is", lambda: odd.UNMET),
    "raises": ("its property has a bug", lambda: odd.RAISES),
}


def run(command: Any, *args: object, typed: str = "", **options: object) -> tuple[int, str, str]:
    """The exit code, and what was said on each stream. Any: one of three functions with different options."""
    said, complained = io.StringIO(), io.StringIO()
    code = command(REGISTRY, *args, streams=Streams(io.StringIO(typed), said, complained), **options)
    return code, said.getvalue(), complained.getvalue()


def test_check_says_what_holds() -> None:
    code, out, err = run(check, "two-phase-3")
    assert (code, err) == (HOLDS, "")
    assert out.startswith("two-phase-3: holds\n288 states, 1,146 generated, depth 10, ")
    assert "  CoordinatorCommits                   1             1\n" in out


class Gone(io.StringIO):
    """Where nobody reads any more."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_reader_who_leaves_is_not_taken_for_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    streams = Streams(io.StringIO(), Gone(), io.StringIO())
    with pytest.raises(BrokenPipeError):
        check(REGISTRY, "die-hard", out=tmp_path / "trace", streams=streams)


def test_a_file_that_cannot_be_written_is_named() -> None:
    full = Path("/dev/full")
    for out, graph in ((full, None), (None, full)):
        code, _, err = run(check, "die-hard-solved", out=out, graph=graph)
        assert (code, err) == (USAGE, "/dev/full cannot be written: No space left on device\n")


@pytest.mark.parametrize("name", ["die-hard-solved", "deadlocks", "breaks-a-step"])
def test_check_writes_what_replay_confirms(tmp_path: Path, name: str) -> None:
    trace = tmp_path / "trace.itf.json"
    code, out, err = run(check, name, out=trace)
    assert (code, err) == (VIOLATED, "")
    code, told, err = run(replay, trace)
    assert (code, err) == (HOLDS, "")
    assert told in out
    assert " fails: " in told


def test_check_without_counterexample_writes_nothing(tmp_path: Path) -> None:
    code, _, err = run(check, "unmet", out=tmp_path / "trace.itf.json")
    assert code == VIOLATED
    assert "was not written" in err
    assert list(tmp_path.iterdir()) == []


def test_check_shows_what_was_never_taken() -> None:
    _, out, _ = run(check, "unmet")
    assert "  Subtract             0             0   never taken\n" in out
    assert out.count("never taken") == 1


def test_check_reports_as_json() -> None:
    code, out, _ = run(check, "die-hard-solved", json=True)
    report = json.loads(out)
    assert code == VIOLATED
    assert (report["verdict"], report["states"], report["depth"]) == ("violated", 14, 6)
    assert [step["told"] for step in report["violation"]["path"]][1] == "fill the big jug"
    assert report["violation"]["path"][-1]["state"] == {"small": 3, "big": 4}


def test_check_in_one_line() -> None:
    code, out, _ = run(check, "die-hard-solved", one_line=True)
    assert code == VIOLATED
    assert out.count("\n") == 1
    assert out.startswith("unsolvable: the big jug holds 4 gallons after 6 steps: fill the big jug; pour")


def test_check_tells_progress_only_where_asked() -> None:
    assert run(check, "two-phase-3")[2] == ""
    streams = Streams(io.StringIO(), io.StringIO(), io.StringIO())
    assert (
        check({"big": ("", lambda: FastTwoPhase(7))}, "big", Bounds(seconds=1.5), progress=True, streams=streams) == 3
    )
    assert isinstance(streams.stderr, io.StringIO)
    assert "states/s\n" in streams.stderr.getvalue()


def test_check_is_incomplete_at_a_bound() -> None:
    code, out, _ = run(check, "two-phase-3", Bounds(states=100))
    assert code == INCOMPLETE
    assert out.startswith("two-phase-3: INCOMPLETE: bound of 100 states reached\n")


def test_check_blames_the_model_for_its_bugs() -> None:
    code, out, err = run(check, "raises")
    assert (code, out) == (OUR_BUG, "")
    assert "property buggy: ZeroDivisionError: the property divides by zero" in err
    assert "tests/machines/odd.py, line" in err
    assert "value: 1 → 3" in err


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("two-fase-3", {}, "there is no model 'two-fase-3': did you mean two-phase-3?"),
        ("zzz", {}, "there is no model 'zzz': there are die-hard, "),
        ("die-hard", {"bounds": Bounds(states=0)}, "a search of at most 0 states finds nothing: give at least 1"),
        ("die-hard", {"bounds": Bounds(depth=-1)}, "a depth of -1 is below the initial states"),
        ("die-hard", {"bounds": Bounds(seconds=0)}, "0 seconds are no time: give more than 0"),
        ("die-hard", {"bounds": Bounds(seconds=float("nan"))}, "nan seconds are no time"),
        (
            "die-hard",
            {"out": Path("/nowhere/t.json")},
            "/nowhere/t.json cannot be written: there is no folder /nowhere",
        ),
        ("die-hard", {"out": Path("/")}, "/ cannot be written: it is a folder"),
    ],
)
def test_check_refuses_in_one_line(name: str, options: Mapping[str, Any], said: str) -> None:
    code, out, err = run(check, name, **options)
    assert (code, out) == (USAGE, "")
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_models_are_listed() -> None:
    code, out, _ = run(list_models)
    assert code == HOLDS
    assert out.splitlines()[0] == "die-hard         the jug puzzle"


@pytest.fixture
def solved(tmp_path: Path) -> Path:
    trace = tmp_path / "solved.itf.json"
    run(check, "die-hard-solved", out=trace)
    return trace


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"small":3,"big":2', '"small":3,"big":1', "step 2 (pour the big jug into the small one) differs:"),
        ('"small":3,"big":2', '"small":3,"big":1', "  big: 1 → 2\n"),
        ('"type":"EmptySmall"', '"type":"EmptyBig"', "step 3 (empty the big jug) differs:"),
        ('"type":"EmptySmall"', '"type":"Drink"', "step 3 differs: the machine does not have the recorded action here"),
        ('"small":0,"big":0', '"small":1,"big":0', "the initial state differs:"),
        (
            '"property":"unsolvable"',
            '"property":"no-overflow"',
            "says that no-overflow fails at the end: here it holds",
        ),
        (
            '"clause":"the big jug holds 4',
            '"clause":"the big jug holds 5',
            "unsolvable fails, but otherwise than recorded",
        ),
    ],
)
def test_replay_names_the_first_divergence(solved: Path, old: str, new: str, said: str) -> None:
    text = solved.read_text()
    assert old in text
    solved.write_text(text.replace(old, new, 1))
    code, out, _ = run(replay, solved)
    assert code == VIOLATED
    assert said in out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"machine":"die-hard-solved"', '"machine":"die-hard-solve"', "did you mean die-hard-solved?"),
        ('"params":{}', '"params":{"n":3}', "it was recorded with n = 3, the model die-hard-solved has n = None"),
        ('"format":"ITF"', '"format":"ITV"', "its format is 'ITV', not 'ITF'"),
        ('"states":[', '"states":[[', "this is no trace of a machine"),
        ('"machine":"die-hard-solved",', "", "this is no trace of a machine"),
        (',"big":0}', "}", "state 0 has the variables"),
    ],
)
def test_replay_refuses_what_is_no_trace_of_a_model(solved: Path, old: str, new: str, said: str) -> None:
    text = solved.read_text()
    assert old in text
    solved.write_text(text.replace(old, new, 1))
    code, out, err = run(replay, solved)
    assert (code, out) == (USAGE, "")
    assert said in err
    assert err.count("\n") == 1


def test_replay_refuses_a_missing_file(tmp_path: Path) -> None:
    code, _, err = run(replay, tmp_path / "none.itf.json")
    assert (code, err) == (USAGE, f"{tmp_path / 'none.itf.json'}: No such file or directory\n")


def test_replay_takes_integers_and_sets_as_other_tools_write_them(tmp_path: Path) -> None:
    text = tmp_path / "t.itf.json"
    run(check, "die-hard-solved", out=text)
    text.write_text(text.read_text().replace('"big":5', '"big":{"#bigint":"5"}'))
    assert run(replay, text)[0] == HOLDS


def test_replay_step_by_step_forwards_and_back(solved: Path) -> None:
    code, out, _ = run(replay, solved, step=True, typed="\n\nb\n5\nq\n")
    assert code == HOLDS
    shown = [part.split()[0] for part in out.split("q quit: ")[:-1]]
    assert shown == ["0", "1", "2", "1", "5"]


def test_replay_step_by_step_survives_nonsense(solved: Path) -> None:
    code, out, _ = run(replay, solved, step=True, typed="b\n99\nwhat\n²\n6\n\n")
    assert code == HOLDS
    assert out.count("there is no such step: they go from 0 to 6") == 4


def test_check_searches_representatives_where_asked() -> None:
    code, out, _ = run(check, "two-phase-3", how=How(reduce=True))
    assert code == HOLDS
    assert out.startswith("two-phase-3: holds\n80 states, ")
    assert "reduced: a search of representatives, which stand for 288 states\n" in out
    report = json.loads(run(check, "two-phase-3", how=How(reduce=True), json=True)[1])
    assert (report["states"], report["reduced"], report["stands_for"]) == (80, True, 288)


def test_a_reduced_search_is_refused_what_it_cannot_do() -> None:
    code, out, err = run(check, "two-phase-3", how=How(order="depth", reduce=True))
    assert (code, out) == (USAGE, "")
    assert err.startswith("a reduced search is breadth first and in memory: ")
    assert err.count("\n") == 1


def test_an_audit_says_what_stood_up() -> None:
    code, out, err = run(audit, "two-phase-3")
    assert (code, err) == (HOLDS, "")
    assert out == (
        "two-phase-3: the audit found nothing\n\n  step      stood up on 288 states\n"
        "  symmetry  stood up on 288 states\n"
    )
    code, out, _ = run(audit, "two-phase-3", 100)
    assert code == INCOMPLETE
    assert "  symmetry  stood up on the first 100 states\n" in out


def test_an_audit_says_what_is_false() -> None:
    def lopsided() -> TwoPhase:
        machine = TwoPhase(2)
        machine.properties = [Always("first", lambda s: "it has" if s.managers[0] == "prepared" else None)]
        return machine

    registry: Registry = {"lopsided": ("looks at manager 0 alone", lopsided)}
    said = io.StringIO()
    assert audit(registry, "lopsided", json=True, streams=Streams(said, said, said)) == VIOLATED
    claims = {claim["claim"]: claim["complaint"] for claim in json.loads(said.getvalue())["claims"]}
    assert claims["step"] == ""
    assert "and first holds in only one of the two" in claims["symmetry"]


@pytest.mark.parametrize(("args", "said"), [(("nothing",), "there is no model"), (("two-phase-3", 0), "at least 1")])
def test_an_audit_of_nothing_is_refused(args: tuple[object, ...], said: str) -> None:
    code, out, err = run(audit, *args)
    assert (code, out, err.count("\n")) == (USAGE, "", 1)
    assert said in err
