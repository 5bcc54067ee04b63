"""What a node keeps of a client that it serves: which calls wait for their replies, and for how many more it reads.

Replies that a client does not take wait for it, so they must not be many: while so many calls are unanswered, or the
client does not take what it is sent, nothing more is read from it. What was read by then is parked: it becomes an event
once the client takes its replies again, or is gone.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from impl.runtime import Arrival
from impl.transport import Frames
from impl.wire import CALLS_AT_ONCE
from spec.messages import Operation
from spec.types import ClientId


class Session:
    """A client's connection."""

    def __init__(self, frames: Frames, client: ClientId, changed: Callable[[Session], None]) -> None:
        """Nothing has been asked yet; `changed` is called when the client stops taking replies, and when it goes on."""
        self.frames, self.client = frames, client
        self._calls, self._most = 0, CALLS_AT_ONCE
        self._held = False
        self.parked: list[Arrival] = []
        """Calls that wait until the client takes its replies, or is gone."""

        def slow(slow: bool) -> None:
            frames.hold("slow", slow)
            changed(self)

        frames.on_slow = slow

    @property
    def slow(self) -> bool:
        """Whether the client is there and does not take its replies."""
        return self.frames.slow and self.frames.open

    def count(self, calls: int) -> None:
        """So many more calls wait for their replies, or fewer."""
        self._calls += calls
        hold = self._calls >= self._most
        if hold != self._held:
            self._held, self._most = hold, CALLS_AT_ONCE // (2 if hold else 1)
            self.frames.hold("calls", hold)


class Waiting(Struct, frozen=True):
    """Who waits for the reply to a request, and for what."""

    session: Session
    operation: Operation
    since: float
    """When it asked, by the monotonic clock."""
