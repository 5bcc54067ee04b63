"""Frames that nobody should have sent: the node turns them down one at a time, is not harmed, and changes nothing.

Real conversations are recorded first, byte for byte, by relays that stand between three nodes and a client. What is
fed to a node is mutated from these frames: bits flipped, bytes inserted, removed, repeated, lengths that lie, and
values inside a frame replaced by others, so that much of it decodes and reaches the checks behind the decoder. Some of
it comes in pieces, not all of which are as they may be. Before that what was recorded is taken as it was said, by nodes
also in pieces.

Most of it goes to the protocol object of an accepted connection in this process, which is what the event loop would
feed; some thousands go over sockets. Whatever a frame that is turned down contained, it has become no event. Whatever
a frame that is not turned down contained is an event that the specification must be able to take: it is given to the
node, which goes on.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, ClassVar
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl import door, process, session, wire
from impl.client import connect
from impl.frames import ROOM_BYTES, Frames
from impl.runtime import Arrival
from impl.server import Server
from impl.settings import Settings
from impl.transport import Address
from impl.wire import (
    LENGTH_BYTES,
    MORE,
    CallPut,
    PeerHello,
    Reply,
    Turned,
    WireError,
    call_bytes,
    decode,
    encode,
    framed,
    hello_decoder,
)
from spec.clock import Actor
from spec.events import Suspicion
from spec.maps import Counts
from spec.messages import Refused
from spec.token import seal
from spec.types import LARGEST, ClientId, Key, NodeId, Value
from tests.nodes import SECRET, THREE, clients, running, settings_of

A, B = NodeId("a"), NodeId("b")
Talk = list[bytes]
"""The frames, without their lengths, that one side of a connection sent."""


# Recording.


def frames_in(stream: bytes) -> Talk:
    """A stream as frames; what is left of the last is dropped."""
    frames, at = [], 0
    while at + LENGTH_BYTES <= len(stream):
        size = int.from_bytes(stream[at : at + LENGTH_BYTES])
        if at + LENGTH_BYTES + size > len(stream):
            break
        frames.append(stream[at + LENGTH_BYTES : at + LENGTH_BYTES + size])
        at += LENGTH_BYTES + size
    return frames


class Relay:
    """Stands before an address, and remembers what was sent there over each connection."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.streams: list[bytearray] = []
        self._relays: set[asyncio.Task[object]] = set()
        self._ends: list[asyncio.StreamWriter] = []

    async def start(self) -> Address:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return Address("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward_writer = await asyncio.open_connection(*self.address)
        except OSError:
            writer.close()
            return
        self.streams.append(stream := bytearray())
        this = asyncio.current_task()
        assert this is not None
        self._relays.add(this)
        self._ends += [writer, onward_writer]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, tap: bytearray) -> None:
            try:
                while data := await source.read(65536):
                    tap += data
                    sink.write(data)
                    await sink.drain()
            except ConnectionError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, onward_writer, stream), pump(onward_reader, writer, bytearray()))

    async def stop(self) -> None:
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*self._relays)


PATIENCE_SECONDS = 60.0
PATIENT = msgspec.structs.replace(THREE, put_timeout_ms=60_000, get_timeout_ms=60_000)
"""While the store is used as it should be, clients and nodes wait for each other, however busy the machine is."""


async def record(directory: Path) -> list[Talk]:
    """What node b and a client said to node a while the store was used."""
    settings = settings_of(directory, ["a", "b", "c"], PATIENT, faults=False)
    relay = Relay(settings[A].listen)
    front = await relay.start()
    behind = msgspec.structs.replace(settings[B], peers={**settings[B].peers, A: front})
    async with running(settings[A], behind, settings[NodeId("c")]):
        near = await connect([front], timeout=PATIENCE_SECONDS)
        far = await connect([settings[B].listen], timeout=PATIENCE_SECONDS)
        async with near, far:
            for i in range(12):
                key = b"key-%d" % (i % 4)
                await near.put(key, b"value" * i)
                found = await far.get(key)
                await far.put(key, b"over" * i, found.context)
                await near.put(key, b"beside", (await near.get(key)).context)
            await near.status()
    await relay.stop()
    return [talk for stream in relay.streams if len(talk := frames_in(bytes(stream))) > 1]


# Mutating.

ODD: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    2**64 - 1,
    -(2**63),
    0.5,
    "",
    "x",
    b"",
    b"\0" * 40,
    [],
    {},
)


