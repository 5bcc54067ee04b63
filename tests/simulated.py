"""Runtime nodes on a simulated network and in virtual time: the real driver and the real disk, nothing left to chance.

Each node is an `impl.runtime.Runtime` over an SQLite file of its own, and records. What the server does around it
between sockets and clocks is done here by hand: messages lie in a list until somebody delivers, drops or repeats
them, timers until somebody lets them fire, and events wait at a node for as long as its commit is said to take, to be
its next batch. A crash leaves the file and nothing else. The same commands make the same run, to the byte of its logs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from checker import stateful
from checker.stateful import Outcome, TurnedDown, Unknown
from impl.recorder import export_log
from impl.runtime import Arrival, Released, Runtime
from impl.storage import DiskFull, open_storage
from spec.clock import NOTHING
from spec.events import (
    Beat,
    CancelTimer,
    Deliver,
    Effect,
    HandOff,
    Invoke,
    Reply,
    Send,
    SetTimer,
    Suspicion,
    Timeout,
)
from spec.maps import Counts
from spec.messages import Failed, Found, Get, Indefinite, Message, Operation, Put, Refused, Result, Stored
from spec.ring import Member, build_ring, owners_of
from spec.trace import FORMAT, ClientLog, End, Entry, Invoked, Returned, Stamp
from spec.types import ClientId, Config, Key, NodeId, RequestId, Value
from tests.recorded import save
from tests.small import small_config

RETRY_MS = 1_000
"""After how long a timer fires again whose firing met a full disk."""

PLENTY_OF_PAGES = 2**31


@contextmanager
def fast_directory() -> Iterator[Path]:
    """A directory for files that need not outlive the power, in memory where the system offers it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


def stamped(runtime: Runtime, released: Sequence[Released]) -> list[tuple[Stamp, Effect]]:
    """Every effect of a run that may leave, and its name."""
    name, epoch = runtime.node.name, runtime.epoch
    return [(Stamp(name, epoch, each.seq, i), effect) for each in released for i, effect in enumerate(each.effects)]


class Flight(NamedTuple):
    """A message on its way."""

    source: NodeId
    target: NodeId
    stamp: Stamp
    message: Message


class Timer(NamedTuple):
    """When a node's timer is due."""

    due_ms: int
    node: NodeId
    request: RequestId


class Call(Struct):
    """An operation, which is a client of its own."""

    node: NodeId
    log: list[Entry]
    waits: bool = True
    told: Outcome | None = None


def outcome_of(result: Result) -> Outcome:
    """What a client was told, in the words of the machine."""
    match result:
        case Stored():
            return stateful.Stored()
        case Found(siblings, context):
            return stateful.Read(tuple(v.value for v in siblings), context)
        case Indefinite(reason):
            return Unknown(reason)
        case Failed(reason) | Refused(reason):
            return TurnedDown(reason)


