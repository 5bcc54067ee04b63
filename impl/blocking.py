"""The client of `impl.client` for programs without an event loop: the same names, and calls that wait.

    with connect(["127.0.0.1:7401", "127.0.0.1:7402"]) as store:
        found = store.get(b"cart")
        store.put(b"cart", b"one apple", found.context)

An event loop runs in a thread of its own for as long as the client is open, with the asynchronous client on it. Any
number of threads may call; functions that they give to `update` are called in theirs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from impl import client as asynchronous
from impl.client import (
    ATTEMPTS,
    TIMEOUT_SECONDS,
    Gets,
    MayHaveHappened,
    OperationFailed,
    Puts,
    Routing,
    StoreError,
    Values,
)
from impl.reconcile import Change, Reconcile, reconciling
from impl.transport import Address
from impl.wire import Status
from spec.messages import Condition, Stored
from spec.quorum import AS_CONFIGURED_GET, AS_CONFIGURED_PUT, GetWishes, PutWishes
from spec.types import NodeId

T = TypeVar("T")


class Client:
    """A session with the store; use `connect`. Every method does, gives and raises what its namesake there does."""

    def __init__(self, connecting: Callable[[], Coroutine[object, None, asynchronous.Client]]) -> None:
        """Connect, on a new event loop in a new thread. Raises what connecting raises, and leaves nothing behind."""
        self._loop = asyncio.new_event_loop()
        self._closing = threading.Lock()
        """Who holds it while the client is open may be sure that what it asks for is begun, and so given up."""
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="ringspec client", daemon=True)
        self._thread.start()
        try:
            self._client = self._wait(connecting())
        except BaseException:
            self._end(None)
            raise

    def get(self, key: bytes, *, wishes: GetWishes = AS_CONFIGURED_GET, timeout: float | None = None) -> Values:
        """See `impl.client.Client.get`."""
        return self._wait(self._client.get(key, wishes=wishes, timeout=timeout))

    def put(
        self,
        key: bytes,
        value: bytes,
        context: str | None = None,
        *,
        wishes: PutWishes = AS_CONFIGURED_PUT,
        condition: Condition | None = None,
        timeout: float | None = None,
    ) -> Stored:
        """See `impl.client.Client.put`."""
        stored = self._client.put(key, value, context, wishes=wishes, condition=condition, timeout=timeout)
        return self._wait(stored, MayHaveHappened)

    def put_and_show(
        self,
        key: bytes,
        value: bytes,
        context: str | None = None,
        *,
        wishes: PutWishes = AS_CONFIGURED_PUT,
        condition: Condition | None = None,
        timeout: float | None = None,
    ) -> Values:
        """See `impl.client.Client.put_and_show`."""
        shown = self._client.put_and_show(key, value, context, wishes=wishes, condition=condition, timeout=timeout)
        return self._wait(shown, MayHaveHappened)

    def update(self, key: bytes, function: Reconcile, *, rounds: int = 8, timeout: float | None = None) -> Values:
        """See `impl.client.Client.update`; the function is called in this thread."""
        steps = reconciling(function, rounds)
        step = next(steps)
        while True:
            if isinstance(step, Change):
                self.put(key, step.value, step.context, timeout=timeout)
            else:
                time.sleep(step.seconds)
            try:
                step = steps.send(self.get(key, timeout=timeout))
            except StopIteration as end:
                found: Values = end.value
                return found

    def get_many(self, keys: Iterable[bytes], *, timeout: float | None = None) -> Gets:
        """See `impl.client.Client.get_many`."""
        return self._wait(self._client.get_many(keys, timeout=timeout))

    def put_many(self, values: Mapping[bytes, bytes], *, timeout: float | None = None) -> Puts:
        """See `impl.client.Client.put_many`."""
        return self._wait(self._client.put_many(values, timeout=timeout))

    def status(self) -> Status:
        """See `impl.client.Client.status`."""
        return self._wait(self._client.status())

    def statuses(self) -> dict[NodeId, Status | None]:
        """See `impl.client.Client.statuses`."""
        return self._wait(self._client.statuses())

    def close(self) -> None:
        """End the session, its log and its thread; calls that wait in other threads fail."""
        with self._closing:
            closed, self._closed = self._closed, True
        if not closed:
            self._end(self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, call: Coroutine[object, None, T], cut_short: type[StoreError] = OperationFailed) -> T:
        """Run a call on the loop and wait for it; one that is interrupted (Ctrl-C) is given up.

        Raises what the call raises, and `cut_short` if the client is closed meanwhile.
        """
        with self._closing:
            if self._closed:
                call.close()
                raise OperationFailed("the client is closed")
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise cut_short("the client was closed before the call was answered") from None
        finally:
            future.cancel()

    def _end(self, client: asynchronous.Client | None) -> None:
        """Give up whatever still runs on the loop, then end the session, the loop and its thread."""

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if client is not None:
                await client.close()
                await asyncio.sleep(0)  # connections end in the loop's next turn

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def connect(
    nodes: Sequence[str | Address],
    log: Path | None = None,
    *,
    routing: Routing = "any",
    timeout: float = TIMEOUT_SECONDS,
    attempts: int = ATTEMPTS,
) -> Client:
    """See `impl.client.connect`."""
    return Client(lambda: asynchronous.connect(nodes, log, routing=routing, timeout=timeout, attempts=attempts))
