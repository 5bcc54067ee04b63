"""Breadth-first search: every reachable state once, in order of distance, each with a link to where it came from.

The states found so far stand in one list, in order of discovery. That list is also the queue: the search walks it
from the front while successors are appended at the back, so states come in order of their distance from an initial
state, and the first violation of a property is a shortest one. `seen`, an exact set of the same objects, says whether
a state is new; nothing is judged by a fingerprint. A state's parent is its index in the list, four bytes; the indices
at which levels begin give every state's depth. Which action led to a state is not kept: a counterexample is rebuilt
by asking the machine again, which also catches a machine that answers differently the second time.

State properties are evaluated once per distinct state, step properties once per step generated (only where there are
any). A *sometimes* is looked for in every sixteenth state in passing, where one that is often met soon is; only for
those not met so are all states looked through at the end. The search ends

    holds        every reachable state was seen, no claim was violated, every *sometimes* was met;
    violated     at the first violation or deadlock, or after the whole search if a *sometimes* was never met;
    incomplete   at a bound (states, depth, seconds), at Ctrl-C or when memory ran out: never reported as *holds*.

`generated` counts as TLC does: initial states plus steps. A machine that raises, or a property that does, ends the
search with a `ModelError` that names what was asked and the path to the state it was asked in.

While it runs, cyclic garbage collection is off, for it would walk all the states again and again; machines that build
reference cycles in their steps leak them until the search is over.
"""

import gc
import time
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic

from checker.machine import (
    A,
    Always,
    KnowsActionKinds,
    ListsActionKinds,
    Machine,
    S,
    Sometimes,
    SometimesStep,
    Transition,
)
from checker.outcome import (
    DEADLOCK,
    DEADLOCK_CLAUSE,
    Bounds,
    Coverage,
    ModelError,
    Progress,
    PropertyKind,
    PropertyResult,
    Result,
    Standing,
    Step,
    Verdict,
    Violation,
)

VIOLATED = "violated"
PAUSE_MASK = 15  # what need not be done for every state is done for every sixteenth


