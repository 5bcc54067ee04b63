"""Rows that were read or written lately, decoded: what spares most reads a look at the disk.

It holds committed rows only, absent ones included, and is never ahead of the disk nor behind it: a row enters when it
was read or when its commit is over, and a commit that failed leaves it as it was. What it may hold is bounded in bytes,
by the encoded size of rows and an allowance for their being objects.
"""

from __future__ import annotations

from collections import OrderedDict

from spec.rows import Row
from spec.types import Key

CACHE_BYTES = 64 * 1024 * 1024
"""What the rows in a node's cache may take together, roughly."""

ROW_BYTES = 1536
"""What a row takes as objects besides its encoded bytes; measured, for a single version: 1.2 to 1.4 KiB."""


class RowCache:
    """The least recently used rows go first."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        """Empty."""
        self._limit = limit_bytes
        self._rows: OrderedDict[Key, tuple[Row, int]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Key) -> Row | None:
        """The committed row of a key, the empty one where there is none; None where the disk has to be asked."""
        found = self._rows.get(key)
        if found is None:
            return None
        self._rows.move_to_end(key)
        return found[0]

    def put(self, key: Key, row: Row, encoded_bytes: int) -> None:
        """Remember the committed row of a key, which is so long when encoded."""
        size = len(key) + encoded_bytes + ROW_BYTES
        before = self._rows.pop(key, None)
        self.size_bytes += size - (0 if before is None else before[1])
        self._rows[key] = row, size
        while self.size_bytes > self._limit:
            self.size_bytes -= self._rows.popitem(last=False)[1][1]
