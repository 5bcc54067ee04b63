"""The index of hints: which keys a node owes to whom.

The hints themselves are in the rows (`spec.rows.Row.owed`), and they decide. So that they are found without reading all
rows, a table of the data file names them by owner; it is kept in the transactions that write rows, and read once, when
the file is opened. From then on what it says is in memory too: a row that is and was owed to nobody costs a node that
owes nothing nothing. How many there are is what the limit on hints is about (`spec.hints`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

from spec.rows import Row
from spec.types import Key, NodeId

Hint = tuple[NodeId, Key]
"""An owner, and a key of which it is owed something."""


class HintChanges(NamedTuple):
    """What a transaction makes of the index."""

    made: list[Hint]
    gone: list[Hint]


class Hints:
    """The committed hints, the oldest first."""

    def __init__(self, hints: Iterable[Hint] = ()) -> None:
        """These hints."""
        self._keys: dict[NodeId, dict[Key, None]] = {}
        for owner, key in hints:
            self._keys.setdefault(owner, {})[key] = None

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __len__(self) -> int:
        return sum(self.counts().values())

    def __contains__(self, hint: Hint) -> bool:
        owner, key = hint
        return key in self._keys.get(owner, ())

    def owed_to(self, owner: NodeId, limit: int) -> tuple[Key, ...]:
        """The keys of which an owner is owed something, at most so many."""
        return tuple(islice(self._keys.get(owner, ()), limit))

    def of(self, key: Key) -> int:
        """To how many owners a key is owed."""
        return sum(key in keys for keys in self._keys.values()) if self._keys else 0

    def counts(self) -> dict[NodeId, int]:
        """To whom something is owed, and of how many keys."""
        return {owner: len(keys) for owner, keys in list(self._keys.items())}

    def defer(self, owner: NodeId, keys: Iterable[Key]) -> None:
        """Name these keys last from now on."""
        owed = self._keys.get(owner, {})
        for key in keys:
            if key in owed:
                del owed[key]
                owed[key] = None

    def changes(self, rows: Mapping[Key, Row]) -> HintChanges:
        """What these new rows make of the index."""
        changes = HintChanges([], [])
        for key, row in rows.items():
            if row.owed:
                changes.made.extend((owner, key) for owner in row.owed if (owner, key) not in self)
            if self._keys:
                changes.gone.extend(
                    (owner, key) for owner, keys in self._keys.items() if key in keys and owner not in row.owed
                )
        return changes

    def apply(self, changes: HintChanges) -> None:
        """These changes have been committed."""
        for owner, key in changes.made:
            self._keys.setdefault(owner, {})[key] = None
        for owner, key in changes.gone:
            del self._keys[owner][key]
            if not self._keys[owner]:
                del self._keys[owner]
