"""A path told as a story: who did what, what changed, and which clause failed in the end.

What changed is found by comparing two values of whatever type: into Structs field by field, into maps by key, into sets
by element, into sequences by place; what is equal is not looked into, and what cannot be compared further is told as
`old → new`. A machine that has better words for its actions or changes says so (see `checker.machine`); the comparison
serves all others.

A value is shown as its type prints it, if its type defines `__str__`; else Structs as `Name(field=value)`, leaving out
fields at their defaults. Nothing is shown in the order of a hash.
"""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set

from msgspec import NODEFAULT, Struct

from checker.machine import A, DescribesActions, DescribesChanges, Machine, S
from checker.outcome import Step, Violation
from spec.maps import Counts, FMap, FSet, SetMap

WIDTH = 100
NUMBER_WIDTH = 4
Entries = (FMap, Counts, SetMap)


def show(value: object) -> str:
    """A value in one line."""
    if type(value).__str__ not in (object.__str__, Struct.__str__) and isinstance(value, Struct):
        return str(value)
    if isinstance(value, bytes):
        return repr(value)[1:]
    if isinstance(value, (FSet, Set)):
        return "{" + ", ".join(_shown(value)) + "}"
    if isinstance(value, (*Entries, Mapping)):
        return "{" + ", ".join(f"{show(key)}: {show(item)}" for key, item in _entries(value)) + "}"
    if isinstance(value, Struct):
        fields = zip(value.__struct_fields__, _defaults(value), strict=True)
        told = [f"{name}={show(item)}" for name, default in fields if (item := getattr(value, name)) != default]
        return f"{type(value).__name__}({', '.join(told)})" if told else type(value).__name__
    if isinstance(value, tuple):
        return "(" + ", ".join(map(show, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    return str(value)


def changes(before: object, after: object, place: str = "") -> Iterator[str]:
    """What differs, a line each: `place: old → new`, `place + new` for what came, `place - old` for what went."""
    if before == after:
        return
    if isinstance(before, (*Entries, Mapping)) and type(before) is type(after):
        yield from _changes_of_map(dict(_entries(before)), dict(_entries(after)), place)
    elif isinstance(before, (FSet, Set)) and type(before) is type(after):
        went, came = Counter(_shown(before)), Counter(_shown(after))
        yield from _came_and_went((went - came).elements(), (came - went).elements(), place)
    elif isinstance(before, Struct) and type(before) is type(after) and before.__struct_fields__:
        for name in before.__struct_fields__:
            inner = f"{place}.{name}" if place else name
            yield from changes(getattr(before, name), getattr(after, name), inner)
    elif isinstance(before, (tuple, list)) and isinstance(after, (tuple, list)):
        yield from _changes_of_sequence(before, after, place)
    else:
        yield f"{place}{': ' if place else ''}{show(before)} → {show(after)}"


def action_told(machine: Machine[S, A], action: A | None) -> str:
    """An action in the machine's words, or as it is."""
    if action is None:
        return "at the start"
    return machine.describe_action(action) if isinstance(machine, DescribesActions) else show(action)


def changes_told(machine: Machine[S, A], before: S, after: S) -> list[str]:
    """What a step changed, in the machine's words, or as it is."""
    if isinstance(machine, DescribesChanges):
        return machine.describe_changes(before, after)
    return list(changes(before, after))


def tell_step(machine: Machine[S, A], path: tuple[Step[S, A], ...], index: int) -> str:
    """One step of a path: its number, its action, and a line for each change."""
    step = path[index]
    lines = _wrapped(action_told(machine, step.action), f"{index:>{NUMBER_WIDTH}}  ", " " * (NUMBER_WIDTH + 4))
    if index == 0:
        told = [show(step.state)] if not isinstance(machine, DescribesChanges) else []
    else:
        told = changes_told(machine, path[index - 1].state, step.state) or ["nothing changes"]
    for line in told:
        lines += _wrapped(line, " " * (NUMBER_WIDTH + 4), " " * (NUMBER_WIDTH + 8))
    return "\n".join(lines)


def tell_path(machine: Machine[S, A], path: tuple[Step[S, A], ...]) -> str:
    """All steps of a path."""
    return "\n".join(tell_step(machine, path, index) for index in range(len(path)))


def tell_violation(machine: Machine[S, A], violation: Violation[S, A]) -> str:
    """The whole story: how it came about, and which clause of what failed."""
    failed = _wrapped(f"{violation.property} fails: {violation.clause}", "", "  ")
    story = [tell_path(machine, violation.path), ""] if violation.path else []
    return "\n".join([*story, *failed])


def tell_in_one_line(machine: Machine[S, A], violation: Violation[S, A]) -> str:
    """The property, the clause and the actions, without what they changed."""
    actions = [action_told(machine, step.action) for step in violation.path[1:]]
    after = f" after {len(actions)} steps: {'; '.join(actions)}" if actions else ""
    return f"{violation.property}: {violation.clause}{after}"


def _defaults(value: Struct) -> list[object]:
    """The default of each field; where there is none or it is made anew each time, something equal to nothing."""
    given = value.__struct_defaults__
    without = len(value.__struct_fields__) - len(given)
    return [NODEFAULT] * without + list(given)


def _shown(elements: Iterable[object]) -> list[str]:
    """A set's elements, in its own order if it has one, else as text."""
    shown = [show(element) for element in elements]
    return shown if isinstance(elements, FSet) else sorted(shown)


def _entries(value: object) -> Iterable[tuple[object, object]]:
    """A map's entries, in its own order; a dict has one too, that of insertion, but equal dicts may differ in it."""
    if isinstance(value, Entries):
        return value.entries
    assert isinstance(value, Mapping), value
    return sorted(value.items(), key=lambda entry: show(entry[0]))


def _came_and_went(went: Iterable[str], came: Iterable[str], place: str) -> Iterator[str]:
    prefix = f"{place} " if place else ""
    yield from (f"{prefix}- {element}" for element in went)
    yield from (f"{prefix}+ {element}" for element in came)


def _changes_of_map(before: dict[object, object], after: dict[object, object], place: str) -> Iterator[str]:
    for key, old in before.items():
        if key in after:
            yield from changes(old, after[key], f"{place}[{show(key)}]")
        else:
            yield from _came_and_went([f"{show(key)}: {show(old)}"], [], place)
    for key, new in after.items():
        if key not in before:
            yield from _came_and_went([], [f"{show(key)}: {show(new)}"], place)


def _changes_of_sequence(
    before: tuple[object, ...] | list[object], after: tuple[object, ...] | list[object], place: str
) -> Iterator[str]:
    """By place if the lengths agree; else what lies between the longest equal head and the longest equal tail."""
    if len(before) == len(after):
        for i, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from changes(old, new, f"{place}[{i}]")
        return
    shorter = min(len(before), len(after))
    head = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    rest = shorter - head
    tail = next((i for i in range(rest) if before[-1 - i] != after[-1 - i]), rest)
    went, came = before[head : len(before) - tail], after[head : len(after) - tail]
    yield from _came_and_went(map(show, went), map(show, came), place)


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=True, break_on_hyphens=False
    ) or [first.rstrip()]
