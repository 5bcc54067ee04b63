"""Frames and links: what arrives in pieces is whole, what is malformed closes its own connection, and nothing grows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.errors import UserError
from impl.frames import Frames
from impl.link import PeerLink, Queue
from impl.local import free_ports
from impl.transport import Address, listen, parse_address
from impl.wire import (
    HEARTBEAT,
    LENGTH_BYTES,
    PARCEL_BYTES,
    PARCEL_MESSAGES,
    PROTOCOL,
    Alive,
    CallGet,
    CallStatus,
    ClientHello,
    Envelope,
    Parcel,
    PeerHello,
    Reply,
    Status,
    Turned,
    Welcome,
    WireError,
    cluster_digest,
    encode,
    framed,
    parcel_decoder,
    parcels,
)
from spec.messages import Repair, Write, Written
from spec.siblings import NO_VERSIONS
from spec.types import LARGEST, ClientId, Config, Key, Limits, NodeId, RequestId
from tests.nodes import ONE, SECRET, THREE, clients, running, settings_of

pytestmark = pytest.mark.usefixtures("nobody_suspected")

A, B = NodeId("a"), NodeId("b")


def feed(frames: Frames, data: bytes, sizes: list[int]) -> None:
    """Let bytes arrive in pieces of these sizes, as an event loop would."""
    while data:
        room = frames.get_buffer(-1)
        assert len(room) > 0
        size = min(sizes.pop(0) if sizes else len(data), len(room), len(data))
        room[:size] = data[:size]
        room.release()
        data = data[size:]
        frames.buffer_updated(size)


@given(st.lists(st.binary(max_size=300) | st.just(b"y" * 200_000), max_size=6), st.lists(st.integers(1, 100_000)))
def test_frames_arrive_whole_and_in_order_however_they_are_cut(bodies: list[bytes], sizes: list[int]) -> None:
    frames, got = Frames(200_000), list[bytes]()
    frames.on_frame = lambda frame: got.append(bytes(frame))
    feed(frames, b"".join(map(framed, bodies)), sizes)
    assert got == bodies


def test_no_room_is_made_for_a_frame_that_is_too_large() -> None:
    frames, refused = Frames(1000), list[str]()
    frames.on_refused = refused.append
    feed(frames, (2**32 - 1).to_bytes(4), [])
    assert refused == ["a frame of 2147483647 bytes; the limit is 1000"]
    large = Frames(LARGEST)
    feed(large, LARGEST.to_bytes(4) + b"x" * 10, [])
    assert len(large.get_buffer(-1)) < 100_000


def test_room_for_a_large_frame_is_given_back() -> None:
    frames = Frames(10**6)
    feed(frames, framed(b"x" * 10**6), [])
    assert len(frames.get_buffer(-1)) < 100_000


@given(st.lists(st.tuples(st.binary(max_size=9), st.integers(1, 3))), st.integers(1, 9), st.integers(1, 40))
def test_a_queue_keeps_the_newest_within_its_limits(sent: list[tuple[bytes, int]], most: int, size: int) -> None:
    queue = Queue(most, size)
    for frame, messages in sent:
        queue.put(frame, messages)
    messages, kept = len(queue), list[bytes]()
    while queue:
        kept.append(queue.take())
    gone = len(sent) - len(kept)
    assert kept == [frame for frame, _ in sent[gone:]]
    assert (queue.lost, messages) == (sum(m for _, m in sent[:gone]), sum(m for _, m in sent[gone:]))
    assert messages <= most
    assert sum(map(len, kept[1:])) <= size
    if gone:
        more = sent[gone - 1 :]
        assert sum(m for _, m in more) > most or sum(len(frame) for frame, _ in more[1:]) > size


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, PARCEL_MESSAGES))
def test_messages_leave_in_order_in_parcels_that_the_other_side_takes(sizes: list[int], copies: int) -> None:
    messages = [Repair(Key(b"k" * (size * PARCEL_BYTES // 3)), NO_VERSIONS) for size in sizes]
    envelopes = [Envelope(1, 0, message) for message in messages] * (copies if sum(sizes) == 0 else 1)
    got = list[Envelope]()
    for body, count in parcels(7, envelopes):
        parcel = parcel_decoder.decode(body)
        assert (parcel.epoch, len(parcel.envelopes)) == (7, count)
        assert count == 1 or len(body) <= PARCEL_BYTES
        got += parcel.envelopes
    assert got == envelopes


@pytest.mark.parametrize("text", ["", "x", ":1", "h:", "h:0", "h:65536", "h:-1", "h:1x", "7401"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not an address"):
        parse_address(text)


def test_addresses() -> None:
    assert str(parse_address("127.0.0.1:7401")) == "127.0.0.1:7401"
    assert str(parse_address("[::1]:7401")) == "[::1]:7401"


# Real nodes from here on.


class Raw:
    """A connection that says whatever a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, body: bytes) -> None:
        self.writer.write(framed(body))
        await self.writer.drain()

    async def hear(self) -> bytes | None:
        """The next frame; None when the connection is closed."""
        try:
            size = int.from_bytes(await self.reader.readexactly(4))
            return await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None

    async def turned(self) -> str:
        """Why the connection was turned down, after which it is closed."""
        frame = await self.hear()
        assert frame is not None
        said = msgspec.msgpack.decode(frame)
        told = said if isinstance(said, dict) else said[1]
        assert await self.hear() is None
        return msgspec.convert(told, Turned).reason


