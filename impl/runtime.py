"""The runtime's core: events in, one batch at a time; effects out, once they may leave.

`Runtime.execute` is what `spec.events` asks of a driver, and all of it. It takes a batch of events, executes
`spec.node.step` on each in turn against the storage view, logs the steps if the run is recorded, commits everything in
one transaction, and only then hands back the effects, step by step. The name of an effect is its stamp: the step that
decided it, and its place among that step's effects. Requests in flight are kept in a dictionary, so that a step costs
what it touches.

It is synchronous, and knows nothing of sockets, clocks or threads: who calls it decides when, and what to do with the
effects. A caller that must not wait for a disk calls the two halves of `execute` by itself, `decide` and, on another
thread, `commit`. Events that arrive meanwhile are its next batch (group commit). If it calls `prepare` in between,
nothing is left to do on that other thread but to wait for the disk; at Python the two threads would only take turns.

When the disk is full the batch never happened: node, requests and log are as before it. When any other error meets a
commit, nobody knows what is durable; the runtime refuses to go on, and the node has to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from impl.errors import UserError
from impl.recorder import Recorder, start_recording
from impl.storage import DiskFull, Storage
from spec.events import Effect, Event, Start, request_of
from spec.node import step
from spec.ring import NO_RING, Member, build_ring
from spec.state import Node, Request
from spec.trace import Running, Stamp, Step
from spec.types import Config, NodeId, RequestId

EPOCH = "epoch"
"""The fact that counts the runs of the node."""


class Arrival(Struct, frozen=True, gc=False):
    """An event that waits for its step."""

    event: Event
    stamp: Stamp | None = None
    """For a delivered message, the name it was sent under."""
    until: float | None = None
    """When nobody waits for it any more, for those who have a clock (`impl.deadlines`)."""


class Released(Struct, frozen=True, gc=False):
    """What a step decided, which may leave."""

    seq: int
    """The step, of this run of the node. With the place of an effect it is the effect's name (`spec.trace.Stamp`)."""
    effects: tuple[Effect, ...]


class Batch(NamedTuple):
    """Steps that were taken and are not durable yet: what there was before them, and what may leave after."""

    node: Node
    seq: int
    requests: dict[RequestId, Request | None]
    """Of the requests that a step touched, those in flight before."""
    released: list[Released]
    taken: int
    """How many of the events; the others wait for the next batch."""


class Runtime:
    """One run of one node, over an open storage."""

    def __init__(
        self, storage: Storage, name: NodeId, config: Config, members: tuple[Member, ...], *, record: bool
    ) -> None:
        """Raises ConfigError if the members and the configuration do not fit."""
        self.storage = storage
        storage.cache.limit_bytes = config.limits.cache_bytes
        self.node = Node(name, config, build_ring(members, config))
        self.requests: dict[RequestId, Request] = {}
        self.epoch = int(storage.meta(EPOCH) or b"0") + 1
        self.seq = 0
        self.batches = 0
        self.after_commit: Callable[[], None] = lambda: None
        """Called between the commit of a batch and the release of its effects; a place for tests to pull the plug."""
        self.on_new_recording: Callable[[], None] = lambda: None
        """Called when a recording that was full has made way for a new one."""
        self._record = record
        self._recorder: Recorder | None = None

    @property
    def replaced_recording(self) -> bool:
        """Whether this run began a new recording in place of an older one."""
        return self._recorder is not None and self._recorder.replaced

    def start(self, incarnation: str) -> list[Released]:
        """Begin this run of the node; the id is fresh and used if the disk is new. Raises StorageError."""
        self.storage.set_meta(EPOCH, str(self.epoch).encode())
        if self._record:
            config, members = self.node.config, self.node.ring.members
            self._recorder = start_recording(self.storage, self.node.name, config, members, self.epoch)
        return self.execute([Arrival(Start(incarnation))])

    def close(self) -> None:
        """The run is over: close the recording. Raises StorageError if it stays open, which loses nothing."""
        if self._recorder:
            self._recorder.close()

    def execute(self, arrivals: Sequence[Arrival]) -> list[Released]:
        """Execute these events in order, make their writes durable, and return their effects, in order.

        Raises DiskFull if the last batch of them had no effect; StorageError if the node must stop.
        """
        released = list[Released]()
        while True:
            batch = self.decide(arrivals)
            released += self.commit(batch)
            arrivals = arrivals[batch.taken :]
            if not arrivals:
                return released
            assert batch.taken > 0, "a batch takes something"

    def decide(self, arrivals: Sequence[Arrival]) -> Batch:
        """The first half: take the steps, until they have touched so much that the rest has to wait.

        The next call must be `commit`, with this batch. Raises StorageError.
        """
        storage, requests = self.storage, self.requests
        if self._recorder is not None and self._recorder.full:
            self._record_anew(self._recorder)
        before, released = dict[RequestId, Request | None](), list[Released]()
        storage.touched_bytes = taken = 0
        most_bytes = self.node.config.limits.batch_bytes
        recorder, steps = self._recorder, list[Step]()
        node, seq = self.node, self.seq
        for arrival in arrivals:
            if storage.touched_bytes > most_bytes:
                break
            taken += 1
            event = arrival.event
            request_id = request_of(event)
            request = None if request_id is None else requests.get(request_id)
            outcome = step(node, request, storage, event)
            node, after = outcome.node, outcome.request
            seq += 1
            if request_id is not None and after is not request:
                if request is not None:
                    request_id = request.request  # the same, and from here on equal at once
                before.setdefault(request_id, request)
                self._keep(request_id, after)
            if outcome.writes:
                storage.write(outcome.writes)
            if outcome.effects:
                released.append(Released(seq, outcome.effects))
            if recorder is not None:
                steps.append(Step(node.name, self.epoch, seq, event, arrival.stamp, outcome.writes, outcome.effects))
        batch = Batch(self.node, self.seq, before, released, taken)
        self.node, self.seq = node, seq
        if recorder is not None and steps:
            recorder.record(steps)
        return batch

    def _record_anew(self, recorder: Recorder) -> None:
        requests = tuple([self.requests[request] for request in sorted(self.requests)])
        running = Running(self.epoch, self.seq, replace(self.node, ring=NO_RING), requests)
        with suppress(DiskFull):  # the recording that there is goes on, and this is tried again later
            recorder.begin(running)
            self.on_new_recording()

    def prepare(self, batch: Batch) -> None:
        """Do what of `commit` does not have to wait. Raises as `execute`, after which there is nothing to commit."""
        self._store(batch, self.storage.prepare)

    def commit(self, batch: Batch) -> list[Released]:
        """The second half, which may take long: make the writes durable; the effects may leave. Raises as `execute`."""
        self._store(batch, self.storage.commit)
        self.batches += 1
        if self._recorder:
            self._recorder.committed()
        self.after_commit()
        return batch.released

    def _store(self, batch: Batch, store: Callable[[], None]) -> None:
        """Do part of a commit; where the disk is full the batch never happened."""
        try:
            store()
        except DiskFull:
            self.node, self.seq = batch.node, batch.seq
            for request_id, request in batch.requests.items():
                self._keep(request_id, request)
            if self._recorder:
                self._recorder.rolled_back()
            raise

    def _keep(self, request_id: RequestId, request: Request | None) -> None:
        if request is None:
            self.requests.pop(request_id, None)
        else:
            self.requests[request_id] = request


def check_members(members: Sequence[Member], config: Config) -> None:
    """Refuse members and a configuration that do not fit (UserError)."""
    try:
        build_ring(tuple(members), config)
    except ValueError as error:
        raise UserError(str(error), status=2) from None
