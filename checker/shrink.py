"""A failing walk made short, by delta debugging over its actions.

Ever smaller parts of the walk are left out, and what remains is taken again. An action that is no longer possible is
left out too: what depended on something goes with it. If the same property still fails, at the end or before, the way
to where it fails takes the place of the walk. It is done when no one action can be left out any more, and, where few
are left, no two, as one that undoes another. The result is a path of the machine like any other, and need not be a
shortest one.

After Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (2002).
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Generic

from checker.machine import A, Always, Machine, S, Transition
from checker.outcome import DEADLOCK, DEADLOCK_CLAUSE, Step

MOST_TO_PAIR = 40


def clause_of(machine: Machine[S, A], name: str) -> Callable[[S | None, Step[S, A]], str | None]:
    """How the property `name` fails in a step, given the state before (None at the start); None where it holds."""
    if name == DEADLOCK:
        return lambda _, step: DEADLOCK_CLAUSE if is_stuck(machine, step.state) else None
    for p in machine.properties:
        if p.name == name and isinstance(p, Always):
            of_state = p.violation
            return lambda _, step: of_state(step.state)
        if p.name == name and isinstance(p, Transition):
            of_step = p.violation
            return lambda before, step: (
                None if before is None or step.action is None else of_step(before, step.action, step.state)
            )
    raise ValueError(f"{machine.name} has no property {name} that can fail in a step")


def is_stuck(machine: Machine[S, A], state: S) -> bool:
    """Whether nothing can happen here, and should."""
    return not machine.is_final(state) and not any(True for _ in machine.transitions(state))


def shrink(machine: Machine[S, A], path: Sequence[Step[S, A]], name: str) -> tuple[Step[S, A], ...]:
    """The shortest part that is found of a path at whose end the property `name` fails, and where it fails too."""
    shrinking = _Shrinking(machine, name)
    first, *rest = path
    shortest = shrinking.follow(first, rest)
    assert shortest is not None, "what failed fails again"
    size = max(1, len(shortest) // 2)
    while True:
        without_parts = _drop_parts(shrinking, first, shortest, size)
        if len(without_parts) < len(shortest):
            shortest = without_parts
        elif size > 1:
            size //= 2
        elif (without_two := _drop_two(shrinking, first, shortest)) is not None:
            shortest = without_two
        else:
            return (first, *shortest)


def _drop_parts(
    shrinking: "_Shrinking[S, A]", first: Step[S, A], steps: list[Step[S, A]], size: int
) -> list[Step[S, A]]:
    """Leave out every part of this size that can be left out."""
    at = 0
    while at < len(steps):
        found = shrinking.follow(first, steps[:at] + steps[at + size :])
        if found is None:
            at += size
        else:
            steps = found
    return steps


def _drop_two(shrinking: "_Shrinking[S, A]", first: Step[S, A], steps: list[Step[S, A]]) -> list[Step[S, A]] | None:
    """Leave out two steps anywhere; None if no two can be, or there are too many to try."""
    if len(steps) > MOST_TO_PAIR:
        return None
    for i, j in combinations(range(len(steps)), 2):
        found = shrinking.follow(first, steps[:i] + steps[i + 1 : j] + steps[j + 1 :])
        if found is not None:
            return found
    return None


class _Shrinking(Generic[S, A]):
    """What is remembered while one path is shrunk: mostly the same states are met again and again."""

    def __init__(self, machine: Machine[S, A], name: str) -> None:
        self.machine = machine
        self.clause = clause_of(machine, name)
        self.known: dict[S, list[tuple[A, S]]] = {}

    def follow(self, first: Step[S, A], wanted: Sequence[Step[S, A]]) -> list[Step[S, A]] | None:
        """Take those of the wanted steps that are possible, up to the first that fails; None if none does."""
        if self.clause(None, first) is not None:
            return []
        here, taken = first.state, list[Step[S, A]]()
        for step in wanted:
            ends = [after for action, after in self.transitions(here) if action == step.action]
            if not ends:
                continue
            after = step.state if step.state in ends else ends[0]
            taken.append(Step(step.action, after))
            if self.clause(here, taken[-1]) is not None:
                return taken
            here = after
        return None

    def transitions(self, state: S) -> list[tuple[A, S]]:
        """What may happen, asked once."""
        if state not in self.known:
            self.known[state] = list(self.machine.transitions(state))
        return self.known[state]