class SimulatedStore:
    """A store of runtime nodes; a `checker.stateful.SuspiciousHarness`, and more that may go wrong with a driver."""

    def __init__(
        self, names: Sequence[str], directory: Path, driver: type[Runtime] = Runtime, *, sloppy: bool = False
    ) -> None:
        """Start all nodes on new disks, in a directory whose files may be there from an earlier store."""
        self.config: Config = small_config(sloppy=sloppy)
        self.members = tuple(Member(NodeId(name)) for name in names)
        self.directory, self.driver = directory, driver
        self.ring = build_ring(self.members, self.config)
        self.up: dict[NodeId, Runtime] = {}
        self.network: list[Flight] = []
        self.timer_list: list[Timer] = []
        self.cut_off: frozenset[str] = frozenset()
        self.calls: list[Call] = []
        self.now_ms = self.ticks = self.starts = 0
        self.doomed: dict[NodeId, frozenset[int]] = {}
        self.queues: dict[NodeId, list[Arrival]] = {}
        """Of each node that is committing, the events that wait for it."""
        self.full: set[NodeId] = set()
        for member in self.members:
            self._new_disk(member.name)
            self.restart(member.name)
        self.settle()

    def _new_disk(self, name: NodeId) -> None:
        """An empty data file, copied from one that was made once, for making one takes longer than most runs."""
        template = self.directory / f"{name}.new"
        if not template.exists():
            open_storage(template, name).close()
        shutil.copyfile(template, self.data(name))

    def data(self, name: str) -> Path:
        """The data file of a node."""
        return self.directory / f"{name}.db"

    # Clients.

    def put(self, node: str, key: bytes, value: bytes, context: object | None) -> int:
        assert context is None or isinstance(context, Counts)
        return self.ask(NodeId(node), Put(Key(key), Value(value), NOTHING if context is None else context))

    def get(self, node: str, key: bytes) -> int:
        return self.ask(NodeId(node), Get(Key(key)))

    def ask(self, node: NodeId, operation: Operation) -> int:
        ticket = len(self.calls)
        client = ClientId(f"client{ticket:04}")
        request = RequestId(client, 1)
        self.calls.append(Call(node, [ClientLog(FORMAT, client), Invoked(request, node, operation, self.tick())]))
        self.submit(node, Arrival(Invoke(request, operation)))
        return ticket

    def outcome(self, ticket: int) -> Outcome | None:
        return self.calls[ticket].told

    def tell(self, request: RequestId, result: Result) -> None:
        call = self.calls[int(request.client.removeprefix("client"))]
        assert call.waits, f"{request} was answered twice"
        call.waits, call.told = False, outcome_of(result)
        call.log.append(Returned(request, result, self.tick()))

    def tick(self) -> int:
        """The time of whoever looks at the clock now, in nanoseconds; never the same twice."""
        self.ticks += 1
        return self.now_ms * 1_000_000 + self.ticks

    # Nodes.

    def submit(self, name: NodeId, arrival: Arrival) -> None:
        """An event for a node: decided now, or after the commit that is going on."""
        if name in self.queues:
            self.queues[name].append(arrival)
        else:
            self.execute(name, [arrival])

    def execute(self, name: NodeId, batch: list[Arrival]) -> None:
        """A node takes a batch; if it is doomed, it dies of it when only some of what it says has left."""
        runtime = self.up[name]
        try:
            released = runtime.execute(batch)
        except DiskFull:
            self.give_back(name, batch)
            return
        places = self.doomed.pop(name, None)
        if places is None:
            self.release(name, stamped(runtime, released))
        else:
            said = [(stamp, effect) for stamp, effect in stamped(runtime, released) if isinstance(effect, Send | Reply)]
            self.release(name, [each for place, each in enumerate(said) if place in places])
            self.crash(name)

    def give_back(self, name: NodeId, batch: list[Arrival]) -> None:
        """The batch had no effect: what it was to begin has failed, and its timers fire again later."""
        for arrival in batch:
            event = arrival.event
            if isinstance(event, Invoke) and event.request not in self.up[name].requests:
                self.tell(event.request, Failed("the disk is full"))
            elif isinstance(event, Timeout) and event.request in self.up[name].requests:
                self.timer_list.append(Timer(self.now_ms + RETRY_MS, name, event.request))

    def release(self, name: NodeId, leaving: list[tuple[Stamp, Effect]]) -> None:
        for stamp, effect in leaving:
            match effect:
                case Send(target, message):
                    if (name in self.cut_off) == (target in self.cut_off):
                        self.network.append(Flight(name, target, stamp, message))
                case Reply(request, result):
                    self.tell(request, result)
                case SetTimer(request, after_ms):
                    self.timer_list.append(Timer(self.now_ms + after_ms, name, request))
                case CancelTimer(request):
                    self.timer_list = [t for t in self.timer_list if (t.node, t.request) != (name, request)]

    def is_up(self, node: str) -> bool:
        return NodeId(node) in self.up

    def crash(self, node: str) -> None:
        name = NodeId(node)
        self.up.pop(name).storage.close()
        for lost in (self.doomed, self.queues):
            lost.pop(name, None)
        self.full.discard(name)
        self.timer_list = [timer for timer in self.timer_list if timer.node != name]
        for call in self.calls:
            if call.node == name and call.waits:
                call.waits, call.told = False, Unknown("the connection broke")

    def crash_in_next_step(self, node: str, released: frozenset[int]) -> None:
        self.doomed[NodeId(node)] = released

    def restart(self, node: str) -> None:
        name = NodeId(node)
        storage = open_storage(self.data(name), name)
        self.up[name] = runtime = self.driver(storage, name, self.config, self.members, record=True)
        self.starts += 1
        self.release(name, stamped(runtime, runtime.start(f"run-{self.starts}-{name}")))

    # Commits.

    def commit_begins(self, node: str) -> None:
        """From now on events wait at a node."""
        if self.is_up(node):
            self.queues.setdefault(NodeId(node), [])

    def commit_ends(self, node: str) -> None:
        """What has waited at a node is its next batch."""
        batch = self.queues.pop(NodeId(node), [])
        if batch:
            self.execute(NodeId(node), batch)

    def fill_disk(self, node: str) -> None:
        """The disk of a node has room no more."""
        if self.is_up(node):
            self.full.add(NodeId(node))
            self.up[NodeId(node)].storage.limit_pages(1)

    def make_room(self, node: str) -> None:
        """It has again."""
        if NodeId(node) in self.full:
            self.full.remove(NodeId(node))
            self.up[NodeId(node)].storage.limit_pages(PLENTY_OF_PAGES)

    # The network, and time.

    def deliverable(self) -> list[Flight]:
        return [flight for flight in self.network if flight.target in self.up]

    def in_flight(self) -> Sequence[str]:
        return [f"{type(f.message).__name__} from {f.source} to {f.target}" for f in self.deliverable()]

    def deliver(self, which: int) -> None:
        flight = self.deliverable()[which]
        self.network.remove(flight)
        self.submit(flight.target, Arrival(Deliver(flight.source, flight.message), flight.stamp))

    def drop(self, which: int) -> None:
        self.network.remove(self.deliverable()[which])

    def duplicate(self, which: int) -> None:
        self.network.append(self.deliverable()[which])

    def cut(self, side: frozenset[str]) -> None:
        self.cut_off = side
        self.network = [f for f in self.network if (f.source in side) == (f.target in side)]

    def heal(self) -> None:
        self.cut_off = frozenset()

    def timers(self) -> Sequence[str]:
        return [f"the timer of {timer.request} at {timer.node}" for timer in self.timer_list]

    def fire(self, which: int) -> None:
        timer = self.timer_list.pop(which)
        self.now_ms = max(self.now_ms, timer.due_ms)
        self.submit(timer.node, Arrival(Timeout(timer.request)))

    # Suspicion.

    def suspect(self, node: str, about: str, suspected: bool) -> None:
        self.submit(NodeId(node), Arrival(Suspicion(NodeId(about), suspected)))

    def owed(self, node: NodeId) -> dict[NodeId, list[Key]]:
        """What a node that is up owes to whom."""
        found: dict[NodeId, list[Key]] = {}
        for key, row in self.up[node].storage.rows():
            for owner in row.owed:
                found.setdefault(owner, []).append(key)
        return found

    def hand_over(self, node: str, owner: str) -> None:
        keys = self.owed(NodeId(node)).get(NodeId(owner))
        if keys:
            self.submit(NodeId(node), Arrival(HandOff(NodeId(owner), tuple(keys))))

    def hand_everything_over(self) -> bool:
        """Let everybody hand over what they owe; whether anybody does."""
        owing = [(node, owner) for node in sorted(self.up) for owner in sorted(self.owed(node))]
        for node, owner in owing:
            self.hand_over(node, owner)
        return bool(owing)

    def settle(self) -> None:
        self.doomed.clear()
        self.heal()
        for member in self.members:
            self.make_room(member.name)
            self.commit_ends(member.name)
            if not self.is_up(member.name):
                self.restart(member.name)
        for name, runtime in self.up.items():
            for about in runtime.node.suspected:
                self.suspect(name, about, suspected=False)
        for _ in range(10_000):
            if self.network:
                self.deliver(0)
            elif self.timer_list:
                self.fire(self.timer_list.index(min(self.timer_list)))
            elif waiting := [name for name in self.up if self.waits(name)]:
                for name in waiting:
                    self.submit(name, Arrival(Beat()))
            elif not self.hand_everything_over():
                return
        raise AssertionError("the store does not come to rest")

    def waits(self, name: NodeId) -> bool:
        """Whether a node waits for others to tell it about itself, or to give it what it lacks."""
        disk = self.up[name].storage.disk()
        return not self.up[name].node.confirmed or disk is None or len(disk.lacking) > 0

    # What can be seen.

    def owners(self, key: bytes) -> tuple[str, ...]:
        return owners_of(self.ring, Key(key), self.config.n)

    def disks(self) -> Mapping[str, Mapping[bytes, list[bytes]]]:
        found: dict[str, dict[bytes, list[bytes]]] = {}
        for member in self.members:
            runtime = self.up.get(member.name)
            storage = open_storage(self.data(member.name)) if runtime is None else runtime.storage
            found[member.name] = {key: [v.value for v in row.siblings] for key, row in storage.rows()}
            if runtime is None:
                storage.close()
        return found

    def stop(self) -> None:
        for runtime in self.up.values():
            runtime.storage.close()
        self.up.clear()

    def save_logs(self, directory: Path) -> None:
        """Write what the nodes, which must have been stopped, and the clients recorded, in place of an earlier run."""
        shutil.rmtree(directory, ignore_errors=True)
        logs = {f"{call.log[0].client}.ndjson": call.log for call in self.calls if isinstance(call.log[0], ClientLog)}
        closed = {file: [*log, End(len(log))] for file, log in logs.items()}
        save(directory, {file: [msgspec.json.encode(entry) for entry in log] for file, log in closed.items()})
        for member in self.members:
            with (directory / f"{member.name}.ndjson").open("wb") as file:
                file.writelines(export_log(self.data(member.name)))
