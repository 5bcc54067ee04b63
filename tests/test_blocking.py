"""The synchronous face: it has every call of the asynchronous one, and they do the same from any thread."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from impl import blocking
from impl import client as asynchronous
from impl.blocking import connect
from impl.client import MayHaveHappened, OperationFailed, OperationRefused, Unreachable
from impl.errors import UserError
from impl.local import free_ports
from impl.wire import PROTOCOL, Welcome, encode, framed
from spec.types import NodeId, Value
from tests.live import Live

NOT_THERE = {"open", "faults"}
"""What `connect` does there already, and what only tests and demonstrations ask for."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with Live(tmp_path_factory.mktemp("live"), 3) as live:
        yield live


def threads() -> int:
    return sum(thread.name == "ringspec client" for thread in threading.enumerate())


def test_the_two_faces_have_the_same_names_and_parameters() -> None:
    def calls(kind: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: [str(parameter.replace(annotation=parameter.empty)) for parameter in parameters(method)]
            for name, method in methods
            if not name.startswith("_") and name not in NOT_THERE
        }

    def parameters(method: object) -> list[inspect.Parameter]:
        assert callable(method)
        return list(inspect.signature(method).parameters.values())

    assert calls(blocking.Client) == calls(asynchronous.Client)
    assert [str(p) for p in parameters(blocking.connect)] == [str(p) for p in parameters(asynchronous.connect)]


@pytest.mark.parametrize("routing", ["any", "ring"])
def test_every_call(nodes: Live, routing: asynchronous.Routing) -> None:
    key = routing.encode()
    with connect(nodes.addresses, routing=routing) as store:
        assert store.get(key).values == ()
        dot = store.put(key, b"1").dot
        found = store.get(key)
        assert [version.dot for version in found.siblings] == [dot]
        store.put(key, b"2", found.context)
        store.put(key, b"3")
        assert sorted(store.get(key).values) == [b"2", b"3"]
        caller = threading.get_ident()

        def largest(values: tuple[Value, ...]) -> bytes:
            assert threading.get_ident() == caller
            return max(values)

        assert store.update(key, largest).values == (b"3",)
        assert len(store.put_many({key + b"%d" % i: b"" for i in range(50)}).stored) == 50
        assert len(store.get_many(key + b"%d" % i for i in range(50)).found) == 50
        assert store.status().config.n == 3
        with pytest.raises(OperationRefused, match="the limit is 4096"):
            store.get(b"x" * 5000)


def test_many_threads_share_a_client(nodes: Live) -> None:
    with connect(nodes.addresses) as store, ThreadPoolExecutor(16) as pool:
        keys = [b"thread %d" % i for i in range(200)]
        list(pool.map(lambda key: store.put(key, key), keys))
        assert [found.values for found in pool.map(store.get, keys)] == [(key,) for key in keys]


def test_closing_ends_the_thread_and_what_waits(nodes: Live) -> None:
    before = threads()
    store = connect(nodes.addresses)
    assert threads() == before + 1
    store.close()
    store.close()
    assert threads() == before
    with pytest.raises(OperationFailed, match="the client is closed"):
        store.get(b"k")


def test_a_call_that_is_made_while_the_client_is_closed_fails_too(nodes: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look whether the client is open and the call nobody can close it, or the call would wait for ever."""
    submit = asyncio.run_coroutine_threadsafe

    def late(call: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Future[Any]:  # Any: as it comes
        if threading.current_thread() is getting:
            closing.start()
            closing.join(0.5)
        return submit(call, loop)

    failed = list[str]()

    def get() -> None:
        try:
            store.get(b"k")
        except Exception as error:
            failed.append(f"{type(error).__name__}: {error}")

    store = connect(nodes.addresses)
    getting, closing = threading.Thread(target=get, daemon=True), threading.Thread(target=store.close)
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", late)
    getting.start()
    getting.join(20)
    closing.join()
    assert failed == ["OperationFailed: the client was closed before the call was answered"]


def test_a_client_that_reaches_nobody_leaves_nothing_behind() -> None:
    before = threads()
    with pytest.raises(Unreachable, match="connection refused"):
        connect([f"127.0.0.1:{free_ports(1)[0]}"])
    with pytest.raises(UserError, match="is not an address"):
        connect(["nowhere"])
    assert threads() == before


def test_a_put_that_is_cut_short_is_in_doubt_and_a_get_has_failed() -> None:
    """The other side answers the hello and nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(3) as pool:
        connecting = pool.submit(connect, [f"127.0.0.1:{server.getsockname()[1]}"])
        node, _ = server.accept()
        with node:
            node.recv(1000)
            node.sendall(framed(encode(Welcome(PROTOCOL, NodeId("mute"), "disk", 1000, 1000, 1000, 9))))
            store = connecting.result()
            put, get = pool.submit(store.put, b"k", b"v"), pool.submit(store.get, b"k")
            said = b""
            while not (b"CallPut" in said and b"CallGet" in said):
                said += node.recv(1000)
            store.close()
            assert isinstance(put.exception(), MayHaveHappened)
            assert isinstance(get.exception(), OperationFailed)
