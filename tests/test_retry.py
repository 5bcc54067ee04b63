"""Calls that are asked again: what a client may say after several attempts, and what nodes and logs say of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from checker.logs import Invalid, read_log
from checker.validate import examine
from impl import wire
from impl.client import (
    Client,
    MayHaveHappened,
    NodeOverloaded,
    OperationFailed,
    OperationRefused,
    Unreachable,
    Unsettled,
    connect,
)
from impl.clientlog import ClientRecorder
from impl.frames import Frames
from impl.local import free_ports
from impl.operations import Attempt
from impl.recorder import export_log
from impl.server import Server
from impl.transport import Address
from impl.wire import (
    NODE_HEARTBEAT,
    PROTOCOL,
    Alive,
    Call,
    CallFaults,
    CallGet,
    CallPut,
    FoundHere,
    Stopping,
    Told,
    Welcome,
    call_decoder,
    decode,
)
from spec.clock import NOTHING, Actor, Dot
from spec.events import Invoke, Reply, Timeout
from spec.messages import Failed, Get, Indefinite, Operation, Overloaded, Put, Refused, Stored, as_asked_again
from spec.ring import owners_of
from spec.siblings import NO_VERSIONS
from spec.token import seal
from spec.trace import FORMAT, ClientLog, Invoked, Line, Returned, Step
from spec.types import ClientId, Key, Limits, NodeId, RequestId, Value
from tests import recorded
from tests.nodes import ONE, SECRET, THREE, Running, clients, running, settings_of

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
STORED = Stored(Dot(Actor(A, "i", 1), 1))

Script = Callable[[Call], Told | None]
"""What a node says to a call; None: nothing, and the connection is gone."""


class Pretender:
    """Something that speaks as a node does and says what a script says."""

    def __init__(self, name: str, script: Script) -> None:
        self.name, self.script, self.incarnation = NodeId(name), script, "disk"
        self.answers, self.calls_at_once = True, 256
        self.calls: list[Call] = []
        """What it was asked; how long the client waits is in `waits`."""
        self.waits: list[int] = []
        self.connections: list[Frames] = []

    def accept(self) -> Frames:
        frames = Frames(100_000)

        def called(frame: memoryview) -> None:
            call = decode(call_decoder, frame)
            if isinstance(call, Alive):
                frames.send_frame(NODE_HEARTBEAT)
                return
            if isinstance(call, CallPut | CallGet):
                self.waits.append(call.within_ms or 0)
                call = structs.replace(call, within_ms=None)
            self.calls.append(call)
            if not self.answers:
                return
            told = self.script(call)
            if told is None:
                frames.close()
            else:
                frames.send(wire.Reply(call.call, told))

        def hello(_: memoryview) -> None:
            most = 100_000, 100_000, 100_000
            frames.send(Welcome(PROTOCOL, self.name, self.incarnation, *most, self.calls_at_once))
            frames.on_frame = called

        frames.on_frame = hello
        self.connections.append(frames)
        return frames


@asynccontextmanager
async def pretending(*nodes: Pretender) -> AsyncIterator[list[Address]]:
    """Let these be asked, at these addresses."""
    ports = free_ports(len(nodes))
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(n.accept, "127.0.0.1", p) for n, p in zip(nodes, ports, strict=True)]
    try:
        yield [Address("127.0.0.1", port) for port in ports]
    finally:
        for server in servers:
            server.close()
        for node in nodes:
            for frames in node.connections:
                frames.close()


def told_in_turn(*told: Told | None) -> Script:
    """Say this to the first call, this to the second, and so on; the last for ever."""
    left = list(told)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


async def outcome_of(store: Client) -> Attempt:
    """What becomes of a put."""
    try:
        return await store.put(b"k", b"v")
    except (OperationFailed, MayHaveHappened) as error:
        return error


def put_with(*told: Told | None, attempts: int = 3) -> tuple[Attempt, list[Call]]:
    """What a client makes of a put to a node that says this, and the calls that it makes."""
    node = Pretender("a", told_in_turn(*told))

    async def main() -> Attempt:
        async with pretending(node) as where, await connect(where, timeout=5, attempts=attempts) as store:
            return await outcome_of(store)

    return asyncio.run(main()), node.calls


answers = st.sampled_from([STORED, Failed("no"), Refused("no"), Indefinite("who knows"), None])


@given(st.lists(answers, min_size=1, max_size=4), st.integers(1, 4))
def test_what_a_client_says_of_a_put_follows_from_all_that_it_was_told(told: list[Told | None], attempts: int) -> None:
    """A definite answer only while nothing was in doubt; success whenever it comes; always the same request."""
    outcome, calls = put_with(*told, attempts=attempts)
    heard = [told[min(i, len(told) - 1)] for i in range(attempts)]
    decisive = next(
        (i for i, t in enumerate(heard) if t == STORED or (i == 0 and isinstance(t, Failed | Refused))), None
    )
    if decisive is None:
        assert isinstance(outcome, MayHaveHappened)
        assert len(calls) == attempts
    else:
        kinds = {Stored: Stored, Failed: OperationFailed, Refused: OperationRefused}
        assert type(outcome) is kinds[type(heard[decisive])]  # type: ignore[index]  # no None is decisive
        assert len(calls) == decisive + 1
    marks = [False] + [True] * (len(calls) - 1)
    assert calls == [CallPut(1, Key(b"k"), Value(b"v"), None, again) for again in marks], "only what is new is unmarked"


def test_what_the_door_says_of_a_put_that_was_asked_before_is_not_final() -> None:
    outcome, _ = put_with(None, Stopping(), attempts=2)
    assert isinstance(outcome, MayHaveHappened)
    assert str(outcome) == "it was asked before; this time: node a is stopping"


def test_each_attempt_says_how_long_the_client_will_wait() -> None:
    """A put all the time that is left; a get its share of it, so that there is time for the others."""
    node = Pretender("a", told_in_turn(None))

    async def main() -> None:
        async with pretending(node) as where, await connect(where, timeout=6, attempts=3) as store:
            assert isinstance(await outcome_of(store), MayHaveHappened)
            puts = node.waits.copy()
            assert len(puts) == 3
            assert 6_000 >= puts[0] > puts[1] > puts[2]
            with pytest.raises(OperationFailed):
                await store.get(b"k")
            first, second, third = node.waits[3:]
            assert first <= 2_000
            assert second <= 3_000
            assert third <= 6_000

    asyncio.run(main())


def test_a_put_in_doubt_is_asked_again_of_nobody_else() -> None:
    """The second node is there and willing, and would not know that the first may have written."""
    first, second = Pretender("a", told_in_turn(None)), Pretender("b", told_in_turn(STORED))

    async def main() -> None:
        async with pretending(first, second) as where, await connect(where, timeout=5, attempts=3) as store:
            assert isinstance(await outcome_of(store), MayHaveHappened)
        assert (len(first.calls), len(second.calls)) == (3, 0)

    asyncio.run(main())


def test_a_node_of_another_name_is_not_the_node_that_was_asked() -> None:
    """After a restart something else listens there: it would write a second time."""
    node = Pretender("a", told_in_turn(None))

    def become(_: Call) -> None:
        node.name = B

    node.script = become

    async def main() -> None:
        async with pretending(node) as where, await connect(where, timeout=0.3, attempts=3) as store:
            assert isinstance(await outcome_of(store), MayHaveHappened)
        assert len(node.calls) == 1

    asyncio.run(main())


def test_a_node_that_has_lost_its_disk_is_not_the_node_that_was_asked() -> None:
    """It does not know the request any more: it would write a second time."""
    node = Pretender("a", told_in_turn(None))

    def become(_: Call) -> None:
        node.incarnation = "another disk"

    node.script = become

    async def main() -> None:
        async with pretending(node) as where, await connect(where, timeout=0.3, attempts=3) as store:
            assert isinstance(await outcome_of(store), MayHaveHappened)
        assert len(node.calls) == 1

    asyncio.run(main())


BUSY = Overloaded("node a is overloaded")


def test_a_node_that_is_too_busy_is_told_apart_from_other_refusals() -> None:
    outcome, calls = put_with(BUSY, attempts=1)
    assert type(outcome) is NodeOverloaded
    assert outcome.status == 75
    assert len(calls) == 1

    async def main() -> None:
        node = Pretender("a", told_in_turn(BUSY))
        async with pretending(node) as where, await connect(where) as store:
            with pytest.raises(NodeOverloaded, match=r"^node a is overloaded$"):
                await store.get(b"k")

    asyncio.run(main())


@pytest.mark.parametrize("willing", ["the same node, later", "another node"])
def test_what_a_node_was_too_busy_for_is_asked_again_as_another_request(willing: str, tmp_path: Path) -> None:
    """Of a put too, for it was not begun; the log says that the first request was turned down."""
    found = FoundHere(NO_VERSIONS, seal(SECRET, Key(b"k"), NOTHING))
    first = told_in_turn(BUSY) if willing == "another node" else told_in_turn(BUSY, STORED, BUSY, found)
    nodes = Pretender("a", first), Pretender("b", told_in_turn(STORED, found))

    async def main() -> None:
        asked = nodes if willing == "another node" else nodes[:1]
        log = tmp_path / "log"
        async with pretending(*asked) as where, await connect(where, log, timeout=5, attempts=2) as store:
            assert await store.put(b"k", b"v") == STORED
            await store.get(b"k")
        calls = sorted(call.call for node in asked for call in node.calls)
        assert calls == list(range(1, len(calls) + 1)), "each is another request"
        entries = [msgspec.json.decode(line, type=Line).entry for line in log.read_bytes().splitlines()]
        returned = [(e.request.operation, e.result) for e in entries if isinstance(e, Returned)]
        assert returned[0] == (1, BUSY)
        assert returned[1] == (2, STORED)

    asyncio.run(main())


def test_a_put_in_doubt_stays_in_doubt_when_its_node_is_too_busy_to_be_asked_again() -> None:
    outcome, calls = put_with(Indefinite("who knows"), BUSY)
    assert isinstance(outcome, MayHaveHappened)
    assert [call.call for call in calls] == [1, 1, 1]


def test_a_get_is_asked_again_elsewhere_and_as_another_request() -> None:
    nodes = Pretender("a", told_in_turn(None)), Pretender("b", told_in_turn(Failed("no quorum")))

    async def main() -> None:
        async with pretending(*nodes) as where, await connect(where, timeout=5, attempts=3) as store:
            with pytest.raises(OperationFailed):
                await store.get(b"k")
        asked = [call.call for node in nodes for call in node.calls]
        assert all(isinstance(call, CallGet) for node in nodes for call in node.calls)
        assert sorted(asked) == [1, 2, 3]
        assert {len(node.calls) for node in nodes} == {1, 2}

    asyncio.run(main())


class Mute(Pretender):
    """Takes calls and never answers, although it shows that it is alive."""

    def __init__(self) -> None:
        super().__init__("m", told_in_turn(None))
        self.answers = False


def test_a_silent_node_takes_its_share_of_the_time_and_another_is_asked(tmp_path: Path) -> None:
    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        mute = Mute()
        async with (
            running(settings),
            pretending(mute) as where,
            await connect([*where, settings.listen], timeout=1, attempts=3) as store,
        ):
            assert (await store.get(b"k")).values == ()
            assert len(mute.calls) == 1

    asyncio.run(main())


def test_a_deadline_is_kept() -> None:
    async def main() -> None:
        async with pretending(Mute()) as where, await connect(where) as store:
            async with asyncio.timeout(5):
                with pytest.raises(OperationFailed, match="node m did not answer in time"):
                    await store.get(b"k", timeout=0.1)
                with pytest.raises(MayHaveHappened, match="node m did not answer in time"):
                    await store.put(b"k", b"v", timeout=0.1)

    asyncio.run(main())


def test_closing_leaves_a_put_in_doubt_and_refuses_further_ones() -> None:
    async def main() -> None:
        async with pretending(Mute()) as where:
            store = await connect(where)
            put, get = (asyncio.create_task(c) for c in (store.put(b"k", b"v"), store.get(b"k")))
            await asyncio.sleep(0.02)
            await store.close()
            async with asyncio.timeout(2):
                with pytest.raises(MayHaveHappened):
                    await put
                with pytest.raises(OperationFailed):
                    await get
                with pytest.raises(Unreachable, match="the client is closed"):
                    await store.put(b"k", b"v")

    asyncio.run(main())


def test_so_many_calls_are_under_way_and_the_others_wait_for_their_turn() -> None:
    async def main() -> None:
        mute = Mute()
        async with pretending(mute) as where, await connect(where, attempts=1) as store:
            first = [asyncio.create_task(store.put(b"%d" % i, b"", timeout=30)) for i in range(256)]
            others = [store.put(b"%d" % i, b"", timeout=0.3) for i in range(256, 400)]
            outcomes = await asyncio.gather(*others, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {OperationFailed}, "who had no turn is sure"
            await store.close()
            assert {type(o) for o in await asyncio.gather(*first, return_exceptions=True)} == {MayHaveHappened}
        assert [call.call for call in mute.calls] == list(range(1, 257)), "in the order of their numbers"

    asyncio.run(main())


# Real nodes.


@pytest.mark.usefixtures("nobody_suspected")
def test_a_put_that_is_asked_again_is_written_once_and_the_logs_agree(tmp_path: Path) -> None:
    """Owner a is cut off when it is asked; while its client asks again the cut heals."""
    log = tmp_path / "logs" / "client.ndjson"
    log.parent.mkdir()

    async def main() -> None:
        settings = list(settings_of(tmp_path, ["a", "b", "c"], THREE, record=True).values())
        async with (
            running(*settings),
            clients(settings[0]) as (hands,),
            await connect([settings[0].listen], log, timeout=10, attempts=9) as store,
        ):
            await hands.faults(CallFaults(0, cut=(B, C)))
            before = (await hands.status()).steps
            put = asyncio.create_task(store.put(b"k", b"v"))
            while (await hands.status()).steps < before + 3:  # the put, its timeout, and the put again
                await asyncio.sleep(0.01)
            await hands.faults(CallFaults(0))
            stored = await put
            found = await store.get(b"k")
            assert [version.dot for version in found.siblings] == [stored.dot]
        for each in settings:
            lines = b"".join(export_log(each.data))
            (log.parent / f"{each.name}.ndjson").write_bytes(lines)

    asyncio.run(main())
    asked = [line for line in log.read_bytes().splitlines() if b"Invoked" in line and b'"Put"' in line]
    assert len(asked) >= 2
    report = examine(log.parent)
    assert report.problem is None, report.problem


def test_a_put_that_is_asked_again_after_a_crash_keeps_its_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node goes between commit and reply; the client finds it again, and it finds the dot on its disk."""
    tell = Server._tell

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        node = Running(settings)
        await node.ready()
        async with await connect([settings.listen], attempts=3) as store:
            first = await store.put(b"k", b"1")
            monkeypatch.setattr(Server, "_tell", lambda *_: node.stop.set())
            put = asyncio.create_task(store.put(b"k", b"2"))
            await node.task
            monkeypatch.setattr(Server, "_tell", tell)
            node = Running(settings)
            await node.ready()
            second = await put
            assert second.dot.counter == first.dot.counter + 1
            assert sorted((await store.get(b"k")).values) == [b"1", b"2"]
        await node.end()

    asyncio.run(main())


