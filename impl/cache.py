"""Rows that were read or written lately, as the disk has them: what spares most reads a look at it.

It holds committed rows only, absent ones included, and is never ahead of the disk nor behind it: a row enters when it
was read or when its commit is over, and a commit that failed leaves it as it was. What it may hold is bounded in bytes.

Rows stay encoded. To decode one at every look costs two microseconds; as objects they would take several times the
memory, strewn among all that comes and goes, and that costs every step more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from spec.types import Key, Limits

ENTRY_BYTES = 176
"""What a row takes in the cache besides the bytes of it and its key; measured: 140 to 171."""


class RowCache:
    """Who came first, or was written first, goes first: an order by use would have to be kept at every look."""

    def __init__(self, limit_bytes: int = Limits().cache_bytes) -> None:
        """Empty."""
        self.limit_bytes = limit_bytes
        """What the rows may take together, roughly."""
        self._rows: OrderedDict[Key, bytes] = OrderedDict()
        self.get: Callable[[Key], bytes | None] = self._rows.get
        """The committed row of a key, encoded, no bytes where there is none; None where the disk has to be asked."""
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, key: Key, row: bytes) -> None:
        """Remember the committed row of a key; no bytes, for there is none."""
        before = self._rows.pop(key, None)
        if before is not None:
            self.size_bytes -= size_of(key, before)
        self._rows[key] = row
        self.size_bytes += size_of(key, row)
        while self.size_bytes > self.limit_bytes:
            self.size_bytes -= size_of(*self._rows.popitem(last=False))


def size_of(key: Key, row: bytes) -> int:
    """What a row takes."""
    return ENTRY_BYTES + len(key) + len(row)
