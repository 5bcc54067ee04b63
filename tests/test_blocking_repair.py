"""Blocking repair: a get is answered once W owners hold what it shows, and nobody who looks again sees less."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

import spec.reading
from checker.history import read_history
from checker.history_report import examine
from impl.client import Client
from spec.events import Suspicion
from spec.maps import FSet
from spec.messages import Answer, Failed, Found, Repair, Repaired
from spec.quorum import is_quorum
from spec.siblings import NO_VERSIONS, context_of
from spec.state import GetInFlight
from spec.types import NO_REQUEST, Config, NodeId
from tests.nodes import Running
from tests.recorded import run, save
from tests.small import KEY, Hands, get, request, small_config
from tests.test_client import NAMES, with_store
from tests.test_coordinate import version
from tests.test_validate import problem_of

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
GET = request(1)
ONE, BOTH = FSet.of([version(B)]), FSet.of([version(B), version(C)])


def hands_on(r: int = 2, w: int = 2, *, sloppy: bool = False, names: str = "abc") -> Hands:
    return Hands(names, replace(small_config(r=r, w=w, sloppy=sloppy), blocking_repair=True))


def confirmed(hands: Hands) -> FSet[NodeId]:
    about = hands.servers[A].requests.get(GET)
    assert isinstance(about, GetInFlight)
    return about.confirmed


def test_the_reply_waits_for_w_owners_and_the_reader_is_one_as_soon_as_it_has_written() -> None:
    hands = hands_on()
    hands.ask(A, GET, get())
    said = hands.send(B, A, Answer(GET, ONE))
    assert len(said) == 1, "A has written it down, B holds it"
    assert hands.held(A) == ONE
    assert hands.results(GET) == [Found(ONE, context_of(ONE))]


def test_it_waits_for_an_acknowledgement_where_w_is_more() -> None:
    hands = hands_on(r=2, w=3)
    hands.ask(A, GET, get())
    hands.send(B, A, Answer(GET, ONE))
    assert hands.results(GET) == []
    hands.send(C, A, Answer(GET, NO_VERSIONS))
    (repair,) = [e.message for e in hands.mail if isinstance(e.message, Repair)]
    assert repair == Repair(KEY, ONE, GET)
    assert hands.servers[A].node.in_flight == 1
    hands.deliver(lambda e: isinstance(e.message, Repair | Repaired))
    assert hands.held(C) == ONE
    assert hands.results(GET) == [Found(ONE, context_of(ONE))]
    assert len(hands.servers[A].requests) == len(hands.servers[A].timers) == 0


def test_nothing_to_show_needs_no_repair() -> None:
    hands = hands_on(w=3)
    hands.ask(A, GET, get())
    hands.send(B, A, Answer(GET, NO_VERSIONS))
    assert len(hands.results(GET)) == 1


def test_what_a_late_answer_brings_has_to_be_held_too() -> None:
    hands = hands_on(r=2, w=3)
    hands.ask(A, GET, get())
    hands.send(B, A, Answer(GET, ONE))
    hands.send(C, A, Answer(GET, FSet.of([version(C)])))
    assert hands.held(A) == BOTH
    hands.send(C, A, Repaired(GET, context_of(ONE)))
    assert hands.results(GET) == [], "C has acknowledged less"
    hands.send(B, A, Repaired(GET, context_of(BOTH)))
    assert hands.results(GET) == []
    hands.send(C, A, Repaired(GET, context_of(BOTH)))
    assert hands.results(GET) == [Found(BOTH, context_of(BOTH))]


def test_who_was_confirmed_is_asked_again_when_there_is_more_to_hold() -> None:
    hands = hands_on(r=1, w=3)
    hands.send(B, A, Repair(KEY, ONE))
    hands.ask(A, GET, get())
    hands.send(B, A, Answer(GET, ONE))
    assert confirmed(hands) == FSet.of([A, B])
    hands.send(C, A, Answer(GET, BOTH))
    assert confirmed(hands) == FSet.of([A, C])
    assert hands.results(GET) == []


def test_a_get_that_cannot_repair_fails_and_says_why() -> None:
    hands = hands_on(r=1, w=3)
    hands.send(B, A, Repair(KEY, ONE))
    hands.ask(A, GET, get())
    hands.expire(A, GET)
    assert hands.results(GET) == [Failed("1 of 3 owners hold what is to be answered in time")]


def test_where_too_few_owners_can_be_asked_it_fails_at_once() -> None:
    hands = hands_on(w=3, sloppy=True, names="abcd")
    first, second, third = hands.owners()
    hands.event(first, Suspicion(third, suspected=True))
    hands.ask(first, GET, get())
    asked = ", ".join(sorted([first, second]))
    reason = f"w = 3, but of the owners only {asked} can be asked; others stand in"
    assert hands.results(GET) == [Failed(reason)]


def test_acknowledgements_of_others_and_of_what_is_over_count_for_nothing() -> None:
    hands = hands_on(r=1, w=3, names="abcde")
    owners, stranger = hands.owners(), hands.stranger()
    hands.send(owners[1], owners[0], Repair(KEY, ONE))
    hands.ask(owners[0], GET, get())
    before = hands.servers[owners[0]]
    assert hands.send(stranger, owners[0], Repaired(GET, context_of(BOTH))) == ()
    assert hands.servers[owners[0]] == before
    hands.deliver()
    assert len(hands.results(GET)) == 1
    assert hands.send(owners[1], owners[0], Repaired(GET, context_of(BOTH))) == ()


def test_repair_after_the_reply_is_not_acknowledged() -> None:
    hands = Hands()
    hands.ask(A, GET, get())
    hands.send(B, A, Answer(GET, ONE))
    hands.send(C, A, Answer(GET, NO_VERSIONS))
    (repair,) = [e for e in hands.mail if isinstance(e.message, Repair)]
    assert repair.message == Repair(KEY, ONE)
    assert Repair(KEY, ONE).request == NO_REQUEST
    assert hands.send(A, C, repair.message) == ()


# Whole runs.

STRICT = Config(n=3, r=2, w=2, sloppy=False, partitions=4, tokens=4, blocking_repair=True)


@pytest.mark.parametrize("seed", range(4))
def test_runs_with_blocking_repair_never_go_back(tmp_path: Path, seed: int) -> None:
    save(tmp_path, run(seed, 1_200, keys=1, config=STRICT).files())
    assert problem_of(tmp_path) is None
    assert examine(read_history(tmp_path), linearizable=False, config=STRICT).verdict == "holds"


def test_runs_that_answer_first_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec.reading, "is_quorum", lambda nodes, size: is_quorum(nodes, min(size, 1)))
    config = replace(STRICT, r=1, w=3)
    for seed in range(12):
        save(tmp_path / str(seed), run(seed, 500, keys=1, faults=False, config=config).files())
        problem = problem_of(tmp_path / str(seed), orders=1, refine=False)
        history = examine(read_history(tmp_path / str(seed)), linearizable=False, config=config)
        if problem is not None and history.verdict == "violated":
            assert problem.rule == "quorum-meaning-get"
            assert [failure.claim for failure in history.failures] == ["quorum-meaning-get"]
            return
    pytest.fail("nobody noticed")


def test_real_nodes_repair_first(tmp_path: Path) -> None:
    async def test(nodes: list[Running], stores: list[Client]) -> None:
        await stores[0].put(b"k", b"v")
        assert (await stores[1].get(b"k")).values == (b"v",)
        await nodes[2].end()
        assert (await stores[1].get(b"k")).values == (b"v",)

    with_store(tmp_path, NAMES, Config(sloppy=False, blocking_repair=True), test)