def test_a_put_that_never_left_is_definite_and_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        node = Running(settings)
        await node.ready()
        async with await connect([settings.listen]) as store:
            await node.end()
            while any(connection.open for connection in store._routes._connections.values()):
                await asyncio.sleep(0)
            with pytest.raises(Unreachable, match="connection refused"):
                await store.put(b"k", b"1")

    asyncio.run(main())


# Logs.


def log_of(path: Path, *calls: tuple[int, NodeId, Operation] | int) -> Path:
    """A client's log: calls by number, node and operation, and answers by number."""
    recorder = ClientRecorder(path, ClientId("c"))
    for call in calls:
        if isinstance(call, int):
            recorder.returned(RequestId(ClientId("c"), call), STORED)
        else:
            recorder.invoked(RequestId(ClientId("c"), call[0]), call[1], call[2])
    recorder.close()
    return path


PUT, OTHER, GET = Put(Key(b"k"), Value(b"1"), NOTHING), Put(Key(b"k"), Value(b"2"), NOTHING), Get(Key(b"k"))
AGAIN = as_asked_again(PUT)


def test_a_log_may_tell_that_a_put_was_asked_again(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", (1, A, PUT), (2, A, GET), (1, A, AGAIN), 1, (3, A, GET))
    read_log("log", log.read_bytes())


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (((1, A, PUT), (1, B, AGAIN)), "of another node, as another put, or"),
        (((1, A, PUT), (1, A, as_asked_again(OTHER))), "of another node, as another put, or"),
        (((1, A, PUT), (1, A, PUT)), "without the mark"),
        (((1, A, GET), (1, A, GET)), "a get takes a new number"),
        (((1, A, PUT), 1, (1, A, AGAIN)), "asked again, after its answer"),
    ],
)
def test_a_log_that_asks_again_wrongly_is_refused(
    tmp_path: Path, calls: Sequence[tuple[int, NodeId, Operation] | int], said: str
) -> None:
    log = log_of(tmp_path / "log", *calls)
    with pytest.raises(Invalid) as caught:
        read_log("log", log.read_bytes())
    assert said in caught.value.problem.said


