"""Break the specification on purpose, and see that check, prove and validate notice, and which claim it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import MUTANTS, Mutant, mutated


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`ringspec …` with the packages of a directory."""
    return subprocess.run(
        [sys.executable, "-m", "impl.cli", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def names(mutants: list[Mutant]) -> list[str]:
    """Readable test ids."""
    return [mutant.name.replace(" ", "-") for mutant in mutants]


CHECKED = [mutant for mutant in MUTANTS if mutant.model]


@pytest.mark.parametrize("mutant", CHECKED, ids=names(CHECKED))
def test_check_notices(mutant: Mutant, tmp_path: Path) -> None:
    """The named claim fails, with a counterexample that replays on the mutant and not on the real thing."""
    directory, trace = mutated(mutant, tmp_path), tmp_path / "found.itf.json"
    checked = run(directory, "check", mutant.model, "--json", "--no-progress", "--out", str(trace))
    if mutant.asserts:
        assert checked.returncode == 4
        assert mutant.asserts in checked.stderr
        return
    assert checked.returncode == 1, checked.stdout[-2000:] + checked.stderr
    assert json.loads(checked.stdout)["violation"]["property"] == mutant.claim
    assert run(directory, "replay", str(trace)).returncode == 0
    real = run(Path(__file__).resolve().parent.parent, "replay", str(trace))
    assert real.returncode == 1, real.stdout[-2000:]
