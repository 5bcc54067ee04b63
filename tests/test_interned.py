"""The store by numbers: the same counts, the same verdicts; every rule stands up, and a wrong one is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from msgspec.structs import replace

from checker.audit import Audited, Walk, asymmetries, audit_all
from checker.cluster_audit import APART, audit_observations, audit_pieces, audit_rules, reached
from checker.cluster_machine import ClusterMachine
from checker.convergence import CONVERGENCE
from checker.explore import explore
from checker.frames import NO_RULES, SYMMETRY_ONLY, Frames, Rules, rules_of, small
from checker.heads import Head, Step
from checker.interned import Interned
from checker.machine import Always, Sometimes, Transition
from checker.models import MODELS, machine_of
from checker.reduce import explore_reduced, reduction_of
from checker.worlds import FIRST, HINT_CLAIMS, G, P, S, walk, world
from spec import cluster
from spec.actions import Action, Arrive, Ask, Restart
from spec.cluster import initial
from spec.events import Event
from spec.maps import FMap
from spec.messages import Read, Repair, Write, Written
from spec.network import Envelope
from spec.spent import DRIVER, Driver
from spec.types import NodeId
from spec.world import Advance, Faults, Scenario, Server, ShownPut, State, Task, advance
from tests.seeds import same_under_two_hash_seeds
from tests.test_models import COUNTS

# The same counts.


@pytest.mark.parametrize(
    "name",  # one has no symmetry; where requests are opened again it may leave fewer messages in flight
    [
        name
        for name in COUNTS
        if name not in ("forward-duplicate", "sloppy-ask-again", "sloppy-ask-elsewhere", "stand-in-ask-again")
        and not MODELS[name].scenario.losing
    ],
)
def test_representatives_stand_for_all_states(name: str) -> None:
    """As many as the full search finds, exactly."""
    reduction = machine_of(name).numbered(SYMMETRY_ONLY)
    result = explore(reduction)
    assert result.verdict == "holds"
    assert reduction.stands_for() == COUNTS[name][0]
    assert result.states <= COUNTS[name][0]


@pytest.mark.parametrize("name", ["put-get-drop", "put-get-cut", "ask-again", "show"])
def test_numbers_change_nothing(name: str) -> None:
    """Without any reduction: the same states, the same steps of each kind, the same depth."""
    plain, by_numbers = explore(machine_of(name)), explore(machine_of(name).numbered(NO_RULES))
    assert (by_numbers.states, by_numbers.generated) == COUNTS[name] == (plain.states, plain.generated)
    assert by_numbers.depth == plain.depth
    assert [(c.kind, c.generated) for c in by_numbers.coverage] == [(c.kind, c.generated) for c in plain.coverage]


# Representatives, with all rules that each scenario allows. A change here changes what is explored.
REDUCED = {
    "puts": 91,
    "puts-crash": 304,
    "put-get-drop": 182,
    "put-get-duplicate": 248,
    "put-get-crash": 224,
    "put-get-cut": 422,
    "write-all-duplicate": 201,
    "refuse": 4_665,
    "sloppy-put": 722,
    "sloppy-put-crash": 1_834,
    "sloppy-put-put": 684,
    "stand-in-again": 170,
}


@pytest.mark.parametrize("name", REDUCED)
def test_reduced_models_hold(name: str) -> None:
    """Every claim and every witness, as in the full search."""
    result = explore_reduced(machine_of(name))
    assert (result.verdict, result.states, result.reduced) == ("holds", REDUCED[name], True)
    claimed = {p.name for p in machine_of(name).properties}
    assert {p.name for p in result.properties} == claimed | {"deadlock-free"}
    assert {p.standing for p in result.properties} == {"holds", "met"}


def test_a_control_fails_reduced_as_in_full() -> None:
    full, reduced = explore(machine_of("weak")).violation, explore_reduced(machine_of("weak")).violation
    assert full is not None
    assert reduced is not None
    assert (reduced.property, len(reduced.path)) == (full.property, len(full.path))


def test_hash_seeds_change_nothing() -> None:
    program = (
        "from checker.models import machine_of; from checker.reduce import explore_reduced, reduction_of\n"
        "from checker.report import as_json; from msgspec.structs import replace\n"
        "for name in ('puts-crash', 'put-get-cut', 'weak'):\n"
        "    m = machine_of(name); print(as_json(m, replace(explore_reduced(m), seconds=0.0)))\n"
    )
    assert b"quorum-meaning-get" in same_under_two_hash_seeds(program)


def test_what_claims_something_of_whole_runs_is_searched_in_full() -> None:
    machine = CONVERGENCE["converge"][1]()
    assert reduction_of(machine) is None
    assert [a.claim for a in audit_all(machine, 50)] == ["step", "symmetry"]


# What a scenario allows.


def test_message_rules_are_for_scenarios_in_which_nothing_is_opened_again() -> None:
    assert rules_of(world((P, G), (P,))) == Rules()
    assert rules_of(MODELS["forward"].scenario) == SYMMETRY_ONLY
    assert rules_of(replace(world((P,)), patience=1)) == SYMMETRY_ONLY
    assert rules_of(world((ShownPut(),))) == Rules(eager=False)
    assert rules_of(SLOPPY["a put and a get"]) == Rules(eager=False)
    assert rules_of(MODELS["sloppy-puts"].scenario) == SYMMETRY_ONLY


# The audits.

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
SMALL = {
    "a put and a get": world((P, G), contacts=(A,)),
    "two puts": world((P,), (P,), contacts=(A,)),
    "a put, and one after a get": world((G, S), contacts=(A, B)),
    "a put, a get and a crash": world((P, G), contacts=(A,), faults=Faults(crashes=1)),
    "a put, a get and a lost message": world((P, G), contacts=(A,), faults=Faults(drops=1)),
    "a put, a get and a repeated message": world((P, G), contacts=(A,), faults=Faults(duplicates=1)),
    "a put, a get and a cut": world((P, G), contacts=(A,), faults=Faults(cuts=1)),
    "a put and a get, over a network that repeats": replace(world((P, G), contacts=(A,)), repeating=True),
    "the same, and a crash": replace(world((P, G), contacts=(A,), faults=Faults(crashes=1)), repeating=True),
}
CLAIMS = tuple(MODELS["puts-get"].claims)
FIRST_OF_THREE, *_ = walk(3)
SLOPPY = {
    "a put": world((P,), nodes=4, contacts=(FIRST,), suspicious=(FIRST,), faults=Faults(suspicions=1)),
    "a put and a crash": world((P,), contacts=(FIRST_OF_THREE,), suspicious=(), faults=Faults(crashes=1)),
    "a put and a get": world(
        (P, G), contacts=(FIRST_OF_THREE,), suspicious=(FIRST_OF_THREE,), faults=Faults(suspicions=1)
    ),
    "two puts": world((P, P), contacts=(FIRST_OF_THREE,), suspicious=()),
}


def reducing(machine: ClusterMachine, frames: type[Frames], interned: type[Interned]) -> Callable[[Rules], Interned]:
    def reduce(rules: Rules) -> Interned:
        return interned("small", frames(machine.scenario, DRIVER, rules), machine.properties, machine.action_kinds)

    return reduce


def audit(
    name: str,
    frames: type[Frames] = Frames,
    interned: type[Interned] = Interned,
    worlds: Mapping[str, Scenario] = SMALL,
) -> Iterator[Audited]:
    """What the audits of pieces and rules say; that of spent messages has its own tests."""
    machine = ClusterMachine("small", worlds[name], CLAIMS if worlds is SMALL else HINT_CLAIMS)
    reduce = reducing(machine, frames, interned)
    yield audit_pieces(machine, reduce, 10_000)
    yield from audit_rules(machine.scenario, reduce, 10_000)


@pytest.mark.parametrize("name", SMALL)
def test_the_rules_stand_up(name: str) -> None:
    """Each on all states."""
    audits = list(audit(name))
    assert [a.claim for a in audits] == ["pieces", "eager", "lazy", "restarts", "nameless", "together"]
    assert [a.complaint for a in audits] == [""] * 6
    assert all(a.complete for a in audits)


@pytest.mark.parametrize("name", SLOPPY)
def test_the_rules_stand_up_where_nodes_stand_in_for_each_other(name: str) -> None:
    """Each on all states; acknowledgements are not counted at once there, and would show it."""
    audits = list(audit(name, worlds=SLOPPY))
    assert [a.claim for a in audits] == ["pieces", "lazy", "restarts", "nameless", "together"]
    assert [a.complaint for a in audits] == [""] * 5
    assert all(a.complete for a in audits)


def test_acknowledgements_are_not_counted_at_once_where_one_that_waits_leaves_a_hint() -> None:
    machine = ClusterMachine("small", SLOPPY["two puts"], HINT_CLAIMS)
    full, left = (reached(machine.numbered(rules), 10_000) for rules in (NO_RULES, replace(NO_RULES, eager=True)))
    assert "nothing that is left shows" in audit_observations("eager", APART, full, left, 10_000).complaint


@pytest.mark.parametrize("programs", [((P, G),), ((P,), (P,))])
def test_the_symmetry_stands_up(programs: tuple[tuple[Task, ...], ...]) -> None:
    """Of nodes and, where their programs are the same, of clients."""
    machine = ClusterMachine("small", world(*programs), CLAIMS)
    walk = Walk(machine, 200)
    assert list(asymmetries(walk, machine.symmetry)) == []
    assert len(walk.seen) == 200
    assert len(machine.symmetry.generators()) == 3 + (len(programs) == 2)


def test_a_node_that_differs_is_no_symmetry() -> None:
    """Node a says nothing when it is told to write."""

    def favours(server: Server, event: Event) -> Advance:
        advanced = advance(server, event)
        silent = server.node.name == A and isinstance(getattr(event, "message", None), Write)
        return Advance(advanced.server, advanced.stored, ()) if silent else advanced

    machine = ClusterMachine("favours", world((P,)), CLAIMS, driver=Driver(advance=favours))
    complaint = next(asymmetries(Walk(machine, 1_000), machine.symmetry))
    assert "a renaming that exchanges a and b turns State(" in complaint


class LosesAcknowledgements(Frames):
    """Takes no acknowledgement to matter, rather than to matter at once."""

    def _added(self, action: Action, before: State, after: State) -> Iterator[Action]:
        return (a for a in super()._added(action, before, after) if not isinstance(a, Arrive))

    def form(self, head: State, envelope: Envelope) -> Envelope | None:
        lost = self.rules.eager and isinstance(envelope.message, Written)
        return None if lost else super().form(head, envelope)


class StoresAtOnce(Frames):
    """Delivers writes at once, though that changes a server which the step is not about."""

    def _added(self, action: Action, before: State, after: State) -> Iterator[Action]:  # noqa: ARG002
        for envelope in after.network.in_flight:
            if self.rules.eager and envelope not in before.network.in_flight and isinstance(envelope.message, Write):
                yield Arrive(envelope)


class AnswersTooLate(Frames):
    """Answers reads only when it is about to be too late, never because an answer is waited for."""

    def about(self, state: State, envelope: Envelope) -> Iterator[tuple[Action, ...]]:
        reading = self.rules.lazy and isinstance(envelope.message, Read)
        return (actions for actions in super().about(state, envelope) if not reading)


class LosesRows(Frames):
    """A node that crashes comes back at once, without what it held."""

    def take(self, state: State, actions: tuple[Action, ...]) -> list[tuple[Action, State]]:
        taken = super().take(state, actions)
        action, after = taken[-1]
        if not self.rules.restarts or not isinstance(action, Restart):
            return taken
        back = after.servers[action.node]
        empty = replace(back, disk=replace(back.disk, table=FMap()))
        return [*taken[:-1], (action, replace(after, servers=after.servers.set(action.node, empty)))]


class NobodyCounts(Frames):
    """Takes every write for a repair, whether or not its acknowledgement still counts."""

    def nameless(self, head: State, envelope: Envelope) -> Envelope:
        message = envelope.message
        if isinstance(message, Write):
            return Envelope(envelope.target, envelope.target, Repair(message.key, message.siblings))
        return super().nameless(head, envelope)


class ForgetsHints(Frames):
    """Takes a write that leaves a hint for one that does not."""

    def nameless(self, head: State, envelope: Envelope) -> Envelope:
        message = envelope.message
        owned = isinstance(message, Write) and message.owner is not None
        plain = replace(envelope, message=replace(message, owner=None)) if owned else envelope
        form = super().nameless(head, plain)
        return envelope if form == plain else form


class HandsOverAgain(Interned):
    """Hands over what is under way."""

    def _handing(self, step: Step, bag: list[int]) -> bool:  # noqa: ARG002
        return False


class OneEnd(Interned):
    """Finds a step out for the receiver of a message, as if the sender made no difference."""

    def _ends_of(self, message: int) -> tuple[int, int]:
        target, _ = super()._ends_of(message)
        return target, target


class ForgetsCuts(Interned):
    """Lets messages through a cut."""

    def _uncut(self, after: Head, bag: list[int]) -> list[int]:  # noqa: ARG002
        return bag


@pytest.mark.parametrize(
    ("name", "claim", "frames", "interned", "said"),
    [
        ("a put and a get", "eager", LosesAcknowledgements, Interned, "nothing that is left shows the disks and"),
        ("a put, a get and a crash", "restarts", LosesRows, Interned, "only what is left shows the disks, clients and"),
        ("a put and a get", "nameless", NobodyCounts, Interned, "nothing that is left shows the disks, clients"),
        ("a put and a get", "lazy", AnswersTooLate, Interned, "nothing that is left shows the disks, clients"),
        ("a put and a get", "together", NobodyCounts, Interned, "nothing that is left shows the"),
        ("a put, a get and a lost message", "pieces", Frames, OneEnd, "other than the whole"),
        ("a put, a get and a cut", "pieces", Frames, ForgetsCuts, "other than the whole"),
    ],
)
def test_a_wrong_rule_is_named(
    name: str, claim: str, frames: type[Frames], interned: type[Interned], said: str
) -> None:
    complaint = next(a.complaint for a in audit(name, frames, interned) if a.claim == claim)
    assert said in complaint
    assert "State(" in complaint


@pytest.mark.parametrize(
    ("claim", "frames", "interned", "said"),
    [
        ("nameless", ForgetsHints, Interned, "nothing that is left shows the disks, clients"),
        ("pieces", Frames, HandsOverAgain, "the pieces lead"),
    ],
)
def test_a_rule_that_is_wrong_of_hints_is_named(
    claim: str, frames: type[Frames], interned: type[Interned], said: str
) -> None:
    complaint = next(a.complaint for a in audit("a put", frames, interned, SLOPPY) if a.claim == claim)
    assert said in complaint


def test_a_rule_that_reaches_too_far_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="a server changed that was not meant"):
        list(audit("a put and a get", StoresAtOnce))


# Claims judged by pieces.


def busy(state: State) -> str | None:
    return "something is in flight" if state.network.in_flight else None


@pytest.mark.parametrize(
    "claim",
    [
        Always("placement", busy),  # it says that it reads heads alone
        Transition[State, Action]("exact-discard", lambda _, __, ___: "always"),  # and it, that it is about new writes
    ],
)
def test_a_claim_that_reads_more_than_it_says_is_named(claim: Always[State] | Transition[State, Action]) -> None:
    machine = ClusterMachine("small", SMALL["a put and a get"], ())
    machine.properties = [claim]
    assert "other than by pieces" in audit_pieces(machine, machine.numbered, 10_000).complaint


def test_a_claim_that_says_nothing_of_what_it_reads_is_asked_about_whole_states() -> None:
    machine = ClusterMachine("small", SMALL["a put and a get"], ())
    machine.properties = [Always("calm", lambda state: busy(state) if len(state.network.in_flight) > 1 else None)]
    found = explore_reduced(machine).violation
    assert found is not None
    assert (found.property, len(found.path)) == ("calm", 2)


def test_a_witness_may_be_met_at_the_very_beginning_only() -> None:
    machine = ClusterMachine("small", SMALL["a put and a get"], ())
    fresh = Sometimes[State]("fresh", lambda state: len(state.history.shown) == 0 and not busy(state), of="calm")
    machine.properties = [Always("calm", lambda _: None), fresh]
    assert explore_reduced(machine).verdict == explore(machine).verdict == "holds"


# A network that repeats.


def outcomes(states: list[State]) -> set[object]:
    """What can be observed."""
    return {(s.clients, s.history, tuple(server.disk for _, server in s.servers.items())) for s in states}


def reachable(scenario: Scenario) -> list[State]:
    reduction = ClusterMachine("reachable", scenario, ()).numbered(NO_RULES)
    seen = dict.fromkeys(reduction.initial())
    queue = list(seen)
    for key in queue:
        for _, after in reduction.transitions(key):
            if after not in seen:
                seen[after] = None
                queue.append(after)
    return [reduction.whole(key) for key in queue]


@pytest.mark.parametrize("programs", [((P, G),), ((P,), (G,))])
def test_a_network_that_repeats_shows_whatever_loss_and_duplication_show(
    programs: tuple[tuple[Task, ...], ...],
) -> None:
    scenario = world(*programs, contacts=(A,))
    plain, repeating = outcomes(reachable(scenario)), outcomes(reachable(replace(scenario, repeating=True)))
    faulty = replace(scenario, faults=Faults(drops=1, duplicates=2))
    assert plain <= outcomes(reachable(faulty)) <= repeating


def test_what_a_network_that_repeats_delivers_it_keeps() -> None:
    scenario = replace(world((P,)), repeating=True, keep_spent=True)
    state = initial(scenario)
    asked = next(after for action, after in cluster.transitions(scenario, state) if isinstance(action, Ask))
    first = asked.network.in_flight[0]
    once = cluster.apply(scenario, asked, Arrive(first))
    assert first in once.network.in_flight
    assert len(once.network.in_flight) == 3
    again = cluster.apply(scenario, once, Arrive(first))
    assert again.network == once.network, "what is sent again is there already"
    assert small(again, first).network.repeating
