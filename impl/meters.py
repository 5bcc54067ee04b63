"""What a node counts about itself: replies by what they said, messages by kind, and how long clients waited.

Counting is on the path of every request, so it is a few additions; what is made of the counts (`ringspec status`,
Prometheus) is made when somebody asks.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from operator import add
from typing import Protocol

from msgspec import Struct

from spec.messages import Message, Operation, Result

BOUNDS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper ends of the buckets of waiting times; there is one more bucket, for all that took longer."""

BUCKETS = len(BOUNDS_SECONDS) + 1


class Waits(Struct, frozen=True):
    """How long clients waited for replies to one kind of operation."""

    buckets: tuple[int, ...] = (0,) * BUCKETS
    """Replies that took no longer than the bound of their bucket, and longer than the one before."""
    seconds: float = 0.0
    """All waiting together."""

    def plus(self, buckets: Sequence[int], seconds: float) -> Waits:
        """With those of other replies."""
        return Waits(tuple(map(add, self.buckets, buckets)), self.seconds + seconds)

    @property
    def replies(self) -> int:
        """How many there were."""
        return sum(self.buckets)

    def within(self, share: float) -> float | None:
        """The least bound, in seconds, that this share of the replies kept; None if it is beyond all, or none came."""
        need, kept = share * self.replies, 0
        for bound, count in zip(BOUNDS_SECONDS, self.buckets, strict=False):
            kept += count
            if kept and kept >= need:
                return bound
        return None


class Counts(Struct, frozen=True):
    """What a node has counted since it was started."""

    replies: dict[str, dict[str, int]] = {}
    """For `Put` and `Get`, replies to clients by their type: `Stored`, `Found`, `Indefinite` and so on."""
    waits: dict[str, Waits] = {}
    """For `Put` and `Get`."""
    sent: dict[str, int] = {}
    """Messages to other nodes, by type."""
    turned_away: int = 0
    """Connections that were not served, or no longer, because of what came on them."""
    full_disks: int = 0
    """Batches that had no effect because the disk was full."""


class Carrier(Protocol):
    """Whatever a message travels in."""

    @property
    def message(self) -> Message:
        """The message."""
        ...


class _Replies:
    """Replies of one type to one kind of operation, so far."""

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS
        self.seconds = 0.0


class Meters:
    """The counting."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.turned_away = self.full_disks = 0
        self._started = time.monotonic()
        self._replies: defaultdict[tuple[type[Operation], type[Result]], _Replies] = defaultdict(_Replies)
        self._sent: defaultdict[type[Message], int] = defaultdict(int)

    @property
    def uptime(self) -> float:
        """Seconds since counting began."""
        return time.monotonic() - self._started

    def replied(self, operation: Operation, result: Result, seconds: float) -> None:
        """A client was told, after so long."""
        replies = self._replies[type(operation), type(result)]
        replies.buckets[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        replies.seconds += seconds

    def sent(self, envelopes: Sequence[Carrier]) -> None:
        """What these carry was handed to the network."""
        sent = self._sent
        for envelope in envelopes:
            sent[type(envelope.message)] += 1

    def counts(self) -> Counts:
        """All counts as they are now."""
        replies: dict[str, dict[str, int]] = {}
        waits: dict[str, Waits] = {}
        for (operation, result), told in list(self._replies.items()):
            name = operation.__name__
            replies.setdefault(name, {})[result.__name__] = sum(told.buckets)
            waits[name] = waits.get(name, Waits()).plus(told.buckets, told.seconds)
        sent = {kind.__name__: count for kind, count in list(self._sent.items())}
        return Counts(replies, waits, dict(sorted(sent.items())), self.turned_away, self.full_disks)