def mutate(frame: bytes, chance: Random, others: Talk) -> bytes:
    """Something like this frame."""
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        frame = chance.choice((flip, insert, remove, repeat, splice, nest, inside, inside, inside))(
            frame, chance, others
        )
    return frame


def flip(frame: bytes, chance: Random, _: Talk) -> bytes:
    if not frame:
        return b"\xc1"
    at = chance.randrange(len(frame))
    return frame[:at] + bytes([frame[at] ^ (1 << chance.randrange(8))]) + frame[at + 1 :]


def insert(frame: bytes, chance: Random, _: Talk) -> bytes:
    at = chance.randint(0, len(frame))
    return frame[:at] + chance.randbytes(chance.randint(1, 8)) + frame[at:]


def remove(frame: bytes, chance: Random, _: Talk) -> bytes:
    start, end = sorted((chance.randint(0, len(frame)), chance.randint(0, len(frame))))
    return frame[:start] + frame[end:]


def repeat(frame: bytes, chance: Random, _: Talk) -> bytes:
    start, end = sorted((chance.randint(0, len(frame)), chance.randint(0, len(frame))))
    return frame[:end] + frame[start:]


def splice(frame: bytes, chance: Random, others: Talk) -> bytes:
    other = chance.choice(others)
    return frame[: chance.randint(0, len(frame))] + other[chance.randint(0, len(other)) :]


def nest(frame: bytes, chance: Random, _: Talk) -> bytes:
    return chance.choice((b"\x91", b"\x81\xa1x", b"\x92\x01")) * chance.choice((1, 10, 2_000)) + frame


def inside(frame: bytes, chance: Random, others: Talk) -> bytes:
    """Replace a value within the frame by another one of its own, of another frame, or an odd one."""
    try:
        value, other = msgspec.msgpack.decode(frame), msgspec.msgpack.decode(chance.choice(others))
        return msgspec.msgpack.encode(altered(value, chance, other))
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, TypeError):
        return flip(frame, chance, others)


def altered(value: object, chance: Random, other: object) -> object:
    """A value with one place in it changed."""
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        if chance.random() < 0.1:
            return [*value[:at], *value[at + chance.randint(0, 1) :], value[at]]
        return [*value[:at], altered(value[at], chance, other), *value[at + 1 :]]
    if isinstance(value, dict) and value and chance.random() < 0.95:
        name = chance.choice(sorted(value, key=repr))
        return {**value, name: altered(value[name], chance, other)}
    if isinstance(value, int) and chance.random() < 0.5:
        return value + chance.choice((-1, 1, 2**40))
    if isinstance(value, str | bytes) and value and chance.random() < 0.5:
        return value[: chance.randrange(len(value))]
    return chance.choice((chance.choice(ODD), part_of(other, chance)))


def part_of(value: object, chance: Random) -> object:
    """Some value within a value."""
    while isinstance(value, list | dict) and value and chance.random() < 0.8:
        value = chance.choice(list(value.values()) if isinstance(value, dict) else value)
    return value


def in_pieces(body: bytes, chance: Random) -> bytes:
    """A message cut anywhere; now and then a piece is empty, or claims more than it is, or the last is none."""
    cuts = sorted(chance.randint(0, len(body)) for _ in range(chance.randint(1, 4)))
    parts = [body[start:end] for start, end in pairwise((0, *cuts, len(body)))]
    last = len(parts) - chance.choice((0, 1, 1, 1))
    lengths = [len(part) + MORE * (at < last) for at, part in enumerate(parts)]
    if chance.random() < 0.1:
        lengths[chance.randrange(len(parts))] += chance.choice((1, 2**20, 2**26))
    return b"".join(length.to_bytes(LENGTH_BYTES) + part for length, part in zip(lengths, parts, strict=True))


# A node to feed.


class Watched(Server):
    """A server that counts what becomes an event; not what it makes of silence, and of pieces as signs of life."""

    of: ClassVar[dict[NodeId, Watched]] = {}
    """The one of each node that was made last."""

    def __init__(self, settings: Settings, *about: Any) -> None:  # Any: handed on as it comes
        super().__init__(settings, *about)
        self.events = 0
        Watched.of[settings.name] = self

    def _submit(self, arrivals: list[Arrival], *source: Any) -> None:
        self.events += not all(isinstance(each.event, Suspicion) for each in arrivals)
        super()._submit(arrivals, *source)


