"""Refinement: every explored step of the cluster is a step of the abstract protocol.

For each transition the witness (`spec.witness`) names the protocol actions that it amounts to. They are carried
out on the protocol state that the state before stands for, each guard asked first, and have to end exactly in the
protocol state that the state after stands for. It is a transition property like any other, so an explorer finds a
shortest run that leaves the protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

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

REMEMBERED = 8_192
"""How many meanings of states are kept: about 40 MB. A state is met once as what it comes from, and often before, as
what leads there."""

Abstraction = Callable[[Scenario, State, Key], abstract.State]


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
        for move in witness(self.scenario, before, action, after, key):
            allowed, state = self.perform(state, move)
            if not allowed:
                return f"the protocol does not allow {told(move)} there"
        if state == meant:
            return None
        for move in remainder(state, meant):
            allowed, state = self.perform(state, move)
            assert allowed, "what is there can be lost"
        wrong = [name for name in meant.__struct_fields__ if getattr(meant, name) != getattr(state, name)]
        if not wrong:
            return None
        name = wrong[0]
        return f"{name} is {getattr(meant, name)}, where the protocol leads to {getattr(state, name)}"

    def perform(self, state: abstract.State, move: Move) -> tuple[bool, abstract.State]:
        """Whether the guard of a protocol action allows it, and what it leads to."""
        verb, args = move
        self.seen[verb] += 1
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
