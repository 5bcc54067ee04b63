"""Refinement: every explored step of the cluster is a step of the abstract protocol, and so is every recorded one.

For each transition the witness (`spec.witness`) names the protocol actions that it amounts to. They are carried
out on the protocol state that the state before stands for, each guard asked first, and have to end exactly in the
protocol state that the state after stands for. It is a transition property like any other, so an explorer finds a
shortest run that leaves the protocol. For the steps of a real run, see `checker.refine_run`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct

from checker.machine import Transition
from checker.prove.subset import functions_of
from spec import protocol
from spec.abstraction import abstraction
from spec.actions import Action
from spec.protocol import state as abstract
from spec.types import Key
from spec.witness import Move, remainder, witness
from spec.world import Scenario, State

UNASKED = Key(b"a key that nobody asks for")
PROTOCOL = functions_of(protocol)

FIELDS = abstract.State.__struct_fields__

REMEMBERED = 8_192
"""How many meanings of states are kept: about 40 MB. A state is met once as what it comes from, and often before, as
what leads there."""

Abstraction = Callable[[Scenario, State, Key], abstract.State]


class Departure(Struct, frozen=True):
    """How a step leaves the protocol."""

    moves: tuple[Move, ...]
    """The protocol actions that it would amount to, up to the one that is not allowed, if one is not."""
    reached: abstract.State
    """Where they lead."""
    meant: abstract.State | None
    """Where the step leads; None if the last of them is not allowed there."""

    def __str__(self) -> str:
        if self.meant is None:
            return f"the protocol does not allow {told(self.moves[-1])} there"
        fields = ((name, getattr(self.meant, name), getattr(self.reached, name)) for name in FIELDS)
        name, meant, reached = next(field for field in fields if field[1] != field[2])
        return f"{name} is {meant}, where the protocol leads to {reached}"


class Refinement:
    """Checks transitions of one scenario, and counts which protocol actions it has seen happen."""

    def __init__(self, scenario: Scenario, abstracted: Abstraction = abstraction) -> None:
        """`abstracted` is for tests that break it on purpose."""
        self.scenario = scenario
        self.seen: Counter[str] = Counter()
        self._abstracted = abstracted
        self._known: dict[tuple[Key, State], abstract.State] = {}

    def meaning(self, state: State, key: Key) -> abstract.State:
        """The protocol state that a state stands for; the last ones are remembered."""
        known = self._known.get((key, state))
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[key, state] = self._abstracted(self.scenario, state, key)
        return known

    def violation(self, before: State, action: Action, after: State) -> str | None:
        """Why this transition is no step of the protocol; None if it is one."""
        for key in (self.scenario.key, UNASKED):
            problem = self.leaves(before, action, after, key)
            if problem is not None:
                return problem if key == self.scenario.key else f"seen from another key, {problem}"
        return None

    def leaves(self, before: State, action: Action, after: State, key: Key) -> str | None:
        """Where the protocol actions of a transition lead elsewhere."""
        state, meant = self.meaning(before, key), self.meaning(after, key)
        departure = follow(state, witness(self.scenario, before, action, after, key), meant, self.seen)
        return None if departure is None else str(departure)


def follow(state: abstract.State, moves: Iterable[Move], meant: abstract.State, seen: Counter[str]) -> Departure | None:
    """Take protocol actions, each guard asked first, and lose what is lost; None if that leads where it is meant to.

    `seen` counts them.
    """
    taken: list[Move] = []
    for move in moves:
        taken.append(move)
        allowed, state = perform(state, move, seen)
        if not allowed:
            return Departure(tuple(taken), state, None)
    if state == meant:
        return None
    for move in remainder(state, meant):
        allowed, state = perform(state, move, seen)
        assert allowed, "what is there can be lost"
    return None if state == meant else Departure(tuple(taken), state, meant)


def perform(state: abstract.State, move: Move, seen: Counter[str]) -> tuple[bool, abstract.State]:
    """Whether the guard of a protocol action allows it, and what it leads to."""
    verb, args = move
    seen[verb] += 1
    if not PROTOCOL[f"{verb}_ok"](state, *args):
        return False, state
    after = PROTOCOL[verb](state, *args)
    assert isinstance(after, abstract.State), f"{verb} is an action"
    return True, after


def refines(refinement: Refinement) -> Transition[State, Action]:
    """The claim that every step is one of the protocol."""
    return Transition("refines-protocol", refinement.violation)


def told(move: Move) -> str:
    """A protocol action with its parameters."""
    return f"{move[0]}({', '.join(map(str, move[1]))})"
