"""Every limit there is: what exceeds it is turned down, or lost where messages may be, and everything else goes on.

There is one case for each field of `Limits`; a new field fails here until it has one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from msgspec import structs

from impl import process
from impl.client import Client, MayHaveHappened, NodeOverloaded, OperationRefused, Unreachable, connect
from impl.recorder import export_log
from impl.settings import Settings
from impl.show import show_status
from impl.storage import Storage, open_storage
from impl.wire import (
    LENGTH_BYTES,
    PROTOCOL,
    CallPut,
    ClientHello,
    PeerHello,
    Turned,
    Welcome,
    answer_decoder,
    cluster_digest,
    decode,
    encode,
    framed,
)
from spec.clock import NOTHING
from spec.events import Deliver, HandOff, Send
from spec.messages import Fetched
from spec.token import seal
from spec.trace import Line, NodeLog, Step
from spec.types import ClientId, Config, ConfigError, Key, Limits, NodeId, Value
from tests.nodes import ONE, SECRET, THREE, Running, clients, running, settings_of
from tests.small import Hands, put, request, small_config

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def limited(config: Config, **limits: int) -> Config:
    """A configuration with these limits."""
    return structs.replace(config, limits=structs.replace(config.limits, **limits))


Case = Callable[[Path], Coroutine[Any, Any, None]]
CASES: dict[str, Case] = {}


def case(limit: str) -> Callable[[Case], Case]:
    """The case of a limit."""

    def enter(function: Case) -> Case:
        assert limit not in CASES, f"limit {limit} has two cases, of which only one would run"
        CASES[limit] = function
        return function

    return enter


@pytest.mark.parametrize("limit", Limits.__struct_fields__)
def test_what_exceeds_a_limit_is_turned_down(limit: str, tmp_path: Path) -> None:
    assert limit in CASES, f"limit {limit} has no test of what happens beyond it"
    asyncio.run(CASES[limit](tmp_path))


async def refused_beyond(path: Path, config: Config, refused: dict[str, tuple[bytes, bytes]], fits: bytes) -> None:
    """The puts of these keys and values are refused with these lines; a put of `fits` is not."""
    (settings,) = settings_of(path, ["a"], config).values()
    async with running(settings), clients(settings) as (store,):
        for line, (key, value) in refused.items():
            with pytest.raises(OperationRefused) as refusal:
                await store.put(key, value)
            assert type(refusal.value) is OperationRefused
            assert str(refusal.value) == line
            await store.put(b"k", fits)
            found = await store.get(b"k")
            assert fits in found.values


@case("key_bytes")
async def long_keys(path: Path) -> None:
    at, over = b"\0" * 4096, b"\0" * 4097
    line = "the key is 4097 bytes, the limit is 4096"
    (settings,) = settings_of(path, ["a"], ONE).values()
    async with running(settings), clients(settings) as (store,):
        await store.put(at, b"v")
        assert (await store.get(at)).values == (b"v",)
        for call in (store.put(over, b"v"), store.get(over)):
            with pytest.raises(OperationRefused, match=f"^{line}$"):
                await call
    await refused_beyond(path, ONE, {line: (over, b"v")}, b"v")


@case("value_bytes")
async def large_values(path: Path) -> None:
    line = "the value is 1048577 bytes, the limit is 1048576"
    await refused_beyond(path, ONE, {line: (b"k", b"\0" * (2**20 + 1))}, b"\0" * 2**20)


@case("siblings")
async def many_siblings(path: Path) -> None:
    (settings,) = settings_of(path, ["a"], limited(ONE, siblings=2)).values()
    async with running(settings), clients(settings) as (store,):
        await store.put(b"k", b"1")
        await store.put(b"k", b"2")
        with pytest.raises(OperationRefused, match=r"^the key has 2 siblings; get it and put with the context$"):
            await store.put(b"k", b"3")
        found = await store.get(b"k")
        assert found.values == (b"1", b"2")
        await store.put(b"k", b"both", found.context)


@case("requests_in_flight")
async def many_requests(path: Path) -> None:
    config = limited(structs.replace(THREE, put_timeout_ms=1_000), requests_in_flight=1)
    settings = settings_of(path, ["a", "b", "c"], config)[A]
    async with running(settings), clients(settings) as (store,):
        waits = asyncio.create_task(store.put(b"k", b"1"))  # the other owners are down
        await asyncio.sleep(0)
        with pytest.raises(NodeOverloaded, match=r"^node a is overloaded: 1 requests in flight$"):
            await store.put(b"k", b"2")
        with pytest.raises(MayHaveHappened, match="1 of 2 owners acknowledged"):
            await waits


def test_who_cannot_be_waited_for_any_more_is_owed_a_put_at_once() -> None:
    """The same as in a node, below, where the specification decides it."""
    hands = Hands(config=small_config(r=1, w=1, limits=Limits(lingering_requests=2), sloppy=True))
    owed = []
    for number in range(1, 5):
        key = Key(b"%d" % number)
        hands.ask(A, request(number), put(b"v", key=key))
        owed.append(len(hands.row(A, key).owed))
    assert owed == [0, 0, 2, 2]


@case("remembered_requests")
async def many_requests_of_a_row(_: Path) -> None:
    """Nothing is refused: a row remembers the latest, and a test of coordination says what becomes of older ones."""
    hands = Hands(config=small_config(r=1, w=1, limits=Limits(remembered_requests=3, siblings=9)))
    for number in range(1, 7):
        hands.ask(A, request(number), put(b"%d" % number))
        remembered = [minted.request.operation for minted in hands.row(A).minted]
        assert remembered == list(range(1, number + 1))[-3:]


@case("frame_bytes")
async def large_frames(path: Path) -> None:
    config = limited(ONE, key_bytes=10, value_bytes=10, siblings=2, frame_bytes=150)
    size = len(encode(CallPut(1, Key(b"k"), Value(b"v" * 151), None, within_ms=10_000)))
    line = f"the call is {size} bytes, node a takes at most 150"
    await refused_beyond(path, config, {line: (b"k", b"v" * 151)}, b"v" * 10)
    settings = settings_of(path, ["a", "b", "c"], structs.replace(config, n=3))[A]
    async with running(settings):
        for hello in (ClientHello(PROTOCOL, ClientId("me")), peer_hello(settings)):
            reader, writer = await asyncio.open_connection(*settings.listen)
            writer.write(framed(encode(hello)) + framed(b"x" * 151))
            said = await reader.read()
            assert b"a frame of 151 bytes; the limit is 150" in said
            writer.close()


@case("message_bytes")
async def large_messages(path: Path) -> None:
    """A message beyond it closes the connection as soon as it claims to be; what becomes of one that a node holds, and
    may not send, is told in `test_backpressure`."""
    config = limited(THREE, key_bytes=10, value_bytes=10, siblings=2, frame_bytes=150, message_bytes=400)
    settings = settings_of(path, ["a", "b", "c"], config)[A]
    async with running(settings):
        for size, reason in ((400, b"malformed"), (401, b"a message of 401 bytes or more; the limit is 400")):
            reader, writer = await asyncio.open_connection(*settings.listen)
            writer.write(framed(encode(peer_hello(settings))) + framed(b"\xc1" * size, 150))
            assert reason in await reader.read()
            writer.close()


def peer_hello(settings: Settings) -> PeerHello:
    """What node b says to node a."""
    return PeerHello(PROTOCOL, B, A, cluster_digest(SECRET, settings.config, settings.members))


@case("queued_messages")
async def many_messages(path: Path) -> None:
    """Messages to nodes that are down wait, the latest of them; the others are lost, and counted."""
    config = limited(structs.replace(THREE, w=1), queued_messages=5)
    settings = settings_of(path, ["a", "b", "c"], config, record=True)[A]
    async with running(settings), clients(settings) as (store,):
        for number in range(9):
            await store.put(b"%d" % number, b"v")
        status = await store.status()
    entries = [msgspec.json.decode(line, type=Line).entry for line in export_log(settings.data)]
    steps = [entry for entry in entries if isinstance(entry, Step)][: status.steps]
    sent = Counter(effect.target for step in steps for effect in step.effects if isinstance(effect, Send))
    assert [(peer.queued, peer.lost) for peer in status.peers] == [(5, sent[B] - 5), (5, sent[C] - 5)]
    assert sent[B] > 9, "the nine writes, and what a node that has come up asks about itself"


@case("batch_steps")
async def large_batches(path: Path) -> None:
    (settings,) = settings_of(path, ["a"], limited(ONE, batch_steps=3)).values()
    async with running(settings), clients(settings) as (store,):
        await asyncio.gather(*(store.put(b"%d" % number, b"v") for number in range(100)))
        status = await store.status()
        assert status.batches >= status.steps / 3


@case("batch_bytes")
async def heavy_batches(path: Path) -> None:
    """A step that touches so much is the last of its batch."""
    (settings,) = settings_of(path, ["a"], limited(ONE, batch_bytes=1_000)).values()
    async with running(settings), clients(settings) as (store,):
        await store.put(b"large", b"v" * 2_000)
        before = (await store.status()).batches
        found = await asyncio.gather(*(store.get(b"large") for _ in range(50)))
        assert {values.values for values in found} == {(b"v" * 2_000,)}
        assert (await store.status()).batches - before >= 50


@case("cache_bytes")
async def little_memory(path: Path) -> None:
    """What is not in the cache is read from the disk; what is too large for it always is."""
    config = limited(ONE, cache_bytes=1_000)
    (settings,) = settings_of(path, ["a"], config).values()
    opened: list[Storage] = []

    def remember(file: Path, node: NodeId) -> Storage:
        opened.append(open_storage(file, node))
        return opened[-1]

    with patch.object(process, "open_storage", remember):
        async with running(settings), clients(settings) as (store,):
            values = {b"%d" % number: b"v" * 40 * number for number in range(50)}
            for key, value in values.items():
                await store.put(key, value)
            for key, value in values.items():
                assert (await store.get(key)).values == (value,)
                assert opened[0].cache.size_bytes <= config.limits.cache_bytes
            await store.get(b"0")
            assert len(opened[0].cache) > 0


@case("recorded_bytes")
async def long_recordings(path: Path) -> None:
    """A recording that has grown so long makes way for one that begins there."""
    config = limited(ONE, recorded_bytes=20_000)
    (settings,) = settings_of(path, ["a"], config, record=True).values()
    async with running(settings) as (node,), clients(settings) as (store,):
        for number in range(100):
            await store.put(b"%d" % number, b"v" * 500)
    begun = node.said.count("recording begins anew reason=the earlier one had grown too long")
    assert 100 * 500 // 20_000 <= begun <= 30
    head, *entries = [msgspec.json.decode(line, type=Line).entry for line in export_log(settings.data)]
    assert isinstance(head, NodeLog)
    assert head.running is not None
    assert 0 < head.rows < 100
    steps = [entry for entry in entries if isinstance(entry, Step)]
    assert sum(len(msgspec.json.encode(step)) for step in steps[:-1]) <= 20_000 + 2_000


@case("lingering_requests")
async def many_late_answers(path: Path) -> None:
    """Beyond it nobody is waited for: what others may lack is owed to them at once."""
    config = limited(structs.replace(THREE, w=1, put_timeout_ms=60_000), lingering_requests=2)
    settings = settings_of(path, ["a", "b", "c"], config)[A]
    async with running(settings), clients(settings) as (store,):
        for number in range(5):
            await store.put(b"%d" % number, b"v")
        status = await store.status()
        assert status.requests == 2
        assert [(peer.name, peer.owed) for peer in status.peers] == [(B, 3), (C, 3)]


def suspects(node: Running, name: NodeId) -> bool:
    """Whether a node has last said of another that it suspects it."""
    said = [line for line in node.said if line.startswith("peer suspected") and f"peer={name}" in line]
    return bool(said) and not said[-1].startswith("peer suspected no longer")


@case("hints")
async def many_hints(path: Path) -> None:
    """A node stands in for others while it has room for hints; a restart makes none, handing over does."""
    here, there = settings_of(path, ["a", "b"], limited(structs.replace(ONE, r=1, w=1), hints=3)).values()

    async def refused(node: Running, store: Client, numbers: range) -> list[int]:
        while not suspects(node, B):
            await asyncio.sleep(0.005)
        found = []
        for number in numbers:
            try:
                await store.put(b"%d" % number, b"v")
            except NodeOverloaded as error:
                assert str(error) == "node a is overloaded: it keeps 3 hints"  # noqa: PT017 - some are not refused
                found.append(number)
        status = await store.status()
        assert status.peers[0].owed == 3
        with redirect_stdout(StringIO()) as told:
            show_status(status)
        assert "hints     3, room for 0 more" in told.getvalue()
        assert "no room for more hints" in told.getvalue()
        return found

    async with running(here) as (node,), clients(here) as (store,):
        turned_down = await refused(node, store, range(20))
        assert turned_down
        assert await refused(node, store, range(20)) == turned_down, "what is owed already may be written over"
    async with running(here) as (node,), clients(here) as (store,):
        assert await refused(node, store, range(20)) == turned_down
        async with running(there):
            while (await store.status()).peers[0].owed:
                await asyncio.sleep(0.005)
        assert await refused(node, store, range(20, 60))


@case("handoff_rows")
async def many_hints_to_hand_over(path: Path) -> None:
    """They are handed over so many at a time, until none is left."""
    config = limited(structs.replace(ONE, r=1, w=1), handoff_rows=2)
    here, there = settings_of(path, ["a", "b"], config, record=True).values()
    async with running(here), clients(here) as (store,):
        while not (await store.status()).peers[0].opinion.why:
            await asyncio.sleep(0.005)
        for number in range(20):
            await store.put(b"%d" % number, b"v")
        owed = (await store.status()).peers[0].owed
        assert owed > 4
        async with running(there):
            while (await store.status()).peers[0].owed:
                await asyncio.sleep(0.005)
    entries = [msgspec.json.decode(line, type=Line).entry for line in export_log(here.data)]
    batches = [e.event.keys for e in entries if isinstance(e, Step) and isinstance(e.event, HandOff)]
    assert max(map(len, batches)) == 2
    assert len({key for batch in batches for key in batch}) == owed


@case("fetched_rows")
async def much_to_catch_up_with(path: Path) -> None:
    """A node is given so many rows at a time of what it lacks, until it lacks nothing."""
    config = limited(structs.replace(ONE, n=2, r=1, w=1, sloppy=False), fetched_rows=3)
    here, there = settings_of(path, ["a", "b"], config, record=True).values()
    keys = {b"%d" % number for number in range(20)}
    async with running(here), clients(here) as (store,):
        for key in keys:
            await store.put(key, b"v")
    async with running(here), running(there), clients(there) as (store,):
        while (await store.status()).lacking:
            await asyncio.sleep(0.005)
    entries = [msgspec.json.decode(line, type=Line).entry for line in export_log(there.data)]
    events = [e.event for e in entries if isinstance(e, Step) and isinstance(e.event, Deliver)]
    batches = [event.message.rows for event in events if isinstance(event.message, Fetched)]
    assert max(map(len, batches)) == 3
    assert {key for batch in batches for key, _ in batch} == keys


async def said_to(settings: Settings, *frames: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a node on which this was said."""
    reader, writer = await asyncio.open_connection(*settings.listen)
    writer.write(b"".join(map(framed, frames)))
    return reader, writer


