"""Putting to the test what the reductions of the store rest on; see `checker.audit`.

    pieces       what steps make of whole states is what they make of the pieces that they are about (`checker.frames`),
                 and claims judged by pieces (`checker.verdicts`) fail where they fail of whole states
    spent        what is called spent in a state (`spec.spent`) is spent in every later one in which it is in flight,
                 and delivering it changes nothing but the network, where it leaves nothing but spent messages
    eager, …     each rule, used alone, loses no observation and adds none: what it leaves of the states shows the same
                 disks, clients and history together. Of eager acknowledgements less is claimed, for they are to skip
                 the moments at which one is on its way: the same disks with the same history, and the same clients
                 with the same history, which is what the claims read
    together     all rules that the scenario allows lose no more than eager acknowledgements do

Observations can only be compared when all states were seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from checker.audit import Audited, Walk, audited, judging
from checker.frames import NO_RULES, Rules, rules_of
from checker.interned import Interned
from checker.machine import Always, Machine, Transition
from spec import network as net
from spec.actions import Action, Arrive
from spec.cluster import apply, initial, transitions
from spec.maps import FMap
from spec.network import Envelope, Network
from spec.spent import Driver, settle
from spec.world import Scenario, State

View: TypeAlias = tuple[str, Callable[[State], Hashable]]
Spent: TypeAlias = Callable[[State], frozenset[Envelope]]
Reduce: TypeAlias = Callable[[Rules], Interned]


def disks(state: State) -> Hashable:
    """What is durable."""
    return tuple(server.disk for _, server in state.servers.entries)


TOGETHER: tuple[View, ...] = (("disks, clients and history", lambda s: (disks(s), s.clients, s.history)),)
APART: tuple[View, ...] = (
    ("disks and history", lambda s: (disks(s), s.history)),
    ("clients and history", lambda s: (s.clients, s.history.created, s.history.acknowledged)),
)
RULES: dict[str, tuple[View, ...]] = {"eager": APART, "lazy": TOGETHER, "restarts": TOGETHER, "nameless": TOGETHER}
"""Each rule, and what it must not change."""


def audits_of(
    machine: Machine[State, Action], scenario: Scenario, driver: Driver, reduce: Reduce, max_states: int
) -> Iterator[Audited]:
    """Every claim that the reductions of a scenario's machine make, on up to so many states."""
    yield audit_pieces(machine, reduce, max_states)
    yield audit_spent(scenario, driver, max_states)
    yield from audit_rules(scenario, reduce, max_states)


def audit_pieces(machine: Machine[State, Action], reduce: Reduce, max_states: int) -> Audited:
    """Compare steps and verdicts by pieces with those of whole states."""
    walk = Walk(machine, max_states)
    return audited("pieces", walk, other_pieces(walk, reduce(NO_RULES)))


def audit_spent(scenario: Scenario, driver: Driver, max_states: int) -> Audited:
    """Keep what `settle` would take out, and look whether it stays spent."""
    keeping = Keeping(scenario, driver, spent_by_settle(driver))
    walk = Walk(keeping, max_states)
    return audited("spent", walk, revived(walk, keeping))


def audit_rules(scenario: Scenario, reduce: Reduce, max_states: int) -> Iterator[Audited]:
    """Compare what can be observed with each rule that the scenario allows, and with all of them."""
    allowed = replace(rules_of(scenario), symmetry=False)
    if not allowed.of_messages:
        return
    full = reached(reduce(NO_RULES), max_states)
    for rule, views in RULES.items():
        if getattr(allowed, rule):
            yield audit_observations(rule, views, full, reached(reduce(alone(rule)), max_states), max_states)
    yield audit_observations("together", APART, full, reached(reduce(allowed), max_states), max_states)


def alone(rule: str) -> Rules:
    """One rule; reads are late only where nobody stays down, for what is down cannot answer just in time."""
    rules = replace(NO_RULES, **{rule: True})
    return replace(rules, restarts=True) if rule == "lazy" else rules


# Pieces.


