"""An audit of `spec.spent`, on every state of small models in which spent messages are kept.

What counts as spent in a state must be spent in every later state in which it is still in flight and its target is
up, and delivering it must change nothing but the network, where it leaves nothing but spent messages. Being spent is
asked of `settle` itself, told that every server has changed. While its target is down, a message need not be called
spent, but it is remembered that it was: so what is walked are pairs of a state and what was ever called spent and is
still in flight. Then what clients and disks can come to is compared with and without spent messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from checker.audit import Walk
from checker.cluster_audit import Keeping, Spent, revived, spent_by_settle
from checker.memory import remembering
from spec.cluster import initial, transitions
from spec.events import Deliver
from spec.messages import Repair, Write, Written
from spec.network import Envelope
from spec.ring import Member, build_ring, owners_of
from spec.spent import DRIVER, AdvanceFunction, Driver, is_spent
from spec.types import Config, NodeId
from spec.world import BlindPut, Faults, Look, Scenario, Server, State, Task
from tests.small import KEY, small_config

ABC = tuple(Member(NodeId(name)) for name in "abc")
PUT, GET = BlindPut(), Look()


def scenario(
    *programs: tuple[Task, ...], config: Config | None = None, contacts: str = "a", patience: int = 0, **faults: int
) -> Scenario:
    return Scenario(
        config=small_config() if config is None else config,
        members=ABC,
        key=KEY,
        programs=programs,
        contacts=tuple(NodeId(name) for name in contacts),
        faults=Faults(**faults),
        patience=patience,
    )


TWO = small_config(n=2)
STRANGER = next(m.name for m in ABC if m.name not in owners_of(build_ring(ABC, TWO), KEY, 2))

MODELS = {
    "a put and a crash": scenario((PUT,), contacts="ab", crashes=1),
    "a put and a duplicate": scenario((PUT,), duplicates=1),
    "a put, a crash and a duplicate": scenario((PUT,), crashes=1, duplicates=1),
    "a put, a drop and a cut": scenario((PUT,), cuts=1, drops=1),
    "a put and a get": scenario((PUT,), (GET,), contacts="ab"),
    "two puts of two owners and a crash": scenario((PUT,), (PUT,), config=TWO, contacts="ab", crashes=1),
    "forwarding and a duplicate": scenario((PUT,), config=TWO, contacts=STRANGER, duplicates=1),
    "forwarding, a crash and a duplicate": scenario((PUT,), config=TWO, contacts=STRANGER, crashes=1, duplicates=1),
    "a put that is asked again": scenario((PUT,), patience=1),
    "a put that is asked again and a crash": scenario((PUT,), config=TWO, contacts="a", patience=1, crashes=1),
    "a forwarded put that is asked again": scenario((PUT,), config=TWO, contacts=STRANGER, patience=1),
    "forwarding a put and a get": scenario((PUT, GET), config=TWO, contacts=STRANGER, duplicates=1),
}


def reachable(world: Scenario, driver: Driver, limit: int = 200_000) -> list[State]:
    first = initial(world, driver)
    seen, queue = {first}, deque([first])
    while queue:
        for _, after in transitions(world, queue.popleft(), driver):
            if after not in seen:
                assert len(seen) < limit, "the model is too large for an audit"
                seen.add(after)
                queue.append(after)
    return list(seen)


def audit(world: Scenario, driver: Driver, spent: Spent) -> str | None:
    """The first state in which something once called spent is not; None where there is none."""
    keeping = Keeping(world, driver, spent)
    walk = Walk(keeping, 200_000)
    complaint = next(revived(walk, keeping), None)
    assert complaint or walk.complete, "the model is too large for an audit"
    return complaint


def outcomes(states: list[State]) -> set[object]:
    """What can be observed: the clients, what really happened, and the disks."""
    return {(s.clients, s.history, tuple(server.disk for _, server in s.servers.items())) for s in states}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_spent_stays_spent_and_changes_nothing(name: str) -> None:
    driver = remembering(DRIVER)
    assert audit(MODELS[name], driver, spent_by_settle(driver)) is None


@pytest.mark.parametrize("name", MODELS)
def test_taking_spent_messages_out_loses_no_outcome(name: str) -> None:
    driver = remembering(DRIVER)
    kept = reachable(replace(MODELS[name], keep_spent=True), driver)
    taken = reachable(MODELS[name], driver)
    assert outcomes(taken) == outcomes(kept)
    assert len(taken) < len(kept)


# Wrong rules, which the audit must notice.


def without_reopening(driver: Driver) -> Spent:
    """Forgets that a request that is over is opened again by a second copy of its `Forward`."""

    def spent(state: State) -> frozenset[Envelope]:
        return frozenset(
            e
            for e in state.network.in_flight
            if driver.is_spent(e, state.servers[e.target], state.servers[e.source], driver.advance)
        )

    return spent


def whatever_nobody_hears(driver: Driver) -> Spent:
    """Takes writes and repairs to a node that is down for spent: it may come back before they arrive."""

    def spent(state: State) -> frozenset[Envelope]:
        return frozenset(
            e
            for e in state.network.in_flight
            if isinstance(e.message, Write | Repair) and not state.servers[e.target].node.started
        ) | spent_by_settle(driver)(state)

    return spent


def deaf(driver: Driver) -> Spent:
    """Looks at whether the target changes, and not at what it says: a read would never be answered."""

    def spent(state: State) -> frozenset[Envelope]:
        return frozenset(
            e
            for e in state.network.in_flight
            if state.servers[e.target].node.started
            and driver.advance(state.servers[e.target], Deliver(e.source, e.message)).server == state.servers[e.target]
        )

    return spent


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("forwarding and a duplicate", without_reopening),
        ("a put and a crash", whatever_nobody_hears),
        ("a put and a duplicate", deaf),
    ],
)
def test_a_wrong_rule_is_noticed(name: str, wrong: Callable[[Driver], Spent]) -> None:
    driver = remembering(DRIVER)
    complaint = audit(MODELS[name], driver, wrong(driver))
    assert complaint is not None
    assert "called spent" in complaint


def test_taking_out_too_much_loses_an_outcome() -> None:
    """The comparison can fail: here acknowledgements are always taken for spent."""

    def eager(envelope: Envelope, target: Server, source: Server, advanced: AdvanceFunction) -> bool:
        return isinstance(envelope.message, Written) or is_spent(envelope, target, source, advanced)

    world = MODELS["a put and a duplicate"]
    kept = reachable(replace(world, keep_spent=True), DRIVER)
    assert outcomes(reachable(world, Driver(is_spent=eager))) < outcomes(kept)