def with_node(test: Callable[[Callable[[], Coroutine[Any, Any, Raw]]], Coroutine[Any, Any, None]], path: Path) -> None:
    """Run a test against node a of three, the others being down; whatever the test does, the node still serves."""

    async def main() -> None:
        settings = settings_of(path, ["a", "b", "c"], THREE)
        opened: list[Raw] = []

        async def connect() -> Raw:
            opened.append(Raw(*await asyncio.open_connection(*settings[A].listen)))
            return opened[-1]

        async with running(settings[A]) as nodes, clients(settings[A]) as (client,):
            steps = (await client.status()).steps
            await test(connect)
            status = await client.status()
            assert status.steps == steps, "nothing of it became a step"
            assert not nodes[0].task.done()
            for raw in opened:
                raw.writer.close()

    asyncio.run(main())


DIGEST = cluster_digest(SECRET, THREE, settings_of(Path(), ["a", "b", "c"], THREE)[A].members)
PEER = PeerHello(PROTOCOL, B, A, DIGEST)
CLIENT = ClientHello(PROTOCOL, ClientId("me"))
MESSAGE = Written(RequestId(ClientId("me"), 1))
PARCEL = Parcel(1, [Envelope(1, 0, MESSAGE)])
MISPLACED = [Write(MESSAGE.request, Key(b"k"), NO_VERSIONS, owner) for owner in (NodeId("x"), A)]
"""Writes to node a for nobody, and for node a as if it stood in for itself."""

BAD_HELLOS: list[tuple[bytes, str]] = [
    (b"", "malformed"),
    (b"\xc1", "malformed"),
    (b"\x93\x01", "malformed"),
    (b"\x91" * 60_000, "malformed"),
    (encode(CallStatus(-1)), "malformed"),
    (encode(PARCEL), "malformed"),
    (encode(PeerHello(PROTOCOL + 1, B, A, DIGEST)), f"speaks protocol {PROTOCOL}, not {PROTOCOL + 1}"),
    (encode(ClientHello(PROTOCOL + 1, ClientId("me"))), f"speaks protocol {PROTOCOL}, not {PROTOCOL + 1}"),
    (encode(ClientHello(PROTOCOL, ClientId(""))), "malformed"),
    (encode(PeerHello(PROTOCOL, B, B, DIGEST)), "this is node a, not b"),
    (encode(PeerHello(PROTOCOL, NodeId("x"), A, DIGEST)), "knows no other node x"),
    (encode(PeerHello(PROTOCOL, A, A, DIGEST)), "knows no other node a"),
    (encode(PeerHello(PROTOCOL, B, A, b"other")), "differ in configuration"),
]


def test_who_does_not_introduce_itself_properly_is_turned_away(tmp_path: Path) -> None:
    async def test(connect: Callable[[], Coroutine[Any, Any, Raw]]) -> None:
        for hello, reason in BAD_HELLOS:
            raw = await connect()
            await raw.say(hello)
            assert reason in await raw.turned()

    with_node(test, tmp_path)


