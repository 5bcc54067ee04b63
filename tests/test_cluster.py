"""The explored machine: what each action does to nodes, network, clients and history, and that it never gets stuck."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checker.memory import remembering
from spec.actions import Action, Arrive, Ask, Crash, CrashAfterCommit, Cut, Drop, Duplicate, Expire, Heal, Restart
from spec.cluster import apply, initial, transitions
from spec.enabled import actions, is_final, sides
from spec.maps import FSet
from spec.ring import Member
from spec.siblings import merge
from spec.spent import DRIVER
from spec.types import Config, NodeId
from spec.world import BlindPut, Faults, Look, Scenario, SeenPut, State, Task
from tests.small import KEY, small_config

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
PUT, SEEN, GET = BlindPut(), SeenPut(), Look()


def world(*programs: tuple[Task, ...], contacts: str = "a", config: Config | None = None, **faults: int) -> Scenario:
    return Scenario(
        config=small_config() if config is None else config,
        members=tuple(Member(NodeId(name)) for name in "abc"),
        key=KEY,
        programs=programs,
        contacts=tuple(NodeId(name) for name in contacts),
        faults=Faults(**faults),
    )


def pick(scenario: Scenario, state: State, kind: type[Action], text: str = "") -> Action:
    """The first possible action of a kind that has this in its words."""
    return next(a for a, _ in transitions(scenario, state) if isinstance(a, kind) and text in repr(a))


def take(scenario: Scenario, state: State, kind: type[Action], text: str = "") -> State:
    return apply(scenario, state, pick(scenario, state, kind, text))


def deliver(scenario: Scenario, state: State, *between: NodeId) -> State:
    """Deliver all messages between these nodes, or between all."""
    while found := [e for e in state.network.in_flight if not between or (e.source in between and e.target in between)]:
        state = apply(scenario, state, Arrive(found[0]))
    return state


def test_at_first_all_nodes_have_started_on_new_disks() -> None:
    state = initial(world((PUT,)))
    assert list(state.servers) == ["a", "b", "c"]
    for name, server in state.servers.items():
        assert server.node.started
        assert server.disk.about is not None
        assert server.disk.about.incarnation == f"disk-{name}"
    assert not state.network.in_flight


def test_a_put_and_a_get_from_end_to_end() -> None:
    scenario = world((PUT, GET))
    state = take(scenario, initial(scenario), Ask)
    assert state.clients[0].waits_for == A
    (created,) = state.history.created
    assert str(created.version.dot) == "a:1"
    assert created.version.value == b"client1#1"
    state = deliver(scenario, state, A, B)
    assert list(state.history.acknowledged) == [created.version.dot]
    assert (state.clients[0].done, state.clients[0].waits_for) == (1, None)
    state = deliver(scenario, take(scenario, state, Ask))
    assert is_final(scenario, state)
    assert list(state.clients[0].seen) == [created.version.dot]
    assert not state.clients[0].missed


def test_a_put_after_a_get_brings_its_context_and_its_ghost() -> None:
    scenario = world((PUT, GET, SEEN, SEEN))
    state = initial(scenario)
    for _ in range(3):
        state = deliver(scenario, take(scenario, state, Ask))
    first, second = state.history.created
    assert second.seen == FSet.of([first.version.dot])
    assert second.version.context[first.version.dot.actor] == 1
    state = deliver(scenario, take(scenario, state, Ask))
    assert len(state.history.created.items[2].seen) == 0, "a context serves the put after its get, and no other"
    assert all(len(server.disk.row(KEY).siblings) == 2 for _, server in state.servers.items())


def test_messages_are_lost_and_repeated() -> None:
    scenario = replace(world((PUT,), drops=1, duplicates=1), keep_spent=True)
    asked = take(scenario, initial(scenario), Ask)
    dropped = take(scenario, asked, Drop)
    assert len(dropped.network.in_flight) == len(asked.network.in_flight) - 1
    assert dropped.faults == Faults(duplicates=1)
    doubled = take(scenario, asked, Duplicate)
    assert len(doubled.network.in_flight) == len(asked.network.in_flight) + 1
    assert doubled.faults == Faults(drops=1)
    for spent in (dropped, doubled):
        assert {type(a) for a in actions(scenario, spent)} & {Drop, Duplicate} != {Drop, Duplicate}


def test_a_cut_separates_until_it_heals() -> None:
    scenario = world((PUT,), cuts=1)
    state = apply(scenario, take(scenario, initial(scenario), Ask), Cut(FSet.of([C])))
    assert {e.target for e in state.network.in_flight} == {B}
    assert not any(isinstance(a, Cut) for a in actions(scenario, state))
    state = apply(scenario, state, Heal())
    assert not any(isinstance(a, Cut | Heal) for a in actions(scenario, state)), "its budget is spent"


def test_a_crash_keeps_the_disk_and_breaks_connections() -> None:
    scenario = world((PUT,), crashes=1)
    asked = take(scenario, initial(scenario), Ask)
    down = apply(scenario, asked, Crash(A))
    server = down.servers[A]
    assert server.disk == asked.servers[A].disk
    assert not server.node.started
    assert len(server.requests) == len(server.timers) == server.node.in_flight == 0
    assert (down.clients[0].done, down.clients[0].waits_for) == (1, None)
    assert not down.history.acknowledged
    up = apply(scenario, down, Restart(A))
    assert up.servers[A].node.started
    assert up.servers[A].disk == server.disk


def test_a_crash_after_the_commit_releases_any_proper_part_of_what_was_to_be_said() -> None:
    scenario = world((PUT,), crashes=1)
    state = initial(scenario)
    mid = [(a, after) for a, after in transitions(scenario, state) if isinstance(a, CrashAfterCommit)]
    assert [a.released for a, _ in mid] == [(), (0,), (1,)]
    for action, after in mid:
        assert isinstance(action, CrashAfterCommit)
        assert len(after.servers[A].disk.row(KEY).siblings) == 1, "the commit happened"
        assert len(after.network.in_flight) == len(action.released)
        assert not after.servers[A].node.started
        assert after.clients[0].done == 1
        assert len(after.history.created) == 1


def test_a_reply_that_left_before_the_crash_is_heard() -> None:
    scenario = world((PUT,), config=small_config(r=1, w=1), crashes=1)
    heard = {
        len(after.history.acknowledged)
        for action, after in transitions(scenario, initial(scenario))
        if isinstance(action, CrashAfterCommit)
    }
    assert heard == {0, 1}


@pytest.mark.parametrize(("names", "count"), [("ab", 1), ("abc", 3), ("abcd", 7), ("abcde", 15)])
def test_every_way_to_cut_the_nodes_in_two_comes_once(names: str, count: int) -> None:
    everybody = FSet.of(NodeId(name) for name in names)
    found = list(sides(everybody))
    assert len(found) == count == 2 ** (len(names) - 1) - 1
    assert len({frozenset([side, everybody - side]) for side in found}) == count


# Whole small models.

SMALL = {
    "two puts": world((PUT,), (PUT,), config=small_config(n=2), contacts="ab"),
    "put, get and a crash": world((PUT, GET), config=small_config(n=2), crashes=1),
    "everything at once": world((PUT,), config=small_config(n=2), crashes=1, drops=1, duplicates=1, cuts=1),
    "forwarding": world((PUT, GET), config=small_config(n=2), contacts="abc", crashes=1),
}


def walk(scenario: Scenario) -> Iterator[tuple[State, list[tuple[Action, State]]]]:
    """All reachable states, each with what can happen in it."""
    driver = remembering(DRIVER)
    first = initial(scenario, driver)
    seen, queue = {first}, deque([first])
    while queue:
        state = queue.popleft()
        happenings = list(transitions(scenario, state, driver))
        yield state, happenings
        for _, after in happenings:
            if after not in seen:
                seen.add(after)
                queue.append(after)


@pytest.mark.parametrize("name", SMALL)
def test_nothing_gets_stuck_and_every_action_is_well_formed(name: str) -> None:
    """Until all clients have their answers something can happen, even without any fault; budgets never go below 0."""
    scenario = SMALL[name]
    finals = 0
    for state, happenings in walk(scenario):
        finals += is_final(scenario, state)
        helpful = (Ask, Arrive, Expire, Restart)
        assert is_final(scenario, state) or any(isinstance(action, helpful) for action, _ in happenings)
        taken = [action for action, _ in happenings]
        assert len(set(taken)) == len(taken), "each action comes once"
        assert all(x >= y for _, after in happenings for x, y in pairs(state.faults, after.faults))
        assert min(state.faults.drops, state.faults.duplicates, state.faults.crashes, state.faults.cuts) >= 0
        for client in state.clients:
            waiting = client.waits_for
            assert waiting is None or state.servers[waiting].node.started
        for _, server in state.servers.items():
            assert server.node.in_flight == len(server.requests)
            assert server.timers == server.requests.keys()
    assert finals > 0


def pairs(before: Faults, after: Faults) -> list[tuple[int, int]]:
    return [(getattr(before, name), getattr(after, name)) for name in Faults.__struct_fields__]


@pytest.mark.parametrize("name", ["two puts", "forwarding"])
def test_rows_only_learn(name: str) -> None:
    """What `spec.spent` rests on: a disk never knows less than before."""
    for state, happenings in walk(SMALL[name]):
        for _, after in happenings:
            for (_, old), (_, new) in zip(state.servers.items(), after.servers.items(), strict=True):
                before, now = old.disk.row(KEY), new.disk.row(KEY)
                assert now.counter >= before.counter
                assert merge(now.siblings, before.siblings) == now.siblings


@given(st.data())
def test_a_random_run_can_be_replayed(data: st.DataObject) -> None:
    scenario = SMALL["everything at once"]
    state, run = initial(scenario), list[Action]()
    for _ in range(data.draw(st.integers(0, 12))):
        possible = list(transitions(scenario, state))
        if not possible:
            break
        action, state = data.draw(st.sampled_from(possible))
        run.append(action)
    again = initial(scenario)
    for action in run:
        again = apply(scenario, again, action)
    assert again == state
    assert hash(again) == hash(state)
