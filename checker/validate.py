"""Whether the logs of a real run are those of a run of the specification: `ringspec validate`.

Validation reads every log strictly (`checker.logs`), checks that what was received was sent and that what clients say
fits what nodes say (`checker.happened`), decides every step again with the specification (`checker.rerun`), puts all
lines into orders that respect what happened before what, and judges the properties along each (`checker.judge`). Along
the first of them it also checks that every step is one of the abstract protocol (`checker.refine_run`).

It ends at the first problem, and says where: the line that does not fit, those that it does not fit to, what was
expected and what was observed.
"""

from __future__ import annotations

import gc
import sys
import textwrap
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from checker.happened import Causes, linear_extension, match_clients, match_messages
from checker.judge import Judge
from checker.logs import Invalid, Logs, NoLogs, Problem, read_logs
from checker.refine_run import RunRefinement
from checker.rerun import rerun
from checker.story import WIDTH
from spec.events import Invoke
from spec.properties import CLAIMS
from spec.protocol import ACTIONS
from spec.text import paragraph, printable
from spec.trace import Invoked

VALID, INVALID, USAGE, OUR_BUG = 0, 1, 2, 4
ORDERS = 2
SCATTERED = "  recordings began at different moments: some properties are judged in the end, some not"


class Judged(Struct, frozen=True):
    """What became of one property."""

    name: str
    times: int
    """How often it was evaluated, in all orders."""
    at_stake: bool
    """Whether its *sometimes* was met."""


class Refined(Struct, frozen=True):
    """How the steps refine the abstract protocol."""

    steps: int
    """How many are sequences of its actions, key by key."""
    not_judged: int
    """How many name a put of which nobody recorded which version it made."""
    actions: dict[str, int]
    """How often each action of the protocol was witnessed; 0 for those that never were."""


class Report(Struct, frozen=True, kw_only=True):
    """The outcome of a validation."""

    verdict: str
    """valid or invalid."""
    problem: Problem | None = None
    nodes: int = 0
    clients: int = 0
    steps: int = 0
    messages: int = 0
    """Received."""
    repeated: int = 0
    """Received more often than once."""
    unmatched: int = 0
    """Received, but sent before the sender's recording began."""
    requests: int = 0
    """Asked of a node."""
    strangers: int = 0
    """Of these, by clients without a log: their place in real time is not known."""
    restarts: int = 0
    lost: tuple[str, ...] = ()
    """The nodes that lost a disk, and with it their log, or the last part of it."""
    scattered: bool = False
    """Whether recordings began at different moments, and something that was recorded depends on what was not."""
    orders: int = 0
    """In how many orders the run was judged."""
    refined: Refined | None = None
    """None if that was not to be checked."""
    properties: tuple[Judged, ...] = ()
    seconds: float = 0.0


def examine(directory: Path, *, live: bool = False, orders: int = ORDERS, seed: int = 0, refine: bool = True) -> Report:
    """Validate the logs of a directory: in one order, and in `orders` random ones drawn from `seed`.

    `refine` is whether to check that every step is one of the abstract protocol. Raises NoLogs.
    """
    began = time.monotonic()
    collecting = gc.isenabled()
    gc.disable()  # nothing is let go of before the end; looking for garbage would only take time
    try:
        logs = read_logs(directory, live=live)
        report = check(logs, orders, seed, refine=refine)
    except Invalid as invalid:
        report = Report(verdict="invalid", problem=invalid.problem)
    finally:
        if collecting:
            gc.enable()
    return msgspec.structs.replace(report, seconds=round(time.monotonic() - began, 3))


def check(logs: Logs, orders: int, seed: int, *, refine: bool) -> Report:
    """Validate logs that have been read. Raises Invalid."""
    causes: Causes = {}
    traffic = match_messages(logs, causes)
    reruns = tuple(rerun(node, logs.ring) for node in logs.nodes)
    callers = match_clients(logs, causes)
    scattered = traffic.unmatched + callers.unmatched > 0
    times: Counter[str] = Counter()
    met: set[str] = set()
    refined: Refined | None = None
    for number in range(1 + orders):
        judge = Judge(logs, reruns, another=number > 0, parts=logs.lost or scattered, refine=refine and number == 0)
        for at in linear_extension(logs, causes, seed + number if number else None):
            judge.take(at)
        judge.end()
        times += judge.judged
        met |= judge.met
        refined = refined if judge.refinement is None else summed(judge.refinement)
    steps = [step for node in logs.nodes for step in node.steps]
    called = {e.request for client in logs.clients for e in client.entries if isinstance(e, Invoked)}
    called |= {step.event.request for step in steps if isinstance(step.event, Invoke)}
    return Report(
        verdict="valid",
        nodes=len(logs.nodes),
        clients=len(logs.clients),
        steps=len(steps),
        messages=traffic.delivered,
        repeated=traffic.repeated,
        unmatched=traffic.unmatched,
        requests=len(called),
        strangers=callers.strangers,
        scattered=scattered and not logs.lost,
        restarts=sum(len(node.first_of_epoch) - 1 for node in logs.nodes),
        lost=tuple(node.name for node in logs.nodes if node.lost),
        orders=1 + orders,
        refined=refined,
        properties=tuple(Judged(claim.name, times[claim.name], claim.name in met) for claim in CLAIMS),
    )


