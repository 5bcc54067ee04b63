"""A node on the network: connections in, the runtime in the middle, connections out.

Whatever arrives becomes an event in one queue: a client's call an `Invoke`, a peer's message a `Deliver`, a timer that
fires a `Timeout`. A single task takes all that waits, has the runtime decide, has the decisions committed by the one
thread that writes, and then releases the effects: messages to peers, replies to clients, timers. Meanwhile new events
gather; they are the next batch. While that thread commits nobody else touches the storage; otherwise the loop reads it,
for handing every step to a thread would cost several times the step.

This module decides nothing: it may lose and delay, never invent, and it turns away what is not fit to be an event,
before it becomes one: frames that do not decode, nodes that do not belong to the cluster, contexts that the cluster did
not give out.

A client whose connection is lost gets no reply; what it asked for runs its course.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from impl.datafile import data_bytes
from impl.deadlines import deadline, worth_beginning
from impl.door import Door
from impl.frames import Frames
from impl.meters import Meters
from impl.nodelog import Say
from impl.peers import Peers
from impl.runtime import Arrival, Released, Runtime
from impl.session import Session, Waiting
from impl.settings import Settings
from impl.storage import DiskFull
from impl.timers import Timers
from impl.wire import (
    Alive,
    CallFaults,
    CallGet,
    CallPut,
    CallStatus,
    ClientHello,
    Done,
    Envelope,
    FoundHere,
    FromClient,
    Reply,
    Status,
    Stopping,
    StoredHere,
    Told,
    Turned,
    Untold,
    call_decoder,
    decode,
    encode,
    framed,
    reply_bytes,
)
from spec import events
from spec.clock import NOTHING, Clock
from spec.events import CancelTimer, Invoke, Send, SetTimer, Suspicion, Timeout
from spec.messages import Failed, Found, Get, Operation, Overloaded, Put, Refused, Result, Stored, as_asked_again
from spec.state import awaits_result
from spec.token import TokenError, seal, unseal
from spec.types import Key, Milliseconds, NodeId, RequestId

THREAD_SECONDS = 0.002
"""While commits take less than this, to wait for them costs less than to have another thread wait."""

FULL_DISK_RETRY_SECONDS = 1.0
"""After how long a timer fires again whose firing met a full disk."""

QUIET_SECONDS = 0.1
"""A node that stops answers calls, with that it stops, until there were none for so long: clients learn it that way."""

DRAIN_LOOK_SECONDS = 0.01
"""How often a node that stops looks whether everything has been answered."""


class Server:
    """One node: its runtime, its links and its clients."""

    def __init__(self, settings: Settings, runtime: Runtime, say: Say) -> None:
        """`say` is told of whatever an operator should know."""
        self.settings, self.runtime, self._say = settings, runtime, say
        self.meters = Meters()
        limits = settings.config.limits
        self._frame_bytes = reply_bytes(limits, limits.frame_bytes)
        self._reply_bytes = reply_bytes(limits, limits.message_bytes)
        self._stopping = False
        self._called_at = 0.0
        """When, since it stops, somebody called last."""
        disk = runtime.storage.disk()
        assert disk is not None, "a node that has started has a disk"
        self._door = Door(
            settings,
            disk.incarnation,
            peer=lambda frames, hello: self._peers.serve(frames, hello),
            client=self._serve_client,
            turned_away=self._turned_away,
        )
        self._arrivals: list[Arrival] = []
        self._most_arrivals = limits.queued_messages
        self._wake = asyncio.Event()
        self._held: set[Frames] = set()
        self._slow: set[Session] = set()
        """Clients that did not take their replies when they were last looked at."""
        self._waiting: dict[RequestId, Waiting] = {}
        self._peers = Peers(settings, runtime, self.meters, say, submit=self._submit, wake=self._wake.set)
        self._timers = Timers(lambda request: self._submit([Arrival(Timeout(request))]))

    # The loop: a batch at a time.

    async def run(self, listening: asyncio.Server, stop: asyncio.Event) -> None:
        """Serve until told to stop, then finish what was begun. Raises StorageError if the node has to stop."""
        writer = ThreadPoolExecutor(1, thread_name_prefix="storage")
        work = asyncio.create_task(self._work(writer))
        peers = [asyncio.create_task(task) for task in self._peers.tasks()]
        stopped = asyncio.create_task(stop.wait())
        try:
            await listening.start_serving()
            await asyncio.wait([work, stopped, *peers], return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                listening.close()
                await self._drain(work)
        finally:
            listening.close()
            for task in (work, stopped, *peers):
                if not task.done():
                    task.cancel()
            ended = await asyncio.gather(work, stopped, *peers, return_exceptions=True)
            writer.shutdown()  # waits for the batch, which is committed although its effects are lost
            self._door.close()
            self._timers.close()
        for end in ended:
            if isinstance(end, Exception):
                raise end

    async def _drain(self, work: asyncio.Task[None]) -> None:
        """Begin nothing for clients any more, and let what was begun end: with its reply, or at its own timeout."""
        self._stopping, self._called_at = True, time.monotonic()
        until = time.monotonic() + self.settings.drain_seconds
        while not work.done() and time.monotonic() < until:
            unanswered = any(awaits_result(request) for request in self.runtime.requests.values())
            quiet = time.monotonic() - self._called_at > QUIET_SECONDS
            if quiet and not (unanswered or self._waiting or self._arrivals):
                return
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        self._say("stopping with requests unanswered", requests=len(self._waiting))

    async def _work(self, writer: ThreadPoolExecutor) -> None:
        loop, limit = asyncio.get_running_loop(), self.settings.config.limits.batch_steps
        while True:
            self._gather()
            while not self._arrivals:
                self._wake.clear()
                await self._wake.wait()
                self._gather()
            batch, self._arrivals = self._in_time(self._arrivals[:limit]), self._arrivals[limit:]
            try:
                decided = self.runtime.decide(batch)
                if decided.taken < len(batch):
                    batch, self._arrivals = batch[: decided.taken], batch[decided.taken :] + self._arrivals
                self.runtime.prepare(decided)
                storage = self.runtime.storage
                if not storage.waits or storage.commit_seconds < THREAD_SECONDS:
                    released = self.runtime.commit(decided)
                else:
                    released = await loop.run_in_executor(writer, self.runtime.commit, decided)
            except DiskFull as error:
                self._give_back(batch, str(error))
            else:
                self.release(released)
                self._peers.standing.look()
            if self._held and len(self._arrivals) < self._most_arrivals // 2:
                held, self._held = self._held, set()
                for frames in held:
                    frames.hold("queue", False)
            if self._arrivals:
                await asyncio.sleep(0)  # replies leave, and others are heard, between batches

    def _gather(self) -> None:
        """Add to the events what waited elsewhere: hand-overs, and calls of clients that take their replies again."""
        if not self._stopping:
            self._peers.hand_over()
        for session in [session for session in self._slow if not session.slow]:
            self._slow.discard(session)
            self._arrivals += session.parked
            session.parked = []

    def _in_time(self, batch: list[Arrival]) -> list[Arrival]:
        """Those of these events that somebody still waits for, and takes; whoever asked for another is told so."""
        still, late = worth_beginning(batch, time.monotonic())
        for arrival in late:
            if isinstance(arrival.event, Invoke) and arrival.event.request not in self.runtime.requests:
                reason = f"node {self.settings.name} is overloaded: the time was up before it could begin"
                self._tell(arrival.event.request, Overloaded(reason))
        return [arrival for arrival in still if not self._is_parked(arrival)] if self._slow else still

    def _is_parked(self, arrival: Arrival) -> bool:
        """Whether the client that asks has to take its earlier replies first."""
        waiting = self._waiting.get(arrival.event.request) if isinstance(arrival.event, Invoke) else None
        if waiting is None or not waiting.session.slow:
            return False
        waiting.session.parked.append(arrival)
        return True

    def _look_again(self, session: Session) -> None:
        """A client has stopped taking its replies, or goes on."""
        self._slow.add(session)
        self._wake.set()

    def _submit(self, arrivals: list[Arrival], frames: Frames | None = None) -> None:
        """Put events in the queue; where it is full, the connection that they came from has to wait."""
        if not self._arrivals:
            self._wake.set()
        self._arrivals += arrivals
        if frames is not None and len(self._arrivals) > self._most_arrivals:
            frames.hold("queue", True)
            self._held.add(frames)

    def _give_back(self, batch: list[Arrival], reason: str) -> None:
        """The batch had no effect: fail what it was to begin, and fire its timers again later."""
        self._say("disk full", reason=reason)
        self.meters.full_disks += 1
        for arrival in batch:
            event = arrival.event
            if isinstance(event, Invoke) and event.request not in self.runtime.requests:
                self._tell(event.request, Failed(f"node {self.settings.name}: {reason}"))
            elif isinstance(event, Timeout) and event.request in self.runtime.requests:
                self._timers.set(event.request, FULL_DISK_RETRY_SECONDS)
            elif isinstance(event, Suspicion):
                self._peers.untold(event)

    # Effects.

    def release(self, released: list[Released]) -> None:
        """Do what a batch decided; it has been committed."""
        leaving: defaultdict[NodeId, list[Envelope]] = defaultdict(list)
        for each in released:
            seq = each.seq
            for index, effect in enumerate(each.effects):
                if type(effect) is Send:  # an exact type is told at once, a `case` that does not fit costs
                    leaving[effect.target].append(Envelope(seq, index, effect.message))
                elif type(effect) is CancelTimer:
                    self._timers.cancel(effect.request)
                elif type(effect) is SetTimer:
                    self._timers.set(effect.request, effect.after_ms / 1000)
                else:
                    assert isinstance(effect, events.Reply)
                    self._tell(effect.request, effect.result)
        for target, envelopes in leaving.items():
            self._peers.send(target, envelopes)

    def _tell(self, request: RequestId, result: Result) -> None:
        """Give a client its reply, if it is still there."""
        waiting = self._waiting.pop(request, None)
        if waiting is None:
            return
        body = encode(Reply(request.operation, self._for_client(result, waiting.operation.key)))
        if len(body) > self._reply_bytes:
            body = encode(Reply(request.operation, Untold(len(body), self._reply_bytes)))
        waiting.session.frames.send_frame(framed(body, self._frame_bytes))
        waiting.session.count(-1, -waiting.size)
        self.meters.replied(waiting.operation, result, time.monotonic() - waiting.since)

    def _for_client(self, result: Result, key: Key) -> Told:
        """A result in which contexts are tokens."""

        if isinstance(result, Found):
            return self._here(result, key)
        if isinstance(result, Stored) and result.shown is not None:
            return StoredHere(result.dot, self._here(result.shown, key))
        return result

    def _here(self, shown: Found, key: Key) -> FoundHere:
        return FoundHere(shown.siblings, seal(self.settings.secret, key, shown.context))

    # Connections.

    def accept(self) -> Frames:
        """The protocol of a new connection, which has to introduce itself."""
        return self._door.accept()

    def _turned_away(self, reason: str) -> None:
        self.meters.turned_away += 1
        self._say("connection turned away", reason=reason)

    def _serve_client(self, frames: Frames, hello: ClientHello) -> None:
        def gone() -> None:
            self._say("client gave no sign of life", client=hello.client)

        session = Session(frames, hello.client, self.settings.config.limits, changed=self._look_again, gone=gone)
        frames.on_frame = lambda frame: self._called(session, decode(call_decoder, frame), len(frame))

        def refused(reason: str) -> None:
            self._turned_away(reason)
            frames.send(Reply(0, Turned(reason)))

        frames.on_refused = refused

    def _called(self, session: Session, call: FromClient, size: int) -> None:
        if type(call) is CallGet:
            self._invoke(session, call.call, Get(call.key, call.wishes), call.within_ms, size)
        elif type(call) is CallPut:
            try:
                clock = NOTHING if call.context is None else self._clock(call.key, call.context)
            except TokenError as error:
                session.answer(Reply(call.call, Refused(str(error))))
            else:
                put = Put(call.key, call.value, clock, call.again, call.show, call.wishes, call.condition)
                self._invoke(session, call.call, put, call.within_ms, size)
        elif type(call) is Alive:
            session.beat()
        elif type(call) is CallStatus:
            session.answer(Reply(call.call, self.status()))
        else:
            assert isinstance(call, CallFaults)
            session.answer(Reply(call.call, self._obey(call)))

    def _clock(self, key: Key, context: str) -> Clock:
        """What a context stands for. Raises TokenError."""
        limit = self.settings.config.limits.context_bytes
        if len(context) > limit:
            raise TokenError(f"the context is {len(context)} bytes, the limit is {limit}")
        return unseal(self.settings.secret, key, context)

    def _invoke(
        self, session: Session, call: int, operation: Operation, within_ms: Milliseconds | None, size: int
    ) -> None:
        """Ask the runtime. Who asks again, over whatever connection, is told there; but a number names one call."""
        if self._stopping:
            self._called_at = time.monotonic()
            session.answer(Reply(call, Stopping()))
            return
        request = RequestId(session.client, call)
        before = self._waiting.get(request)
        if before is not None:
            if as_asked_again(before.operation) != as_asked_again(operation):
                session.answer(Reply(call, Refused(f"call {call} is still another call")))
                return
            before.session.count(-1, -before.size)
        self._waiting[request] = Waiting(session, operation, size, time.monotonic())
        session.count(+1, size)
        self._submit([Arrival(Invoke(request, operation, within_ms), None, deadline(within_ms))], session.frames)

    def _obey(self, wanted: CallFaults) -> Done | Refused:
        if not self.settings.faults:
            return Refused(f"node {self.settings.name} was not started with --faults")
        self._peers.faults.become(wanted)
        if wanted.crash_after_commits is not None:
            self.runtime.after_commit = Plug(wanted.crash_after_commits)
        return Done()

    def status(self) -> Status:
        """How the node is."""
        runtime, settings = self.runtime, self.settings
        return Status(
            node=settings.name,
            address=str(settings.listen),
            epoch=runtime.epoch,
            config=settings.config,
            members=settings.members,
            peers=self._peers.status(),
            requests=len(runtime.requests),
            waiting=len(self._arrivals),
            steps=runtime.seq,
            batches=runtime.batches,
            confirmed=self._peers.standing.confirmed,
            lacking=tuple(self._peers.standing.lacking),
            recorded=settings.record,
            faults=settings.faults,
            stopping=self._stopping,
            clients=len(self._door.clients),
            uptime=self.meters.uptime,
            data_bytes=data_bytes(settings.data),
            counts=self.meters.counts(),
        )


class Plug:
    """Pulled after so many commits: the process is gone at once, its commit durable and nothing of it sent."""

    def __init__(self, commits: int) -> None:
        """Count down from this many commits."""
        self._left = commits

    def __call__(self) -> None:
        """One more commit."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
