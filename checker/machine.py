"""What can be explored: a machine, and the properties claimed of it.

A machine is a state graph given by functions. `initial()` yields the states it may start in; `transitions(state)`
yields every (action, next state) that may happen there. States and actions are immutable values: equal states *are*
the same state, whatever led to them, so a state holds everything that its future depends on. Both iterables come in
an order that is the same in every run (never the iteration order of a set or of a hash), for that order decides which
of several shortest counterexamples is told.

Whoever prefers to write "what may happen" and "what it does" apart inherits `SimpleMachine` and gives
`actions(state)` and `step(state, action)`; `transitions` follows. A machine may still override `transitions` for
speed, and then `audit` walks its states and reports the first one where the two forms differ.

Four kinds of property:

    Always(name, violation)             of every reachable state
    Transition(name, violation)         of every step: before, action, after
    Sometimes(name, holds, of)          of at least one reachable state
    SometimesStep(name, holds, of)      of at least one step

`violation` returns None where the property holds, else one line that says which clause failed, and on what. A
*sometimes* is the witness that the claim named `of` is not vacuous: that nothing bad happens says little where
nothing happens. So a *sometimes* that a complete search never meets is a failure of the model, as grave as a
violation.

A state in which nothing can happen is a deadlock, unless `is_final(state)` says that this is how it should end.

What must happen in the end is claimed apart from these, as the machine's `liveness`, for it is judged of whole runs
(see `checker.liveness`):

    Eventually(name, holds)             every run comes to a state that satisfies `holds`
    LeadsTo(name, cause, effect)        from every state of a run that satisfies `cause` it comes to an `effect`

and so is `fairness`, without which nothing ever has to happen: a run may stop anywhere.

A machine may also offer what the protocols at the end of this module name: words for its actions and changes, kinds
of action for coverage, and its parameters. `checker/TUTORIAL.md` builds a machine step by step. The examples in this
module share this one, a lamp that may break:

    >>> class Lamp(SimpleMachine[str, str]):
    ...     name = "lamp"
    ...     def initial(self):
    ...         return ["off"]
    ...     def actions(self, state):
    ...         return {"off": ["switch"], "on": ["switch", "burn out"], "broken": []}[state]
    ...     def step(self, state, action):
    ...         return "broken" if action == "burn out" else "on" if state == "off" else "off"
    ...     def is_final(self, state):
    ...         return state == "broken"
    >>> from checker.explore import explore
    >>> result = explore(Lamp())
    >>> result.verdict, result.states, result.generated
    ('holds', 3, 4)
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from msgspec import Struct

S = TypeVar("S")
A = TypeVar("A")
S_contra = TypeVar("S_contra", contravariant=True)
A_contra = TypeVar("A_contra", contravariant=True)


class Always(Struct, Generic[S], frozen=True):
    """Holds of every reachable state; `violation(state)` is None there, else the clause that failed and on what.

    >>> class Sold(Lamp):
    ...     properties = (Always("works", lambda state: "it burnt out" if state == "broken" else None),)
    >>> found = explore(Sold()).violation
    >>> found.property, found.clause, [step.action for step in found.path]
    ('works', 'it burnt out', [None, 'switch', 'burn out'])
    """

    name: str
    violation: Callable[[S], str | None]


class Transition(Struct, Generic[S, A], frozen=True):
    """Holds of every step; `violation(before, action, after)` is None there, else what failed and on what.

    >>> def switching(before, action, after):
    ...     return f"from {before} to {after}" if action == "switch" and before == after else None
    >>> class Switched(Lamp):
    ...     properties = (Transition("a switch switches", switching),)
    >>> explore(Switched()).verdict
    'holds'
    """

    name: str
    violation: Callable[[S, A, S], str | None]


class Sometimes(Struct, Generic[S], frozen=True):
    """Some reachable state satisfies `holds`, so that the property named `of` is not vacuous.

    >>> class Vacuous(Lamp):
    ...     properties = (
    ...         Always("no light without current", lambda state: "light" if state == "lit by the moon" else None),
    ...         Sometimes("there is light", lambda state: state == "bright", of="no light without current"),
    ...     )
    >>> result = explore(Vacuous())
    >>> result.verdict, result.violation.property
    ('violated', 'there is light')
    """

    name: str
    holds: Callable[[S], bool]
    of: str


class SometimesStep(Struct, Generic[S, A], frozen=True):
    """Some step (before, action, after) satisfies `holds`, so that the property named `of` is not vacuous.

    >>> class Witnessed(Switched):
    ...     witness = SometimesStep("it is switched off", lambda before, _, after: (before, after) == ("on", "off"),
    ...                             of="a switch switches")
    ...     properties = (*Switched.properties, witness)
    >>> [p.standing for p in explore(Witnessed()).properties if p.kind == "sometimes"]
    ['met']
    """

    name: str
    holds: Callable[[S, A, S], bool]
    of: str


Property: TypeAlias = Always[S] | Transition[S, A] | Sometimes[S] | SometimesStep[S, A]


class Eventually(Struct, Generic[S], frozen=True):
    """Every fair run comes to a state that satisfies `holds`.

    >>> class Doomed(Lamp):
    ...     liveness = (Eventually("it burns out", lambda state: state == "broken"),)
    ...     fairness = (Fair("something happens", lambda action: "anything"),)
    >>> from checker.liveness import check_liveness
    >>> claim = check_liveness(Doomed()).claims[0]  # it may be switched on and off for ever
    >>> claim.standing, [step.action for step in claim.lasso.cycle]
    ('violated', ['switch', 'switch'])
    """

    name: str
    holds: Callable[[S], bool]


class LeadsTo(Struct, Generic[S], frozen=True):
    """In every fair run a state that satisfies `cause` is followed by one that satisfies `effect`, or is one itself.

    With a `cause` that always holds: `effect` happens again and again.

    >>> class Used(Lamp):
    ...     liveness = (LeadsTo("no light for ever", lambda state: state == "on", lambda state: state != "on"),)
    ...     fairness = (Fair("something happens", lambda action: "anything"),)
    >>> check_liveness(Used()).verdict
    'holds'
    """

    name: str
    cause: Callable[[S], bool]
    effect: Callable[[S], bool]


class Fair(Struct, Generic[A], frozen=True):
    """What is not put off for ever. Actions with the same `key` are one; those whose key is None may be put off.

    Weak fairness: what can happen at every moment from some moment on, happens. Strong: what can happen again and
    again, happens. As in TLA+, a step that changes nothing does not count, neither as possible nor as taken.

    >>> class Fragile(Doomed):
    ...     fairness = (Fair("every action", lambda action: action),)
    >>> class Overdue(Doomed):
    ...     fairness = (Fair("every action", lambda action: action, strong=True),)
    >>> check_liveness(Fragile()).verdict, check_liveness(Overdue()).verdict  # it cannot burn out while it is off
    ('violated', 'holds')
    """

    name: str
    key: Callable[[A], Hashable]
    strong: bool = False


Liveness: TypeAlias = Eventually[S] | LeadsTo[S]


class Machine(Protocol[S, A]):
    """A state graph with claims about it. States are hashable; an action is any immutable value but None."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def properties(self) -> Sequence[Property[S, A]]:
        """The claims to check; names are distinct."""

    def initial(self) -> Iterable[S]:
        """The states in which it may start, at least one."""

    def transitions(self, state: S) -> Iterable[tuple[A, S]]:
        """Everything that may happen in `state`, each with the state it leads to."""

    def is_final(self, state: S) -> bool:
        """Whether `state` may be the end: having no transition there is no deadlock."""


