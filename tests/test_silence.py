"""Who falls silent in a conversation of a client with a node costs the other side little, and is used again when back.

A silent node: its process is stopped, or it takes connections and says nothing, or it shows that it is alive and
answers no call. A silent client: it said who it is and then nothing, or takes nothing of what it is told.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import structs

from impl import blocking, connection, routing, session
from impl.client import Client, MayHaveHappened, OperationFailed, Routing, StoreError, connect
from impl.connection import Connection
from impl.frames import ROOM_BYTES, Frames
from impl.local import LocalCluster, open_cluster
from impl.transport import Address
from impl.wire import (
    NODE_HEARTBEAT,
    PROTOCOL,
    CallStatus,
    Welcome,
    encode,
    framed,
)
from spec.messages import Failed
from spec.types import Config, Limits, NodeId
from tests.nodes import ONE, THREE, clients, running, settings_of
from tests.test_backpressure import SOCKET_BYTES, deaf_client, unsent
from tests.test_fuzz_frames import Wire, feed
from tests.test_retry import STORED, Mute, Pretender, pretending, told_in_turn
from tests.test_transport import CLIENT

A = NodeId("a")
ROUTINGS: tuple[Routing, ...] = get_args(Routing)
KEYS = [b"%d" % number for number in range(50)]
SECONDS = 3.0
"""How long a call may take; an attempt at a get waits for a third of it."""

LEARN_SECONDS, SPACING_SECONDS = 4.0, 0.15
"""How long clients may take to learn that a node is silent, and how far apart their calls are afterwards, which take
longer than a connection outlasts silence."""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes and clients of this process lose their patience with each other within a second."""
    for module, name in ((connection, "SILENCE_SECONDS"), (session, "CLIENT_SILENCE_SECONDS")):
        monkeypatch.setattr(module, name, 0.4)
    for module in (connection, session):
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)


# Nodes.


class User:
    """A client of either face."""

    def __init__(self, store: Client | blocking.Client) -> None:
        self._store, self._puts = store, 0

    async def get(self, key: bytes) -> object:
        if isinstance(self._store, Client):
            return await self._store.get(key)
        return await asyncio.to_thread(self._store.get, key)

    async def put(self) -> NodeId:
        """Put something new; which node coordinated it."""
        self._puts += 1
        key, value = b"%d of %d" % (self._puts, id(self)), b"v"
        if isinstance(self._store, Client):
            return (await self._store.put(key, value)).dot.actor.node
        return (await asyncio.to_thread(self._store.put, key, value)).dot.actor.node

    async def close(self) -> None:
        if isinstance(self._store, Client):
            await self._store.close()
        else:
            await asyncio.to_thread(self._store.close)


async def users_of(cluster: LocalCluster) -> list[User]:
    """Clients of both faces and with both kinds of routing; node a is the first that they try."""
    where, users = cluster.addresses(), []
    for by in ROUTINGS:
        users.append(User(await connect(where, routing=by, timeout=SECONDS)))
        users.append(User(await asyncio.to_thread(blocking.connect, where, routing=by, timeout=SECONDS)))
    return users


def test_a_stopped_node_costs_the_first_calls_and_no_more(tmp_path: Path) -> None:
    """Whichever way calls are routed; and when it goes on it is used again."""
    config = Config(n=3, r=1, w=1, partitions=32, tokens=16)

    async def use(user: User) -> None:
        """Once the node is known to be silent, hardly a call waits for as long as an attempt may."""
        until = time.monotonic() + LEARN_SECONDS
        while time.monotonic() < until:
            await asyncio.gather(*map(user.get, KEYS))
        waited = 0
        for key in KEYS:
            for call in (user.get(key), user.put()):
                before = time.monotonic()
                assert await call != A
                waited += time.monotonic() - before > 0.9 * SECONDS / 3
            await asyncio.sleep(SPACING_SECONDS)
        assert waited <= len(KEYS) / 15

    async def main() -> None:
        async with open_cluster(tmp_path / "cluster", 3, config) as cluster:
            users = await users_of(cluster)
            for user in users:
                while await user.put() != A:
                    pass
            cluster.pause("a")
            await asyncio.gather(*map(use, users))
            cluster.resume("a")
            for user in users:
                while await user.put() != A:
                    await asyncio.sleep(0.01)
                await user.close()

    asyncio.run(main())


