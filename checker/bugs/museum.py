"""The exhibits, and what a visitor is shown of each.

`ringspec bugs` lists them, `ringspec bugs NAME` shows one: its page, the change, and the story that the checker finds.
Nothing of the specification is imported here, so that a bug can still be put into it.
"""

from __future__ import annotations

import difflib
import inspect
import json
from pathlib import Path
from types import ModuleType

from msgspec.structs import replace

from checker.bugs import (
    amnesia,
    clock_pruning,
    last_write_wins,
    live_not_acked,
    lost_sibling,
    read_goes_back,
    reused_actor,
    sibling_explosion,
    sloppy_is_strict,
)
from checker.bugs.bug import Bug
from checker.bugs.edits import EditError, carry, difference


class UnknownBug(ValueError):
    """No exhibit has this name; one line."""


def exhibit(room: ModuleType) -> Bug:
    """The bug that a module shows, with its page."""
    bug, page = room.BUG, inspect.getdoc(room)
    assert isinstance(bug, Bug)
    assert page, f"{bug.name} has a page"
    return replace(bug, page=page)


ROOMS = (
    lost_sibling,
    sibling_explosion,
    clock_pruning,
    amnesia,
    reused_actor,
    sloppy_is_strict,
    live_not_acked,
    read_goes_back,
    last_write_wins,
)
BUGS: dict[str, Bug] = {bug.name: bug for bug in map(exhibit, ROOMS)}


def find(name: str) -> Bug:
    """The bug of this name. Raises UnknownBug, naming the nearest."""
    if name in BUGS:
        return BUGS[name]
    near = difflib.get_close_matches(name, BUGS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(BUGS)}"
    raise UnknownBug(f"the museum has no bug {name!r}: {hint}")


def put_back(name: str) -> Bug:
    """Put a bug back into the specification, for this process. Raises UnknownBug, EditError."""
    bug = find(name)
    try:
        carry(bug.name, bug.edits)
    except EditError as error:
        raise EditError(f"the bug {name} cannot be put back: {error}") from None
    return bug


def bug_in(trace: Path) -> str:
    """The bug that a trace was recorded with; empty if with none, or if this is no trace: its reader will say so."""
    try:
        bug = json.loads(trace.read_bytes())["#meta"]["params"]["bug"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError, IndexError):
        return ""
    return bug if isinstance(bug, str) else ""


def directory() -> str:
    """All exhibits, a line each."""
    width = max(map(len, BUGS))
    return "\n".join(f"{name:<{width}}  {bug.title}" for name, bug in BUGS.items())


def plaque(bug: Bug) -> str:
    """The page, the change, and where to see it. Raises EditError."""
    first, *others = bug.noticed_by
    seen = [
        (f"ringspec check --bug {bug.name}", f"{first} fails in the model {bug.model}"),
        *([(f"ringspec prove {bug.refutes} --bug {bug.name}", "refuted")] if bug.refutes else []),
        (f"ringspec check {bug.model}", "without the bug it holds"),
        (f"ringspec replay traces/counterexamples/{bug.name}.itf.json", "the story below"),
    ]
    width = max(len(command) for command, _ in seen)
    told = "\n".join(f"  {command:<{width}}  {what}" for command, what in seen)
    also = f"\n\nIt breaks {' and '.join(others)} as well." if others else ""
    return f"{bug.page}\n\nThe change:\n\n{difference(bug.edits)}\n\nTo see it:\n\n{told}{also}"