class Wire(asyncio.Transport):
    """The other side of a connection that was accepted: takes what the node says."""

    def __init__(self) -> None:
        super().__init__()
        self.said = bytearray()
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += data

    def writelines(self, list_of_data: Any) -> None:  # Any: whatever the node gathered, as the base class has it
        self.said += b"".join(list_of_data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, _name: str, default: Any = None) -> Any:  # as the base class has it
        return default


def feed(protocol: Frames, data: bytes, pieces: int) -> None:
    """What the event loop does with data that arrived, in so many pieces."""
    size = max(1, -(-len(data) // pieces))
    for at in range(0, len(data), size):
        part = data[at : at + size]
        while part:
            room = protocol.get_buffer(len(part))
            taken = min(len(part), len(room))
            room[:taken] = part[:taken]
            del room
            protocol.buffer_updated(taken)
            part = part[taken:]


class Fuzzed:
    """Node a, with nodes b and c away, and what was once said to it."""

    def __init__(self, settings: Settings, talks: list[Talk], troubles: list[str]) -> None:
        self.settings, self.talks, self.troubles = settings, talks, troubles
        self.server = Watched.of[settings.name]
        self.everything = [frame for talk in talks for frame in talk]
        self.refused = self.accepted = 0
        self.taken: list[tuple[bytes, Wire, Frames]] = []
        """What was not turned down, until the node has decided about it."""

    def as_recorded(self) -> None:
        """What was once said is taken, or nothing that is like it would get beyond the hello."""
        for talk in self.talks:
            peer = isinstance(decode(hello_decoder, memoryview(talk[0])), PeerHello)
            for most in (LARGEST, 10) if peer else (LARGEST,):
                stream = framed(talk[0]) + b"".join(framed(frame, most) for frame in talk[1:])
                wire_, protocol = Wire(), self.server.accept()
                protocol.connection_made(wire_)
                before = self.server.events
                feed(protocol, stream, 7)
                assert not wire_.closed, bytes(wire_.said)
                assert self.server.events > before
                protocol.connection_lost(None)

    def one(self, chance: Random) -> None:
        """One connection with one mutated frame in it, and right ones before and after it."""
        talk = chance.choice(self.talks)
        at = chance.randrange(len(talk))
        bad = mutate(talk[at], chance, self.everything)
        cut = in_pieces(bad, chance) if chance.random() < 0.2 else framed(bad)
        stream = b"".join(map(framed, talk[: min(at, 1)])) + cut + framed(chance.choice(talk[1:]))
        if chance.random() < 0.05:
            stream = b"".join(map(framed, talk[: min(at, 1)])) + chance.randbytes(LENGTH_BYTES) + bad
        wire_, protocol = Wire(), self.server.accept()
        protocol.connection_made(wire_)
        before = self.server.events
        feed(protocol, stream, chance.choice((1, 1, 1, 2, 7)))
        if wire_.closed:
            self.refused += 1
            said = frames_in(bytes(wire_.said))
            reasons = [reason for frame in said if (reason := turned(frame))]
            assert len(reasons) == 1, f"{len(reasons)} refusals of {stream.hex()}: {said}"
            assert turned(said[-1]), f"something was said after the refusal of {stream.hex()}"
            assert "\n" not in reasons[0]
            assert len(reasons[0]) < 500
            assert self.server.events == before, f"what was turned down became an event: {stream.hex()}"
            feed_after_close(protocol, framed(talk[0]))
            assert self.server.events == before
        else:
            self.accepted += 1
            self.taken.append((stream, wire_, protocol))
            return
        protocol.connection_lost(None)

    async def settle(self) -> None:
        """Let the node decide what it accepted."""
        for _ in range(3):
            await asyncio.sleep(0)
        lately = [stream.hex() for stream, _, _ in self.taken]
        for stream, wire_, protocol in self.taken:
            assert not any(map(turned, frames_in(bytes(wire_.said)))), f"turned down and not closed: {stream.hex()}"
            protocol.connection_lost(None)
        self.taken.clear()
        async with await connect([self.settings.listen], timeout=PATIENCE_SECONDS) as client:
            assert (await client.status()).steps <= self.server.runtime.seq
        assert not self.troubles, f"{self.troubles}; lately accepted: {lately}"


def feed_after_close(protocol: Frames, data: bytes) -> None:
    """What was in the socket's buffer still arrives, at most."""
    room = protocol.get_buffer(len(data))
    room[: len(data)] = data
    del room
    protocol.buffer_updated(len(data))


def turned(frame: bytes) -> str:
    """Why a connection is turned down, if this says so."""
    said = msgspec.msgpack.decode(frame)
    told = said if isinstance(said, dict) else said[1]
    return msgspec.convert(told, Turned).reason if told.get("type") == "Turned" else ""


@asynccontextmanager
async def fuzzed(directory: Path) -> AsyncIterator[Fuzzed]:
    """A node to feed, which must serve as before in the end."""
    talks = await record(directory)
    settings = settings_of(directory, ["a", "b", "c"], PATIENT, faults=False)  # not as recorded: ports may be taken
    troubles: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: troubles.append(str(about)))
    with patch.object(process, "Server", Watched):  # so that its events are counted
        async with running(settings[A], settings[NodeId("c")]) as (node, _):
            subject = Fuzzed(settings[A], talks, troubles)
            subject.as_recorded()
            yield subject
            assert not node.task.done(), "the node stopped"
            # Node a may have been told that its disk is from the past: then it needs to hear from all others. What
            # it was told to write, and waits for node b, is written only now.
            async with running(settings[B]), await connect([settings[A].listen], timeout=PATIENCE_SECONDS) as client:
                while (await client.status()).lacking:
                    await asyncio.sleep(0.02)
                assert (await client.update(b"key-1", lambda _: b"and so on")).values == (b"and so on",)
                await client.put(b"a new key", b"value")
                assert (await client.get(b"a new key")).values == (b"value",)
            assert not troubles, troubles


async def fuzz_in_process(directory: Path, seeds: list[int], each: int) -> Fuzzed:
    async with fuzzed(directory) as subject:
        for seed in seeds:
            chance = Random(seed)
            for _ in range(each):
                subject.one(chance)
            await subject.settle()
        return subject


def check_in_process(directory: Path, seeds: list[int], each: int) -> None:
    """Feed so many frames; most are turned down, and memory does not grow."""
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    subject = asyncio.run(fuzz_in_process(directory, seeds, each))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    fed = subject.refused + subject.accepted
    print(f"{fed} frames: {subject.refused} turned down, {subject.accepted} taken; {grown:.0f} MiB more at the peak")
    assert fed == len(seeds) * each
    assert subject.refused > fed / 3
    assert subject.accepted > fed / 100
    assert grown < 200, "memory grew"


DEFAULT = settings.default
assert DEFAULT is not None


@settings(max_examples=max(5, DEFAULT.max_examples // 20))
@given(st.lists(st.integers(0, 2**32), min_size=4, max_size=4))
def test_mutated_frames_do_no_harm(tmp_path_factory: pytest.TempPathFactory, seeds: list[int]) -> None:
    check_in_process(tmp_path_factory.mktemp("fuzz"), seeds, 1_000)


@pytest.mark.deep
@settings(max_examples=50)
@given(st.lists(st.integers(0, 2**32), min_size=20, max_size=20))
def test_a_million_mutated_frames_do_no_harm(tmp_path_factory: pytest.TempPathFactory, seeds: list[int]) -> None:
    check_in_process(tmp_path_factory.mktemp("fuzz"), seeds, 1_000)


# Over sockets, and what else a peer may do to a connection.


async def over_sockets(directory: Path, seed: int, count: int) -> None:
    """The same over real connections: each frame is answered or turned down, never met with silence and a hang."""
    chance = Random(seed)
    async with fuzzed(directory) as subject:
        for _ in range(count):
            talk = chance.choice(subject.talks)
            at = chance.randrange(len(talk))
            bad = mutate(talk[at], chance, subject.everything)
            reader, writer = await asyncio.open_connection(*subject.settings.listen)
            writer.write(b"".join(map(framed, talk[: min(at, 1)])) + framed(bad))
            if chance.random() < 0.1:
                writer.transport.abort()
                continue
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 10)
            writer.close()
        assert not subject.troubles, subject.troubles


@settings(max_examples=1)
@given(st.integers(1, 2**32))
def test_mutated_frames_over_sockets_do_no_harm(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    asyncio.run(over_sockets(tmp_path_factory.mktemp("sockets"), seed, 500))


@pytest.mark.deep
@settings(max_examples=10)
@given(st.integers(1, 2**32))
def test_thousands_of_mutated_frames_over_sockets_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    asyncio.run(over_sockets(tmp_path_factory.mktemp("sockets"), seed, 1_000))


DECODERS = [value for _, value in sorted(vars(wire).items()) if isinstance(value, msgspec.msgpack.Decoder)]


@given(st.binary(max_size=200) | st.binary(max_size=4).map(lambda start: start * 5_000))
def test_a_decoder_raises_nothing_but_its_error(frame: bytes) -> None:
    assert len(DECODERS) >= 5
    for decoder in DECODERS:
        try:
            decode(decoder, memoryview(frame))
        except WireError as error:
            assert "\n" not in str(error)  # noqa: PT017  # an error is one of two outcomes


def test_contexts_that_were_forged_or_given_out_elsewhere_change_nothing(tmp_path: Path) -> None:
    """For every byte of a context: altered, it is refused; so is one of another key or of another cluster."""

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], THREE)
        async with running(*settings.values()), clients(settings[A]) as (client,):
            for key in (b"k", b"other"):
                await client.put(key, b"1")
            right, other = [(await client.get(key)).context for key in (b"k", b"other")]
            clock = Counts.of({Actor(A, "disk", 1): 2**60})
            bad = [other, "", "x", right[:-4], right + "AAAA", seal(b"another secret", Key(b"k"), clock)]
            bad += [seal(SECRET, Key(b"other"), clock)]
            swap = {at: "A" if right[at] != "A" else "B" for at in range(len(right))}
            bad += [right[:at] + swap[at] + right[at + 1 :] for at in swap]
            reader, writer = await asyncio.open_connection(*settings[A].listen)
            writer.write(framed(encode(wire.ClientHello(wire.PROTOCOL, ClientId("forger")))))
            for number, context in enumerate(bad, 1):
                writer.write(framed(encode(CallPut(number, Key(b"k"), Value(b"forged"), context))))
            for number in range(len(bad) + 1):  # the first frame is the welcome
                frame = await reader.readexactly(int.from_bytes(await reader.readexactly(LENGTH_BYTES)))
                if number:
                    reply = msgspec.msgpack.decode(frame, type=Reply)
                    assert isinstance(reply.told, Refused), f"context {bad[reply.call - 1]!r}: {reply.told}"
            writer.close()
            assert (await client.get(b"k")).values == (b"1",)
            await client.put(b"k", b"2", right)
            assert (await client.get(b"k")).values == (b"2",)

    asyncio.run(main())


def test_stalled_and_half_open_connections_cost_little_and_hinder_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accepted: list[Frames]
) -> None:
    """Who says nothing is shown out, before its hello and after it; who claims a large frame is given no room."""
    monkeypatch.setattr(door, "HELLO_SECONDS", 1.0)
    monkeypatch.setattr(session, "CLIENT_SILENCE_SECONDS", 1.0)
    patient = msgspec.structs.replace(THREE, put_timeout_ms=30_000)  # the machine may be busy
    hello = framed(encode(wire.ClientHello(wire.PROTOCOL, ClientId("staller"))))
    large = call_bytes(patient.limits).to_bytes(LENGTH_BYTES) + b"start"
    stalled = (b"", b"\0", hello[:9], hello, hello + large)

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], patient)
        async with running(*settings.values()) as nodes, clients(settings[A]) as (client,):
            before, opened = len(accepted), []
            for number in range(150):
                opened.append(await asyncio.open_connection(*settings[A].listen))
                opened[-1][1].write(stalled[number % len(stalled)])
            theirs = accepted[before:]
            for number in range(20):
                await client.put(b"k%d" % number, b"v")
                assert max(len(frames._room) for frames in theirs) <= ROOM_BYTES
            for number, (reader, writer) in enumerate(opened):
                said = frames_in(await reader.read())
                if number % len(stalled) < 3:
                    assert [turned(frame) for frame in said] == ["node a heard no hello within 1 s"]
                else:
                    assert [msgspec.msgpack.decode(frame)["type"] for frame in said] == ["Welcome"]
                writer.transport.abort()
            status = await client.status()
            assert (status.clients, status.counts.turned_away) == (1, 90)
            assert sum("heard no hello" in line for line in nodes[0].said) == 90
            assert sum(line.startswith("client gave no sign of life") for line in nodes[0].said) == 60
            assert max(len(frames._room) for frames in theirs) == 0

    asyncio.run(main())
