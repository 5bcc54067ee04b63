"""What is handed over when: batches, and what becomes of those that are not acknowledged."""

from hypothesis import given
from hypothesis import strategies as st

from impl.handover import AGAIN_SECONDS, Handover
from impl.hints import HintChanges, Hints
from spec.types import Key, Limits, NodeId

B, C = NodeId("b"), NodeId("c")


def keys(count: int) -> list[Key]:
    return [Key(b"%03d" % number) for number in range(count)]


def size_of(key: Key) -> int:
    """What the row of a key takes: hundreds of bytes, as many as the key's first digit says."""
    return 100 * int(key[:1])


def settle(hints: Hints, owner: NodeId, settled: tuple[Key, ...]) -> None:
    """The owner has acknowledged these, and that is committed."""
    hints.apply(HintChanges([], [(owner, key) for key in settled]))


@given(st.integers(0, 40), st.integers(1, 7))
def test_batch_by_batch_everything_is_handed_over_once(count: int, most: int) -> None:
    hints = Hints((B, key) for key in keys(count))
    handover, batches = Handover(hints, Limits(handoff_rows=most), size_of), list[int]()
    offered: list[Key] = []
    while due := handover.due(lambda _: True, 0.0):
        (batch,) = due
        assert batch.target == B
        assert len(batch.keys) <= most
        for key in batch.keys:  # the next batch waits for the last key of this one
            assert handover.due(lambda _: True, 0.0) == []
            settle(hints, B, (key,))
        offered += batch.keys
        batches.append(len(batch.keys))
    assert offered == keys(count)
    assert len(batches) == -(-count // most)


def test_what_is_not_acknowledged_is_offered_again_last_and_less_at_a_time() -> None:
    hints = Hints((B, key) for key in keys(8))
    handover = Handover(hints, Limits(handoff_rows=4), size_of)
    (first,) = handover.due(lambda _: True, 0.0)
    assert first.keys == tuple(keys(4))
    settle(hints, B, first.keys[:1])
    assert handover.due(lambda _: True, AGAIN_SECONDS - 0.1) == []
    (second,) = handover.due(lambda _: True, AGAIN_SECONDS)
    assert second.keys == tuple(keys(8)[4:6])
    settle(hints, B, second.keys)
    (third,) = handover.due(lambda _: True, AGAIN_SECONDS)
    assert third.keys == (*keys(8)[6:], *keys(8)[1:3])


def test_only_those_that_are_ready_are_offered_anything_and_anew_when_they_are_again() -> None:
    hints = Hints((owner, key) for owner in (B, C) for key in keys(3))
    handover, ready = Handover(hints, Limits(handoff_rows=9), size_of), {B}
    assert [batch.target for batch in handover.due(ready.__contains__, 0.0)] == [B]
    ready = {C}
    assert [batch.target for batch in handover.due(ready.__contains__, 0.0)] == [C]
    ready = {B, C}
    assert [batch.target for batch in handover.due(ready.__contains__, 0.1)] == [B]


@given(st.lists(st.integers(0, 9), max_size=30, unique=True), st.integers(1, 5), st.integers(1, 1_500))
def test_a_batch_takes_no_more_than_so_many_bytes_unless_it_is_one_row(digits: list[int], rows: int, most: int) -> None:
    owed = [Key(b"%d" % digit) for digit in digits]
    hints, offered = Hints((B, key) for key in owed), list[Key]()
    handover = Handover(hints, Limits(handoff_rows=rows, batch_bytes=most), size_of)
    while due := handover.due(lambda _: True, 0.0):
        (batch,) = due
        assert 1 <= len(batch.keys) <= rows
        assert len(batch.keys) == 1 or sum(map(size_of, batch.keys)) <= most
        settle(hints, B, batch.keys)
        offered += batch.keys
    assert offered == owed
