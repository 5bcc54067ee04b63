"""What `ringspec check MODEL` does: search a named model and report.

A plain function from a registry of models and some options to an exit code; what it says goes to the two streams it is
given. The registry is a parameter, so that anyone's models can be checked, and nothing here knows the store.

    0 holds · 1 a property is violated · 2 usage · 3 incomplete: a bound or the time was reached · 4 our bug

A model that raises where it should answer is a bug, whosever it is: neither the protocol nor the caller is at fault.
"""

import difflib
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TextIO, TypeAlias, TypeVar

from msgspec import Struct

from checker.branches import BranchReport, Watch, sources_of
from checker.checkpoint import CheckpointError, search
from checker.itf import Trace, dump
from checker.itf_values import ItfError
from checker.load import LoadError, load_machine
from checker.machine import A, ClaimsLiveness, Machine, S
from checker.mermaid import SUFFIX as MERMAID
from checker.mermaid import as_mermaid
from checker.outcome import Bounds, How, ModelError, Result, Verdict
from checker.reduce import explore_reduced
from checker.report import as_json, as_text, as_trace, model_error_text, progress_json, progress_line
from checker.story import tell_in_one_line
from spec.text import printable

P = TypeVar("P")
HOLDS, VIOLATED, USAGE, INCOMPLETE, OUR_BUG = range(5)
EXIT_CODES = {"holds": HOLDS, "violated": VIOLATED, "incomplete": INCOMPLETE}

# Any: each model has its own types of state and action, and a mapping has no way to say so.
AnyMachine: TypeAlias = Machine[Any, Any]
Registry: TypeAlias = Mapping[str, tuple[str, Callable[[], AnyMachine]]]
"""Name → a line about the model, and what makes its machine."""


class UsageError(ValueError):
    """The caller asked for what there is not; one line that says what would be right."""


class Streams(NamedTuple):
    """Where to read answers from and write to; taken when asked for, so that redirection works."""

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO

    @classmethod
    def standard(cls) -> "Streams":
        """The process's own."""
        return cls(sys.stdin, sys.stdout, sys.stderr)

    def complain(self, line: object) -> None:
        """Say in a line why it cannot be done; it may quote a file."""
        print(printable(str(line)), file=self.stderr)


def check(
    registry: Registry,
    name: str,
    bounds: Bounds | None = None,
    *,
    how: How = How(),  # noqa: B008 - immutable
    json: bool = False,
    out: Path | None = None,
    graph: Path | None = None,
    progress: bool | None = None,
    one_line: bool = False,
    coverage: bool = False,
    streams: Streams | None = None,
) -> int:
    """Search the model `name` within `bounds` and report; the answer is the exit code.

    `coverage` also reports which branches were never taken, at several times the cost.
    `json` reports as JSON, `one_line` a violation in one line; `out` is where a counterexample is written, as ITF
    or, if the file is called so, Mermaid; `graph` where the graph of the states within the bounds is;
    `progress` says whether to tell on stderr how far the search is, by default only to a terminal.
    """
    streams = streams or Streams.standard()
    bounds = bounds or Bounds()
    try:
        machine = machine_of(registry, name)
        validate(bounds, out)
        validate_checkpoint(how)
        validate(bounds, graph)
        validate_reduction(how)
    except UsageError as error:
        streams.complain(error)
        return USAGE
    watching = streams.stderr.isatty() if progress is None else progress
    meter = Meter(streams.stderr, progress_json if json else progress_line) if watching else None
    watch = Watch(sources_of(machine)) if coverage else None
    try:
        tell = meter.show if meter else None
        with watch.watching() if watch else nullcontext():
            result = explore_reduced(machine, bounds, tell) if how.reduce else search(machine, how, bounds, tell)
        runs = judged_runs(machine, bounds, result)
    except CheckpointError as error:
        streams.complain(error)
        return USAGE
    except ModelError as error:
        print(model_error_text(machine, error), file=streams.stderr)
        return OUR_BUG
    finally:
        if meter:
            meter.clear()
    branches = watch.report() if watch else None
    print(told(machine, result, runs, branches, json=json, one_line=one_line), file=streams.stdout)
    status = EXIT_CODES[result.verdict if runs is None or result.verdict == "violated" else runs.verdict]
    if out is not None:
        with Writing(out, f"{name}: its counterexample", streams) as writing:
            trace = as_trace(name, machine, result) or (runs and runs.trace(name))
            if not trace:
                print(f"{out} was not written: there is no counterexample with a path", file=streams.stderr)
            else:
                out.write_bytes(as_mermaid(machine, trace).encode() if out.suffix == MERMAID else dump(trace))
        status = writing.failed or status
    if graph is not None:
        from checker.graph import graph_of, write_graph  # networkx takes its time

        try:
            with Writing(graph, f"{name}: its graph", streams) as writing:
                write_graph(graph_of(machine, bounds), graph)
            status = writing.failed or status
        except ModelError as error:
            print(model_error_text(machine, error), file=streams.stderr)
            return OUR_BUG
    return status


class Writing:
    """A file is written inside that was asked for. If it cannot be, a line says so, and `failed` is the exit code."""

    def __init__(self, file: Path, what: str, streams: Streams) -> None:
        """`what` is to be in the file."""
        self.failed: int | None = None
        self._file, self._what, self._stderr = file, what, streams.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if isinstance(error, ItfError):
            self.failed = OUR_BUG
            print(f"{self._what} cannot be written: {error}", file=self._stderr)
        elif isinstance(error, OSError):
            self.failed = USAGE
            print(f"{self._file} cannot be written: {error.strerror}", file=self._stderr)
        return self.failed is not None


