"""What a store with stand-ins promises in the end: it takes every put, hints drain, and replicas become equal.

Three claims about whole runs, each judged by fair cycles on the whole graph of a small world (`checker.liveness`).

    hints-drain       whatever is owed, there comes a moment when nobody owes anything any more;
    convergence       when clients have done all that they will, all owners come to hold the same, and nobody owes;
    always-writable   W = 1: a put that is asked of a live node which suspects whoever is down succeeds.

What is *fair* is what these rest on, and no more. Clients go on, messages that stay in flight arrive, timers fire,
nodes come back, a cut heals, a suspicion ends, and what can be handed over again and again is handed over. Of who is
to take every put it is not asked that nodes come back.

A suspicion ends, if it is wrong: heartbeats of a node that is up arrive, and each lowers the doubt. It may begin again,
any number of times where a world is `restless`, so that no moment need come from which on all trust each other; that
is why handing over is fair *strongly*: it is possible again and again, never from some moment on. A node can keep to
that, for it hands over at once when it comes to trust another, and then in rounds. A suspicion that is right may end
as well, and then nothing is lost but a message. Budgets bound what goes wrong otherwise, and faults end with them.

Each condition is needed: `without` one of them a run is found that is against the claim, and mutants of the
specification break the claims with all of them in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias

from msgspec.structs import replace

from checker.check import Registry
from checker.cluster_machine import ClusterMachine
from checker.convergence import CONVERGENCE, delivered, going_on
from checker.machine import Fair, LeadsTo, Liveness
from checker.worlds import FIRST, HINT_CLAIMS, G, P, walk, world
from spec.actions import Action, Ask, Crash, CrashAfterCommit, Expire, HandOver, Heal, Restart, Suspect
from spec.enabled import is_final
from spec.messages import Get
from spec.spent import names_one_of
from spec.state import GetInFlight
from spec.types import NodeId, RequestId
from spec.world import Faults, Scenario, State, Task, client_id, owners_asked

Allows: TypeAlias = Callable[[State, Action], bool]


# What is not put off for ever.


def timers(action: Action) -> tuple[NodeId, RequestId] | None:
    """The timer that fires."""
    return (action.node, action.request) if isinstance(action, Expire) else None


def coming_back(action: Action) -> NodeId | None:
    """The node that comes back."""
    return action.node if isinstance(action, Restart) else None


def healing(action: Action) -> str | None:
    """The cut heals."""
    return "heal" if isinstance(action, Heal) else None


def trusting(action: Action) -> tuple[NodeId, NodeId] | None:
    """Who comes to trust whom again."""
    return (action.node, action.about) if isinstance(action, Suspect) and not action.suspected else None


def handing_over(action: Action) -> tuple[NodeId, NodeId] | None:
    """Who hands over to whom."""
    return (action.node, action.target) if isinstance(action, HandOver) else None


FAIRNESS: tuple[Fair[Action], ...] = (
    Fair("clients go on", going_on),
    Fair("messages are delivered", delivered),
    Fair("timers fire", timers),
    Fair("nodes come back", coming_back),
    Fair("a cut heals", healing),
    Fair("suspicions end", trusting),
    Fair("hints are handed over", handing_over, strong=True),
)
WEAK = tuple(replace(fair, strong=False) for fair in FAIRNESS)


def anything(_state: State, _action: Action) -> bool:
    """No condition."""
    return True


class Enduring(ClusterMachine):
    """A scenario, claims about its whole runs, and what is fair in them."""

    def __init__(
        self,
        name: str,
        scenario: Scenario,
        liveness: Sequence[Liveness[State]],
        *,
        without: str = "",
        fairness: Sequence[Fair[Action]] = FAIRNESS,
        restless: bool = False,
        allows: Allows = anything,
        claims: Sequence[str] = HINT_CLAIMS[:3],
    ) -> None:
        """`without` names what is not fair; `restless` nodes come to suspect others any number of times."""
        super().__init__(name, scenario, claims)
        assert not without or without in [fair.name for fair in fairness], f"{without} is not among what is fair"
        self.liveness = liveness
        self.fairness = [fair for fair in fairness if fair.name != without]
        self.restless = restless
        self.allows = allows

    def transitions(self, state: State) -> Iterable[tuple[Action, State]]:
        """What can happen under the conditions, and what comes of it."""
        return [(action, self.step(state, action)) for action in self.actions(state)]

    def actions(self, state: State) -> Iterable[Action]:
        """What can happen under the conditions."""
        return [action for action in super().actions(state) if self.allows(state, action)]

    def step(self, state: State, action: Action) -> State:
        """What comes of it; the restless spend nothing on a suspicion."""
        after = super().step(state, action)
        if self.restless and isinstance(action, Suspect):
            return State(after.servers, after.clients, after.network, state.faults, after.history)
        return after


# The claims.


def owes(state: State) -> bool:
    """Somebody owes somebody something."""
    return any(row.owed for _, server in state.servers.items() for _, row in server.disk.table.items())


def owes_nothing(state: State) -> bool:
    """Nobody owes anybody anything."""
    return not owes(state)


HINTS_DRAIN: LeadsTo[State] = LeadsTo("hints-drain", owes, owes_nothing)


def convergence(scenario: Scenario) -> LeadsTo[State]:
    """When all clients are done, there comes a moment when all owners hold the same, and something, and nobody owes."""

    def converged(state: State) -> bool:
        if owes(state) or state.network.in_flight:
            return False
        held = {state.servers[owner].disk.row(scenario.key).siblings for owner in owners_asked(scenario, state)}
        return len(held) == 1 and all(len(siblings) > 0 for siblings in held)

    return LeadsTo("convergence", partial(is_final, scenario), converged)


def always_writable(scenario: Scenario) -> list[Liveness[State]]:
    """Of each put: about to be asked where all who are down are suspected, it succeeds, or another node goes down."""

    def claim(index: int, operation: int) -> LeadsTo[State]:
        request = RequestId(client_id(index), operation)

        def about_to_be_asked(state: State) -> bool:
            client = state.clients[index]
            return client.done == operation - 1 and client.waits_for is None and knows_who_is_down(scenario, state)

        def succeeds(state: State) -> bool:
            dots = [created.version.dot for created in state.history.created if created.request == request]
            return any(dot in state.history.acknowledged for dot in dots) or not knows_who_is_down(scenario, state)

        return LeadsTo(f"always-writable-{request}", about_to_be_asked, succeeds)

    return [claim(index, at + 1) for index, program in enumerate(scenario.programs) for at in range(len(program))]


def knows_who_is_down(scenario: Scenario, state: State) -> bool:
    """Whoever clients may ask is up, and suspects all who are not."""
    contacts = [state.servers[name].node for name in scenario.contacts]
    down = [name for name, server in state.servers.items() if not server.node.started]
    return all(node.started and all(name in node.suspected for name in down) for node in contacts)


# Under which conditions.


def undisturbed(state: State, action: Action) -> bool:
    """While a put is under way no node fails, and it times out only when it waits for nodes that are down alone.

    And who is down stays suspected.
    """
    if isinstance(action, Suspect) and not action.suspected:
        return state.servers[action.about].node.started
    if isinstance(action, Expire):
        about_it = (e.target for e in state.network.in_flight if names_one_of((action.request,), e))
        return not any(state.servers[target].node.started for target in about_it)
    if isinstance(action, Crash | CrashAfterCommit):
        return isinstance(action, Crash) and all(client.waits_for is None for client in state.clients)
    return True


def heard_by_all(scenario: Scenario, state: State, action: Action) -> bool:
    """The last get is asked of a node that trusts everybody; then no node fails any more, and it may take its time.

    So every owner is asked, answers, and is sent what it lacks.
    """
    during = action.during if isinstance(action, CrashAfterCommit) else action
    if isinstance(during, Ask) and isinstance(during.operation, Get):
        return during is action and not state.servers[during.node].node.suspected
    if isinstance(action, Expire):
        return not isinstance(state.servers[action.node].requests[action.request], GetInFlight)
    return not isinstance(action, Crash | CrashAfterCommit) or not last_asked(scenario, state)


def last_asked(scenario: Scenario, state: State) -> bool:
    """Whether every client has been answered, or waits for the answer to its last request."""
    left = zip(scenario.programs, state.clients, strict=True)
    return all(len(program) <= client.done + (client.waits_for is not None) for program, client in left)


# The worlds.


def put_at(contact: NodeId, *then: Task, nodes: int = 4, w: int = 2, strict: bool = False, faults: Faults) -> Scenario:
    """All nodes but one own the key; a client puts, at one node; it may come to suspect others, as may the stand-in."""
    *_, stand_in = walk(nodes, n=nodes - 1)
    return world(
        (P, *then),
        nodes=nodes,
        n=nodes - 1,
        r=1,
        w=w,
        contacts=(contact,),
        suspicious=tuple(dict.fromkeys((contact, stand_in))),
        strict=strict,
        faults=faults,
    )


def draining(
    name: str,
    *,
    nodes: int = 4,
    claims: Sequence[str] = ("hints-drain", "convergence"),
    without: str = "",
    fairness: Sequence[Fair[Action]] = FAIRNESS,
    restless: bool = False,
    **faults: int,
) -> Enduring:
    """That hints drain, and that the owners are equal then; a node may be suspected once, or again and again."""
    first, *_ = walk(nodes, n=nodes - 1)
    scenario = put_at(first, nodes=nodes, faults=Faults(suspicions=1, **faults))
    wanted = [claim for claim in (HINTS_DRAIN, convergence(scenario)) if claim.name in claims]
    return Enduring(name, scenario, wanted, without=without, fairness=fairness, restless=restless)


def reading(name: str, *, heard: bool = True, suspicions: int = 0) -> Enduring:
    """That the owners are equal after a get that all of them hear of, whatever a crash has lost."""
    scenario = put_at(FIRST, G, faults=Faults(suspicions=suspicions, crashes=1))
    allows = partial(heard_by_all, scenario) if heard else anything
    return Enduring(name, scenario, (HINTS_DRAIN, convergence(scenario)), allows=allows)


def writing(name: str, *, nodes: int = 3, w: int = 1, strict: bool = False, allows: Allows = undisturbed) -> Enduring:
    """That a put succeeds at the last node of the walk, which owns nothing of the key, while all owners may die."""
    *_, last = walk(nodes, n=nodes - 1)
    scenario = put_at(last, nodes=nodes, w=w, strict=strict, faults=Faults(suspicions=1, crashes=nodes - 1))
    return Enduring(
        name,
        scenario,
        always_writable(scenario),
        without="nodes come back",
        restless=True,
        allows=allows,
        claims=("one-dot-per-request",),
    )


ENDURING: Registry = {
    name: (about, partial(make, name))
    for name, about, make in (
        ("hints-drain", "a put, a wrong suspicion, a lost message", partial(draining, drops=1)),
        ("hints-drain-cut", "the same, but for a cut that heals", partial(draining, cuts=1)),
        (
            "hints-drain-crash",
            "the same, but for a node that crashes and comes back",
            partial(draining, crashes=1, claims=("hints-drain",)),
        ),
        (
            "hints-drain-restless",
            "a put; nodes come to suspect others wrongly again and again",
            partial(draining, restless=True),
        ),
        (
            "hints-drain-restless-three",
            "the same with three nodes and two replicas",
            partial(draining, nodes=3, restless=True),
        ),
        (
            "hints-drain-weakly",
            "the same, but what is handed over may be put off till the next suspicion (must fail: hints-drain)",
            partial(draining, nodes=3, fairness=WEAK, restless=True),
        ),
        (
            "hints-drain-suspected",
            "a put, a suspicion that need not end (must fail: hints-drain)",
            partial(draining, without="suspicions end"),
        ),
        (
            "hints-alone",
            "a put and a crash, which takes with it who was to be owed (must fail: convergence)",
            partial(draining, crashes=1),
        ),
        ("converge-crash", "a put, a crash, a get that all owners hear of", reading),
        (
            "converge-crash-sloppy",
            "the same, and a wrong suspicion",
            partial(reading, suspicions=1),
        ),
        (
            "converge-crash-unheard",
            "a put, a crash, a get that may time out or be cut short (must fail: convergence)",
            partial(reading, heard=False),
        ),
        (
            "always-writable",
            "W = 1, a put at the only node that is left of four",
            partial(writing, nodes=4),
        ),
        ("always-writable-three", "the same of three nodes, two replicas", writing),
        (
            "always-writable-strict",
            "the same, but nobody stands in for owners that are down (must fail: always-writable-client1#1)",
            partial(writing, strict=True),
        ),
        (
            "always-writable-two",
            "the same, but W = 2 (must fail: always-writable-client1#1)",
            partial(writing, w=2),
        ),
        (
            "always-writable-disturbed",
            "the same, but nodes may fail and timers fire at any moment (must fail: always-writable-client1#1)",
            partial(writing, allows=anything),
        ),
    )
}
"""Each with what is claimed of its runs; where the claim must fail, it says which."""

RUNS: Registry = {**CONVERGENCE, **ENDURING}
"""All models of the store that claim something of whole runs."""
