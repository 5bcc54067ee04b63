"""What a step of the store makes of the few components that it touches; what may be done in one step.

`Frames` asks `spec.enabled` what can happen to a small state, one with nothing in flight but the message in question,
and takes it there. What a whole state does follows from its small states (see `checker.interned`). The claim behind
that is a *frame rule*: an action is about one message or none, and about one or two servers; what it is not about
neither changes it nor is changed by it, but that a cut takes away the messages that cross it. It is one of the claims
that `checker.audit` tries.

The other rules say that some orders of steps need not be told apart, and take several steps as one:

    eager      an acknowledgement is counted in the step that sends it. That it waits, or is lost, tells nobody anything
               that the timeout of the same put, which may come at any moment, does not
    lazy       a read is answered as late as possible: together with its answer's arrival, or just before the row
               changes that it is about. What is in flight meanwhile is the read, in place of answers
    restarts   a node that crashes is back at once: while it is down it does nothing, and up it may do nothing as well
    nameless   a write whose acknowledgement would be spent is as good as a repair, and who sent a repair does not
               matter. Not where there are cuts: they lose what crosses them; nor a write that leaves a hint
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from spec import cluster, enabled
from spec.actions import (
    Action,
    Arrive,
    Backup,
    Crash,
    CrashAfterCommit,
    Cut,
    Drop,
    Duplicate,
    Heal,
    Restart,
    Restore,
    Wipe,
    event_of,
)
from spec.messages import Answer, Read, Repair, Write, Written
from spec.network import Envelope, Network
from spec.ring import build_ring, owners_of
from spec.spent import Driver, may_matter_later
from spec.types import NO_REQUEST, NodeId
from spec.world import Scenario, ShownPut, State


class Rules(Struct, frozen=True, kw_only=True):
    """Which reductions are made use of."""

    symmetry: bool = True
    eager: bool = True
    lazy: bool = True
    restarts: bool = True
    nameless: bool = True

    @property
    def of_messages(self) -> bool:
        """Whether any but symmetry is."""
        return self.eager or self.lazy or self.restarts or self.nameless


SYMMETRY_ONLY = Rules(eager=False, lazy=False, restarts=False, nameless=False)
NO_RULES = Rules(symmetry=False, eager=False, lazy=False, restarts=False, nameless=False)


def may_reopen(scenario: Scenario) -> bool:
    """Whether a request that is over may be opened again: by a forward that is repeated, or by a client."""
    ring = build_ring(scenario.members, scenario.config)
    forwards = not set(scenario.contacts) <= set(owners_of(ring, scenario.key, scenario.config.n))
    return forwards or scenario.patience > 0


def rules_of(scenario: Scenario) -> Rules:
    """What a scenario allows.

    Whoever wants to be shown what there is after a put sees when it is acknowledged; and where nodes stand in for each
    other, an acknowledgement that waits leaves a hint, which the timeout of its put makes of it.
    """
    if may_reopen(scenario):
        return SYMMETRY_ONLY
    shows = any(isinstance(task, ShownPut) for program in scenario.programs for task in program)
    return Rules(eager=not shows and not scenario.config.sloppy)


def place_of(action: Action) -> NodeId | None:
    """The server that an action is about, if it is about one."""
    match action:
        case Cut() | Heal() | Drop() | Duplicate():
            return None
        case Crash() | Restart() | Wipe() | Backup() | Restore():
            return action.node
        case CrashAfterCommit():
            return event_of(action.during)[0]
        case _:
            return event_of(action)[0]


def message_of(action: Action) -> Envelope | None:
    """The message that an action is about, if it is about one."""
    during = action.during if isinstance(action, CrashAfterCommit) else action
    return during.envelope if isinstance(during, Arrive | Drop | Duplicate) else None


class Frames:
    """What can happen to small states, as the rules have it: real steps, a few at a time."""

    def __init__(self, scenario: Scenario, driver: Driver, rules: Rules) -> None:
        """`driver` moves servers, as everywhere."""
        assert rules.restarts or not (rules.lazy and scenario.faults.crashes), "who is down cannot answer just in time"
        self.scenario = scenario
        self.driver = driver
        self.rules = rules
        self._keeping = replace(scenario, keep_spent=True)
        """What is spent may depend on servers that a step is not about; see `form`."""

    def quiet(self, head: State, place: NodeId | None) -> Iterator[tuple[Action, ...]]:
        """What can happen at a server, or to the network, while nothing is in flight."""
        for action in enabled.every_action(self._keeping, head, self.driver):
            if place_of(action) == place:
                yield (action,)

    def about(self, state: State, envelope: Envelope) -> Iterator[tuple[Action, ...]]:
        """What can happen to the one message in flight."""
        for action in enabled.every_action(self._keeping, state, self.driver):
            if message_of(action) is None:
                continue
            if self.rules.lazy and isinstance(envelope.message, Read) and isinstance(action, Arrive):
                answer = self.answer_to(state, envelope)
                if answer is not None and not self.is_spent(state, answer):
                    yield action, Arrive(answer)
            else:
                yield (action,)

    def answer_to(self, state: State, envelope: Envelope) -> Envelope | None:
        """What a read would be answered now, were it the one message in flight; None if that would be lost."""
        answered = cluster.apply(self._keeping, state, Arrive(envelope), self.driver)
        return next((e for e in answered.network.in_flight if isinstance(e.message, Answer)), None)

    def take(self, state: State, actions: tuple[Action, ...]) -> list[tuple[Action, State]]:
        """Take these actions, and what the rules add to them: each, and what comes of it."""
        taken, todo = list[tuple[Action, State]](), list(actions)
        while todo:
            action = todo.pop(0)
            after = cluster.apply(self._keeping, state, action, self.driver)
            taken.append((action, after))
            todo = [*self._added(action, state, after), *todo]
            state = after
        return taken

    def _added(self, action: Action, before: State, after: State) -> Iterator[Action]:
        """What the rules do at once after an action."""
        if self.rules.restarts and isinstance(action, Crash | CrashAfterCommit):
            crashed = place_of(action)
            assert crashed is not None, "a server crashed"
            yield Restart(crashed)
        if self.rules.eager:
            for envelope in after.network.in_flight:
                new = envelope not in before.network.in_flight
                if new and isinstance(envelope.message, Written) and not self.is_spent(after, envelope):
                    yield Arrive(envelope)

    def is_spent(self, state: State, envelope: Envelope) -> bool:
        """Whether a message can change nothing any more, as things stand at both ends."""
        servers, driver = state.servers, self.driver
        return driver.is_spent(envelope, servers[envelope.target], servers[envelope.source], driver.advance)

    def form(self, head: State, envelope: Envelope) -> Envelope | None:
        """What stands for a message in flight, as things stand at both ends; None for one that is spent."""
        lasts = self.scenario.keep_spent or may_matter_later(envelope.message)
        if not lasts and self.is_spent(head, envelope):
            return None
        cuts = head.faults.cuts or head.network.cut_off
        return self.nameless(head, envelope) if self.rules.nameless and not cuts else envelope

    def nameless(self, head: State, envelope: Envelope) -> Envelope:
        """A repair that comes from nobody in particular, where that is as good; else the message itself."""
        message = envelope.message
        if may_matter_later(message):
            return envelope
        if isinstance(message, Write):
            if not self.is_spent(head, Envelope(envelope.target, envelope.source, Written(message.request))):
                return envelope
            message = Repair(message.key, message.siblings)
        if not isinstance(message, Repair) or message.request != NO_REQUEST:
            return envelope
        return Envelope(envelope.target, envelope.target, message)


def small(head: State, *envelopes: Envelope) -> State:
    """A head with these messages in flight and no others."""
    network = Network(envelopes, head.network.cut_off, head.network.repeating)
    return State(head.servers, head.clients, network, head.faults, head.history)
