"""A client of the store, for asyncio; `impl.blocking` has the same for everybody else.

    async with await connect(["127.0.0.1:7401", "127.0.0.1:7402"]) as store:
        found = await store.get(b"cart")
        await store.put(b"cart", b"one apple", found.context)
        await store.update(b"cart", lambda values: b"\\n".join(sorted({*values, b"a pear"})))

Any node serves any key; which one is asked is a matter of routing (`impl.routing`). Calls are pipelined on each
connection. What may become of a call is in the types (`impl.outcomes`).

Every call has a deadline and, before it, so many attempts. A *get* that failed is asked again as a new request, of
another node if there is one; so is a put that a node was too busy to begin. A *put* that may have happened is asked
again as the same request at the same node, for only that node, with the disk it had, knows whether it has given the
request its dot; so it is not written twice (`spec.writing`). Once an attempt may have happened, no later refusal
makes the put undone: only success settles it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypeVar

from msgspec.structs import replace

from impl.attempts import Asked, Patience
from impl.connection import Connection, Lost
from impl.operations import Operations
from impl.outcomes import (
    ConditionUnmet,
    Gets,
    MayHaveHappened,
    NodeOverloaded,
    OperationFailed,
    OperationRefused,
    Puts,
    StoreError,
    Unreachable,
    Unsettled,
    Values,
)
from impl.reconcile import Change, Reconcile, reconciling
from impl.routing import Routes
from impl.transport import Address, parse_address
from impl.wire import CallFaults, CallStatus, Done, Status, StoredHere
from spec.clock import NOTHING
from spec.messages import Condition, Get, Put, Refused, Stored
from spec.quorum import AS_CONFIGURED_GET, AS_CONFIGURED_PUT, GetWishes, PutWishes
from spec.token import TokenError, peek
from spec.types import ClientId, Key, NodeId, Value

__all__ = [
    "ATTEMPTS",
    "TIMEOUT_SECONDS",
    "Client",
    "ConditionUnmet",
    "GetWishes",
    "Gets",
    "MayHaveHappened",
    "NodeOverloaded",
    "OperationFailed",
    "OperationRefused",
    "PutWishes",
    "Puts",
    "Routing",
    "StoreError",
    "Unreachable",
    "Unsettled",
    "Values",
    "connect",
]

TIMEOUT_SECONDS = 10.0
"""How long a call may take, all attempts together, unless it says otherwise."""

ATTEMPTS = 3
"""How often a call is made at most, unless it says otherwise."""

MANY_AT_ONCE = 256
"""Calls of one `get_many` or `put_many` that are under way together."""

Routing: TypeAlias = Literal["any", "ring"]
T = TypeVar("T")


class Client:
    """A session with the store; use `connect`. Safe for many tasks of one event loop."""

    def __init__(
        self,
        nodes: Sequence[Address],
        log: Path | None = None,
        *,
        routing: Routing = "any",
        timeout: float = TIMEOUT_SECONDS,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Nodes in the order in which they are tried; `log` is a new file for the client's log.

        `timeout` in seconds and `attempts` are those of each call; with one attempt nothing is ever asked again.
        """
        self.name = ClientId(secrets.token_hex(8))
        self.timeout, self.attempts = timeout, attempts
        self._routes = Routes(self.name, nodes, by_ring=routing == "ring")
        self._operations = Operations(self.name, log)

    async def open(self) -> None:
        """Talk to a node, and for ring-aware routing learn of the others. Raises Unreachable if none answers."""
        await self._routes.open()

    # One key.

    async def get(self, key: bytes, *, wishes: GetWishes = AS_CONFIGURED_GET, timeout: float | None = None) -> Values:
        """What the store holds of a key; `wishes` says how many nodes are to answer. Raises OperationFailed if not
        enough did in time.
        """
        patience, tried = self._patience(timeout), set[Address]()
        while True:
            connection = await self._in_time(patience, self._routes.to_key(Key(key), tried))
            seconds = patience.left / patience.attempts
            try:
                async with asyncio.timeout(seconds):
                    return await self._operations.get(connection, Get(Key(key), wishes), seconds)
            except TimeoutError:
                self._routes.was_late(connection, seconds)
                failed = OperationFailed(f"node {connection.node} did not answer in time")
            except OperationFailed as error:
                if isinstance(error, OperationRefused) and not isinstance(error, NodeOverloaded):
                    raise
                failed = error
            tried.add(connection.address)
            if not patience.spend():
                raise failed
            await patience.pause()

    async def put(
        self,
        key: bytes,
        value: bytes,
        context: str | None = None,
        *,
        wishes: PutWishes = AS_CONFIGURED_PUT,
        condition: Condition | None = None,
        timeout: float | None = None,
    ) -> Stored:
        """Write a value over everything that the context covers; without one, beside whatever there is.

        `wishes` says how many nodes are to hold it. With a `condition` it is taken only if nothing is there
        ("none-match"), or if what is there has exactly this context ("context-unchanged"), as far as the one node
        knows that coordinates it: of two such puts through one node the second raises ConditionUnmet. This is no
        compare-and-swap: through two nodes, or one that has missed a write, both may be taken and become siblings. A
        node that does not own the key cannot tell for certain that a put was turned down: route by the ring.

        Raises OperationFailed or OperationRefused if it has not happened and never will, MayHaveHappened if nobody
        knows.
        """
        stored = await self._put(key, value, context, wishes, condition, show=False, timeout=timeout)
        return Stored(stored.dot)

    async def put_and_show(
        self,
        key: bytes,
        value: bytes,
        context: str | None = None,
        *,
        wishes: PutWishes = AS_CONFIGURED_PUT,
        condition: Condition | None = None,
        timeout: float | None = None,
    ) -> Values:
        """Put, and see what there is afterwards as far as the coordinator of the put knows; a get asks R nodes.

        Raises what `put` raises.
        """
        stored = await self._put(key, value, context, wishes, condition, show=True, timeout=timeout)
        assert isinstance(stored, StoredHere), "the operations take no other answer"
        return Values(stored.shown.siblings, stored.shown.context)

    async def _put(
        self,
        key: bytes,
        value: bytes,
        context: str | None,
        wishes: PutWishes,
        condition: Condition | None,
        *,
        show: bool,
        timeout: float | None,
    ) -> Stored | StoredHere:
        patience = self._patience(timeout)
        try:
            clock = NOTHING if context is None else peek(context)
        except TokenError as error:
            raise OperationRefused(str(error)) from None
        asked = Asked(Put(Key(key), Value(value), clock, show=show, wishes=wishes, condition=condition), context)
        connection, tried = await self._in_time(patience, self._routes.to_key(asked.put.key)), set[Address]()
        while True:
            outcome = await self._operations.put(connection, asked, patience)
            if isinstance(outcome, Stored | StoredHere):
                if outcome.dot.actor.node != connection.node:
                    self._routes.doubt()  # it was forwarded: the ring is another than we think
                return outcome
            if not patience.left:
                self._routes.was_late(connection, patience.timeout)
            if asked.request is None and patience.spend():  # it never left, or was not begun
                tried.add(connection.address)
                if isinstance(outcome, NodeOverloaded):
                    await patience.pause()
                connection = await self._in_time(patience, self._routes.to_key(asked.put.key, tried))
                continue
            if isinstance(outcome, OperationFailed):
                self._routes.doubt()
                raise outcome
            asked.doubt = outcome
            again = await self._again(connection, patience) if patience.spend() else None
            if again is None:
                self._operations.give_up(asked)
                raise outcome
            connection = again

    async def update(self, key: bytes, function: Reconcile, *, rounds: int = 8, timeout: float | None = None) -> Values:
        """Get, let the function make one value of all there are, put it with the context; again on new siblings.

        The function is given the values of all siblings (none, where nothing is stored) and returns one, or None to
        leave them. It may be given what it made before, beside what others wrote: it must be such that this does no
        harm (a union, a maximum; no increment: for counters and more see `impl.convergent`). `timeout` is that of each
        get and put.

        Returns what the last get found. Raises what `get` and `put` raise; Unsettled if there still are siblings
        after so many rounds.
        """
        steps = reconciling(function, rounds)
        step = next(steps)
        while True:
            if isinstance(step, Change):
                await self.put(key, step.value, step.context, timeout=timeout)
            else:
                await asyncio.sleep(step.seconds)
            try:
                step = steps.send(await self.get(key, timeout=timeout))
            except StopIteration as end:
                found: Values = end.value
                return found

    # Many keys.

    async def get_many(self, keys: Iterable[bytes], *, timeout: float | None = None) -> Gets:
        """Get many keys at once: what was found, and what failed, key by key."""
        found: dict[bytes, Values] = {}
        failed: dict[bytes, OperationFailed] = {}

        async def get(key: bytes) -> None:
            try:
                found[key] = await self.get(key, timeout=timeout)
            except OperationFailed as error:
                failed[key] = error

        await many(get(key) for key in dict.fromkeys(keys))
        return Gets(found, failed)

    async def put_many(self, values: Mapping[bytes, bytes], *, timeout: float | None = None) -> Puts:
        """Put many keys at once, without a context: what is stored, what is not, and what nobody knows."""
        stored: dict[bytes, Stored] = {}
        failed: dict[bytes, OperationFailed] = {}
        unknown: dict[bytes, MayHaveHappened] = {}

        async def put(key: bytes, value: bytes) -> None:
            try:
                stored[key] = await self.put(key, value, timeout=timeout)
            except OperationFailed as error:
                failed[key] = error
            except MayHaveHappened as doubt:
                unknown[key] = doubt

        await many(put(key, value) for key, value in values.items())
        return Puts(stored, failed, unknown)

    # Nodes.

    async def status(self) -> Status:
        """How the node is that this client talks to. Raises OperationFailed."""
        connection = await self._in_time(self._patience(None), self._routes.to_any())
        return await self._ask_aside(connection, CallStatus(connection.aside()), Status)

    async def statuses(self) -> dict[NodeId, Status | None]:
        """How every member of the cluster is; None of those that cannot be asked. Raises OperationFailed."""
        await self._in_time(self._patience(None), self._routes.refresh())
        assert self._routes.map is not None, "a refresh draws it"

        async def of(node: NodeId, address: Address) -> Status | None:
            try:
                connection = await self._in_time(self._patience(None), self._routes.to(address, node))
                return await self._ask_aside(connection, CallStatus(connection.aside()), Status)
            except OperationFailed:
                return None

        addresses = self._routes.map.addresses
        return dict(zip(addresses, await asyncio.gather(*(of(*member) for member in addresses.items())), strict=True))

    async def faults(self, wanted: CallFaults) -> None:
        """Make the node's links as faulty as asked. Raises OperationFailed, OperationRefused if it will not."""
        connection = await self._in_time(self._patience(None), self._routes.to_any())
        await self._ask_aside(connection, replace(wanted, call=connection.aside()), Done)

    async def close(self) -> None:
        """End the session, and its log."""
        self._routes.close()
        self._operations.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # How.

    async def _again(self, connection: Connection, patience: Patience) -> Connection | None:
        """The same node again, as soon as it can be reached; None if it could not be in time."""
        while patience.left and not self._routes.closed:
            await patience.pause()
            try:
                same = self._routes.to(connection.address, connection.node, connection.incarnation)
                return await self._in_time(patience, same)
            except OperationFailed:
                continue
        return None

    async def _ask_aside(self, connection: Connection, call: CallStatus | CallFaults, answer: type[T]) -> T:
        try:
            async with asyncio.timeout(self.timeout), connection.turn():
                told = await connection.ask(call)
        except Lost:
            raise OperationFailed(connection.why_lost()) from None
        except TimeoutError:
            self._routes.was_late(connection, self.timeout)
            raise OperationFailed(f"node {connection.node} did not answer in time") from None
        if isinstance(told, Refused):
            raise OperationRefused(told.reason)
        if not isinstance(told, answer):
            raise OperationFailed(f"node {connection.node} answered with {type(told).__name__}")
        return told

    def _patience(self, timeout: float | None) -> Patience:
        return Patience(self.timeout if timeout is None else timeout, self.attempts)

    async def _in_time(self, patience: Patience, connecting: Awaitable[T]) -> T:
        """What connecting gives, before the deadline. Raises Unreachable."""
        try:
            async with asyncio.timeout(patience.left):
                return await connecting
        except TimeoutError:
            raise Unreachable(f"no node could be reached in {patience.timeout:g} s") from None


async def many(calls: Iterable[Coroutine[None, None, None]]) -> None:
    """Run these, so many at a time; the first error ends all."""
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call

    async with asyncio.TaskGroup() as group:
        for _ in range(MANY_AT_ONCE):
            group.create_task(work())


async def connect(
    nodes: Sequence[str | Address],
    log: Path | None = None,
    *,
    routing: Routing = "any",
    timeout: float = TIMEOUT_SECONDS,
    attempts: int = ATTEMPTS,
) -> Client:
    """A session with the store at these nodes, tried in this order. Raises Unreachable if none answers.

    With `log`, what the client asks and is told is kept in that file, which must not exist (`spec.trace`). Routing
    "any" stays with the first of these nodes that can be reached; "ring" asks an owner of the key. `timeout` in seconds
    and `attempts` are those of each call; with one attempt nothing is ever asked again.
    """
    addresses = [parse_address(node) if isinstance(node, str) else node for node in nodes]
    client = Client(addresses, log, routing=routing, timeout=timeout, attempts=attempts)
    try:
        await client.open()
    except Unreachable:
        await client.close()
        raise
    return client
