"""Mutual exclusion of two processes: Peterson's algorithm (1981), and a lock that whoever comes first takes.

The answers are those of the textbooks. With weak fairness of each process, whoever waits gets in under Peterson's
algorithm; with the lock it may starve, for whenever it looks the other may have it, unless taking the lock is strongly
fair. Nobody is obliged to want to get in.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from checker.machine import Always, Fair, LeadsTo, Liveness, Property, SimpleMachine, Sometimes

Place: TypeAlias = Literal["idle", "wants", "waits", "inside"]


class State(Struct, frozen=True, cache_hash=True):
    """Where both are; and for Peterson's algorithm, whose turn it is."""

    places: tuple[Place, Place]
    turn: int = 0


class Want(Struct, frozen=True, tag=True):
    """A process begins to want to get in."""

    process: int


class Yield(Struct, frozen=True, tag=True):
    """Peterson: it gives the turn to the other."""

    process: int


class Enter(Struct, frozen=True, tag=True):
    """It gets in."""

    process: int


class Leave(Struct, frozen=True, tag=True):
    """It leaves."""

    process: int


Action: TypeAlias = Want | Yield | Enter | Leave


def both_inside(state: State) -> str | None:
    """At most one is inside."""
    return "both are inside" if state.places == ("inside", "inside") else None


class Peterson(SimpleMachine[State, Action]):
    """A process wants to get in, gives the turn away, and waits until the other is idle or gives the turn back."""

    name = "peterson"

    def __init__(self, fair: bool = True, strong: bool = False) -> None:
        """`fair`: a process that wants to get in goes on; `strong`: strongly."""
        self.properties: Sequence[Property[State, Action]] = (
            Always("exclusive", both_inside),
            Sometimes("somebody-enters", lambda state: "inside" in state.places, of="exclusive"),
        )
        self.liveness: Sequence[Liveness[State]] = (
            LeadsTo("0-gets-in", lambda s: s.places[0] != "idle", lambda s: s.places[0] == "inside"),
            LeadsTo("1-gets-in", lambda s: s.places[1] != "idle", lambda s: s.places[1] == "inside"),
        )
        goes_on = Fair[Action]("process", lambda a: None if isinstance(a, Want) else (type(a), a.process), strong)
        self.fairness: Sequence[Fair[Action]] = (goes_on,) if fair else ()

    def initial(self) -> list[State]:
        """Both are idle."""
        return [State(("idle", "idle"))]

    def actions(self, state: State) -> list[Action]:
        """What each may do next."""
        found: list[Action] = []
        for process, place in enumerate(state.places):
            match place:
                case "idle":
                    found.append(Want(process))
                case "wants":
                    found.append(Yield(process))
                case "waits" if state.turn == process or state.places[1 - process] == "idle":
                    found.append(Enter(process))
                case "inside":
                    found.append(Leave(process))
        return found

    def step(self, state: State, action: Action) -> State:
        """One moves."""
        process, to = action.process, list(state.places)
        after: dict[type[Action], Place] = {Want: "wants", Yield: "waits", Enter: "inside", Leave: "idle"}
        to[process] = after[type(action)]
        return State((to[0], to[1]), 1 - process if isinstance(action, Yield) else state.turn)


class Lock(Peterson):
    """A process waits until the other is not inside."""

    name = "lock"

    def actions(self, state: State) -> list[Action]:
        """What each may do next."""
        found: list[Action] = []
        for process, place in enumerate(state.places):
            match place:
                case "idle":
                    found.append(Want(process))
                case "wants" if state.places[1 - process] != "inside":
                    found.append(Enter(process))
                case "inside":
                    found.append(Leave(process))
        return found
