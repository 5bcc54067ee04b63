"""Mistakes that a machine can make without knowing, looked for before a search begins, each named in one line.

A search takes equal states for the same state, and expects the same answer to the same question. What breaks this may
not be noticed later, or only by odd counts. So the first few states are looked at closely:

    a state is, or holds, something that can change (a list, a dict, a Struct that is not frozen), or is compared by
    which object it is and not by what it holds;
    asking for its transitions changes a state;
    the same state, asked twice, gives different transitions;
    an action is None, which stands for the beginning.

Where the machine raises, nothing is said here: the search tells that with the way there.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
from enum import Enum

from msgspec import Struct

from checker.machine import A, Machine, S
from checker.outcome import ModelError, Step
from checker.story import show

MOST_STATES = 24
ATOMS = (type(None), bool, int, float, complex, str, bytes, Enum, type)
INSTEAD = {"list": "a tuple", "dict": "spec.maps.FMap or a tuple of pairs", "set": "a frozenset", "bytearray": "bytes"}


def look_closely(machine: Machine[S, A]) -> None:
    """Look at the first few states of a machine. Raises ModelError where something is wrong with them."""
    try:
        initial = list(machine.initial())
    except Exception:
        return
    queue: deque[tuple[tuple[Step[S, A], ...], S]] = deque()
    parts: dict[int, object] = {}
    for state in initial:
        path: tuple[Step[S, A], ...] = (Step(None, state),)
        _refuse_changeable(state, "an initial state", path, parts)
        queue.append((path, state))
    try:
        seen = set(initial)
    except TypeError:  # of a kind of value that is not known here
        return
    while queue and len(seen) < MOST_STATES:
        path, state = queue.popleft()
        for action, after in _asked_twice(machine, state, path):
            there = (*path, Step(action, after))
            if action is None:
                raise ModelError("a step from the last state", "its action is None, which means the beginning", path)
            _refuse_changeable(after, "the last state", there, parts)
            if after not in seen:
                seen.add(after)
                queue.append((there, after))


def _asked_twice(machine: Machine[S, A], state: S, path: tuple[Step[S, A], ...]) -> list[tuple[A, S]]:
    """The transitions of a state; none where the machine raises."""
    try:
        number, told = hash(state), show(state)
        first, second = list(machine.transitions(state)), list(machine.transitions(state))
    except Exception:
        return []
    if hash(state) != number or show(state) != told:
        raise ModelError("a step from the last state", f"it changed that state, which was {told}", path)
    for one, other in zip(first, second, strict=False):
        if one != other:
            raise ModelError(
                "a step from the last state",
                f"it is not deterministic: asked twice, it gives {_told(one)} and {_told(other)}",
                path,
            )
    if len(first) != len(second):
        said = f"asked twice, it gives {len(first)} transitions and {len(second)}"
        raise ModelError("a step from the last state", f"it is not deterministic: {said}", path)
    return first


def _told(transition: tuple[A, S]) -> str:
    action, after = transition
    return f"{show(action)} → {show(after)}"


def _refuse_changeable(state: object, what: str, path: tuple[Step[S, A], ...], parts: dict[int, object]) -> None:
    """Raises ModelError if a state can change, or is compared by identity; `parts`, by id, were looked at before."""
    for said in _changeable(state, "it", parts):
        raise ModelError(what, said, path)


def _changeable(value: object, place: str, parts: dict[int, object]) -> Iterator[str]:
    """What is wrong with a value or its parts, if anything."""
    kind = type(value)
    if id(value) in parts or isinstance(value, ATOMS):
        return
    parts[id(value)] = value
    if isinstance(value, (list, dict, set, bytearray)):
        base = next(name for name in INSTEAD if any(c.__name__ == name for c in kind.__mro__))
        yield f"{place} is a {kind.__name__}, which can change: use {INSTEAD[base]}"
    elif isinstance(value, (tuple, frozenset)):
        for index, item in enumerate(value):
            yield from _changeable(
                item, f"{place}[{index}]" if isinstance(value, tuple) else f"an element of {place}", parts
            )
    elif isinstance(value, Struct):
        if not value.__struct_config__.frozen:
            yield f"{place} is a {kind.__name__}, a Struct that can change: declare it frozen=True"
        for name in value.__struct_fields__:
            yield from _changeable(getattr(value, name), f"{place}.{name}", parts)
    elif dataclasses.is_dataclass(value):
        if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # every dataclass has them
            yield f"{place} is a {kind.__name__}, a dataclass that can change: declare it frozen=True"
        for field in dataclasses.fields(value):
            yield from _changeable(getattr(value, field.name), f"{place}.{field.name}", parts)
    elif kind.__eq__ is object.__eq__:
        yield (
            f"{place} is a {kind.__name__}, of which no two are equal, and states are recognised by being equal: "
            "make it a frozen Struct or dataclass"
        )
