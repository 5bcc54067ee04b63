"""Checkpoints: a search that is cut short goes on later, with the counts and the outcome of an unbroken one.

A search stands still between two states: what came before is done, nothing of what comes next. What it then holds is
written, now and then and whenever a bound or Ctrl-C ends it, to a new file that takes the old one's place, so that
there is a whole checkpoint at any moment. The first Ctrl-C asks the search to stop there; a second one stops it at
once, and the checkpoint is the last that was written.

A checkpoint is a series of pickles. Its head names the machine, its parameters and initial states, the kind of search,
and the source of the classes that the machine is made of; where any of these differs, the checkpoint is refused, since
what was found with another machine means nothing for this one. Pickles can run code when they are read: resume only
what you wrote yourself.
"""

import hashlib
import inspect
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Generic

from msgspec import Struct

from checker.explore import Search, conduct
from checker.machine import A, HasParams, Machine, S
from checker.orders import searching
from checker.outcome import Bounds, How, Order, Progress, Result

FORMAT = 1
SHARE = 20  # a checkpoint is not begun before the search went on for so many times what the last one took


class CheckpointError(Exception):
    """A checkpoint cannot be read, written or gone on with; one line that says why."""


class Head(Struct, frozen=True):
    """What a checkpoint is of."""

    format: int
    machine: str
    params: tuple[tuple[str, int | str | bool], ...]
    order: Order
    fingerprints: bool
    source: str
    """A digest of the source of the machine, of the specification and of Python's version."""


def search(
    machine: Machine[S, A],
    how: How = How(),  # noqa: B008 - immutable
    bounds: Bounds = Bounds(),  # noqa: B008 - immutable
    on_progress: Callable[[Progress], None] | None = None,
    every_seconds: float = 1.0,
) -> Result[S, A]:
    """Search `machine` as `how` says, from a checkpoint on if it says so. Raises ModelError and CheckpointError."""
    begun = searching(machine, how, bounds, on_progress, every_seconds)
    if how.checkpoint is None:
        return conduct(begun)
    head = head_of(machine, how)
    if how.resume:
        restore(begun, head, how.checkpoint)
    keeper = _Keeper(begun, head, how.checkpoint, how.checkpoint_seconds)
    begun.at_pause = keeper.look
    with _asked_to_stop(keeper):
        result = conduct(begun)
    if result.verdict == "incomplete" and begun.is_between_states:
        keeper.save()
    return result


def head_of(machine: Machine[S, A], how: How) -> Head:
    """The head of a checkpoint of this search."""
    params = tuple(sorted(machine.params.items())) if isinstance(machine, HasParams) else ()
    return Head(FORMAT, machine.name, params, how.order, how.fingerprints, source_of(machine))


def source_of(machine: Machine[S, A]) -> str:
    """A digest of everything that the machine's answers depend on, as far as that can be seen."""
    modules = {kind.__module__ for kind in type(machine).__mro__} - {"builtins", "typing", "checker.machine"}
    modules |= {name for name in sys.modules if name == "spec" or name.startswith("spec.")}
    digest = hashlib.blake2b(sys.version.encode(), digest_size=16)
    for name in sorted(modules):
        try:
            digest.update(f"{name}\0{inspect.getsource(sys.modules[name])}\0".encode())
        except (OSError, TypeError, KeyError):
            digest.update(f"{name}\0".encode())  # typed in, or built in
    return digest.hexdigest()


def save(begun: Search[S, A], head: Head, path: Path) -> None:
    """Write a checkpoint in the place of an older one. Raises CheckpointError."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            _dump(head, file)
            for record in begun.records():
                _dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}") from None
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        new.unlink(missing_ok=True)
        raise CheckpointError(f"states of {head.machine} cannot be written: {error}") from None


def _dump(record: object, file: BinaryIO) -> None:
    pickle.dump(record, file, pickle.HIGHEST_PROTOCOL)  # each with a memory of its own, so that it stays small


def restore(begun: Search[S, A], head: Head, path: Path) -> None:
    """Bring a search to where the checkpoint is. Raises CheckpointError."""
    try:
        with path.open("rb") as file:
            records = _records(file)
            found = next(records, None)
            if not isinstance(found, Head) or found.format != FORMAT:
                raise CheckpointError(f"{path} is no checkpoint")
            if found != head:
                raise CheckpointError(f"{path} is a checkpoint of {_difference(found, head)}")
            begun.restore(records)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, ValueError) as error:
        raise CheckpointError(f"{path} is no whole checkpoint: {error}") from None


def _records(file: BinaryIO) -> Iterator[Any]:  # Any: whatever was written
    while file.peek(1):  # type: ignore[attr-defined]  # of a buffered reader, which `open` gives
        yield pickle.load(file)


def _difference(found: Head, head: Head) -> str:
    """In what a checkpoint does not fit."""
    if (found.machine, found.params) != (head.machine, head.params):
        return f"{found.machine} {dict(found.params)}, not of {head.machine} {dict(head.params)}"
    if (found.order, found.fingerprints) != (head.order, head.fingerprints):
        prints = " by fingerprints" if found.fingerprints else ""
        return f"a search in the order {found.order}{prints}: go on in the same way"
    return "the same model, whose source has changed since: begin anew"


class _Keeper(Generic[S, A]):
    """Writes checkpoints while a search goes on."""

    def __init__(self, begun: Search[S, A], head: Head, path: Path, every_seconds: float) -> None:
        self.begun, self.head, self.path, self.every_seconds = begun, head, path, every_seconds
        self.stopping = False
        self.took = 0.0
        self.saved = time.monotonic()

    def look(self) -> str:
        """Between two states: write if it is due, and stop if that was asked for."""
        if self.stopping:
            return "interrupted"
        if time.monotonic() - self.saved >= max(self.every_seconds, SHARE * self.took):
            self.save()
        return ""

    def save(self) -> None:
        """Write a checkpoint."""
        began = time.monotonic()
        save(self.begun, self.head, self.path)
        self.saved = time.monotonic()
        self.took = self.saved - began


@contextmanager
def _asked_to_stop(keeper: _Keeper[S, A]) -> Iterator[None]:
    """While inside, the first Ctrl-C only asks; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        keeper.stopping = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
