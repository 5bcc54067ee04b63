"""This node's way of sending to one other node: a link that mends itself.

A `PeerLink` connects, introduces itself, sends what waits, and starts again, at growing and random intervals, whenever
the connection ends. It sends a heartbeat, which is answered, and gives up a connection on which nothing comes back. It
waits for no one: between nodes messages may be lost, so beyond the limits of its queue the oldest are; the largest
message is within them, alone.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct

from impl.frames import ROOM_BYTES, Frames, ignore
from impl.transport import HEARTBEAT_SECONDS, HELLO_SECONDS, SILENCE_SECONDS, Address, reason_of
from impl.wire import HEARTBEAT, Alive, Turned, Welcome, decode, framed, link_decoder
from spec.types import Limits

RETRY_SECONDS = (0.05, 2.0)
"""The first and the longest wait before a lost connection is tried again."""


class Queue:
    """Parcels of messages that wait for a connection; beyond a number of messages, or bytes, the oldest are lost.

    The oldest itself does not count among the bytes, so the largest message can wait, and does while little else does.
    """

    def __init__(self, messages: int, size: int) -> None:
        """An empty queue for parcels of at most so many messages, and so many bytes behind the oldest."""
        self._limits = messages, size
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._messages = self._size = 0
        self.lost = 0
        """Messages that had to go."""

    def __len__(self) -> int:
        return self._messages

    def put(self, parcel: bytes, messages: int = 1) -> None:
        """Add a parcel of so many messages at the end."""
        self._waiting.append((parcel, messages))
        self._messages += messages
        self._size += len(parcel)
        most, size = self._limits
        while self._messages > most or (self._waiting and self._size - len(self._waiting[0][0]) > size):
            self.lost += self._drop()[1]

    def take(self) -> bytes:
        """Remove the oldest."""
        return self._drop()[0]

    def _drop(self) -> tuple[bytes, int]:
        parcel, messages = self._waiting.popleft()
        self._messages -= messages
        self._size -= len(parcel)
        return parcel, messages


class PeerLink:
    """This node's sending side towards one other node."""

    def __init__(self, address: Address, hello: Struct, limits: Limits, on_change: Callable[[str], None]) -> None:
        """The limits are those of both sides; `on_change` is told, in a line, what becomes of the link."""
        self.address = address
        self.queue = Queue(limits.queued_messages, limits.frame_bytes)
        self.connected = False
        self._hello = hello
        self._frame_bytes, self._message_bytes = limits.frame_bytes, limits.message_bytes
        self._on_change = on_change
        self.on_sign: Callable[[bool], None] = ignore
        """Told when the other node answers a heartbeat (True), and when its machine says that it is not there."""
        self.beats: Callable[[], bool] = lambda: True
        """Asked before each heartbeat whether it may be sent."""
        self._said = ""
        self._frames: Frames | None = None
        self._hurry = asyncio.Event()

    def nudge(self) -> None:
        """The other node has just been heard of: if the link is down, try again now."""
        self._hurry.set()

    def send(self, parcel: bytes, messages: int = 1) -> None:
        """Send an encoded parcel of so many messages now or, while the other side is away or slow, later or never.

        One that is larger than the other side takes, in all its pieces, is lost, for it would cost the connection.
        """
        if len(parcel) > self._message_bytes:
            self.queue.lost += messages
            self._on_change(f"takes no message so large: {len(parcel)} bytes, the limit is {self._message_bytes}")
        elif self.connected and self._frames is not None and not self._frames.slow and not self.queue:
            self._frames.send_frame(framed(parcel, self._frame_bytes))
        else:
            self.queue.put(parcel, messages)

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        wait = RETRY_SECONDS[0]
        while True:
            if await self._connect():
                wait = RETRY_SECONDS[0]
            self._hurry.clear()
            with suppress(TimeoutError):  # no `wait_for`: before Python 3.12 it may swallow a cancellation
                async with asyncio.timeout(wait * random.uniform(0.5, 1.0)):
                    await self._hurry.wait()
            wait = min(2 * wait, RETRY_SECONDS[1])

    async def _connect(self) -> bool:
        """Be connected for as long as it lasts; tell whether the other node ever answered."""
        frames, lost = Frames(ROOM_BYTES), asyncio.Event()
        answered = False

        def answer(frame: memoryview) -> None:
            nonlocal answered
            told = decode(link_decoder, frame)
            if isinstance(told, Turned):
                self._say(f"turned away: {told.reason}")
                frames.close()
            elif isinstance(told, Welcome) and not answered:
                answered = self.connected = True
                deadline.cancel()
                frames.watch(SILENCE_SECONDS, lambda: self._say("gave no sign of life"))
                frames.beat(HEARTBEAT_SECONDS, HEARTBEAT, lambda: self.beats())
                self._say("connected")
                self._drain()
            elif isinstance(told, Alive):
                self.on_sign(True)

        frames.on_frame, frames.on_lost = answer, lost.set
        frames.on_slow = lambda slow: None if slow else self._drain()
        frames.on_refused = self._say
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(HELLO_SECONDS, frames.close)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                await loop.create_connection(lambda: frames, *self.address)
        except (OSError, TimeoutError) as error:
            deadline.cancel()
            self._say(f"not reachable: {reason_of(error)}")
            if isinstance(error, ConnectionRefusedError):
                self.on_sign(False)
            return False
        self._frames = frames
        try:
            frames.send(self._hello)
            await lost.wait()
        finally:
            self.connected, self._frames = False, None
            deadline.cancel()
            frames.close()
        if answered:
            self._say("disconnected")
        return answered

    def _drain(self) -> None:
        while self.queue and self._frames is not None and self._frames.open and not self._frames.slow:
            self._frames.send_frame(framed(self.queue.take(), self._frame_bytes))

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            self._on_change(what)
