"""Choosing what happens next: the walk is the machine's, what fails is said, and the path can be replayed."""

from pathlib import Path

from checker.check import HOLDS, OUR_BUG, USAGE, VIOLATED
from checker.interactive import interact
from checker.replay import replay
from tests.test_check import run


def test_a_walk_by_numbers(tmp_path: Path) -> None:
    trace = tmp_path / "walk.itf.json"
    code, out, err = run(interact, "die-hard", typed="2\n6\nb\ns\n6\nq\n", out=trace)
    assert (code, err) == (HOLDS, "")
    assert out.count("   1  fill the big jug") == 2, "taken, and come back to"
    assert out.count("   2  pour the big jug into the small one") == 2
    assert "Jugs(small=0, big=5)" in out
    assert out.count("  fill the small jug\n") == 6, "offered in every state"
    code, told, _ = run(replay, trace)
    assert code == HOLDS
    assert "the machine takes all 2 steps" in told


def test_what_fails_is_said_and_written(tmp_path: Path) -> None:
    trace = tmp_path / "walk.itf.json"
    code, out, _ = run(interact, "die-hard-solved", typed="2\n6\n3\n6\n2\n6\n", out=trace)
    assert code == VIOLATED
    assert out.count("unsolvable fails: the big jug holds 4 gallons") == 1
    assert run(replay, trace)[0] == HOLDS


def test_one_may_go_on_after_that() -> None:
    code, out, _ = run(interact, "die-hard-solved", typed="2\n6\n3\n6\n2\n6\n1\n3\n")
    assert "unsolvable fails" in out
    assert code == VIOLATED, "the big jug still holds 4 gallons"
    assert run(interact, "die-hard-solved", typed="2\n6\n3\n6\n2\n6\n4\n")[0] == HOLDS


def test_a_deadlock_is_said() -> None:
    code, out, _ = run(interact, "deadlocks", typed="2\n2\n2\n2\n2\n2\n2\n")
    assert code == VIOLATED
    assert "deadlock-free fails" in out
    assert "nothing can happen here" in out


def test_chance_is_the_same_each_time() -> None:
    first = run(interact, "two-phase-3", typed="\n" * 8)
    assert first[1].count("a number, Enter") == 9
    assert run(interact, "two-phase-3", typed="\n" * 8) == first


def test_other_answers_are_refused() -> None:
    code, out, _ = run(interact, "die-hard", typed="0\n7\nx\n٣\nb\n")
    assert code == HOLDS
    assert out.count("numbers go from 1 to 6") == 4
    assert "this is the start" in out


def test_no_model_no_walk() -> None:
    code, _, err = run(interact, "die-hart")
    assert code == USAGE
    assert "did you mean die-hard" in err


def test_a_model_at_fault_is_told() -> None:
    code, _, err = run(interact, "raises", typed="1\n" * 4)
    assert code == OUR_BUG
    assert "property buggy: ZeroDivisionError" in err
