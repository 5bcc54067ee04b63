"""Which state of the abstract protocol a state of the explored cluster stands for, as far as one key is concerned.

What a node has in memory, on disk and under way is read off it; ghosts come from the history (`spec.history`). Which
actions lead from one such state to the next is told in `spec.witness`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from msgspec.structs import replace

from spec.clock import NOTHING, Actor, Dot
from spec.failures import is_old
from spec.history import History, known_by, promised_to, wished
from spec.maps import Counts, FMap, FSet, SetMap
from spec.messages import (
    Answer,
    Fetch,
    Fetched,
    Forward,
    Forwarded,
    Handoff,
    Known,
    Mark,
    Put,
    Read,
    Repair,
    Repaired,
    Taken,
    Write,
    Written,
    shown_by,
)
from spec.network import Envelope, Network
from spec.placement import primaries
from spec.protocol import state as abstract
from spec.protocol.state import Acknowledgement, Confirmation, Due, Given, Handed, Pushed, Reading, Sent, Success, Told
from spec.quorum import (
    AS_CONFIGURED_PUT,
    WriteQuorum,
    from_primaries,
    of_primaries,
    read_quorum,
    write_quorum,
)
from spec.repair import NOBODY, fold_answers
from spec.ring import owners_of
from spec.rows import Disk
from spec.siblings import NO_VERSIONS, Version
from spec.state import GetInFlight, PutInFlight, Request
from spec.trust import known_disk, lacking_all, numbered, others, renamed
from spec.types import NO_REQUEST, Config, Key, NodeId, RequestId
from spec.world import Look, Scenario, State, request_at_hand


class NotInHistory(LookupError):
    """A history does not tell of a version. In an explored state that is our bug; a recording may have begun later."""


InTransit: TypeAlias = Sent | Pushed | Acknowledgement | Told | Handed | Given | abstract.Taken


def abstraction(scenario: Scenario, state: State, key: Key) -> abstract.State:
    """The protocol state that a cluster state stands for, seen from one key: the scenario's, or one nobody asks for."""
    node = state.servers.entries[0][1].node
    disks = {name: disk_of(state, name) for name in state.servers}
    rows = {name: numbered(disks[name], server.disk.row(key)) for name, server in state.servers.items()}
    seen = state if key == scenario.key else unconcerned(state)
    gets = {Reading(name, get.request): get for name, get in in_flight(seen) if isinstance(get, GetInFlight)}
    held = {reading: confirmed(node.config, get) for reading, get in gets.items()}
    created = FSet.of(c.version for c in seen.history.created)
    messages = tuple(messages_of(seen))
    return abstract.State(
        nodes=state.servers.keys(),
        owners=FSet.of(owners_of(node.ring, key, node.config.n)),
        disks=FMap.of({name: bare(disk) for name, disk in disks.items()}),
        birth=Counts.of({name: row.birth for name, row in rows.items()}),
        counter=Counts.of({name: row.counter for name, row in rows.items()}),
        store=SetMap.of({name: row.siblings for name, row in rows.items()}),
        owed=SetMap.of({name: row.owed for name, row in rows.items()}),
        counted=FSet.of(counted(seen)),
        heard=SetMap.of({reading: get.answers.keys() for reading, get in gets.items()}),
        gathered=SetMap.of({reading: fold_answers(get.answers) for reading, get in gets.items()}),
        confirmed=FSet.of(Confirmation(reading, owner) for reading, owners in held.items() for owner in owners),
        sent=FSet.of([m for m in messages if isinstance(m, Sent)]),
        pushed=FSet.of([m for m in messages if isinstance(m, Pushed)]),
        acks=FSet.of([m for m in messages if isinstance(m, Acknowledgement)]),
        told=FSet.of([m for m in messages if isinstance(m, Told)]),
        handed=FSet.of([m for m in messages if isinstance(m, Handed)]),
        taken=FSet.of([m for m in messages if isinstance(m, abstract.Taken)]),
        replies=FSet.of(replies(seen)),
        created=created,
        seen=SetMap.of({c.version: versions_of(seen.history, c.seen) for c in seen.history.created}),
        minted=last_counters(created),
        acked=FSet.of((*successes(seen.history, node.config), *vouched(seen.history, node.config))),
        given=FSet.of([m for m in messages if isinstance(m, Given)]),
        due=FSet.of(due(scenario, seen)),
        lost=by_node(seen.history, seen.history.lost),
        unpaid=by_node(seen.history, seen.history.unpaid),
        gone=versions_of(seen.history, seen.history.gone),
    )


