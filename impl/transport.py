"""Connections: frames over TCP, and links to the other nodes that mend themselves.

`Frames` cuts a byte stream into frames for whoever is given one at a time, and gathers what is sent in one turn of the
event loop into one write. A frame that claims to be larger than its limit is refused before any room is made for it,
and room grows only with the bytes that arrive. What a peer sends can close that peer's connection, and do nothing else.

A message that is larger than a frame comes in pieces, one after the other, and is handed on when it is whole. For it
there is a limit of its own, and where that was not set (nobody has said who he is, or he is a client) there are no
pieces. Each has to bring something, or a connection could be kept busy for ever with a message that does not grow.

Both directions are bounded. A receiver that does not keep up makes its sender wait: `Frames` reports when the other
side is slow, and its owner can stop reading (`hold`). A `PeerLink` waits for no one: between nodes messages may be
lost, so beyond the limits the oldest are; the largest message is within them, alone.

A `PeerLink` is this node's way of sending to one other node. It connects, introduces itself, sends what waits, and
starts again, at growing and random intervals, whenever the connection ends. A connection can also end without a word:
the other side is stalled, or gone behind a cut cable. So a link sends a heartbeat, which is answered, and whoever hears
nothing from the other for too long gives the connection up (`Frames.watch`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, cast

from msgspec import Struct

from impl.errors import UserError, one_line, usage
from impl.wire import (
    HEARTBEAT,
    LENGTH_BYTES,
    MORE,
    Alive,
    Turned,
    Welcome,
    WireError,
    decode,
    encode,
    framed,
    link_decoder,
)
from spec.types import Limits

ROOM_BYTES = 64 * 1024
"""Room that a connection keeps; more is made for a larger frame, and given back after it. What is larger does not wait
for the end of the turn to be sent."""

HELLO_SECONDS = 5.0
"""How long either side may take to introduce itself."""

HEARTBEAT_SECONDS, SILENCE_SECONDS = 1.0, 5.0
"""How often each side shows that it is alive, and after how long without a sign a node is taken to be gone."""

BACKLOG = 128
"""Connections that wait to be accepted."""

RETRY_SECONDS = (0.05, 2.0)
"""The first and the longest wait before a lost connection is tried again."""


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT` or `[HOST]:PORT`. Raises UserError for anything else."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and host.isprintable() and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise usage(f"{text!r} is not an address; give HOST:PORT, such as 127.0.0.1:7401")
    try:
        host.encode("idna")  # as whoever looks the name up will
    except UnicodeError:
        raise usage(f"{text!r} is not an address: no host has such a name") from None
    return Address(host, int(port))


def ignore(*_: object) -> None:
    """The callback of those who have nothing to say."""


def room_of(size: int) -> memoryview:
    """So many bytes to write to."""
    return memoryview(bytearray(size))


class Frames(asyncio.BufferedProtocol):
    """One connection, as frames. Its owner sets the callbacks and may change them as the conversation goes on."""

    def __init__(self, limit: int) -> None:
        """`limit` is the largest frame taken, in bytes."""
        self.limit = limit
        self.message_limit = 0
        """The largest message taken, in pieces of at most `limit`; 0 where none is taken in pieces."""
        self.on_open: Callable[[], None] = ignore
        self.on_frame: Callable[[memoryview], None] = ignore
        """Given each frame, or message in pieces, to be read at once. It may raise WireError."""
        self.on_piece: Callable[[], None] = ignore
        """Told when a part of a message has arrived, and more follows."""
        self.on_refused: Callable[[str], None] = ignore
        """Told what was wrong with what arrived, before the connection is closed; may still send."""
        self.on_lost: Callable[[], None] = ignore
        self.on_slow: Callable[[bool], None] = ignore
        """Told when the other side stops (True) and resumes (False) taking what it is sent."""
        self.slow = False
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._look: asyncio.TimerHandle | None = None
        """The next look whether the other side is there."""
        self._holds: set[str] = set()
        self._room = room_of(ROOM_BYTES)
        self._gathered: bytearray | None = None
        """What has arrived of a message in pieces; None between messages."""
        self.received = 0
        """Bytes that arrived so far: while it grows, the other side is there."""
        self._start = self._end = self._written = 0
        self._outgoing: list[bytes] = []

    # What a connection's owner does.

    @property
    def open(self) -> bool:
        """Whether frames can still be sent."""
        return self._transport is not None and not self._closing

    def send(self, body: Struct) -> None:
        """Send a Struct as a frame; on a connection that is closing, nothing happens."""
        self.send_frame(framed(encode(body)))

    def send_frame(self, frame: bytes) -> None:
        """Send a frame, or all frames of a message."""
        if self._transport is None or self._closing:
            return
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(frame)
        if len(frame) > ROOM_BYTES:
            self._flush()  # so that whoever sends much in one turn sees that the other side is slow

    def hold(self, why: str, hold: bool) -> None:
        """Have, or no longer have, this reason not to read. While there is any, no frame is handed on, not even one
        that has arrived already."""
        held = bool(self._holds)
        if hold:
            self._holds.add(why)
        else:
            self._holds.discard(why)
        if held == bool(self._holds) or self._transport is None or self._closing:
            return
        if self._holds:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
            asyncio.get_running_loop().call_soon(self.buffer_updated, 0)

    def watch(self, silence_seconds: float, gone: Callable[[], None]) -> None:
        """From now on call back, and end the connection, once nothing has arrived for so long or half as much longer.

        Not while the silence is ours, because we do not read, unless that is because the other side takes nothing; nor
        because we were stopped ourselves and have not read yet what came meanwhile, for which there are two looks. Nor
        while the other side takes, slowly, what is waiting for it: an answer has to wait behind that.
        """
        heard, left, waited, silent = self.received, 0, 0, 0

        def look() -> None:
            nonlocal heard, left, waited, silent
            if self._transport is None:
                return
            waits = self._transport.get_write_buffer_size()
            taken = waited > 0 and self._written - waits > left
            ours = self._holds and not self.slow
            silent = silent + 1 if heard == self.received and not taken and not ours else 0
            heard, left, waited = self.received, self._written - waits, waits
            if silent == 2:
                gone()
                self.abort()
            else:
                self._look = loop.call_later(silence_seconds / 2, look)

        loop = asyncio.get_running_loop()
        self._look = loop.call_later(silence_seconds / 2, look)

    def abort(self) -> None:
        """Close at once; what is waiting is lost."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Send what is waiting, then close."""
        if self.open and self._transport is not None:
            self._flush()
            self._closing = True
            self._transport.close()

    # What the event loop does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)  # for a TCP connection it is one
        self.on_open()

    def connection_lost(self, _exc: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        if self._look is not None:
            self._look.cancel()
        self._outgoing.clear()
        if self.slow:
            self.resume_writing()  # nobody waits any more for the other side
        self.on_lost()
        # Callbacks know the connection that knows them: without this its room would wait for the garbage collector.
        self.on_open = self.on_frame = self.on_piece = self.on_refused = self.on_lost = self.on_slow = ignore
        self._room, self._gathered = room_of(0), None

    def pause_writing(self) -> None:
        """The other side does not keep up."""
        self.slow = True
        self.on_slow(True)

    def resume_writing(self) -> None:
        """It does again."""
        self.slow = False
        self.on_slow(False)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Room for what arrives; never empty."""
        if self._end == len(self._room):
            room = room_of(2 * len(self._room))
            room[: self._end] = self._room
            self._room = room
        return self._room[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes arrived."""
        self._end += nbytes
        self.received += nbytes
        try:
            self._take_frames()
        except WireError as error:
            self.on_refused(str(error))
            self.close()
            self._room, self._gathered = room_of(ROOM_BYTES), None  # however long the reason takes to get there
            self._start = self._end = 0

    def _take_frames(self) -> None:
        room = self._room
        while self._end - self._start >= LENGTH_BYTES and not self._closing and not self._holds:
            body = self._start + LENGTH_BYTES
            size = int.from_bytes(room[self._start : body])
            if size > self.limit or self._gathered is not None:  # with `MORE` it is larger than any limit
                if not self._take_piece(body, size):
                    break
                continue
            if self._end - body < size:
                break
            self._start = body + size
            self.on_frame(room[body : body + size])
        if self._closing or self._start == self._end:
            self._start = self._end = 0
            if len(self._room) > ROOM_BYTES:
                self._room = room_of(ROOM_BYTES)
        elif self._start > 0:  # move the unfinished frame to the front
            rest = room[self._start : self._end]
            self._room[: len(rest)] = rest
            self._start, self._end = 0, len(rest)

    def _take_piece(self, body: int, length: int) -> bool:
        """Take a part of a message, and with the last hand it on; False while it is not all here."""
        size = length % MORE
        if size > self.limit:
            raise WireError(f"a frame of {size} bytes; the limit is {self.limit}")
        if not self.message_limit:
            raise WireError("a piece of a message; here messages are whole")
        if size == 0:
            raise WireError("an empty piece of a message")
        before = self._gathered or bytearray()
        total = len(before) + size
        if total > self.message_limit:
            raise WireError(f"a message of {total} bytes or more; the limit is {self.message_limit}")
        if self._end - body < size:
            return False
        self._start = body + size
        before += self._room[body : self._start]
        if length < MORE:
            self._gathered = None
            self.on_frame(memoryview(before))
        else:
            self._gathered = before
            self.on_piece()
        return True

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing and not self._closing:
            data = b"".join(self._outgoing) if len(self._outgoing) > 1 else self._outgoing[0]
            self._written += len(data)
            self._transport.write(data)
        self._outgoing.clear()


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
                beat()
                self._say("connected")
                self._drain()
            elif isinstance(told, Alive):
                self.on_sign(True)

        def beat() -> None:
            if frames.open:
                if self.beats():
                    frames.send_frame(HEARTBEAT)
                loop.call_later(HEARTBEAT_SECONDS, beat)

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


async def listen(address: Address, factory: Callable[[], Frames]) -> asyncio.Server:
    """Take an address; whoever connects waits until the server starts to serve. Raises UserError if it is not free."""
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        taken = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else reason_of(error)
        raise UserError(f"cannot listen on {address}: {reason}") from None
    return await asyncio.get_running_loop().create_server(factory, sock=taken, start_serving=False)


def reason_of(error: Exception) -> str:
    """Why a connection could not be made, in the words of the system."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()  # the loops word `strerror` each in its own way
    return one_line(error)