class Runs(NamedTuple):
    """What was found of whole runs."""

    verdict: Verdict
    text: str
    one_line: str
    report: Struct
    trace: Callable[[str], Trace[Any, Any] | None]  # Any: of the machine's types
    """The first lasso, given the name of the model."""


def judged_runs(machine: Machine[S, A], bounds: Bounds, result: Result[S, A]) -> Runs | None:
    """Judge whole runs, if the machine claims something of them and its states were found to be right."""
    if not isinstance(machine, ClaimsLiveness) or result.verdict == "violated" or result.stopped == "interrupted":
        return None
    from checker import liveness_report as report  # networkx takes its time
    from checker.liveness import check_liveness

    found = check_liveness(machine, bounds)
    failed = [f"{claim.name}: {claim.clause}" for claim in found.claims if claim.standing == "violated"]
    return Runs(
        # A search of states may have been cut short where that of runs was not.
        found.verdict if found.verdict == "violated" or result.verdict == "holds" else result.verdict,
        report.as_text(machine, found),
        "; ".join(failed),
        report.report_of(machine, found),
        lambda name: report.lasso_of(name, machine, found),
    )


def told(
    machine: Machine[S, A],
    result: Result[S, A],
    runs: Runs | None,
    branches: BranchReport | None,
    *,
    json: bool,
    one_line: bool,
) -> str:
    """What to print."""
    if json:
        return as_json(machine, result, branches, runs.report if runs else None)
    if one_line and result.violation is not None:
        return tell_in_one_line(machine, result.violation)
    if one_line and runs is not None and runs.one_line:
        return runs.one_line
    text = as_text(machine, result, branches)
    return f"{text}\n\nof whole runs, {runs.text}" if runs else text


def list_models(registry: Registry, streams: Streams | None = None) -> int:
    """Name every model, a line each; the answer is the exit code."""
    streams = streams or Streams.standard()
    width = max(map(len, registry), default=0)
    for name, (about, _) in registry.items():
        print(f"{name:<{width}}  {about}", file=streams.stdout)
    return HOLDS


def machine_of(registry: Registry, name: str) -> AnyMachine:
    """The machine of a named model, or FILE.py:NAME. Raises UsageError, naming the nearest, if there is none."""
    if name in registry:
        return registry[name][1]()
    if ":" in name:
        try:
            machine: AnyMachine = load_machine(name)
        except LoadError as error:
            raise UsageError(str(error)) from None
        return machine
    near = difflib.get_close_matches(name, registry, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(registry)}, and FILE.py:NAME"
    raise UsageError(f"there is no model {name!r}: {hint}")


def validate(bounds: Bounds, out: Path | None) -> None:
    """Refuse what cannot be done before a long search begins (UsageError)."""
    if bounds.states is not None and bounds.states < 1:
        raise UsageError(f"a search of at most {bounds.states} states finds nothing: give at least 1")
    if bounds.depth is not None and bounds.depth < 0:
        raise UsageError(f"a depth of {bounds.depth} is below the initial states: give at least 0")
    if bounds.seconds is not None and not bounds.seconds > 0:
        raise UsageError(f"{bounds.seconds:g} seconds are no time: give more than 0")
    if bounds.memory is not None and bounds.memory < 1:
        raise UsageError("no memory holds no state: give more than 0 MiB")
    if out is not None and not out.absolute().parent.is_dir():
        raise UsageError(f"{out} cannot be written: there is no folder {out.parent}")
    if out is not None and out.is_dir():
        raise UsageError(f"{out} cannot be written: it is a folder")


def validate_checkpoint(how: How) -> None:
    """Refuse to lose a checkpoint, or to go on without one (UsageError)."""
    file = how.checkpoint
    if file is None and how.resume:
        raise UsageError("resume from where? name the --checkpoint")
    if file is None:
        return
    if not how.checkpoint_seconds > 0:
        raise UsageError(f"a checkpoint every {how.checkpoint_seconds:g} seconds leaves no time: give more than 0")
    if how.resume and not file.is_file():
        raise UsageError(f"there is no checkpoint {file} to resume from")
    if not how.resume and file.exists():
        raise UsageError(f"{file} is there already: --resume from it, or remove it")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"{file} cannot be written: there is no folder {file.parent}")


def validate_reduction(how: How) -> None:
    """Refuse what a reduced search cannot do (UsageError)."""
    if how.reduce and (how.order != "breadth" or how.fingerprints or how.checkpoint is not None):
        raise UsageError(
            "a reduced search is breadth first and in memory: leave out what asks for another, or --reduce"
        )


class Meter(Generic[P]):
    """The progress line: rewritten in place on a terminal, line after line elsewhere."""

    def __init__(self, stream: TextIO, told: Callable[[P], str]) -> None:
        """`told` puts how far it is in one line."""
        self._stream, self._told = stream, told
        self._in_place = stream.isatty()

    def show(self, progress: P) -> None:
        """Say how far it is."""
        line = self._told(progress)
        self._stream.write(f"\r\x1b[K{line}" if self._in_place else f"{line}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Leave nothing of it on a terminal."""
        if self._in_place:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