def test_a_malformed_frame_closes_its_connection_only(tmp_path: Path) -> None:
    frames = [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        encode(PEER),
        encode(Envelope(1, 0, MESSAGE)),
        encode([Envelope(1, 0, MESSAGE)]),
        encode(PARCEL)[:-2],
        encode(Parcel(1, [Envelope(1, 0, Repair(Key(b"k"), NO_VERSIONS))]))[:-2],
        encode([1, [[1, 0, {"type": "Repair", "key": b"k", "siblings": [[1, 2]]}]]]),
        encode([0, [[1, 0, MESSAGE]]]),
        encode([-1, [[1, 0, MESSAGE]]]),
        encode([1, [[0, 0, MESSAGE]]]),
        encode([1, [[1, -1, MESSAGE]]]),
        encode([1, [[B, 1, 1, 0, MESSAGE]]]),
        encode(Parcel(1, [Envelope(1, 0, MESSAGE)] * (PARCEL_MESSAGES + 1))),
        *(encode(Parcel(1, [Envelope(1, 0, MESSAGE), Envelope(1, 1, write)])) for write in MISPLACED),
    ]

    async def test(connect: Callable[[], Coroutine[Any, Any, Raw]]) -> None:
        for hello in (PEER, CLIENT):
            for frame in frames:
                raw = await connect()
                await raw.say(encode(hello))
                welcome = await raw.hear()
                assert welcome is not None
                assert msgspec.msgpack.decode(welcome, type=Welcome).node == A
                await raw.say(frame)
                assert await raw.turned()
            raw = await connect()
            await raw.say(encode(hello))
            await raw.hear()
            raw.writer.write((THREE.limits.frame_bytes + 1).to_bytes(4))
            assert "the limit is" in await raw.turned()

    with_node(test, tmp_path)


def test_nobody_but_a_node_that_has_introduced_itself_may_send_pieces(tmp_path: Path) -> None:
    async def test(connect: Callable[[], Coroutine[Any, Any, Raw]]) -> None:
        for hello, bodies, reason in [
            (None, encode(CLIENT), "here messages are whole"),
            (None, encode(PEER), "here messages are whole"),
            (CLIENT, encode(CallStatus(-1)), "here messages are whole"),
            (PEER, b"\xc1 is no parcel", "malformed"),  # it was put together
        ]:
            raw = await connect()
            if hello is not None:
                await raw.say(encode(hello))
                await raw.hear()
            raw.writer.write(framed(bodies, 5))
            assert reason in await raw.turned()

    with_node(test, tmp_path)


def test_a_client_may_ask_nothing_that_is_no_call(tmp_path: Path) -> None:
    async def test(connect: Callable[[], Coroutine[Any, Any, Raw]]) -> None:
        for bad in (encode(CallGet(0, Key(b"k"))), encode(PARCEL), encode({"type": "CallX"})):
            raw = await connect()
            await raw.say(encode(CLIENT))
            await raw.hear()
            await raw.say(encode(CallStatus(-1)))
            answer = await raw.hear()
            assert answer is not None
            assert isinstance(msgspec.msgpack.decode(answer, type=Reply).told, Status)
            await raw.say(bad)
            assert "malformed" in await raw.turned()

    with_node(test, tmp_path)


def test_a_client_that_asks_faster_than_the_node_decides_has_to_wait(tmp_path: Path) -> None:
    """The queue of events stays short, and no call is forgotten."""
    limits = Limits(queued_messages=8, batch_steps=2)
    config = Config(n=1, r=1, w=1, partitions=8, tokens=8, limits=limits)

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], config).values()
        async with running(settings), clients(settings) as (client,):
            calls = [client.put(b"%d" % i, b"x" * 5000) for i in range(300)]
            await asyncio.gather(*calls)
            assert (await client.status()).batches >= 300 / limits.batch_steps

    asyncio.run(main())


