"""A recorded run is told again: whole, about one key, step by step; and refused where it is none."""

from __future__ import annotations

import io
import os
import re
import shutil
from pathlib import Path

import pytest

from checker.check import Streams
from checker.playback import play_back
from checker.validate import examine
from spec.types import Key

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "traces" / "recorded"
SIBLINGS = RECORDED / "siblings"


def told(directory: Path, key: str | None = None, step: bool = False, answers: str = "") -> tuple[int, str, str]:
    """The exit status, standard output and standard error of a replay."""
    streams = Streams(io.StringIO(answers), io.StringIO(), io.StringIO())
    status = play_back(directory, key=None if key is None else Key(os.fsencode(key)), step=step, streams=streams)
    return status, streams.stdout.getvalue(), streams.stderr.getvalue()  # type: ignore[attr-defined]  # StringIO


@pytest.mark.parametrize("run", sorted(RECORDED.iterdir()), ids=lambda run: str(run.name))
def test_recorded_runs_are_runs_of_the_specification(run: Path) -> None:
    """If one is not any more, the specification decides something differently: record it again, knowing why."""
    report = examine(run)
    assert report.problem is None, report.problem


def test_the_story_of_the_siblings() -> None:
    """Two writes that did not know of each other, shown side by side, and the one that settles them."""
    status, said, _ = told(SIBLINGS, "cart")
    assert status == 0
    assert "found {a:1 after [], b:1 after []}" in said
    assert "a durably holds {a:2 after [a:1, b:1]} under cart" in said
    numbers = [int(line.split()[0]) for line in said.splitlines() if not line.startswith(" " * 8)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 20


def test_step_by_step_forwards_and_back() -> None:
    """Enter goes on, `b` back, a number anywhere."""
    status, said, _ = told(SIBLINGS, step=True, answers="\nb\n5\nnonsense\nq\n")
    assert status == 0
    assert re.findall(r"(?:^|quit: ) *(\d+)  ", said, re.MULTILINE) == ["0", "1", "0", "5"]
    assert "there is no such step" in said


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    """Nothing there; a key that nobody asked for; a log that was changed."""
    assert told(tmp_path / "nowhere")[0] == 2
    status, _, complaint = told(SIBLINGS, "no such key")
    assert (status, complaint.count("\n")) == (2, 1)
    shutil.copytree(SIBLINGS, tmp_path / "changed")
    log = tmp_path / "changed" / "node-a.ndjson"
    log.write_bytes(log.read_bytes().replace(b'"counter":1', b'"counter":7', 1))
    status, _, complaint = told(tmp_path / "changed")
    assert status == 1
    assert "node-a.ndjson" in complaint
    assert complaint.count("\n") == 1