def test_a_node_that_does_not_answer_the_door_is_not_waited_for_while_there_are_others() -> None:
    other = Pretender("b", told_in_turn(STORED))

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            where = Address(*silent.getsockname())
            async with pretending(other) as others, await connect([where, *others]) as store:
                assert list(store._routes._opening) == [where], "it was given up first"
                await store.put(b"k", b"v")

    asyncio.run(main())


def test_a_node_that_does_not_answer_the_door_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system takes the connections for it; it is tried in the background until it says something."""
    monkeypatch.setattr(connection, "HELLO_SECONDS", 0.3)
    monkeypatch.setattr(routing, "PASS_OVER_SECONDS", 0.1)
    first, second = Pretender("a", told_in_turn(STORED)), Pretender("b", told_in_turn(STORED))

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            where = Address(*silent.getsockname())
            async with pretending(second) as others, await connect([where, *others]) as store:
                tries = 0
                real = connection.open_connection

                async def counted(*about: Any) -> Connection:  # Any: handed on as it comes
                    nonlocal tries
                    tries += 1
                    return await real(*about)

                monkeypatch.setattr(routing, "open_connection", counted)
                before = time.monotonic()
                while tries < 3:
                    await store.put(b"k", b"v")
                    await asyncio.sleep(0.01)
                puts = len(second.calls)
                assert puts > 10 * tries, f"{puts} puts in {time.monotonic() - before:.1f} s, while it was tried"
                silent.setblocking(False)
                async with await asyncio.get_running_loop().create_server(first.accept, sock=silent):
                    while not first.calls:
                        await store.put(b"k", b"v")
                        await asyncio.sleep(0.01)

    asyncio.run(main())


@pytest.mark.parametrize("put", [False, True])
def test_a_node_that_lets_a_call_wait_in_vain_is_passed_over_for_a_while(put: bool) -> None:
    """It is alive, so only the calls tell."""
    mute, other = Mute(), Pretender("b", told_in_turn(STORED if put else Failed("no")))

    async def main() -> None:
        async with pretending(mute, other) as where, await connect(where, timeout=0.5, attempts=2) as store:
            for _ in range(40):
                with suppress(StoreError):
                    await (store.put(b"k", b"v") if put else store.get(b"k"))
                await asyncio.sleep(0.05)

    asyncio.run(main())
    assert mute.calls
    assert len(mute.calls) < 20 < len(other.calls)


def test_no_more_calls_are_made_than_the_node_answers_at_once() -> None:
    node = Mute()
    node.calls_at_once = 3

    async def main() -> None:
        async with pretending(node) as where, await connect(where, timeout=1, attempts=1) as store:
            done = await asyncio.gather(*(store.get(b"k") for _ in range(9)), return_exceptions=True)
            assert {type(each) for each in done} == {OperationFailed}

    asyncio.run(main())
    assert len(node.calls) == 3


def test_a_node_is_suspected_once_two_looks_found_nothing_and_until_something_comes() -> None:
    """However much time has passed: a client that was busy has looked once."""

    async def main() -> None:
        frames = Frames(ROOM_BYTES)
        link = Connection(frames, Address("127.0.0.1", 1))
        frames.connection_made(Wire())
        feed(frames, framed(encode(Welcome(PROTOCOL, A, "disk", 100, 100, 100, 1))), 1)
        suspected = []
        for comes in (False, False, False, True, False, False, True):
            link._look()
            before = link.suspected
            if comes:
                feed(frames, NODE_HEARTBEAT, 1)
            suspected.append((before, link.suspected))
        silent, heard, lively = (True, True), (True, False), (False, False)
        assert suspected == [lively, silent, silent, heard, lively, lively, heard]

    asyncio.run(main())


@pytest.mark.usefixtures("hasty")
def test_a_client_that_was_busy_takes_nobody_for_dead(tmp_path: Path) -> None:
    """For longer than silence may last it did not look; what came meanwhile is only waiting to be read."""

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        async with running(settings), clients(settings) as (store,):
            (link,) = store._routes._connections.values()
            await asyncio.sleep(0.3)
            time.sleep(1.0)
            assert not link.suspected
            await store.put(b"k", b"v")
            assert link.open
            assert list(store._routes._connections.values()) == [link]

    asyncio.run(main())


@pytest.mark.usefixtures("hasty")
def test_who_waits_for_a_node_that_reads_no_more_of_its_calls_is_not_gone_and_knows_that_neither_is_the_node(
    tmp_path: Path,
) -> None:
    """The node does not read heartbeats either, while so many calls wait for a quorum that is away."""
    config = structs.replace(THREE, put_timeout_ms=1_500, limits=Limits(calls_at_once=2))

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], config)[A]
        async with running(settings) as (node,), await connect([settings.listen], attempts=1) as store:
            (link,) = store._routes._connections.values()
            calls = [asyncio.create_task(store.put(b"%d" % number, b"v")) for number in range(4)]
            while any(not call.done() for call in calls[:2]):
                await asyncio.sleep(0.05)
                assert not link.suspected
            assert link.open, link.turned
            for call in calls:
                with pytest.raises(MayHaveHappened, match="1 of 2 owners acknowledged"):
                    await call
            assert not any("sign of life" in line for line in node.said)

    asyncio.run(main())


# Clients.


async def ended(frames: Frames) -> None:
    while frames.open:
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("said", [b"", b"\0", framed(b"x" * 9_000)[:50], framed(encode(CallStatus(-1)))])
def test_a_client_that_falls_silent_gives_its_place_back(tmp_path: Path, accepted: list[Frames], said: bytes) -> None:
    """Whatever it said last, whole or not; a client of ours that is idle keeps its place."""
    config = structs.replace(ONE, limits=Limits(connections=4))

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], config).values()
        async with running(settings) as (node,), clients(settings) as (idle,):
            (link,) = idle._routes._connections.values()
            for _ in range(3):
                opened = [await asyncio.open_connection(*settings.listen) for _ in range(3)]
                for _, writer in opened:
                    writer.write(framed(encode(CLIENT)) + said)
                for reader, writer in opened:  # a client that finds no place is told so, and not let in
                    with suppress(ConnectionError):
                        told = await reader.read()
                        assert b"no place" not in told
                    writer.transport.abort()
                for frames in accepted[1:]:
                    await ended(frames)
            assert node.said.count(f"client gave no sign of life client={CLIENT.client}") == 9
            assert link.open
            assert (await idle.status()).clients == 1

    asyncio.run(main())


@pytest.mark.usefixtures("hasty")
def test_a_client_that_takes_nothing_of_what_it_is_told_is_ended(tmp_path: Path, accepted: list[Frames]) -> None:
    """Although the node does not read what it says, and so does not hear that it is alive."""
    size = 20_000

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        async with running(settings), clients(settings) as (other,):
            await other.put(b"k", b"x" * size)
            _, writer = await deaf_client(settings, 2 * SOCKET_BYTES // size)
            while not accepted[-1].slow:
                await asyncio.sleep(0.01)
            await ended(accepted[-1])
            writer.transport.abort()

    asyncio.run(main())


def test_calls_that_are_answered_at_once_cost_what_others_do(tmp_path: Path, accepted: list[Frames]) -> None:
    """An answer that is not taken waits, and nothing more is read; once it is taken every call is answered."""
    call = framed(encode(CallStatus(-1)))

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        async with running(settings), clients(settings) as (other,):
            reader, writer = await asyncio.open_connection(*settings.listen, limit=1024)
            writer.write(framed(encode(CLIENT)) + call)
            await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
            size = int.from_bytes(await reader.readexactly(4))
            await reader.readexactly(size)
            count = 2 * SOCKET_BYTES // size
            writer.write(call * count)
            deaf = accepted[-1]
            while not deaf.slow:
                await asyncio.sleep(0.01)
            assert unsent(deaf) < 2 * ROOM_BYTES
            await other.put(b"k", b"v")
            for _ in range(count):
                assert await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
            writer.transport.abort()

    asyncio.run(main())
