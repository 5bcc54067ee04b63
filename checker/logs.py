"""The logs of a run, read from a directory of `*.ndjson` files as `spec.trace` describes them.

Reading is strict, for what is skipped is not validated. A line must decode into the types of the specification, and
must be byte for byte what they encode to again, so that nothing stands in it that the types do not know. Its chain must
continue the chain of the line before, a log must begin with its header and end with `End`, and what a header or a line
says of whose log this is must agree. What fails is told as a `Problem` with the file and the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path

import msgspec
from msgspec import Struct

from spec.events import Deliver, Start, WriteDisk
from spec.messages import Known, Put, as_asked_again
from spec.ring import Ring, build_ring
from spec.rows import Row
from spec.trace import FORMAT, ClientLog, End, Entry, Held, Invoked, Line, NodeLog, Returned, Step, link_encoded
from spec.types import ClientId, Config, Key, NodeId, RequestId

SUFFIX = ".ndjson"
HEAD_LINES = 1
"""Lines before the first row of a snapshot, or the first call."""


class Place(Struct, frozen=True, order=True):
    """A line of a log."""

    file: str
    line: int
    """From 1."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Problem(Struct, frozen=True):
    """Why logs are not those of a run of the specification."""

    rule: str
    """What is broken: a word of this package, or the name of a property."""
    places: tuple[Place, ...]
    """Where: the line that does not fit, then those it does not fit to."""
    said: str
    """One line."""
    detail: tuple[str, ...] = ()
    """What else helps: the event, what was expected and observed."""


class Invalid(Exception):
    """Validation ends with a problem."""

    def __init__(self, rule: str, places: Iterable[Place], said: str, detail: Iterable[str] = ()) -> None:
        """See `Problem`."""
        self.problem = Problem(rule, tuple(places), said, tuple(detail))
        super().__init__(said)


class NodeRecord(Struct, frozen=True):
    """A node's log."""

    file: str
    head: NodeLog
    rows: tuple[tuple[Key, Row], ...]
    """The snapshot: what it held when recording began, by increasing key."""
    steps: tuple[Step, ...]
    first_of_epoch: dict[int, int]
    """For each epoch, the index of its first step."""
    found_out: int | None
    """The index of the first step in which the node found out that a disk of it was lost; None if there is none."""

    @property
    def name(self) -> NodeId:
        """Whose log it is."""
        return self.head.node

    @property
    def whole(self) -> bool:
        """Whether the recording began when the node did, and nothing of it was lost."""
        return self.head.disk is None and not self.lost

    @property
    def lost(self) -> bool:
        """Whether the node found out, in this log, that a disk of it was lost, and with it a log or a part of one."""
        return self.found_out is not None

    def place(self, index: int) -> Place:
        """The line of a step."""
        return Place(self.file, index + 1 + HEAD_LINES + len(self.rows))

    def index_of(self, epoch: int, seq: int) -> int | None:
        """Where the step with this number is; None if it is not in the log."""
        first = self.first_of_epoch.get(epoch)
        if first is None:
            return None
        at = first + seq - self.steps[first].seq
        return at if first <= at < len(self.steps) and self.steps[at].epoch == epoch else None

    def is_before(self, epoch: int, seq: int) -> bool:
        """Whether the step with this number was taken before recording began."""
        return (epoch, seq) < (self.steps[0].epoch, self.steps[0].seq)


class ClientRecord(Struct, frozen=True):
    """A client's log; the entry at index i is on line i + 2."""

    file: str
    head: ClientLog
    entries: tuple[Invoked | Returned, ...]

    @property
    def name(self) -> ClientId:
        """Whose log it is."""
        return self.head.client

    def place(self, index: int) -> Place:
        """The line of an entry."""
        return Place(self.file, index + 1 + HEAD_LINES)