class SimpleMachine(Generic[S, A]):
    """A machine from `actions` and `step`. Subclasses set `name`, and `properties` if they claim anything.

    >>> list(Lamp().transitions("on"))
    [('switch', 'off'), ('burn out', 'broken')]
    """

    name: str
    properties: Sequence[Property[S, A]] = ()

    def initial(self) -> Iterable[S]:
        """The states in which it may start."""
        raise NotImplementedError(f"{type(self).__name__}.initial")

    def actions(self, state: S) -> Iterable[A]:
        """The actions enabled in `state`, in an order that never varies."""
        raise NotImplementedError(f"{type(self).__name__}.actions")

    def step(self, state: S, action: A) -> S:
        """The state that `action`, enabled in `state`, leads to."""
        raise NotImplementedError(f"{type(self).__name__}.step")

    def transitions(self, state: S) -> Iterable[tuple[A, S]]:
        """What `actions` and `step` say together."""
        step = self.step
        return [(action, step(state, action)) for action in self.actions(state)]

    def is_final(self, state: S) -> bool:  # noqa: ARG002 - subclasses look at the state
        """No state is final unless a subclass says so."""
        return False


def invariant(name: str, predicate: Callable[[S], bool], clause: str = "") -> Always[S]:
    """An Always from a predicate; `clause` says in one line what is wrong where it is false.

    >>> invariant("short", lambda state: len(state) < 4).violation("broken")
    'short is false'
    """
    said = clause or f"{name} is false"
    return Always(name, lambda state: None if predicate(state) else said)


