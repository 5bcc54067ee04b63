"""A client of the store.

    async with await connect(["127.0.0.1:7401", "127.0.0.1:7402"]) as store:
        found = await store.get(b"cart")
        await store.put(b"cart", b"one apple", found.context)

Any node serves any key. A client keeps one connection, to the first of its nodes that it can reach, and numbers its
calls on it, so that many may be under way. When the connection is lost the next call looks for a node again.

What may become of a call is in the types. A result is success. `OperationFailed` and `OperationRefused` are definite: a
put that raises them had no effect and never will. `MayHaveHappened` is what remains: the put may have been written, or
may yet be, because a node said so or because the connection was lost before anybody could say.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from impl.clientlog import ClientRecorder
from impl.errors import UserError
from impl.transport import HELLO_SECONDS, Address, Frames, parse_address, reason_of
from impl.wire import (
    PROTOCOL,
    ROOM_FOR_ANSWER_BYTES,
    Call,
    CallFaults,
    CallGet,
    CallPut,
    CallStatus,
    ClientHello,
    Done,
    FoundHere,
    Status,
    Told,
    Turned,
    Welcome,
    answer_decoder,
    decode,
    reply_decoder,
)
from spec.clock import NOTHING
from spec.messages import Failed, Found, Get, Indefinite, Put, Refused, Stored
from spec.siblings import Siblings
from spec.token import TokenError, peek
from spec.types import ClientId, Key, NodeId, RequestId, Value

CALL_SECONDS = 15.0
"""How long a client waits for a reply; nodes give up sooner and say so."""

T = TypeVar("T")


class StoreError(UserError):
    """A call did not succeed; one line says why."""


class OperationFailed(StoreError):
    """Definite: the operation had no effect and never will. For a get: too few nodes answered in time."""


class OperationRefused(OperationFailed):
    """Definite: the operation was turned down before anything changed, and would be again."""


class Unreachable(OperationFailed):
    """Definite: no node could be asked."""


class MayHaveHappened(StoreError):
    """The put may have been written, or may yet be."""


class Values(Struct, frozen=True):
    """What a get found."""

    siblings: Siblings
    """The versions of the key that nobody has reconciled; usually one, none where nothing was ever put."""
    context: str
    """Put with this context supersedes exactly these versions."""

    @property
    def values(self) -> tuple[Value, ...]:
        """The values of the siblings, in their order."""
        return tuple(version.value for version in self.siblings)


class Lost(Exception):
    """The connection ended before the reply came."""


class Connection:
    """One conversation with one node."""

    def __init__(self, frames: Frames) -> None:
        """Over frames that are about to be opened."""
        self.node = NodeId("")
        self.turned = ""
        """What the node said when it turned this client away."""
        self._frames = frames
        self._calls: dict[int, asyncio.Future[Told]] = {}
        self._welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        frames.on_frame, frames.on_lost, frames.on_refused = self._answered, self._lost, self._misunderstood

    @property
    def open(self) -> bool:
        """Whether calls can still be made."""
        return self._frames.open

    async def greet(self, client: ClientId) -> None:
        """Introduce the client. Raises Lost if the node will not have it."""
        self._frames.send(ClientHello(PROTOCOL, client))
        await self._welcome

    async def ask(self, call: Call) -> Told:
        """Make a call and wait for its reply. Raises Lost if the connection ends before, TimeoutError."""
        if not self._frames.open:
            raise Lost
        reply: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._calls[call.call] = reply
        self._frames.send(call)
        try:
            return await asyncio.wait_for(reply, CALL_SECONDS)
        finally:
            self._calls.pop(call.call, None)

    def close(self) -> None:
        """End the conversation; open calls are lost."""
        self._frames.close()

    def _answered(self, frame: memoryview) -> None:
        answer = decode(answer_decoder, frame)
        if isinstance(answer, Turned):
            self._misunderstood(answer.reason)
            self._frames.close()
            return
        assert isinstance(answer, Welcome)
        self.node = answer.node
        self._frames.limit = answer.frame_bytes + ROOM_FOR_ANSWER_BYTES
        self._frames.on_frame = self._replied
        self._welcome.set_result(None)

    def _replied(self, frame: memoryview) -> None:
        reply = decode(reply_decoder, frame)
        if isinstance(reply.told, Turned):
            self._misunderstood(reply.told.reason)
            self._frames.close()
            return
        future = self._calls.pop(reply.call, None)
        if future is not None and not future.done():
            future.set_result(reply.told)

    def _misunderstood(self, reason: str) -> None:
        self.turned = reason

    def _lost(self) -> None:
        calls, self._calls = self._calls, {}
        lose(self._welcome)
        for reply in calls.values():
            lose(reply)


def lose(future: asyncio.Future[T]) -> None:
    """Whoever waits is told that nothing will come; nobody may be waiting any more."""
    if not future.done():
        future.set_exception(Lost())
        future.exception()


async def open_connection(address: Address, client: ClientId) -> Connection:
    """Talk to the node at an address. Raises Unreachable."""
    frames = Frames(ROOM_FOR_ANSWER_BYTES)
    connection = Connection(frames)
    try:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(HELLO_SECONDS):
            await loop.create_connection(lambda: frames, *address)
            await connection.greet(client)
    except Lost:
        raise Unreachable(
            f"node at {address} turned the client away: {connection.turned or 'no reason given'}"
        ) from None
    except TimeoutError:
        frames.close()
        raise Unreachable(f"node at {address} does not answer") from None
    except OSError as error:
        raise Unreachable(f"no node at {address}: {reason_of(error)}") from None
    return connection


class Client:
    """A session with the store; use `connect`. Safe for many tasks of one event loop."""

    def __init__(self, nodes: Sequence[Address], log: Path | None = None) -> None:
        """Nodes in the order in which they are tried; `log` is a new file for the client's log."""
        self.name = ClientId(secrets.token_hex(8))
        self._nodes = tuple(nodes)
        self._operations = self._others = 0
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._recorder = ClientRecorder(log, self.name) if log is not None else None

    async def get(self, key: bytes) -> Values:
        """What the store holds of a key. Raises OperationFailed if not enough nodes could be asked."""
        connection = await self._connected()
        self._operations += 1
        call = CallGet(self._operations, Key(key))
        request = RequestId(self.name, call.call)
        if self._recorder:
            self._recorder.invoked(request, connection.node, Get(call.key))
        try:
            told = await connection.ask(call)
        except Lost:
            raise OperationFailed(lost(connection)) from None
        except TimeoutError:
            raise OperationFailed(f"node {connection.node} did not answer in time") from None
        match told:
            case FoundHere():
                if self._recorder:
                    self._recorder.returned(request, Found(told.siblings, peek(told.context)))
                return Values(told.siblings, told.context)
            case Failed() | Refused():
                raise self._unhappy(request, told)
            case _:
                raise OperationFailed(f"node {connection.node} answered a get with {type(told).__name__}")

    async def put(self, key: bytes, value: bytes, context: str | None = None) -> Stored:
        """Write a value over everything that the context covers; without one, beside whatever there is.

        Raises OperationFailed or OperationRefused if it has not happened, MayHaveHappened if nobody knows.
        """
        try:
            clock = NOTHING if context is None else peek(context)
        except TokenError as error:
            raise OperationRefused(str(error)) from None
        connection = await self._connected()
        self._operations += 1
        call = CallPut(self._operations, Key(key), Value(value), context)
        request = RequestId(self.name, call.call)
        if self._recorder:
            self._recorder.invoked(request, connection.node, Put(call.key, call.value, clock))
        try:
            told = await connection.ask(call)
        except Lost:
            raise MayHaveHappened(lost(connection)) from None
        except TimeoutError:
            raise MayHaveHappened(f"node {connection.node} did not answer in time") from None
        match told:
            case Stored():
                if self._recorder:
                    self._recorder.returned(request, told)
                return told
            case Failed() | Refused() | Indefinite():
                raise self._unhappy(request, told)
            case _:
                raise MayHaveHappened(f"node {connection.node} answered a put with {type(told).__name__}")

    async def status(self) -> Status:
        """How the node is that this client talks to. Raises OperationFailed."""
        return await self._ask_about(CallStatus(self._next_other()), Status)

    async def faults(self, wanted: CallFaults) -> None:
        """Make the node's links as faulty as asked. Raises OperationFailed, OperationRefused if it will not."""
        await self._ask_about(replace(wanted, call=self._next_other()), Done)

    async def close(self) -> None:
        """End the session, and its log."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._recorder:
            self._recorder.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask_about(self, call: CallStatus | CallFaults, answer: type[T]) -> T:
        connection = await self._connected()
        try:
            told = await connection.ask(call)
        except (Lost, TimeoutError):
            raise OperationFailed(lost(connection)) from None
        if isinstance(told, Refused):
            raise OperationRefused(told.reason)
        if not isinstance(told, answer):
            raise OperationFailed(f"node {connection.node} answered with {type(told).__name__}")
        return told

    def _next_other(self) -> int:
        self._others -= 1
        return self._others

    def _unhappy(self, request: RequestId, told: Failed | Refused | Indefinite) -> StoreError:
        if self._recorder:
            self._recorder.returned(request, told)
        kinds = {Failed: OperationFailed, Refused: OperationRefused, Indefinite: MayHaveHappened}
        return kinds[type(told)](told.reason)

    async def _connected(self) -> Connection:
        """The connection to a node; a new one to the first that can be reached if there is none."""
        async with self._connecting:
            if self._connection is not None and self._connection.open:
                return self._connection
            problems = []
            for address in self._nodes:
                try:
                    self._connection = await open_connection(address, self.name)
                except Unreachable as error:
                    problems.append(str(error))
                else:
                    return self._connection
            raise Unreachable("; ".join(problems))


def lost(connection: Connection) -> str:
    """What to say of a call whose connection ended."""
    why = f": {connection.turned}" if connection.turned else ""
    return f"the connection to node {connection.node} ended before it answered{why}"


async def connect(nodes: Sequence[str | Address], log: Path | None = None) -> Client:
    """A session with the store at these nodes, tried in this order. Raises Unreachable if none answers.

    With `log`, what the client asks and is told is kept in that file, which must not exist (`spec.trace`).
    """
    addresses = [parse_address(node) if isinstance(node, str) else node for node in nodes]
    client = Client(addresses, log)
    try:
        await client._connected()
    except Unreachable:
        await client.close()
        raise
    return client
