"""A connection as frames: what is cut out of a byte stream, and what is put into one.

`Frames` cuts a byte stream into frames for whoever is given one at a time, and gathers what is sent in one turn of the
event loop into one write. A frame that claims to be larger than its limit is refused before any room is made for it,
and room grows only with the bytes that arrive. What a peer sends can close that peer's connection, and do nothing else.

A message that is larger than a frame comes in pieces, one after the other, and is handed on when it is whole. For it
there is a limit of its own, and where that was not set (nobody has said who he is, or he is a client) there are no
pieces. Each has to bring something, or a connection could be kept busy for ever with a message that does not grow.

Both directions are bounded. A receiver that does not keep up makes its sender wait: `Frames` reports when the other
side is slow, and its owner can stop reading (`hold`).

A connection can end without a word: the other side is stalled, or gone behind a cut cable. So both sides show at
intervals that they are alive, and whoever hears nothing from the other for too long gives the connection up (`watch`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from msgspec import Struct

from impl.wire import LENGTH_BYTES, MORE, WireError, encode, framed

ROOM_BYTES = 64 * 1024
"""Room that a connection keeps; more is made for a larger frame, and given back after it. What is larger does not wait
for the end of the turn to be sent."""


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

    def beat(self, every_seconds: float, frame: bytes, may: Callable[[], bool]) -> None:
        """Show the other side that we are alive, now and from now on; each time only if it may be."""
        if self.open:
            if may():
                self.send_frame(frame)
            asyncio.get_running_loop().call_later(every_seconds, self.beat, every_seconds, frame, may)

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
