"""Symmetry: states that differ only in who is who need be looked at once.

Where processes run the same program and nobody looks at their names, renaming them turns runs into runs. States that
renamings turn into each other are an *orbit*; it is enough to explore one *representative* of each (Ip and Dill,
"Better verification through symmetry", 1996). A search over representatives is a search over orbits: as many states as
there are orbits, and the sizes of the orbits add up to the number of states of the full search.

A machine declares its symmetry, part by part, in one of two forms:

    Interchangeable(parts, whole)   the state is a tuple of parts, one per process, and a rest, and nothing in either
                                    refers to a process by its place: the representative has its parts in order. Costs
                                    a sort, for any number of processes.
    Renamings(generators)           anything else: renamings of whole states that generate a small group. The
                                    representative is whichever state of the orbit was met first.

It is a claim like any other: that the machine cannot tell renamed states apart. `checker.audit` puts it to the test, on
every state of a small model, and names the state and the renaming that refute it. Properties have to be symmetric
too; one that asks about process 0 alone is not, and the audit says so.
"""

from collections.abc import Callable, Iterator, Sequence
from math import factorial, prod
from typing import Any, Generic, Protocol, runtime_checkable

from msgspec import Struct

from checker.machine import S


class Renaming(Struct, Generic[S], frozen=True):
    """A renaming of states, said in words: "exchanges a and b"."""

    told: str
    apply: Callable[[S], S]


class Symmetry(Protocol[S]):
    """Which states differ only in who is who."""

    def representative(self, state: S) -> S:
        """The state that stands for the orbit of `state`, the same for all states of the orbit."""

    def orbit_size(self, state: S) -> int:
        """How many states the orbit of `state` has."""

    def generators(self) -> Sequence[Renaming[S]]:
        """Renamings of which every other is made."""


@runtime_checkable
class HasSymmetry(Protocol[S]):
    """A machine that declares its symmetry."""

    @property
    def symmetry(self) -> Symmetry[S]:
        """The claim; see the head of this module."""


class Interchangeable(Generic[S]):
    """The symmetry of `n` processes of which a state holds one part each.

    `parts(state)` gives the parts, which are mutually orderable and hashable; `whole(state, parts)` the same state with
    other parts.
    """

    # Any: what a part is made of is the machine's business; it has to be orderable, for which typing has no name.
    def __init__(self, n: int, parts: Callable[[S], Sequence[Any]], whole: Callable[[S, Sequence[Any]], S]) -> None:
        """See above."""
        self.n = n
        self.parts = parts
        self.whole = whole

    def representative(self, state: S) -> S:
        """The state with its parts in order."""
        parts = self.parts(state)
        ordered = sorted(parts)
        return state if ordered == list(parts) else self.whole(state, ordered)

    def orbit_size(self, state: S) -> int:
        """In how many orders the parts can stand: a multinomial coefficient."""
        parts = list(self.parts(state))
        alike = [parts.count(part) for part in set(parts)]
        return factorial(len(parts)) // prod(map(factorial, alike))

    def generators(self) -> list[Renaming[S]]:
        """The exchanges of neighbours."""
        return [Renaming(f"exchanges processes {i} and {i + 1}", self._exchange(i)) for i in range(self.n - 1)]

    def _exchange(self, i: int) -> Callable[[S], S]:
        def exchanged(state: S) -> S:
            parts = list(self.parts(state))
            parts[i], parts[i + 1] = parts[i + 1], parts[i]
            return self.whole(state, parts)

        return exchanged


class Renamings(Generic[S]):
    """The symmetry that some renamings generate; the group should be small, for each state is tried in all its names.

    The first state met of an orbit stands for it, so what is first met has to be the same in every run, as it is in a
    search.
    """

    def __init__(self, generators: Sequence[Renaming[S]]) -> None:
        """See above."""
        self._generators = tuple(generators)
        self._known: dict[S, S] = {}

    def generators(self) -> tuple[Renaming[S], ...]:
        """As given."""
        return self._generators

    def representative(self, state: S) -> S:
        """The first state of the orbit that was asked about."""
        for image in self.orbit(state):
            if image in self._known:
                return self._known[image]
        self._known[state] = state
        return state

    def orbit_size(self, state: S) -> int:
        """By counting them."""
        return sum(1 for _ in self.orbit(state))

    def orbit(self, state: S) -> Iterator[S]:
        """The state in all its names, itself first."""
        found, queue = {state}, [state]
        for here in queue:
            yield here
            for renaming in self._generators:
                image = renaming.apply(here)
                if image not in found:
                    found.add(image)
                    queue.append(image)
