"""The cache of rows: what it says is what was put last, and it stays within its bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from impl.cache import ROW_BYTES, RowCache
from spec.rows import Row
from spec.types import Key

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
