"""Random walks over a machine: what a search cannot exhaust is sampled, and the same seed gives the same walks.

A walk starts in an initial state and takes one of the possible actions after the other. Each walk draws for itself how
much it likes each kind of action, so that some hardly deliver anything, some hardly ever crash, and some do little else
(after Groce and others, "Swarm testing", 2012). It ends after so many steps, where nothing can happen any more, or
where a property fails; then it is shrunk.

Every step and every state is judged, and once. Walks come in batches of a fixed size, which may run in several
processes. A process remembers what it learnt of the machine: what may happen in a state, where a step leads, and that
nothing fails there; never what was drawn by chance. So, whatever the number of processes, the result is the same.
Batches are taken in their order, and those after the first that failed do not count, unless the simulation is to keep
going.

While walks go on, cyclic garbage is collected only when what was learnt is forgotten, for there is too much of it.

*Coverage over time*: of each thousand steps, how many led to a state not met before; where that comes to nothing, more
walks of the same kind stop paying. For this count alone, states are told apart by their 64-bit hashes.

Walks prove nothing: where none fails, what holds is only "not violated so far".
"""

import gc
import multiprocessing
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from random import Random
from typing import Any, Generic

from msgspec import Struct

from checker.doubts import look_closely
from checker.explore import no_garbage_collection
from checker.machine import (
    A,
    Always,
    KnowsActionKinds,
    Machine,
    S,
    Sometimes,
    SometimesStep,
    TakesOneStep,
    Transition,
)
from checker.outcome import (
    DEADLOCK,
    ModelError,
    PropertyKind,
    PropertyResult,
    Standing,
    Step,
    Verdict,
    Violation,
)
from checker.shrink import clause_of, shrink

BATCH = 16
MOST_PLACES = 50_000  # to remember in one process
LIKINGS = (1.0, 0.3, 0.1, 0.03)


class Plan(Struct, frozen=True):
    """How to walk: so many walks of at most so many steps; `seconds` stops between two batches."""

    seed: int = 0
    runs: int = 1_000
    steps: int = 100
    keep_going: bool = False
    workers: int = 1
    seconds: float | None = None


class Walked(Struct, frozen=True):
    """How far a simulation is: walks and steps taken, walks that failed, seconds since it began."""

    runs: int
    steps: int
    failures: int
    seconds: float

    @property
    def rate(self) -> float:
        """Steps per second since it began."""
        return self.steps / self.seconds if self.seconds > 0 else 0.0


class Failure(Struct, Generic[S, A], frozen=True):
    """A walk that failed: its number, how many steps it took, and what failed, with the shrunk path to it."""

    run: int
    steps: int
    violation: Violation[S, A]


class Simulation(Struct, Generic[S, A], frozen=True):
    """What walks found. `new_states` are counted per thousand steps; `met` of a property is the number of a walk."""

    machine: str
    verdict: Verdict
    runs: int
    steps: int
    states: int
    seconds: float
    properties: tuple[PropertyResult, ...]
    kinds: tuple[tuple[str, int], ...]
    new_states: tuple[int, ...]
    failures: tuple[Failure[S, A], ...]
    stopped: str = ""


class Fault(Struct, Generic[S, A], frozen=True):
    """The model is at fault; see ModelError, which does not travel between processes."""

    doing: str
    what: str
    path: tuple[Step[S, A], ...]


class Batch(Struct, Generic[S, A]):
    """What some walks found: each state's hash and the number of steps before it, in their order."""

    runs: int = 0
    steps: int = 0
    hashes: list[int] = []
    places: list[int] = []
    met: dict[str, int] = {}
    taken: dict[str, int] = {}
    failures: list[Failure[S, A]] = []
    fault: Fault[S, A] | None = None


def simulate(
    machine: Machine[S, A],
    plan: Plan,
    on_progress: Callable[[Walked], None] | None = None,
    every_seconds: float = 1.0,
) -> Simulation[S, A]:
    """Walk over `machine`, calling `on_progress` between two batches about every so many seconds.

    Raises ModelError where the machine raises, or a property of it does.
    """
    with no_garbage_collection():
        return _simulate(machine, plan, on_progress, every_seconds)