class Logs(Struct, frozen=True):
    """All logs of a run, in the order of the names of nodes and of clients."""

    config: Config
    ring: Ring
    nodes: tuple[NodeRecord, ...]
    clients: tuple[ClientRecord, ...]

    @property
    def lost(self) -> bool:
        """Whether some of it was lost with a disk."""
        return any(node.lost for node in self.nodes)

    @property
    def whole(self) -> bool:
        """Whether everything was recorded from the beginning of the store."""
        return all(node.whole for node in self.nodes)


class NoLogs(Exception):
    """There is nothing to validate; one line that says why."""


_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


def read_logs(directory: Path, *, live: bool = False) -> Logs:
    """The logs of a directory; `live` accepts logs of nodes that were not closed.

    Raises NoLogs if there are none, Invalid if one cannot be what it says or they do not belong together.
    """
    if not directory.is_dir():
        raise NoLogs(f"there is no directory {directory}")
    files = sorted(directory.glob(f"*{SUFFIX}"))
    if not files:
        raise NoLogs(f"there are no logs (*{SUFFIX}) in {directory}")
    nodes: list[NodeRecord] = []
    clients: list[ClientRecord] = []
    for file in files:
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise NoLogs(f"log {file} cannot be read: {error.strerror}") from None
        record = read_log(file.name, raw, live=live)
        if isinstance(record, NodeRecord):
            nodes.append(record)
        else:
            clients.append(record)
    nodes.sort(key=lambda record: record.name)
    clients.sort(key=lambda record: record.name)
    return belong_together(directory, nodes, clients)


def read_log(file: str, raw: bytes, *, live: bool = False) -> NodeRecord | ClientRecord:
    """One log. Raises Invalid."""
    entries = list(read_entries(file, raw))
    head = entries[0] if entries else None
    last = entries[-1] if entries else None
    if not isinstance(head, NodeLog | ClientLog):
        raise Invalid("log", [Place(file, 1)], "a log must begin with a NodeLog or a ClientLog")
    if head.format != FORMAT:
        raise Invalid("log", [Place(file, 1)], f"the format is {head.format}; this program reads {FORMAT}")
    if isinstance(last, End):
        if last.lines != len(entries) - 1:
            told = f"the log ends after {len(entries) - 1} lines, but says {last.lines}"
            raise Invalid("log", [Place(file, len(entries))], told)
        entries.pop()
    elif not (live and isinstance(head, NodeLog)):
        told = "the log was not closed: its last line is no End, so lines may be missing after it"
        raise Invalid("log", [Place(file, len(entries))], told)
    if isinstance(head, NodeLog):
        return node_record(file, head, entries[HEAD_LINES:])
    return client_record(file, head, entries[HEAD_LINES:])


def read_entries(file: str, raw: bytes) -> Iterator[Entry]:
    """The entries of a log, each decoded and chained to the one before. Raises Invalid."""
    chain = ""
    lines = raw.split(b"\n")
    if lines[-1]:
        raise Invalid("line", [Place(file, len(lines))], "the last line is cut short: it does not end")
    for number, text in enumerate(lines[:-1], 1):
        place = Place(file, number)
        try:
            line = _decode(text)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise Invalid("line", [place], f"not a line of a log: {' '.join(str(error).split())[:200]}") from None
        entry = _encode(line.entry)
        if text != b'{"entry":' + entry + b',"chain":' + _encode(line.chain) + b"}":
            raise Invalid("line", [place], "something in this line is unknown, or not spelled as it is written")
        chain = link_encoded(chain, entry)
        if line.chain != chain:
            told = "the chain breaks: this line was altered, or lines before it are missing, repeated or moved"
            raise Invalid("chain", [place], told)
        yield line.entry


