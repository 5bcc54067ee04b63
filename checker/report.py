"""What a check found, as text for people and as JSON for programs.

The text says the verdict and the figures first, then property by property, then what kinds of action were taken, then,
if something failed, the story. The JSON has the same, with the counterexample as the steps of an ITF trace. Neither
depends on anything but the result: times apart, equal runs give equal bytes.
"""

from typing import cast

import msgspec
from msgspec import Struct, structs

from checker.branches import BranchReport, tell_branches
from checker.itf import About, Trace, encode_action, encode_state
from checker.itf_values import Json
from checker.machine import A, HasParams, Machine, S
from checker.outcome import Coverage, ModelError, Progress, PropertyResult, Result, Step, Verdict, Violation
from checker.story import action_told, changes_told, tell_path, tell_violation


class ReportedStep(Struct, frozen=True):
    """A step of a counterexample: in words, and its action and state as in an ITF trace."""

    told: str
    changes: list[str]
    action: Json
    state: dict[str, Json]


class ReportedViolation(Struct, frozen=True):
    """What failed, the clause, and the shortest way to it."""

    property: str
    kind: str
    clause: str
    path: list[ReportedStep]


class Report(Struct, frozen=True):
    """The outcome of a check; `stopped` says what cut an incomplete one short, `rate` is distinct states per second."""

    machine: str
    verdict: str
    stopped: str
    states: int
    generated: int
    depth: int
    seconds: float
    rate: float
    order: str
    collision_odds: float
    reduced: bool
    stands_for: int | None
    properties: tuple[PropertyResult, ...]
    coverage: tuple[Coverage, ...]
    branches: BranchReport | None
    liveness: Struct | None  # a LivenessReport, if the machine claims something of whole runs
    violation: ReportedViolation | None


def as_json(
    machine: Machine[S, A],
    result: Result[S, A],
    branches: BranchReport | None = None,
    liveness: Struct | None = None,
) -> str:
    """A Report as indented JSON."""
    found = result.violation
    violation = None
    if found is not None:
        violation = ReportedViolation(found.property, found.kind, found.clause, reported(machine, found.path))
    report = Report(
        machine=result.machine,
        verdict=result.verdict,
        stopped=result.stopped,
        states=result.states,
        generated=result.generated,
        depth=result.depth,
        seconds=round(result.seconds, 3),
        rate=round(_rate(result)),
        order=result.order,
        collision_odds=result.collision_odds,
        reduced=result.reduced,
        stands_for=result.stands_for,
        properties=result.properties,
        coverage=result.coverage,
        branches=branches,
        liveness=liveness,
        violation=violation,
    )
    return indented(report)


def indented(report: Struct) -> str:
    """A report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def reported(machine: Machine[S, A], path: tuple[Step[S, A], ...]) -> list[ReportedStep]:
    """The steps of a path as JSON shows them."""
    steps = []
    for index, step in enumerate(path):
        changed = changes_told(machine, path[index - 1].state, step.state) if index else []
        action = None if step.action is None else encode_action(step.action)
        steps.append(ReportedStep(action_told(machine, step.action), changed, action, encode_state(step.state)))
    return steps


def as_text(machine: Machine[S, A], result: Result[S, A], branches: BranchReport | None = None) -> str:
    """The report for people, at most 100 columns wide."""
    blocks = [_headline(result), properties_told(result.properties), _coverage(result.coverage)]
    if branches is not None:
        blocks.append(tell_branches(branches))
    if result.violation is not None:
        blocks.append(tell_violation(machine, result.violation))
    return "\n\n".join(block for block in blocks if block)


def progress_line(progress: Progress) -> str:
    """How far a search is, in one line."""
    return (
        f"{progress.states:,} states, {progress.generated:,} generated, {progress.queue:,} waiting, "
        f"depth {progress.depth}, {progress.memory >> 20:,} MiB, {progress.rate:,.0f} states/s"
    )


def progress_json(progress: Progress) -> str:
    """The same as one line of JSON."""
    return msgspec.json.encode({**structs.asdict(progress), "rate": round(progress.rate)}).decode()


def as_trace(model: str, machine: Machine[S, A], result: Result[S, A]) -> Trace[S, A] | None:
    """The counterexample of a model of that name, if there is one that has a path."""
    found = result.violation
    return None if found is None or not found.path else trace_of(model, machine, found)


def trace_of(model: str, machine: Machine[S, A], found: Violation[S, A]) -> Trace[S, A]:
    """The path of a violation of a model of that name."""
    about = About(machine=model, params=params_of(machine), property=found.property, clause=found.clause)
    return Trace(about, found.path)


def params_of(machine: Machine[S, A]) -> dict[str, bool | int | str]:
    """The machine's parameters, if it has any."""
    return dict(machine.params) if isinstance(machine, HasParams) else {}


def model_error_text(machine: Machine[S, A], error: ModelError) -> str:
    """A fault of the model itself: what was asked, what it answered, where in the code, and the way to that state."""
    lines = [f"{machine.name}: the model is at fault, not the protocol: {error}"]
    if (cause := error.__cause__) is not None and (place := cause.__traceback__) is not None:
        while place.tb_next is not None:
            place = place.tb_next
        code = place.tb_frame.f_code
        lines.append(f"raised in {code.co_filename}, line {place.tb_lineno}, in {code.co_name}")
    if error.path:
        # An exception cannot be generic: its path lost the machine's types.
        lines += ["", tell_path(cast(Machine[object, object], machine), error.path)]
    return "\n".join(lines)


def _rate(result: Result[S, A]) -> float:
    return result.states / result.seconds if result.seconds > 0 else 0.0


def _headline(result: Result[S, A]) -> str:
    figures = (
        f"{result.states:,} states, {result.generated:,} generated, depth {result.depth}, "
        f"{result.seconds:.1f} s, {_rate(result):,.0f} states/s"
    )
    lines = [f"{result.machine}: {verdict_told(result.verdict, result.stopped)}", figures]
    if result.reduced:
        whole = "" if result.stands_for is None else f", which stand for {result.stands_for:,} states"
        lines.append(f"reduced: a search of representatives{whole}")
    if result.order == "depth":
        lines.append("depth first: a counterexample need not be a shortest one")
    if result.collision_odds:
        odds = f"{result.collision_odds:.0e}"
        lines.append(f"by 128-bit fingerprints: the odds that two states were taken for one are at most {odds}")
    return "\n".join(lines)


def verdict_told(verdict: Verdict, stopped: str) -> str:
    """A verdict as people are told it."""
    return {"holds": "holds", "violated": "VIOLATED", "incomplete": f"INCOMPLETE: {stopped}"}[verdict]


def properties_told(properties: tuple[PropertyResult, ...]) -> str:
    """What became of each property, a line each."""
    width = max(len(p.name) for p in properties)
    lines = []
    for p in properties:
        where = f", at depth {p.depth}" if p.depth is not None else ""
        of = f" (so that {p.of} says something)" if p.of and p.standing == "unmet" else ""
        label = "" if p.kind == "deadlock" else p.kind
        lines.append(f"  {label:<10}  {p.name:<{width}}  {p.standing}{where}{of}")
    return "\n".join(lines)


def _coverage(coverage: tuple[Coverage, ...]) -> str:
    if not coverage:
        return ""
    width = max(len("action"), *(len(c.kind) for c in coverage))
    lines = [f"  {'action':<{width}}  {'generated':>12}  {'new':>12}"]
    for c in coverage:
        never = "" if c.generated else "   never taken"
        lines.append(f"  {c.kind:<{width}}  {c.generated:>12,}  {c.new:>12,}{never}")
    return "\n".join(lines)