def test_a_refusal_of_a_put_that_was_asked_before_is_not_final(tmp_path: Path) -> None:
    """The node wrote, its quorum did not come, and when it is asked again it has its hands full."""
    config = structs.replace(recorded.CONFIG, limits=Limits(requests_in_flight=1))
    run = recorded.Recorded(1, 1, config)
    key = run.keys[0]
    owner = owners_of(run.ring, key, config.n)[0]
    request, put = RequestId(ClientId("again"), 1), Put(key, Value(b"v"), NOTHING)
    log = run.logs.setdefault(request.client, [ClientLog(FORMAT, request.client)])

    def ask(put: Operation) -> None:
        log.append(Invoked(request, owner, put, run.tick()))
        run.take(owner, Invoke(request, put))

    ask(put)
    run.take(owner, Timeout(request))
    run.ask(ClientId("other"), owner, Get(key))
    ask(as_asked_again(put))
    steps = [entry for entry in run.logs[owner] if isinstance(entry, Step)]
    replies = [effect.result for step in steps for effect in step.effects if isinstance(effect, Reply)]
    assert [type(result) for result in replies] == [Indefinite, Indefinite]
    recorded.save(tmp_path, run.files())
    assert examine(tmp_path).problem is None


@pytest.mark.parametrize(("asked", "said"), [(1, "1 times, and arrived oftener"), (2, "again 1 times, and arrived")])
def test_a_put_arrives_no_oftener_than_it_was_asked(tmp_path: Path, asked: int, said: str) -> None:
    run = recorded.Recorded(1, 1)
    owner = owners_of(run.ring, run.keys[0], run.config.n)[0]
    request, put = RequestId(ClientId("again"), 1), Put(run.keys[0], Value(b"v"), NOTHING)
    log = run.logs.setdefault(request.client, [ClientLog(FORMAT, request.client)])
    puts: list[Operation] = [put, as_asked_again(put)][:asked]
    log += [Invoked(request, owner, each, run.tick()) for each in puts]
    for each in puts:
        run.take(owner, Invoke(request, each))
    recorded.save(tmp_path / "right", run.files())
    assert examine(tmp_path / "right").problem is None
    run.take(owner, Invoke(request, puts[-1]))
    recorded.save(tmp_path / "wrong", run.files())
    problem = examine(tmp_path / "wrong").problem
    assert problem is not None
    assert said in problem.said


