"""What a search may be asked and what it may find: bounds, progress, paths, violations, verdicts.

A search is *incomplete* when a bound cut it short; what it then says of a property is only that it was not violated so
far, or not met so far.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, Literal, TypeAlias

from msgspec import Struct

from checker.machine import A, S

Verdict: TypeAlias = Literal["holds", "violated", "incomplete"]
Standing: TypeAlias = Literal["holds", "violated", "not violated so far", "met", "unmet", "not met so far"]
PropertyKind: TypeAlias = Literal["always", "transition", "sometimes", "deadlock"]
Order: TypeAlias = Literal["breadth", "depth", "deepening"]

DEADLOCK = "deadlock-free"
DEADLOCK_CLAUSE = "nothing can happen here, and the state is not declared final"


class Bounds(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to stop; None is no bound. A search that a bound cuts short is incomplete."""

    states: int | None = None  # at most so many distinct states
    depth: int | None = None  # states so many steps from an initial one are checked but not left
    seconds: float | None = None
    memory: int | None = None  # bytes that the process holds


class How(Struct, frozen=True, forbid_unknown_fields=True):
    """How to search: in which order, what states are told apart by, and where to keep what was found so far."""

    order: Order = "breadth"
    fingerprints: bool = False
    checkpoint: Path | None = None
    """The file that a later search can be resumed from, written now and then and when the search is cut short."""
    checkpoint_seconds: float = 600.0
    resume: bool = False
    """Whether to begin where the checkpoint is."""
    reduce: bool = False
    """Whether to search what stands for the states in place of all of them; then breadth first, in memory."""


class Progress(Struct, frozen=True):
    """How far a running search is."""

    states: int
    generated: int
    queue: int  # states found whose successors are not yet known
    depth: int
    seconds: float
    memory: int  # bytes that the process holds

    @property
    def rate(self) -> float:
        """Distinct states per second since the start."""
        return self.states / self.seconds if self.seconds > 0 else 0.0


class Step(Struct, Generic[S, A], frozen=True):
    """One element of a path: the state, and the action that led to it (None: it is initial)."""

    action: A | None
    state: S


class Violation(Struct, Generic[S, A], frozen=True):
    """A claim that failed, the clause, and a shortest path to it, empty for a *sometimes* that was never met."""

    property: str
    kind: PropertyKind
    clause: str
    path: tuple[Step[S, A], ...]


class PropertyResult(Struct, frozen=True):
    """What became of one property; `depth` is the distance of a state in which a *sometimes* is met."""

    name: str
    kind: PropertyKind
    standing: Standing
    of: str = ""
    depth: int | None = None


class Coverage(Struct, frozen=True):
    """How many steps of one kind were generated, and how many of them led to a new state."""

    kind: str
    generated: int
    new: int


class Result(Struct, Generic[S, A], frozen=True):
    """What a search found. `depth` is the distance of the farthest state; `stopped` says what cut the search short."""

    machine: str
    verdict: Verdict
    states: int
    generated: int
    depth: int
    seconds: float
    properties: tuple[PropertyResult, ...]
    coverage: tuple[Coverage, ...]
    violation: Violation[S, A] | None = None
    stopped: str = ""
    order: Order = "breadth"
    collision_odds: float = 0.0
    """At most how likely it is that two states were taken for one; 0 where states themselves are compared."""
    reduced: bool = False
    """Whether states that stand for others were searched in place of all of them."""
    stands_for: int | None = None
    """Of a reduced search that saw everything: of how many states, where it is known."""


class ModelError(Exception):
    """The model itself is wrong: a step or a property raised, or it broke the rules of a machine.

    `doing` names what was asked of it, `path` leads to the state (steps of the machine's types); the cause is chained.
    """

    def __init__(self, doing: str, what: str, path: tuple[Step[S, A], ...] = ()) -> None:
        """`what` says in one line what went wrong."""
        super().__init__(f"{doing}: {what}")
        self.doing = doing
        self.path: tuple[Step[object, object], ...] = tuple(Step(step.action, step.state) for step in path)
