"""Simulated steps a second on one core: the unreduced cluster, every safety property judged on every step.

Walks of the same models from the same seeds, few and many: what a process learnt of a model it need not work out
again, so that more walks go faster, until they meet ever new states. Times are of this process, so that others that
share the machine disturb less. Run as `pytest -m bench -s tests/bench/bench_simulate.py` or
`python -m tests.bench.bench_simulate [walks …]`.
"""

import sys
import time

import pytest

from checker.machine import Always, Transition
from checker.models import machine_of
from checker.simulate import Plan, simulate

MODELS = ("puts-get", "puts-get-crash", "puts-get-drop", "reconcile")
WALKS = (1_000, 10_000)


def table(walks: tuple[int, ...]) -> str:
    """A line for each model and number of walks."""
    lines = [f"{'model':<16}{'walks':>8}{'steps':>10}{'states':>9}{'steps/s':>10}{'claims':>8}"]
    for name in MODELS:
        for runs in walks:
            machine = machine_of(name)
            claims = sum(isinstance(p, Always | Transition) for p in machine.properties)
            started = time.process_time()
            result = simulate(machine, Plan(seed=1, runs=runs, steps=200))
            rate = result.steps / (time.process_time() - started)
            assert result.verdict == "holds"
            lines.append(f"{name:<16}{runs:>8,}{result.steps:>10,}{result.states:>9,}{rate:>10,.0f}{claims:>8}")
    return "\n".join(lines)


@pytest.mark.bench
def test_bench_simulate() -> None:
    """Once each."""
    print("\n" + table(WALKS))


if __name__ == "__main__":
    print(table(tuple(map(int, sys.argv[1:])) or WALKS))
