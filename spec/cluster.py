"""The explored machine: nodes, disks, a network, clients, and everything that can go wrong.

From a scenario's initial state every interleaving is possible: any message may be delivered next, any timer may fire at
any time, and each fault may strike whenever its budget allows.

Two simplifications cost nothing in meaning. A client's request reaches the node, and the reply the client, within the
node's step (waiting at either end is waiting to be asked). And a node's step, its commit and the release of its effects
are one action, unless the node crashes between commit and release: then any part of the effects may have left.

Messages that can change nothing any more are taken out of the network after each action: see `spec.spent`.

A server that crashes keeps its disk and loses all else; a client that waits for it learns that the connection broke.
A disk may be lost, or replaced by a copy of it, only while fewer than W of the disks that knew something are lost and
not made up for; what a fallback owed on a lost disk, nobody gives back to it. And it may be replaced only by a copy
that is older than a mark which all others have seen, unless the scenario has younger ones. These are assumptions: what
the store promises, it promises as long as no more goes wrong (`spec.comeback`). That all others see the mark at once
spares the explorer the moments before the copy is of use.

Where no disk can be lost, no node is ever told that its own is from the past, and whoever is up would tell it so.
There a node that restarts is told at once. In the time that it would have to wait it would do less, and nothing else.

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
from spec.events import Beat, Deliver, Event, HandOff, Invoke, Reply, Start, Suspicion, Timeout
from spec.history import NOTHING_OWED, History, Owed, claimed_to, having_read, known_by, record, wished
from spec.maps import FMap, FSet
from spec.messages import (
    Forward,
    Forwarded,
    Found,
    Get,
    Handoff,
    Indefinite,
    Known,
    Mark,
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
from spec.trust import known_disk, others
from spec.types import NO_REQUEST, Key, NodeId, RequestId, Value
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


class Wipe(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node dies and comes back with an empty disk."""

    node: NodeId