def disk_of(state: State, name: NodeId) -> Disk:
    """The disk on which a node mints, and what it lacks: a copy has lost its name with what was lost, and lacks all
    that was, even if its node does not know."""
    disk = known_disk(state.servers[name].disk)
    named = renamed(disk, f"{disk.incarnation}, copied") if name in state.history.copied else disk
    return lacking_all(named, others(state.servers[name].node)) if is_unaware(state, name) else named


def is_unaware(state: State, name: NodeId) -> bool:
    """Whether a node has a disk from the past, and has not begun anew, for nobody has told it yet."""
    if name in state.history.copied:
        return True
    return name in state.history.lost and not state.servers[name].node.confirmed and is_old(state, name)


def bare(disk: Disk) -> Disk:
    """What it is to the protocol."""
    return Disk(disk.incarnation, disk.births, lacking=disk.lacking)


def by_node(history: History, lost: SetMap[NodeId, Dot]) -> SetMap[NodeId, Version]:
    """What was lost of each node's, or of what was owed to it."""
    return SetMap.of({name: versions_of(history, lost[name]) for name in lost})


def unconcerned(state: State) -> State:
    """A state as a key sees it that nobody asks for: only what disks know of themselves."""
    idle = {name: replace(server, requests=FMap(), timers=FSet()) for name, server in state.servers.items()}
    return State(FMap.of(idle), (), Network(), state.faults, History())


def in_flight(state: State) -> Iterator[tuple[NodeId, Request]]:
    """Every request in flight, and where."""
    for name, server in state.servers.items():
        for _, request in server.requests.items():
            yield name, request


def version_of(history: History, dot: Dot) -> Version:
    """The version that a dot names."""
    return the_one(c.version for c in history.created if c.version.dot == dot)


def version_for(history: History, request: RequestId, coordinator: NodeId) -> Version:
    """The version that a coordinator minted for a request."""
    created = (c.version for c in history.created if c.request == request)
    return the_one(version for version in created if version.dot.actor.node == coordinator)


def the_one(found: Iterator[Version]) -> Version:
    """The version that was looked for. Raises NotInHistory."""
    version = next(found, None)
    if version is None:
        raise NotInHistory("a version is named of which nobody knows when it came to be")
    return version


def versions_of(history: History, dots: FSet[Dot]) -> FSet[Version]:
    """The versions that these dots name."""
    return FSet.of(version_of(history, dot) for dot in dots)


def successes(history: History, config: Config) -> Iterator[Success]:
    """The puts that were called stored, each as its client wished."""
    if not history.acknowledged:
        return
    wishes = wished(history.created)
    for dot in history.acknowledged:
        quorum = of_primaries(write_quorum(wishes.get(dot, AS_CONFIGURED_PUT), config), config)
        yield Success(version_of(history, dot), quorum)


def vouched(history: History, config: Config) -> Iterator[Success]:
    """What gets have shown, where repair comes first, and whatever that knows: all of it is held by W owners."""
    if not history.read:
        return
    read = FSet.of(c.version for c in history.created if c.version.dot in history.read)
    for dot in known_by(history, read):
        yield Success(version_of(history, dot), WriteQuorum(config.w, config.w))


