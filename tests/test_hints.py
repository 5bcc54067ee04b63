"""A node keeps so many hints and no more: what it stands in for, what it turns down, and how room comes about again."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from checker.validate import examine
from spec.events import HandOff, Reply, Suspicion
from spec.maps import FSet
from spec.messages import Handoff, Indefinite, Overloaded, Stored, Taken, Write
from spec.trace import Step
from spec.types import Key, Limits, NodeId
from tests.recorded import CONFIG, Recorded, save
from tests.small import KEY, Hands, put, request, small_config


def two_owners(hints: int, *, w: int = 1, lingering: int = 4096) -> tuple[Hands, NodeId, NodeId, NodeId]:
    """A small cluster of two replicas; the owners of the key, and the node that stands in for them."""
    limits = Limits(hints=hints, lingering_requests=lingering)
    hands = Hands(config=small_config(n=2, r=1, w=w, limits=limits, sloppy=True))
    first, second = hands.owners()
    return hands, first, second, hands.stranger()


def suspect(hands: Hands, name: NodeId, *suspected: NodeId) -> None:
    """From now on the node takes these others to be down, and no others."""
    for about in hands.servers:
        hands.event(name, Suspicion(about, about in suspected))


def write(owner: NodeId, value: int = 1, key: Key = KEY) -> Write:
    """What somebody sends to a node that is to stand in for an owner."""
    other = Hands(config=small_config(n=2, r=1, w=1))
    other.ask(other.owners(key)[0], request(value), put(b"%d" % value, key=key))
    return Write(request(value), key, other.held(other.owners(key)[0], key), owner)


def test_a_node_without_room_stores_nothing_for_another_and_does_not_acknowledge() -> None:
    hands, first, second, stand_in = two_owners(hints=1)
    assert len(hands.send(first, stand_in, write(second))) == 1
    before = hands.servers[stand_in]
    assert hands.send(second, stand_in, write(first, 2)) == ()
    assert hands.servers[stand_in] == before


def test_what_a_node_owes_already_it_may_owe_more_of() -> None:
    hands, first, second, stand_in = two_owners(hints=1)
    hands.send(first, stand_in, write(second, 1))
    newer = write(second, 2)
    assert len(hands.send(first, stand_in, newer)) == 1
    assert newer.siblings.issubset(hands.held(stand_in))
    assert hands.servers[stand_in].disk.count_hints() == 1


def test_hints_of_all_keys_count() -> None:
    hands, first, _, stand_in = two_owners(hints=2)
    others = (Key(b"%d" % number) for number in range(100))
    keys = [key for key in others if stand_in == hands.stranger(key)][:3]
    acknowledged = [len(hands.send(first, stand_in, write(hands.owners(key)[0], key=key))) for key in keys]
    assert acknowledged == [1, 1, 0]


def test_a_put_is_turned_down_that_a_node_without_room_would_coordinate_for_another() -> None:
    hands, first, second, stand_in = two_owners(hints=1, w=2)
    hands.send(first, stand_in, write(second))
    suspect(hands, stand_in, first)
    before = hands.servers[stand_in]
    hands.ask(stand_in, request(1), put())
    assert hands.results(request(1)) == [Overloaded(f"node {stand_in} is overloaded: it keeps 1 hints")]
    assert hands.servers[stand_in] == before
    hands.ask(stand_in, request(2), structs.replace(put(), again=True))
    (told,) = hands.results(request(2))
    assert isinstance(told, Indefinite), "the first time it may have happened"
    suspect(hands, stand_in, second)
    hands.ask(stand_in, request(3), put())
    assert hands.row(stand_in).minted, "for that owner there is a hint"


@pytest.mark.parametrize("restarted", [False, True])
def test_there_is_room_again_when_an_owner_was_handed_what_it_is_owed(restarted: bool) -> None:
    """And only then: a crash makes none, for hints are counted on the disk."""
    hands, first, second, stand_in = two_owners(hints=1)
    hands.send(first, stand_in, write(second))
    if restarted:
        hands.restart(stand_in)
    assert hands.send(second, stand_in, write(first, 2)) == ()
    hands.event(stand_in, HandOff(second, (KEY,)))
    hands.deliver(lambda e: isinstance(e.message, Handoff | Taken))
    assert hands.servers[stand_in].disk.count_hints() == 0
    assert len(hands.send(second, stand_in, write(first, 2))) == 1


def test_whoever_is_late_is_owed_as_much_as_there_is_room_for() -> None:
    """The put was acknowledged by then, and stays so."""
    hands = Hands(config=small_config(w=1, limits=Limits(hints=3), sloppy=True))
    coordinator, owed = NodeId("a"), []
    for number in range(1, 4):
        key = Key(b"%d" % number)
        hands.ask(coordinator, request(number), put(key=key))
        hands.expire(coordinator, request(number))
        assert [type(told) for told in hands.results(request(number))] == [Stored]
        owed.append(list(hands.row(coordinator, key).owed))
    assert owed == [["b", "c"], ["b"], []]


def test_the_hint_that_a_step_makes_for_itself_takes_room() -> None:
    """A put that cannot wait for whoever is late owes it to them at once, beside whom it stands for."""
    hands, first, second, stand_in = two_owners(hints=3, lingering=1)
    keys = [key for key in (Key(b"%d" % n) for n in range(99)) if hands.stranger(key) == stand_in][:3]
    suspect(hands, stand_in, first, second)
    for number, key in enumerate(keys, 1):
        hands.ask(stand_in, request(number), put(key=key))
    assert [len(hands.row(stand_in, key).owed) for key in keys] == [1, 2, 0]
    assert isinstance(hands.results(request(3))[0], Overloaded)


def test_a_limit_that_was_lowered_lets_no_more_in() -> None:
    """There may be more hints than that; they stay until they are handed over."""
    hands, first, second, stand_in = two_owners(hints=2)
    hands.send(first, stand_in, write(second))
    hands.send(second, stand_in, write(first, 2))
    lower, *_ = two_owners(hints=1)
    lower.crash(stand_in, hands.servers[stand_in].disk)
    lower.start(stand_in)
    assert lower.servers[stand_in].disk.count_hints() == 2
    suspect(lower, stand_in, first, second)
    lower.ask(stand_in, request(3), put())
    assert lower.row(stand_in).owed == FSet.of([first, second])
    other = next(key for key in (Key(b"%d" % n) for n in range(99)) if lower.stranger(key) == stand_in)
    assert lower.send(first, stand_in, write(second, 4, other)) == ()


def test_a_recorded_run_is_decided_again_with_the_same_room(tmp_path: Path) -> None:
    """From a snapshot that has hints, too: nodes count as the disk does, and are never beyond the limit."""
    full = 0
    for seed in range(4):
        config = structs.replace(CONFIG, sloppy=True, w=1, limits=Limits(hints=2, lingering_requests=1))
        run = Recorded(seed, keys=4, config=config)
        for number in range(1_200):
            run.act()
            if number == 600:
                run.record_anew()
            assert max(server.disk.count_hints() for _, server in run.servers.items()) <= 2
        steps = [entry for log in run.logs.values() for entry in log if isinstance(entry, Step)]
        told = [effect.result for step in steps for effect in step.effects if isinstance(effect, Reply)]
        full += sum(isinstance(result, Overloaded) and "hints" in result.reason for result in told)
        save(tmp_path / str(seed), run.files())
        assert examine(tmp_path / str(seed)).problem is None
    assert full > 0