def explore(
    machine: Machine[S, A],
    bounds: Bounds = Bounds(),  # noqa: B008 - immutable
    on_progress: Callable[[Progress], None] | None = None,
    every_seconds: float = 1.0,
) -> Result[S, A]:
    """Search `machine` breadth first within `bounds`, calling `on_progress` about every so many seconds.

    Raises ModelError where the machine or a property of it raises or breaks its contract.
    """
    search = _Search(machine, bounds, on_progress, every_seconds)
    with _no_garbage_collection():
        try:
            stopped = VIOLATED if search.start() else search.run()
            search.look_everywhere()
        except KeyboardInterrupt:
            stopped = "interrupted"
        except (MemoryError, ModelError) as error:
            if not isinstance(error, MemoryError) and not isinstance(error.__cause__, MemoryError):
                raise
            stopped = "out of memory"
        return search.result(stopped)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """No collections inside; afterwards as before."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Search(Generic[S, A]):
    """One search. `start`, then `run`, then `result`."""

    def __init__(
        self,
        machine: Machine[S, A],
        bounds: Bounds,
        on_progress: Callable[[Progress], None] | None,
        every_seconds: float,
    ) -> None:
        self.machine = machine
        self.bounds = bounds
        self.on_progress = on_progress
        self.every_seconds = every_seconds
        self.kind_of: Callable[[A], str | type] = machine.action_kind if isinstance(machine, KnowsActionKinds) else type

        self.properties = tuple(machine.properties)
        names = [p.name for p in self.properties]
        for p in self.properties:
            if names.count(p.name) > 1:
                raise ModelError("the properties", f"two are named {p.name}")
            if isinstance(p, Sometimes | SometimesStep) and p.of not in names:
                raise ModelError(f"sometimes {p.name}", f"witnesses {p.of!r}, which is no property of {machine.name}")
        self.always = [(p.name, p.violation) for p in self.properties if isinstance(p, Always)]
        self.transition = [(p.name, p.violation) for p in self.properties if isinstance(p, Transition)]
        self.sometimes = [(p.name, p.holds) for p in self.properties if isinstance(p, Sometimes)]  # not met so far
        self.sometimes_step = [(p.name, p.holds) for p in self.properties if isinstance(p, SometimesStep)]
        self.met: dict[str, int] = {}  # name of a sometimes → depth at which it was met

        self.states: list[S] = []
        self.seen: set[S] = set()
        self.parents = array("I")  # an initial state is its own parent
        self.level_starts: list[int] = [0]
        self.roots = 0  # initial states generated, duplicates included
        self.taken: dict[str | type, int] = {}
        self.fresh: defaultdict[str | type, int] = defaultdict(int)
        self.violation: Violation[S, A] | None = None
        self.started = self.reported = time.monotonic()

    def start(self) -> bool:
        """Take the initial states in and judge them: True if one violates a property."""
        asked = ""
        try:
            for state in self.machine.initial():
                self.roots += 1
                if state in self.seen:
                    continue
                self.seen.add(state)
                self.parents.append(len(self.states))
                self.states.append(state)
                for asked, violation in self.always:
                    if (clause := violation(state)) is not None:
                        self.found(asked, clause)
                        return True
                asked = ""
        except Exception as error:
            if asked:
                raise ModelError(f"property {asked}", _said(error), self.path(len(self.states) - 1)) from error
            raise ModelError("the initial states", _said(error)) from error
        if not self.states:
            raise ModelError("the initial states", "there are none")
        return False

    def run(self) -> str:
        """Search to the end (then the answer is empty), to a violation, or to what cut the search short."""
        kind_of, always = self.kind_of, self.always
        asked = ""  # the property that is being evaluated: the one to name should it raise
        transitions = self.judged_transitions if self.transition or self.sometimes_step else self.machine.transitions
        states, seen, parents, taken, fresh = self.states, self.seen, self.parents, self.taken, self.fresh
        most_states = 1 << 62 if self.bounds.states is None else self.bounds.states
        level_end = 0
        for index, state in enumerate(states):  # which grows as we go: that makes the search breadth-first
            if index == level_end:
                level_end = len(states)
                self.level_starts.append(level_end)
                if len(self.level_starts) - 2 == self.bounds.depth:
                    return f"bound of depth {self.bounds.depth:,} reached"
            if not index & PAUSE_MASK and (stop := self.pause(index)):
                return stop
            action: A | None = None
            try:
                for action, after in transitions(state):
                    try:
                        taken[kind_of(action)] += 1
                    except KeyError:
                        taken[kind_of(action)] = 1
                    if after in seen:
                        continue
                    if len(states) >= most_states:
                        return f"bound of {most_states:,} states reached"
                    seen.add(after)
                    parents.append(index)
                    states.append(after)
                    fresh[kind_of(action)] += 1
                    for asked, violation in always:
                        if (clause := violation(after)) is not None:
                            return self.found(asked, clause)
                    asked = ""
                if action is None and self.is_deadlock(index, state):
                    return VIOLATED
            except ModelError:
                raise
            except Exception as error:
                if asked:
                    raise ModelError(f"property {asked}", _said(error), self.path(len(states) - 1)) from error
                raise ModelError("a step from the last state", _said(error), self.path(index)) from error
            if self.violation is not None:  # of a step
                return VIOLATED
        return ""

    def found(self, name: str, clause: str) -> str:
        """Record that the newest state violates the property `name`."""
        self.violation = Violation(name, "always", _sentence(clause), self.path(len(self.states) - 1))
        return VIOLATED

    def judged_transitions(self, before: S) -> Iterator[tuple[A, S]]:
        """The machine's transitions, each judged; none after one that violates a property, which is then recorded."""
        name = ""
        for action, after in self.machine.transitions(before):
            try:
                for name, violation in self.transition:
                    clause = violation(before, action, after)
                    if clause is not None:
                        path = (*self.path(self.states.index(before)), Step(action, after))
                        self.violation = Violation(name, "transition", _sentence(clause), path)
                        yield action, before
                        return
                for name, holds in self.sometimes_step:
                    if holds(before, action, after):
                        self.met[name] = self.depth(self.states.index(before)) + 1
                        self.sometimes_step = [other for other in self.sometimes_step if other[0] != name]
            except ModelError:
                raise
            except Exception as error:
                path = (*self.path(self.states.index(before)), Step(action, after))
                raise ModelError(f"property {name}", _said(error), path) from error
            yield action, after

    def look(self, index: int) -> None:
        """Strike out each *sometimes* that the state at `index` meets."""
        state, name = self.states[index], ""
        try:
            for name, holds in self.sometimes:
                if holds(state):
                    self.met[name] = self.depth(index)
                    self.sometimes = [other for other in self.sometimes if other[0] != name]
        except Exception as error:
            raise ModelError(f"property {name}", _said(error), self.path(index)) from error

    def is_deadlock(self, index: int, state: S) -> bool:
        """Judge a state without transitions."""
        if self.machine.is_final(state):
            return False
        self.violation = Violation(DEADLOCK, "deadlock", DEADLOCK_CLAUSE, self.path(index))
        return True

    def look_everywhere(self) -> None:
        """Look in every state for what was not met in passing."""
        for index in range(len(self.states)):
            if not self.sometimes:
                break
            self.look(index)

    def pause(self, index: int) -> str:
        """Now and then: look for the *sometimes*, report progress if it is due, and say so if time is up."""
        if self.sometimes:
            self.look(index)
        now = time.monotonic()
        if self.on_progress is not None and now - self.reported >= self.every_seconds:
            self.reported = now
            self.on_progress(
                Progress(
                    states=len(self.states),
                    generated=self.roots + sum(self.taken.values()),
                    queue=len(self.states) - index,
                    depth=self.depth(index),
                    seconds=now - self.started,
                )
            )
        if self.bounds.seconds is not None and now - self.started >= self.bounds.seconds:
            return f"bound of {self.bounds.seconds:g} seconds reached"
        return ""

    def depth(self, index: int) -> int:
        """How many steps the state at `index` is from an initial state."""
        return bisect_right(self.level_starts, index) - 1

    def path(self, index: int) -> tuple[Step[S, A], ...]:
        """A shortest path to the state at `index`; where several actions lead on, the machine's first."""
        steps: list[Step[S, A]] = []
        while (parent := self.parents[index]) != index:
            before, after = self.states[parent], self.states[index]
            for action, reached in self.machine.transitions(before):
                if reached == after:
                    steps.append(Step(action, after))
                    break
            else:
                raise ModelError("a step", f"asked again, no action leads from {before!r} to {after!r}")
            index = parent
        steps.append(Step(None, self.states[index]))
        return tuple(reversed(steps))

    def result(self, stopped: str) -> Result[S, A]:
        """Everything there is to say, after `run` gave `stopped`."""
        unmet = [p for p in self.properties if isinstance(p, Sometimes | SometimesStep) and p.name not in self.met]
        violation = self.violation
        if not stopped and unmet:
            clause = (
                f"met by none of {len(self.states):,} states, so {unmet[0].of} may hold for want of anything happening"
            )
            violation = Violation(unmet[0].name, "sometimes", clause, ())
        verdict: Verdict = "violated" if violation is not None else "incomplete" if stopped else "holds"
        return Result(
            machine=self.machine.name,
            verdict=verdict,
            states=len(self.states),
            generated=self.roots + sum(self.taken.values()),
            depth=self.depth(len(self.states) - 1),
            seconds=time.monotonic() - self.started,
            properties=tuple(self.property_results(complete=not stopped)),
            coverage=tuple(self.coverage()),
            violation=violation,
            stopped="" if stopped == VIOLATED else stopped,
        )

    def property_results(self, complete: bool) -> Iterator[PropertyResult]:
        """One for each property, in the machine's order, and one for deadlocks."""
        violated = None if self.violation is None else self.violation.property
        claims: list[tuple[str, PropertyKind]] = [
            (p.name, "always" if isinstance(p, Always) else "transition")
            for p in self.properties
            if isinstance(p, Always | Transition)
        ]
        for name, kind in [*claims, (DEADLOCK, "deadlock")]:
            standing: Standing = "violated" if name == violated else "holds" if complete else "not violated so far"
            yield PropertyResult(name, kind, standing)
        for p in self.properties:
            if isinstance(p, Sometimes | SometimesStep):
                met_at = self.met.get(p.name)
                met: Standing = "met" if met_at is not None else "unmet" if complete else "not met so far"
                yield PropertyResult(p.name, "sometimes", met, p.of, met_at)

    def coverage(self) -> Iterator[Coverage]:
        """Declared kinds in their order, taken or not; then the others by name."""
        taken: defaultdict[str, int] = defaultdict(int)
        fresh: defaultdict[str, int] = defaultdict(int)
        for kind, count in self.taken.items():
            name = kind if isinstance(kind, str) else kind.__name__
            taken[name] += count
            fresh[name] += self.fresh.get(kind, 0)
        declared = list(self.machine.action_kinds) if isinstance(self.machine, ListsActionKinds) else []
        for name in [*declared, *sorted(taken.keys() - set(declared))]:
            yield Coverage(name, taken.get(name, 0), fresh.get(name, 0))


def _said(error: Exception) -> str:
    """An exception of a model in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _sentence(clause: object) -> str:
    """What a `violation` function answered, if it answered as it should: a predicate in its place answers True."""
    if not isinstance(clause, str):
        raise TypeError(f"`violation` gave {clause!r}; it gives None where the property holds, else a clause")
    return clause
