"""The clients that benchmarks load stores with: a reply is heard once it is whole, however it arrives, and judged."""

from __future__ import annotations

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from impl.wire import PROTOCOL, Welcome, encode, framed
from spec.types import Key, NodeId, Value
from tests.bench.talk import (
    CLIENTS,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    SETTINGS,
    Client,
    Language,
    Told,
    frame,
)

KEY, VALUE = Key(b"a key"), Value(b"a value" * 40)


def grpc(message: bytes) -> bytes:
    """What etcd answers the first call with, between news of its own."""
    news = frame(SETTINGS, 0, 0, b"") + frame(PING, 0, 0, b"12345678")
    data = b"\0" + struct.pack(">I", len(message)) + message
    begun = frame(HEADERS, END_HEADERS, 1, b"\x88") + frame(DATA, 0, 1, data[:3]) + frame(DATA, 0, 1, data[3:])
    return news + begun + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"ok")


FAILED = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"it failed")
REPLIES: list[tuple[Language, str, bytes, str]] = [
    ("ringspec", "get", framed(encode((1, Told("FoundHere", "context")))), "FoundHere"),
    ("ringspec", "put", framed(encode((1, Told("Stored")))), "Stored"),
    ("ringspec", "put", framed(encode((1, Told("Failed")))), "Failed"),
    ("redis", "get", b"$280\r\n" + VALUE + b"\r\n", "FoundHere"),
    ("redis", "get", b"$-1\r\n", "$-1"),
    ("redis", "put", b"+OK\r\n:1\r\n", "Stored"),
    ("redis", "put", b"+OK\r\n:0\r\n", "nobody else has it"),
    ("redis", "put", b"-READONLY a replica\r\n", "-READONLY a replica"),
    ("etcd", "get", grpc(b"header " + KEY + VALUE), "FoundHere"),
    ("etcd", "get", grpc(b"header"), "nothing"),
    ("etcd", "get", FAILED, "a failure"),
    ("etcd", "put", grpc(b"header"), "Stored"),
    ("etcd", "put", FAILED, "a failure"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 1000])
@pytest.mark.parametrize(("language", "kind", "reply", "meaning"), REPLIES)
def test_a_reply_is_heard_once_it_is_whole(
    language: Language, kind: str, reply: bytes, meaning: str, size: int
) -> None:
    client, store = met(language)
    with closing(store), closing(client.socket):
        if kind == "get":
            client.get(KEY)
        else:
            client.put(KEY, VALUE, None)
        heard: Told | None = None
        for begin in range(0, len(reply), size):
            store.sendall(reply[begin : begin + size])
            heard = client.hear()
            assert (heard is not None) == (begin + size >= len(reply))
        assert heard is not None
        assert heard.type == meaning


def met(language: Language) -> tuple[Client, socket.socket]:
    """A client, and the other end of its connection, where it is welcome."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        client = pool.submit(CLIENTS[language], f"127.0.0.1:{server.getsockname()[1]}")
        store, _ = server.accept()
        if language == "ringspec":
            store.sendall(framed(encode(Welcome(PROTOCOL, NodeId("a"), "", 1, 1, 1, 1))))
        return client.result(), store
