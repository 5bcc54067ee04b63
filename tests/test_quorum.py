"""Quorums: what a store and a request may ask for, what is then counted, and what is said where it cannot be."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import spec.reading
import spec.writing
from checker.history import read_history
from checker.history_report import examine
from impl.client import Client, GetWishes, OperationFailed, OperationRefused, PutWishes
from spec.clock import NOTHING
from spec.events import Invoke, Reply, Suspicion
from spec.maps import FSet
from spec.messages import Answer, Failed, Forwarded, Found, Get, Indefinite, Refused, Stored, Write, Written
from spec.quorum import (
    AS_CONFIGURED_PUT,
    ReadQuorum,
    WriteQuorum,
    is_quorum,
    majority,
    must_meet,
    read_quorum,
    wish_problem,
    write_quorum,
)
from spec.siblings import NO_VERSIONS
from spec.types import Config, Limits, NodeId
from tests.nodes import Running
from tests.recorded import Recorded, save
from tests.small import KEY, Hands, put, request, small_config
from tests.test_client import NAMES, with_store
from tests.test_coordinate import version
from tests.test_validate import problem_of

PUT, GET = request(1), request(2)
FEW = Limits(siblings=4)
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


# What may be asked for.


@given(st.integers(1, 7))
def test_words_are_sizes(n: int) -> None:
    config = Config(n=n, r=1, w=1, limits=FEW)
    sizes = [write_quorum(PutWishes(word, word), config) for word in ("one", "quorum", "all")]
    assert sizes == [WriteQuorum(k, k) for k in (1, n // 2 + 1, n)]
    assert n < 2 * majority(n) <= n + 2
    assert write_quorum(AS_CONFIGURED_PUT, config) == WriteQuorum(1, 0)
    assert read_quorum(GetWishes("all", 0, notfound_ok=False), config) == ReadQuorum(n, 0, False, False)


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        (PutWishes(w=4), "w must be between 1 and n = 3, not 4"),
        (PutWishes(w=0), "w must be between 1 and n = 3, not 0"),
        (PutWishes(pw=4), "pw must be between 0 and n = 3, not 4"),
        (GetWishes(r=0), "r must be between 1 and n = 3, not 0"),
        (GetWishes(pr=-1), "pr must be between 0 and n = 3, not -1"),
        (PutWishes(w="all", pw=0), ""),
        (GetWishes(pr="all"), ""),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changed_and_before_it_is_forwarded(
    wishes: PutWishes | GetWishes, problem: str
) -> None:
    hands = Hands("abcd")
    assert wish_problem(wishes, hands.config) == problem
    operation = replace(put(), wishes=wishes) if isinstance(wishes, PutWishes) else Get(KEY, wishes)
    for name in (hands.owners()[0], hands.stranger()):
        before = hands.servers[name]
        said = hands.ask(name, PUT, operation)
        assert (said == (Reply(PUT, Refused(problem)),)) == bool(problem)
        assert (hands.servers[name] == before) == bool(problem)


@given(st.sets(st.sampled_from("ABCDE")), st.integers(0, 6))
def test_enough_are_enough(names: set[str], size: int) -> None:
    assert is_quorum(FSet.of(NodeId(name) for name in names), size) == (len(names) >= size)


@given(st.integers(1, 5), st.data())
def test_whoever_must_meet_does(n: int, data: st.DataObject) -> None:
    """Every set of owners who acknowledge meets every set of owners who answer, and otherwise some do not."""
    config = Config(n=n, r=1, w=1, sloppy=False, limits=FEW)
    w, r = data.draw(st.integers(1, n)), data.draw(st.integers(1, n))
    meets = must_meet(WriteQuorum(w, 0), ReadQuorum(r, 0, True, False), config)
    assert meets == (set(range(w)) & set(range(n - r, n)) != set())
    assert must_meet(WriteQuorum(1, w), ReadQuorum(1, r, True, False), replace(config, sloppy=True)) == meets
    assert must_meet(WriteQuorum(1, 0), ReadQuorum(r, 0, False, False), config, denied=True), "all N said so"


# Puts.


def test_a_put_waits_for_as_many_as_it_wishes() -> None:
    hands = Hands()
    hands.ask(A, PUT, replace(put(), wishes=PutWishes("all")))
    assert hands.send(B, A, Written(PUT)) == ()
    assert hands.send(C, A, Written(PUT)) == (Reply(PUT, Stored(version(A).dot)),)
    hands.ask(A, GET, replace(put(b"2"), wishes=PutWishes("one")))
    assert len(hands.results(GET)) == 1, "at once"


def sloppy(suspects: str = "") -> tuple[Hands, tuple[NodeId, ...], NodeId]:
    """Four nodes, of which the first owner suspects some others; all owners, and who is none."""
    hands = Hands("abcd", config=small_config(sloppy=True))
    owners, other = hands.owners(), hands.stranger()
    for index in suspects:
        hands.event(owners[0], Suspicion(owners[int(index)], suspected=True))
    return hands, owners, other


def test_who_stands_in_for_a_primary_is_none() -> None:
    hands, owners, other = sloppy("2")
    hands.ask(owners[0], PUT, replace(put(), wishes=PutWishes(pw=2)))
    assert hands.send(other, owners[0], Written(PUT, owners[2])) == (), "two hold it, one of them a primary"
    assert len(hands.send(owners[1], owners[0], Written(PUT))) > 0
    assert hands.results(PUT) == [Stored(hands.row(owners[0]).siblings.items[0].dot)]


def test_a_put_that_can_never_have_its_primaries_is_refused_before_anything_changed() -> None:
    hands, owners, _ = sloppy("2")
    before = hands.servers[owners[0]]
    asked = ", ".join(sorted(owners[:2]))
    reason = f"pw = 3, but of the owners only {asked} can be asked; others stand in"
    all_primaries = replace(put(), wishes=PutWishes(pw="all"))
    assert hands.ask(owners[0], PUT, all_primaries) == (Reply(PUT, Refused(reason)),)
    assert hands.ask(owners[0], GET, Get(KEY, GetWishes(pr=3))) == (Reply(GET, Failed(reason.replace("pw", "pr"))),)
    assert hands.servers[owners[0]] == before
    assert hands.mail == []
    hands.ask(owners[0], PUT, replace(all_primaries, again=True))
    assert isinstance(hands.results(PUT)[-1], Indefinite), "what an earlier attempt did is not known"


def test_a_repeated_put_that_can_not_have_its_primaries_now_is_not_sent_again() -> None:
    hands, owners, _ = sloppy()
    wishing = replace(put(), wishes=PutWishes(pw=3))
    hands.ask(owners[0], PUT, wishing)
    hands.expire(owners[0], PUT)
    hands.mail.clear()
    hands.event(owners[0], Suspicion(owners[2], suspected=True))
    hands.ask(owners[0], PUT, replace(wishing, again=True))
    assert hands.mail == []
    assert all(isinstance(result, Indefinite) for result in hands.results(PUT))


def test_who_ran_out_of_time_says_what_was_lacking() -> None:
    hands, owners, other = sloppy("2")
    hands.ask(owners[0], PUT, replace(put(), wishes=PutWishes("all", 2)))
    hands.send(other, owners[0], Written(PUT, owners[2]))
    hands.expire(owners[0], PUT)
    assert hands.results(PUT) == [Indefinite("2 of 3 owners and 1 of 2 primaries acknowledged in time")]
    hands.ask(owners[0], GET, Get(KEY, GetWishes("all", 2, notfound_ok=False)))
    hands.send(other, owners[0], Answer(GET, NO_VERSIONS))
    hands.expire(owners[0], GET)
    assert hands.results(GET) == [Failed("1 of 3 owners and 1 of 2 primaries answered with a value in time")]


# Gets.

THEIRS = FSet.of([version(B)])


def heard(wishes: GetWishes, *answers: tuple[NodeId, bool]) -> list[object]:
    """What a get at `a`, who holds nothing, tells after each of these answers."""
    hands, told = Hands(), list[object]()
    hands.ask(A, GET, Get(KEY, wishes))
    for name, holds in answers:
        hands.send(name, A, Answer(GET, THEIRS if holds else NO_VERSIONS))
        told.append(hands.results(GET)[0] if hands.results(GET) else None)
    return told


def test_a_get_of_one_is_told_nothing_by_who_holds_nothing_unless_that_is_no_answer() -> None:
    assert heard(GetWishes("one"), (B, True)) == [Found(NO_VERSIONS, NOTHING)]
    (told,) = heard(GetWishes("one", notfound_ok=False), (B, True))
    assert isinstance(told, Found)
    assert told.siblings == THEIRS


def test_nothing_is_there_when_all_say_so_or_more_than_half() -> None:
    nothing = Found(NO_VERSIONS, NOTHING)
    assert heard(GetWishes(1, notfound_ok=False), (B, False), (C, False)) == [None, nothing]
    assert heard(GetWishes(1, notfound_ok=False, basic_quorum=True), (B, False)) == [nothing]
    assert heard(GetWishes(3, notfound_ok=False, basic_quorum=True), (B, False)) == [nothing], "no R"
    assert heard(GetWishes(2, basic_quorum=True), (B, True)) != [nothing], "it only matters where they do not count"


def test_a_get_fails_when_nobody_is_left_to_ask() -> None:
    failed = Failed("nobody is left to ask: 1 of 2 owners answered with a value")
    assert heard(GetWishes(2, notfound_ok=False), (B, True), (C, False)) == [None, failed]
    assert heard(GetWishes(2, notfound_ok=False, basic_quorum=True), (B, True), (C, False)) == [None, failed]


def test_a_get_that_failed_has_repaired() -> None:
    hands = Hands()
    hands.ask(A, GET, Get(KEY, GetWishes("all", notfound_ok=False)))
    hands.send(B, A, Answer(GET, THEIRS))
    hands.send(C, A, Answer(GET, NO_VERSIONS))
    assert isinstance(hands.results(GET)[0], Failed)
    hands.deliver()
    assert hands.held(A) == hands.held(C) == THEIRS
    assert len(hands.servers[A].requests) == len(hands.servers[A].timers) == 0


def test_primaries_have_to_answer_themselves() -> None:
    hands, owners, other = sloppy("2")
    hands.ask(owners[0], GET, Get(KEY, GetWishes(pr=2)))
    hands.send(other, owners[0], Answer(GET, NO_VERSIONS))
    assert hands.results(GET) == []
    hands.send(owners[1], owners[0], Answer(GET, NO_VERSIONS))
    assert len(hands.results(GET)) == 1


def test_wishes_are_forwarded_with_their_request() -> None:
    hands = Hands("abcd")
    hands.event(hands.stranger(), Invoke(PUT, replace(put(), wishes=PutWishes("one"))))
    (forward,) = hands.mail
    hands.mail.clear()
    hands.send(hands.stranger(), forward.target, forward.message)
    assert {type(e.message) for e in hands.mail} == {Write, Forwarded}, "it is answered at once"


# Whole runs.


def wishing(seed: int, actions: int) -> Recorded:
    """A run of a store with sloppy quorums, whose requests wish at random."""
    rnd = Random(seed)

    def sizes() -> tuple[object, ...]:
        return tuple(rnd.choice([None, "one", "quorum", "all", 2]) for _ in range(2))

    recorded = Recorded(seed, 1, Config(n=3, r=2, w=2, partitions=4, tokens=4))
    plain = recorded.ask

    def ask(client: object, name: object, operation: object) -> None:
        wish = GetWishes if isinstance(operation, Get) else PutWishes
        plain(client, name, replace(operation, wishes=wish(*sizes())))  # type: ignore[arg-type,type-var]  # as given

    recorded.ask = ask  # type: ignore[method-assign]  # every request passes there
    for _ in range(actions):
        recorded.act()
    return recorded


@pytest.mark.parametrize("seed", range(4))
def test_runs_whose_requests_wish_keep_what_these_were_promised(tmp_path: Path, seed: int) -> None:
    save(tmp_path, wishing(seed, 1_500).files())
    assert problem_of(tmp_path) is None
    report = examine(read_history(tmp_path), linearizable=False, config=Config())
    assert report.verdict == "holds"
    assert report.judged["quorum-meaning-get"] > 0, "the store alone promises no such thing"


@pytest.mark.parametrize(
    ("module", "name", "rule"),
    [(spec.writing, "is_written", "quorum-meaning-put"), (spec.reading, "is_read", "quorum-meaning-get")],
)
def test_runs_that_count_too_few_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str, rule: str
) -> None:
    monkeypatch.setattr(module, name, lambda some, _primaries, _quorum: len(some) >= 1)
    found = set()
    for seed in range(12):
        save(tmp_path / str(seed), wishing(seed, 800).files())
        problem = problem_of(tmp_path / str(seed), orders=1, refine=False)
        found |= {problem.rule} if problem is not None else set()
        if rule in found:
            return
    pytest.fail(f"expected {rule}, found {found}")


# Real nodes.


def test_real_nodes_do_as_is_wished(tmp_path: Path) -> None:
    async def test(nodes: list[Running], stores: list[Client]) -> None:
        store = stores[0]
        await store.put(b"k", b"v", wishes=PutWishes("all", "all"))
        assert (await store.get(b"k", wishes=GetWishes("all", "all"))).values == (b"v",)
        with pytest.raises(OperationRefused, match="w must be between 1 and n = 3, not 9"):
            await store.put(b"k", b"w", wishes=PutWishes(9))
        await nodes[2].end()
        assert (await store.get(b"k", wishes=GetWishes("quorum", 2))).values == (b"v",)
        with pytest.raises(OperationFailed, match="2 of 3 owners"):
            await store.get(b"k", wishes=GetWishes("all"))

    with_store(tmp_path, NAMES, Config(get_timeout_ms=300), test)