def unwitnessed(properties: Sequence[Property[S, A]]) -> list[str]:
    """The names of the claims that no *sometimes* witnesses, in their order.

    >>> unwitnessed(Switched.properties), unwitnessed(Witnessed.properties)
    (['a switch switches'], [])
    """
    witnessed = {p.of for p in properties if isinstance(p, Sometimes | SometimesStep)}
    return [p.name for p in properties if isinstance(p, Always | Transition) and p.name not in witnessed]


def audit(machine: SimpleMachine[S, A], max_states: int = 10_000) -> str | None:
    """Compare `transitions` with `actions` and `step` on up to `max_states` reachable states, breadth first.

    None if they agree everywhere, order included; else one line naming the first state and action on which they differ.

    >>> class Hasty(Lamp):
    ...     def transitions(self, state):
    ...         return [("switch", "on")] if state == "off" else []
    >>> audit(Lamp()), audit(Hasty())
    (None, 'in on: only actions has switch')
    """
    queue = deque(machine.initial())
    seen = set(queue)
    while queue:
        state = queue.popleft()
        fused = list(machine.transitions(state))
        simple = [(action, machine.step(state, action)) for action in machine.actions(state)]
        for ours, theirs in zip(fused, simple, strict=False):
            if ours != theirs:
                return f"in {state}: transitions gives {ours}, actions and step give {theirs}"
        if len(fused) != len(simple):
            longer, which = (fused, "transitions") if len(fused) > len(simple) else (simple, "actions")
            return f"in {state}: only {which} has {longer[min(len(fused), len(simple))][0]}"
        for _, after in fused:
            if after not in seen and len(seen) < max_states:
                seen.add(after)
                queue.append(after)
    return None


# What a machine may offer besides; each is looked for by shape, so a machine simply has the method or not.


@runtime_checkable
class DescribesActions(Protocol[A_contra]):
    """Tells an action in words, without a full stop: "a puts x=1 at b"."""

    def describe_action(self, action: A_contra) -> str:
        """One line."""


@runtime_checkable
class DrawsActions(Protocol[A_contra]):
    """Knows between which parties an action happens, for diagrams."""

    def draw_action(self, action: A_contra) -> tuple[Sequence[str], str]:
        """The parties and what happens: from the first to the second, at the only one, or to all if none is named."""


@runtime_checkable
class DescribesChanges(Protocol[S_contra]):
    """Tells what differs between two successive states in the machine's own words."""

    def describe_changes(self, before: S_contra, after: S_contra) -> list[str]:
        """A line for each change; none where nothing worth telling changed."""


@runtime_checkable
class KnowsActionKinds(Protocol[A_contra]):
    """Sorts actions into kinds for coverage; without it the kind is the name of the action's type."""

    def action_kind(self, action: A_contra) -> str:
        """The kind of `action`, one of a few."""


@runtime_checkable
class ListsActionKinds(Protocol):
    """Names all kinds of action, so that those never taken are shown."""

    @property
    def action_kinds(self) -> Sequence[str]:
        """Every kind, in the order in which reports show them."""


@runtime_checkable
class ClaimsLiveness(Protocol[S, A]):
    """Claims what must happen in the end, of runs that are fair."""

    @property
    def liveness(self) -> Sequence[Liveness[S]]:
        """The claims; names are distinct."""

    @property
    def fairness(self) -> Sequence[Fair[A]]:
        """What is not put off for ever; where nothing is declared, a run may stop anywhere."""


@runtime_checkable
class TakesOneStep(Protocol[S, A]):
    """Can tell what may happen without doing it all, as every `SimpleMachine`; walks are faster then."""

    def actions(self, state: S) -> Iterable[A]:
        """The actions of `transitions`, in the same order."""

    def step(self, state: S, action: A) -> S:
        """The state that `action`, enabled in `state`, leads to."""


@runtime_checkable
class NamesSources(Protocol):
    """Names the files whose functions decide what it does, for coverage of their branches."""

    @property
    def sources(self) -> Sequence[Path]:
        """Python files, which the machine has imported."""


@runtime_checkable
class HasParams(Protocol):
    """Has parameters that a trace must name: replaying it on the same model with others would be misleading."""

    @property
    def params(self) -> Mapping[str, int | str | bool]:
        """Each parameter's name and value."""
