"""What a node keeps of a client that it serves: which calls wait for their replies, and for how many more it reads.

Replies that a client does not take wait for it, so they must not be many: while so many calls are unanswered, or the
client does not take what it is sent, nothing more is read from it.
"""

from __future__ import annotations

from msgspec import Struct

from impl.transport import Frames
from impl.wire import CALLS_AT_ONCE
from spec.messages import Operation
from spec.types import ClientId


class Session:
    """A client's connection."""

    def __init__(self, frames: Frames, client: ClientId) -> None:
        """Nothing has been asked yet."""
        self.frames, self.client = frames, client
        self._calls, self._most = 0, CALLS_AT_ONCE
        self._held = False
        frames.on_slow = lambda slow: frames.hold("slow", slow)

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
