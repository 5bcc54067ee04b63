"""Random runs of the spec cluster against the simple model, and of clusters that were broken on purpose.

`SpecHarness` is `spec.cluster` itself: every command becomes one of its actions, and faults have no budget. Each
operation is a client of its own, so that any context may be brought back at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test
from msgspec import Struct
from msgspec.structs import replace

from checker import stateful
from checker.stateful import Outcome, StoreMachine, TurnedDown, Unknown
from spec.actions import (
    Action,
    Arrive,
    Ask,
    Crash,
    CrashAfterCommit,
    Cut,
    Drop,
    Duplicate,
    Expire,
    Heal,
    Restart,
    event_of,
)
from spec.clock import NOTHING, Clock, Dot
from spec.cluster import apply, initial
from spec.events import Deliver, Event, Reply
from spec.maps import FSet
from spec.messages import Failed, Found, Get, Indefinite, Operation, Put, Refused, Repair, Result, Write
from spec.messages import Stored as PutStored
from spec.network import Envelope
from spec.properties import CLAIMS
from spec.ring import Member, owners_of
from spec.spent import DRIVER, Driver
from spec.types import Key, NodeId, RequestId, Value
from spec.world import Advance, Client, Faults, Scenario, Server, State, advance, client_id
from tests.small import small_config

ENDLESS = Faults(drops=2**60, duplicates=2**60, crashes=2**60, cuts=2**60)


class Shown(Struct, frozen=True):
    """The context of a get, with the ghost that `spec.history` keeps of it."""

    context: Clock
    seen: FSet[Dot]


def outcome_of(result: Result, client: Client) -> Outcome:
    """What a client of the spec was told, in the words of the machine."""
    match result:
        case PutStored():
            return stateful.Stored()
        case Found(siblings, context):
            return stateful.Read(tuple(v.value for v in siblings), Shown(context, client.seen))
        case Indefinite(reason):
            return Unknown(reason)
        case Failed(reason) | Refused(reason):
            return TurnedDown(reason)


class SpecHarness:
    """The explored machine of the specification, driven one action at a time."""

    def __init__(self, nodes: Sequence[str], driver: Driver = DRIVER) -> None:
        """Start all nodes on new disks."""
        self.driver = driver
        self.scenario = Scenario(
            config=small_config(),
            members=tuple(Member(NodeId(name)) for name in nodes),
            key=Key(b"asked for by name"),
            programs=(),
            contacts=(),
            faults=ENDLESS,
            keep_spent=True,
        )
        self.state: State = initial(self.scenario, driver)
        self.results: dict[int, Result] = {}
        self.doomed: dict[str, frozenset[int]] = {}

    def do(self, action: Action) -> None:
        """Perform an action, or the crash that its node is doomed to in the middle of it; note what is replied."""
        replies: list[Reply] = []
        if isinstance(action, Ask | Arrive | Expire):
            name, event = event_of(action)
            leaving = self.driver.advance(self.state.servers[name], event).leaving
            released = tuple(range(len(leaving)))
            doomed = self.doomed.pop(name, None)
            if doomed is not None:
                released = tuple(place for place in released if place in doomed)
                action = CrashAfterCommit(action, released)
            replies = [said for place in released if isinstance(said := leaving[place], Reply)]
        self.state = apply(self.scenario, self.state, action, self.driver)
        for reply in replies:
            self.results[int(reply.request.client.removeprefix("client")) - 1] = reply.result

    def ask(self, node: str, client: Client, operation: Operation) -> int:
        ticket = len(self.state.clients)
        self.state = replace(self.state, clients=(*self.state.clients, client))
        self.do(Ask(ticket, NodeId(node), RequestId(client_id(ticket), 1), operation))
        return ticket

    def put(self, node: str, key: bytes, value: bytes, context: object | None) -> int:
        if context is None:
            return self.ask(node, Client(), Put(Key(key), Value(value), NOTHING))
        assert isinstance(context, Shown)
        client = Client(context=context.context, seen=context.seen)
        return self.ask(node, client, Put(Key(key), Value(value), context.context))

    def get(self, node: str, key: bytes) -> int:
        return self.ask(node, Client(), Get(Key(key)))

    def outcome(self, ticket: int) -> Outcome | None:
        client = self.state.clients[ticket]
        if client.done == 0:
            return None
        return outcome_of(self.results.get(ticket, Indefinite("the connection broke")), client)

    def deliverable(self) -> list[Envelope]:
        """Each message that could arrive now."""
        messages = dict.fromkeys(self.state.network.in_flight)
        return [e for e in messages if self.state.servers[e.target].node.started]

    def in_flight(self) -> Sequence[str]:
        return [f"{type(e.message).__name__} from {e.source} to {e.target}" for e in self.deliverable()]

    def deliver(self, which: int) -> None:
        self.do(Arrive(self.deliverable()[which]))

    def drop(self, which: int) -> None:
        self.do(Drop(self.deliverable()[which]))

    def duplicate(self, which: int) -> None:
        self.do(Duplicate(self.deliverable()[which]))

    def running(self) -> list[Expire]:
        return [Expire(name, about) for name, server in self.state.servers.items() for about in server.timers]

    def timers(self) -> Sequence[str]:
        return [f"the timer of {expire.request} at {expire.node}" for expire in self.running()]

    def fire(self, which: int) -> None:
        self.do(self.running()[which])

    def cut(self, side: frozenset[str]) -> None:
        self.do(Cut(FSet.of(NodeId(name) for name in side)))

    def heal(self) -> None:
        if self.state.network.cut_off:
            self.do(Heal())

    def is_up(self, node: str) -> bool:
        return self.state.servers[NodeId(node)].node.started

    def crash(self, node: str) -> None:
        self.doomed.pop(node, None)
        self.do(Crash(NodeId(node)))

    def crash_in_next_step(self, node: str, released: frozenset[int]) -> None:
        self.doomed[node] = released

    def restart(self, node: str) -> None:
        self.do(Restart(NodeId(node)))

    def settle(self) -> None:
        self.doomed.clear()
        self.heal()
        for name in self.state.servers:
            if not self.is_up(name):
                self.restart(name)
        for _ in range(10_000):
            if self.deliverable():
                self.deliver(0)
            elif self.running():
                self.fire(0)
            else:
                return
        raise AssertionError("the cluster does not come to rest")

    def owners(self, key: bytes) -> tuple[str, ...]:
        node = self.state.servers.items()[0][1].node
        return owners_of(node.ring, Key(key), node.config.n)

    def disks(self) -> Mapping[str, Mapping[bytes, list[bytes]]]:
        return {
            name: {key: [v.value for v in row.siblings] for key, row in server.disk.table.items()}
            for name, server in self.state.servers.items()
        }

    def stop(self) -> None:
        """Nothing is held."""


# Claims of one key, or that compare replicas whatever their key, say nothing about a run with several.
ONE_KEY = {"quorum-meaning-get", "merge-is-join"}


class SpecMachine(StoreMachine):
    """The specification; its own properties are watched too, so that they and the simple model check each other."""

    harness: SpecHarness

    def begin(self) -> SpecHarness:
        return SpecHarness(self.nodes)

    @invariant()
    def claims_hold(self) -> None:
        for claim in CLAIMS:
            if claim.check is not None and claim.name not in ONE_KEY:
                assert claim.check(self.harness.state) is None


DEFAULT = settings.default
assert DEFAULT is not None
RUNS = settings(max_examples=max(30, DEFAULT.max_examples // 2), stateful_step_count=40)


def test_the_specification_keeps_its_promises() -> None:
    run_state_machine_as_test(SpecMachine, settings=RUNS)


# Broken on purpose: each of these must be found.


def forgets_what_it_was_sent(server: Server, event: Event) -> Advance:
    """A replica acknowledges a set without having stored it."""
    right = advance(server, event)
    if isinstance(event, Deliver) and isinstance(event.message, Write):
        return Advance(replace(right.server, disk=server.disk), (), right.leaving)
    return right


def acknowledges_early(server: Server, event: Event) -> Advance:
    """A coordinator counts its own copy twice."""
    eager = replace(server, node=replace(server.node, config=replace(server.node.config, w=1)))
    right = advance(eager, event)
    return replace(right, server=replace(right.server, node=replace(right.server.node, config=server.node.config)))


def hides_a_sibling(server: Server, event: Event) -> Advance:
    """A get shows one sibling with the context of all."""
    right = advance(server, event)
    return replace(right, leaving=tuple(map(first_only, right.leaving)))


def first_only(said: Envelope | Reply) -> Envelope | Reply:
    if isinstance(said, Reply) and isinstance(said.result, Found):
        return replace(said, result=replace(said.result, siblings=FSet(said.result.siblings.items[:1])))
    return said


def repairs_nobody(server: Server, event: Event) -> Advance:
    """Read repair is forgotten."""
    right = advance(server, event)
    said = (one for one in right.leaving if not (isinstance(one, Envelope) and isinstance(one.message, Repair)))
    return replace(right, leaving=tuple(said))


def failure_of(broken: Callable[[Server, Event], Advance], *phases: Phase) -> AssertionError:
    """How the machine fails on a cluster whose servers advance like this; the same in every run."""

    class Broken(StoreMachine):
        def begin(self) -> SpecHarness:
            return SpecHarness(self.nodes, Driver(advance=broken))

    search = settings(
        max_examples=500,
        stateful_step_count=25,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=phases,
    )
    with pytest.raises(AssertionError) as found:
        run_state_machine_as_test(Broken, settings=search)
    return found.value


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (acknowledges_early, "was acknowledged, and only"),
        (hides_a_sibling, "misses|was acknowledged, and only"),
        (repairs_nobody, "was read and not repaired"),
    ],
)
def test_what_is_broken_is_found(broken: Callable[[Server, Event], Advance], complaint: str) -> None:
    assert re.search(complaint, str(failure_of(broken, Phase.generate)))


def test_what_is_found_is_shrunk_to_a_short_run() -> None:
    failure = failure_of(forgets_what_it_was_sent, Phase.generate, Phase.shrink)
    assert re.match("b'1' was acknowledged, and only .* know it|a get of .* misses", str(failure))
    told = [line for note in failure.__notes__ for line in note.splitlines() if line.startswith(("state.", "seen_"))]
    rules = [line for line in told if "promises_are_kept" not in line and "teardown" not in line]
    assert any("put_" in line for line in rules)
    assert len(rules) <= 5, rules
