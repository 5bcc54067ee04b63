"""Machines with something wrong with them, each with one thing: what the checker has to notice."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from checker.machine import Always, Property, SimpleMachine, Sometimes, SometimesStep, Transition, invariant


class Count(Struct, frozen=True, cache_hash=True):
    """A number."""

    value: int


class Add(Struct, frozen=True, tag=True):
    """Add so much."""

    amount: int


class Stay(Struct, frozen=True, tag=True):
    """Do nothing."""


Action = Add | Stay


class Counter(SimpleMachine[Count, Action]):
    """Counts from 0 by ones and twos to at least `limit`, and then stays there, or is stuck if `stuck`."""

    def __init__(self, *properties: Property[Count, Action], limit: int = 10, stuck: bool = False) -> None:
        """`properties` are what is claimed."""
        self.name = "counter"
        self.limit = limit
        self.stuck = stuck
        self.properties: Sequence[Property[Count, Action]] = properties
        self.action_kinds = ["Add", "Stay", "Subtract"]

    def initial(self) -> list[Count]:
        """Zero."""
        return [Count(0)]

    def actions(self, state: Count) -> list[Action]:
        """Ones and twos."""
        if state.value >= self.limit:
            return [] if self.stuck else [Stay()]
        return [Add(1), Add(2)]

    def step(self, state: Count, action: Action) -> Count:
        """The sum."""
        return Count(state.value + action.amount) if isinstance(action, Add) else state


class Finished(Counter):
    """Stuck at the end, and says that this is the end."""

    def is_final(self, state: Count) -> bool:
        """At the limit."""
        return state.value >= self.limit


class Fused(Counter):
    """Gives other transitions than its actions and steps say, from `wrong_at` on."""

    def __init__(self, wrong: Callable[[list[tuple[Action, Count]]], list[tuple[Action, Count]]]) -> None:
        """`wrong` alters the transitions of 3."""
        super().__init__()
        self.wrong = wrong

    def transitions(self, state: Count) -> list[tuple[Action, Count]]:
        """Right but for 3."""
        right = [(action, self.step(state, action)) for action in self.actions(state)]
        return self.wrong(right) if state == Count(3) else right


class Forgetful(Counter):
    """Steps to a new number each time it is asked."""

    asked = 0

    def step(self, state: Count, action: Action) -> Count:  # noqa: ARG002 - that is what is wrong
        """Never the same again."""
        self.asked += 1
        return Count(state.value + self.asked)


class Unhashable(SimpleMachine[list[int], Action]):
    """Its states cannot stand in a set."""

    name = "unhashable"

    def initial(self) -> list[list[int]]:
        """One."""
        return [[0]]


def raises(*_: object) -> str | None:
    """A property that has a bug."""
    raise ZeroDivisionError("the property divides by zero")


def raises_from(value: int) -> Callable[[Count], str | None]:
    """The same, but only at one state."""
    return lambda state: raises() if state.value == value else None


def doubles(before: Count, action: Action, after: Count) -> str | None:  # noqa: ARG001 - a step property
    """No step goes from 3 to 5."""
    return "it went from 3 to 5" if (before.value, after.value) == (3, 5) else None


DEADLOCKS = Counter(stuck=True)
BREAKS_A_STEP = Counter(Transition("never-3-to-5", doubles))
UNMET = Counter(
    invariant("small", lambda state: state.value < 100),
    Sometimes("negative", lambda state: state.value < 0, of="small"),
)
UNMET_STEP = Counter(
    Transition("small-steps", lambda before, action, after: None),  # noqa: ARG005
    SometimesStep("backwards", lambda before, action, after: after.value < before.value, of="small-steps"),  # noqa: ARG005
)
RAISES = Counter(Always("buggy", raises_from(3)))
