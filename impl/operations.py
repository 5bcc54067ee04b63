"""One attempt at one operation: it is numbered and logged, asked of one node, and the answer is given its meaning.

A node answers a put that it coordinates by the specification, and turns some away at the door: it is stopping, its disk
is full, the context is forged. Either may meet a put that was asked before. What the door says then is taken as the
specification takes its own refusals (`spec.requests.unchanged`), and is in no log, for no step decided it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeAlias

from impl.attempts import Asked, Patience
from impl.clientlog import ClientRecorder
from impl.connection import Connection, Lost, TooLarge
from impl.deadlines import milliseconds
from impl.outcomes import MayHaveHappened, OperationFailed, Values, refusal
from impl.wire import CallGet, CallPut, FoundHere, Stopping, StoredHere, Told, Untold
from spec.messages import Failed, Found, Get, Indefinite, Operation, Overloaded, Refused, Result, Stored
from spec.requests import unchanged
from spec.token import peek
from spec.types import ClientId, RequestId

Attempt: TypeAlias = Stored | StoredHere | OperationFailed | MayHaveHappened
"""What one attempt at a put gave."""


class Operations:
    """The operations of one client, in the order of their numbers."""

    def __init__(self, client: ClientId, log: Path | None) -> None:
        """None yet; `log` is a new file."""
        self._client = client
        self._made = 0
        self._recorder = ClientRecorder(log, client) if log is not None else None

    def close(self) -> None:
        """End the log."""
        if self._recorder:
            self._recorder.close()

    async def get(self, connection: Connection, get: Get, seconds: float) -> Values:
        """One attempt at a get, as a request of its own, that is waited for so long. Raises OperationFailed."""
        async with connection.turn():
            request = self._next(connection, get)
            try:
                told = await connection.ask(CallGet(request.operation, get.key, milliseconds(seconds), get.wishes))
            except Lost:
                raise OperationFailed(connection.why_lost()) from None
            except TooLarge as error:
                told = Refused(str(error))
        match told:
            case FoundHere():
                self._returned(request, Found(told.siblings, peek(told.context)))
                return Values(told.siblings, told.context)
            case Failed() | Refused():
                self._returned(request, told)
                raise refusal(told)
            case Stopping():
                self._returned(request, Failed(f"node {connection.node} is stopping"))
                raise OperationFailed(f"node {connection.node} is stopping")
            case Untold():
                raise OperationFailed(f"what is stored is {told.size} bytes, more than an answer of {told.limit}")
            case _:
                raise OperationFailed(f"node {connection.node} answered a get with {type(told).__name__}")

    async def put(self, connection: Connection, asked: Asked, patience: Patience) -> Attempt:
        """One attempt at a put, always as the same request."""
        asked.told = None
        put = asked.put
        try:
            async with asyncio.timeout(patience.left), connection.turn():
                if not connection.open and asked.request is None:
                    return OperationFailed(connection.why_lost())
                asked.request = self._next(connection, put, asked.request)
                call = CallPut(
                    asked.request.operation,
                    put.key,
                    put.value,
                    asked.context,
                    put.again,
                    put.show,
                    milliseconds(patience.left),
                    put.wishes,
                    put.condition,
                )
                told = await connection.ask(call)
        except Lost:
            return MayHaveHappened(connection.why_lost())
        except TooLarge as error:
            told = Refused(str(error))
        except TimeoutError:
            problem = f"node {connection.node} did not answer in time"
            return OperationFailed(problem) if asked.request is None else MayHaveHappened(problem)
        return self._meaning(connection, asked, told)

    def _meaning(self, connection: Connection, asked: Asked, told: Told) -> Attempt:
        """What an answer says of a put."""
        answer = Refused(f"node {connection.node} is stopping") if isinstance(told, Stopping) else told
        match answer:
            case Stored() if not asked.put.show:
                self._returned(asked.request, answer)
                return answer
            case StoredHere() if asked.put.show:
                shown = Found(answer.shown.siblings, peek(answer.shown.context))
                self._returned(asked.request, Stored(answer.dot, shown))
                return answer
            case Failed() | Refused():
                meant = unchanged(asked.put, answer)
                if isinstance(meant, Indefinite):
                    return MayHaveHappened(meant.reason)
                self._returned(asked.request, answer)
                if isinstance(told, Stopping | Overloaded):
                    asked.request = None  # another node, or this one later, may take it, as another request
                return refusal(answer)
            case Indefinite():
                asked.told = answer
                return MayHaveHappened(answer.reason)
            case Untold():
                told_of = f"{answer.size} bytes, more than an answer of {answer.limit}"
                return MayHaveHappened(f"the put is answered, but what it shows is {told_of}")
            case _:
                return MayHaveHappened(f"node {connection.node} answered a put with {type(told).__name__}")

    def give_up(self, asked: Asked) -> None:
        """The put will not be asked again: what its node said last is what its client was told."""
        if asked.told is not None:
            self._returned(asked.request, asked.told)

    def _next(self, connection: Connection, operation: Operation, again: RequestId | None = None) -> RequestId:
        """The name of a request that is asked in this very moment: a new one, unless it is asked again."""
        if again is None:
            self._made += 1
        request = again or RequestId(self._client, self._made)
        if self._recorder:
            self._recorder.invoked(request, connection.node, operation)
        return request

    def _returned(self, request: RequestId | None, result: Result) -> None:
        if self._recorder and request is not None:
            self._recorder.returned(request, result)