def _simulate(
    machine: Machine[S, A], plan: Plan, on_progress: Callable[[Walked], None] | None, every_seconds: float
) -> Simulation[S, A]:
    look_closely(machine)
    started = reported = time.monotonic()
    seen, new_states = set[int](), list[int]()
    met, taken, failures = dict[str, int](), defaultdict[str, int](int), list[Failure[S, A]]()
    runs, steps, stopped = 0, 0, ""
    batches = in_processes(machine, plan) if plan.workers > 1 else in_this_process(machine, plan)
    try:
        for batch in batches:
            for place, state in zip(batch.places, batch.hashes, strict=True):
                if state not in seen:
                    seen.add(state)
                    thousand = (steps + place) // 1_000
                    new_states += [0] * (thousand + 1 - len(new_states))
                    new_states[thousand] += 1
            for name, run in batch.met.items():
                met.setdefault(name, run)
            for kind, count in batch.taken.items():
                taken[kind] += count
            runs, steps, failures = runs + batch.runs, steps + batch.steps, failures + batch.failures
            if batch.fault is not None:
                raise ModelError(batch.fault.doing, batch.fault.what, batch.fault.path)
            if failures and not plan.keep_going:
                break
            now = time.monotonic()
            if on_progress is not None and now - reported >= every_seconds:
                reported = now
                on_progress(Walked(runs, steps, len(failures), now - started))
            if plan.seconds is not None and now - started >= plan.seconds and runs < plan.runs:
                stopped = f"bound of {plan.seconds:g} seconds reached"
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        batches.close()
    new_states += [0] * (-(-steps // 1_000) - len(new_states))
    return Simulation(
        machine=machine.name,
        verdict="violated" if failures else "incomplete" if stopped else "holds",
        runs=runs,
        steps=steps,
        states=len(seen),
        seconds=time.monotonic() - started,
        properties=tuple(_properties(machine, met, {failure.violation.property for failure in failures})),
        kinds=tuple(sorted(taken.items())),
        new_states=tuple(new_states),
        failures=tuple(failures),
        stopped=stopped,
    )


def _properties(machine: Machine[S, A], met: dict[str, int], failed: set[str]) -> Iterator[PropertyResult]:
    """What can be said of each property after some walks."""
    claims: list[tuple[str, PropertyKind]] = [
        (p.name, "always" if isinstance(p, Always) else "transition")
        for p in machine.properties
        if isinstance(p, Always | Transition)
    ]
    for name, kind in [*claims, (DEADLOCK, "deadlock")]:
        standing: Standing = "violated" if name in failed else "not violated so far"
        yield PropertyResult(name, kind, standing)
    for p in machine.properties:
        if isinstance(p, Sometimes | SometimesStep):
            yield PropertyResult(p.name, "sometimes", "met" if p.name in met else "not met so far", p.of)


# In one process, or in several.


def batches_of(plan: Plan) -> Iterator[range]:
    """The numbers of the walks of each batch."""
    for first in range(0, plan.runs, BATCH):
        yield range(first, min(first + BATCH, plan.runs))


def in_this_process(machine: Machine[S, A], plan: Plan) -> Generator[Batch[S, A], None, None]:
    """One batch after the other."""
    walker = Walker(machine)
    for runs in batches_of(plan):
        yield walker.walk_all(plan, runs)


# Any: the walker of a worker, whose types its task no longer knows.
_walker: Any = None


def _adopt(machine: Machine[Any, Any]) -> None:  # Any: as above
    global _walker
    _walker = Walker(machine)


def _work(plan: Plan, runs: range) -> Batch[Any, Any]:  # Any: as above
    batch: Batch[Any, Any] = _walker.walk_all(plan, runs)
    return batch


def in_processes(machine: Machine[S, A], plan: Plan) -> Generator[Batch[S, A], None, None]:
    """The same batches in the same order, made by several processes.

    They are forked: a machine, which may hold functions of any kind, need not travel, and hashes are equal everywhere.
    """
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(plan.workers, context, initializer=_adopt, initargs=(machine,))
    try:
        waiting: deque[Future[Batch[S, A]]] = deque()
        for runs in batches_of(plan):
            waiting.append(pool.submit(_work, plan, runs))
            if len(waiting) > 2 * plan.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


# Walking.


def steps_one_by_one(machine: Machine[S, A]) -> bool:
    """Whether `actions` and `step` may stand in for `transitions`, so that only what is chosen is computed.

    Where `transitions` was written after them, in a class derived from theirs, it alone counts.
    """
    if not isinstance(machine, TakesOneStep):
        return False
    ancestry = type(machine).__mro__
    depth = {
        name: next(i for i, kind in enumerate(ancestry) if name in vars(kind))
        for name in ("actions", "step", "transitions")
    }
    return max(depth["actions"], depth["step"]) <= depth["transitions"]


class _Failed(Exception):
    """A property fails in the last step."""

    def __init__(self, name: str, kind: PropertyKind) -> None:
        super().__init__(name)
        self.name, self.kind = name, kind


class _Place(Generic[S, A]):
    """A state that a walk came to, and what is known of it by now."""

    __slots__ = ("actions", "afters", "ends", "is_judged", "kinds", "state")

    def __init__(self, state: S) -> None:
        self.state = state
        self.is_judged = False
        self.actions: list[A] | None = None  # not asked so far
        self.afters: list[S] | None = None  # what they lead to, if that came with them
        self.kinds: list[tuple[str | type, list[int]]] = []
        """Which of the actions are of each kind."""
        self.ends: list[_Place[S, A] | None] = []
        """Where each action leads, if it was taken and judged."""


class Walker(Generic[S, A]):
    """Takes walks in this process, and remembers what it learns of the machine, which is the same for all of them."""

    def __init__(self, machine: Machine[S, A]) -> None:
        """It has not walked yet."""
        self.machine = machine
        self.one_by_one = machine if isinstance(machine, TakesOneStep) and steps_one_by_one(machine) else None
        self.kind_of: Callable[[A], str | type] = machine.action_kind if isinstance(machine, KnowsActionKinds) else type
        self.always = [(p.name, p.violation) for p in machine.properties if isinstance(p, Always)]
        self.transition = [(p.name, p.violation) for p in machine.properties if isinstance(p, Transition)]
        self.sometimes = [(p.name, p.holds) for p in machine.properties if isinstance(p, Sometimes)]  # not met so far
        self.sometimes_step = [(p.name, p.holds) for p in machine.properties if isinstance(p, SometimesStep)]
        self.initial = list(dict.fromkeys(machine.initial()))
        self.places: dict[S, _Place[S, A]] = {}
        self.batch: Batch[S, A] = Batch()
        self.trail: list[tuple[A | None, S]] = []
        self.asked = ""  # what to name should the model raise

    def walk_all(self, plan: Plan, runs: range) -> Batch[S, A]:
        """Take these walks, up to the first that fails unless all are wanted."""
        self.batch = Batch()
        taken: defaultdict[str | type, int] = defaultdict(int)
        for run in runs:
            self.batch.runs += 1
            try:
                self.walk(plan, run, taken)
            except _Failed as failed:
                self.batch.failures.append(self.failure(run, failed))
                if not plan.keep_going:
                    break
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                self.batch.fault = Fault(self.asked or "a step from the last state", what, self.path())
                break
        for kind, count in taken.items():
            self.batch.taken[kind if isinstance(kind, str) else kind.__name__] = count
        return self.batch

    def path(self) -> tuple[Step[S, A], ...]:
        """The walk so far."""
        return tuple([Step(action, state) for action, state in self.trail])

    def failure(self, run: int, failed: _Failed) -> Failure[S, A]:
        """The walk just taken, shrunk."""
        shrunk = shrink(self.machine, self.path(), failed.name)
        before = shrunk[-2].state if len(shrunk) > 1 else None
        clause = clause_of(self.machine, failed.name)(before, shrunk[-1])
        assert clause is not None, "a shrunk walk fails at its end"
        return Failure(run, len(self.trail) - 1, Violation(failed.name, failed.kind, clause, shrunk))

    def walk(self, plan: Plan, run: int, taken: defaultdict[str | type, int]) -> None:
        """Take one walk, along `trail`. Raises _Failed where a property fails."""
        chance = Random(f"{plan.seed}/{run}")
        likings: dict[str | type, float] = {}
        state = self.initial[int(chance.random() * len(self.initial))]
        trail: list[tuple[A | None, S]] = [(None, state)]
        self.trail = trail
        place = self.arrive(run, state)
        for _ in range(plan.steps):
            actions = self.options(place)
            if not actions:
                if not self.machine.is_final(place.state):
                    raise _Failed(DEADLOCK, "deadlock")
                return
            kind, choice = choose(place.kinds, likings, chance)
            taken[kind] += 1
            self.batch.steps += 1
            end = place.ends[choice]
            if end is None:
                end = place.ends[choice] = self.go(run, place, choice)
            else:
                trail.append((actions[choice], end.state))
            place = end

    def options(self, place: _Place[S, A]) -> list[A]:
        """What may happen there, asked once."""
        if place.actions is None:
            if self.one_by_one is not None:
                actions = list(self.one_by_one.actions(place.state))
            else:
                transitions = list(self.machine.transitions(place.state))
                actions, place.afters = [a for a, _ in transitions], [after for _, after in transitions]
            kinds: dict[str | type, list[int]] = {}
            for index, action in enumerate(actions):
                kinds.setdefault(self.kind_of(action), []).append(index)
            place.kinds, place.ends, place.actions = list(kinds.items()), [None] * len(actions), actions
        return place.actions

    def go(self, run: int, place: _Place[S, A], choice: int) -> _Place[S, A]:
        """Take a step that was not taken before, and judge it. Raises _Failed."""
        assert place.actions is not None, "somebody chose one of them"
        action = place.actions[choice]
        if place.afters is not None:
            after = place.afters[choice]
        else:
            assert self.one_by_one is not None, "otherwise all ends are known"
            after = self.one_by_one.step(place.state, action)
        self.trail.append((action, after))
        self.judge_step(run, place.state, action, after)
        return self.arrive(run, after)

    def arrive(self, run: int, state: S) -> _Place[S, A]:
        """Judge a state, unless it was met before. Raises _Failed."""
        place = self.places.get(state)
        if place is None:
            if len(self.places) >= MOST_PLACES:
                self.places.clear()
                gc.collect()
            place = self.places[state] = _Place(state)
        if place.is_judged:
            return place
        self.batch.hashes.append(hash(state))
        self.batch.places.append(self.batch.steps)
        for name, violation in self.always:
            self.asked = f"property {name}"
            if violation(state) is not None:
                raise _Failed(name, "always")
        for name, holds in self.sometimes:
            self.asked = f"property {name}"
            if holds(state):
                self.batch.met[name] = run
                self.sometimes = [other for other in self.sometimes if other[0] != name]
        self.asked = ""
        place.is_judged = True
        return place

    def judge_step(self, run: int, before: S, action: A, after: S) -> None:
        """Judge a step. Raises _Failed."""
        for name, violation in self.transition:
            self.asked = f"property {name}"
            if violation(before, action, after) is not None:
                raise _Failed(name, "transition")
        for name, holds in self.sometimes_step:
            self.asked = f"property {name}"
            if holds(before, action, after):
                self.batch.met[name] = run
                self.sometimes_step = [other for other in self.sometimes_step if other[0] != name]
        self.asked = ""


def choose(
    kinds: list[tuple[str | type, list[int]]], likings: dict[str | type, float], chance: Random
) -> tuple[str | type, int]:
    """A kind of action by how much it is liked, and any action of that kind."""
    total = 0.0
    for kind, _ in kinds:
        if kind not in likings:
            likings[kind] = LIKINGS[int(chance.random() * len(LIKINGS))]
        total += likings[kind]
    at = chance.random() * total
    for kind, places in kinds:  # noqa: B007 - the last one is taken where rounding leaves something over
        at -= likings[kind]
        if at < 0:
            break
    return kind, places[int(chance.random() * len(places))]
