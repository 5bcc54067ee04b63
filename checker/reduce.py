"""Reduced search: fewer states, the same verdict.

A machine may declare that some of its states need not be looked at: by its symmetry (`checker.symmetry`), or by a
reduction of its own (`Reducible`). Either gives another machine, whose states are *keys*: each stands for states of the
real one, and each of its steps for one or more real steps. That machine is searched in place of the real one, by the
same search; nothing in it has to be believed for a violation:

* a counterexample of a reduced search is expanded: a path of the real machine is looked for that passes through states
  with the same keys, and at whose end the same property fails. What cannot be expanded is no counterexample but a
  reduction that is wrong, and is reported as that;
* that nothing is missed is what the declaration claims, and what `checker.audit` tests.

Properties of steps are judged on real steps, before their ends are replaced by what stands for them.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from checker.explore import explore
from checker.machine import (
    A,
    Always,
    ClaimsLiveness,
    KnowsActionKinds,
    ListsActionKinds,
    Machine,
    Property,
    S,
    S_contra,
    Sometimes,
    SometimesStep,
    Transition,
)
from checker.outcome import (
    Bounds,
    ModelError,
    Progress,
    PropertyKind,
    PropertyResult,
    Result,
    Standing,
    Step,
    Violation,
)
from checker.shrink import clause_of
from checker.symmetry import HasSymmetry, Symmetry

K = TypeVar("K", bound=Hashable)


class Reduction(Protocol[S_contra, K]):
    """A machine to be searched in place of the real one."""

    # Any: its actions are its own affair; what the real ones are is found out again when a path is expanded.
    @property
    def machine(self) -> Machine[K, Any]:
        """What is searched. A property of the real machine may be judged under another's name, if that is `judged`."""

    @property
    def longest(self) -> int:
        """The most real steps that one of its steps stands for."""

    def key(self, state: S_contra) -> K:
        """What stands for a real state."""

    def blamed(self, violation: Violation[K, Any]) -> str:
        """The property of the real machine that failed."""

    def stands_for(self) -> int | None:
        """How many real states a search that saw everything has seen; None where that is not known."""


@runtime_checkable
class Reducible(Protocol[S_contra]):
    """A machine with reductions of its own."""

    # Any: what its keys are is its own affair.
    def reduction(self) -> Reduction[S_contra, Any] | None:
        """A fresh one; None where there is none."""


class Move(Struct, Generic[S, A], frozen=True):
    """A real step, whose end is about to be replaced by what stands for it."""

    action: A
    after: S


class Quotient(Generic[S, A]):
    """A machine up to its symmetry: its states are the representatives."""

    longest = 1

    def __init__(self, real: Machine[S, A], symmetry: Symmetry[S]) -> None:
        """`symmetry` is what `real` claims of itself."""
        self.real = real
        self.symmetry = symmetry
        self.name = real.name
        self.properties: Sequence[Property[S, Move[S, A]]] = tuple(_of_moves(p) for p in real.properties)
        self.action_kinds = list(real.action_kinds) if isinstance(real, ListsActionKinds) else []
        self._kind_of: Callable[[A], str] = (
            real.action_kind if isinstance(real, KnowsActionKinds) else lambda action: type(action).__name__
        )
        self._orbits: dict[S, int] = {}

    @property
    def machine(self) -> Machine[S, Any]:
        """Itself."""
        return self

    def initial(self) -> Iterable[S]:
        """What stands for the initial states."""
        return [self.symmetry.representative(state) for state in self.real.initial()]

    def transitions(self, state: S) -> Iterable[tuple[Move[S, A], S]]:
        """The steps of a representative."""
        if state not in self._orbits:
            self._orbits[state] = self.symmetry.orbit_size(state)
        representative = self.symmetry.representative
        for action, after in self.real.transitions(state):
            yield Move(action, after), representative(after)

    def is_final(self, state: S) -> bool:
        """As the real one."""
        return self.real.is_final(state)

    def action_kind(self, move: Move[S, A]) -> str:
        """As of the real action."""
        return self._kind_of(move.action)

    def key(self, state: S) -> S:
        """The representative."""
        return self.symmetry.representative(state)

    def blamed(self, violation: Violation[S, Any]) -> str:
        """Its properties have the real names."""
        return violation.property

    def stands_for(self) -> int | None:
        """The sizes of all orbits together."""
        return sum(self._orbits.values())


def _of_moves(p: Property[S, A]) -> Property[S, Move[S, A]]:
    """A property of steps, judged of the real step."""
    if isinstance(p, Transition):
        of_step = p.violation
        return Transition(p.name, lambda before, move, _: of_step(before, move.action, move.after))
    if isinstance(p, SometimesStep):
        holds = p.holds
        return SometimesStep(p.name, lambda before, move, _: holds(before, move.action, move.after), p.of)
    return p


