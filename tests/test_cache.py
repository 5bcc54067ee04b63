"""The cache of rows: what it says is what was put last, and it stays within its bound."""

from __future__ import annotations

import gc
import tracemalloc

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from impl.cache import ENTRY_BYTES, RowCache
from spec.clock import Actor, Dot
from spec.maps import Counts, FSet
from spec.rows import Minted, Row
from spec.siblings import Version
from spec.types import ClientId, Key, NodeId, RequestId, Value

KEYS = [Key(b"%d" % i) for i in range(6)]
puts = st.tuples(st.sampled_from(KEYS), st.binary(max_size=3 * ENTRY_BYTES))


@given(st.lists(st.one_of(puts, st.sampled_from(KEYS)), max_size=40), st.integers(0, 6 * ENTRY_BYTES))
def test_a_cache_knows_the_latest_or_nothing_within_its_bound(deeds: list[tuple[Key, bytes] | Key], limit: int) -> None:
    cache, held = RowCache(limit), dict[Key, bytes]()

    def size_bytes() -> int:
        return sum(ENTRY_BYTES + len(key) + len(row) for key, row in held.items())

    for deed in deeds:
        if isinstance(deed, tuple):
            key, row = deed
            cache.put(key, row)
            held.pop(key, None)
            held[key] = row
            while size_bytes() > limit:  # first in, first out
                del held[next(iter(held))]
        else:
            assert cache.get(deed) == held.get(deed)
        assert (len(cache), cache.size_bytes) == (len(held), size_bytes())


def test_a_row_takes_no_more_than_it_is_counted_for() -> None:
    cache, count = RowCache(), 20_000
    tracemalloc.start()
    try:
        for i in range(count):
            cache.put(Key(b"key-%08d" % i), bytes(200))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(cache) == count
    assert 0.7 * cache.size_bytes < taken <= cache.size_bytes


def test_the_garbage_collector_does_not_look_at_rows() -> None:
    """What is on its way through a node has many of them: to look at all would stop it for as long as requests take."""
    actor, request = Actor(NodeId("a"), "a disk", 1), RequestId(ClientId("me"), 1)
    version = Version(Dot(actor, 2), Counts.of({actor: 1}), Value(b"x"))
    encoded = msgspec.msgpack.encode(Row(FSet.of([version]), 1, 2, (Minted(request, 2),)))
    gc.collect()
    before = len(gc.get_objects())
    rows = [msgspec.msgpack.decode(encoded, type=Row) for _ in range(1000)]
    for _ in range(3):  # a tuple is given up at the first look after all that it holds was
        gc.collect()
    assert len(rows) == 1000
    assert len(gc.get_objects()) - before < 100
