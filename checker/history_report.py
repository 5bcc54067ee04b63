"""What `ringspec history RUN` does: judge what clients were told, without looking into any node.

RUN is a directory with the logs of clients, or a trace of a model of the cluster. The store's own promises have to
hold; being one linearizable register is none of them, and is asked for by name. What fails is shown with the calls
that show it, on one axis of time.

    0 kept, and linearizable if that was asked · 1 not · 2 usage · 4 our bug
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from checker.check import HOLDS, USAGE, VIOLATED, Registry, Streams, UsageError
from checker.cluster_machine import ClusterMachine
from checker.history import Call, by_key, configuration, history_of, read_history
from checker.itf import parse
from checker.itf_values import ItfError
from checker.linearizable import smallest_window
from checker.logs import Invalid, NoLogs
from checker.promises import SEEN_BY_CLIENTS, UNKNOWN, Broken, judge
from checker.replay import machine_for, read
from checker.report import indented
from checker.story import show
from spec.actions import Action
from spec.messages import Found, Put, Stored
from spec.properties import CLAIMS, is_promised
from spec.quorum import AS_CONFIGURED_GET, AS_CONFIGURED_PUT
from spec.text import paragraph
from spec.types import Config
from spec.world import State

LINEARIZABLE = "linearizable"
AXIS = 40


class ReportedCall(Struct, frozen=True):
    """A call of a window; times are nanoseconds of a run, or twice the number of a step."""

    request: str
    node: str
    asked: str
    told: str
    began: int
    ended: int | None
    place: str


class Failure(Struct, frozen=True):
    """A claim that fails of a key, and the calls that show it."""

    claim: str
    key: str
    clause: str
    calls: list[ReportedCall]


class HistoryReport(Struct, frozen=True):
    """The outcome; `judged` says how often each claim was evaluated."""

    verdict: str
    calls: int
    keys: int
    indefinite: int
    judged: dict[str, int]
    not_promised: list[str]
    failures: list[Failure]


def history(
    registry: Registry, run: Path, *, linearizable: bool = False, json: bool = False, streams: Streams | None = None
) -> int:
    """Judge the history of a run and report; the answer is the exit code."""
    streams = streams or Streams.standard()
    try:
        calls, config = of_trace(registry, run) if run.is_file() else (read_history(run), configuration(run) or UNKNOWN)
    except (NoLogs, UsageError, ItfError) as error:
        streams.complain(f"{run}: {error}")
        return USAGE
    except OSError as error:
        streams.complain(f"{run}: {error.strerror}")
        return USAGE
    except Invalid as invalid:
        streams.complain(f"{run}: {invalid.problem.places[0]}: {invalid.problem.said}")
        return USAGE
    report = examine(calls, linearizable, config)
    print(indented(report) if json else told(str(run), report), file=streams.stdout)
    return VIOLATED if report.failures else HOLDS


def of_trace(registry: Registry, file: Path) -> tuple[list[Call], Config]:
    """The calls of a trace of a model of the cluster, and its configuration. Raises UsageError or ItfError."""
    scanned = read(file)
    machine = machine_for(registry, scanned)
    if not isinstance(machine, ClusterMachine):
        raise UsageError(f"{scanned.about.machine} is no model of the store: it has no clients")
    return history_of(parse(file.read_bytes(), State, Action).path), machine.scenario.config


def promised(config: Config, *, wishes: bool) -> list[str]:
    """The promises to clients that a store so configured makes, if some requests have wishes or none."""
    claims = [claim for claim in CLAIMS if claim.name in SEEN_BY_CLIENTS]
    return [claim.name for claim in claims if is_promised(claim, config, wishes=wishes)]


def examine(calls: Sequence[Call], linearizable: bool, config: Config = UNKNOWN) -> HistoryReport:
    """Judge every key for itself."""
    judged, failures, keys = Counter[str](), list[Failure](), by_key(calls)
    wishes = any(call.operation.wishes not in (AS_CONFIGURED_GET, AS_CONFIGURED_PUT) for call in calls)
    claims = promised(config, wishes=wishes)
    for key, ours in keys.items():
        verdict = judge(ours, claims, config)
        judged.update(verdict.judged)
        failures += [Failure(b.claim, show(key), b.clause, _reported(witnesses(ours, b))) for b in verdict.broken]
        if linearizable:
            judged[LINEARIZABLE] += 1
            window = smallest_window(ours)
            if window is not None:
                clause = "no order of these calls explains what the gets gave; none of the calls can be left out"
                failures.append(Failure(LINEARIZABLE, show(key), clause, _reported(window)))
    return HistoryReport(
        verdict="violated" if failures else "holds",
        calls=len(calls),
        keys=len(keys),
        indefinite=sum(call.ended is None for call in calls),
        judged={name: judged[name] for name in (*claims, *([LINEARIZABLE] if linearizable else []))},
        not_promised=[name for name in SEEN_BY_CLIENTS if name not in claims],
        failures=failures,
    )


def witnesses(calls: Sequence[Call], broken: Broken) -> list[Call]:
    """The call that breaks a promise, and those whose writes its clause names."""
    named = [c for c in calls if isinstance(c.result, Stored) and str(c.result.dot) in broken.clause]
    return [*(call for call in named if call is not broken.call), broken.call]


def _reported(calls: Sequence[Call]) -> list[ReportedCall]:
    return [
        ReportedCall(show(c.request), c.node, asked(c), answered(c), c.began, c.ended, c.place)
        for c in sorted(calls, key=lambda call: call.began)
    ]


def asked(call: Call) -> str:
    """What a client asked, in short."""
    return f"put {cut(show(call.operation.value))}" if isinstance(call.operation, Put) else "get"


def answered(call: Call) -> str:
    """What it was told, in short."""
    match call.result:
        case Found(siblings):
            return cut(", ".join(show(version.value) for version in siblings)) or "nothing"
        case Stored(dot):
            return f"stored as {dot}"
        case _:
            return "may have happened"


def cut(text: str, most: int = 40) -> str:
    """Text that fits in a line."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def told(run: str, report: HistoryReport) -> str:
    """The report for people."""
    unsure = f", {report.indefinite:,} of them puts of unknown outcome" if report.indefinite else ""
    keys = f"{report.keys:,} key{'' if report.keys == 1 else 's'}"
    failed = {failure.claim for failure in report.failures}
    lines = [
        f"{run}: {'VIOLATED' if failed else 'clients saw what they were promised'}",
        f"{report.calls:,} calls of {keys}{unsure}",
        "",
    ]
    width = max(map(len, [*report.judged, *report.not_promised]))
    for name, times in report.judged.items():
        what = "keys" if name == LINEARIZABLE else "answers"
        lines.append(f"  {name:<{width}}  {'FAILS' if name in failed else 'holds':<6} {times:>9,} {what}")
    lines += [f"  {name:<{width}}  not promised by this configuration" for name in report.not_promised]
    for failure in report.failures:
        lines += ["", f"{failure.claim} fails of key {failure.key}: {failure.clause}", *axis(failure.calls)]
    return paragraph(lines)


def axis(calls: Sequence[ReportedCall]) -> list[str]:
    """The calls, a line each, with a bar from beginning to end, in the order of these moments and not to scale."""
    moments = sorted({call.began for call in calls} | {call.ended for call in calls if call.ended is not None})
    place = {moment: 1 + index * (AXIS - 2) // max(len(moments) - 1, 1) for index, moment in enumerate(moments)}
    width = max(len(call.request) for call in calls)
    lines = []
    for call in calls:
        first, last = place[call.began], AXIS if call.ended is None else place[call.ended]
        bar = " " * first + "|" + "-" * max(last - first - 1, 0) + (">" if call.ended is None else "|")
        lines.append(f"  {call.request:<{width}} {bar:<{AXIS + 2}} {call.asked}: {call.told}   [{call.place}]")
    return lines
