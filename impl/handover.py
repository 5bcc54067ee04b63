"""When what is owed is handed over, and how much at a time.

Each owner that is back is offered a batch of the keys of which it is owed something, and the next batch as soon as
nothing of that one is owed any more. A batch is bounded in rows and, if it is more than one, in bytes. If it takes too
long, something was lost or is too much: those keys are offered again, but last, and the next batch is half as large;
while all goes well batches double, up to their limit. What is sent of a key, and when a hint goes, is `spec.handoff`'s
business.
"""

from __future__ import annotations

from collections.abc import Callable

from impl.hints import Hints
from spec.events import HandOff
from spec.types import Key, Limits, NodeId

AGAIN_SECONDS = 1.0
"""How long an owner may take to acknowledge a batch before it is offered more."""


class _Offer:
    """What an owner was offered last."""

    def __init__(self, keys: tuple[Key, ...], size: int, until: float) -> None:
        self.size, self.until = size, until
        self.left = list(keys)
        """Keys among which are all that are still owed."""


class Handover:
    """Offers owners what they are owed."""

    def __init__(self, hints: Hints, limits: Limits, row_bytes: Callable[[Key], int]) -> None:
        """`row_bytes` tells what the row of a key takes."""
        self._hints, self._row_bytes = hints, row_bytes
        self._most_rows, self._most_bytes = limits.handoff_rows, limits.batch_bytes
        self._offers: dict[NodeId, _Offer] = {}

    def due(self, ready: Callable[[NodeId], bool], now: float) -> list[HandOff]:
        """What to hand over now, to those that are ready."""
        return [
            HandOff(owner, keys)
            for owner in self._hints.counts()
            if (keys := self._next(owner, now) if ready(owner) else self._forget(owner))
        ]

    def _forget(self, owner: NodeId) -> tuple[Key, ...]:
        self._offers.pop(owner, None)
        return ()

    def _next(self, owner: NodeId, now: float) -> tuple[Key, ...]:
        """The next batch of an owner; nothing while it is busy with one."""
        size, last = self._most_rows, self._offers.get(owner)
        if last is not None:
            while last.left and (owner, last.left[-1]) not in self._hints:
                last.left.pop()
            if last.left and now < last.until:
                return ()
            size = max(1, last.size // 2) if last.left else min(self._most_rows, 2 * last.size)
            self._hints.defer(owner, last.left)
        keys = self._within(self._hints.owed_to(owner, size))
        self._offers[owner] = _Offer(keys, size, now + AGAIN_SECONDS)
        return keys

    def _within(self, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        """As many of these, from the first on, as take no more than the limit together; at least one."""
        room = self._most_bytes
        for count, key in enumerate(keys):
            room -= self._row_bytes(key)
            if room < 0 and count:
                return keys[:count]
        return keys