# Reconciling.


def union(values: tuple[Value, ...]) -> bytes:
    """All members of all sets, and one more."""
    return b" ".join(sorted({b"new"}.union(*(value.split() for value in values))))


def test_update_reconciles_siblings_with_the_user_s_function(tmp_path: Path) -> None:
    async def main() -> None:
        settings = list(settings_of(tmp_path, ["a", "b", "c"], THREE).values())
        async with running(*settings), clients(*settings) as stores:
            assert (await stores[0].update(b"k", union)).values == (b"new",)
            before = await stores[1].get(b"k")
            assert await stores[1].update(b"k", union) == before, "what is as it should be is not written again"
            assert await stores[1].update(b"k", lambda _: None) == before
            for i, store in enumerate(stores):
                await store.put(b"s", b"%d" % i)
            assert (await stores[0].update(b"s", union)).values == (b"0 1 2 new",)

    asyncio.run(main())


def test_updates_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    def adding(member: bytes) -> Callable[[tuple[Value, ...]], bytes]:
        return lambda values: b" ".join(sorted({member}.union(*(value.split() for value in values))))

    async def main() -> None:
        settings = list(settings_of(tmp_path, ["a", "b", "c"], THREE).values())
        async with running(*settings), clients(*settings) as stores:
            everybody = [stores[i % 3].update(b"k", adding(b"%d" % i), rounds=50) for i in range(9)]
            await asyncio.gather(*everybody)
            found = await stores[0].update(b"k", union)
            assert set(found.values[0].split()) == {b"new", *(b"%d" % i for i in range(9))}

    asyncio.run(main())


