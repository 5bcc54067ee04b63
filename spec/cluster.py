"""The explored machine: nodes, disks, a network, clients, and everything that can go wrong.

A *scenario* says which nodes there are, what each client will do, whom it may ask, and how many faults may happen. From
its initial state every interleaving is possible: any message may be delivered next, any timer may fire at any time, and
each fault may strike whenever its budget allows.

Two simplifications cost nothing in meaning. A client's request reaches the node, and the reply the client, within the
node's step (waiting at either end is waiting to be asked). And a node's step, its commit and the release of its effects
are one action, unless the node crashes between commit and release: then any part of the effects may have left.

A server that crashes keeps its disk and loses all else; a client that waits for it learns that the connection broke.
The machine decides nothing about the protocol: it hands events to `spec.node.step` and carries out what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from spec import network as net
from spec.clock import NOTHING, Clock, Dot
from spec.events import (
    CancelTimer,
    Deliver,
    Effect,
    Event,
    Invoke,
    Reply,
    Send,
    SetTimer,
    Start,
    StorageWrite,
    Timeout,
    WriteDisk,
    request_of,
)
from spec.history import NOBODY, History, known_by, record
from spec.maps import FMap, FSet
from spec.messages import Forward, Found, Get, Indefinite, Operation, Put, Result, Stored
from spec.network import Envelope, Network
from spec.node import step
from spec.ring import Member, build_ring
from spec.rows import NO_ROW, Disk, Row
from spec.state import Node, Outcome, Request, Storage
from spec.types import ClientId, Config, Key, NodeId, RequestId, Value

StepFunction: TypeAlias = Callable[[Node, Request | None, Storage, Event], Outcome]
"""`spec.node.step`, or the same with a memory."""

# The scenario.


class BlindPut(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The client writes without having read."""

    key: Key


