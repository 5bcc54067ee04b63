"""Clients that ask stores one thing at a time, each in the store's own language, as cheaply as Python can.

A client is one connection. It writes a whole call at once, and reads what arrives until the reply is whole. What it
costs is taken from the same two cores as what is measured, so none of them decodes more than tells a success from
anything else: a call of etcd's gRPC is two HTTP/2 frames, whose headers are always the same, and Redis' replies are
lines.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time
from abc import ABC, abstractmethod
from typing import Literal

import msgspec
from msgspec import Struct

from impl.transport import parse_address
from impl.wire import LENGTH_BYTES, PROTOCOL, CallGet, CallPut, ClientHello, encode, framed
from spec.types import ClientId, Key, Value

Language = Literal["ringspec", "etcd", "redis"]


class Told(Struct, frozen=True, gc=False):
    """What clients look at in a reply, of whatever kind."""

    type: str
    """`Stored` or `FoundHere` where it is a success."""
    context: str | None = None
    """What a get of this store says that a put has to bring."""


class Client(ABC):
    """One connection."""

    def __init__(self, address: str) -> None:
        """Connected, and introduced where that is the custom."""
        self.socket = socket.create_connection(parse_address(address))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.key = Key(b"")
        """What was asked for last."""
        self.asked_ns = 0
        self._calls = 0
        self._received = b""

    def get(self, key: Key) -> None:
        """Ask for a key."""
        self._calls += 1
        self._ask(key, self._get(key))

    def put(self, key: Key, value: Value, context: str | None) -> None:
        """Put a key."""
        self._calls += 1
        self._ask(key, self._put(key, value, context))

    def hear(self) -> Told | None:
        """What was told, if all of it arrived."""
        arrived = self.socket.recv(1 << 16)
        if not arrived:
            raise ConnectionError("the store closed the connection")
        self._received += arrived
        return self._whole()

    def _ask(self, key: Key, call: bytes) -> None:
        self.key, self.asked_ns = key, time.perf_counter_ns()
        self.socket.sendall(call)

    @abstractmethod
    def _get(self, key: Key) -> bytes: ...

    @abstractmethod
    def _put(self, key: Key, value: Value, context: str | None, /) -> bytes: ...

    @abstractmethod
    def _whole(self) -> Told | None:
        """The reply that was received, if it is whole."""


class RingspecClient(Client):
    """Of a node, or of an echo of one."""

    _decoder = msgspec.msgpack.Decoder(tuple[int, Told])

    def __init__(self, address: str) -> None:
        """Introduced and welcome."""
        super().__init__(address)
        self.socket.sendall(framed(encode(ClientHello(PROTOCOL, ClientId(secrets.token_hex(8))))))
        size = int.from_bytes(self.socket.recv(LENGTH_BYTES, socket.MSG_WAITALL))
        self.socket.recv(size, socket.MSG_WAITALL)

    def _get(self, key: Key) -> bytes:
        return framed(encode(CallGet(self._calls, key)))

    def _put(self, key: Key, value: Value, context: str | None, /) -> bytes:
        return framed(encode(CallPut(self._calls, key, value, context)))

    def _whole(self) -> Told | None:
        size = int.from_bytes(self._received[:LENGTH_BYTES])
        if len(self._received) < LENGTH_BYTES + size:
            return None
        call, told = self._decoder.decode(memoryview(self._received)[LENGTH_BYTES:])
        assert call == self._calls, f"a reply to call {call}, not to {self._calls}: {told}"
        self._received = b""
        return told


class RedisClient(Client):
    """Of a Redis server that has replicas: a put waits until one of them has it too."""

    def _get(self, key: Key) -> bytes:
        return b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key)

    def _put(self, key: Key, value: Value, _: str | None, /) -> bytes:
        store = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)
        return store + b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n1000\r\n"

    def _whole(self) -> Told | None:
        first, end, rest = self._received.partition(b"\r\n")
        if not end:
            return None
        if first == b"+OK":
            if not rest.endswith(b"\r\n"):
                return None
            told = "Stored" if int(rest[1:]) >= 1 else "nobody else has it"
        elif first[:1] == b"$" and first != b"$-1":
            if len(rest) < int(first[1:]) + 2:
                return None
            told = "FoundHere"
        else:
            told = first.decode()
        self._received = b""
        return Told(told)


DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
LARGEST_WINDOW = (1 << 31) - 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def field(number: int, value: bytes) -> bytes:
    """A field of bytes, shorter than 16 KiB, in a message of Protocol Buffers."""
    length = bytes((len(value),)) if len(value) < 128 else bytes((len(value) & 127 | 128, len(value) >> 7))
    return bytes((number << 3 | 2,)) + length + value


def headers(path: bytes, authority: bytes) -> bytes:
    """What a call of gRPC begins with, in HPACK's plainest form: names from its table, values as they are."""
    method_post, scheme_http = b"\x83", b"\x86"
    return b"".join(
        (
            method_post,
            scheme_http,
            b"\x04" + bytes((len(path),)) + path,
            b"\x01" + bytes((len(authority),)) + authority,
            b"\x0f\x10" + bytes((16,)) + b"application/grpc",
            b"\x00" + bytes((2,)) + b"te" + bytes((8,)) + b"trailers",
        )
    )


class EtcdClient(Client):
    """Of a member of an etcd cluster: gRPC, a stream for each call. Gets are linearizable, as etcd's are by default.

    A call that fails is answered by headers alone, so that a reply with data is a success.
    """

    def __init__(self, address: str) -> None:
        """Ready to call; the server may send as much as it likes."""
        super().__init__(address)
        name = address.encode()
        self._range = headers(b"/etcdserverpb.KV/Range", name)
        self._store = headers(b"/etcdserverpb.KV/Put", name)
        self._answer, self._success = b"", ""
        window = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, LARGEST_WINDOW))
        more = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGEST_WINDOW - 65_535))
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + window + more)

    def _get(self, key: Key) -> bytes:
        return self._call(self._range, field(1, key), "FoundHere")

    def _put(self, key: Key, value: Value, _: str | None, /) -> bytes:
        return self._call(self._store, field(1, key) + field(2, value), "Stored")

    def _call(self, head: bytes, message: bytes, success: str) -> bytes:
        self._answer, self._success, stream = b"", success, 2 * self._calls - 1
        body = frame(DATA, END_STREAM, stream, b"\0" + struct.pack(">I", len(message)) + message)
        return frame(HEADERS, END_HEADERS, stream, head) + body

    def _whole(self) -> Told | None:
        ended = False
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3])
            if len(self._received) < 9 + size:
                break
            kind, flags, payload = self._received[3], self._received[4], self._received[9 : 9 + size]
            self._received = self._received[9 + size :]
            if kind == DATA:
                self._answer += payload
            elif kind == HEADERS:
                ended = bool(flags & END_STREAM)
            elif kind in (SETTINGS, PING) and not flags & ACK:
                self.socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif kind not in (SETTINGS, PING, WINDOW_UPDATE):
                return Told(f"a frame of kind {kind}")
        if not ended:
            return None
        if not self._answer:
            return Told("a failure")
        found = self._success == "Stored" or self._answer.find(self.key) >= 0
        return Told(self._success if found else "nothing")


CLIENTS: dict[Language, type[Client]] = {"ringspec": RingspecClient, "etcd": EtcdClient, "redis": RedisClient}