def validate(
    directory: Path,
    *,
    json: bool = False,
    live: bool = False,
    orders: int = ORDERS,
    seed: int = 0,
    refine: bool = True,
    say: Callable[[str], None] = print,
) -> int:
    """Validate a directory of logs and say what came of it: the exit status of `ringspec validate`.

    0 if it is a run of the specification, 1 if it is not, 2 if there is nothing to validate, 4 if ringspec is wrong.
    """
    try:
        report = examine(directory, live=live, orders=orders, seed=seed, refine=refine)
    except NoLogs as nothing:
        print(printable(f"ringspec validate: {nothing}"), file=sys.stderr)
        return USAGE
    except OSError as error:
        print(printable(f"ringspec validate: {directory}: {error.strerror}"), file=sys.stderr)
        return USAGE
    except Exception:  # whatever else comes up is our own mistake, and worth a traceback
        traceback.print_exc()
        say("ringspec validate: this is a bug of ringspec, not of the run")
        return OUR_BUG
    if json:
        say(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        say(told(directory, report))
    return VALID if report.problem is None else INVALID


def told(directory: Path, report: Report) -> str:
    """A report as text."""
    problem = report.problem
    if problem is not None:
        where = [f"  {problem.places[0]}", *(f"  see also {place}" for place in problem.places[1:])]
        lines = [f"{directory} is not a run of the specification: {problem.rule}", *where, f"  {problem.said}"]
        return paragraph([*lines, *(f"    {line}" for line in problem.detail)])
    crashes = f", {count(report.restarts, 'restart')}" if report.restarts else ""
    seen = f"{count(report.messages, 'message')} received"
    seen += f", {report.repeated:,} of them again" if report.repeated else ""
    seen += f", {report.unmatched:,} from before the recording" if report.unmatched else ""
    asked = f"{count(report.requests, 'request')} of {count(report.clients, 'client')}"
    asked += f", {report.strangers:,} of clients without a log" if report.strangers else ""
    lines = [
        f"{directory} is a run of the specification",
        f"  {count(report.nodes, 'node')}, {count(report.steps, 'step')}{crashes}; {seen}; {asked}",
        *([f"  lost with a disk: what {', '.join(report.lost)} recorded on it"] if report.lost else []),
        *([SCATTERED] if report.scattered else []),
        *refined_told(report.refined),
        f"  properties judged along {count(report.orders, 'order')} that respect happened-before:",
    ]
    width = max(len(judged.name) for judged in report.properties)
    for judged in report.properties:
        note = "" if judged.at_stake else "   nothing was at stake"
        note = note if judged.times else "   not promised by this configuration, or nothing to judge"
        lines.append(f"    {judged.name:<{width}}  {judged.times:>9,} times{note}")
    return paragraph([*lines, f"  {report.seconds:.1f} s"])


def summed(refinement: RunRefinement) -> Refined:
    """What a refinement has seen, in the order of the protocol's actions."""
    actions = {action.__name__: refinement.seen[action.__name__] for action in ACTIONS}
    return Refined(refinement.steps, refinement.not_judged, actions)


def refined_told(refined: Refined | None) -> list[str]:
    """What is said of it."""
    if refined is None:
        return ["  not checked: whether every step is one of the abstract protocol"]
    met = ", ".join(f"{action} {times:,}" for action, times in refined.actions.items() if times)
    never = ", ".join(action for action, times in refined.actions.items() if not times)
    lines = [f"  {count(refined.steps, 'step')} checked to be sequences of the abstract protocol's actions:"]
    lines += wrapped(met)
    if never:
        lines += wrapped(f"never: {never}")
    if refined.not_judged:
        told = "not judged, for they name puts that nobody recorded, or whose log was lost"
        lines.append(f"    {count(refined.not_judged, 'step')} {told}")
    return lines


def wrapped(text: str) -> list[str]:
    """Text as lines of bearable width."""
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="      ")


def count(number: int, what: str) -> str:
    """So many of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
