"""Whoever does not keep up makes others wait, or loses what may be lost: nothing grows, and others are served.

On real sockets, in both directions: a client that does not read, a node that does not read, and what a set of siblings
that is larger than any message may cost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from impl import link, peers
from impl.client import Client, MayHaveHappened, OperationFailed, OperationRefused, connect
from impl.frames import ROOM_BYTES, Frames, ignore
from impl.link import PeerLink
from impl.local import free_ports
from impl.settings import Settings
from impl.transport import Address, listen
from impl.wire import HEARTBEAT, PROTOCOL, CallFaults, CallGet, ClientHello, Welcome, encode, framed
from spec.types import ClientId, Key, Limits, NodeId
from tests.nodes import ONE, THREE, clients, running, settings_of
from tests.test_limits import peer_hello

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
CALLS_AT_ONCE = Limits().calls_at_once
SOCKET_BYTES = 8 * 1024 * 1024
"""More than the system keeps of a connection on this machine, both sides together."""


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> dict[Address, PeerLink]:
    """For each address, the link that was made to it last."""
    made: dict[Address, PeerLink] = {}

    class Seen(PeerLink):
        def __init__(self, address: Address, *args: Any) -> None:  # whatever it takes
            super().__init__(address, *args)
            made[address] = self

    monkeypatch.setattr(peers, "PeerLink", Seen)
    return made


def unsent(frames: Frames) -> int:
    """Bytes that a connection keeps because the other side does not take them."""
    transport = frames._transport
    return 0 if transport is None else transport.get_write_buffer_size()


async def deaf_client(settings: Settings, gets: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that asks so many times for the key `k`, under a name that nobody else has, and does not read."""
    reader, writer = await asyncio.open_connection(*settings.listen, limit=1024)
    writer.write(framed(encode(ClientHello(PROTOCOL, ClientId(f"deaf {id(writer)}")))))
    writer.writelines(framed(encode(CallGet(number, Key(b"k")))) for number in range(1, gets + 1))
    return reader, writer


async def settles(client: Client) -> int:
    """The steps of a node, once it takes no more of them."""
    steps = -1
    while steps < (steps := (await client.status()).steps):
        await asyncio.sleep(0.2)
    return steps


@pytest.mark.parametrize("size", [2_000, 20_000])
def test_a_client_that_does_not_read_costs_so_many_answers_and_no_more(
    tmp_path: Path, accepted: list[Frames], size: int
) -> None:
    """The node stops reading its calls; others are served meanwhile; each call is answered once somebody reads."""
    count = 2 * SOCKET_BYTES // size + 2 * CALLS_AT_ONCE

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        async with running(settings), clients(settings) as (other,):
            await other.put(b"k", b"x" * size)
            reader, writer = await deaf_client(settings, count)
            steps = await settles(other)
            assert steps < count, "the node went on deciding for a client that does not listen"
            deaf = accepted[-1]
            assert unsent(deaf) <= (CALLS_AT_ONCE + 1) * (size + 500)
            assert len(deaf._room) <= ROOM_BYTES
            for number in range(5):
                await other.put(b"other", b"%d" % number, (await other.get(b"other")).context)
            assert (await other.status()).waiting <= 1
            for _ in range(count + 1):
                await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
            writer.close()

    asyncio.run(main())


