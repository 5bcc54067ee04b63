"""What a client keeps between the attempts of one call: how long it may go on, and what is known of it so far."""

from __future__ import annotations

import asyncio
import random
import time

from msgspec.structs import replace

from impl.outcomes import MayHaveHappened
from spec.messages import Indefinite, Put
from spec.types import RequestId

PAUSE_SECONDS = (0.02, 1.0)
"""The first and the longest pause between attempts; each lasts some random part of twice the one before."""


class Patience:
    """How long one call goes on."""

    def __init__(self, timeout: float, attempts: int) -> None:
        """`timeout` is in seconds."""
        self.timeout, self.attempts = timeout, attempts
        self._until = time.monotonic() + timeout
        self._pause = PAUSE_SECONDS[0]

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._until - time.monotonic())

    def spend(self) -> bool:
        """An attempt is over; whether there may be another."""
        self.attempts -= 1
        return self.attempts > 0 and self.left > 0

    async def pause(self) -> None:
        """Wait a little, longer each time."""
        await asyncio.sleep(min(self.left, self._pause * random.uniform(0.5, 1.0)))
        self._pause = min(2 * self._pause, PAUSE_SECONDS[1])


class Asked:
    """A put, and what is known of it so far."""

    def __init__(self, put: Put, context: str | None) -> None:
        """Nobody has been asked yet; `context` is the token that the put's clock came in."""
        self._put, self.context = put, context
        self.request: RequestId | None = None
        """Its name, from the first attempt on."""
        self.doubt: MayHaveHappened | None = None
        self.told: Indefinite | None = None
        """What the latest node to be asked said, if it said that it does not know."""

    @property
    def put(self) -> Put:
        """The put as the next attempt asks for it."""
        return self._put if self.doubt is None else replace(self._put, again=True)
