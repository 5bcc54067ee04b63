"""Timers of requests: thousands at a time, nearly all of them cancelled before they fire.

Timers with the same delay fire in the order in which they were set. So there is a queue for each delay, of which a
configuration knows two, and the event loop keeps one timer of its own, for whichever is due first. Setting and
cancelling are an entry in a dictionary each; a dictionary keeps its order and forgets what is removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spec.types import RequestId


class Timers:
    """Calls back, once, for each request whose time is up."""

    def __init__(self, fire: Callable[[RequestId], None]) -> None:
        """Nothing is set."""
        self._fire = fire
        self._queues: dict[float, dict[RequestId, float]] = {}
        """For each delay, seconds, when each request is due, in this order."""
        self._delays: dict[RequestId, float] = {}
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._delays)

    def set(self, request: RequestId, after_seconds: float) -> None:
        """Fire after this long, and no longer when it was set to before."""
        self.cancel(request)
        loop = asyncio.get_running_loop()
        due = loop.time() + after_seconds
        self._delays[request] = after_seconds
        self._queues.setdefault(after_seconds, {})[request] = due
        if self._handle is None or due < self._handle.when():
            self._wake_at(due)

    def cancel(self, request: RequestId) -> None:
        """Do not fire; nothing happens if it is not set."""
        delay = self._delays.pop(request, None)
        if delay is not None:
            del self._queues[delay][request]

    def close(self) -> None:
        """Fire no more."""
        self._queues.clear()
        self._delays.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _wake_at(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = asyncio.get_running_loop().call_at(due, self._wake)

    def _wake(self) -> None:
        """Fire what is due, and wait for what is due next; it may have been cancelled by then."""
        self._handle = None
        now = asyncio.get_running_loop().time()
        for queue in self._queues.values():
            late = []
            for request, due in queue.items():
                if due > now:
                    break
                late.append(request)
            for request in late:
                self.cancel(request)
                self._fire(request)
        firsts = [next(iter(queue.values())) for queue in self._queues.values() if queue]
        if firsts:
            self._wake_at(min(firsts))
