"""Searches in other orders than breadth first, and searches that keep fingerprints in place of states.

    breadth      as `checker.explore`: counterexamples are shortest;
    depth        each state's successors before its siblings: a violation far away may be met early, and the
                 counterexample is as long as the way on which it was met;
    deepening    depth first to depth 0, 1, 2, …: shortest counterexamples, and no queue; each round begins anew, and
                 the figures are those of the last one.

States are told apart by a *key*: the state itself, or its 128-bit fingerprint (`checker.fingerprints`). With
fingerprints only those states are in memory that wait for their turn, breadth first, or lie on the current path, depth
first. A path is rebuilt from keys by asking the machine again, from an initial state on.

Depth first, the stack holds for every state of the current path its successors and how many of them were taken, so
that a checkpoint need keep only these numbers. Below a bound of depth, a state that is reached again on a shorter way
is gone through again, for states beyond it may come within the bound; its steps then count again.
"""

from array import array
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from msgspec.structs import replace

from checker.explore import NO_BOUND, PAUSE_MASK, VIOLATED, Search, conduct
from checker.fingerprints import NoFingerprint, collision_odds, fingerprinting
from checker.machine import A, Machine, S
from checker.outcome import Bounds, How, ModelError, Order, Progress, Result, Step, Violation
from checker.tally import chunks, said, sentence


def searching(
    machine: Machine[S, A],
    how: How,
    bounds: Bounds = Bounds(),  # noqa: B008 - immutable
    on_progress: Callable[[Progress], None] | None = None,
    every_seconds: float = 1.0,
) -> Search[S, A]:
    """A search as `how` says, not yet begun."""
    kinds: dict[Order, type[Keyed[S, A]]] = {"breadth": BreadthFirst, "depth": DepthFirst, "deepening": Deepening}
    if how.order == "breadth" and not how.fingerprints:
        return Search(machine, bounds, on_progress, every_seconds)
    search = kinds[how.order](machine, bounds, on_progress, every_seconds)
    if how.fingerprints:
        search.key_of = fingerprinting()
        search.by_fingerprint = True
    return search


def explore_in_order(machine: Machine[S, A], how: How, bounds: Bounds = Bounds()) -> Result[S, A]:  # noqa: B008
    """Search without checkpoints, as `how` says. Raises ModelError as `explore` does."""
    return conduct(searching(machine, how, bounds))


