"""Messages that are larger than a frame: cut where they leave, whole again where they arrive, bounded on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from impl.client import Client
from impl.frames import ROOM_BYTES, Frames
from impl.inspection import inspect_file
from impl.link import PeerLink
from impl.settings import Settings
from impl.transport import Address
from impl.wire import LENGTH_BYTES, MORE, CallFaults, WireError, encode, framed, reply_bytes
from spec.siblings import Siblings
from spec.types import LARGEST, Limits, NodeId
from tests.nodes import THREE, clients, running, settings_of
from tests.test_fuzz_frames import Wire
from tests.test_limits import peer_hello
from tests.test_transport import PEER, feed

A, B = NodeId("a"), NodeId("b")
BODIES = st.lists(st.binary(max_size=300) | st.integers(0, 150_000).map(lambda size: b"y" * size), max_size=6)


def opened(limit: int, message_limit: int) -> tuple[Frames, Wire, list[bytes], list[str]]:
    """A connection, its other side, and what it will be given and why it refuses."""
    frames, other, got, refused = Frames(limit), Wire(), list[bytes](), list[str]()
    frames.message_limit = message_limit
    frames.on_frame, frames.on_refused = lambda frame: got.append(bytes(frame)), refused.append
    frames.connection_made(other)
    return frames, other, got, refused


def held(frames: Frames) -> int:
    """The bytes that a connection has made room for."""
    return len(frames._room) + len(frames._gathered or b"")


def piece(body: bytes, *, more: bool) -> bytes:
    """A frame that is a part of a message."""
    return (len(body) + MORE * more).to_bytes(LENGTH_BYTES) + body


# What is sent.


@given(st.binary(max_size=500), st.integers(1, 600))
def test_a_message_is_cut_into_full_frames_and_a_rest(body: bytes, most: int) -> None:
    stream, sizes, whole = framed(body, most), list[int](), b""
    while stream:
        length, more = int.from_bytes(stream[:LENGTH_BYTES]) % MORE, stream[0] >= 128
        whole += stream[LENGTH_BYTES : LENGTH_BYTES + length]
        stream = stream[LENGTH_BYTES + length :]
        sizes.append(length)
        assert more == bool(stream)
    assert whole == body
    assert all(size == most for size in sizes[:-1])
    assert 0 < sizes[-1] <= most or not body


def test_no_limit_is_so_large_that_a_length_says_that_more_follows() -> None:
    assert LARGEST < MORE
    assert reply_bytes(Limits(), LARGEST) < MORE


# What arrives.


@given(BODIES, st.integers(1, 100_000), st.lists(st.integers(1, 100_000)))
def test_messages_arrive_whole_and_in_order_however_they_are_cut(
    bodies: list[bytes], most: int, sizes: list[int]
) -> None:
    """By their sender, at any limit, and by the network, anywhere; and nothing is kept of them."""
    most = max(most, max(map(len, bodies), default=0) // 1000)  # so that it is soon over
    frames, other, got, refused = opened(most, 150_000)
    feed(frames, b"".join(framed(body, most) for body in bodies), sizes)
    assert (got, refused, other.closed) == (bodies, [], False)
    assert held(frames) == ROOM_BYTES


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.lists(st.integers(1, 9)))
def test_pieces_need_not_be_full(parts: list[int], sizes: list[int]) -> None:
    frames, _, got, refused = opened(30, 1000)
    bodies = [bytes([at]) * size for at, size in enumerate(parts)]
    stream = b"".join(piece(body, more=at < len(bodies) - 1) for at, body in enumerate(bodies))
    feed(frames, stream + framed(b"next"), sizes)
    assert (got, refused) == ([b"".join(bodies), b"next"], [])


FULL = piece(b"x" * 100, more=True)
REFUSED: list[tuple[str, int, bytes, str]] = [
    ("a piece beyond a frame", 350, FULL + (101 + MORE).to_bytes(4), "a frame of 101 bytes; the limit is 100"),
    ("a last piece beyond a frame", 350, FULL + (101).to_bytes(4), "a frame of 101 bytes; the limit is 100"),
    ("the largest length", 350, b"\xff" * 4, "a frame of 2147483647 bytes; the limit is 100"),
    ("a whole too large", 350, FULL * 3 + (51 + MORE).to_bytes(4), "a message of 351 bytes or more; the limit is 350"),
    ("a last too much", 350, FULL * 3 + (51).to_bytes(4), "a message of 351 bytes or more; the limit is 350"),
    ("an empty piece", 350, piece(b"", more=True) * 50, "an empty piece of a message"),
    ("an empty piece later", 350, FULL + piece(b"", more=True), "an empty piece of a message"),
    ("an empty end", 350, FULL + piece(b"", more=False), "an empty piece of a message"),
    ("no pieces allowed", 0, FULL, "a piece of a message; here messages are whole"),
    ("no empty ones either", 0, piece(b"", more=True), "a piece of a message; here messages are whole"),
]


@pytest.mark.parametrize(
    ("message_limit", "stream", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_message_that_may_not_be_is_refused_once_and_nothing_is_kept(
    message_limit: int, stream: bytes, reason: str, size: int
) -> None:
    frames, other, got, refused = opened(100, message_limit)
    feed(frames, framed(b"before") + stream + FULL * 20 + framed(b"after"), [size] * 3_000)
    assert (got, refused, other.closed) == ([b"before"], [reason], True)
    assert held(frames) == ROOM_BYTES


def test_room_for_a_message_in_pieces_grows_with_it_and_is_given_back() -> None:
    """Also when it is turned down, and when its connection ends, whatever the other side claims."""
    frame, message = 2**20, 5 * 2**20
    for ending in (framed(b"x" * frame), (2**30).to_bytes(LENGTH_BYTES), None):
        frames, _, got, _ = opened(frame, message)
        for count in range(1, 5):
            feed(frames, (frame + MORE).to_bytes(LENGTH_BYTES), [])
            assert held(frames) == (count - 1) * frame + ROOM_BYTES, "room was made for what has not arrived"
            feed(frames, b"x" * frame, [])
            assert held(frames) == count * frame + ROOM_BYTES
        if ending is None:
            frames.connection_lost(None)
            assert held(frames) == 0
        else:
            feed(frames, ending, [])
            assert held(frames) == ROOM_BYTES
            assert [len(body) for body in got] == ([message] if len(ending) > LENGTH_BYTES else [])


def test_what_is_malformed_as_a_whole_is_refused_as_a_frame_is() -> None:
    def malformed(_: memoryview) -> None:
        raise WireError("malformed")

    frames, other, _, refused = opened(100, 300)
    frames.on_frame = malformed
    feed(frames, framed(b"x" * 250, 100) + framed(b"after"), [])
    assert (refused, other.closed, held(frames)) == (["malformed"], True, ROOM_BYTES)


def test_a_held_connection_hands_no_message_on() -> None:
    async def main() -> None:
        frames, _, got, _ = opened(100, 300)
        feed(frames, FULL, [])
        frames.hold("test", True)
        feed(frames, framed(b"x" * 50), [])
        assert got == []
        frames.hold("test", False)
        await asyncio.sleep(0)
        assert got == [b"x" * 150]

    asyncio.run(main())


# Links.


def test_a_turn_of_large_messages_does_not_pass_by_the_queue() -> None:
    """All but what the connection took at once waits there, where it is bounded, and leaves in its order."""
    limits = Limits(key_bytes=1, value_bytes=1, siblings=1, frame_bytes=140_000, message_bytes=300_000)

    class Slow(Wire):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            frames.pause_writing()

    async def main() -> None:
        link = PeerLink(Address("127.0.0.1", 1), PEER, limits, lambda _: None)
        link._frames, link.connected = frames, True
        frames.connection_made(other)
        frames.on_slow = lambda slow: None if slow else link._drain()
        for number in range(5):
            link.send(b"%d" % number * 140_000)
        assert (len(link.queue), link.queue.lost) == (2, 2)
        while link.queue:
            frames.resume_writing()
        arrived, _, got, _ = opened(limits.frame_bytes, limits.message_bytes)
        feed(arrived, bytes(other.said), [])
        assert got == [b"%d" % number * 140_000 for number in (0, 3, 4)]

    frames, other = Frames(100), Slow()
    asyncio.run(main())


def test_the_largest_message_can_wait_for_a_peer_and_a_larger_one_is_lost_in_a_line() -> None:
    limits = Limits(key_bytes=1, value_bytes=1, siblings=1, frame_bytes=100, message_bytes=1000)
    said = list[str]()
    link = PeerLink(Address("127.0.0.1", 1), PEER, limits, said.append)
    link.send(b"x" * 1000)
    assert (len(link.queue), link.queue.lost, said) == (1, 0, [])
    link.send(b"y" * 100)
    assert (len(link.queue), link.queue.lost, said) == (2, 0, [])
    link.send(b"x" * 1001, 3)
    assert (len(link.queue), link.queue.lost) == (2, 3)
    assert said == ["takes no message so large: 1001 bytes, the limit is 1000"]


# Real nodes from here on.


@pytest.mark.usefixtures("nobody_suspected")
def test_a_piece_is_a_sign_of_life(tmp_path: Path) -> None:
    """A large message takes its time, and heartbeats have to wait behind it."""

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], THREE)[A]
        async with running(settings), clients(settings) as (store,):
            reader, writer = await asyncio.open_connection(*settings.listen)
            writer.write(framed(encode(peer_hello(settings))))

            async def heard() -> bool:
                about = {peer.name: peer.opinion for peer in (await store.status()).peers}
                return about[B].heard_seconds is not None

            await reader.readexactly(LENGTH_BYTES)  # it is let in
            assert not await heard()
            writer.write(piece(b"x", more=True))
            while not await heard():
                await asyncio.sleep(0.005)
            writer.close()

    asyncio.run(main())


LIMITS = Limits(key_bytes=1_000, value_bytes=600_000, siblings=2, frame_bytes=3 * 2 * 601_000)
"""With the smallest frames that there may be; five nodes make ten siblings of the largest values."""


def test_replicas_are_equal_again_although_their_set_outgrew_a_frame(tmp_path: Path) -> None:
    """Fallbacks on five sides of a cut add siblings; what they owe arrives, can be read, and is resolved by one put."""
    config = structs.replace(THREE, r=1, w=1, limits=LIMITS, put_timeout_ms=5_000, get_timeout_ms=5_000)
    names = [NodeId(name) for name in "abcde"]
    settings = settings_of(tmp_path, names, config)
    values = sorted(b"%s%d" % (name.encode(), number) * 300_000 for name in names for number in range(2))

    async def cut_and_heal() -> None:
        async with running(*settings.values()) as nodes, clients(*settings.values()) as stores:
            for name, store in zip(names, stores, strict=True):
                await store.faults(CallFaults(0, cut=tuple(other for other in names if other != name)))
            for name, store in zip(names, stores, strict=True):
                while not all(peer.opinion.why for peer in (await store.status()).peers):
                    await asyncio.sleep(0.02)
                for number in range(2):
                    await store.put(b"k", b"%s%d" % (name.encode(), number) * 300_000)
            for store in stores:
                await store.faults(CallFaults(0))
            await drained(stores)
            assert not any("disconnected" in line or "so large" in line for node in nodes for line in node.said)

    async def resolve() -> None:
        async with running(*settings.values()), clients(*settings.values()) as stores:
            found = [await store.get(b"k") for store in stores]
            assert [sorted(each.values) for each in found] == [values] * len(names)
            await stores[0].put(b"k", b"all in one", found[0].context)
            for store in stores:
                while (await store.get(b"k")).values != (b"all in one",):
                    await asyncio.sleep(0.02)
            await drained(stores)

    asyncio.run(cut_and_heal())
    held = [siblings for each in settings.values() for siblings in siblings_in(each)]
    assert len(held) == config.n
    assert all(siblings == held[0] for siblings in held)
    assert len(encode(held[0])) > LIMITS.frame_bytes
    assert sorted(version.value for version in held[0]) == values
    asyncio.run(resolve())
    left = [siblings for each in settings.values() for siblings in siblings_in(each)]
    assert [len(siblings) for siblings in left] == [1] * config.n


async def drained(stores: list[Client]) -> None:
    """Wait until nobody waits for anybody, or owes anybody anything."""
    for store in stores:
        while (status := await store.status()).requests or any(peer.owed for peer in status.peers):
            await asyncio.sleep(0.02)


def siblings_in(settings: Settings) -> list[Siblings]:
    """What the data file of a node at rest holds of the key `k`, if it has a row of it."""
    with inspect_file(settings.data) as found:
        return [row.siblings for _, row in found.rows(b"k", None)]
