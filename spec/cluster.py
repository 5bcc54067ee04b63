"""The explored machine: nodes, disks, a network, clients, and everything that can go wrong.

From a scenario's initial state every interleaving is possible: any message may be delivered next, any timer may fire at
any time, and each fault may strike whenever its budget allows (`spec.enabled`). What nodes and clients make of each
other's words is in `spec.clients`, what becomes of nodes that die in `spec.failures`.

Two simplifications cost nothing in meaning. A client's request reaches the node, and the reply the client, within the
node's step (waiting at either end is waiting to be asked). And a node's step, its commit and the release of its effects
are one action, unless the node crashes between commit and release: then any part of the effects may have left.

Messages that can change nothing any more are taken out of the network after each action: see `spec.spent`.

Fewer than W of the disks that knew something are ever lost at a time. That and how old a copy of a disk may be are
assumptions: what the store promises, it promises as long as no more goes wrong.

The machine decides nothing about the protocol: `spec.world.advance` hands events to `spec.node.step`, and what that
says is carried out here.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from spec import network as net
from spec.actions import (
    Action,
    Arrive,
    Ask,
    Backup,
    Crash,
    CrashAfterCommit,
    Cut,
    Drop,
    Duplicate,
    Expire,
    HandOver,
    Heal,
    NodeAction,
    Restart,
    Restore,
    Suspect,
    Wipe,
    event_of,
)
from spec.clients import ask, claims_of, release
from spec.enabled import every_action
from spec.events import Beat, Deliver, Event, Invoke, Start
from spec.failures import back_up, boot, come_up, crash, lose_disk, run_of, was_lacking
from spec.history import History, record
from spec.maps import FMap, FSet
from spec.messages import Forward, Put
from spec.network import Envelope, Network
from spec.ring import build_ring
from spec.spent import DRIVER, Driver, settle
from spec.state import Node
from spec.types import NO_REQUEST, NodeId, RequestId
from spec.world import Client, Memory, Scenario, Server, State


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


def transitions(scenario: Scenario, state: State, driver: Driver = DRIVER) -> Iterator[tuple[Action, State]]:
    """Everything that can happen next, and what comes of it."""
    for action in every_action(scenario, state, driver):
        yield action, apply(scenario, state, action, driver)


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


def incarnation_of(server: Server) -> str:
    """Under which the disk of a node mints; nothing for a disk that is empty."""
    return "" if server.disk.about is None else server.disk.about.incarnation


def minting(event: Event) -> tuple[RequestId, Put | None]:
    """The put that an event asks the node to coordinate, and its request; nobody's, if it asks for none."""
    asked = event.message if isinstance(event, Deliver) else event
    if isinstance(asked, Invoke | Forward) and isinstance(asked.operation, Put):
        return asked.request, asked.operation
    return NO_REQUEST, None
