"""Judging the store's claims piecemeal: each once for each value of what it reads.

A claim about states may read heads alone (servers, clients, history), or every component by itself (each server, each
message); a claim about steps may have nothing to say of most of them. What each reads is declared here, beside nothing
but its name; a claim that is not named is asked about every whole state, and every step. The audits compare verdicts by
piece with verdicts on whole states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from checker.machine import Always, Property, Sometimes, SometimesStep, Transition
from spec.actions import Action, Arrive
from spec.messages import Answer
from spec.world import State

OF_HEADS = frozenset(
    {
        "no-lost-write",
        "quorum-meaning-put",
        "placement",
        "merge-is-join",
        "dot-uniqueness",
        "one-dot-per-request",
        "context-honesty",
        "quorum-meaning-get",
        "refusal-is-final",
    }
)
OF_COMPONENTS = frozenset({"only-maximal", "hint-limit"})

CONCERNS: dict[str, Callable[[State, Action, State], bool]] = {
    "exact-discard": lambda before, _, after: before.history.created is not after.history.created,
    "read-repair": lambda _, action, __: isinstance(action, Arrive) and isinstance(action.envelope.message, Answer),
}
"""Of which steps a claim says anything."""


class Verdicts:
    """The claims of a machine, by what they read, and its witnesses so far unmet."""

    def __init__(self, properties: Sequence[Property[State, Action]]) -> None:
        """In the machine's order."""
        always = [p for p in properties if isinstance(p, Always)]
        self.of_heads = [p for p in always if p.name in OF_HEADS]
        self.of_components = [p for p in always if p.name in OF_COMPONENTS]
        self.of_states = [p for p in always if p.name not in OF_HEADS | OF_COMPONENTS]
        self.of_steps = [p for p in properties if isinstance(p, Transition)]
        self.unmet = [p for p in properties if isinstance(p, Sometimes | SometimesStep)]

    def of_head(self, head: State) -> str:
        """The first claim about heads that fails, if one does."""
        return next((p.name for p in self.of_heads if p.violation(head) is not None), "")

    def of_parts(self, state: State) -> str:
        """The first claim about components that fails, if one does."""
        return next((p.name for p in self.of_components if p.violation(state) is not None), "")

    def of_step(self, before: State, action: Action, after: State) -> str:
        """The first claim about steps that fails, if one does."""
        for p in self.of_steps:
            concerns = CONCERNS.get(p.name)
            if (concerns is None or concerns(before, action, after)) and p.violation(before, action, after) is not None:
                return p.name
        return ""

    def look(self, before: State, action: Action, after: State) -> None:
        """Strike out the witnesses that a step, or its end, meets."""
        self.unmet = [
            p
            for p in self.unmet
            if not (p.holds(after) if isinstance(p, Sometimes) else p.holds(before, action, after))
        ]

    def look_at(self, first: State) -> None:
        """Strike out the witnesses that an initial state meets."""
        self.unmet = [p for p in self.unmet if not (isinstance(p, Sometimes) and p.holds(first))]

    def met(self, name: str) -> bool:
        """Whether a witness was struck out."""
        return all(p.name != name for p in self.unmet)
