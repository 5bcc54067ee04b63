"""What clients are told: values, siblings, contexts; and what became of what they asked when something failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from impl.client import (
    Client,
    MayHaveHappened,
    OperationFailed,
    OperationRefused,
    Unreachable,
    connect,
)
from impl.errors import UserError
from impl.local import free_ports
from impl.storage import Storage, StorageError, open_storage
from impl.wire import CallFaults
from spec.messages import Found, Refused, Stored
from spec.ring import build_ring, owners_of
from spec.trace import ClientLog, End, Entry, Invoked, Line, Returned, link
from spec.types import Config, Key, Limits, NodeId
from tests.nodes import ONE, SECRET, THREE, Running, clients, running, settings_of

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
NAMES = ["a", "b", "c"]


def with_store(
    path: Path, names: list[str], config: Config, test: Callable[[list[Running], list[Client]], Awaitable[None]]
) -> None:
    """Run a test against these nodes and a client of each."""

    async def main() -> None:
        settings = list(settings_of(path, names, config).values())
        async with running(*settings) as nodes, clients(*settings) as stores:
            await test(nodes, stores)

    asyncio.run(main())


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_what_was_put_is_found_at_every_node(tmp_path: Path, size: int) -> None:
    async def test(_: list[Running], stores: list[Client]) -> None:
        for i, key in enumerate([b"", b"\0", b"k\xff" * 100]):
            value = bytes([i]) * size
            await stores[i].put(key, value)
            for store in stores:
                assert (await store.get(key)).values == (value,)

    with_store(tmp_path, NAMES, THREE, test)


def test_puts_that_do_not_know_each_other_are_siblings_until_one_knows_both(tmp_path: Path) -> None:
    async def test(_: list[Running], stores: list[Client]) -> None:
        assert (await stores[0].get(b"k")).values == ()
        await stores[0].put(b"k", b"1", (await stores[0].get(b"k")).context)
        await stores[1].put(b"k", b"2")
        found = await stores[2].get(b"k")
        assert sorted(found.values) == [b"1", b"2"]
        await stores[0].put(b"k", b"3", found.context)
        found = await stores[1].get(b"k")
        assert found.values == (b"3",)
        assert len([str(version) for version in found.siblings]) == 1

    with_store(tmp_path, NAMES, THREE, test)


def test_a_put_shows_what_there_is_with_a_context_that_settles_it(tmp_path: Path) -> None:
    """Whether its node owns the key or forwards."""
    config = Config(n=2, r=1, w=2, partitions=8, tokens=8)

    async def test(_: list[Running], stores: list[Client]) -> None:
        for i, store in enumerate(stores):
            key = b"k%d" % i
            await store.put(key, b"1")
            shown = await store.put_and_show(key, b"2")
            assert sorted(shown.values) == [b"1", b"2"]
            shown = await store.put_and_show(key, b"3", shown.context)
            assert shown.values == (b"3",)
            await store.put(key, b"4", shown.context)
            assert (await store.get(key)).values == (b"4",)

    with_store(tmp_path, NAMES, config, test)


def test_many_calls_at_once_on_one_connection(tmp_path: Path) -> None:
    async def test(_: list[Running], stores: list[Client]) -> None:
        keys = [b"%d" % i for i in range(200)]
        await asyncio.gather(*(stores[0].put(key, key) for key in keys))
        found = await asyncio.gather(*(stores[1].get(key) for key in keys))
        assert [values.values for values in found] == [(key,) for key in keys]

    with_store(tmp_path, NAMES, THREE, test)


def test_nodes_that_do_not_own_a_key_forward(tmp_path: Path) -> None:
    config = Config(n=1, r=1, w=1, partitions=8, tokens=8, put_timeout_ms=500, get_timeout_ms=500)

    async def test(nodes: list[Running], stores: list[Client]) -> None:
        ring = build_ring(nodes[0].settings.members, config)
        keys = [b"%d" % i for i in range(20)]
        for i, key in enumerate(keys):
            stored = await stores[i % 3].put(key, key)
            assert (stored.dot.actor.node,) == owners_of(ring, Key(key), 1)
        assert [(await stores[1].get(key)).values for key in keys] == [(key,) for key in keys]

    with_store(tmp_path, NAMES, config, test)


@pytest.mark.usefixtures("nobody_suspected")
def test_contexts_that_were_not_given_out_for_the_key_are_refused(tmp_path: Path) -> None:
    async def test(nodes: list[Running], stores: list[Client]) -> None:
        (store,) = stores
        await store.put(b"k", b"1")
        context = (await store.get(b"k")).context
        other = "B" if context[0] == "A" else "A"
        steps = (await store.status()).steps
        for forged in (
            "",
            "x",
            "é",
            context[:-4],
            context + "AAAA",
            other + context[1:],
            context + "=",
            context + "\n",
        ):
            with pytest.raises(OperationRefused, match="context"):
                await store.put(b"k", b"2", forged)
        with pytest.raises(OperationRefused, match="not given out for this key"):
            await store.put(b"K", b"2", context)
        assert (await store.status()).steps == steps, "no forged context reached a step"
        await store.put(b"k", b"2", context)
        assert (await store.get(b"k")).values == (b"2",)
        assert not nodes[0].task.done()

    with_store(tmp_path, ["a"], ONE, test)


def test_limits_are_refused_with_what_they_are(tmp_path: Path) -> None:
    limits = Limits(key_bytes=10, value_bytes=10, siblings=2, frame_bytes=500)
    config = Config(n=1, r=1, w=1, partitions=8, tokens=8, limits=limits)

    async def test(_: list[Running], stores: list[Client]) -> None:
        (store,) = stores
        with pytest.raises(OperationRefused, match="the key is 11 bytes, the limit is 10"):
            await store.put(b"k" * 11, b"")
        with pytest.raises(OperationRefused, match="the value is 11 bytes, the limit is 10"):
            await store.put(b"k", b"v" * 11)
        for _i in range(2):
            await store.put(b"k", b"v")
        with pytest.raises(OperationRefused, match="the key has 2 siblings"):
            await store.put(b"k", b"v")
        waiting = asyncio.gather(*(store.get(b"k") for _ in range(9)))
        with pytest.raises(OperationRefused, match="node a takes at most 500"):
            await store.put(b"k", b"v" * 600)
        assert [len(found.values) for found in await waiting] == [2] * 9, "nobody else's call is lost by it"

    with_store(tmp_path, ["a"], config, test)


@pytest.mark.usefixtures("nobody_suspected")
def test_a_node_that_cannot_reach_a_quorum_says_what_it_knows(tmp_path: Path) -> None:
    async def test(_: list[Running], stores: list[Client]) -> None:
        await stores[0].put(b"k", b"1")
        await stores[0].faults(CallFaults(0, cut=(B, C)))
        with pytest.raises(MayHaveHappened, match="1 of 2 owners acknowledged"):
            await stores[0].put(b"k", b"2")
        with pytest.raises(OperationFailed, match="1 of 2 owners answered"):
            await stores[0].get(b"k")
        steps = (await stores[0].status()).steps
        await stores[1].put(b"k", b"3")
        await stores[1].get(b"k")
        assert (await stores[0].status()).steps == steps, "nothing arrives either"
        await stores[0].faults(CallFaults(0))
        assert sorted((await stores[0].get(b"k")).values) == [b"1", b"2", b"3"]

    with_store(tmp_path, NAMES, THREE, test)


def test_messages_that_are_delayed_repeated_and_reordered_change_no_answer(tmp_path: Path) -> None:
    async def test(_: list[Running], stores: list[Client]) -> None:
        for store in stores:
            await store.faults(CallFaults(0, delay_ms=20, duplicate=0.5))
        for i in range(20):
            found = await stores[i % 3].get(b"k")
            await stores[(i + 1) % 3].put(b"k", b"%d" % i, found.context)
        assert (await stores[0].get(b"k")).values == (b"19",)

    with_store(tmp_path, NAMES, THREE, test)


def test_faults_are_obeyed_only_by_nodes_started_for_them(tmp_path: Path) -> None:
    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE, faults=False).values()
        async with running(settings), clients(settings) as (store,):
            with pytest.raises(OperationRefused, match="not started with --faults"):
                await store.faults(CallFaults(0, crash_after_commits=1))

    asyncio.run(main())


@pytest.fixture
def storages(monkeypatch: pytest.MonkeyPatch) -> list[Storage]:
    """The storages of the nodes that are started, in order."""
    opened: list[Storage] = []

    def remember(path: Path, node: NodeId | None = None) -> Storage:
        opened.append(open_storage(path, node))
        return opened[-1]

    monkeypatch.setattr("impl.process.open_storage", remember)
    return opened


def test_a_full_disk_fails_a_put_for_certain_and_the_node_goes_on(tmp_path: Path, storages: list[Storage]) -> None:
    async def test(_: list[Running], stores: list[Client]) -> None:
        (store,) = stores
        await store.put(b"k", b"1")
        storages[0].limit_pages(20)
        with pytest.raises(OperationFailed, match="disk is full"):
            await store.put(b"k", b"x" * 500_000)
        assert (await store.get(b"k")).values == (b"1",)
        storages[0].limit_pages(10**6)
        await store.put(b"k", b"x" * 500_000)
        assert len((await store.get(b"k")).values) == 2

    with_store(tmp_path, ["a"], ONE, test)


def test_a_commit_whose_outcome_is_unknown_stops_the_node(tmp_path: Path, storages: list[Storage]) -> None:
    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        node = Running(settings)
        await node.ready()
        async with await connect([settings.listen]) as store:
            storages[0]._connection.execute("DROP TABLE rows")
            storages[0]._connection.execute("CREATE VIEW rows AS SELECT x'' AS key, x'' AS row WHERE 0")
            with pytest.raises(MayHaveHappened):
                await store.put(b"k", b"1")
        with pytest.raises(StorageError, match="outcome is unknown"):
            await node.task

    asyncio.run(main())


def entries(log: Path) -> list[Entry]:
    """What a client's log says; its chain has been checked."""
    chain, found = "", list[Entry]()
    for encoded in log.read_bytes().splitlines():
        line = msgspec.json.decode(encoded, type=Line)
        chain = link(chain, line.entry)
        assert line.chain == chain
        found.append(line.entry)
    return found


