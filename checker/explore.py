"""Breadth-first search: every reachable state once, in order of distance, each with a link to where it came from.

The states found so far stand in one list, in order of discovery. That list is also the queue: the search walks it
from the front while successors are appended at the back, so states come in order of their distance from an initial
state, and the first violation of a property is a shortest one. `seen`, an exact set of the same objects, says whether
a state is new; nothing is judged by a fingerprint. A state's parent is its index in the list, four bytes; the indices
at which levels begin give every state's depth. Which action led to a state is not kept: a counterexample is rebuilt
by asking the machine again, which also catches a machine that answers differently the second time. Other orders of
search, and states told apart by fingerprints, are in `checker.orders`.

State properties are evaluated once per distinct state, step properties once per step generated (only where there are
any). A *sometimes* is looked for in every sixteenth state in passing, where one that is often met soon is; only for
those not met so are all states looked through at the end. The search ends

    holds        every reachable state was seen, no claim was violated, every *sometimes* was met;
    violated     at the first violation or deadlock, or after the whole search if a *sometimes* was never met;
    incomplete   at a bound (states, depth, seconds, memory), at Ctrl-C or when memory ran out: never as *holds*.

Between two states everything is in order: what came before is done, and nothing of what comes next. There a search can
be saved, and there a resumed one goes on (`checker.checkpoint`), with the counts and the outcome of an unbroken one.

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
from itertools import islice
from typing import Any, Generic

from checker.doubts import look_closely
from checker.machine import (
    A,
    Always,
    KnowsActionKinds,
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
    ModelError,
    Order,
    Progress,
    Result,
    Step,
    Verdict,
    Violation,
)
from checker.tally import bytes_held, chunks, coverage, property_results, said, sentence

VIOLATED = "violated"
NO_BOUND = 1 << 62
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
    return conduct(Search(machine, bounds, on_progress, every_seconds))


def conduct(search: "Search[S, A]") -> Result[S, A]:
    """Search to the end, or to what ends it; a search that was restored goes on."""
    with no_garbage_collection():
        try:
            begins = not search.size()
            if begins:
                look_closely(search.machine)
            stopped = VIOLATED if begins and search.start() else search.run()
            search.look_everywhere()
        except KeyboardInterrupt:
            stopped, search.is_between_states = "interrupted", False
        except (MemoryError, ModelError) as error:
            if not isinstance(error, MemoryError) and not isinstance(error.__cause__, MemoryError):
                raise
            stopped, search.is_between_states = "out of memory", False
        return search.result(stopped)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """No collections inside; afterwards as before."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Search(Generic[S, A]):
    """One search, breadth first. `start` or `restore`, then `run`, then `result`."""

    order: Order = "breadth"

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
        self.met_in_passing: dict[str, int] | None = None  # the same before `look_everywhere`

        self.states: list[S] = []
        self.seen: set[S] = set()
        self.parents = array("I")  # an initial state is its own parent
        self.level_starts: list[int] = [0]
        self.roots = 0  # initial states generated, duplicates included
        self.taken: dict[str | type, int] = {}
        self.fresh: defaultdict[str | type, int] = defaultdict(int)
        self.at = 0  # the index of the state whose successors are looked for
        self.at_pause: Callable[[], str] | None = None
        """Called between two states now and then; what it answers, if anything, ends the search."""
        self.is_between_states = True  # whether it ended where it can be taken up
        self.violation: Violation[S, A] | None = None
        self.started = self.reported = time.monotonic()
        self.seconds_before = 0.0  # that an earlier part of this search took

    def size(self) -> int:
        """How many distinct states were found."""
        return len(self.states)

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
                raise ModelError(f"property {asked}", said(error), self.path(len(self.states) - 1)) from error
            raise ModelError("the initial states", said(error)) from error
        if not self.states:
            raise ModelError("the initial states", "there are none")
        return False

    def run(self) -> str:
        """Search to the end (then the answer is empty), to a violation, or to what cut the search short."""
        kind_of, always = self.kind_of, self.always
        asked = ""  # the property that is being evaluated: the one to name should it raise
        transitions = self.judged_transitions if self.transition or self.sometimes_step else self.machine.transitions
        states, seen, parents, taken, fresh = self.states, self.seen, self.parents, self.taken, self.fresh
        most_states = NO_BOUND if self.bounds.states is None or self.at_pause is not None else self.bounds.states
        level_end = self.level_starts[-1]
        growing = islice(enumerate(states), self.at, None)  # as we go: that makes the search breadth-first
        for index, state in growing:
            self.at = index
            if index == level_end:
                level_end = len(states)
                self.level_starts.append(level_end)
                if len(self.level_starts) - 2 == self.bounds.depth:
                    self.level_starts.pop()
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
                    raise ModelError(f"property {asked}", said(error), self.path(len(states) - 1)) from error
                raise ModelError("a step from the last state", said(error), self.path(index)) from error
            if self.violation is not None:  # of a step
                return VIOLATED
        return ""

    def found(self, name: str, clause: str) -> str:
        """Record that the newest state violates the property `name`."""
        self.violation = Violation(name, "always", sentence(clause), self.path(len(self.states) - 1))
        return VIOLATED

    def judged_transitions(self, before: S) -> Iterator[tuple[A, S]]:
        """The machine's transitions, each judged; none after one that violates a property, which is then recorded."""
        name = ""
        for action, after in self.machine.transitions(before):
            try:
                for name, violation in self.transition:
                    clause = violation(before, action, after)
                    if clause is not None:
                        path = (*self.path(self.at), Step(action, after))
                        self.violation = Violation(name, "transition", sentence(clause), path)
                        yield action, before
                        return
                for name, holds in self.sometimes_step:
                    if holds(before, action, after):
                        self.met[name] = self.depth(self.at) + 1
                        self.sometimes_step = [other for other in self.sometimes_step if other[0] != name]
            except ModelError:
                raise
            except Exception as error:
                path = (*self.path(self.at), Step(action, after))
                raise ModelError(f"property {name}", said(error), path) from error
            yield action, after

    def look(self, index: int, state: S) -> None:
        """Strike out each *sometimes* that the state at `index` meets."""
        name = ""
        try:
            for name, holds in self.sometimes:
                if holds(state):
                    self.met[name] = self.depth(index)
                    self.sometimes = [other for other in self.sometimes if other[0] != name]
        except Exception as error:
            raise ModelError(f"property {name}", said(error), self.path(index)) from error

    def is_deadlock(self, index: int, state: S) -> bool:
        """Judge a state without transitions."""
        if self.machine.is_final(state):
            return False
        self.violation = Violation(DEADLOCK, "deadlock", DEADLOCK_CLAUSE, self.path(index))
        return True

    def look_everywhere(self) -> None:
        """Look in every state for what was not met in passing."""
        self.met_in_passing = dict(self.met)
        for index, state in enumerate(self.states):
            if not self.sometimes:
                break
            self.look(index, state)

    def pause(self, index: int) -> str:
        """Now and then: look for the *sometimes*, and do what `checked` does."""
        if self.sometimes:
            self.look(index, self.states[index])
        return self.checked(len(self.states) - index, self.depth(index))

    def checked(self, queue: int, depth: int) -> str:
        """Report progress if it is due, and say so if a bound is reached."""
        now, bounds = time.monotonic(), self.bounds
        if self.on_progress is not None and now - self.reported >= self.every_seconds:
            self.reported = now
            self.on_progress(
                Progress(
                    states=self.size(),
                    generated=self.roots + sum(self.taken.values()),
                    queue=queue,
                    depth=depth,
                    seconds=now - self.started + self.seconds_before,
                    memory=bytes_held(),
                )
            )
        if bounds.seconds is not None and now - self.started >= bounds.seconds:
            return f"bound of {bounds.seconds:g} seconds reached"
        if bounds.memory is not None and bytes_held() >= bounds.memory:
            return f"bound of {bounds.memory >> 20:,} MiB of memory reached"
        if self.at_pause is None:
            return ""
        if bounds.states is not None and self.size() >= bounds.states:
            return f"bound of {bounds.states:,} states reached"
        return self.at_pause()

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
            clause = f"met by none of {self.size():,} states, so {unmet[0].of} may hold for want of anything happening"
            violation = Violation(unmet[0].name, "sometimes", clause, ())
        violated = None if self.violation is None else self.violation.property
        verdict: Verdict = "violated" if violation is not None else "incomplete" if stopped else "holds"
        return Result(
            machine=self.machine.name,
            verdict=verdict,
            states=self.size(),
            generated=self.roots + sum(self.taken.values()),
            depth=self.farthest(),
            seconds=time.monotonic() - self.started + self.seconds_before,
            properties=tuple(property_results(self.properties, self.met, violated, complete=not stopped)),
            coverage=tuple(coverage(self.machine, self.taken, self.fresh)),
            violation=violation,
            stopped="" if stopped == VIOLATED else stopped,
            order=self.order,
        )

    def farthest(self) -> int:
        """The greatest depth of a state that was found."""
        return self.depth(len(self.states) - 1)

    # What a checkpoint keeps.

    def records(self) -> Iterator[object]:
        """Everything that `restore` needs, states a few thousand at a time."""
        yield self.counters()
        yield self.level_starts, self.parents
        yield from chunks(self.states)

    def restore(self, records: Iterator[Any]) -> None:  # Any: what `records` of the same kind of search gave
        """Be where the search was that gave these records."""
        self.restore_counters(next(records))
        self.level_starts, self.parents = next(records)
        for chunk in records:
            self.states += chunk
        self.seen.update(self.states)

    def counters(self) -> tuple[object, ...]:
        """What is counted, in any order of search."""
        seconds = time.monotonic() - self.started + self.seconds_before
        met = self.met if self.met_in_passing is None else self.met_in_passing
        return self.at, self.roots, self.taken, self.fresh, met, seconds

    def restore_counters(self, counters: tuple[Any, ...]) -> None:  # Any: as above
        """Count on from there."""
        self.at, self.roots, self.taken, self.fresh, self.met, self.seconds_before = counters
        self.sometimes = [one for one in self.sometimes if one[0] not in self.met]
        self.sometimes_step = [one for one in self.sometimes_step if one[0] not in self.met]