def test_a_client_that_does_not_listen_is_not_listened_to(tmp_path: Path) -> None:
    """Answers that nobody takes do not pile up: the node stops reading the calls, and resumes when it can."""
    value, count = b"x" * 200_000, 500

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        async with running(settings), clients(settings) as (client,):
            await client.put(b"k", value)
            raw = Raw(*await asyncio.open_connection(*settings.listen))
            await raw.say(encode(CLIENT))
            await raw.hear()
            before = (await client.status()).steps
            calls = b"".join(framed(encode(CallGet(i + 1, Key(b"k" + b" " * 4000)))) for i in range(count))
            calls += b"".join(framed(encode(CallGet(count + i + 1, Key(b"k")))) for i in range(count))
            raw.writer.write(calls)
            steps = 0
            while steps < (steps := (await client.status()).steps):
                await asyncio.sleep(0.2)
            assert steps - before < 2 * count, "the node went on deciding for a client that does not listen"
            for _ in range(2 * count):
                assert await raw.hear() is not None
            raw.writer.close()
            await raw.writer.wait_closed()

    asyncio.run(main())


def test_links_mend_themselves_and_what_waited_arrives(tmp_path: Path) -> None:
    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], THREE)
        async with running(settings[A], settings[B]) as (_, b), clients(settings[A]) as (client,):
            for i in range(3):
                await client.put(b"k%d" % i, b"v")
            await b.end()
            async with running(settings[B]):
                while not all(peer.connected for peer in (await client.status()).peers if peer.name == B):
                    await asyncio.sleep(0.005)
                await client.put(b"k", b"v")

    asyncio.run(main())


def test_a_peer_that_falls_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that shows that it is alive is not, and is answered."""
    monkeypatch.setattr("impl.peers.SILENCE_SECONDS", 0.4)

    async def test(connect: Callable[[], Coroutine[Any, Any, Raw]]) -> None:
        silent, lively = await connect(), await connect()
        for raw in (silent, lively):
            await raw.say(encode(PEER))
            await raw.hear()
        ended = asyncio.create_task(silent.hear())
        while not ended.done():
            lively.writer.write(HEARTBEAT)
            assert await lively.hear() == encode(Alive())
            await asyncio.sleep(0.02)
        assert await ended is None
        for _ in range(3):  # it still lives
            lively.writer.write(HEARTBEAT)
            assert await lively.hear() == encode(Alive())

    with_node(test, tmp_path)


def test_a_node_that_falls_silent_is_given_up_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes what it is sent, so that nothing but its silence tells."""
    monkeypatch.setattr("impl.link.SILENCE_SECONDS", 0.3)
    monkeypatch.setattr("impl.link.HEARTBEAT_SECONDS", 0.05)

    async def main() -> None:
        heard, said = list[list[bytes]](), list[str]()

        def accept() -> Frames:
            frames, mine = Frames(10_000), list[bytes]()
            heard.append(mine)

            def take(frame: memoryview) -> None:
                mine.append(bytes(frame))
                if len(mine) == 1:
                    frames.send(Welcome(PROTOCOL, B, "disk", 10_000, 10_000, 10_000, 9))
                elif len(heard) > 1:  # the second time it answers
                    frames.send(Alive())

            frames.on_frame = take
            return frames

        address = Address("127.0.0.1", free_ports(1)[0])
        server = await listen(address, accept)
        await server.start_serving()
        link = PeerLink(address, PEER, Limits(), said.append)
        running = asyncio.create_task(link.run())
        while len(heard) < 2 or len(heard[1]) < 20:  # twenty heartbeats last longer than a silence may
            await asyncio.sleep(0.02)
        assert said == ["connected", "gave no sign of life", "disconnected", "connected"]
        assert [mine[0] for mine in heard] == [encode(PEER)] * 2
        assert {frame for mine in heard for frame in mine[1:]} == {HEARTBEAT[LENGTH_BYTES:]}
        running.cancel()
        server.close()

    asyncio.run(main())


def test_a_port_in_use_is_refused() -> None:
    async def main() -> None:
        address = Address("127.0.0.1", free_ports(1)[0])
        first = await listen(address, lambda: Frames(1))
        with pytest.raises(UserError, match="the port is in use"):
            await listen(address, lambda: Frames(1))
        first.close()
        with pytest.raises(UserError, match="cannot listen on"):
            await listen(Address("192.0.2.1", 1), lambda: Frames(1))

    asyncio.run(main())


def test_bytes_that_do_not_decode_are_one_typed_error() -> None:
    from impl.wire import call_decoder, decode

    for frame in (b"", b"\xd9\x01\xff", b"\x91" * 100_000, b"\x82\xa4type\xa3Get"):
        with pytest.raises(WireError, match="malformed frame"):
            decode(call_decoder, memoryview(frame))
