"""Nodes that die and come back: with the disk that they had, an empty one, or an earlier copy of it.

A server that crashes keeps its disk and loses all else; a client that waits for it learns that the connection broke.
Where a disk is lost, the history notes what it knew and what it owed, and that both are to be made up for
(`spec.comeback`).

Where no disk can be lost, no node is ever told that its own is from the past, and whoever is up would tell it so.
There a node that restarts is told at once. In the time that it would have to wait it would do less, and name its writes
anew; models in which disks can be lost have that time.

A disk may be replaced only by a copy that is older than a mark which all others have seen, unless the scenario has
younger ones. That all others see the mark at once spares the explorer the moments before the copy is of use.
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.clients import release, tell
from spec.clock import Dot
from spec.events import Beat, Deliver, Start
from spec.history import known_by
from spec.maps import FMap, FSet
from spec.messages import Indefinite, Known, Mark
from spec.network import Envelope
from spec.spent import Driver
from spec.state import Node
from spec.trust import is_behind, known_disk, others
from spec.types import NodeId
from spec.world import Memory, Scenario, Server, State, owners_asked, request_at_hand


def crash(state: State, name: NodeId) -> State:
    """A node dies; its disk stays, and whoever waits for it learns that the connection broke."""
    server = state.servers[name]
    dead = Server(Node(name, server.node.config, server.node.ring), FMap(), FSet(), server.disk, server.backup)
    state = replace(state, servers=state.servers.set(name, dead))
    for index, client in enumerate(state.clients):
        if client.waits_for == name:
            state = tell(state, request_at_hand(index, client), Indefinite("the connection broke"))
    return state


def come_up(scenario: Scenario, state: State, name: NodeId, driver: Driver) -> State:
    """A node that was down is up again."""
    if not scenario.losing:
        return replace(state, servers=state.servers.set(name, boot(state.servers[name], run_of(name, 0), driver)))
    left, had = state.faults, scenario.faults
    deaths = had.crashes + had.wipes + had.restores - left.crashes - left.wipes - left.restores
    started = driver.advance(state.servers[name], Start(run_of(name, deaths)))
    return release(replace(state, servers=state.servers.set(name, started.server)), started.leaving)


def boot(server: Server, run: str, driver: Driver) -> Server:
    """A server whose process has just come up, and was told by enough others that its disk is not from the past."""
    started = driver.advance(server, Start(run)).server
    for other in others(started.node):
        if not started.node.confirmed:
            known = Known(run, known_disk(started.disk).mark, lacking=False)
            started = driver.advance(started, Deliver(other, known)).server
    return started


def run_of(name: NodeId, number: int) -> str:
    """The id of a run of a node: the same for all, where it does not matter, or by number."""
    return f"disk-{name}" + (f"+{number}" if number else "")


def lose_disk(scenario: Scenario, state: State, name: NodeId, left: Memory, driver: Driver) -> State:
    """A node dies and comes back with another disk: an empty one, or an earlier state of it."""
    down = crash(state, name)
    server, history = down.servers[name], down.history
    knew, unpaid = known_on(down, name), history.unpaid
    for _, row in server.disk.table.items():
        for owner in row.owed:
            unpaid = unpaid.set(owner, unpaid[owner] | known_by(history, row.siblings))
    itself = FSet((name,))
    history = replace(
        history,
        lost=history.lost.set(name, knew),
        gone=history.gone | too_much(scenario, down, name, knew),
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


def too_much(scenario: Scenario, state: State, name: NodeId, knew: FSet[Dot]) -> FSet[Dot]:
    """What of this nobody is sure to give back to a node that loses it: no other owner knows it, or one lost it too."""
    owners = owners_asked(scenario, state)
    if name not in owners:
        return FSet()
    rest = [owner for owner in owners if owner != name]
    rows = [state.servers[owner].disk.row(scenario.key) for owner in rest]
    known = FSet.of(dot for row in rows for dot in known_by(state.history, row.siblings))
    lost = FSet.of(dot for owner in rest for dot in state.history.lost[owner])
    return (knew - known) | (knew & lost)


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


def was_lacking(server: Server) -> bool:
    """Whether a node still lacks something that it lost, as far as it knows."""
    return server.disk.about is not None and len(server.disk.about.lacking) > 0


def is_old(state: State, name: NodeId) -> bool:
    """Whether a node goes on with a disk from the past: another has seen a later mark of it."""
    if state.servers[name].node.anew:
        return False
    disk = known_disk(state.servers[name].disk)
    return any(is_behind(disk, known_disk(server.disk).seen[name]) for _, server in state.servers.items())