def confirmed(config: Config, get: GetInFlight) -> FSet[NodeId]:
    """Which owners hold all that a get has gathered, where its reply waits for that."""
    if not config.blocking_repair or get.answered:
        return NOBODY
    if get.settling:
        return get.confirmed
    merged = fold_answers(get.answers)
    return primaries(get.holders, FSet.of(holder for holder, known in get.answers.items() if known == merged))


def due(scenario: Scenario, state: State) -> Iterator[Due]:
    """What the gets that clients wait for have to know: of as many owners as have to answer, one knows it.

    What a control claims although it is false is nothing to the protocol.
    """
    config, history = scenario.config, state.history
    for index, client in enumerate(state.clients):
        if not client.owed and not client.undeniable:
            continue
        puts = wished(history.created)
        request, task = request_at_hand(index, client), scenario.programs[index][client.done]
        assert isinstance(task, Look), "only gets are owed something"
        owed = promised_to(task.wishes, client.owed, client.owed, puts, config).known
        for dots, denied in ((owed, False), (client.undeniable, True)):
            answering = from_primaries(read_quorum(task.wishes, config), config, denied=denied).pr
            for dot in dots:
                yield Due(request, version_of(history, dot), config.n + 1 - answering)


def last_counters(created: FSet[Version]) -> Counts[Actor]:
    """The highest counter that each actor has minted."""
    last: dict[Actor, int] = {}
    for version in created:
        last[version.dot.actor] = max(last.get(version.dot.actor, 0), version.dot.counter)
    return Counts.of(last)


def counted(state: State) -> Iterator[Acknowledgement]:
    """What the coordinators of puts have counted."""
    for name, request in in_flight(state):
        if isinstance(request, PutInFlight):
            for holder in request.acknowledged:
                owner = request.holders[holder]
                yield Acknowledgement(name, holder, owner, version_of(state.history, request.dot))


def messages_of(state: State) -> Iterator[InTransit]:
    """What the messages in flight are to the protocol."""
    for envelope in state.network.in_flight:
        transit = in_transit(state.history, envelope)
        if transit is not None:
            yield transit


def in_transit(history: History, envelope: Envelope) -> InTransit | None:
    """What one message is to the protocol; requests for an answer, forwards and results are nothing."""
    source, target, message = envelope.source, envelope.target, envelope.message
    match message:
        case Write():
            about = version_for(history, message.request, source)
            return Sent(source, target, message.owner or target, about, message.siblings)
        case Written():
            about = version_for(history, message.request, target)
            return Acknowledgement(target, source, message.owner or source, about)
        case Answer():
            return Told(Reading(target, message.request), source, message.siblings)
        case Repair() if message.request == NO_REQUEST:
            return Pushed(target, message.siblings)
        case Repair() | Handoff():
            return Handed(source, target, message.siblings)
        case Repaired() | Taken():
            return abstract.Taken(target, source, message.context)
        case Fetched():
            return Given(source, target, message.incarnation, message.rows[0][1] if message.rows else NO_VERSIONS)
        case Read() | Forward() | Forwarded() | Mark() | Known() | Fetch():
            return None


def replies(state: State) -> Iterator[abstract.Reply]:
    """What clients hold, are about to be given, have on its way in a forwarded put, or may bring again."""
    held = [(client.context, client.seen) for client in state.clients]
    for index, client in enumerate(state.clients):
        if client.asked is not None:
            held.append((client.asked.put.context, state.history.shown[request_at_hand(index, client)]))
    for envelope in state.network.in_flight:
        message = envelope.message
        shown = shown_by(message.result) if isinstance(message, Forwarded) else None
        if shown is not None:
            held.append((shown.context, known_by(state.history, shown.siblings)))
        elif isinstance(message, Forward) and isinstance(message.operation, Put):
            held.append((message.operation.context, state.history.shown[message.request]))
    for context, seen in held:
        if context != NOTHING:
            yield abstract.Reply(context, versions_of(state.history, seen))