class SeenPut(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The client writes with the context of its latest get."""

    key: Key


class Look(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The client reads."""

    key: Key


Task: TypeAlias = BlindPut | SeenPut | Look


class Faults(Struct, frozen=True, order=True, cache_hash=True, kw_only=True):
    """How often each thing may still go wrong. Timeouts are not faults: they may come at any time."""

    drops: int = 0
    duplicates: int = 0
    crashes: int = 0
    cuts: int = 0


class Scenario(Struct, frozen=True, kw_only=True):
    """A bounded world to explore."""

    config: Config
    members: tuple[Member, ...]
    programs: tuple[tuple[Task, ...], ...]
    """For each client, what it does, one after the other."""
    contacts: tuple[NodeId, ...]
    """Whom clients may ask."""
    faults: Faults = Faults()


# The state.


class Memory(Struct, frozen=True, cache_hash=True):
    """A disk as an immutable value: the explorer's `Storage`."""

    about: Disk | None = None
    table: FMap[Key, Row] = FMap()

    def disk(self) -> Disk | None:
        """What the node knows of itself."""
        return self.about

    def row(self, key: Key) -> Row:
        """The row of a key."""
        return self.table.get(key) or NO_ROW


class Server(Struct, frozen=True, cache_hash=True):
    """A node and its disk."""

    node: Node
    """Not started while it is down."""
    requests: FMap[RequestId, Request]
    timers: FSet[RequestId]
    """Requests whose timeout may fire."""
    disk: Memory


class Client(Struct, frozen=True, order=True, cache_hash=True):
    """A client between and during its operations."""

    done: int = 0
    """How many of its operations are over."""
    waits_for: NodeId | None = None
    context: Clock = NOTHING
    """From its latest get, if that succeeded."""
    seen: FSet[Dot] = FSet()
    """Ghost: the writes that its latest get showed it, and their past."""
    owed: FSet[Dot] = FSet()
    """Ghost, during a get: the writes acknowledged before it began."""
    missed: FSet[Dot] = FSet()
    """Ghost: those of them that the get did not know."""


class State(Struct, frozen=True, cache_hash=True):
    """Everything there is."""

    servers: FMap[NodeId, Server]
    clients: tuple[Client, ...]
    network: Network
    faults: Faults
    history: History


# Actions.


class Ask(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A client puts its next operation to a node."""

    client: int
    node: NodeId


class Arrive(Struct, frozen=True, cache_hash=True, tag=True):
    """A message reaches its target."""

    envelope: Envelope


class Expire(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A timer fires."""

    node: NodeId
    request: RequestId


class Drop(Struct, frozen=True, cache_hash=True, tag=True):
    """The network loses a message."""

    envelope: Envelope


class Duplicate(Struct, frozen=True, cache_hash=True, tag=True):
    """The network repeats a message."""

    envelope: Envelope


class Crash(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node dies between two steps."""

    node: NodeId


class CrashAfterCommit(Struct, frozen=True, cache_hash=True, tag=True):
    """A node dies in the middle of a step: its writes are durable, of its effects only some left."""

    during: Ask | Arrive | Expire
    released: tuple[int, ...]
    """Which of its effects left, by their place."""


class Restart(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node that died comes back with its disk."""

    node: NodeId


class Cut(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The network separates some nodes from the others."""

    side: FSet[NodeId]


class Heal(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """The network is whole again."""


NodeAction: TypeAlias = Ask | Arrive | Expire
Action: TypeAlias = NodeAction | Drop | Duplicate | Crash | CrashAfterCommit | Restart | Cut | Heal


# Beginning.


def client_id(index: int) -> ClientId:
    """The name of a client of a scenario."""
    return ClientId(f"client{index + 1}")


def initial(scenario: Scenario, stepped: StepFunction = step) -> State:
    """All nodes have started on new disks; nobody has asked for anything."""
    ring = build_ring(scenario.members, scenario.config)
    names = sorted(member.name for member in scenario.members)
    servers = FMap.of({name: boot(Node(name, scenario.config, ring), Memory(), stepped) for name in names})
    return State(servers, tuple(Client() for _ in scenario.programs), Network(), scenario.faults, History())


def boot(node: Node, disk: Memory, stepped: StepFunction) -> Server:
    """A server whose node has just come up on this disk."""
    outcome = stepped(node, None, disk, Start(incarnation=f"disk-{node.name}"))
    assert not outcome.effects, "a node says nothing before it is asked"
    return Server(outcome.node, FMap(), FSet(), write(disk, outcome.writes))


# What can happen.


def actions(scenario: Scenario, state: State) -> Iterator[Action]:
    """Everything that can happen next, but for crashes in the middle of a step."""
    yield from node_actions(scenario, state)
    faults = state.faults
    for envelope in net.distinct(state.network):
        if faults.drops:
            yield Drop(envelope)
        if faults.duplicates:
            yield Duplicate(envelope)
    for name, server in state.servers.items():
        if not server.node.started:
            yield Restart(name)
        elif faults.crashes:
            yield Crash(name)
    if state.network.cut_off:
        yield Heal()
    elif faults.cuts:
        for side in sides(state.servers.keys()):
            yield Cut(side)


def node_actions(scenario: Scenario, state: State) -> Iterator[NodeAction]:
    """The actions in which a node takes a step."""
    for index, client in enumerate(state.clients):
        if client.waits_for is None and client.done < len(scenario.programs[index]):
            for contact in scenario.contacts:
                if state.servers[contact].node.started:
                    yield Ask(index, contact)
    for envelope in net.distinct(state.network):
        if state.servers[envelope.target].node.started:
            yield Arrive(envelope)
    for name, server in state.servers.items():
        for request in server.timers:
            yield Expire(name, request)


def sides(names: FSet[NodeId]) -> Iterator[FSet[NodeId]]:
    """Every way to cut the nodes in two, named by the smaller side."""
    for size in range(1, len(names) // 2 + 1):
        for side in combinations(names, size):
            if 2 * size < len(names) or names.items[0] in side:
                yield FSet(side)


def is_final(scenario: Scenario, state: State) -> bool:
    """Whether nothing more needs to happen: every client has had its answers."""
    return all(client.done == len(scenario.programs[i]) for i, client in enumerate(state.clients))


def transitions(scenario: Scenario, state: State, stepped: StepFunction = step) -> Iterator[tuple[Action, State]]:
    """Everything that can happen next, and what comes of it."""
    for action in actions(scenario, state):
        yield action, apply(scenario, state, action, stepped)
    if state.faults.crashes:
        for action in crashes_after_commit(scenario, state, stepped):
            yield action, apply(scenario, state, action, stepped)


def crashes_after_commit(scenario: Scenario, state: State, stepped: StepFunction) -> Iterator[CrashAfterCommit]:
    """Every crash in the middle of a step, with every proper part of its effects released."""
    for during in node_actions(scenario, state):
        name, event = event_of(scenario, state, during)
        outcome = take_step(state.servers[name], event, stepped)
        leaving = [i for i, effect in enumerate(outcome.effects) if isinstance(effect, Send | Reply)]
        for size in range(len(leaving)):
            for released in combinations(leaving, size):
                yield CrashAfterCommit(during, released)


# What comes of it.


def apply(scenario: Scenario, state: State, action: Action, stepped: StepFunction = step) -> State:
    """The state after an action that is possible in this one."""
    faults = state.faults
    match action:
        case Ask() | Arrive() | Expire():
            name, event = event_of(scenario, state, action)
            outcome = take_step(state.servers[name], event, stepped)
            return release(commit(prepare(state, action, event), name, event, outcome), name, outcome.effects)
        case CrashAfterCommit():
            name, event = event_of(scenario, state, action.during)
            outcome = take_step(state.servers[name], event, stepped)
            committed = commit(prepare(state, action.during, event), name, event, outcome)
            left = tuple(outcome.effects[i] for i in action.released)
            return crash(release(committed, name, left), name)
        case Drop():
            dropped = net.take(state.network, action.envelope)
            return replace(state, network=dropped, faults=replace(faults, drops=faults.drops - 1))
        case Duplicate():
            doubled = net.duplicate(state.network, action.envelope)
            return replace(state, network=doubled, faults=replace(faults, duplicates=faults.duplicates - 1))
        case Crash():
            return crash(state, action.node)
        case Restart():
            down = state.servers[action.node]
            return replace(state, servers=state.servers.set(action.node, boot(down.node, down.disk, stepped)))
        case Cut():
            parted = net.cut(state.network, action.side)
            return replace(state, network=parted, faults=replace(faults, cuts=faults.cuts - 1))
        case Heal():
            return replace(state, network=net.heal(state.network))


def event_of(scenario: Scenario, state: State, action: NodeAction) -> tuple[NodeId, Event]:
    """Which node takes the step, and the event that it takes."""
    match action:
        case Ask():
            request = RequestId(client_id(action.client), state.clients[action.client].done + 1)
            return action.node, Invoke(request, operation_of(scenario, state, action.client, request))
        case Arrive():
            return action.envelope.target, Deliver(action.envelope.source, action.envelope.message)
        case Expire():
            return action.node, Timeout(action.request)


def operation_of(scenario: Scenario, state: State, index: int, request: RequestId) -> Operation:
    """What the client asks for next; the value of a put names its request."""
    client = state.clients[index]
    task = scenario.programs[index][client.done]
    if isinstance(task, Look):
        return Get(task.key)
    context = client.context if isinstance(task, SeenPut) else NOTHING
    return Put(task.key, Value(str(request).encode()), context)


def prepare(state: State, action: NodeAction, event: Event) -> State:
    """What changes outside the node before it takes its step."""
    if isinstance(action, Arrive):
        return replace(state, network=net.take(state.network, action.envelope))
    if isinstance(action, Expire):
        server = state.servers[action.node]
        fired = replace(server, timers=server.timers - FSet((action.request,)))
        return replace(state, servers=state.servers.set(action.node, fired))
    assert isinstance(event, Invoke)
    client, history = state.clients[action.client], state.history
    if isinstance(event.operation, Put):
        seen = client.seen if event.operation.context != NOTHING else FSet[Dot]()
        history = replace(history, shown=history.shown.set(event.request, seen))
        asking = Client(done=client.done, waits_for=action.node)
    else:
        asking = Client(done=client.done, waits_for=action.node, owed=history.acknowledged)
    return replace(state, clients=put_client(state.clients, action.client, asking), history=history)


def put_client(clients: tuple[Client, ...], index: int, client: Client) -> tuple[Client, ...]:
    """The clients with one replaced."""
    return (*clients[:index], client, *clients[index + 1 :])


def take_step(server: Server, event: Event, stepped: StepFunction) -> Outcome:
    """Let the node decide."""
    name = request_of(event)
    return stepped(server.node, None if name is None else server.requests.get(name), server.disk, event)


def commit(state: State, name: NodeId, event: Event, outcome: Outcome) -> State:
    """Make the writes of a step durable and keep what the node is to remember."""
    server, request = state.servers[name], request_of(event)
    requests = server.requests
    if request is not None:
        requests = requests.remove(request) if outcome.request is None else requests.set(request, outcome.request)
    history = state.history
    for written in outcome.writes:
        if not isinstance(written, WriteDisk):
            history = record(history, minting_request(event), written.row.siblings)
    after = Server(outcome.node, requests, server.timers, write(server.disk, outcome.writes))
    return replace(state, servers=state.servers.set(name, after), history=history)


def minting_request(event: Event) -> RequestId:
    """The request whose put an event asks the node to coordinate; nobody's, if it asks for no such thing."""
    asked = event.message if isinstance(event, Deliver) else event
    if isinstance(asked, Invoke | Forward) and isinstance(asked.operation, Put):
        return asked.request
    return NOBODY


def write(disk: Memory, writes: tuple[StorageWrite, ...]) -> Memory:
    """The disk after these writes."""
    about, table = disk.about, disk.table
    for written in writes:
        if isinstance(written, WriteDisk):
            about = written.disk
        else:
            table = table.set(written.key, written.row)
    return Memory(about, table) if writes else disk


def release(state: State, name: NodeId, effects: tuple[Effect, ...]) -> State:
    """Carry out the effects of a committed step."""
    sent: list[Envelope] = []
    for effect in effects:
        match effect:
            case Send():
                sent.append(Envelope(name, effect.target, effect.message))
            case Reply():
                state = tell(state, effect.request, effect.result)
            case SetTimer() | CancelTimer():
                server = state.servers[name]
                one = FSet((effect.request,))
                timers = server.timers | one if isinstance(effect, SetTimer) else server.timers - one
                state = replace(state, servers=state.servers.set(name, replace(server, timers=timers)))
    return replace(state, network=net.send(state.network, tuple(sent))) if sent else state


def tell(state: State, request: RequestId, result: Result) -> State:
    """A client learns what came of its request."""
    index = next(i for i in range(len(state.clients)) if client_id(i) == request.client)
    client, history = state.clients[index], state.history
    assert client.waits_for is not None, "a client is told once, and only what it asked"
    assert client.done + 1 == request.operation, "a client is told once, and only what it asked"
    idle = Client(done=client.done + 1)
    if isinstance(result, Stored):
        history = replace(history, acknowledged=history.acknowledged | FSet((result.dot,)))
    elif isinstance(result, Found):
        seen = known_by(history, result.siblings)
        idle = replace(idle, context=result.context, seen=seen, missed=client.owed - seen)
    return replace(state, clients=put_client(state.clients, index, idle), history=history)


def crash(state: State, name: NodeId) -> State:
    """A node dies; its disk stays, and whoever waits for it learns that the connection broke."""
    server, faults = state.servers[name], state.faults
    dead = Server(Node(name, server.node.config, server.node.ring), FMap(), FSet(), server.disk)
    state = replace(state, servers=state.servers.set(name, dead), faults=replace(faults, crashes=faults.crashes - 1))
    for index, client in enumerate(state.clients):
        if client.waits_for == name:
            request = RequestId(client_id(index), client.done + 1)
            state = tell(state, request, Indefinite("the connection broke"))
    return state
