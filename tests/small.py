"""A small cluster of spec nodes, driven by hand: one message, one crash, one timer at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from spec.clock import NOTHING, Clock
from spec.events import Deliver, Event, Invoke, Reply, Start, Timeout
from spec.maps import FMap, FSet
from spec.messages import Get, Known, Mark, Message, Put, Result
from spec.network import Envelope
from spec.ring import Member, build_ring, owners_of
from spec.rows import Row
from spec.siblings import Siblings
from spec.state import Node
from spec.types import ClientId, Config, Key, Limits, NodeId, RequestId, Value
from spec.world import Memory, Server, advance

KEY = Key(b"k")
NO_ZONES: Mapping[NodeId, str] = MappingProxyType({})


def small_config(n: int = 3, r: int = 2, w: int = 2, limits: Limits | None = None, sloppy: bool = False) -> Config:
    return Config(n=n, r=r, w=w, partitions=4, tokens=2, sloppy=sloppy, limits=Limits() if limits is None else limits)


def request(operation: int = 1, client: str = "c") -> RequestId:
    return RequestId(ClientId(client), operation)


def put(value: bytes = b"v", context: Clock = NOTHING, key: Key = KEY) -> Put:
    return Put(key, Value(value), context)


def get(key: Key = KEY) -> Get:
    return Get(key)


class Hands:
    """Servers, the messages between them and what clients were told; nothing moves unless it is moved."""

    def __init__(
        self, names: Iterable[str] = "abc", config: Config | None = None, zones: Mapping[NodeId, str] = NO_ZONES
    ) -> None:
        """A server for each name, started on a new disk; they have told each other so."""
        self.config = small_config() if config is None else config
        members = tuple(Member(NodeId(name), zones.get(NodeId(name), "")) for name in names)
        ring = build_ring(members, self.config)
        self.ring = ring
        self.servers = {m.name: Server(Node(m.name, self.config, ring), FMap(), FSet(), Memory()) for m in members}
        self.mail: list[Envelope] = []
        self.told: list[tuple[RequestId, Result]] = []
        self.runs = 0
        for name in self.servers:
            self.event(name, Start(f"disk-{name}"))
        self.deliver()

    def owners(self, key: Key = KEY) -> tuple[NodeId, ...]:
        return owners_of(self.ring, key, self.config.n)

    def stranger(self, key: Key = KEY) -> NodeId:
        """A node that does not own the key."""
        return next(name for name in self.servers if name not in self.owners(key))

    def event(self, name: NodeId, event: Event) -> tuple[Envelope | Reply, ...]:
        """One step: committed, and its effects released; returns what left the node."""
        stepped = advance(self.servers[name], event)
        self.servers[name] = stepped.server
        for said in stepped.leaving:
            if isinstance(said, Envelope):
                self.mail.append(said)
            else:
                self.told.append((said.request, said.result))
        return stepped.leaving

    def ask(self, name: NodeId, about: RequestId, operation: Put | Get) -> tuple[Envelope | Reply, ...]:
        return self.event(name, Invoke(about, operation))

    def send(self, source: NodeId, target: NodeId, message: Message) -> tuple[Envelope | Reply, ...]:
        """Deliver a message made by hand."""
        return self.event(target, Deliver(source, message))

    def expire(self, name: NodeId, about: RequestId) -> tuple[Envelope | Reply, ...]:
        return self.event(name, Timeout(about))

    def deliver(self, wanted: Callable[[Envelope], bool] = lambda _: True) -> None:
        """Deliver what is wanted, and what comes of it if that is wanted too, oldest first."""
        while chosen := next((e for e in self.mail if wanted(e)), None):
            self.mail.remove(chosen)
            self.event(chosen.target, Deliver(chosen.source, chosen.message))

    def restart(self, name: NodeId) -> None:
        """Crash, and come back with nothing but the disk, of which the others know nothing later."""
        self.crash(name)
        self.start(name)
        self.deliver(lambda e: isinstance(e.message, Mark | Known))

    def crash(self, name: NodeId, disk: Memory | None = None) -> None:
        """Lose what is in memory, and have another disk, if one is given."""
        before = self.servers[name]
        kept = before.disk if disk is None else disk
        self.servers[name] = Server(Node(name, before.node.config, before.node.ring), FMap(), FSet(), kept)

    def start(self, name: NodeId) -> None:
        """Come up; the others have not been heard yet."""
        self.runs += 1
        self.event(name, Start(f"run-{self.runs}-{name}"))

    def row(self, name: NodeId, key: Key = KEY) -> Row:
        return self.servers[name].disk.row(key)

    def held(self, name: NodeId, key: Key = KEY) -> Siblings:
        return self.row(name, key).siblings

    def results(self, about: RequestId) -> list[Result]:
        """Everything that a client was told about a request."""
        return [result for told, result in self.told if told == about]