def other_pieces(walk: Walk[State, Action], by_pieces: Interned) -> Iterator[str]:
    """Where the pieces give other steps than the whole, or other verdicts."""
    judge = judging(walk.machine)
    claims = {p.name for p in walk.machine.properties if isinstance(p, Always | Transition)}
    for state, steps in walk:
        key = by_pieces.key(state)
        found = Counter(after for _, after in by_pieces.transitions(key))
        wanted = Counter(by_pieces.key(after) for _, after in steps)
        for after in [*(wanted - found), *(found - wanted)]:
            which = "do not lead" if after in wanted else "lead"
            yield f"the pieces {which} from {state} to {by_pieces.whole(after)}, other than the whole"
        failing = {a for action, a in steps if (judge(state, action, a) | judge(a, None, a)) & claims}
        blamed = {after for step, after in by_pieces.transitions(key) if step.failed}
        for after in {by_pieces.key(a) for a in failing} ^ blamed:
            which = "no claim fails" if after in blamed else "a claim fails"
            yield f"from {state} to {by_pieces.whole(after)} {which}, other than by pieces"


# Spent messages.


def spent_by_settle(driver: Driver) -> Spent:
    """The messages that `settle` takes out of a state, told that everything has changed."""

    def spent(state: State) -> frozenset[Envelope]:
        anew = FMap(tuple((name, replace(server)) for name, server in state.servers.items()))
        settled = settle(replace(state, servers=anew), state, driver)
        return frozenset(state.network.in_flight) - frozenset(settled.network.in_flight)

    return spent


Called: TypeAlias = tuple[State, frozenset[Envelope]]
"""A state, and which of the messages in flight were ever called spent on the way to it."""


class Keeping:
    """A scenario in which spent messages are kept, and remembered."""

    name = "spent messages kept"
    properties = ()

    def __init__(self, scenario: Scenario, driver: Driver, spent: Spent) -> None:
        """`spent` is the rule on trial."""
        self.scenario = replace(scenario, keep_spent=True)
        self.driver = driver
        self._spent = spent
        self._called: dict[State, frozenset[Envelope]] = {}

    def spent(self, state: State) -> frozenset[Envelope]:
        """What the rule calls spent in a state; it is asked once."""
        if state not in self._called:
            self._called[state] = self._spent(state)
        return self._called[state]

    def initial(self) -> Iterable[Called]:
        """Nothing was called anything."""
        return [(initial(self.scenario, self.driver), frozenset())]

    def transitions(self, called: Called) -> Iterator[tuple[Action, Called]]:
        """Everything that can happen, in any state."""
        state, once = called
        once |= self.spent(state)
        for action, after in transitions(self.scenario, state, self.driver):
            yield action, (after, once & frozenset(after.network.in_flight))

    def is_final(self, called: Called) -> bool:  # noqa: ARG002 - nobody asks
        """Every state may be the last."""
        return True


def revived(walk: Walk[Called, Action], keeping: Keeping) -> Iterator[str]:
    """Where something once called spent is not. While its target is down, a message need not be called that again."""
    for (state, once), _ in walk:
        gone = keeping.spent(state)
        for envelope in sorted(once | gone, key=net.rank):
            if not state.servers[envelope.target].node.started:
                continue
            if envelope not in gone:
                yield f"{envelope} was called spent, and is no more in {state}"
            after = apply(keeping.scenario, state, Arrive(envelope), keeping.driver)
            if replace(after, network=Network()) != replace(state, network=Network()):
                yield f"{envelope} is called spent, and delivering it changes more than the network in {state}"
            if _left(after, keeping.spent(after)) != _left(state, gone):
                yield f"{envelope} is called spent, and delivering it sends what is not in {state}"


def _left(state: State, spent: frozenset[Envelope]) -> list[Envelope]:
    return [envelope for envelope in state.network.in_flight if envelope not in spent]


# Observations.


def reached(machine: Interned, max_states: int) -> list[State] | None:
    """All states that a search reaches, as real ones; None if there are more than so many."""
    walk = Walk(machine, max_states)
    for _ in walk:
        pass
    return [machine.whole(key) for key in walk.seen] if walk.complete else None


def audit_observations(
    claim: str, views: Sequence[View], full: Sequence[State] | None, left: Sequence[State] | None, max_states: int
) -> Audited:
    """Compare what can be observed with and without rules."""
    if full is None or left is None:
        return Audited(claim, max_states, False)
    return Audited(claim, len(full), True, next(other_observations(full, left, views), ""))


def other_observations(full: Iterable[State], left: Iterable[State], views: Sequence[View]) -> Iterator[str]:
    """What is observed only with the rules, or only without them."""
    for told, view in views:
        wanted, found = {view(state): state for state in full}, {view(state): state for state in left}
        for observed, state in wanted.items():
            if observed not in found:
                yield f"nothing that is left shows the {told} of {state}"
        for observed, state in found.items():
            if observed not in wanted:
                yield f"only what is left shows the {told} of {state}"
