"""Repair: a replica merges what it is sent, acknowledges what is durable, and keeps its own numbering."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spec.clock import NOTHING, Dot
from spec.events import Deliver, Send, WriteRow
from spec.maps import FMap, FSet
from spec.messages import Answer, Read, Repair, Write, Written
from spec.network import Envelope
from spec.node import step
from spec.quorum import ReadQuorum
from spec.repair import fold_answers, repair_stale, store
from spec.rows import Minted, Row
from spec.siblings import NO_VERSIONS, Siblings, Version, merge
from spec.state import GetInFlight
from spec.types import NodeId, Value
from spec.world import Memory
from tests.small import KEY, Hands, put, request
from tests.strategies import actor_of, worlds

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
R_2 = ReadQuorum(2, 0, notfound_ok=True, basic_quorum=False)
PUT = request(1)
ONE: Siblings = FSet.of([Version(Dot(actor_of(1), 1), NOTHING, Value(b"1"))])


def memory(row: Row) -> Memory:
    return Memory(table=FMap.of({KEY: row}))


@given(worlds(), st.data())
def test_a_replica_comes_to_hold_the_merge_and_writes_only_news(
    ever: tuple[Siblings, ...], data: st.DataObject
) -> None:
    held, sent = (data.draw(st.sampled_from(ever)) for _ in range(2))
    row = Row(held, birth=3, counter=7, minted=(Minted(PUT, 7),))
    writes = store(memory(row), KEY, sent)
    if merge(held, sent) == held:
        assert writes == ()
    else:
        assert writes == (WriteRow(KEY, Row(merge(held, sent), 3, 7, (Minted(PUT, 7),))),)


def test_a_write_is_stored_then_acknowledged_and_a_repeated_one_acknowledged_again() -> None:
    hands = Hands()
    server = hands.servers[B]
    outcome = step(server.node, None, server.disk, Deliver(A, Write(PUT, KEY, ONE)))
    assert outcome.writes == (WriteRow(KEY, Row(ONE)),)
    assert outcome.effects == (Send(A, Written(PUT)),)
    for _ in range(2):
        assert hands.send(A, B, Write(PUT, KEY, ONE)) == (Envelope(B, A, Written(PUT)),)
    before = hands.servers[B]
    again = step(before.node, None, before.disk, Deliver(A, Write(PUT, KEY, ONE)))
    assert again.writes == ()
    assert again.effects == (Send(A, Written(PUT)),)


def test_a_read_is_answered_with_the_whole_set() -> None:
    hands = Hands()
    assert hands.send(A, B, Read(PUT, KEY)) == (Envelope(B, A, Answer(PUT, NO_VERSIONS)),)
    hands.send(A, B, Write(PUT, KEY, ONE))
    assert hands.send(A, B, Read(PUT, KEY)) == (Envelope(B, A, Answer(PUT, ONE)),)


def test_a_repair_is_merged_and_not_acknowledged() -> None:
    hands = Hands()
    hands.ask(B, PUT, put())
    own = hands.held(B)
    assert hands.send(A, B, Repair(KEY, ONE)) == ()
    assert hands.held(B) == merge(own, ONE)
    assert hands.row(B).counter == 1


def test_what_a_replica_was_sent_is_no_numbering_of_its_own() -> None:
    hands = Hands()
    hands.send(A, B, Write(PUT, KEY, ONE))
    assert (hands.row(B).birth, hands.row(B).counter) == (0, 0)
    hands.ask(B, request(2), put())
    assert (hands.row(B).birth, hands.row(B).counter) == (1, 1)
    assert len(hands.held(B)) == 2


@given(worlds(), st.data())
def test_repair_levels_all_answers_at_their_merge(ever: tuple[Siblings, ...], data: st.DataObject) -> None:
    answers = FMap.of({name: data.draw(st.sampled_from(ever)) for name in (A, B, C)})
    own = data.draw(st.sampled_from(ever), label="learnt since")
    row = Row(merge(answers[A], own))
    merged = fold_answers(answers)
    assert all(merge(merged, siblings) == merged for _, siblings in answers.items())
    node = Hands().servers[A].node
    about = GetInFlight(PUT, KEY, None, R_2, FMap.of({n: n for n in (A, B, C)}), answers, answered=True)
    after, writes, sends = repair_stale(node, memory(row), about, merged)
    assert dict(after.answers.items()) == {A: merged, B: merged, C: merged}
    assert sends == tuple(Send(name, Repair(KEY, merged)) for name in (B, C) if answers[name] != merged)
    if answers[A] == merged or merge(row.siblings, merged) == row.siblings:
        assert writes == ()
    else:
        assert writes == (WriteRow(KEY, Row(merge(row.siblings, merged))),)