async def heard(reader: asyncio.StreamReader) -> memoryview:
    """The next frame that a node says."""
    return memoryview(await reader.readexactly(int.from_bytes(await reader.readexactly(LENGTH_BYTES))))


@case("connections")
async def many_connections(path: Path) -> None:
    """Clients, nodes and strangers take no places of each other, and a place that is left is free again."""
    settings = settings_of(path, ["a", "b", "c"], limited(structs.replace(THREE, r=1, w=1), connections=3))
    here = settings[A]
    async with running(here) as (node,):
        stores = [await connect([here.listen]) for _ in range(3)]
        with pytest.raises(Unreachable, match=r"turned the client away: node a has no place left: 3 clients$"):
            await connect([here.listen])
        opened = [await said_to(here) for _ in range(4)]
        oldest = opened[0][0]
        reason = "node a has no place left: 3 others wait to say who they are"
        assert decode(answer_decoder, await heard(oldest)) == Turned(reason)
        assert await oldest.read() == b""
        assert f"connection turned away reason={reason}" in node.said
        async with running(settings[B]):  # for nodes there are places
            while "peer connected peer=b" not in node.said:
                await asyncio.sleep(0.005)
            for store in stores:
                await store.put(b"k", b"v")
            links = [await said_to(here, encode(peer_hello(here))) for _ in range(3)]
            answers = [decode(answer_decoder, await heard(reader)) for reader, _ in links]
            assert [type(answer) for answer in answers[:2]] == [Welcome, Welcome]
            assert answers[2] == Turned("node a has no place left: 3 nodes")
        for _, writer in (*opened, *links):
            writer.close()
        await stores.pop().close()
        while True:  # the node may not have noticed yet
            try:
                stores.append(await connect([here.listen]))
                break
            except Unreachable:
                await asyncio.sleep(0.005)
        for store in stores:
            await store.put(b"k", b"v")
            await store.close()


