"""What a machine of the store remembers: how servers move, what is spent, and what was judged of what.

The same servers, messages, disks and histories recur in very many states. What a server makes of an event depends on
the two alone, and what a claim says on what it reads; so each is found out once. What a claim reads is declared here;
one that is not named is asked about every state. Nothing is decided here, and forgetting all of it changes no result:
a test compares.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeAlias

from checker.machine import Always, Property, Sometimes, SometimesStep, Transition
from checker.verdicts import OF_COMPONENTS
from spec.actions import Action
from spec.events import Event
from spec.history import History
from spec.maps import FMap
from spec.network import Envelope, Network
from spec.properties import EXPLORED_CLAIMS, WITNESSES
from spec.siblings import Siblings
from spec.spent import AdvanceFunction, Driver
from spec.views import StateCheck
from spec.world import Advance, Faults, Server, State

Reads: TypeAlias = Callable[[State], Hashable]
READS: tuple[tuple[tuple[str, ...], Reads], ...] = (
    (("no-lost-write",), lambda s: (frozenset(held(s)), s.history.created, s.history.acknowledged)),
    (("quorum-meaning-put", "placement"), lambda s: (held(s), owed(s), s.history)),
    (("merge-is-join",), lambda s: frozenset(held(s))),
    (
        ("dot-uniqueness", "one-dot-per-request", "context-honesty", "quorum-meaning-get", "compare-and-swap"),
        lambda s: (s.clients, s.history.created, s.history.read),
    ),
)


def held(state: State) -> tuple[Siblings, ...]:
    """Which sets disks hold; of one key, as is all that is explored."""
    return tuple([row.siblings for _, server in state.servers.entries for _, row in server.disk.table.entries])


def owed(state: State) -> Hashable:
    """Who has a row, and what it owes to whom."""
    return tuple([(name, row.owed) for name, server in state.servers.entries for _, row in server.disk.table.entries])


def remembering(driver: Driver) -> Driver:
    """The same driver, asked once for the same thing."""
    steps: dict[tuple[Server, Event], Advance] = {}
    verdicts: dict[tuple[Envelope, Server, Server], bool] = {}

    def advance(server: Server, event: Event) -> Advance:
        known = steps.get((server, event))
        if known is None:
            known = steps[server, event] = driver.advance(server, event)
        return known

    def spent(envelope: Envelope, target: Server, source: Server, _: AdvanceFunction) -> bool:
        known = verdicts.get((envelope, target, source))
        if known is None:
            known = verdicts[envelope, target, source] = driver.is_spent(envelope, target, source, advance)
        return known

    return Driver(advance, spent)


def check_each(check: StateCheck) -> StateCheck:
    """The same check, made once for each server and each message, for it reads these one by one."""
    memory: dict[Hashable, str | None] = {}

    def checked(state: State) -> str | None:
        for entry in state.servers.entries:
            if entry not in memory:
                memory[entry] = check(State(FMap((entry,)), (), Network(), Faults(), History()))
            if memory[entry] is not None:
                return memory[entry]
        for envelope in state.network.in_flight:
            if envelope not in memory:
                memory[envelope] = check(State(FMap(), (), Network((envelope,)), Faults(), History()))
            if memory[envelope] is not None:
                return memory[envelope]
        return None

    return checked


class Remembered:
    """What claims that read the same said of each value of it."""

    def __init__(self, reads: Reads) -> None:
        """Nothing was asked."""
        self._reads = reads
        self._said: dict[Hashable, dict[str, str | None]] = {}
        self._latest: tuple[State | None, dict[str, str | None]] = None, {}
        """They are asked about the same state, one after the other."""

    def once(self, name: str, check: StateCheck) -> StateCheck:
        """The same check, made once for each value of what it reads."""

        def checked(state: State) -> str | None:
            about, said = self._latest
            if about is not state:
                said = self._said.setdefault(self._reads(state), {})
                self._latest = state, said
            if name not in said:
                said[name] = check(state)
            return said[name]

        return checked


def claimed(names: Iterable[str], *, memory: bool = True) -> list[Property[State, Action]]:
    """These claims of `spec.properties`, each with its *sometimes* twin."""
    wanted, found = set(names), list[Property[State, Action]]()
    memories = [(group, Remembered(reads)) for group, reads in READS]
    once = {name: known.once for group, known in memories for name in group}
    for claim in EXPLORED_CLAIMS:
        if claim.name not in wanted:
            continue
        if claim.check is not None:
            check = claim.check
            if memory and claim.name in OF_COMPONENTS:
                check = check_each(check)
            elif memory and claim.name in once:
                check = once[claim.name](claim.name, check)
            found.append(Always(claim.name, check))
        if claim.step_check is not None:
            found.append(Transition(claim.name, claim.step_check))
        if claim.witness is not None:
            found.append(Sometimes(sentence(claim.witness), claim.witness, claim.name))
        if claim.step_witness is not None:
            found.append(SometimesStep(sentence(claim.step_witness), claim.step_witness, claim.name))
    found.extend(SometimesStep(name, witness, of) for name, witness, of in WITNESSES if of in wanted)
    return found


def sentence(witness: Callable[..., bool]) -> str:
    """A witness is named by what it says it has seen."""
    assert witness.__doc__, "a witness says what it has seen"
    return witness.__doc__.split("\n")[0].rstrip(".")