def test_a_client_logs_what_it_asked_and_was_told(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        async with running(settings), await connect([settings.listen], log) as store:
            await store.put(b"k", b"1")
            found = await store.get(b"k")
            await store.put(b"k", b"2", found.context)
            with pytest.raises(OperationRefused):
                await store.put(b"other", b"2", found.context)
        with pytest.raises(UserError, match="cannot be made"):
            Client([settings.listen], log)

    asyncio.run(main())
    head, *calls, end = entries(log)
    assert isinstance(head, ClientLog)
    assert isinstance(end, End)
    assert end.lines == 9
    told = []
    for i in range(0, 8, 2):
        asked, answer = calls[i : i + 2]
        assert isinstance(asked, Invoked)
        assert isinstance(answer, Returned)
        assert (asked.node, asked.request.client, asked.request.operation) == (A, head.client, i // 2 + 1)
        assert answer.request == asked.request
        assert answer.at_ns > asked.at_ns
        told.append(answer.result)
    first, found, _, refused = told
    assert isinstance(first, Stored)
    assert isinstance(found, Found)
    assert [version.dot for version in found.siblings] == [first.dot]
    assert isinstance(refused, Refused)


def test_a_put_whose_connection_is_lost_may_have_happened_and_nothing_is_logged_as_told(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def main() -> None:
        settings = list(settings_of(tmp_path, NAMES, THREE).values())
        node = Running(structs.replace(settings[0], drain_seconds=0.0))
        await node.ready()
        async with await connect([settings[0].listen], log, timeout=1) as store:
            calls = asyncio.gather(store.put(b"k", b"1"), store.get(b"k"), return_exceptions=True)
            await asyncio.sleep(0.05)
            await node.end()
            put, get = await calls
            assert isinstance(put, MayHaveHappened)
            assert isinstance(get, OperationFailed)
            with pytest.raises(Unreachable, match="connection refused"):
                await store.put(b"k", b"1")

    asyncio.run(main())
    assert [type(entry) for entry in entries(log)] == [ClientLog, Invoked, Invoked, End]


def test_a_client_finds_a_node_that_is_up(tmp_path: Path) -> None:
    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        nobody = f"127.0.0.1:{free_ports(1)[0]}"
        async with running(settings), await connect([nobody, str(settings.listen)]) as store:
            await store.put(b"k", b"1")
        with pytest.raises(Unreachable, match="connection refused") as caught:
            await connect([nobody, settings.listen])
        assert "\n" not in str(caught.value)

    asyncio.run(main())


def test_a_server_that_is_no_node_is_not_waited_for() -> None:
    async def main() -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        port = free_ports(1)[0]
        async with await asyncio.start_server(babble, "127.0.0.1", port):
            with pytest.raises(Unreachable, match="turned the client away"):
                await connect([f"127.0.0.1:{port}"])

    asyncio.run(main())


def test_a_restarted_node_holds_what_it_acknowledged(tmp_path: Path) -> None:
    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        for i in range(3):
            async with running(settings), clients(settings) as (store,):
                assert (await store.status()).epoch == i + 1
                found = await store.get(b"k")
                assert found.values == ((b"%d" % (i - 1),) if i else ())
                await store.put(b"k", b"%d" % i, found.context)

    asyncio.run(main())


def test_a_cluster_has_one_secret(tmp_path: Path) -> None:
    """Nodes with different secrets do not talk: a context from one would mean nothing to the other."""

    async def main() -> None:
        settings = settings_of(tmp_path, NAMES, THREE)
        odd = structs.replace(settings[B], secret=SECRET[::-1])
        nodes = [Running(settings[A]), Running(odd)]
        for node in nodes:
            await node.ready()
        while not any("differ in configuration" in line for line in nodes[0].said):
            await asyncio.sleep(0.005)
        for node in nodes:
            await node.end()

    asyncio.run(main())
