"""Break the specification on purpose, and see that check, prove and validate notice, and which claim it is."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from checker.models import machine_of
from tests.mutants import MUTANTS, Mutant
from tests.test_validate import real_run

ROOT = Path(__file__).resolve().parent.parent


def ringspec(*arguments: str, mutant: Mutant | None = None) -> subprocess.CompletedProcess[str]:
    """`ringspec …`, with a mistake in the specification or without."""
    program = ["tests.mutants", mutant.name] if mutant else ["impl.cli"]
    return subprocess.run(
        [sys.executable, "-m", *program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def names(mutants: list[Mutant]) -> list[str]:
    """Readable test ids."""
    return [mutant.name.replace(" ", "-") for mutant in mutants]


CHECKED = [mutant for mutant in MUTANTS if mutant.model and not mutant.runs]
WAYS = [
    (mutant, how)
    for mutant in CHECKED
    for how in ((), ("--reduce",))
    if not how or machine_of(mutant.model).reduction() is not None
]


@pytest.mark.parametrize(
    ("mutant", "how"), WAYS, ids=[f"{name}{'-reduced' * bool(how)}" for mutant, how in WAYS for name in names([mutant])]
)
def test_check_notices(mutant: Mutant, how: tuple[str, ...], tmp_path: Path) -> None:
    """The named claim fails, with a counterexample that replays on the mutant and not on the real thing."""
    trace = tmp_path / "found.itf.json"
    checked = ringspec("check", mutant.model, "--json", "--no-progress", "--out", str(trace), *how, mutant=mutant)
    if mutant.asserts:
        assert checked.returncode == 4
        assert mutant.asserts in checked.stderr
        return
    assert checked.returncode == 1, checked.stdout[-2000:] + checked.stderr
    assert json.loads(checked.stdout)["violation"]["property"] == mutant.claim
    assert ringspec("replay", str(trace), mutant=mutant).returncode == 0
    real = ringspec("replay", str(trace))
    assert real.returncode == 1, real.stdout[-2000:]


RUNNING = [mutant for mutant in MUTANTS if mutant.runs]


@pytest.mark.parametrize("mutant", RUNNING, ids=names(RUNNING))
def test_liveness_notices(mutant: Mutant, tmp_path: Path) -> None:
    """The named claim fails of a fair run, which replays on the mutant and not on the real thing."""
    run = tmp_path / "found.itf.json"
    judged = ringspec("liveness", mutant.model, "--json", "--out", str(run), mutant=mutant)
    assert judged.returncode == 1, judged.stdout[-2000:] + judged.stderr
    failed = [claim["name"] for claim in json.loads(judged.stdout)["claims"] if claim["standing"] == "violated"]
    assert mutant.claim in failed
    assert ringspec("replay", str(run), mutant=mutant).returncode == 0
    real = ringspec("replay", str(run))
    assert real.returncode == 1, real.stdout[-2000:] + real.stderr


PROVED = [mutant for mutant in MUTANTS if mutant.unproved]


@pytest.mark.parametrize("mutant", PROVED, ids=names(PROVED))
def test_prove_notices(mutant: Mutant) -> None:
    """The named claim is refuted, by a counterexample that was replayed in Python."""
    proved = ringspec("prove", mutant.unproved, mutant=mutant)
    assert proved.returncode == 1, proved.stdout[-2000:] + proved.stderr
    refuted = [line.split()[0] for line in proved.stdout.splitlines() if " refuted " in line]
    assert mutant.unproved.split("/")[-1] in refuted, proved.stdout


DIVERGING = [mutant for mutant in MUTANTS if mutant.diverges]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of a real run of the specification as it is."""
    directory = tmp_path_factory.mktemp("recorded")
    asyncio.run(real_run(directory, operations=20, clients=3))
    assert ringspec("validate", str(directory)).returncode == 0
    return directory


@pytest.mark.parametrize("mutant", DIVERGING, ids=names(DIVERGING))
def test_validate_notices(mutant: Mutant, recorded: Path) -> None:
    """What real nodes did is not what the mutant would have done: the step that differs is named."""
    validated = ringspec("validate", str(recorded), mutant=mutant)
    assert validated.returncode == 1, validated.stdout[-2000:] + validated.stderr
    assert "is not a run of the specification" in validated.stdout


def test_there_are_mutants_for_each_of_the_three() -> None:
    """At least five mistakes, and none that nobody is to notice."""
    assert len(MUTANTS) >= 5
    assert all(mutant.model or mutant.unproved or mutant.diverges for mutant in MUTANTS)
    assert CHECKED
    assert RUNNING
    assert PROVED
    assert DIVERGING
