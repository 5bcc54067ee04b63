"""What every kind of search says and measures alike: how properties stand, coverage, memory, exceptions."""

import resource
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from checker.machine import A, Always, ListsActionKinds, Machine, Property, S, Sometimes, SometimesStep, Transition
from checker.outcome import DEADLOCK, Coverage, PropertyKind, PropertyResult, Standing

CHUNK = 4096


def property_results(
    properties: Sequence[Property[S, A]], met: Mapping[str, int], violated: str | None, complete: bool
) -> Iterator[PropertyResult]:
    """One for each property, in the machine's order, and one for deadlocks; `met` has the depth of each *sometimes*."""
    claims: list[tuple[str, PropertyKind]] = [
        (p.name, "always" if isinstance(p, Always) else "transition")
        for p in properties
        if isinstance(p, Always | Transition)
    ]
    for name, kind in [*claims, (DEADLOCK, "deadlock")]:
        standing: Standing = "violated" if name == violated else "holds" if complete else "not violated so far"
        yield PropertyResult(name, kind, standing)
    for p in properties:
        if isinstance(p, Sometimes | SometimesStep):
            met_at = met.get(p.name)
            standing = "met" if met_at is not None else "unmet" if complete else "not met so far"
            yield PropertyResult(p.name, "sometimes", standing, p.of, met_at)


def coverage(
    machine: Machine[S, A], taken: Mapping[str | type, int], fresh: Mapping[str | type, int]
) -> list[Coverage]:
    """Declared kinds in their order, taken or not; then the others by name."""
    taken_by_name, fresh_by_name = defaultdict[str, int](int), defaultdict[str, int](int)
    for kind, count in taken.items():
        name = kind if isinstance(kind, str) else kind.__name__
        taken_by_name[name] += count
        fresh_by_name[name] += fresh.get(kind, 0)
    declared = list(machine.action_kinds) if isinstance(machine, ListsActionKinds) else []
    names = [*declared, *sorted(taken_by_name.keys() - set(declared))]
    return [Coverage(name, taken_by_name[name], fresh_by_name[name]) for name in names]


def bytes_held() -> int:
    """The memory that this process holds: now, or where the system does not tell, at most so far."""
    try:
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def chunks(states: Iterable[S]) -> Iterator[list[S]]:
    """A few thousand at a time, which can be written without holding all of what is written."""
    rest = iter(states)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def said(error: Exception) -> str:
    """An exception of a model in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def sentence(clause: object) -> str:
    """What a `violation` function answered, if it answered as it should: a predicate in its place answers True."""
    if not isinstance(clause, str):
        raise TypeError(f"`violation` gave {clause!r}; it gives None where the property holds, else a clause")
    return clause
