"""What `ringspec check MODEL` does: search a named model and report.

A plain function from a registry of models and some options to an exit code; what it says goes to the two streams it is
given. The registry is a parameter, so that anyone's models can be checked, and nothing here knows the store.

    0 holds · 1 a property is violated · 2 usage · 3 incomplete: a bound or the time was reached · 4 our bug

A model that raises where it should answer is a bug, whosever it is: neither the protocol nor the caller is at fault.
"""

import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeAlias

from checker.checkpoint import CheckpointError, search
from checker.itf import dump
from checker.itf_values import ItfError
from checker.machine import Machine
from checker.outcome import Bounds, How, ModelError, Progress
from checker.reduce import explore_reduced
from checker.report import as_json, as_text, as_trace, model_error_text, progress_json, progress_line
from checker.story import tell_in_one_line

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


def check(
    registry: Registry,
    name: str,
    bounds: Bounds | None = None,
    *,
    how: How = How(),  # noqa: B008 - immutable
    json: bool = False,
    out: Path | None = None,
    progress: bool | None = None,
    one_line: bool = False,
    streams: Streams | None = None,
) -> int:
    """Search the model `name` within `bounds` and report; the answer is the exit code.

    `json` reports as JSON, `one_line` a violation in one line; `out` is where a counterexample is written as ITF;
    `progress` says whether to tell on stderr how far the search is, by default only to a terminal.
    """
    streams = streams or Streams.standard()
    bounds = bounds or Bounds()
    try:
        machine = machine_of(registry, name)
        validate(bounds, out)
        validate_checkpoint(how)
        validate_reduction(how)
    except UsageError as error:
        print(error, file=streams.stderr)
        return USAGE
    watching = streams.stderr.isatty() if progress is None else progress
    meter = _Meter(streams.stderr, json) if watching else None
    try:
        tell = meter.show if meter else None
        result = explore_reduced(machine, bounds, tell) if how.reduce else search(machine, how, bounds, tell)
    except CheckpointError as error:
        print(error, file=streams.stderr)
        return USAGE
    except ModelError as error:
        print(model_error_text(machine, error), file=streams.stderr)
        return OUR_BUG
    finally:
        if meter:
            meter.clear()
    try:
        if json:
            print(as_json(machine, result), file=streams.stdout)
        elif one_line and result.violation is not None:
            print(tell_in_one_line(machine, result.violation), file=streams.stdout)
        else:
            print(as_text(machine, result), file=streams.stdout)
        if out is not None:
            trace = as_trace(name, machine, result)
            if trace is None:
                print(f"{out} was not written: there is no counterexample with a path", file=streams.stderr)
            else:
                out.write_bytes(dump(trace))
    except ItfError as error:
        print(f"{name}: its counterexample cannot be written: {error}", file=streams.stderr)
        return OUR_BUG
    except OSError as error:
        print(f"{out} cannot be written: {error.strerror}", file=streams.stderr)
        return USAGE
    return EXIT_CODES[result.verdict]


def list_models(registry: Registry, streams: Streams | None = None) -> int:
    """Name every model, a line each; the answer is the exit code."""
    streams = streams or Streams.standard()
    width = max(map(len, registry), default=0)
    for name, (about, _) in registry.items():
        print(f"{name:<{width}}  {about}", file=streams.stdout)
    return HOLDS


def machine_of(registry: Registry, name: str) -> AnyMachine:
    """The machine of a named model. Raises UsageError, naming the nearest, if there is no such model."""
    if name in registry:
        return registry[name][1]()
    near = difflib.get_close_matches(name, registry, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(registry)}"
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


class _Meter:
    """The progress line: rewritten in place on a terminal, line after line elsewhere."""

    def __init__(self, stream: TextIO, json: bool) -> None:
        self.stream = stream
        self.in_place = stream.isatty()
        self.told = progress_json if json else progress_line

    def show(self, progress: Progress) -> None:
        line = self.told(progress)
        self.stream.write(f"\r\x1b[K{line}" if self.in_place else f"{line}\n")
        self.stream.flush()

    def clear(self) -> None:
        if self.in_place:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
