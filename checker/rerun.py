"""Re-execution: every recorded step is decided again by `spec.node.step`, and must come out the same.

A `Replica` drives one node through its log exactly as `spec.events` asks of a driver. It starts from the snapshot in
the header; from then on its disk is what the recorded steps wrote. At each start everything else is forgotten: requests
in flight, timers, the node value. So a restart that did not resume from exactly what was committed shows as soon as a
step depends on the difference.

Timers need a word. A timer may fire until the commit that cancels it has let the cancellation out, and the log does not
show commits. So a `Timeout` is in order whenever its timer was set and has not fired since, cancelled or not; what it
then does is decided by the step. Where recording began in the midst of a run, each timer may once have been set before.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from checker.logs import Invalid, NodeRecord, Place
from checker.story import changes, show
from spec.events import CancelTimer, Event, Reply, Send, SetTimer, Start, Timeout, WriteDisk, request_of
from spec.node import step
from spec.ring import Ring
from spec.rows import NO_ROW, Disk, Row
from spec.state import Node, Outcome, Request
from spec.trace import Step
from spec.types import Key, RequestId

SHOWN_CHARACTERS = 240
"""How much of a value is shown."""


class Replica:
    """One node, its disk, and what its driver keeps for it."""

    def __init__(self, record: NodeRecord, ring: Ring) -> None:
        """As the header of the log says, and not started."""
        self._down = Node(record.name, record.head.config, ring)
        self._node = self._down
        self._about: Disk | None = record.head.disk
        self._table: dict[Key, Row] = dict(record.rows)
        self._hints = sum(len(row.owed) for row in self._table.values())
        self._requests: dict[RequestId, Request] = {}
        self._timers: set[RequestId] = set()
        self._fired: set[RequestId] | None = None
        """The timers that have fired; None once none can fire that was set before the recording began."""
        running = record.head.running
        if running is not None:
            self._node, self._fired = replace(running.node, ring=ring), set()
            self._requests = {request.request: request for request in running.requests}

    def disk(self) -> Disk | None:
        """What the node knows of itself; part of the storage view of `spec.state`."""
        return self._about

    def row(self, key: Key) -> Row:
        """The row of a key; part of the storage view of `spec.state`."""
        return self._table.get(key, NO_ROW)

    def rows_after(self, after: tuple[Key, ...]) -> Iterator[tuple[Key, Row]]:
        """The next rows, by key; part of the storage view of `spec.state`."""
        keys = sorted(key for key in self._table if not after or key > after[0])
        return ((key, self._table[key]) for key in keys)

    def count_hints(self) -> int:
        """How many hints there are; part of the storage view of `spec.state`."""
        return self._hints

    def moment(self, event: Event, *, before: bool) -> Moment:
        """How things stand, as far as an event can matter to it."""
        if before and isinstance(event, Start):
            return Moment(self._node, self._about, tuple(self._requests.values()))
        about = request_of(event)
        request = None if about is None else self._requests.get(about)
        return Moment(self._node, self._about, () if request is None else (request,))

    def take(self, recorded: Step) -> Outcome:
        """Decide about the event of a step, and keep what was decided. Raises ValueError if it cannot have come."""
        event = recorded.event
        if isinstance(event, Start):
            self._node, self._requests, self._timers, self._fired = self._down, {}, set(), None
        elif isinstance(event, Timeout):
            self._fire(event.request)
        about = request_of(event)
        try:
            outcome = step(self._node, None if about is None else self._requests.get(about), self, event)
        except AssertionError as error:
            raise ValueError(f"no node can be given this event here: {error}") from None
        self._keep(about, outcome)
        return outcome

    def _fire(self, request: RequestId) -> None:
        """A timer fires. Raises ValueError if none can."""
        if request not in self._timers and (self._fired is None or request in self._fired):
            raise ValueError(f"no timer of {request} is set")
        self._timers.discard(request)
        if self._fired is not None:
            self._fired.add(request)

    def _keep(self, about: RequestId | None, outcome: Outcome) -> None:
        self._node = outcome.node
        if about is not None and outcome.request is None:
            self._requests.pop(about, None)
        elif about is not None and outcome.request is not None:
            self._requests[about] = outcome.request
        for write in outcome.writes:
            if isinstance(write, WriteDisk):
                self._about = write.disk
                continue
            self._hints += len(write.row.owed) - len(self.row(write.key).owed)
            if write.row == NO_ROW:
                self._table.pop(write.key, None)
            else:
                self._table[write.key] = write.row
        for effect in outcome.effects:
            match effect:
                case SetTimer():
                    self._timers.add(effect.request)
                case Send() | Reply() | CancelTimer():
                    pass


class Moment(Struct, frozen=True, gc=False):
    """What a node has in memory, and knows of itself, before or after a step."""

    node: Node
    disk: Disk | None
    requests: tuple[Request, ...]
    """The request in flight that the step is about; before a start, all that are lost by it."""


class Rerun(Struct, frozen=True):
    """What re-execution adds to a log."""

    before: tuple[Moment, ...]
    """For each step."""
    after: tuple[Moment, ...]


def rerun(record: NodeRecord, ring: Ring) -> Rerun:
    """Decide every step of a log again. Raises Invalid at the first that comes out differently."""
    replica = Replica(record, ring)
    before: list[Moment] = []
    after: list[Moment] = []
    for index, recorded in enumerate(record.steps):
        place = record.place(index)
        before.append(replica.moment(recorded.event, before=True))
        try:
            outcome = replica.take(recorded)
        except ValueError as error:
            raise Invalid("step", [place], f"{error}", [event_told(recorded)]) from None
        if outcome.writes != recorded.writes or outcome.effects != recorded.effects:
            raise differs(place, recorded, outcome)
        after.append(replica.moment(recorded.event, before=False))
    return Rerun(tuple(before), tuple(after))


def differs(place: Place, recorded: Step, outcome: Outcome) -> Invalid:
    """A step that the specification decides otherwise."""
    lines = [
        *changes(outcome.writes, recorded.writes, "writes"),
        *changes(outcome.effects, recorded.effects, "effects"),
    ]
    which = f"step {recorded.seq} of run {recorded.epoch} of node {recorded.node}"
    told = f"{which} is not what the specification does"
    return Invalid("step", [place], told, [event_told(recorded), "expected → observed:", *map(cut, lines)])


def event_told(recorded: Step) -> str:
    """The event of a step, in one line."""
    return cut(f"on {show(recorded.event)}")


def cut(text: str) -> str:
    """A line of bearable length."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
