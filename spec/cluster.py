"""The explored machine: nodes, disks, a network, clients, and everything that can go wrong.

From a scenario's initial state every interleaving is possible: any message may be delivered next, any timer may fire at
any time, and each fault may strike whenever its budget allows.

Two simplifications cost nothing in meaning. A client's request reaches the node, and the reply the client, within the
node's step (waiting at either end is waiting to be asked). And a node's step, its commit and the release of its effects
are one action, unless the node crashes between commit and release: then any part of the effects may have left.

Messages that can change nothing any more are taken out of the network after each action: see `spec.spent`.

A server that crashes keeps its disk and loses all else; a client that waits for it learns that the connection broke.
The machine decides nothing about the protocol: `spec.world.advance` hands events to `spec.node.step`, and what that
says is carried out here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from spec import network as net
from spec.clock import NOTHING, Dot
from spec.events import Deliver, Event, HandOff, Invoke, Reply, Start, Suspicion, Timeout
from spec.history import NOBODY, History, known_by, record
from spec.maps import FMap, FSet
from spec.messages import (
    Forward,
    Forwarded,
    Get,
    Handoff,
    Indefinite,
    Operation,
    Put,
    Refused,
    Result,
    Stored,
    Taken,
    as_asked_again,
    shown_by,
)
from spec.network import Envelope, Network
from spec.ring import build_ring
from spec.spent import DRIVER, Driver, settle
from spec.state import Node
from spec.types import Key, NodeId, RequestId, Value
from spec.world import (
    Asked,
    BlindPut,
    Client,
    Look,
    Memory,
    Scenario,
    SeenPut,
    Server,
    ShownPut,
    State,
    Task,
    client_id,
    request_at_hand,
)

# Actions.


class Ask(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A client puts its next operation to a node."""

    client: int
    """Its index."""
    node: NodeId
    request: RequestId
    operation: Operation


class Arrive(Struct, frozen=True, cache_hash=True, tag=True):
    """A message reaches its target."""

    envelope: Envelope