def reduction_of(machine: Machine[S, A]) -> Reduction[S, Any] | None:
    """What a machine declares of itself; None if it declares nothing, or claims something of whole runs.

    Such runs are runs of the real machine under conditions of its own, which a reduction does not know.
    """
    if isinstance(machine, ClaimsLiveness):
        return None
    if isinstance(machine, Reducible):
        return machine.reduction()
    if isinstance(machine, HasSymmetry):
        return Quotient(machine, machine.symmetry)
    return None


def explore_reduced(
    machine: Machine[S, A],
    bounds: Bounds = Bounds(),  # noqa: B008 - immutable
    on_progress: Callable[[Progress], None] | None = None,
    every_seconds: float = 1.0,
) -> Result[S, A]:
    """Search what stands for `machine`, breadth first, as `explore` does; without a reduction, the machine itself.

    The states of the result are keys; `stands_for` says of how many states, where it is known. Raises ModelError where
    `explore` would, and where a counterexample cannot be expanded.
    """
    reduction = reduction_of(machine)
    if reduction is None:
        return explore(machine, bounds, on_progress, every_seconds)
    for state in machine.initial():
        for p in machine.properties:
            if isinstance(p, Always) and p.violation(state) is not None:  # told as if nothing had been reduced
                return explore(machine, bounds, on_progress, every_seconds)
    try:
        found = explore(reduction.machine, bounds, on_progress, every_seconds)
    except ModelError as error:
        keys = [step.state for step in error.path]
        what = str(error).removeprefix(f"{error.doing}: ")
        raise ModelError(error.doing, what, tuple(_path(machine, reduction, keys))) from (error.__cause__ or error)
    violation = None if found.violation is None else _expanded(machine, reduction, found.violation)
    return replace(
        found,
        properties=_standings(machine, found, None if violation is None else violation.property),
        violation=violation,
        reduced=True,
        stands_for=reduction.stands_for() if found.verdict == "holds" else None,
    )


def _standings(machine: Machine[S, A], found: Result[Any, Any], violated: str | None) -> tuple[PropertyResult, ...]:
    """What became of the real machine's properties; the search itself knows which *sometimes* were met, and where."""
    searched = {p.name: p for p in found.properties}
    complete = not found.stopped and (found.violation is None or found.violation.kind == "sometimes")
    otherwise: Standing = "holds" if complete else "not violated so far"
    claims, witnesses = list[PropertyResult](), list[PropertyResult]()
    for p in machine.properties:
        if isinstance(p, Sometimes | SometimesStep):
            witnesses.append(replace(searched[p.name], of=p.of))
        else:
            claims.append(PropertyResult(p.name, kind_of(p), "violated" if p.name == violated else otherwise))
    return (*claims, *(p for p in found.properties if p.kind == "deadlock"), *witnesses)


def kind_of(p: Property[S, A]) -> PropertyKind:
    """What reports call a property of this sort."""
    return "always" if isinstance(p, Always) else "transition" if isinstance(p, Transition) else "sometimes"


# Counterexamples.


def _expanded(machine: Machine[S, A], reduction: Reduction[S, K], found: Violation[K, Any]) -> Violation[S, A]:
    """The violation as the real machine has it: a path of its own steps, at whose end the same property fails."""
    name = reduction.blamed(found)
    if found.kind == "sometimes":
        return Violation(name, found.kind, found.clause, ())
    clause, keys = clause_of(machine, name), [step.state for step in found.path]
    path = _path(machine, reduction, keys[: max(1, len(keys) - 1)])
    if len(keys) > 1:
        path += _way(machine, path, reduction.longest, lambda before, step: clause(before, step) is not None)
    said = clause(path[-2].state if len(path) > 1 else None, path[-1])
    assert said is not None, "a way that is found ends where the property fails"
    kinds = {p.name: kind_of(p) for p in machine.properties}
    return Violation(name, kinds.get(name, found.kind), said, tuple(path))


def _path(machine: Machine[S, A], reduction: Reduction[S, K], keys: Sequence[K]) -> list[Step[S, A]]:
    """A path of real steps that passes through states with these keys."""
    path, key = list[Step[S, A]](), reduction.key
    for wanted in keys:
        if path:
            path += _way(machine, path, reduction.longest, lambda _, step, wanted=wanted: key(step.state) == wanted)  # type: ignore[misc] # mypy infers no lambda with a default
        else:
            path.append(next(Step[S, A](None, state) for state in machine.initial() if key(state) == wanted))
    return path


def _way(
    machine: Machine[S, A], path: list[Step[S, A]], longest: int, accept: Callable[[S, Step[S, A]], bool]
) -> list[Step[S, A]]:
    """The fewest further steps, at most `longest`, of which the last is accepted."""

    def steps_from(state: S, most: int) -> list[Step[S, A]] | None:
        for action, after in machine.transitions(state):
            step = Step(action, after)
            if most == 1:
                if accept(state, step):
                    return [step]
            elif (rest := steps_from(after, most - 1)) is not None:
                return [step, *rest]
        return None

    for most in range(1, longest + 1):
        if (found := steps_from(path[-1].state, most)) is not None:
            return found
    raise ModelError(
        "a reduction",
        "the machine itself cannot go on as its reduction does: the claim behind it is false",
        tuple(path),
    )