class Keyed(Search[S, A]):
    """What the searches here share: states known by their keys, and one way to go through a state."""

    def __init__(
        self,
        machine: Machine[S, A],
        bounds: Bounds,
        on_progress: Callable[[Progress], None] | None,
        every_seconds: float,
    ) -> None:
        """By the states themselves, unless `key_of` is set to something else."""
        super().__init__(machine, bounds, on_progress, every_seconds)
        self.key_of: Callable[[S], Hashable] = lambda state: state
        self.by_fingerprint = False
        self.known: dict[Hashable, int] = {}
        """Each key's index, in order of discovery."""
        self.most_states = NO_BOUND if bounds.states is None else bounds.states
        self.step_claims = bool(self.transition or self.sometimes_step)

    def size(self) -> int:
        """How many distinct states were found."""
        return len(self.known)

    def key(self, state: S) -> Hashable:
        """What the state is told apart by. Raises ModelError."""
        try:
            return self.key_of(state)
        except NoFingerprint as error:
            raise ModelError("a fingerprint", str(error)) from error

    def add(self, key: Hashable, state: S, parent: int | None) -> int | None:
        """Take a new state in and judge it: its index, None if it violates a property. An initial one has no parent."""
        index = len(self.known)
        self.known[key] = index
        self.parents.append(index if parent is None else parent)
        name = ""
        try:
            for name, violation in self.always:
                if (clause := violation(state)) is not None:
                    self.violation = Violation(name, "always", sentence(clause), self.path(index))
                    return None
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"property {name}", said(error), self.path(index)) from error
        return index

    def successors(self, index: int, state: S) -> list[tuple[A, S]]:
        """Everything that may happen there, counted and judged; see `violation` for what came of that."""
        self.at = index
        transitions = self.judged_transitions if self.step_claims else self.machine.transitions
        kind_of, taken = self.kind_of, self.taken
        try:
            found = list(transitions(state))
            for action, _ in found:
                taken[kind_of(action)] = taken.get(kind_of(action), 0) + 1
            if not found:
                self.is_deadlock(index, state)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError("a step from the last state", said(error), self.path(index)) from error
        return found

    def initial(self) -> list[S]:
        """The initial states, as often as the machine gives them."""
        try:
            found = list(self.machine.initial())
        except Exception as error:
            raise ModelError("the initial states", said(error)) from error
        if not found:
            raise ModelError("the initial states", "there are none")
        return found

    def look_everywhere(self) -> None:
        """Every state was looked at when it was found."""

    def path(self, index: int) -> tuple[Step[S, A], ...]:
        """The way by which a state was found."""
        indices = [index]
        while (parent := self.parents[indices[-1]]) != indices[-1]:
            indices.append(parent)
        keys = list(self.known)
        wanted = [keys[i] for i in reversed(indices)]
        state = next((s for s in self.initial() if self.key(s) == wanted[0]), None)
        if state is None:
            raise ModelError("the initial states", "asked again, they are others")
        steps = [Step[S, A](None, state)]
        for key in wanted[1:]:
            here = steps[-1].state
            onward = next((step for step in self.machine.transitions(here) if self.key(step[1]) == key), None)
            if onward is None:
                raise ModelError("a step", f"asked again, no action leads from {here!r} to where one did")
            steps.append(Step(*onward))
        return tuple(steps)

    def result(self, stopped: str) -> Result[S, A]:
        """With the odds that two states were taken for one."""
        found = super().result(stopped)
        return replace(found, collision_odds=collision_odds(self.size())) if self.by_fingerprint else found

    def restore_known(self, records: Iterator[Any]) -> None:  # Any: see `Search.restore`
        """The keys, in their order."""
        for _ in range(next(records)):
            for key in next(records):
                self.known[key] = len(self.known)

    def known_records(self) -> Iterator[object]:
        """What `restore_known` reads."""
        pieces = list(chunks(list(self.known)))
        yield len(pieces)
        yield from pieces


class BreadthFirst(Keyed[S, A]):
    """Breadth first, keeping only the states that wait for their turn."""

    def start(self) -> bool:
        """Take the initial states in."""
        self.waiting: deque[S] = deque()
        for state in self.initial():
            self.roots += 1
            if (key := self.key(state)) not in self.known and not self.take_in(key, state, None):
                return True
        return False

    def take_in(self, key: Hashable, state: S, parent: int | None) -> bool:
        """A new state waits for its turn; False if it violates a property."""
        if self.add(key, state, parent) is None:
            return False
        self.waiting.append(state)
        if self.sometimes:
            self.look(len(self.known) - 1, state)
        return True

    def farthest(self) -> int:
        """The depth of the newest state."""
        return self.depth(self.size() - 1)

    def run(self) -> str:
        """Search to the end, to a violation, or to what cut the search short."""
        while self.waiting:
            index = self.size() - len(self.waiting)
            self.at = index
            if index == self.level_starts[-1]:
                self.level_starts.append(self.size())
                if len(self.level_starts) - 2 == self.bounds.depth:
                    self.level_starts.pop()
                    return f"bound of depth {self.bounds.depth:,} reached"
            if not index & PAUSE_MASK and (stop := self.checked(len(self.waiting), self.depth(index))):
                return stop
            for action, after in self.successors(index, self.waiting[0]):
                key = self.key(after)
                if key in self.known:
                    continue
                if self.at_pause is None and self.size() >= self.most_states:
                    return f"bound of {self.most_states:,} states reached"
                self.fresh[self.kind_of(action)] += 1
                if not self.take_in(key, after, index):
                    return VIOLATED
            if self.violation is not None:
                return VIOLATED
            self.waiting.popleft()
        return ""

    def records(self) -> Iterator[object]:
        """Keys, and the states that wait."""
        yield self.counters()
        yield self.level_starts, self.parents
        yield from self.known_records()
        yield from chunks(self.waiting)

    def restore(self, records: Iterator[Any]) -> None:  # Any: see `Search.restore`
        """Be there again."""
        self.restore_counters(next(records))
        self.level_starts, self.parents = next(records)
        self.restore_known(records)
        self.waiting = deque(state for chunk in records for state in chunk)


