"""What a node keeps of a client that it serves: which calls wait for their replies, and for how many more it reads.

Replies that a client does not take wait for it, and so do values that it sent, so they must not be many: while so many
calls, or bytes of calls, are unanswered, or the client does not take what it is sent, nothing more is read from it.
What was read by then is parked: it becomes an event once the client takes its replies again, or is gone. What is
answered at once, such as how the node is, is on its way before anything more is read.

A client that shows that it is alive is shown the same from then on, whether or not its calls are being read. One of
which nothing is heard for long, or that takes nothing of what it is sent, is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from impl.frames import Frames
from impl.runtime import Arrival
from impl.transport import HEARTBEAT_SECONDS
from impl.wire import NODE_HEARTBEAT, Reply
from spec.messages import Operation
from spec.types import ClientId, Limits

CLIENT_SILENCE_SECONDS = 30.0
"""After how long without a sign of life a client is taken to be gone; it may be busy for longer than nodes are."""


class Session:
    """A client's connection."""

    def __init__(
        self,
        frames: Frames,
        client: ClientId,
        limits: Limits,
        *,
        changed: Callable[[Session], None],
        gone: Callable[[], None],
    ) -> None:
        """Nothing has been asked yet; `changed` is called when the client stops taking replies, and when it goes on;
        `gone` before the connection is ended because the client gave no sign of life."""
        self.frames, self.client = frames, client
        self._calls, self._bytes = 0, 0
        self._most_calls, self._most_bytes = limits.calls_at_once, limits.call_bytes_at_once
        self._held = self._beating = False
        self.parked: list[Arrival] = []
        """Calls that wait until the client takes its replies, or is gone."""

        def slow(slow: bool) -> None:
            frames.hold("slow", slow)
            changed(self)

        frames.on_slow = slow
        frames.watch(CLIENT_SILENCE_SECONDS, gone)

    @property
    def slow(self) -> bool:
        """Whether the client is there and does not take its replies."""
        return self.frames.slow and self.frames.open

    def count(self, calls: int, size: int) -> None:
        """So many more calls, of so many bytes, wait for their replies, or fewer."""
        self._calls += calls
        self._bytes += size
        if self._held:
            hold = self._calls * 2 >= self._most_calls or self._bytes * 2 >= self._most_bytes
        else:
            hold = self._calls >= self._most_calls or self._bytes >= self._most_bytes
        if hold is not self._held:
            self._held = hold
            self.frames.hold("calls", hold)

    def answer(self, reply: Reply) -> None:
        """Answer a call at once. The frames are written before the loop comes to what is asked of it after them."""
        self.frames.send(reply)
        self.frames.hold("answer", True)
        asyncio.get_running_loop().call_soon(self.frames.hold, "answer", False)

    def beat(self) -> None:
        """The client has shown that it is alive, and is shown the same from now on."""
        if not self._beating:
            self._beating = True
            # What nobody takes does not pile up.
            self.frames.beat(HEARTBEAT_SECONDS, NODE_HEARTBEAT, lambda: not self.frames.slow)


class Waiting(Struct, frozen=True):
    """Who waits for the reply to a request, and for what."""

    session: Session
    operation: Operation
    size: int
    """Bytes of the call."""
    since: float
    """When it asked, by the monotonic clock."""
