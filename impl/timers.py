"""Timers of requests: thousands at a time, nearly all of them cancelled before they fire.

Those that are set stand in a heap, by when they are due, and the event loop keeps one timer of its own, for the first.
What is cancelled stays in the heap until it comes to the top, or until most of the heap is like that.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from spec.types import RequestId

CANCELLED = 50
"""Cancelled timers that the heap may hold beyond as many as are set."""


class Timers:
    """Calls back, once, for each request whose time is up."""

    def __init__(self, fire: Callable[[RequestId], None]) -> None:
        """Nothing is set. They belong to the event loop that runs; to ask which does takes a system call."""
        self._loop = asyncio.get_running_loop()
        self._fire = fire
        self._due: dict[RequestId, float] = {}
        self._heap: list[tuple[float, RequestId]] = []
        self._handle: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf

    def __len__(self) -> int:
        return len(self._due)

    def set(self, request: RequestId, after_seconds: float) -> None:
        """Fire after this long, and no longer when it was set to before."""
        due = self._loop.time() + after_seconds
        self._due[request] = due
        heappush(self._heap, (due, request))
        if len(self._heap) > 2 * len(self._due) + CANCELLED:
            self._heap = [(due, request) for request, due in self._due.items()]
            heapify(self._heap)
        if due < self._wakes_at:
            self._wake_at(due)

    def cancel(self, request: RequestId) -> None:
        """Do not fire; nothing happens if it is not set."""
        self._due.pop(request, None)

    def close(self) -> None:
        """Fire no more."""
        self._due.clear()
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _wake_at(self, due: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._wakes_at = self._loop.call_at(due, self._wake), due

    def _wake(self) -> None:
        """Fire what is due, and wait for what is due next."""
        self._handle, self._wakes_at = None, math.inf
        now = self._loop.time()
        while self._heap:
            due, request = self._heap[0]
            if self._due.get(request) != due:  # cancelled, or set to another time
                heappop(self._heap)
            elif due <= now:
                heappop(self._heap)
                del self._due[request]
                self._fire(request)
            else:
                self._wake_at(due)
                break
