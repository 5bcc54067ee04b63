"""The museum of bugs: each fits the specification, shows in its model, is noticed by what it says, and only there."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from checker.bugs import edits as editing
from checker.bugs.bug import Bug
from checker.bugs.edits import Edit, EditError, carried, carry, difference, edited
from checker.bugs.museum import BUGS, ROOMS, bug_in
from checker.models import MODELS
from checker.story import WIDTH
from spec import siblings
from tests.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "traces" / "counterexamples"

ONE_CLAIM = """
import sys
from checker.bugs.museum import put_back
bug = put_back(sys.argv[1])
from checker.check import check
from checker.commands import models
raise SystemExit(check(models(sys.argv[2]), bug.model, one_line=True))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )


def ringspec(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "impl.cli", *arguments)


every_bug = pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)


@every_bug
def test_its_edits_fit_the_specification_and_change_it(bug: Bug) -> None:
    assert difference(bug.edits)


@every_bug
def test_it_has_a_page_that_fits_the_story_below_it(bug: Bug) -> None:
    assert bug.title.endswith(".")
    assert len(bug.page.split("\n\n")) >= 4
    assert max(map(len, bug.page.splitlines()[1:])) <= WIDTH


@every_bug
def test_its_model_holds_without_it_and_claims_what_it_breaks(bug: Bug) -> None:
    """That the model holds is what `tests.test_models` explores."""
    assert not MODELS[bug.model].must_fail
    assert set(bug.noticed_by) <= set(MODELS[bug.model].claims)


@pytest.mark.parametrize(
    ("name", "claim"), [(bug.name, claim) for bug in BUGS.values() for claim in bug.noticed_by[1:]]
)
def test_every_other_claim_that_it_is_said_to_break_fails(name: str, claim: str) -> None:
    checked = python("-c", ONE_CLAIM, name, claim)
    assert checked.returncode == 1, checked.stdout[-2000:] + checked.stderr
    assert checked.stdout.startswith(f"{claim}: ")


def test_a_report_names_the_bug_and_the_claim_or_all_of_a_model_that_is_named() -> None:
    """That each is found, and by its claim, is what `tests.test_counterexamples` sees."""
    bug = BUGS["lost-sibling"]
    for arguments, wanted in ((), {bug.noticed_by[0]}), ((bug.model,), set(MODELS[bug.model].claims)):
        checked = ringspec("check", *arguments, "--bug", bug.name, "--json")
        assert checked.returncode == 1, checked.stdout[-2000:] + checked.stderr
        report = json.loads(checked.stdout)
        assert report["machine"] == f"{bug.model}, with the bug {bug.name}"
        assert {told["name"] for told in report["properties"] if not told["of"]} - {"deadlock-free"} == wanted


@pytest.mark.parametrize("bug", [bug for bug in BUGS.values() if bug.refutes], ids=lambda bug: bug.name)
def test_the_law_that_it_is_said_to_break_is_refuted(bug: Bug) -> None:
    proved = ringspec("prove", bug.refutes, "--bug", bug.name)
    assert proved.returncode == 1
    assert " refuted " in proved.stdout


@every_bug
def test_its_trace_names_it_and_does_not_replay_without(bug: Bug, tmp_path: Path) -> None:
    kept = KEPT / f"{bug.name}.itf.json"
    assert bug_in(kept) == bug.name
    text = kept.read_text()
    without = tmp_path / "without.itf.json"
    without.write_text(text.replace(f',"bug":"{bug.name}"', ""))
    assert without.read_text() != text
    assert bug_in(without) == ""
    replayed = ringspec("replay", str(without))
    assert replayed.returncode == 1, replayed.stdout[-2000:] + replayed.stderr


def test_bugs_lists_them_in_lines() -> None:
    listed = ringspec("bugs")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(BUGS)