@case("hello_bytes")
async def large_hellos(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^limit hello_bytes must be at least 1024, to hold a hello, not 1023$"):
        Limits(hello_bytes=1023)
    here = settings_of(path, ["a", "b", "c"], limited(THREE, hello_bytes=1024))[A]
    hello = encode(ClientHello(PROTOCOL, ClientId("\N{GRINNING FACE}" * 64)))
    async with running(here), clients(here):
        for first, kind in ((hello, Welcome), (encode(peer_hello(here)), Welcome), (b"x" * 1025, Turned)):
            reader, writer = await said_to(here, first)
            answer = decode(answer_decoder, await heard(reader))
            assert type(answer) is kind
            assert not isinstance(answer, Turned) or answer.reason == "a frame of 1025 bytes; the limit is 1024"
            writer.close()


@case("context_bytes")
async def long_contexts(path: Path) -> None:
    async def context_of(store: Client) -> str:
        return (await store.get(b"k")).context

    config = limited(ONE, context_bytes=len(seal(SECRET, Key(b"k"), NOTHING)))
    (settings,) = settings_of(path, ["a"], config).values()
    async with running(settings), clients(settings) as (store,):
        nothing = await context_of(store)
        await store.put(b"k", b"v", nothing)
        longer = await context_of(store)
        line = f"the context is {len(longer)} bytes, the limit is {len(nothing)}"
        with pytest.raises(OperationRefused, match=f"^{line}$"):
            await store.put(b"k", b"w", longer)
        assert (await store.get(b"k")).values == (b"v",)


async def most_at_once(path: Path, config: Config, calls: list[CallPut]) -> int:
    """How many of these calls, which are all answered in the end, a node takes at a time; other nodes are down."""
    here, most = settings_of(path, ["a", "b", "c"], structs.replace(config, put_timeout_ms=400))[A], 0
    async with running(here), clients(here) as (other,):
        hello = ClientHello(PROTOCOL, ClientId("eager"))
        reader, writer = await said_to(here, encode(hello), *map(encode, calls))

        async def hear_all() -> None:
            assert isinstance(decode(answer_decoder, await heard(reader)), Welcome)
            for _ in calls:
                await heard(reader)

        hearing = asyncio.create_task(hear_all())
        while not hearing.done():
            most = max(most, (await other.status()).requests)
            await asyncio.sleep(0.01)
        await hearing
        writer.close()
    return most


@case("calls_at_once")
async def many_calls(path: Path) -> None:
    """No more are read, and none is forgotten."""
    calls = [CallPut(number, Key(b"%d" % number), Value(b"v"), None) for number in range(1, 11)]
    assert await most_at_once(path, limited(THREE, calls_at_once=3), calls) == 3


@case("call_bytes_at_once")
async def many_bytes_of_calls(path: Path) -> None:
    """No more are read once they are so much, of which one alone may be more."""
    calls = [CallPut(number, Key(b"%d" % number), Value(b"v" * 400), None) for number in range(1, 11)]
    for limit, most in ((1000, 3), (100, 1)):
        directory = path / f"{limit}"
        directory.mkdir()
        assert await most_at_once(directory, limited(THREE, call_bytes_at_once=limit), calls) == most