def test_a_peer_that_sends_heartbeats_and_reads_no_answers_is_not_answered(
    tmp_path: Path, accepted: list[Frames]
) -> None:
    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], THREE)[A]
        async with running(settings), clients(settings) as (other,):
            _, writer = await asyncio.open_connection(*settings.listen, limit=1024)
            deaf = accepted[-1]
            writer.write(framed(encode(peer_hello(settings))))
            for _ in range(20):
                writer.write(HEARTBEAT * (SOCKET_BYTES // 100))
                await writer.drain()
                await other.status()
            assert deaf.slow
            assert unsent(deaf) < 2**20
            writer.transport.abort()

    asyncio.run(main())


class Deaf:
    """Something that is taken for a node, and does not read after it was greeted."""

    def __init__(self, name: NodeId) -> None:
        self._name, self._opened = name, list[Frames]()
        self.deaf = True

    def accept(self) -> Frames:
        frames = Frames(2**26)
        self._opened.append(frames)

        def greet(_: memoryview) -> None:
            frames.send(Welcome(PROTOCOL, self._name, "disk", 2**26, 2**26, 2**26, CALLS_AT_ONCE))
            frames.on_frame = ignore
            frames.hold("deaf", self.deaf)

        frames.on_frame = greet
        return frames

    @asynccontextmanager
    async def at(self, address: Address) -> AsyncIterator[None]:
        server = await listen(address, self.accept)
        await server.start_serving()
        try:
            yield
        finally:
            server.close()
            for frames in self._opened:
                frames.abort()


def test_a_node_that_does_not_read_costs_its_queue_and_no_acknowledged_write(
    tmp_path: Path, links: dict[Address, PeerLink], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Node b takes nothing: the others write and read as if it were away, and when it is back nothing is missing."""
    monkeypatch.setattr(link, "SILENCE_SECONDS", 600.0)  # so that nothing but the queue bounds it
    limits = Limits(key_bytes=100, value_bytes=100_000, siblings=4, frame_bytes=2_000_000, message_bytes=2_000_000)
    limits = structs.replace(limits, queued_messages=15)
    config = structs.replace(THREE, limits=limits, put_timeout_ms=30_000, get_timeout_ms=30_000)
    count = 2 * SOCKET_BYTES // limits.value_bytes

    def value(number: int) -> bytes:
        return b"%5d" % number * 20_000

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], config)
        async with (
            running(settings[A]) as (a,),
            running(settings[C]),
            clients(settings[A], settings[C]) as (first, second),
        ):
            async with Deaf(B).at(settings[B].listen):
                while "peer connected peer=b" not in a.said:
                    await asyncio.sleep(0.005)
                link, most = links[settings[B].listen], 0
                for number in range(count):
                    await first.put(b"%d" % number, value(number))
                    most = max(most, link.queue._size + (unsent(link._frames) if link._frames else 0))
                assert most <= limits.message_bytes + 4 * limits.value_bytes
                peer = next(peer for peer in (await first.status()).peers if peer.name == B)
                assert 0 < peer.queued <= limits.queued_messages
                assert peer.lost > 0
            async with running(settings[B]), clients(settings[B]) as (third,):
                async with asyncio.timeout(60):  # all are new to it, and it to them: they fetch from each other
                    while any([(await store.status()).lacking for store in (first, second, third)]):
                        await asyncio.sleep(0.05)
                for number in range(count):
                    for store in (second, third):
                        assert (await store.get(b"%d" % number)).values == (value(number),)

    asyncio.run(main())


def test_a_client_keeps_so_many_calls_for_a_node_that_does_not_read() -> None:
    """What was never sent has failed for certain; of the rest nobody knows."""
    size, count = 100_000, 1_000

    async def main() -> None:
        where = Address("127.0.0.1", free_ports(1)[0])
        async with Deaf(A).at(where), await connect([where], timeout=2) as store:
            (connection,) = store._routes._connections.values()
            calls = asyncio.gather(
                *(store.put(b"%d" % number, b"v" * size) for number in range(count)), return_exceptions=True
            )
            most = 0
            while not calls.done():
                await asyncio.sleep(0.01)
                most = max(most, unsent(connection._frames))
            assert 0 < most <= CALLS_AT_ONCE * (size + 200)
            kinds = Counter(map(type, await calls))
            assert set(kinds) == {MayHaveHappened, OperationFailed}
            assert kinds[MayHaveHappened] <= CALLS_AT_ONCE

    asyncio.run(main())


@pytest.mark.parametrize(
    ("waiting", "looks"),
    [([0, 0, 0], 2), ([500, 400, 300, 300, 300], 5), ([500, 500, 500], 2), ([500, 100, 0, 0, 0], 5)],
)
def test_who_takes_slowly_what_waits_for_it_is_not_given_up(waiting: list[int], looks: int) -> None:
    """A large message may take longer than silence may last; an answer to a heartbeat has to wait behind it."""

    class Wire(asyncio.Transport):
        aborted = looked = 0

        def get_write_buffer_size(self) -> int:
            self.looked += 1
            return waiting[self.looked - 1]

        def write(self, data: object) -> None:
            pass

        def abort(self) -> None:
            self.aborted += 1
            frames.connection_lost(None)

    async def main() -> None:
        frames.connection_made(wire)
        frames.send_frame(b"x" * 500)
        gone = asyncio.Event()
        frames.watch(0.02, gone.set)
        await gone.wait()

    frames, wire = Frames(100), Wire()
    asyncio.run(main())
    assert (wire.looked, wire.aborted) == (looks, 1)


def test_a_set_that_outgrows_a_message_is_told_to_nobody_and_hinders_nobody(tmp_path: Path) -> None:
    """The largest set that the limits promise is carried; puts on three sides of a cut can make a larger one."""
    most = 3 * 2 * 601_000
    limits = Limits(key_bytes=1_000, value_bytes=600_000, siblings=2, frame_bytes=most, message_bytes=most)
    config = structs.replace(THREE, r=1, w=1, limits=limits, put_timeout_ms=30_000, get_timeout_ms=30_000)
    names = [A, B, C]

    async def main() -> None:
        settings = settings_of(tmp_path, names, config)
        async with running(*settings.values()) as nodes, clients(*settings.values()) as stores:

            async def all_hold(count: int, holders: list[Client]) -> None:
                for store in holders:
                    while len((await store.get(b"k")).siblings) < count:
                        await asyncio.sleep(0.02)

            async def cut(cut: bool) -> None:
                for name, store in zip(names, stores, strict=True):
                    await store.faults(CallFaults(0, cut=tuple(other for other in names if cut and other != name)))

            await cut(True)
            contexts = []
            for store, name in zip(stores, names, strict=True):
                await store.put(b"k", name.encode() * 600_000)
                contexts.append((await store.get(b"k")).context)
                await store.put(b"k", name.encode() * 600_000)
            await cut(False)
            await all_hold(6, stores)
            await cut(True)
            for store, name in zip(stores, names, strict=True):
                await store.put(b"k", name.encode() * 600_000, contexts[0])
            await cut(False)
            with suppress(OperationFailed):  # a learns what the others hold, until it holds more than a message
                while True:
                    await stores[0].get(b"k")
            with pytest.raises(OperationFailed, match=r"^what is stored is 48\d+ bytes, more than an answer of 47\d+$"):
                await stores[0].get(b"k")
            for store in stores[1:]:  # to whom a can no longer tell it
                assert len((await store.get(b"k")).siblings) in (6, 7)
            with pytest.raises(OperationRefused, match="the key has 2 siblings"):
                await stores[0].put(b"k", b"one more")
            assert any("takes no message so large" in line for node in nodes for line in node.said)
            assert any(peer.lost for peer in (await stores[0].status()).peers)
            assert not any("disconnected" in line for node in nodes for line in node.said)
            for number, store in enumerate(stores):
                await store.put(b"other", b"%d" % number, (await stores[0].get(b"other")).context)
                assert all(peer.connected for peer in (await store.status()).peers)

    asyncio.run(main())


def test_large_sets_are_read_a_few_at_a_time_for_a_client_that_does_not_read(
    tmp_path: Path, accepted: list[Frames]
) -> None:
    """All calls have arrived before the first is answered; what they ask for is not held for all of them at once."""
    size = 1024 * 1024
    config = structs.replace(ONE, limits=Limits(value_bytes=size))

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], config).values()
        async with running(settings), clients(settings) as (other,):
            await other.put(b"k", b"x" * size)
            before = (await other.status()).steps
            reader, writer = await deaf_client(settings, CALLS_AT_ONCE)
            steps = await settles(other)
            most = 2 * config.limits.batch_bytes
            assert steps - before <= most // size, "calls were begun for a client that does not listen"
            assert unsent(accepted[-1]) <= most
            for _ in range(CALLS_AT_ONCE + 1):
                await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
            assert (await other.status()).steps - before >= CALLS_AT_ONCE
            writer.close()
            _, writer = await deaf_client(settings, CALLS_AT_ONCE)
            await settles(other)
            writer.transport.abort()
            while (await other.status()).steps - before < 2 * CALLS_AT_ONCE:  # what it asked for runs its course
                await asyncio.sleep(0.01)

    asyncio.run(main())