def test_bugs_shows_the_page_the_change_and_the_story() -> None:
    shown = ringspec("bugs", "lost-sibling")
    assert shown.returncode == 0
    parts = [
        "covers the first.",
        "\n-    return covers(",
        "\n+    return newer != older",
        "--bug lost-sibling",
        "no-lost-write fails:",
    ]
    places = [shown.stdout.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("arguments", [("bugs",), ("check", "--bug"), ("check", "puts", "--bug"), ("prove", "--bug")])
def test_a_bug_that_there_is_not_is_refused_in_a_line(arguments: tuple[str, ...]) -> None:
    refused = ringspec(*arguments, "lost-siblings")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.splitlines() == [
        f"ringspec {arguments[0]}: the museum has no bug 'lost-siblings': did you mean lost-sibling?"
    ]


def test_a_trace_of_a_bug_that_there_is_not_is_refused_in_a_line(tmp_path: Path) -> None:
    trace = tmp_path / "odd.itf.json"
    trace.write_text((KEPT / "lost-sibling.itf.json").read_text().replace('"bug":"lost-sibling"', '"bug":"none"'))
    refused = ringspec("replay", str(trace))
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "the museum has no bug 'none'" in refused.stderr


@pytest.mark.parametrize(
    "text", ["", "[]", '{"#meta":{}}', '{"#meta":{"params":{"bug":1}}}', '{"#meta":[]}', "[" * 9999]
)
def test_what_is_no_trace_names_no_bug(text: str, tmp_path: Path) -> None:
    file = tmp_path / "odd"
    file.write_text(text)
    assert bug_in(file) == ""
    assert bug_in(tmp_path / "none") == ""
    assert bug_in(tmp_path) == ""


# Edits.


def test_edits_come_before_the_specification_or_not_at_all() -> None:
    with pytest.raises(AssertionError, match="before the first import"):
        carry("late", BUGS["lost-sibling"].edits)
    assert carried() == ""
    assert "absorb" not in inspect.getsource(siblings.supersedes)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (Edit("clock.py", "no such text", ""), "nowhere instead of once"),
        (Edit("clock.py", "clock", ""), "times instead of once"),
        (Edit("none.py", "", ""), "there is no spec/none.py"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edit: Edit, problem: str) -> None:
    with pytest.raises(EditError, match=problem):
        edited([edit])


def test_edits_of_one_file_come_one_after_the_other() -> None:
    first = Edit("clock.py", "return clock[dot.actor] >= dot.counter", "return True  # changed")
    texts = edited([first, Edit("clock.py", "return True  # changed", "return False")])
    assert ["return False" in text and "changed" not in text for text in texts.values()] == [True]


def test_an_edit_is_what_runs_what_is_read_and_what_a_traceback_shows() -> None:
    program = """
import inspect, sys, traceback
sys.dont_write_bytecode = False
from checker.bugs.edits import Edit, carried, carry
carry("odd", [Edit("clock.py", "return clock[dot.actor] >= dot.counter", "raise RuntimeError(dot)")])
import spec.siblings
from spec.clock import covers
print(carried(), "raise RuntimeError(dot)" in inspect.getsource(covers), spec.siblings.covers is covers)
try:
    covers(None, "x")
except RuntimeError:
    print("raise RuntimeError(dot)" in traceback.format_exc())
"""
    for _ in range(2):  # nothing is kept that a second process could find
        ran = python("-c", program)
        assert ran.stdout.split() == ["odd", "True", "True", "True"], ran.stderr
    ran = python("-c", "from spec.clock import covers; import inspect; print(inspect.getsource(covers))")
    assert "RuntimeError" not in ran.stdout


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_every_mutant_fits_the_specification(mutant: Mutant) -> None:
    """They are carried by the same mechanism."""
    assert edited([Edit(mutant.file, mutant.old, mutant.new)])


def test_what_is_edited_is_the_specification_that_is_there() -> None:
    assert editing.place_of("clock.py") == ROOT / "spec" / "clock.py"


def test_every_module_of_the_museum_is_a_room_or_builds_it() -> None:
    there = {file.stem for file in (ROOT / "checker" / "bugs").glob("*.py")}
    shown = {room.__name__.rpartition(".")[2] for room in ROOMS}
    assert there - shown == {"__init__", "bug", "edits", "museum"}
    assert {name.replace("-", "_") for name in BUGS} == shown