def test_an_update_that_others_keep_undoing_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        settings = list(settings_of(tmp_path, ["a"], ONE).values())
        async with running(*settings), clients(*settings) as (store,):
            n = 0

            def contended(_: tuple[Value, ...]) -> bytes:
                nonlocal n
                n += 1
                others.append(asyncio.get_running_loop().create_task(store.put(b"k", b"other %d" % n)))
                return b"mine %d" % n

            others: list[asyncio.Task[Stored]] = []
            with pytest.raises(Unsettled, match="after 3 rounds there are 2 siblings") as caught:
                await store.update(b"k", contended, rounds=3)
            assert len(caught.value.found.siblings) == 2
            await asyncio.gather(*others)
            assert n == 3

    asyncio.run(main())


def test_what_became_of_many_is_told_key_by_key() -> None:
    """Node and script: even keys succeed, of the odd ones some fail and some are in doubt."""

    def script(call: Call) -> Told | None:
        assert isinstance(call, CallPut)
        return (STORED, Failed("no"), STORED, Indefinite("who knows"))[int(call.key) % 4]

    async def main() -> None:
        async with pretending(Pretender("a", script)) as where, await connect(where, attempts=2) as store:
            keys = [b"%d" % i for i in range(600)]
            puts = await store.put_many(dict.fromkeys(keys, b""))
            assert sorted(puts.stored) == sorted(key for key in keys if int(key) % 2 == 0)
            assert sorted(puts.failed) == sorted(key for key in keys if int(key) % 4 == 1)
            assert sorted(puts.unknown) == sorted(key for key in keys if int(key) % 4 == 3)

    asyncio.run(main())


def test_gets_of_many_keys(tmp_path: Path) -> None:
    async def main() -> None:
        settings = list(settings_of(tmp_path, ["a"], ONE).values())
        async with running(*settings), clients(*settings) as (store,):
            keys = [b"%d" % i for i in range(300)]
            assert len((await store.put_many({key: key for key in keys})).stored) == 300
            gets = await store.get_many([*keys, keys[0], b"x" * 5000])
            assert {key: found.values for key, found in gets.found.items()} == {key: (key,) for key in keys}
            assert [str(error) for error in gets.failed.values()] == ["the key is 5000 bytes, the limit is 4096"]

    asyncio.run(main())


def test_a_context_of_a_pretender_is_as_good_as_its_secret() -> None:
    """What the client binds a put to is the token alone."""
    token = seal(SECRET, Key(b"k"), NOTHING)
    node = Pretender("a", told_in_turn(STORED))

    async def main() -> None:
        async with pretending(node) as where, await connect(where) as store:
            await store.put(b"k", b"v", token)

    asyncio.run(main())
    assert node.calls == [CallPut(1, Key(b"k"), Value(b"v"), token)]
