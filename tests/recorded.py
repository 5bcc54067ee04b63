"""Runs for tests: the specification's own nodes over a faulty network in memory, recorded as real nodes record."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
from msgspec.structs import replace

from spec.clock import NOTHING, Clock
from spec.events import (
    Beat,
    CancelTimer,
    Deliver,
    Event,
    HandOff,
    Invoke,
    Reply,
    Send,
    SetTimer,
    Start,
    Suspicion,
    Timeout,
    request_of,
)
from spec.maps import FMap, FSet
from spec.messages import Condition, Found, Get, Operation, Put, Result
from spec.node import step
from spec.ring import NO_RING, Member, build_ring
from spec.state import Node
from spec.trace import (
    FORMAT,
    ClientLog,
    End,
    Entry,
    Held,
    Invoked,
    NodeLog,
    Returned,
    Running,
    Stamp,
    Step,
    link_encoded,
)
from spec.types import ClientId, Config, Key, NodeId, RequestId, Value
from spec.world import Memory, Server, write

CONFIG = Config(n=3, r=2, w=2, sloppy=False, partitions=4, tokens=4)
MEMBERS = tuple(Member(NodeId(name)) for name in "abcd")


class Recorded:
    """A cluster in memory and its logs, one list of entries for each node and client."""

    def __init__(self, seed: int, keys: int = 2, config: Config = CONFIG, condition: Condition | None = None) -> None:
        self.random, self.condition = Random(seed), condition
        self.keys = [Key(f"k{i}".encode()) for i in range(keys)]
        self.config, self.ring = config, build_ring(MEMBERS, config)
        self.logs: dict[str, list[Entry]] = {}
        self.servers: dict[NodeId, Server] = {}
        self.epochs: dict[NodeId, tuple[int, int]] = {}
        self.network: list[tuple[NodeId, Stamp, Send]] = []
        self.now_ns = 1_000
        self.waiting: dict[RequestId, Operation] = {}
        self.contexts: dict[tuple[ClientId, Key], Clock] = {}
        self.operations: dict[ClientId, int] = {}
        self.show = False
        """Whether puts are to show what they leave."""
        self.lost = ""
        """Tells incarnations before and after a lost disk apart."""
        self.client_names: tuple[str, ...] = ("client0", "client1", "client2")
        for member in MEMBERS:
            self.logs[member.name] = [NodeLog(FORMAT, member.name, config, MEMBERS, None, 0)]
            self.epochs[member.name] = (0, 0)
            self.restart(member.name, Memory())
        self.arrive()

    def restart(self, name: NodeId, disk: Memory | None = None) -> None:
        """A crash, and a start with what was committed."""
        held = self.servers[name].disk if disk is None else disk
        self.servers[name] = Server(Node(name, self.config, self.ring), FMap(), FSet(), held)
        self.epochs[name] = (self.epochs[name][0] + 1, 0)
        for request in [r for r in self.waiting if self.asked(r) == name]:
            del self.waiting[request]
        self.take(name, Start(f"disk-{name}-{self.lost}{self.epochs[name][0]}"))

    def lose(self, name: NodeId) -> None:
        """A node loses its disk, and its log with it, after all others have seen a mark of it."""
        self.arrive()
        for _ in range(2):  # the first one may only make it sure of its disk
            self.take(name, Beat())
            self.arrive()
        self.lost += "again-"
        self.epochs[name] = (0, 0)
        self.logs[name] = [NodeLog(FORMAT, name, self.config, MEMBERS, None, 0)]
        self.restart(name, Memory())
        self.take(name, Beat())
        self.arrive()

    def trust(self) -> None:
        """Nobody takes anybody to be down, and what is owed is handed over."""
        for name, other in [(name, other) for name in self.servers for other in self.servers if name != other]:
            if other in self.servers[name].node.suspected:
                self.doubt(name, other)
            self.hand_over(name, other)
            self.arrive()

    def arrive(self) -> None:
        """Everything that is under way arrives."""
        while self.network:
            source, stamp, sent = self.network.pop(0)
            self.take(sent.target, Deliver(source, sent.message), stamp)

    def asked(self, request: RequestId) -> NodeId:
        return next(e.node for e in self.logs[request.client] if isinstance(e, Invoked) and e.request == request)

    def take(self, name: NodeId, event: Event, stamp: Stamp | None = None, released: float = 1.0) -> None:
        """A step, logged and committed; each effect leaves with this probability."""
        server, about = self.servers[name], request_of(event)
        outcome = step(server.node, None if about is None else server.requests.get(about), server.disk, event)
        requests, timers = server.requests, server.timers
        if about is not None:
            requests = requests.remove(about) if outcome.request is None else requests.set(about, outcome.request)
        if isinstance(event, Timeout):
            timers = timers - FSet((event.request,))
        epoch, seq = self.epochs[name][0], self.epochs[name][1] + 1
        self.epochs[name] = (epoch, seq)
        self.logs[name].append(Step(name, epoch, seq, event, stamp, outcome.writes, outcome.effects))
        for index, effect in enumerate(outcome.effects):
            match effect:
                case Send():
                    if self.random.random() < released:
                        self.network.append((name, Stamp(name, epoch, seq, index), effect))
                case Reply():
                    self.tell(effect.request, effect.result)
                case SetTimer():
                    timers = timers | FSet((effect.request,))
                case CancelTimer():
                    timers = timers - FSet((effect.request,))
        self.servers[name] = Server(outcome.node, requests, timers, write(server.disk, outcome.writes))

    def tell(self, request: RequestId, result: Result) -> None:
        operation = self.waiting.pop(request, None)
        if operation is None:
            return
        if isinstance(result, Found):
            self.contexts[request.client, operation.key] = result.context
        self.logs[request.client].append(Returned(request, result, self.tick()))

    def tick(self) -> int:
        self.now_ns += 1_000
        return self.now_ns

    def ask(self, client: ClientId, name: NodeId, operation: Operation) -> None:
        log = self.logs.setdefault(client, [ClientLog(FORMAT, client)])
        self.operations[client] = self.operations.get(client, 0) + 1
        request = RequestId(client, self.operations[client])
        log.append(Invoked(request, name, operation, self.tick()))
        self.waiting[request] = operation
        self.take(name, Invoke(request, operation))

    def act(self, *, faults: bool = True) -> None:
        """Something happens."""
        random, kind = self.random, self.random.random()
        if kind < 0.12:
            client, key = ClientId(random.choice(self.client_names)), random.choice(self.keys)
            if not any(request.client == client for request in self.waiting):
                context = self.contexts.get((client, key), NOTHING)
                value = Value(f"v{self.now_ns}".encode())
                put = Put(key, value, context, show=self.show, condition=self.condition)
                operation: Operation = Get(key) if random.random() < 0.5 else put
                self.ask(client, random.choice(list(self.servers)), operation)
        elif kind < 0.14 and faults:
            self.restart(random.choice(list(self.servers)))
        elif kind < 0.16 and random.random() < 0.5 and self.config.sloppy:
            self.doubt(random.choice(list(self.servers)), random.choice(list(self.servers)))
        elif kind < 0.16:
            name = random.choice(list(self.servers))
            for request in self.servers[name].timers.items[:1]:
                self.take(name, Timeout(request))
        elif self.network:
            at = random.randrange(len(self.network))
            source, stamp, sent = self.network[at]
            if not faults or random.random() > 0.05:
                self.network.pop(at)
            if not faults or random.random() > 0.05:
                self.take(sent.target, Deliver(source, sent.message), stamp)

    def doubt(self, name: NodeId, other: NodeId) -> None:
        """A node takes another to be down, or up again, and then hands over what it owes."""
        if name == other:
            return
        self.take(name, Suspicion(other, other not in self.servers[name].node.suspected))
        self.hand_over(name, other)

    def hand_over(self, name: NodeId, other: NodeId) -> None:
        """A node hands another what it owes it."""
        owed = tuple(key for key, row in self.servers[name].disk.table.items() if other in row.owed)
        if owed:
            self.take(name, HandOff(other, owed))

    def record_anew(self) -> None:
        """Every node restarts and records from a snapshot; the clients that follow are new ones."""
        for name, server in self.servers.items():
            self.restart(name)
            rows = server.disk.table.items()
            head = NodeLog(FORMAT, name, self.config, MEMBERS, server.disk.disk(), len(rows))
            self.logs[name] = [head, *(Held(key, row) for key, row in rows), self.logs[name][-1]]
        for client in [log for log in self.logs if log in self.client_names]:
            del self.logs[client]
        self.client_names = tuple(f"late{i}" for i in range(3))
        self.waiting.clear()
        self.contexts.clear()

    def rotate(self, name: NodeId) -> None:
        """A node's log makes way for a new one, which begins with its next step."""
        server, (epoch, seq) = self.servers[name], self.epochs[name]
        requests = tuple(request for _, request in server.requests.items())
        running = Running(epoch, seq, replace(server.node, ring=NO_RING), requests)
        rows = server.disk.table.items()
        head = NodeLog(FORMAT, name, self.config, MEMBERS, server.disk.disk(), len(rows), running)
        self.logs[name] = [head, *(Held(key, row) for key, row in rows)]

    def files(self) -> dict[str, list[bytes]]:
        """For each log file its entries, encoded, the end included."""
        closed = {f"{name}.ndjson": [*entries, End(len(entries))] for name, entries in self.logs.items()}
        return {name: [msgspec.json.encode(entry) for entry in entries] for name, entries in closed.items()}


def run(
    seed: int,
    actions: int,
    *,
    keys: int = 2,
    faults: bool = True,
    config: Config = CONFIG,
    condition: Condition | None = None,
) -> Recorded:
    """A run of so many actions; all puts with this condition."""
    recorded = Recorded(seed, keys, config, condition)
    for _ in range(actions):
        recorded.act(faults=faults)
    return recorded


def chained(entries: list[bytes]) -> list[bytes]:
    """The lines of a log with these entries."""
    lines, chain = [], ""
    for entry in entries:
        chain = link_encoded(chain, entry)
        lines.append(b'{"entry":' + entry + b',"chain":"' + chain.encode() + b'"}')
    return lines


def save(directory: Path, files: dict[str, list[bytes]]) -> None:
    """Write logs with correct chains."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, entries in files.items():
        (directory / name).write_bytes(b"".join(line + b"\n" for line in chained(entries)))
