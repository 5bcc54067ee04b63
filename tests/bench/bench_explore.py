"""What the explorer costs over a bare loop: two-phase commit with 7 managers, turn by turn, in one process.

The bare loop is the least that finds the same states: a set and a deque over the same machine's `transitions`, run as
Python runs it, and once more with garbage collection off, as the explorer runs. The explorer evaluates all properties,
keeps parent links and coverage, and looks for deadlocks. Where Spin is installed it searches the same machine in the
same run (`tests.bench.spin`). Times are of this process's CPU, so that others that share
the machine disturb less. Run as `pytest -m bench -s tests/bench/bench_explore.py` or
`python -m tests.bench.bench_explore [rounds]`.
"""

import gc
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from checker.explore import explore
from checker.machine import A, Machine, S
from tests.bench.spin import searched
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


def cpu_seconds(run: Callable[[FastTwoPhase], tuple[int, int]], collecting: bool) -> float:
    """What one search takes, with or without garbage collection; its counts are checked."""
    machine = FastTwoPhase(MANAGERS)
    gc.collect()
    if not collecting:
        gc.disable()
    started = time.process_time()
    counts = run(machine)
    taken = time.process_time() - started
    gc.enable()
    assert counts == (STATES, GENERATED)
    return taken


def explored(machine: FastTwoPhase) -> tuple[int, int]:
    """What the explorer counts, if everything holds."""
    result = explore(machine)
    assert result.verdict == "holds"
    return result.states, result.generated


def table(rounds: int) -> str:
    """A line for each round, in states per second and as the explorer's share of each bare loop, and the medians."""
    titles = ("bare/s", "bare, no gc/s", "explorer/s", "share", "of no gc")
    lines = [
        f"two-phase commit, {MANAGERS} managers: {STATES:,} states, {GENERATED:,} generated",
        f"{'round':>7}" + "".join(f"{title:>15}" for title in titles),
    ]
    measured = []
    for number in range(1, rounds + 1):
        plain, no_gc, ours = cpu_seconds(bare, True), cpu_seconds(bare, False), cpu_seconds(explored, True)
        measured.append((STATES / plain, STATES / no_gc, STATES / ours, plain / ours, no_gc / ours))
        lines.append(row(str(number), measured[-1]))
    medians = [statistics.median(column) for column in zip(*measured, strict=True)]
    return "\n".join([*lines, row("median", medians), beside_spin(medians[2])])


def beside_spin(ours: float) -> str:
    """How many times as fast Spin is as the explorer, which finds `ours` states a second; the best of three."""
    found = [searched(MANAGERS) for _ in range(3)]
    rates = [states / seconds for states, seconds in filter(None, found)]
    if not rates:
        return "Spin is not installed: no comparison with it"
    assert found[0] is not None
    assert found[0][0] == STATES, "Spin searches another machine"
    return (
        f"Spin, exact and unreduced: {max(rates):,.0f} states/s, {max(rates) / ours:.1f} times as many as the explorer"
    )


def row(label: str, figures: Sequence[float]) -> str:
    """One line of the table: rates, then shares."""
    return f"{label:>7}" + "".join(f"{x:>15,.0f}" if x > 100 else f"{x:>15.2f}" for x in figures)


@pytest.mark.bench
def test_bench_explore() -> None:
    """Three rounds."""
    print("\n" + table(3))


if __name__ == "__main__":
    print(table(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
