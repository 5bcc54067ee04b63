"""The jug puzzle of the film *Die Hard 3*, as in the TLA+ examples: measure 4 gallons with jugs of 3 and 5.

All 16 states are reachable. Claiming that the big jug never holds 4 gallons makes the solution a counterexample.
"""

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct

from checker.machine import Always, Property, SimpleMachine, Sometimes, invariant

SMALL_GALLONS, BIG_GALLONS, GOAL_GALLONS = 3, 5, 4


class Jugs(Struct, frozen=True, cache_hash=True):
    """Gallons of water in each jug."""

    small: int
    big: int


class FillSmall(Struct, frozen=True, tag=True):
    """Fill the small jug from the pump."""


class FillBig(Struct, frozen=True, tag=True):
    """Fill the big jug from the pump."""


class EmptySmall(Struct, frozen=True, tag=True):
    """Empty the small jug onto the ground."""


class EmptyBig(Struct, frozen=True, tag=True):
    """Empty the big jug onto the ground."""


class SmallToBig(Struct, frozen=True, tag=True):
    """Pour until the small jug is empty or the big one full."""


class BigToSmall(Struct, frozen=True, tag=True):
    """Pour until the big jug is empty or the small one full."""


Action: TypeAlias = FillSmall | FillBig | EmptySmall | EmptyBig | SmallToBig | BigToSmall
ACTIONS: tuple[Action, ...] = (FillSmall(), FillBig(), EmptySmall(), EmptyBig(), SmallToBig(), BigToSmall())
WORDS = {
    FillSmall: "fill the small jug",
    FillBig: "fill the big jug",
    EmptySmall: "empty the small jug",
    EmptyBig: "empty the big jug",
    SmallToBig: "pour the small jug into the big one",
    BigToSmall: "pour the big jug into the small one",
}


class DieHard(SimpleMachine[Jugs, Action]):
    """The puzzle; with `claim_unsolvable`, its goal is claimed to be out of reach, which is false."""

    def __init__(self, claim_unsolvable: bool = False) -> None:
        """Only the claims differ."""
        self.name = "die-hard-solved" if claim_unsolvable else "die-hard"
        claims: list[Property[Jugs, Action]] = [
            Always("no-overflow", overflow),
            Sometimes("measured", lambda jugs: jugs.big == GOAL_GALLONS, of="no-overflow"),
        ]
        if claim_unsolvable:
            goal = f"the big jug holds {GOAL_GALLONS} gallons"
            claims.append(invariant("unsolvable", lambda jugs: jugs.big != GOAL_GALLONS, goal))
        self.properties: Sequence[Property[Jugs, Action]] = claims

    def initial(self) -> list[Jugs]:
        """Both empty."""
        return [Jugs(0, 0)]

    def actions(self, state: Jugs) -> tuple[Action, ...]:  # noqa: ARG002 - all are always possible
        """Any of the six, at any time."""
        return ACTIONS

    def step(self, state: Jugs, action: Action) -> Jugs:
        """What is in the jugs afterwards."""
        small, big = state.small, state.big
        match action:
            case FillSmall():
                return Jugs(SMALL_GALLONS, big)
            case FillBig():
                return Jugs(small, BIG_GALLONS)
            case EmptySmall():
                return Jugs(0, big)
            case EmptyBig():
                return Jugs(small, 0)
            case SmallToBig():
                poured = min(small, BIG_GALLONS - big)
                return Jugs(small - poured, big + poured)
            case BigToSmall():
                poured = min(big, SMALL_GALLONS - small)
                return Jugs(small + poured, big - poured)

    def describe_action(self, action: Action) -> str:
        """In the words of the film, more or less."""
        return WORDS[type(action)]


def overflow(jugs: Jugs) -> str | None:
    """Each jug holds between nothing and its size."""
    if not 0 <= jugs.small <= SMALL_GALLONS:
        return f"the small jug holds {jugs.small} gallons"
    if not 0 <= jugs.big <= BIG_GALLONS:
        return f"the big jug holds {jugs.big} gallons"
    return None