def node_record(file: str, head: NodeLog, entries: list[Entry]) -> NodeRecord:
    """A node's log, whose steps are all there and in order. Raises Invalid."""
    rows, entries = snapshot(file, head, entries), entries[head.rows :]
    place: Callable[[int], Place] = lambda index: Place(file, index + 1 + HEAD_LINES + len(rows))  # noqa: E731
    steps: list[Step] = []
    first_of_epoch: dict[int, int] = {}
    running = head.running
    epoch, seq = (0, 0) if running is None else (running.epoch, running.seq)
    for index, entry in enumerate(entries):
        if not isinstance(entry, Step):
            told = f"the log of a node has steps between its head and end, no {name(entry)}"
            raise Invalid("log", [place(index)], told)
        if entry.node != head.node:
            told = f"a step of node {entry.node} in the log of node {head.node}"
            raise Invalid("log", [place(index), Place(file, 1)], told)
        if isinstance(entry.event, Start):
            epoch, seq = epoch + 1 if epoch else entry.epoch, 1
        else:
            seq += 1
        if index == 0:
            check_first(file, head, entry, place(0))
        first_of_epoch.setdefault(epoch, index)
        if (entry.epoch, entry.seq) != (epoch, seq):
            told = f"this is step {entry.seq} of run {entry.epoch}; step {seq} of run {epoch} comes next"
            raise Invalid("order", [place(index)], told)
        steps.append(entry)
    if not steps:
        raise Invalid("log", [Place(file, 1)], "the log holds no step, not even the start of the node")
    found_out = next((index for index, step in enumerate(steps) if is_loss(step)), None)
    return NodeRecord(file, head, rows, tuple(steps), first_of_epoch, found_out)


def check_first(file: str, head: NodeLog, step: Step, place: Place) -> None:
    """The first step of a log must be one that can be the first. Raises Invalid."""
    here, running = Place(file, 1), head.running
    if running is None and not isinstance(step.event, Start):
        raise Invalid("order", [place], "the first step of a log must be a start")
    if (head.disk is None) != (running is None and step.epoch == 1):
        held = "held nothing" if head.disk is None else "held something"
        told = f"the disk {held} when recording began, but this was run {step.epoch}"
        raise Invalid("log", [here, place], told)
    if running is None:
        return
    if (running.node.name, running.node.config) != (head.node, head.config):
        raise Invalid(
            "log", [here], f"node {running.node.name} ran when recording began, or with another configuration"
        )
    if any(not a.request < b.request for a, b in pairwise(running.requests)):
        raise Invalid("log", [here], "the requests in flight must be sorted by id, each id once")


def is_loss(step: Step) -> bool:
    """Whether a node learns in this step that a disk of it was lost."""
    learns = isinstance(step.event, Deliver) and isinstance(step.event.message, Known)
    return learns and any(isinstance(write, WriteDisk) for write in step.writes)


def snapshot(file: str, head: NodeLog, entries: list[Entry]) -> tuple[tuple[Key, Row], ...]:
    """The rows that the head announces. Raises Invalid if these entries do not begin with so many that can be."""
    here = Place(file, 1)
    if head.disk is None and head.rows:
        raise Invalid("log", [here], "a new disk holds no rows")
    rows = tuple((entry.key, entry.row) for entry in islice(entries, head.rows) if isinstance(entry, Held))
    if len(rows) < head.rows:
        raise Invalid("log", [here], f"the snapshot has {len(rows)} rows; its head says {head.rows}")
    for number, ((before, _), (key, _)) in enumerate(pairwise(rows), HEAD_LINES + 2):
        if not before < key:
            told = "the rows of the snapshot must be sorted by key, each key once"
            raise Invalid("log", [Place(file, number), Place(file, number - 1)], told)
    return rows


