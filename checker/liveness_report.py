"""What `ringspec liveness MODEL` does: judge what a named model claims of whole runs, and tell it.

A lasso is told as a story: the stem, then the cycle that is taken for ever, its steps numbered on. Exit codes are those
of `ringspec check`.
"""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from checker.check import EXIT_CODES, OUR_BUG, USAGE, Registry, Streams, UsageError, Writing, machine_of, validate
from checker.itf import About, Trace, dump
from checker.liveness import ClaimResult, FairnessResult, Lasso, LivenessResult, check_liveness
from checker.machine import A, Machine, S
from checker.outcome import Bounds, ModelError
from checker.report import ReportedStep, indented, model_error_text, params_of, reported, verdict_told
from checker.story import tell_path, tell_step


class ReportedClaim(Struct, frozen=True):
    """What became of a claim; without a lasso, stem and cycle are empty."""

    name: str
    kind: str
    standing: str
    clause: str
    stem: list[ReportedStep]
    cycle: list[ReportedStep]


class LivenessReport(Struct, frozen=True):
    """The outcome of a search of whole runs; `steps` counts those that change something."""

    machine: str
    verdict: str
    stopped: str
    states: int
    steps: int
    seconds: float
    claims: list[ReportedClaim]
    fairness: tuple[FairnessResult, ...]


def liveness(
    registry: Registry,
    name: str,
    bounds: Bounds | None = None,
    *,
    json: bool = False,
    out: Path | None = None,
    streams: Streams | None = None,
) -> int:
    """Judge the runs of the model `name` within `bounds` and report; the answer is the exit code.

    `out` is where the first run against a claim is written as ITF.
    """
    streams = streams or Streams.standard()
    bounds = bounds or Bounds()
    try:
        machine = machine_of(registry, name)
        validate(bounds, out)
    except UsageError as error:
        streams.complain(error)
        return USAGE
    try:
        result = check_liveness(machine, bounds)
        told = as_json(machine, result) if json else as_text(machine, result)
        trace = lasso_of(name, machine, result)
    except ModelError as error:
        print(model_error_text(machine, error), file=streams.stderr)
        return OUR_BUG
    print(told, file=streams.stdout)
    status = EXIT_CODES[result.verdict]
    if out is not None and trace is not None:
        with Writing(out, f"{name}: its lasso", streams) as writing:
            out.write_bytes(dump(trace))
        status = writing.failed or status
    return status


def as_json(machine: Machine[S, A], result: LivenessResult[S, A]) -> str:
    """A LivenessReport as indented JSON."""
    return indented(report_of(machine, result))


def report_of(machine: Machine[S, A], result: LivenessResult[S, A]) -> LivenessReport:
    """The outcome for programs."""
    return LivenessReport(
        machine=result.machine,
        verdict=result.verdict,
        stopped=result.stopped,
        states=result.states,
        steps=result.steps,
        seconds=round(result.seconds, 3),
        claims=[_reported_claim(machine, claim) for claim in result.claims],
        fairness=result.fairness,
    )


def _reported_claim(machine: Machine[S, A], claim: ClaimResult[S, A]) -> ReportedClaim:
    stem, cycle = list[ReportedStep](), list[ReportedStep]()
    if (lasso := claim.lasso) is not None:
        stem = reported(machine, lasso.stem)
        cycle = reported(machine, (lasso.stem[-1], *lasso.cycle))[1:]
    return ReportedClaim(claim.name, claim.kind, claim.standing, claim.clause, stem, cycle)


def as_text(machine: Machine[S, A], result: LivenessResult[S, A]) -> str:
    """The report for people: verdict and figures, claims, fairness, and a story for each claim that fails."""
    said = verdict_told(result.verdict, result.stopped)
    figures = f"{result.states:,} states, {result.steps:,} steps, {result.seconds:.1f} s"
    head = f"{result.machine}: {said}\n{figures}"
    stories = [_story(machine, claim) for claim in result.claims if claim.standing == "violated"]
    return "\n\n".join([head, "\n".join(_lines(result)), *stories])


def lasso_of(model: str, machine: Machine[S, A], result: LivenessResult[S, A]) -> Trace[S, A] | None:
    """The first run against a claim of a model of that name, as a trace that loops."""
    for claim in result.claims:
        if claim.lasso is not None:
            last = len(claim.lasso.stem) - 1
            about = About(machine=model, params=params_of(machine), property=claim.name, clause=claim.clause)
            path = (*claim.lasso.stem, *claim.lasso.cycle)
            return Trace(about, path, last + 1 if claim.lasso.cycle else last)
    return None


def _lines(result: LivenessResult[S, A]) -> Iterator[str]:
    names = [claim.name for claim in result.claims] + [fair.name for fair in result.fairness]
    width = max(map(len, names), default=0)
    for claim in result.claims:
        yield f"  {claim.kind:<11}  {claim.name:<{width}}  {claim.standing}"
    for fair in result.fairness:
        kind = "strong" if fair.strong else "weak"
        yield f"  {f'{kind} fair':<11}  {fair.name:<{width}}  {fair.classes:,} kinds of action not put off for ever"
    if not result.fairness:
        yield "  no fairness: a run may stop anywhere"


def _story(machine: Machine[S, A], claim: ClaimResult[S, A]) -> str:
    told = [tell_lasso(machine, claim.lasso), ""] if claim.lasso is not None else []
    return "\n".join([*told, f"{claim.name} fails: {claim.clause}"])


def tell_lasso(machine: Machine[S, A], lasso: Lasso[S, A]) -> str:
    """A run that goes on for ever: its stem, then its cycle, or why it stays where it is."""
    last = len(lasso.stem) - 1
    told = [tell_path(machine, lasso.stem)]
    if lasso.cycle:
        whole = (*lasso.stem, *lasso.cycle)
        told += ["and then again and again:"]
        told += [tell_step(machine, whole, index) for index in range(last + 1, len(whole))]
        told += [f"which leads back to where it was after step {last}"]
    elif lasso.can_go_on:
        told += ["and there it stays: more could happen, but no fairness asks for it"]
    else:
        told += ["and there it stays: nothing can happen any more"]
    return "\n".join(told)
