"""Deadlines: whoever asks says how long it waits, and nothing is begun, or waited for, beyond that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from impl.client import MayHaveHappened, connect
from impl.deadlines import deadline, milliseconds, worth_beginning
from impl.runtime import Arrival, Batch, Released, Runtime
from impl.wire import (
    PROTOCOL,
    CallGet,
    CallPut,
    ClientHello,
    Envelope,
    Parcel,
    PeerHello,
    Reply,
    Told,
    cluster_digest,
    encode,
    framed,
)
from spec.events import Deliver, Event, Invoke, SetTimer, Timeout
from spec.messages import Forward, Get, Overloaded, Put, Stored, Written
from spec.node import step
from spec.types import LARGEST, ClientId, Key, NodeId, Value
from tests.nodes import ONE, THREE, clients, running, settings_of
from tests.small import Hands, get, put, request

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
PUT = request(1)
patience = st.integers(1, 20_000)


@given(patience, st.sampled_from([put(), get()]))
def test_a_request_takes_no_longer_than_its_client_waits_nor_than_nodes_do(
    within_ms: int, operation: Put | Get
) -> None:
    """That of a client who does not say, as long as nodes do."""
    server = Hands().servers[A]
    longest = server.node.config.put_timeout_ms
    assert longest == server.node.config.get_timeout_ms == 5_000
    for said, patience_ms in ((within_ms, min(within_ms, longest)), (None, longest)):
        outcome = step(server.node, None, server.disk, Invoke(PUT, operation, said))
        assert SetTimer(PUT, patience_ms) in outcome.effects


@given(patience, st.sampled_from([put(), get()]))
def test_who_forwards_says_how_long_it_waits_and_its_coordinator_keeps_to_it(
    within_ms: int, operation: Put | Get
) -> None:
    hands = Hands("abcd")
    stranger, coordinator = hands.stranger(), hands.owners()[0]
    server, patience_ms = hands.servers[stranger], min(within_ms, 5_000)
    outcome = step(server.node, None, server.disk, Invoke(PUT, operation, within_ms))
    forward = Forward(PUT, operation, patience_ms)
    assert SetTimer(PUT, patience_ms) in outcome.effects
    assert [e.message for e in outcome.effects if not isinstance(e, SetTimer)] == [forward]  # type: ignore[union-attr]  # a Send
    server = hands.servers[coordinator]
    outcome = step(server.node, None, server.disk, Deliver(stranger, forward))
    assert SetTimer(PUT, patience_ms) in outcome.effects


@given(st.floats(0, 1e300) | st.just(float("inf")))
def test_any_time_can_be_said(seconds: float) -> None:
    said = milliseconds(seconds)
    assert 1 <= said <= LARGEST
    assert said <= max(1, seconds * 1000)
    assert msgspec.msgpack.decode(encode(CallGet(1, Key(b"k"), said)), type=CallGet).within_ms == said


events = st.sampled_from([None, 1, 50, 900, 30_000]).flatmap(
    lambda within_ms: st.sampled_from([Invoke(PUT, get(), within_ms), Deliver(B, Forward(PUT, put(), within_ms))])
) | st.sampled_from([Timeout(PUT), Deliver(B, Written(PUT))])


@given(st.lists(events), st.floats(0, 2))
def test_what_is_begun_is_told_what_is_left_of_its_time(asked: list[Invoke | Deliver | Timeout], later: float) -> None:
    def within(event: Event) -> int | None:
        about = event.message if isinstance(event, Deliver) else event
        return about.within_ms if isinstance(about, Invoke | Forward) else None

    arrivals = [Arrival(event, None, deadline(within(event))) for event in asked]
    still, late = worth_beginning(arrivals, time.monotonic() + later)
    assert len(still) + len(late) == len(arrivals)

    for arrival in late:
        assert (within(arrival.event) or 0) < later * 1000 + 1_000
    for before, after in zip([a for a in arrivals if a not in late], still, strict=True):
        said, left = within(before.event), within(after.event)
        if said is None or isinstance(before.event, Deliver):
            assert after == before, "a message is received as it was sent"
        else:
            assert left is not None
            assert 1 <= left <= max(1, said - later * 1000 + 1)
            assert type(after.event) is type(before.event)


def commit_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a commit of nodes in this process takes 50 ms."""
    commit = Runtime.commit

    def slowly(self: Runtime, batch: Batch) -> list[Released]:
        time.sleep(0.05)
        return commit(self, batch)

    monkeypatch.setattr(Runtime, "commit", slowly)


