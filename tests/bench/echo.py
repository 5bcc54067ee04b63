"""What a node costs without its specification: the same transport, the same commits, and no decisions.

Three of these exchange as many messages as three nodes do for n=3, r=w=2, and commit as often; but what they send is a
number and a value, what they store is the value, and what they count is one answer. The difference between their
throughput and a cluster's is what versions, contexts, steps and quorums cost, and all that makes them sure. Run as
`python -m tests.bench.echo NAME DATA NAME=HOST:PORT …`, its own address among them, until standard input ends.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from itertools import count
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from impl.frames import Frames
from impl.link import PeerLink
from impl.process import GC_THRESHOLDS, loop_factory
from impl.storage import CHECKPOINT_PAGES, PAGE_CACHE_KIB
from impl.transport import Address, listen, parse_address
from impl.wire import (
    HEARTBEAT,
    LENGTH_BYTES,
    PROTOCOL,
    Alive,
    CallGet,
    CallPut,
    PeerHello,
    Welcome,
    call_decoder,
    encode,
    framed,
    hello_decoder,
)
from spec.types import Limits, NodeId

FRAME_BYTES = 1024 * 1024


class Note(Struct, frozen=True, array_like=True):
    """What passes between two of them: a question with an empty `value` asks, one with a value stores."""

    number: int
    is_answer: bool
    key: bytes
    value: bytes


class Echoed(Struct, frozen=True, tag="Echo"):
    """What a client is told."""

    value: bytes


class Asked(NamedTuple):
    """A client's call."""

    frames: Frames
    call: CallPut | CallGet


class Noted(NamedTuple):
    """Another's note."""

    source: NodeId
    note: Note


class Echo:
    """One process of them."""

    def __init__(self, name: NodeId, data: Path, addresses: dict[NodeId, Address]) -> None:
        """With an empty store."""
        self._name = name
        self._db = sqlite3.connect(data, isolation_level=None)
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = FULL",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            f"cache_size = -{PAGE_CACHE_KIB}",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE rows (key BLOB PRIMARY KEY, row BLOB NOT NULL) STRICT")
        self._values: dict[bytes, bytes] = {}
        self._open: dict[int, Asked] = {}
        self._numbers = count(1)
        self._events: list[Asked | Noted] = []
        self.links = {
            peer: PeerLink(address, PeerHello(PROTOCOL, name, peer, b""), Limits(), lambda *_: None)
            for peer, address in addresses.items()
            if peer != name
        }

    def accept(self) -> Frames:
        """A connection, of a client or of another."""
        frames, notes = Frames(FRAME_BYTES), msgspec.msgpack.Decoder(list[Note])

        def hello(frame: memoryview) -> None:
            said = hello_decoder.decode(frame)
            limits = FRAME_BYTES, FRAME_BYTES, FRAME_BYTES
            frames.send(Welcome(PROTOCOL, self._name, "", *limits, Limits().calls_at_once))
            if isinstance(said, PeerHello):
                frames.on_frame = lambda frame: noted(said.source, frame)
            else:
                frames.on_frame = called

        def noted(source: NodeId, frame: memoryview) -> None:
            if frame == HEARTBEAT[LENGTH_BYTES:]:  # unanswered it would cost the connection, and what is on its way
                frames.send(Alive())
            else:
                self._take([Noted(source, note) for note in notes.decode(frame)])

        def called(frame: memoryview) -> None:
            call = call_decoder.decode(frame)
            assert isinstance(call, CallPut | CallGet)
            self._take([Asked(frames, call)])

        frames.on_frame = hello
        return frames

    def _take(self, events: list[Asked | Noted] | list[Noted] | list[Asked]) -> None:
        if not self._events:
            asyncio.get_running_loop().call_soon(self._batch)
        self._events += events

    def _batch(self) -> None:
        """Everything that waits: written and committed together, then sent."""
        events, self._events = self._events, []
        written: dict[bytes, bytes] = {}
        leaving: dict[NodeId, list[Note]] = {peer: [] for peer in self.links}
        replies: list[tuple[Asked, bytes]] = []
        for event in events:
            if isinstance(event, Asked):
                number = next(self._numbers)
                self._open[number] = event
                key, value = event.call.key, event.call.value if isinstance(event.call, CallPut) else b""
                if value:
                    written[key] = value
                for notes in leaving.values():
                    notes.append(Note(number, False, key, value))
            elif event.note.is_answer:
                asked = self._open.pop(event.note.number, None)
                if asked is not None:
                    replies.append((asked, event.note.value))
            else:
                note, found = event.note, b""
                if note.value:
                    written[note.key] = note.value
                else:
                    found = self._values.get(note.key, b"")
                leaving[event.source].append(Note(note.number, True, b"", found))
        if written:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO rows VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET row = excluded.row", written.items()
            )
            self._db.execute("COMMIT")
            self._values.update(written)
        for peer, notes in leaving.items():
            if notes:
                self.links[peer].send(encode(notes), len(notes))
        for asked, value in replies:
            asked.frames.send_frame(framed(encode((asked.call.call, Echoed(value)))))


async def serve(name: NodeId, data: Path, addresses: dict[NodeId, Address]) -> None:
    """Until standard input ends."""
    echo, stop = Echo(name, data, addresses), asyncio.Event()
    asyncio.get_running_loop().add_reader(0, stop.set)
    server = await listen(addresses[name], echo.accept)
    links = [asyncio.create_task(link.run()) for link in echo.links.values()]
    await server.start_serving()
    while not all(link.connected for link in echo.links.values()) and not stop.is_set():
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await stop.wait()
    for task in links:
        task.cancel()
    server.close()


def main() -> None:
    """Read the arguments and serve."""
    import gc

    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    name, data, *others = sys.argv[1:]
    addresses = {NodeId(text.partition("=")[0]): parse_address(text.partition("=")[2]) for text in others}
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(NodeId(name), Path(data), addresses))


if __name__ == "__main__":
    main()
