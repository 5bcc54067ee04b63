"""Break the specification on purpose, and see that check, prove and validate notice, and which claim it is."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from checker.models import machine_of
from impl.cli import main
from tests.mutants import MUTANTS, Ended, Mutant
from tests.test_validate import real_run

ROOT = Path(__file__).resolve().parent.parent


def ringspec(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`ringspec …`, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "impl.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def mistaken(mutant: Mutant, *commands: Sequence[str]) -> list[Ended]:
    """The same with a mistake in the specification, for each command."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.mutants", mutant.name],
        cwd=ROOT,
        input=msgspec.json.encode(commands),
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return msgspec.json.decode(ran.stdout, type=list[Ended])


def replays_here(trace: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether the specification as it is, which is what this process has, can have done what a trace says."""
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(trace)])
    said = capsys.readouterr()
    assert ended.value.code in (0, 1), said.err
    return ended.value.code == 0


def names(mutants: list[Mutant]) -> list[str]:
    """Readable test ids."""
    return [mutant.name.replace(" ", "-") for mutant in mutants]


CHECKED = [mutant for mutant in MUTANTS if mutant.model and not mutant.runs]


@pytest.mark.parametrize("mutant", CHECKED, ids=names(CHECKED))
def test_check_notices(mutant: Mutant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The named claim fails, with a counterexample that replays on the mutant and not on the real thing; the same where
    the search is reduced, if the model can be."""
    ways: list[tuple[str, ...]] = [(), ("--reduce",)] if machine_of(mutant.model).reduction() is not None else [()]
    traces = [tmp_path / f"{'reduced' if way else 'found'}.itf.json" for way in ways]
    commands = list[tuple[str, ...]]()
    for way, trace in zip(ways, traces, strict=True):
        commands.append(("check", mutant.model, "--json", "--no-progress", "--out", str(trace), *way))
        commands.append(("replay", str(trace)))
    ended = mistaken(mutant, *commands)
    for trace, checked, replayed in zip(traces, ended[::2], ended[1::2], strict=True):
        assert checked.status == 1, checked.out[-2000:] + checked.err
        assert json.loads(checked.out)["violation"]["property"] == mutant.claim
        assert replayed.status == 0, replayed.out[-2000:] + replayed.err
        assert not replays_here(trace, capsys)


def test_what_the_specification_can_do_replays_here(capsys: pytest.CaptureFixture[str]) -> None:
    """Else nothing were said by what does not."""
    assert replays_here(ROOT / "traces" / "counterexamples" / "weak.itf.json", capsys)


RUNNING = [mutant for mutant in MUTANTS if mutant.runs]


@pytest.mark.parametrize("mutant", RUNNING, ids=names(RUNNING))
def test_liveness_notices(mutant: Mutant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The named claim fails of a fair run, which replays on the mutant and not on the real thing."""
    run = tmp_path / "found.itf.json"
    judged, replayed = mistaken(mutant, ("liveness", mutant.model, "--json", "--out", str(run)), ("replay", str(run)))
    assert judged.status == 1, judged.out[-2000:] + judged.err
    failed = [claim["name"] for claim in json.loads(judged.out)["claims"] if claim["standing"] == "violated"]
    assert mutant.claim in failed
    assert replayed.status == 0, replayed.out[-2000:] + replayed.err
    assert not replays_here(run, capsys)


PROVED = [mutant for mutant in MUTANTS if mutant.unproved]


@pytest.mark.parametrize("mutant", PROVED, ids=names(PROVED))
def test_prove_notices(mutant: Mutant) -> None:
    """The named claim is refuted, by a counterexample that was replayed in Python."""
    (proved,) = mistaken(mutant, ("prove", mutant.unproved))
    assert proved.status == 1, proved.out[-2000:] + proved.err
    refuted = [line.split()[0] for line in proved.out.splitlines() if " refuted " in line]
    assert mutant.unproved.split("/")[-1] in refuted, proved.out


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
    (validated,) = mistaken(mutant, ("validate", str(recorded)))
    assert validated.status == 1, validated.out[-2000:] + validated.err
    assert "is not a run of the specification" in validated.out


def test_there_are_mutants_for_each_of_the_three() -> None:
    """At least five mistakes, and none that nobody is to notice."""
    assert len(MUTANTS) >= 5
    assert all(mutant.model or mutant.unproved or mutant.diverges for mutant in MUTANTS)
    assert CHECKED
    assert RUNNING
    assert PROVED
    assert DIVERGING
