"""Which actions are possible in a state.

Any message may be delivered next, any timer may fire at any time, and each fault may strike whenever its budget allows.
A disk may be lost, or replaced by a copy of it, only while fewer than W owners of the key have lost something that is
not made up for: their disk, or what a fallback owed them, which nobody gives back to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from spec import network as net
from spec.actions import (
    Action,
    Arrive,
    Ask,
    Awaited,
    Backup,
    Crash,
    CrashAfterCommit,
    Cut,
    Drop,
    Duplicate,
    Expire,
    HandOver,
    Heal,
    Restart,
    Restore,
    Suspect,
    Wipe,
    event_of,
)
from spec.clock import NOTHING
from spec.failures import is_old, was_lacking
from spec.maps import FSet
from spec.messages import Get, Handoff, Operation, Put, Taken, as_asked_again
from spec.network import Network
from spec.spent import DRIVER, Driver
from spec.types import NodeId, RequestId, Value
from spec.world import BlindPut, Client, Look, Scenario, SeenPut, ShownPut, State, Task, owners_asked, request_at_hand


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


def every_action(scenario: Scenario, state: State, driver: Driver = DRIVER) -> Iterator[Action]:
    """Everything that can happen next, crashes in the middle of a step included."""
    yield from actions(scenario, state)
    if state.faults.crashes:
        yield from crashes_after_commit(scenario, state, driver)


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


def losses(scenario: Scenario, state: State) -> Iterator[Action]:
    """What may become of disks, and of what others know about them."""
    faults = state.faults
    for name in scenario.losing:
        copy = state.servers[name].backup
        enough = enough_are_left(scenario, state, not_made_up_for(state) | lost_with(scenario, state, name))
        if faults.wipes and enough:
            yield Wipe(name)
        everybody = all(other.node.started for _, other in state.servers.items())
        if faults.backups and everybody and state.servers[name].node.confirmed:  # so that all see its next mark
            yield Backup(name)
        if faults.restores and enough and copy is not None:
            yield Restore(name)


def enough_are_left(scenario: Scenario, state: State, lost: FSet[NodeId]) -> bool:
    """Whether fewer than W owners of the key are among these, so that one of any W is not."""
    return len(lost & FSet.of(owners_asked(scenario, state))) < scenario.config.w


def lost_with(scenario: Scenario, state: State, name: NodeId) -> FSet[NodeId]:
    """Who loses something with the disk of a node: the node, and to whom it owes something."""
    return state.servers[name].disk.row(scenario.key).owed | FSet((name,))


def not_made_up_for(state: State) -> FSet[NodeId]:
    """Nodes that lost their disk and have not caught up, and owners whom a lost disk owed something."""
    history = state.history
    catching_up = FSet.of(name for name, server in state.servers.items() if was_lacking(server) or is_old(state, name))
    return catching_up | history.copied | history.lost.keys() | history.unpaid.keys()


def crashes_after_commit(scenario: Scenario, state: State, driver: Driver) -> Iterator[CrashAfterCommit]:
    """Every crash in the middle of a step, with every proper part of its effects released."""
    for during in node_actions(scenario, state):
        name, event = event_of(during)
        leaving = driver.advance(state.servers[name], event).leaving
        for size in range(len(leaving)):
            for released in combinations(range(len(leaving)), size):
                yield CrashAfterCommit(during, released)


def sides(names: FSet[NodeId]) -> Iterator[FSet[NodeId]]:
    """Every way to cut the nodes in two, named by the smaller side."""
    for size in range(1, len(names) // 2 + 1):
        for side in combinations(names, size):
            if 2 * size < len(names) or names.items[0] in side:
                yield FSet(side)


def is_final(scenario: Scenario, state: State) -> bool:
    """Whether nothing more needs to happen: every client has had its answers."""
    return all(client.done == len(scenario.programs[i]) for i, client in enumerate(state.clients))