class Expire(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A timer fires."""

    node: NodeId
    request: RequestId


class Suspect(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node comes to take another to be down, rightly or wrongly, or to be up again."""

    node: NodeId
    about: NodeId
    suspected: bool


class HandOver(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node hands another what it owes it."""

    node: NodeId
    target: NodeId
    key: Key


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

    during: Awaited
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


Awaited: TypeAlias = Ask | Arrive | Expire
"""What a node takes a step for because somebody waits, or time has passed."""

NodeAction: TypeAlias = Awaited | Suspect | HandOver
"""What a node takes a step for."""
Action: TypeAlias = NodeAction | Drop | Duplicate | Crash | CrashAfterCommit | Restart | Cut | Heal


# Beginning.


def initial(scenario: Scenario, driver: Driver = DRIVER) -> State:
    """All nodes have started on new disks; nobody has asked for anything."""
    ring = build_ring(scenario.members, scenario.config)
    down = (Server(Node(m.name, scenario.config, ring), FMap(), FSet(), Memory()) for m in scenario.members)
    servers = FMap.of({server.node.name: boot(server, driver) for server in down})
    clients = tuple(Client(patience=scenario.patience) for _ in scenario.programs)
    network = Network(repeating=scenario.repeating)
    return State(servers, clients, network, scenario.faults, History())


def boot(server: Server, driver: Driver) -> Server:
    """A server whose process has just come up."""
    started = driver.advance(server, Start(incarnation=f"disk-{server.node.name}"))
    assert not started.leaving, "a node says nothing before it is asked"
    return started.server


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
    yield from suspicions(scenario, state)
    yield from handoffs(scenario, state)
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


def suspicions(scenario: Scenario, state: State) -> Iterator[Suspect]:
    """Every change of mind of a node about another."""
    for name in scenario.suspicious:
        server = state.servers[name]
        for about in state.servers:
            suspected = about in server.node.suspected
            if server.node.started and about != name and (suspected or state.faults.suspicions):
                yield Suspect(name, about, not suspected)


def handoffs(scenario: Scenario, state: State) -> Iterator[HandOver]:
    """Every hint that may be handed over; not again while it is under way, or the answer is."""
    for name, server in state.servers.items():
        for target in server.disk.row(scenario.key).owed:
            if server.node.started and target not in server.node.suspected and not handing(state.network, name, target):
                yield HandOver(name, target, scenario.key)


def handing(network: Network, name: NodeId, target: NodeId) -> bool:
    """Whether what a node owes another is under way, or the answer is."""
    return any(
        (isinstance(e.message, Handoff) and (e.source, e.target) == (name, target))
        or (isinstance(e.message, Taken) and (e.target, e.source) == (name, target))
        for e in network.in_flight
    )


def node_actions(scenario: Scenario, state: State) -> Iterator[Awaited]:
    """The actions in which a node takes a step because somebody waits, or time has passed."""
    for index, client in enumerate(state.clients):
        if client.waits_for is None and client.done < len(scenario.programs[index]):
            request = request_at_hand(index, client)
            operation = operation_of(scenario, client, scenario.programs[index][client.done], request)
            for contact in scenario.contacts if client.asked is None else (client.asked.node,):
                if state.servers[contact].node.started:
                    yield Ask(index, contact, request, operation)
    for envelope in net.distinct(state.network):
        if state.servers[envelope.target].node.started:
            yield Arrive(envelope)
    for name, server in state.servers.items():
        for request in server.timers:
            yield Expire(name, request)


def operation_of(scenario: Scenario, client: Client, task: Task, request: RequestId) -> Operation:
    """What a client asks for; the value of a put names its request."""
    if client.asked is not None:
        return as_asked_again(client.asked.put)
    value = Value(str(request).encode())
    match task:
        case Look():
            return Get(scenario.key)
        case BlindPut():
            return Put(scenario.key, value, NOTHING)
        case SeenPut():
            return Put(scenario.key, value, client.context)
        case ShownPut():
            return Put(scenario.key, value, client.context, show=True)


def sides(names: FSet[NodeId]) -> Iterator[FSet[NodeId]]:
    """Every way to cut the nodes in two, named by the smaller side."""
    for size in range(1, len(names) // 2 + 1):
        for side in combinations(names, size):
            if 2 * size < len(names) or names.items[0] in side:
                yield FSet(side)


def is_final(scenario: Scenario, state: State) -> bool:
    """Whether nothing more needs to happen: every client has had its answers."""
    return all(client.done == len(scenario.programs[i]) for i, client in enumerate(state.clients))


def transitions(scenario: Scenario, state: State, driver: Driver = DRIVER) -> Iterator[tuple[Action, State]]:
    """Everything that can happen next, and what comes of it."""
    for action in every_action(scenario, state, driver):
        yield action, apply(scenario, state, action, driver)


def every_action(scenario: Scenario, state: State, driver: Driver = DRIVER) -> Iterator[Action]:
    """Everything that can happen next, crashes in the middle of a step included."""
    yield from actions(scenario, state)
    if state.faults.crashes:
        yield from crashes_after_commit(scenario, state, driver)


def crashes_after_commit(scenario: Scenario, state: State, driver: Driver) -> Iterator[CrashAfterCommit]:
    """Every crash in the middle of a step, with every proper part of its effects released."""
    for during in node_actions(scenario, state):
        name, event = event_of(during)
        leaving = driver.advance(state.servers[name], event).leaving
        for size in range(len(leaving)):
            for released in combinations(range(len(leaving)), size):
                yield CrashAfterCommit(during, released)


# What comes of it.


def apply(scenario: Scenario, state: State, action: Action, driver: Driver = DRIVER) -> State:
    """The state after an action that is possible in this one."""
    after = perform(state, action, driver)
    return after if scenario.keep_spent else settle(state, after, driver)


def perform(state: State, action: Action, driver: Driver) -> State:
    """The state after an action, spent messages included."""
    faults, network = state.faults, state.network
    match action:
        case Suspect(suspected=True):
            fewer = replace(faults, suspicions=faults.suspicions - 1)
            return replace(take_step(state, action, driver, released=None), faults=fewer)
        case Ask() | Arrive() | Expire() | Suspect() | HandOver():
            return take_step(state, action, driver, released=None)
        case CrashAfterCommit():
            stepped = take_step(state, action.during, driver, action.released)
            return crash(stepped, event_of(action.during)[0])
        case Drop():
            dropped = net.drop(network, action.envelope)
            return replace(state, network=dropped, faults=replace(faults, drops=faults.drops - 1))
        case Duplicate():
            doubled = net.duplicate(network, action.envelope)
            return replace(state, network=doubled, faults=replace(faults, duplicates=faults.duplicates - 1))
        case Crash():
            return crash(state, action.node)
        case Restart():
            up = boot(state.servers[action.node], driver)
            return replace(state, servers=state.servers.set(action.node, up))
        case Cut():
            return replace(state, network=net.cut(network, action.side), faults=replace(faults, cuts=faults.cuts - 1))
        case Heal():
            return replace(state, network=net.heal(network))


def take_step(
    state: State,
    action: NodeAction,
    driver: Driver,
    released: tuple[int, ...] | None,
) -> State:
    """A node takes a step and commits; of what it has to say, the `released` places leave it, or all of them."""
    name, event = event_of(action)
    if isinstance(action, Ask):
        state = ask(state, action)
    network = net.take(state.network, action.envelope) if isinstance(action, Arrive) else state.network
    outcome = driver.advance(state.servers[name], event)
    history = state.history
    for siblings in outcome.stored:
        history = record(history, minting_request(event), siblings)
    servers = state.servers.set(name, outcome.server)
    stepped = State(servers, state.clients, network, state.faults, history)
    leaving = outcome.leaving if released is None else tuple(outcome.leaving[i] for i in released)
    return release(stepped, leaving)


def event_of(action: NodeAction) -> tuple[NodeId, Event]:
    """Which node takes the step, and the event that it takes."""
    match action:
        case Ask():
            return action.node, Invoke(action.request, action.operation)
        case Arrive():
            return action.envelope.target, Deliver(action.envelope.source, action.envelope.message)
        case Expire():
            return action.node, Timeout(action.request)
        case Suspect():
            return action.node, Suspicion(action.about, action.suspected)
        case HandOver():
            return action.node, HandOff(action.target, (action.key,))


def ask(state: State, action: Ask) -> State:
    """A client is about to put its next operation to a node, or the one before again."""
    client, history = state.clients[action.client], state.history
    asking = Client(done=client.done, patience=client.patience, waits_for=action.node)
    if not isinstance(action.operation, Put):
        asking = replace(asking, owed=history.acknowledged)
    else:
        if client.patience:
            asking = replace(asking, asked=Asked(action.node, action.operation))
        if client.asked is None:
            seen = client.seen if action.operation.context != NOTHING else FSet[Dot]()
            history = replace(history, shown=history.shown.set(action.request, seen))
    clients = put_client(state.clients, action.client, asking)
    return State(state.servers, clients, state.network, state.faults, history)


def put_client(clients: tuple[Client, ...], index: int, client: Client) -> tuple[Client, ...]:
    """The clients with one replaced."""
    return (*clients[:index], client, *clients[index + 1 :])


def minting_request(event: Event) -> RequestId:
    """The request whose put an event asks the node to coordinate; nobody's, if it asks for no such thing."""
    asked = event.message if isinstance(event, Deliver) else event
    if isinstance(asked, Invoke | Forward) and isinstance(asked.operation, Put):
        return asked.request
    return NOBODY


def release(state: State, leaving: tuple[Envelope | Reply, ...]) -> State:
    """Let what a committed step says reach the network and the clients."""
    sent: list[Envelope] = []
    for said in leaving:
        state = promise(state, said)
        if isinstance(said, Reply):
            state = tell(state, said.request, said.result)
        else:
            sent.append(said)
    if not sent:
        return state
    return State(state.servers, state.clients, net.send(state.network, sent), state.faults, state.history)


def promise(state: State, said: Envelope | Reply) -> State:
    """Whoever says that a put is stored has promised it, whether or not the client hears of it."""
    message = said if isinstance(said, Reply) else said.message
    if not isinstance(message, (Reply, Forwarded)) or not isinstance(message.result, Stored):
        return state
    acknowledged = state.history.acknowledged | FSet((message.result.dot,))
    return replace(state, history=replace(state.history, acknowledged=acknowledged))


def tell(state: State, request: RequestId, result: Result) -> State:
    """A client learns what came of its request."""
    index = next(i for i in range(len(state.clients)) if client_id(i) == request.client)
    client, history = state.clients[index], state.history
    assert client.waits_for is not None, "a client is told once, and only what it asked"
    assert client.done + 1 == request.operation, "a client is told once, and only what it asked"
    if isinstance(result, Indefinite) and client.asked is not None:
        doubting = Client(done=client.done, patience=client.patience - 1, asked=client.asked)
        return replace(state, clients=put_client(state.clients, index, doubting))
    idle = Client(done=client.done + 1, patience=client.patience)
    shown = shown_by(result)
    if shown is not None:
        seen = known_by(history, shown.siblings)
        idle = replace(idle, context=shown.context, seen=seen, missed=client.owed - seen)
    elif isinstance(result, Refused):
        history = replace(history, refused=history.refused | FSet((request,)))
    return replace(state, clients=put_client(state.clients, index, idle), history=history)


def crash(state: State, name: NodeId) -> State:
    """A node dies; its disk stays, and whoever waits for it learns that the connection broke."""
    server, faults = state.servers[name], state.faults
    dead = Server(Node(name, server.node.config, server.node.ring), FMap(), FSet(), server.disk)
    state = replace(state, servers=state.servers.set(name, dead), faults=replace(faults, crashes=faults.crashes - 1))
    for index, client in enumerate(state.clients):
        if client.waits_for == name:
            state = tell(state, request_at_hand(index, client), Indefinite("the connection broke"))
    return state
