"""The dining philosophers with forks that are handed over clean, after Chandy and Misra (1984).

Source: the TLA+ examples, `specifications/DiningPhilosophers/DiningPhilosophers.tla` by Jeff Hemphill; its manifest
gives 67 distinct states of 336 generated, depth 29, for NP = 5.

Fork p lies to the left of philosopher p and to the right of philosopher p - 1. Whoever holds a dirty fork cleans it and
hands it to the neighbour; whoever holds two clean ones eats, which makes them dirty.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from checker.machine import Always, Fair, LeadsTo, Liveness, Property, SimpleMachine, Sometimes

Place: TypeAlias = Literal["Loop", "Eat", "Think"]


class Fork(Struct, frozen=True, cache_hash=True):
    """Who holds it, and whether it is clean."""

    holder: int
    clean: bool


class State(Struct, frozen=True, cache_hash=True):
    """The forks; of each philosopher the place in the algorithm, and whether it is hungry."""

    forks: tuple[Fork, ...]
    places: tuple[Place, ...]
    hungry: tuple[bool, ...]


class Act(Struct, frozen=True, tag=True):
    """A philosopher does what comes next: Loop, Think or Eat."""

    philosopher: int


class Dining(SimpleMachine[State, Act]):
    """`n` philosophers, numbered from 0; with `fair`, none of them stops."""

    def __init__(self, n: int, fair: bool = True) -> None:
        """Only liveness depends on `fair`."""
        self.name = f"dining-{n}"
        self.n = n
        self.properties: Sequence[Property[State, Act]] = (
            Always("exclusive-access", self.neighbours_eat),
            Sometimes("somebody-eats", lambda state: "Eat" in state.places, of="exclusive-access"),
        )
        self.liveness: Sequence[Liveness[State]] = [self.does_not_starve(p) for p in range(n)]
        self.fairness: Sequence[Fair[Act]] = (Fair("philosopher", lambda act: act.philosopher),) if fair else ()

    def does_not_starve(self, p: int) -> Liveness[State]:
        """Whatever happens, philosopher `p` is not hungry later."""
        return LeadsTo(f"{p}-does-not-starve", lambda _: True, lambda state: not state.hungry[p])

    def neighbours_eat(self, state: State) -> str | None:
        """Two who share a fork do not eat at once (ExclusiveAccess)."""
        for p in range(self.n):
            if state.places[p] == state.places[(p + 1) % self.n] == "Eat":
                return f"philosophers {p} and {(p + 1) % self.n} eat"
        return None

    def initial(self) -> list[State]:
        """Each fork is dirty, and held by the philosopher of the lowest number beside it."""
        forks = tuple(Fork(0 if fork == 1 else fork, False) for fork in range(self.n))
        places: tuple[Place, ...] = tuple("Loop" for _ in range(self.n))
        return [State(forks, places, (True,) * self.n)]

    def actions(self, state: State) -> list[Act]:  # noqa: ARG002 - all can always act
        """Everybody."""
        return [Act(p) for p in range(self.n)]

    def step(self, state: State, action: Act) -> State:
        """The module's Loop, Think and Eat."""
        p, left, right = action.philosopher, action.philosopher, (action.philosopher + 1) % self.n
        forks, places, hungry = list(state.forks), list(state.places), list(state.hungry)
        match state.places[p]:
            case "Loop":
                if forks[left] == Fork(p, False):
                    forks[left] = Fork((p - 1) % self.n, True)
                elif forks[right] == Fork(p, False):
                    forks[right] = Fork((p + 1) % self.n, True)
                can_eat = state.forks[left] == state.forks[right] == Fork(p, True)  # as they were before
                if not hungry[p]:
                    places[p] = "Think"
                elif can_eat:
                    places[p] = "Eat"
            case "Think":
                hungry[p], places[p] = True, "Loop"
            case "Eat":
                hungry[p], places[p] = False, "Loop"
                forks[left] = Fork(forks[left].holder, False)
                forks[right] = Fork(forks[right].holder, False)
        return State(tuple(forks), tuple(places), tuple(hungry))
