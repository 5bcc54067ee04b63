"""What `ringspec simulate MODEL` does: walk over a named model at random, and tell what was found.

    0 no walk failed · 1 a walk failed · 2 usage · 3 stopped before all walks were taken · 4 our bug

A walk that failed is told shrunk, with the seed and its number, which take it again. Where `out` is a folder, each such
walk is written there as ITF, for `ringspec replay`; walks that shrink to the same actions are told and written once.
"""

from pathlib import Path

import msgspec
from msgspec import Struct, structs

from checker.check import EXIT_CODES, OUR_BUG, USAGE, Meter, Registry, Streams, UsageError, Writing, machine_of
from checker.itf import dump
from checker.machine import A, Machine, S
from checker.outcome import ModelError, PropertyResult
from checker.report import ReportedStep, indented, model_error_text, properties_told, reported, trace_of
from checker.simulate import Failure, Plan, Simulation, Walked, simulate
from checker.story import tell_violation

ROWS = 12


class ReportedFailure(Struct, frozen=True):
    """A walk that failed, shrunk; `run` is its number, `steps` its length before."""

    run: int
    steps: int
    property: str
    clause: str
    path: list[ReportedStep]


class SimulationReport(Struct, frozen=True):
    """The outcome of a simulation; `new_states` are counted per thousand steps."""

    machine: str
    verdict: str
    stopped: str
    seed: int
    runs: int
    steps: int
    states: int
    seconds: float
    rate: float
    properties: tuple[PropertyResult, ...]
    taken: dict[str, int]
    new_states: tuple[int, ...]
    failures: list[ReportedFailure]


def run_simulation(
    registry: Registry,
    name: str,
    plan: Plan,
    *,
    json: bool = False,
    out: Path | None = None,
    progress: bool | None = None,
    streams: Streams | None = None,
) -> int:
    """Walk over the model `name` and report; the answer is the exit code.

    `progress` says whether to tell on stderr how far the walks are, by default only to a terminal.
    """
    streams = streams or Streams.standard()
    try:
        machine = machine_of(registry, name)
        validate(plan, out)
    except UsageError as error:
        streams.complain(error)
        return USAGE
    watching = streams.stderr.isatty() if progress is None else progress
    meter = Meter(streams.stderr, walked_json if json else walked_line) if watching else None
    try:
        result = simulate(machine, plan, meter.show if meter else None)
    except ModelError as error:
        print(f"{model_error_text(machine, error)}\n\nseed {plan.seed}", file=streams.stderr)
        return OUR_BUG
    finally:
        if meter:
            meter.clear()
    print(as_json(machine, plan, result) if json else as_text(machine, plan, result), file=streams.stdout)
    for failure in distinct(result):
        if out is None:
            break
        file = out / f"{name}-seed{plan.seed}-walk{failure.run}.itf.json"
        with Writing(file, f"{name}: a walk", streams) as writing:
            file.write_bytes(dump(trace_of(name, machine, failure.violation)))
            print(f"{file} was written", file=streams.stderr)
        if writing.failed is not None:
            return writing.failed
    return EXIT_CODES[result.verdict]


def validate(plan: Plan, out: Path | None) -> None:
    """Refuse what cannot be done (UsageError)."""
    for what, number in (("walks", plan.runs), ("steps", plan.steps), ("workers", plan.workers)):
        if number < 1:
            raise UsageError(f"{number} {what} are none: give at least 1")
    if plan.seconds is not None and not plan.seconds > 0:
        raise UsageError(f"{plan.seconds:g} seconds are no time: give more than 0")
    if out is not None and not out.is_dir():
        raise UsageError(f"{out} is no folder to write walks to")


def distinct(result: Simulation[S, A]) -> list[Failure[S, A]]:
    """The first of those walks that shrank to the same actions and property."""
    found: dict[tuple[str, tuple[A | None, ...]], Failure[S, A]] = {}
    for failure in result.failures:
        actions = tuple(step.action for step in failure.violation.path)
        found.setdefault((failure.violation.property, actions), failure)
    return list(found.values())


def walked_line(walked: Walked) -> str:
    """How far a simulation is, in one line."""
    return (
        f"{walked.runs:,} walks, {walked.steps:,} steps, {walked.failures:,} failed, {walked.seconds:,.0f} s, "
        f"{walked.rate:,.0f} steps/s"
    )


def walked_json(walked: Walked) -> str:
    """The same as one line of JSON."""
    return msgspec.json.encode({**structs.asdict(walked), "rate": round(walked.rate)}).decode()


def as_json(machine: Machine[S, A], plan: Plan, result: Simulation[S, A]) -> str:
    """A SimulationReport as indented JSON."""
    report = SimulationReport(
        machine=result.machine,
        verdict="not violated so far" if result.verdict == "holds" else result.verdict,
        stopped=result.stopped,
        seed=plan.seed,
        runs=result.runs,
        steps=result.steps,
        states=result.states,
        seconds=round(result.seconds, 3),
        rate=round(_rate(result)),
        properties=result.properties,
        taken=dict(result.kinds),
        new_states=result.new_states,
        failures=[
            ReportedFailure(
                f.run, f.steps, f.violation.property, f.violation.clause, reported(machine, f.violation.path)
            )
            for f in distinct(result)
        ],
    )
    return indented(report)


def as_text(machine: Machine[S, A], plan: Plan, result: Simulation[S, A]) -> str:
    """The report for people."""
    failed = len(result.failures)
    said = {
        "holds": "no walk failed",
        "violated": f"VIOLATED by {failed:,} of the walks" if failed > 1 else "VIOLATED",
        "incomplete": f"INCOMPLETE: {result.stopped}",
    }[result.verdict]
    figures = (
        f"seed {plan.seed}: {result.runs:,} walks of at most {plan.steps:,} steps; {result.steps:,} steps, "
        f"{result.states:,} states, {result.seconds:.1f} s, {_rate(result):,.0f} steps/s"
    )
    width = max((len(kind) for kind, _ in result.kinds), default=0)
    taken = "\n".join(f"  {kind:<{width}}  {count:>12,}" for kind, count in result.kinds)
    stories = [
        f"walk {f.run} of seed {plan.seed}, {f.steps} steps, shrunk to {len(f.violation.path) - 1}:\n"
        f"{tell_violation(machine, f.violation)}"
        for f in distinct(result)
    ]
    blocks = [f"{result.machine}: {said}\n{figures}", properties_told(result.properties), taken, coverage(result)]
    return "\n\n".join(block for block in [*blocks, *stories] if block)


def coverage(result: Simulation[S, A]) -> str:
    """How many states were new per thousand steps, in a few rows, so that one sees when more walks stop paying."""
    thousands = len(result.new_states)
    if not thousands:
        return ""
    size = -(-thousands // ROWS)
    lines = [f"  {'steps':>12}  new states per 1,000 steps"]
    for first in range(0, thousands, size):
        steps = min(result.steps, (first + size) * 1_000) - first * 1_000
        new = sum(result.new_states[first : first + size])
        lines.append(f"  {first * 1_000 + steps:>12,}  {1_000 * new / max(steps, 1):>7,.0f}")
    return "\n".join(lines)


def _rate(result: Simulation[S, A]) -> float:
    return result.steps / result.seconds if result.seconds > 0 else 0.0
