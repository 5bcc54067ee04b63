"""Which actions of the abstract protocol a step of the explored cluster amounts to.

`witness` names them: usually a few, none if the key is not concerned. That every explored step really is what its
witness says, guards included, from the protocol state that the state before stands for (`spec.abstraction`) to that of
the state after, is checked on each of them (`checker.refine`); so what is proved of the protocol holds of what was
explored, and of what runs; each step of a real run that is validated is checked too (`checker.refine_run`).

Messages that leave the network, for whatever reason, are *lost* to the protocol, and replies that no client can use any
more are *dropped*: `remainder` lists these once the step's own actions are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, TypeVar

from msgspec import Struct

from spec.abstraction import bare, disk_of, due, in_transit, is_unaware, version_for, version_of, versions_of
from spec.actions import Action, Ask, Crash, CrashAfterCommit, NodeAction, Restore, Wipe, event_of
from spec.clients import ask, claims_of
from spec.events import Deliver, Event, Invoke, Reply, request_of
from spec.handoff import may_release
from spec.history import known_by
from spec.maps import FSet
from spec.messages import (
    Fetched,
    Forward,
    Forwarded,
    Found,
    Get,
    Handoff,
    Operation,
    Put,
    Read,
    Repair,
    Stored,
    Taken,
    Write,
)
from spec.network import Envelope
from spec.placement import holders_of, with_coordinator
from spec.protocol import state as abstract
from spec.protocol.state import Acknowledgement, Given, Handed, Pushed, Reading, Sent, Told
from spec.quorum import (
    ReadQuorum,
    WriteQuorum,
    from_primaries,
    of_primaries,
    read_quorum,
    write_quorum,
)
from spec.repair import fold_answers
from spec.ring import owners_of
from spec.rows import NO_ROW, Disk, Row
from spec.siblings import NO_VERSIONS, Siblings, context_of, merge
from spec.spent import AdvanceFunction
from spec.state import ForwardInFlight, GetInFlight, PutInFlight, Request
from spec.trust import known_disk, may_answer
from spec.types import NO_REQUEST, Config, Key, NodeId, RequestId
from spec.world import Advance, Scenario, Server, State, advance

T = TypeVar("T")

Move: TypeAlias = tuple[str, tuple[object, ...]]
"""The name of a protocol action, and its parameters but the state."""


def witness(
    scenario: Scenario, before: State, action: Action, after: State, key: Key, decide: AdvanceFunction = advance
) -> list[Move]:
    """The protocol actions of a cluster step, but for what is lost by it; `decide` tells what its node did."""
    during = action.during if isinstance(action, CrashAfterCommit) else action
    moves: list[Move] = []
    asked = before
    if isinstance(during, Ask) and isinstance(during.operation, Get) and key == scenario.key:
        asked = ask(before, during, claims_of(before, during))
        owed = FSet.of(d for d in due(scenario, asked) if d.request == during.request)
        moves.append(("ask", (during.request, owed)))
    if isinstance(during, NodeAction):
        name, event = event_of(during)
        taken = decide(before.servers[name], event)
        moves += renaming(before, after, name)
        if key != scenario.key:
            moves += [("elsewhere", (name,))] * (births(taken.server) - births(before.servers[name]))
            moves += giving_nothing(before.servers[name], taken.server, name, event)
        else:
            places = action.released if isinstance(action, CrashAfterCommit) else range(len(taken.leaving))
            told = tuple(taken.leaving[i] for i in places)
            moves += StepTaken(key, before, after, name, event, taken, told).moves()
    if isinstance(action, CrashAfterCommit):
        moves.append(("crash", (event_of(action.during)[0],)))
    elif isinstance(action, Crash):
        moves.append(("crash", (action.node,)))
    elif isinstance(action, Wipe | Restore):
        row = after.servers[action.node].disk.row(key)
        moves.append(("crash", (action.node,)))
        moves.append(("lose", (action.node, bare(disk_of(after, action.node)), row.siblings, row.owed)))
    moves += beginning_anew(before, after, key == scenario.key)
    if key == scenario.key:
        still = [d.request for d in due(scenario, after)]
        over = FSet.of(d.request for d in due(scenario, asked) if d.request not in still)
        moves += [("conclude", (request,)) for request in over]
    return moves


def renaming(before: State, after: State, name: NodeId) -> list[Move]:
    """The incarnation that a node begins in a step, before whatever else it does."""
    was, now = disk_of(before, name), disk_of(after, name)
    renamed = Disk(now.incarnation, was.births, lacking=was.lacking)
    return [] if was.incarnation == now.incarnation else [("rename", (name, renamed))]


def giving_nothing(before: Server, after: Server, name: NodeId, event: Event) -> list[Move]:
    """What is given back of a key that nobody asks for, when all is given."""
    if not isinstance(event, Deliver) or not isinstance(event.message, Fetched) or event.message.upto:
        return []
    if known_disk(before.disk) == known_disk(after.disk):
        return []
    given = Given(event.source, name, event.message.incarnation, NO_VERSIONS)
    return [("give", (given.source, name, given.incarnation)), ("take_back", (given,))]


def beginning_anew(before: State, after: State, asked: bool) -> list[Move]:
    """Who comes to lack everything, or nothing any more; that matters only of a key that somebody asks for."""
    moves: list[Move] = []
    for name in after.servers:
        was, now = disk_of(before, name).lacking, disk_of(after, name).lacking
        eased = is_unaware(before, name) and name not in before.history.lost
        if eased or is_unaware(after, name) or not now.issubset(was):
            moves.append(("doubt", (name, now)))
        if asked and name in before.history.lost and name not in after.history.lost:
            moves.append(("regain", (name,)))
    return moves


def births(server: Server) -> int:
    """How many rows of a disk were given an actor."""
    return server.disk.about.births if server.disk.about is not None else 0


class StepTaken(Struct, frozen=True):
    """One step of one node, as the protocol of one key sees it."""

    key: Key
    before: State
    after: State
    name: NodeId
    event: Event
    taken: Advance
    told: tuple[Envelope | Reply, ...]
    """What of it reached the network and the clients."""

    @property
    def config(self) -> Config:
        """That of the store."""
        return self.before.servers[self.name].node.config

    def moves(self) -> Iterator[Move]:
        """What came in, what it began, what it said, and what it let go, in this order."""
        about = request_of(self.event)
        was = None if about is None else self.before.servers[self.name].requests.get(about)
        now = None if about is None else self.taken.server.requests.get(about)
        begun = self.begun()
        yield from self.hints()
        if isinstance(self.event, Deliver):
            yield from self.arrival(self.event, was)
        if begun is not None:
            yield from self.beginning(*begun)
        for said in self.told:
            if isinstance(said, Envelope) and isinstance(said.message, Handoff):
                yield "hand", (self.name, said.target)
            elif isinstance(said, Envelope) and isinstance(said.message, Fetched):
                yield "give", (self.name, said.target, said.message.incarnation)
            elif about is not None and not isinstance(was, ForwardInFlight):
                yield from self.saying(about, self.quorum(was, begun), said)
        told_before = isinstance(was, GetInFlight) and was.answered
        if self.config.blocking_repair and isinstance(now, GetInFlight) and now.answered and not told_before:
            yield "relax", (Reading(self.name, now.request),)
        if now is None and (isinstance(was, PutInFlight) or (begun is not None and isinstance(begun[1], Put))):
            assert about is not None, "a put has a request"
            yield "finish", (self.name, version_for(self.after.history, about, self.name))
        get = isinstance(was, GetInFlight) or (begun is not None and isinstance(begun[1], Get))
        if now is None and get and self.has_heard(was):
            assert about is not None, "a get has a request"
            yield "forget", (Reading(self.name, about),)

    def rows(self) -> tuple[Row, Row]:
        """The node's row of the key, before and after."""
        return self.before.servers[self.name].disk.row(self.key), self.taken.server.disk.row(self.key)

    def hints(self) -> Iterator[Move]:
        """What it comes to owe."""
        before, after = self.rows()
        for owner in after.owed - before.owed:
            yield "hint", (self.name, owner)

    def stands_for(self) -> NodeId:
        """The owner for whom the node coordinates what it was just asked."""
        node = self.before.servers[self.name].node
        return with_coordinator(holders_of(node, self.key), self.name)[self.name]

    def releasing(self, taken: abstract.Taken) -> Iterator[Move]:
        """What is owed no more, and what is not held any more therefore."""
        before, after = self.rows()
        if after.owed != before.owed:
            yield "release", (taken,)
        if after != before and after == NO_ROW:
            yield "drop", (self.name,)

    def begun(self) -> tuple[RequestId, Operation] | None:
        """The operation that this step began to coordinate; with a single replica, it is over at once."""
        asked = self.event.message if isinstance(self.event, Deliver) else self.event
        if not isinstance(asked, Invoke | Forward) or asked.request in self.before.servers[self.name].requests:
            return None
        said = [s.message if isinstance(s, Envelope) else s for s in self.taken.leaving]
        results = [s.result for s in said if isinstance(s, Reply | Forwarded)]
        if any(isinstance(s, Write | Read | Stored | Found) for s in (*said, *results)):
            return asked.request, asked.operation
        return None

    def beginning(self, request: RequestId, operation: Operation) -> Iterator[Move]:
        """A put mints, or repeats what it minted; a get hears its own node first, if that may answer."""
        history = self.after.history
        if isinstance(operation, Get):
            server, reading = self.before.servers[self.name], Reading(self.name, request)
            if self.may_answer():
                own = Told(reading, self.name, server.disk.row(operation.key).siblings)
                yield "answer", (reading, self.name)
                yield "collect", (own,)
                yield from self.agreeing(own, own.versions)
        elif history.created == self.before.history.created:
            yield "again", (self.name, version_for(history, request, self.name), self.stands_for())
        else:
            reply = abstract.Reply(operation.context, versions_of(history, history.shown[request]))
            yield "put", (self.name, reply, operation.value, self.stands_for())

    def may_answer(self) -> bool:
        """Whether what the node holds of the key counts as an answer."""
        server = self.before.servers[self.name]
        return may_answer(server.node, known_disk(server.disk), self.key)

    def arrival(self, event: Deliver, was: Request | None) -> Iterator[Move]:
        """What a message does to the node that it reaches."""
        message, transit = (
            event.message,
            in_transit(self.after.history, Envelope(event.source, self.name, event.message)),
        )
        match transit:
            case Sent() if any(
                isinstance(said, Envelope) and said.target == event.source for said in self.taken.leaving
            ):
                yield "receive", (transit,)  # who has no room for the hint that it comes with loses it
            case Acknowledgement() if isinstance(was, PutInFlight):
                yield "count", (transit,)
            case Told() if isinstance(was, GetInFlight) and event.source not in was.answers:
                gathered = merge(fold_answers(was.answers), transit.versions)
                yield "collect", (transit,)
                if not was.answered:
                    yield from self.agreeing(transit, gathered)
                yield from self.own_repair(was, transit.reading, gathered)
            case Pushed():
                yield "mend", (transit,)
            case Given() if self.taken.server != self.before.servers[self.name]:
                yield "take_back", (transit,)  # who no longer waits for it leaves it alone
                if isinstance(message, Fetched) and message.upto:  # of other keys there is more to come
                    yield "doubt", (self.name, disk_of(self.after, self.name).lacking)
            case Handed():
                yield "take", (transit, context_of(transit.versions))
            case abstract.Taken() if isinstance(message, Taken):
                yield from self.releasing(transit)
            case abstract.Taken() if isinstance(was, GetInFlight) and was.settling:
                if may_release(fold_answers(was.answers), transit.context):
                    yield "confirm", (Reading(self.name, was.request), transit)
        if isinstance(message, Read) and self.may_answer():
            yield "answer", (Reading(event.source, message.request), self.name)

    def own_repair(self, get: GetInFlight, reading: Reading, gathered: Siblings) -> Iterator[Move]:
        """A reader that learns what it lacked writes it down at once; where its reply waits for that, it says so."""
        now = self.taken.server.requests.get(get.request)
        settling = isinstance(now, GetInFlight) and now.settling
        if self.config.blocking_repair and not get.answered and (settling or self.says_what_is_there()):
            if self.name in get.answers and get.holders[self.name] == self.name:
                context = context_of(gathered)
                yield "press", (reading, self.name)
                yield "take", (Handed(self.name, self.name, gathered), context)
                yield "confirm", (reading, abstract.Taken(self.name, self.name, context))
        elif self.taken.server.disk != self.before.servers[self.name].disk:
            yield "push", (reading, self.name)
            yield "mend", (Pushed(self.name, gathered),)

    def says_what_is_there(self) -> bool:
        """Whether the node tells of a get that something is there."""
        said = [s.message if isinstance(s, Envelope) else s for s in self.taken.leaving]
        results = [s.result for s in said if isinstance(s, Reply | Forwarded)]
        return any(isinstance(result, Found) and result.siblings for result in results)

    def agreeing(self, told: Told, gathered: Siblings) -> Iterator[Move]:
        """Where a reply waits until enough owners hold what it shows, who answered just that is one of them."""
        if self.config.blocking_repair and told.versions == gathered and told.owner in self.owners():
            yield "agree", (told,)

    def owners(self) -> tuple[NodeId, ...]:
        """Those of the key."""
        return owners_of(self.before.servers[self.name].node.ring, self.key, self.config.n)

    def has_heard(self, was: Request | None) -> bool:
        """Whether the get of this step has had an answer; one that is over as it begins has had its reader's own."""
        return not isinstance(was, GetInFlight) or len(was.answers) > 0

    def quorum(self, was: Request | None, begun: tuple[RequestId, Operation] | None) -> WriteQuorum | ReadQuorum | None:
        """What the request of this step needs, if it is one that the node coordinates."""
        if isinstance(was, PutInFlight | GetInFlight):
            return was.quorum
        if begun is None:
            return None
        operation = begun[1]
        if isinstance(operation, Put):
            return write_quorum(operation.wishes, self.config)
        return read_quorum(operation.wishes, self.config)

    def saying(
        self, about: RequestId, quorum: WriteQuorum | ReadQuorum | None, said: Envelope | Reply
    ) -> Iterator[Move]:
        """What it means to the protocol that a node says something."""
        message = said.message if isinstance(said, Envelope) else said
        if isinstance(message, Write) and isinstance(said, Envelope):
            about_version = version_for(self.after.history, about, self.name)
            yield "send", (self.name, about_version, said.target, message.owner or said.target)
        elif isinstance(message, Repair) and isinstance(said, Envelope):
            yield "press" if message.request != NO_REQUEST else "push", (Reading(self.name, about), said.target)
        elif isinstance(message, Reply | Forwarded) and isinstance(message.result, Stored):
            assert isinstance(quorum, WriteQuorum), "who says that a put is stored has coordinated it"
            version = version_of(self.after.history, message.result.dot)
            yield "acknowledge", (self.name, version, of_primaries(quorum, self.config))
            if message.result.shown is not None:
                yield "show", (self.name, message.result.shown.context)
        elif isinstance(message, Reply | Forwarded) and isinstance(message.result, Found):
            assert isinstance(quorum, ReadQuorum), "who says what is there has coordinated a get"
            needed = from_primaries(quorum, self.config, denied=not message.result.siblings)
            reading = Reading(self.name, about)
            yield "reply", (reading, needed, message.result.context)
            if self.config.blocking_repair:
                for dot in known_by(self.after.history, message.result.siblings):
                    enough = WriteQuorum(self.config.w, self.config.w)
                    yield "vouch", (reading, version_of(self.after.history, dot), enough)


def remainder(reached: abstract.State, meant: abstract.State) -> list[Move]:
    """What has to be lost or dropped for the protocol to get from where the actions led to where the cluster is."""
    return [
        *lost("lose_sent", reached.sent, meant.sent),
        *lost("lose_pushed", reached.pushed, meant.pushed),
        *lost("lose_ack", reached.acks, meant.acks),
        *lost("lose_told", reached.told, meant.told),
        *lost("lose_handed", reached.handed, meant.handed),
        *lost("lose_taken", reached.taken, meant.taken),
        *lost("lose_given", reached.given, meant.given),
        *lost("lose_reply", reached.replies, meant.replies),
    ]


def lost(verb: str, was: FSet[T], stays: FSet[T]) -> list[Move]:
    """The actions by which what is there no more was lost."""
    return [(verb, (gone,)) for gone in was if gone not in stays]
