"""The cache of rows: what it says is what was put last, and it stays within its bound."""

from __future__ import annotations

import gc

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from impl.cache import ROW_BYTES, RowCache
from spec.clock import Actor, Dot
from spec.maps import Counts, FSet
from spec.rows import Minted, Row
from spec.siblings import Version
from spec.types import ClientId, Key, NodeId, RequestId, Value

KEYS = [Key(b"%d" % i) for i in range(6)]
puts = st.tuples(st.sampled_from(KEYS), st.builds(Row, counter=st.integers(0, 9)), st.integers(0, 3 * ROW_BYTES))


@given(st.lists(st.one_of(puts, st.sampled_from(KEYS)), max_size=40), st.integers(0, 6 * ROW_BYTES))
def test_a_cache_knows_the_latest_or_nothing_within_its_bound(
    deeds: list[tuple[Key, Row, int] | Key], limit: int
) -> None:
    cache, held = RowCache(limit), dict[Key, tuple[Row, int]]()
    for deed in deeds:
        if isinstance(deed, tuple):
            key, row, size = deed
            cache.put(key, row, size)
            held.pop(key, None)
            held[key] = row, len(key) + size + ROW_BYTES
            while sum(size for _, size in held.values()) > limit:  # the least recently used first
                del held[next(iter(held))]
        else:
            found = cache.get(deed)
            assert found == (held[deed][0] if deed in held else None)
            if deed in held:
                held[deed] = held.pop(deed)
        assert (len(cache), cache.size_bytes) == (len(held), sum(size for _, size in held.values()))


def test_the_garbage_collector_does_not_look_at_rows() -> None:
    """A node keeps tens of thousands of them: to look at all would stop it for as long as many requests take."""
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
