"""What the explorer costs over a bare loop: two-phase commit with 7 managers, in pairs, in one process.

The bare loop is the least that finds the same states: a set and a deque over the same machine's `transitions`. The
explorer evaluates all properties, keeps parent links and coverage, and looks for deadlocks. Both run with garbage
collection off. Run as `pytest -m bench tests/bench/bench_explore.py -s` or `python -m tests.bench.bench_explore
[pairs]`.
"""

import gc
import statistics
import sys
import time
from collections import deque

import pytest

from checker.explore import explore
from checker.machine import A, Machine, S
from tests.machines.two_phase import FastTwoPhase

MANAGERS, STATES, GENERATED = 7, 296_448, 2_744_706


def bare(machine: Machine[S, A]) -> tuple[int, int]:
    """Distinct and generated states, and nothing else."""
    transitions = machine.transitions
    seen = set(machine.initial())
    queue = deque(seen)
    generated = len(seen)
    while queue:
        for _, after in transitions(queue.popleft()):
            generated += 1
            if after not in seen:
                seen.add(after)
                queue.append(after)
    return len(seen), generated


def seconds_of_pair() -> tuple[float, float]:
    """Seconds of the bare loop and of the explorer, one after the other."""
    gc.collect()
    gc.disable()
    started = time.perf_counter()
    assert bare(FastTwoPhase(MANAGERS)) == (STATES, GENERATED)
    bare_s = time.perf_counter() - started
    gc.enable()
    gc.collect()
    started = time.perf_counter()
    result = explore(FastTwoPhase(MANAGERS))
    explorer_s = time.perf_counter() - started
    assert (result.verdict, result.states, result.generated) == ("holds", STATES, GENERATED)
    return bare_s, explorer_s


def table(pairs: int) -> str:
    """Measure so many pairs; a line each, and the medians."""
    lines = [f"two-phase commit, {MANAGERS} managers: {STATES:,} states, {GENERATED:,} generated",
             f"{'pair':>6} {'bare/s':>12} {'explorer/s':>12} {'ratio':>7}"]  # fmt: skip
    measured = []
    for pair in range(1, pairs + 1):
        bare_s, explorer_s = seconds_of_pair()
        measured.append((STATES / bare_s, STATES / explorer_s, bare_s / explorer_s))
        lines.append(row(str(pair), *measured[-1]))
    medians = [statistics.median(column) for column in zip(*measured, strict=True)]
    return "\n".join([*lines, row("median", *medians)])


def row(label: str, bare_rate: float, explorer_rate: float, ratio: float) -> str:
    """One line: distinct states per second of each, and the explorer's speed as a share of the bare loop's."""
    return f"{label:>6} {bare_rate:>12,.0f} {explorer_rate:>12,.0f} {ratio:>7.2f}"


@pytest.mark.bench
def test_bench_explore() -> None:
    """Three pairs."""
    print("\n" + table(3))


if __name__ == "__main__":
    print(table(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
