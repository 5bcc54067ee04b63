"""Nothing observable may depend on the order of hashes: run the same under two seeds and compare."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def same_under_two_hash_seeds(program: str) -> bytes:
    """What a program prints, which must be the same to the byte under two hash seeds."""
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    )
    assert first == second
    return first