def client_record(file: str, head: ClientLog, entries: list[Entry]) -> ClientRecord:
    """A client's log: calls numbered from 1 without a gap, each answered at most once and after it was made.

    A put may be asked again, of the same node, for as long as it has no answer. Raises Invalid.
    """
    calls: list[Invoked | Returned] = []
    made: dict[RequestId, int] = {}
    answered: dict[RequestId, Place] = {}
    for index, entry in enumerate(entries):
        place = Place(file, index + 1 + HEAD_LINES)
        if not isinstance(entry, Invoked | Returned):
            told = f"the log of a client has calls and answers between its head and end, no {name(entry)}"
            raise Invalid("log", [place], told)
        request = entry.request
        if request.client != head.client:
            told = f"a call of client {request.client} in the log of client {head.client}"
            raise Invalid("log", [place, Place(file, 1)], told)
        if calls and entry.at_ns < calls[-1].at_ns:
            raise Invalid("order", [place], "time goes backwards: this happened before what the line before tells")
        if isinstance(entry, Invoked) and request in made:
            check_repeated(entry, place, first=calls[made[request]], there=Place(file, made[request] + 1 + HEAD_LINES))
            if request in answered:
                raise Invalid("client", [place, answered[request]], f"{request} is asked again, after its answer")
        elif isinstance(entry, Invoked):
            if request.operation != len(made) + 1:
                told = f"this is call {request.operation}; call {len(made) + 1} comes next"
                raise Invalid("order", [place], told)
            made[request] = index
        elif request not in made:
            raise Invalid("client", [place], f"an answer to {request}, which was not asked")
        elif request in answered:
            raise Invalid("client", [place, answered[request]], f"a second answer to {request}")
        else:
            answered[request] = place
        calls.append(entry)
    return ClientRecord(file, head, tuple(calls))


def check_repeated(again: Invoked, place: Place, first: Invoked | Returned, there: Place) -> None:
    """A put that may have happened is asked again as it was, but for a mark. Raises Invalid."""
    if not isinstance(again.operation, Put):
        raise Invalid("client", [place, there], f"{again.request} is asked again; a get takes a new number")
    assert isinstance(first, Invoked)
    if (first.node, as_asked_again(first.operation)) != (again.node, again.operation):
        told = f"{again.request} is asked again, of another node, as another put, or without the mark"
        raise Invalid("client", [place, there], told)


def belong_together(directory: Path, nodes: list[NodeRecord], clients: list[ClientRecord]) -> Logs:
    """The logs, if they are those of one cluster. Raises Invalid, or NoLogs if there is no node's."""
    if not nodes:
        raise NoLogs(f"there are only logs of clients in {directory}; add those of the nodes")
    everybody: list[NodeRecord | ClientRecord] = [*nodes, *clients]
    for a, b in pairwise(everybody):
        if type(a) is type(b) and a.name == b.name:
            raise Invalid("log", [Place(b.file, 1), Place(a.file, 1)], f"two logs of {a.name}")
    first = nodes[0]
    for node in nodes:
        both = [Place(node.file, 1), Place(first.file, 1)]
        if node.head.config != first.head.config:
            raise Invalid("log", both, f"nodes {node.name} and {first.name} differ in their configuration")
        if node.head.members != first.head.members:
            raise Invalid("log", both, f"nodes {node.name} and {first.name} differ in who the members are")
    names = [member.name for member in first.head.members]
    for node in nodes:
        if node.name not in names:
            raise Invalid("log", [Place(node.file, 1)], f"node {node.name} is not a member: {', '.join(names)}")
    try:
        ring = build_ring(first.head.members, first.head.config)
    except ValueError as error:
        raise Invalid("log", [Place(first.file, 1)], str(error)) from None
    if ring.members != first.head.members:
        raise Invalid("log", [Place(first.file, 1)], "the members must be sorted by name")
    absent = sorted(set(names) - {node.name for node in nodes})
    if absent:
        told = f"the log of node {absent[0]} is missing: it is a member, and what it holds decides what was promised"
        raise Invalid("log", [Place(first.file, 1)], told)
    return Logs(first.head.config, ring, tuple(nodes), tuple(clients))


def name(value: object) -> str:
    """What a kind of entry is called."""
    return type(value).__name__