class Backup(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """Somebody copies the disk of a node, which then tells the others how far it is."""

    node: NodeId


class Restore(Struct, frozen=True, order=True, cache_hash=True, tag=True):
    """A node dies and comes back with the copy of its disk in place of it."""

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
Action: TypeAlias = (
    NodeAction | Drop | Duplicate | Crash | CrashAfterCommit | Restart | Wipe | Backup | Restore | Cut | Heal
)


# Beginning.


def initial(scenario: Scenario, driver: Driver = DRIVER) -> State:
    """All nodes have long been up, on disks that were new once; nobody has asked for anything."""
    ring = build_ring(scenario.members, scenario.config)
    down = (Server(Node(m.name, scenario.config, ring), FMap(), FSet(), Memory()) for m in scenario.members)
    servers = acquainted(FMap.of({server.node.name: server for server in down}), driver)
    clients = tuple(Client(patience=scenario.patience) for _ in scenario.programs)
    network = Network(repeating=scenario.repeating)
    return State(servers, clients, network, scenario.faults, History())


def acquainted(servers: FMap[NodeId, Server], driver: Driver) -> FMap[NodeId, Server]:
    """These servers after they have begun on new disks, told each other so, and were all started again."""
    mail: list[Envelope] = []

    def take(name: NodeId, event: Event) -> None:
        nonlocal servers
        taken = driver.advance(servers[name], event)
        servers = servers.set(name, taken.server)
        mail.extend(said for said in taken.leaving if isinstance(said, Envelope))

    for first in (True, False):
        for name in servers:
            take(name, Start(run_of(name, 0)) if first else Beat())
        while mail:
            envelope = mail.pop(0)
            take(envelope.target, Deliver(envelope.source, envelope.message))
    down = {name: Server(Node(name, s.node.config, s.node.ring), FMap(), FSet(), s.disk) for name, s in servers.items()}
    return FMap.of({name: boot(server, run_of(name, 0), driver) for name, server in down.items()})


def run_of(name: NodeId, number: int) -> str:
    """The id of a run of a node: the same for all, where it does not matter, or by number."""
    return f"disk-{name}" + (f"+{number}" if number else "")


def boot(server: Server, run: str, driver: Driver) -> Server:
    """A server whose process has just come up, and was told by enough others that its disk is not from the past."""
    started = driver.advance(server, Start(run)).server
    for other in others(started.node):
        if not started.node.confirmed:
            known = Known(run, known_disk(started.disk).mark, lacking=False)
            started = driver.advance(started, Deliver(other, known)).server
    return started


def come_up(scenario: Scenario, state: State, name: NodeId, driver: Driver) -> State:
    """A node that was down is up again."""
    if not scenario.losing:
        return replace(state, servers=state.servers.set(name, boot(state.servers[name], run_of(name, 0), driver)))
    left, had = state.faults, scenario.faults
    deaths = had.crashes + had.wipes + had.restores - left.crashes - left.wipes - left.restores
    started = driver.advance(state.servers[name], Start(run_of(name, deaths)))
    return release(replace(state, servers=state.servers.set(name, started.server)), started.leaving)


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
    yield from losses(scenario, state)
    if state.network.cut_off:
        yield Heal()
    elif faults.cuts:
        for side in sides(state.servers.keys()):
            yield Cut(side)


def losses(scenario: Scenario, state: State) -> Iterator[Action]:
    """What may become of disks, and of what others know about them."""
    faults = state.faults
    for name in scenario.losing:
        copy = state.servers[name].backup
        enough = len(not_made_up_for(state) | FSet((name,))) < scenario.config.w
        if faults.wipes and enough:
            yield Wipe(name)
        everybody = all(other.node.started for _, other in state.servers.items())
        if faults.backups and everybody and state.servers[name].node.confirmed:  # so that all see its next mark
            yield Backup(name)
        if faults.restores and enough and copy is not None:
            yield Restore(name)


def not_made_up_for(state: State) -> FSet[NodeId]:
    """Nodes that lost their disk and have not caught up, and owners whom a lost disk owed something."""
    history = state.history
    catching_up = FSet.of(name for name in history.bereft if was_lacking(state.servers[name]))
    return catching_up | history.copied | history.lost.keys() | history.unpaid.keys()


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
            return Get(scenario.key, task.wishes)
        case BlindPut():
            return Put(scenario.key, value, NOTHING, wishes=task.wishes, condition=task.condition)
        case SeenPut():
            return Put(scenario.key, value, client.context, condition=task.condition)
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
    after = perform(scenario, state, action, driver)
    return after if scenario.keep_spent else settle(state, after, driver, may_lose(scenario, after))


def may_lose(scenario: Scenario, state: State) -> tuple[NodeId, ...]:
    """Whose disks may still be lost."""
    return scenario.losing if state.faults.wipes or state.faults.restores else ()


def perform(scenario: Scenario, state: State, action: Action, driver: Driver) -> State:
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
            fewer = replace(faults, crashes=faults.crashes - 1)
            return replace(crash(stepped, event_of(action.during)[0]), faults=fewer)
        case Drop():
            dropped = net.drop(network, action.envelope)
            return replace(state, network=dropped, faults=replace(faults, drops=faults.drops - 1))
        case Duplicate():
            doubled = net.duplicate(network, action.envelope)
            return replace(state, network=doubled, faults=replace(faults, duplicates=faults.duplicates - 1))
        case Crash():
            return replace(crash(state, action.node), faults=replace(faults, crashes=faults.crashes - 1))
        case Restart():
            return come_up(scenario, state, action.node, driver)
        case Wipe():
            struck = replace(state, faults=replace(faults, wipes=faults.wipes - 1))
            return lose_disk(scenario, struck, action.node, Memory(), driver)
        case Backup():
            fewer = replace(faults, backups=faults.backups - 1)
            return replace(back_up(scenario, state, action.node, driver), faults=fewer)
        case Restore():
            struck = replace(state, faults=replace(faults, restores=faults.restores - 1))
            copy = state.servers[action.node].backup
            assert copy is not None, "there is a copy"
            return lose_disk(scenario, struck, action.node, copy, driver)
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
        state = ask(state, action, claims_of(state, action))
    network = net.take(state.network, action.envelope) if isinstance(action, Arrive) else state.network
    outcome = driver.advance(state.servers[name], event)
    history = state.history
    for siblings in outcome.stored:
        history = record(history, *minting(event), siblings)
    if name in history.lost and takes_itself_to_be_whole(outcome.server):
        history = replace(history, lost=history.lost.set(name, FSet()))
    if name in history.copied and incarnation_of(state.servers[name]) != incarnation_of(outcome.server):
        history = replace(history, copied=history.copied - FSet((name,)))
    servers = state.servers.set(name, outcome.server)
    stepped = State(servers, state.clients, network, state.faults, history)
    leaving = outcome.leaving if released is None else tuple(outcome.leaving[i] for i in released)
    return release(stepped, leaving)


def takes_itself_to_be_whole(server: Server) -> bool:
    """Whether a node knows that its disk is not from the past, or has been given whatever it lost."""
    return server.node.confirmed and not was_lacking(server)


def was_lacking(server: Server) -> bool:
    """Whether a node still lacks something that it lost, as far as it knows."""
    return server.disk.about is not None and len(server.disk.about.lacking) > 0


def incarnation_of(server: Server) -> str:
    """Under which the disk of a node mints; nothing for a disk that is empty."""
    return "" if server.disk.about is None else server.disk.about.incarnation


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


def claims_of(state: State, action: Ask) -> Owed:
    """What the get that a client is about to ask is claimed to know; of a put, nothing."""
    acknowledged, read = state.history.acknowledged, state.history.read
    if not isinstance(action.operation, Get) or (not acknowledged and not read):
        return NOTHING_OWED
    config = state.servers[action.node].node.config
    return claimed_to(action.operation.wishes, acknowledged, read, wished(state.history.created), config)


def ask(state: State, action: Ask, owed: Owed) -> State:
    """A client is about to put its next operation to a node, or the one before again; a get is owed this."""
    client, history = state.clients[action.client], state.history
    asking = Client(done=client.done, patience=client.patience, waits_for=action.node)
    if not isinstance(action.operation, Put):
        asking = replace(asking, owed=owed.known, undeniable=owed.undeniable)
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


def minting(event: Event) -> tuple[RequestId, Put | None]:
    """The put that an event asks the node to coordinate, and its request; nobody's, if it asks for none."""
    asked = event.message if isinstance(event, Deliver) else event
    if isinstance(asked, Invoke | Forward) and isinstance(asked.operation, Put):
        return asked.request, asked.operation
    return NO_REQUEST, None


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
    """Whoever says that a put is stored has promised it, whether or not the client hears of it; and so, where repair
    comes first, whoever says what there is."""
    message, history = said if isinstance(said, Reply) else said.message, state.history
    if not isinstance(message, (Reply, Forwarded)):
        return state
    if isinstance(message.result, Stored):
        acknowledged = history.acknowledged | FSet((message.result.dot,))
        return replace(state, history=replace(history, acknowledged=acknowledged))
    if isinstance(message.result, Found) and repairs_first(state):
        shown = message.result.siblings
        read = having_read(history.read, shown, known_by(history, shown))
        return replace(state, history=replace(history, read=read))
    return state


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
        owed = client.owed if shown.siblings else client.owed | client.undeniable
        idle = replace(idle, context=shown.context, seen=seen, missed=owed - seen)
    elif isinstance(result, Refused):
        history = replace(history, refused=history.refused | FSet((request,)))
    return replace(state, clients=put_client(state.clients, index, idle), history=history)


def repairs_first(state: State) -> bool:
    """Whether what a get shows is held by W owners by then."""
    return any(server.node.config.blocking_repair for _, server in state.servers.entries[:1])


def crash(state: State, name: NodeId) -> State:
    """A node dies; its disk stays, and whoever waits for it learns that the connection broke."""
    server = state.servers[name]
    dead = Server(Node(name, server.node.config, server.node.ring), FMap(), FSet(), server.disk, server.backup)
    state = replace(state, servers=state.servers.set(name, dead))
    for index, client in enumerate(state.clients):
        if client.waits_for == name:
            state = tell(state, request_at_hand(index, client), Indefinite("the connection broke"))
    return state


def lose_disk(scenario: Scenario, state: State, name: NodeId, left: Memory, driver: Driver) -> State:
    """A node dies and comes back with another disk: an empty one, or an earlier state of it."""
    down = crash(state, name)
    server, history = down.servers[name], down.history
    unpaid = history.unpaid
    for _, row in server.disk.table.items():
        for owner in row.owed:
            unpaid = unpaid.set(owner, unpaid[owner] | known_by(history, row.siblings))
    itself = FSet((name,))
    history = replace(
        history,
        lost=history.lost.set(name, known_on(down, name)),
        bereft=history.bereft | itself,
        unpaid=unpaid,
        copied=history.copied - itself if left.about is None else history.copied | itself,
    )
    lost = replace(down, servers=down.servers.set(name, replace(server, disk=left)), history=history)
    return come_up(scenario, lost, name, driver)


def known_on(state: State, name: NodeId) -> FSet[Dot]:
    """What the disk of a node knows, and what it has lost before and not made up for."""
    knew = state.history.lost[name]
    for _, row in state.servers[name].disk.table.items():
        knew = knew | known_by(state.history, row.siblings)
    return knew


def back_up(scenario: Scenario, state: State, name: NodeId, driver: Driver) -> State:
    """Copy the disk of a node; then it counts up its mark, and all others see it."""
    copied = replace(state.servers[name], backup=state.servers[name].disk)
    if scenario.young_copies:
        return replace(state, servers=state.servers.set(name, copied))
    marked = driver.advance(copied, Beat())
    servers = state.servers.set(name, marked.server)
    for said in marked.leaving:
        if isinstance(said, Envelope) and isinstance(said.message, Mark):
            seen = driver.advance(servers[said.target], Deliver(name, said.message))
            servers = servers.set(said.target, seen.server)
    return replace(state, servers=servers)
