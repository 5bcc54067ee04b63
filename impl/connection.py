"""One conversation of a client with one node: calls out, replies in any order.

Many calls may be under way; so many, and no more: beyond that, and while the node does not take what it is sent, a
caller waits for its *turn*. What is asked in a turn is on its way before anybody else runs, so a client that numbers
its calls inside of turns sends them in the order of their numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from impl.errors import UserError
from impl.transport import HELLO_SECONDS, Address, Frames, reason_of
from impl.wire import (
    CALLS_AT_ONCE,
    LENGTH_BYTES,
    PROTOCOL,
    ROOM_FOR_ANSWER_BYTES,
    Call,
    ClientHello,
    Told,
    Turned,
    Welcome,
    answer_decoder,
    decode,
    encode,
    framed,
    reply_bytes,
    reply_decoder,
)
from spec.types import ClientId, NodeId

T = TypeVar("T")


class NoConnection(UserError):
    """The node at an address cannot be talked to; one line says why."""


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
        self._room = asyncio.Semaphore(CALLS_AT_ONCE)
        self._flowing = asyncio.Event()
        self._flowing.set()
        frames.on_frame, frames.on_lost, frames.on_refused = self._answered, self._lost, self._misunderstood
        frames.on_slow = lambda slow: self._flowing.clear() if slow else self._flowing.set()

    @property
    def open(self) -> bool:
        """Whether calls can still be made."""
        return self._frames.open

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
        self._frames.limit = reply_bytes(answer.frame_bytes)
        self._frames.message_limit = reply_bytes(answer.message_bytes)
        self._frames.on_frame = self._replied
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
    frames = Frames(ROOM_FOR_ANSWER_BYTES)
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
        raise NoConnection(f"node at {address} does not answer") from None
    except OSError as error:
        raise NoConnection(f"no node at {address}: {reason_of(error)}") from None
    finally:
        if not connection.node:
            frames.close()
    return connection
