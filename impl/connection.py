"""One conversation of a client with one node: calls out, replies in any order.

Many calls may be under way; so many, and no more: beyond that, and while the node does not take what it is sent, a
caller waits for its *turn*. What is asked in a turn is on its way before anybody else runs, so a client that numbers
its calls inside of turns sends them in the order of their numbers.

Both sides show at regular intervals that they are alive. A node of which nothing came for a while is *suspected*, until
something comes: that ends no call, it is for whoever chooses where the next one goes. One that is silent for longer is
given up, and what was asked of it is lost. Silence is counted in looks, not in time: a client that was stopped itself,
or busy, has looked once and not read yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from impl.errors import UserError
from impl.frames import ROOM_BYTES, Frames, ignore
from impl.transport import HEARTBEAT_SECONDS, HELLO_SECONDS, SILENCE_SECONDS, Address, reason_of
from impl.wire import (
    CLIENT_HEARTBEAT,
    LENGTH_BYTES,
    PROTOCOL,
    Call,
    ClientHello,
    Told,
    Turned,
    Welcome,
    answer_decoder,
    decode,
    encode,
    framed,
    reply_decoder,
)
from spec.types import ClientId, NodeId

SUSPECT_LOOKS = 2
"""After how many looks, one with each heartbeat, that found nothing new a node is suspected."""

T = TypeVar("T")


class NoConnection(UserError):
    """The node at an address cannot be talked to; one line says why."""


class NoAnswer(NoConnection):
    """Nothing came back: whoever tries again waits again."""


class TooLarge(UserError):
    """A call that the node would turn away, and the connection with it; it was not sent."""


class Lost(Exception):
    """The connection ended before the reply came."""


class Connection:
    """One conversation with one node."""

    def __init__(self, frames: Frames, address: Address) -> None:
        """Over frames that are about to be opened."""
        self.node, self.incarnation = NodeId(""), ""
        self.address = address
        self.turned = ""
        """What the node said when it turned this client away."""
        self._frames = frames
        self._asides = 0
        self._call_bytes = 0
        self._calls: dict[int, asyncio.Future[Told]] = {}
        self._welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_silent: Callable[[], None] = ignore
        """Told when the node is given up because it gave no sign of life."""
        self._heard, self._looks = 0, 0
        """What had come at the last look; and how many looks, one after the other, have found no more."""
        self._room = asyncio.Semaphore(0)
        self._flowing = asyncio.Event()
        self._flowing.set()
        frames.on_frame, frames.on_lost, frames.on_refused = self._answered, self._lost, self._misunderstood
        frames.on_slow = lambda slow: self._flowing.clear() if slow else self._flowing.set()

    @property
    def open(self) -> bool:
        """Whether calls can still be made."""
        return self._frames.open

    @property
    def suspected(self) -> bool:
        """Whether the node has been silent for a while, and still is."""
        return self._looks >= SUSPECT_LOOKS and self._frames.received == self._heard

    async def greet(self, client: ClientId) -> None:
        """Introduce the client. Raises Lost if the node will not have it."""
        self._frames.send(ClientHello(PROTOCOL, client))
        await self._welcome

    def aside(self) -> int:
        """A number for a call that is no operation of the store."""
        self._asides -= 1
        return self._asides

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one more call may be made; it is over when the block is."""
        async with self._room:
            await self._flowing.wait()
            yield

    async def ask(self, call: Call) -> Told:
        """Make a call, at once, and wait for its reply. Raises TooLarge; Lost if the connection ends before."""
        if not self._frames.open:
            raise Lost
        frame = framed(encode(call))
        size = len(frame) - LENGTH_BYTES
        if size > self._call_bytes:
            raise TooLarge(f"the call is {size} bytes, node {self.node} takes at most {self._call_bytes}")
        reply: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._calls[call.call] = reply
        self._frames.send_frame(frame)
        try:
            return await reply
        finally:
            if self._calls.get(call.call) is reply:
                del self._calls[call.call]

    def close(self) -> None:
        """End the conversation; open calls are lost."""
        self._frames.close()

    def why_lost(self) -> str:
        """What to say of a call whose connection ended."""
        why = f": {self.turned}" if self.turned else ""
        return f"the connection to node {self.node} ended before it answered{why}"

    def _answered(self, frame: memoryview) -> None:
        answer = decode(answer_decoder, frame)
        if isinstance(answer, Turned):
            self._misunderstood(answer.reason)
            self._frames.close()
            return
        assert isinstance(answer, Welcome)
        self.node, self.incarnation, self._call_bytes = answer.node, answer.incarnation, answer.call_bytes
        self._room = asyncio.Semaphore(answer.calls_at_once)
        self._frames.limit, self._frames.message_limit = answer.frame_bytes, answer.message_bytes
        self._frames.on_frame = self._replied
        self._frames.watch(SILENCE_SECONDS, self._silent)
        # Before any call: the node may not read what comes after many.
        self._frames.beat(HEARTBEAT_SECONDS, CLIENT_HEARTBEAT, self._look)
        if not self._welcome.done():
            self._welcome.set_result(None)

    def _replied(self, frame: memoryview) -> None:
        reply = decode(reply_decoder, frame)
        if isinstance(reply.told, Turned):
            self._misunderstood(reply.told.reason)
            self._frames.close()
            return
        future = self._calls.pop(reply.call, None)
        if future is not None and not future.done():
            future.set_result(reply.told)

    def _look(self) -> bool:
        """Whether anything has come since the last look is counted; a heartbeat may follow unless others wait."""
        self._looks = self._looks + 1 if self._frames.received == self._heard else 0
        self._heard = self._frames.received
        return not self._frames.slow

    def _silent(self) -> None:
        self.turned = "it gave no sign of life"
        self.on_silent()

    def _misunderstood(self, reason: str) -> None:
        self.turned = reason

    def _lost(self) -> None:
        calls, self._calls = self._calls, {}
        self._flowing.set()  # who waits for a turn has to see that there will be none
        lose(self._welcome)
        for reply in calls.values():
            lose(reply)


def lose(future: asyncio.Future[T]) -> None:
    """Whoever waits is told that nothing will come; nobody may be waiting any more."""
    if not future.done():
        future.set_exception(Lost())
        future.exception()


async def open_connection(address: Address, client: ClientId) -> Connection:
    """Talk to the node at an address. Raises NoConnection."""
    frames = Frames(ROOM_BYTES)
    connection = Connection(frames, address)
    try:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(HELLO_SECONDS):
            await loop.create_connection(lambda: frames, *address)
            await connection.greet(client)
    except Lost:
        reason = connection.turned or "no reason given"
        raise NoConnection(f"node at {address} turned the client away: {reason}") from None
    except TimeoutError:
        raise NoAnswer(f"node at {address} does not answer") from None
    except ConnectionRefusedError as error:
        raise NoConnection(f"no node at {address}: {reason_of(error)}") from None
    except OSError as error:
        raise NoAnswer(f"no node at {address}: {reason_of(error)}") from None
    finally:
        if not connection.node:
            frames.close()
    return connection