def test_what_nobody_waits_for_any_more_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node commits so slowly that the second call's time is up before its turn; the third is not in a hurry."""
    config = structs.replace(ONE, limits=structs.replace(ONE.limits, batch_steps=1))

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], config).values()
        async with running(settings), clients(settings) as (store,):
            before = (await store.status()).steps
            commit_slowly(monkeypatch)
            reader, writer = await asyncio.open_connection(*settings.listen)
            calls = [CallPut(i + 1, Key(b"%d" % i), Value(b"v"), None, within_ms=ms) for i, ms in enumerate(WITHIN)]
            writer.write(
                framed(encode(ClientHello(PROTOCOL, ClientId("hasty")))) + b"".join(framed(encode(c)) for c in calls)
            )
            told = dict[int, Told]()
            await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
            while len(told) < len(calls):
                frame = await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
                reply = msgspec.msgpack.decode(frame, type=Reply)
                told[reply.call] = reply.told
            writer.close()
            assert told[2] == Overloaded("node a is overloaded: the time was up before it could begin")
            assert isinstance(told[1], Stored)
            assert isinstance(told[3], Stored)
            status = await store.status()
            assert status.steps == before + 2, "it was no step"
            assert status.counts.replies["Put"] == {"Stored": 2, "Overloaded": 1}
            assert (await store.get(b"1")).values == ()

    WITHIN = [60_000, 1, None]
    asyncio.run(main())


def test_what_was_forwarded_and_nobody_waits_for_any_more_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above; but it is another node that asks."""
    config = structs.replace(THREE, limits=structs.replace(THREE.limits, batch_steps=1))
    decide, begun = Runtime.decide, list[int]()

    def watched(self: Runtime, arrivals: Sequence[Arrival]) -> Batch:
        asked = [each.event.message for each in arrivals if isinstance(each.event, Deliver)]
        begun.extend(forward.request.operation for forward in asked if isinstance(forward, Forward))
        return decide(self, arrivals)

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], config)[A]
        async with running(settings):
            commit_slowly(monkeypatch)
            monkeypatch.setattr(Runtime, "decide", watched)
            _, writer = await asyncio.open_connection(*settings.listen)
            hello = PeerHello(PROTOCOL, B, A, cluster_digest(settings.secret, config, settings.members))
            forwards = [Forward(request(i + 1), get(), ms) for i, ms in enumerate([60_000, 1, None])]
            parcel = Parcel(1, [Envelope(1, i, forward) for i, forward in enumerate(forwards)])
            writer.write(framed(encode(hello)) + framed(encode(parcel)))
            while 3 not in begun:
                await asyncio.sleep(0.01)
            writer.close()
        assert begun == [1, 3]

    asyncio.run(main())


def test_a_node_waits_no_longer_than_its_client(tmp_path: Path) -> None:
    """The other owners are down; by itself the node would wait for half an hour."""
    config = structs.replace(THREE, put_timeout_ms=1_800_000, get_timeout_ms=1_800_000)

    async def main() -> None:
        settings = settings_of(tmp_path, ["a", "b", "c"], config)[A]
        async with running(settings), await connect([settings.listen], timeout=0.3, attempts=1) as store:
            with pytest.raises(MayHaveHappened):
                await store.put(b"k", b"v")
            while (await store.status()).requests:
                await asyncio.sleep(0.01)

    asyncio.run(main())
