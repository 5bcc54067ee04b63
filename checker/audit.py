"""Putting what a machine declares of itself to the test, on every state of a small model.

A reduction is sound if what is claimed for it holds, and a claim about all states can only be trusted after it was
tried on many. So an audit walks the machine in full, unreduced, breadth first, and asks at every state for the
consequences of the claim. Of the first that fails it says which claim it is, in which state, and how it shows.

    symmetry     a renamed state can do what the state can do, renamed; it is final where the state is; the same
                 properties fail and the same are met; both have the same representative, which belongs to their orbit;
                 and the sizes of all orbits add up to the states there are
    step         `transitions` says what `actions` and `step` say, and says it again when asked again

A machine with reductions of its own tests what they claim in `audits`.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from checker.machine import A, Always, ClaimsLiveness, Machine, S, Sometimes, SometimesStep, TakesOneStep, Transition
from checker.symmetry import HasSymmetry, Renaming, Symmetry


class Audited(Struct, frozen=True):
    """What came of one claim: `complaint` names the state and how it shows, and is empty where nothing was found."""

    claim: str
    states: int
    complete: bool
    """Whether these were all states."""
    complaint: str = ""


@runtime_checkable
class HasAudits(Protocol):
    """A machine whose own reductions can be put to the test."""

    def audits(self, max_states: int) -> Iterable[Audited]:
        """Each claim, tried on up to so many states."""


def audit_all(machine: Machine[S, A], max_states: int) -> Iterator[Audited]:
    """Everything that the machine declares, each claim tried on up to so many states."""
    yield audited("step", walk := Walk(machine, max_states), differing_steps(walk))
    if isinstance(machine, HasSymmetry):
        yield audited("symmetry", walk := Walk(machine, max_states), asymmetries(walk, machine.symmetry))
    if isinstance(machine, HasAudits) and not isinstance(machine, ClaimsLiveness):  # which is not reduced
        yield from machine.audits(max_states)


def audited(claim: str, walk: "Walk[S, A]", complaints: Iterator[str]) -> Audited:
    """The first of the complaints, if there is one, after as much of the walk as it took to find it."""
    complaint = next(complaints, "")
    return Audited(claim, len(walk.seen), walk.complete, complaint)


class Walk(Generic[S, A]):
    """All states of a machine, breadth first, up to a bound, each with what can happen in it."""

    def __init__(self, machine: Machine[S, A], max_states: int) -> None:
        """Nothing is asked yet."""
        self.machine = machine
        self.max_states = max_states
        self.seen: dict[S, None] = {}
        self.complete = False

    def __iter__(self) -> Iterator[tuple[S, list[tuple[A, S]]]]:
        """From the initial states on."""
        self.seen, skipped = dict.fromkeys(self.machine.initial()), False
        queue = deque(self.seen)
        while queue:
            state = queue.popleft()
            steps = list(self.machine.transitions(state))
            yield state, steps
            for _, after in steps:
                if after in self.seen:
                    continue
                if len(self.seen) >= self.max_states:
                    skipped = True
                    continue
                self.seen[after] = None
                queue.append(after)
        self.complete = not skipped


def differing_steps(walk: Walk[S, A]) -> Iterator[str]:
    """Where the machine says one thing and then another."""
    machine = walk.machine
    for state, steps in walk:
        if list(machine.transitions(state)) != steps:
            yield f"asked twice what may happen, the machine gives two answers in {state}"
        if isinstance(machine, TakesOneStep):
            apart = [(action, machine.step(state, action)) for action in machine.actions(state)]
            if apart != steps:
                yield f"`transitions` is not what `actions` and `step` say together, in {state}"


def asymmetries(walk: Walk[S, A], symmetry: Symmetry[S]) -> Iterator[str]:
    """Where a renaming makes a difference."""
    machine, generators, adding_up = walk.machine, symmetry.generators(), 0
    judge = judging(machine)
    for renaming in generators:
        if set(map(renaming.apply, machine.initial())) != set(machine.initial()):
            yield f"a renaming that {renaming.told} turns an initial state into one that is none"
    for state, steps in walk:
        standing = symmetry.representative(state)
        if symmetry.representative(standing) != standing:
            yield f"the representative {standing} of {state} has another representative"
        if standing == state:
            adding_up += symmetry.orbit_size(state)
        for renaming in generators:
            image = renaming.apply(state)
            if symmetry.representative(image) != standing:
                yield f"a renaming that {renaming.told} gives {image} another representative than {state} has"
            difference = differs(machine, judge, (state, steps), image, renaming)
            if difference:
                yield f"a renaming that {renaming.told} turns {state} into {image}, {difference}"
    if walk.complete and adding_up != len(walk.seen):
        yield f"the sizes of all orbits add up to {adding_up:,}, and there are {len(walk.seen):,} states"


def differs(
    machine: Machine[S, A], judge: "Judge[S, A]", here: tuple[S, list[tuple[A, S]]], image: S, renaming: Renaming[S]
) -> str:
    """How a state and its image can be told apart, if they can."""
    state, steps = here
    if machine.is_final(state) != machine.is_final(image):
        return "and only one of the two is final"
    if (ours := judge(state, None, state)) != (theirs := judge(image, None, image)):
        return f"and {', '.join(sorted(ours ^ theirs))} holds in only one of the two"
    told_steps = Counter((renaming.apply(after), judge(state, action, after)) for action, after in steps)
    image_steps = Counter((after, judge(image, action, after)) for action, after in machine.transitions(image))
    for after, judged in told_steps - image_steps:
        return f"where nothing leads to {after}, judged {', '.join(sorted(judged)) or 'in order'}, as it should"
    for after, judged in image_steps - told_steps:
        return f"where something leads to {after}, judged {', '.join(sorted(judged)) or 'in order'}, as it should not"
    return ""


Judge: TypeAlias = Callable[[S, A | None, S], frozenset[str]]
"""The names of the claims that a state violates and of the *sometimes* that it meets; of a step, if one is given."""


def judging(machine: Machine[S, A]) -> Judge[S, A]:
    """All claims of a machine as one function."""
    properties = tuple(machine.properties)

    def judge(before: S, action: A | None, after: S) -> frozenset[str]:
        said = set()
        for p in properties:
            if isinstance(p, Always) and action is None:
                if p.violation(after) is not None:
                    said.add(p.name)
            elif isinstance(p, Sometimes) and action is None:
                if p.holds(after):
                    said.add(p.name)
            elif isinstance(p, Transition) and action is not None:
                if p.violation(before, action, after) is not None:
                    said.add(p.name)
            elif isinstance(p, SometimesStep) and action is not None:
                if p.holds(before, action, after):
                    said.add(p.name)
        return frozenset(said)

    return judge
