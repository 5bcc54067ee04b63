"""The counterexamples in `traces/`: found again to the byte, whatever the hash seed, and replayed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from checker.bugs.museum import BUGS
from checker.models import MODELS

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "traces" / "counterexamples"
SEARCHES = {
    **{name: ("check", name) for name, model in MODELS.items() if model.must_fail},
    **{name: ("check", "--bug", name) for name in BUGS},
}
"""What finds each."""
FAILING = {name: BUGS[name].noticed_by[0] if name in BUGS else MODELS[name].must_fail for name in SEARCHES}


def ringspec(*arguments: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    """`ringspec …` under a hash seed."""
    return subprocess.run(
        [sys.executable, "-m", "impl.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_control_and_bug_has_its_counterexample_and_no_other_is_kept() -> None:
    """One file per model that must fail, and per bug of the museum."""
    assert sorted(f"{name}.itf.json" for name in SEARCHES) == sorted(file.name for file in KEPT.iterdir())


@pytest.mark.parametrize("seed", ["1", "2"])
@pytest.mark.parametrize("name", SEARCHES)
def test_a_counterexample_is_found_again_to_the_byte(name: str, seed: str, tmp_path: Path) -> None:
    """Nothing observable depends on the order of hashes."""
    found = tmp_path / "found.itf.json"
    assert ringspec(*SEARCHES[name], "--out", str(found), seed=seed).returncode == 1
    assert found.read_bytes() == (KEPT / f"{name}.itf.json").read_bytes()


@pytest.mark.parametrize("name", SEARCHES)
def test_a_counterexample_replays(name: str) -> None:
    """The machine takes the path again, and the claim fails at its end."""
    replayed = ringspec("replay", str(KEPT / f"{name}.itf.json"))
    assert replayed.returncode == 0, replayed.stdout
    assert f"{FAILING[name]} fails" in replayed.stdout


def test_counts_of_the_store_do_not_depend_on_the_hash_seed() -> None:
    """The same report, but for times."""
    reports = [ringspec("check", "put-get-crash", "--json", seed=seed).stdout.splitlines() for seed in ("1", "2")]
    same = [[line for line in report if '"seconds"' not in line and '"rate"' not in line] for report in reports]
    assert len(same[0]) > 20
    assert same[0] == same[1]