class Frame:
    """A state on the current path: its successors, and how many of them were taken."""

    __slots__ = ("index", "options", "taken")

    def __init__(self, index: int | None, options: list[tuple[Any, Any]], taken: int = 0) -> None:  # Any: A and S
        self.index = index  # None: the options are the initial states
        self.options = options
        self.taken = taken


class DepthFirst(Keyed[S, A]):
    """Depth first, down to `limit` if there is one."""

    order: Order = "depth"

    def start(self) -> bool:
        """Begin at the initial states."""
        self.limit = self.bounds.depth
        self.begin()
        return False

    def begin(self) -> None:
        """Forget everything, and stand before the initial states."""
        options = [(None, state) for state in self.initial()]
        self.known, self.depths = {}, array("I")
        del self.parents[:]
        self.taken, self.roots = {}, len(options)
        self.fresh.clear()
        self.stack = [Frame(None, options)]

    def depth(self, index: int) -> int:
        """How long the shortest way to it was so far."""
        return self.depths[index]

    def farthest(self) -> int:
        """The greatest depth of a state that was found."""
        return max(self.depths)

    def run(self) -> str:
        """Search to the end, to a violation, or to what cut the search short."""
        stop = self.descend()
        return f"bound of depth {self.limit:,} reached" if not stop and self.is_cut_short() else stop

    def is_cut_short(self) -> bool:
        """Whether some state is so far away that nobody looked further."""
        return self.limit is not None and self.limit in self.depths

    def descend(self) -> str:
        """Go through everything down to the limit."""
        turns = 0
        while self.stack:
            frame = self.stack[-1]
            if frame.taken == len(frame.options):
                self.stack.pop()
                continue
            if not (turns := turns + 1) & PAUSE_MASK and (stop := self.checked(self.waiting(), len(self.stack) - 1)):
                return stop
            action, after = frame.options[frame.taken]
            key, depth = self.key(after), len(self.stack) - 1
            index = self.known.get(key)
            if index is None:
                if self.size() >= self.most_states:
                    return f"bound of {self.most_states:,} states reached"
                self.depths.append(depth)
                if action is not None:
                    self.fresh[self.kind_of(action)] += 1
                if (index := self.add(key, after, frame.index)) is None:
                    return VIOLATED
                if self.sometimes:
                    self.look(index, after)
            elif self.limit is not None and depth < self.depths[index]:
                self.depths[index] = depth
                self.parents[index] = index if frame.index is None else frame.index
            else:
                frame.taken += 1
                continue
            frame.taken += 1
            if depth == self.limit:
                continue
            self.stack.append(Frame(index, self.successors(index, after)))
            if self.violation is not None:
                return VIOLATED
        return ""

    def waiting(self) -> int:
        """How many successors of states on the path are not yet looked at."""
        return sum(len(frame.options) - frame.taken for frame in self.stack)

    def records(self) -> Iterator[object]:
        """Keys, and the current path as the numbers of successors taken."""
        yield self.counters()
        yield self.limit, self.parents, self.depths
        yield [(frame.index, frame.taken) for frame in self.stack]
        yield from self.known_records()

    def restore(self, records: Iterator[Any]) -> None:  # Any: see `Search.restore`
        """Be there again: the path is taken once more."""
        self.restore_counters(next(records))
        self.limit, self.parents, self.depths = next(records)
        path: list[tuple[int | None, int]] = next(records)
        self.restore_known(records)
        self.stack = []
        options: list[tuple[Any, Any]] = [(None, state) for state in self.initial()]  # Any: A and S
        for place, (index, taken) in enumerate(path):
            self.stack.append(Frame(index, options, taken))
            if place + 1 < len(path):
                options = list(self.machine.transitions(options[taken - 1][1]))


class Deepening(DepthFirst[S, A]):
    """Depth first, again and again, one step deeper each time."""

    order: Order = "deepening"

    def start(self) -> bool:
        """At depth 0."""
        self.limit = 0
        self.begin()
        return False

    def run(self) -> str:
        """Search to the end, to a violation, or to what cut the search short."""
        while True:
            stop = self.descend()
            if stop or not self.is_cut_short():
                return stop
            assert self.limit is not None, "it begins at 0"
            if self.limit == self.bounds.depth:
                return f"bound of depth {self.limit:,} reached"
            self.limit += 1
            self.begin()
