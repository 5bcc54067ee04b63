"""Branch coverage: what was never taken is named, with its source line, and nothing else is."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checker.branches import BranchReport, Watch, sources_of, tell_branches
from checker.check import HOLDS, check
from checker.explore import explore
from checker.models import machine_of
from tests.machines.die_hard import DieHard
from tests.test_check import run

# Each function, how it is called, and what of its conditions then never was.
CASES: list[tuple[str, list[tuple[Any, ...]], set[tuple[str, str]]]] = [  # Any: of any type
    ("if x > 0:\n    return 1\nreturn 2", [(1,)], {("x > 0", "false")}),
    ("if x > 0:\n    return 1\nreturn 2", [(1,), (0,)], set()),
    ("if not x:\n    return 1\nreturn 2", [(0,)], {("x", "true")}),
    ("if x and not y:\n    return 1\nreturn 2", [(0, 1)], {("x", "true"), ("y", "reached")}),
    ("if x and not y:\n    return 1\nreturn 2", [(0, 1), (1, 1)], {("y", "false")}),
    ("return x or y", [(1, 0)], {("x", "false")}),
    ("return 1 if x else 2", [(0,)], {("x", "true")}),
    ("if x is None:\n    return 1\nreturn 2", [(None,)], {("x", "not None")}),
    ("if x is not None:\n    return 1\nreturn 2", [(None,)], {("x", "not None")}),
    ("for a in x:\n    pass", [((),)], {("for a in x", "entered")}),
    ("for a in x:\n    return a", [((1,),)], {("for a in x", "exhausted")}),
    ("while x > 0:\n    x -= 1", [(0,)], {("x > 0", "true")}),
    ("return [a for a in x if a > y]", [((1, 2), 0)], {("a > y", "false")}),
    ("return [a for a in x if a > y]", [((1, 2), 1)], set()),
    ("return all(a > y for a in x)", [((1, 2), 0)], set()),
    ("assert x, y\nreturn 1", [(1,)], set()),
    ("def inner(z):\n    if z:\n        return 1\nreturn inner(x)", [(0,)], {("z", "true")}),
    (
        "match x:\n    case 1:\n        return 'one'\n    case str():\n        return 'text'\nreturn 'other'",
        [(1,), (2,)],
        {("str()", "matched")},
    ),
    (
        "match x:\n    case int():\n        return 'int'\n    case str():\n        return 'text'",
        [(1,)],
        {("int()", "unmatched"), ("str()", "reached")},
    ),
]


def loaded(folder: Path, body: str) -> tuple[Path, Callable[..., object]]:
    """A module with a function `f(x, y)` of this body, and one that nobody calls."""
    file = folder / "subject.py"
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    file.write_text(f"def f(x, y=None):\n{lines}\n\n\ndef unused():\n    return 1 if 2 else 3\n")
    spec = importlib.util.spec_from_file_location("subject", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = module.f
    assert callable(function)
    return file, function


def watched(folder: Path, body: str, calls: list[tuple[Any, ...]]) -> BranchReport:  # Any: as above
    file, function = loaded(folder, body)
    watch = Watch([file])
    with watch.watching():
        for arguments in calls:
            function(*arguments)
    return watch.report()


@pytest.mark.parametrize(("body", "calls", "never"), CASES)
def test_what_never_came_up_is_named(
    tmp_path: Path,
    body: str,
    calls: list[tuple[Any, ...]],  # Any: as above
    never: set[tuple[str, str]],
) -> None:
    report = watched(tmp_path, body, calls)
    assert {(branch.condition, branch.outcome) for branch in report.never} == never
    assert report.not_entered == (f"{tmp_path.name}/subject.py:{len(body.splitlines()) + 4} unused",)
    for branch in report.never:
        assert branch.function == "f"
        assert branch.source in body


def test_a_function_that_is_done_is_watched_no_more(tmp_path: Path) -> None:
    file, function = loaded(tmp_path, "if x:\n    return 1\nreturn 2")
    watch = Watch([file])
    with watch.watching():
        function(0)
        assert watch.enter(sys._getframe(), "call", None) is None, "it is not of that file"
        function(1)
    (f,) = [one for one in watch.watched.values() if one.code.co_name == "f"]
    assert not f.missing
    assert sys.gettrace() is None or "watch" not in repr(sys.gettrace())


def test_watching_changes_no_result() -> None:
    watch = Watch(sources_of(machine_of("put-get-duplicate")))
    with watch.watching():
        result = explore(machine_of("put-get-duplicate"))
    plain = explore(machine_of("put-get-duplicate"))
    assert (result.states, result.generated, result.coverage) == (plain.states, plain.generated, plain.coverage)
    report = watch.report()
    told = tell_branches(report)
    assert "spec/enabled.py:" in told
    assert "`faults.drops` was never true\n      if faults.drops:" in told
    assert "`faults.duplicates` was never" not in told, "it was both"
    assert not any("properties.py" in branch.file for branch in report.never)
    assert any("spec/coordinate.py" in name and "forward" in name for name in report.not_entered)


def test_a_machine_of_ones_own_is_covered_by_its_file() -> None:
    assert sources_of(DieHard()) == [Path(__file__).parent / "machines" / "die_hard.py"]
    code, out, _ = run(check, "die-hard", coverage=True)
    assert code == HOLDS
    assert "`0 <= jugs.small <= SMALL_GALLONS` was never false" in out
    code, out, _ = run(check, "die-hard", coverage=True, json=True)
    branches = json.loads(out)["branches"]
    assert branches["taken"] < branches["outcomes"]
    assert {branch["file"] for branch in branches["never"]} == {"machines/die_hard.py"}
    assert json.loads(run(check, "die-hard", json=True)[1])["branches"] is None
