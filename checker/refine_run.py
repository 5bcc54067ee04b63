"""Refinement along a real run: every recorded step is a sequence of actions of the abstract protocol, for every key.

The witness, the guards and the comparison are the explorer's (`spec.witness`, `checker.refine`). What is made here is
what they are asked about: from one step of a node's log the states of the explored machine before and after it, as far
as one key is concerned.

An explored state is everybody's. But a step changes its own node, takes one message in, and gives rise to messages and
to a reply; and every protocol action reads and changes one node, what is under way to or from it, and ghosts. So the
states made here hold only that. The disks and requests of others are left out on both sides, and so are messages that
are neither received nor sent in the step. That these pieces fit, that a message is received as it was sent, and that a
node's disk and memory are before a step what they were after the one before, is what `checker.happened` and
`checker.rerun` have checked. A test says that it makes no difference to explored steps what is left out.

The history holds the versions that the step mentions: stored before or after it, carried, gathered, shown, or minted
for its request. What their writers had seen is cut down to these.

What a get is owed is not held against the protocol here (its `ask` is witnessed with nothing due, and `conclude`
never): that is the claim quorum-meaning-get, judged beside it. A crash shows where its node starts again. The loss of a
disk is a step that nobody recorded, and so is whatever else was in a log that was lost, or came before the recording:
what arrives from there is taken at its word, and a step that names a put of which nobody knows which version it made
cannot be judged; such steps are counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from checker.logs import Invalid, Logs, Place
from checker.refine import UNASKED, Departure, follow, told
from checker.rerun import Moment, cut, event_told
from checker.story import changes, show
from checker.view import UNKNOWN, Change, View, action_of, leaving_of
from spec import network as net
from spec.abstraction import NotInHistory, abstraction, bare
from spec.actions import Action, Arrive, Crash
from spec.clients import promise, tell
from spec.clock import NOTHING, Actor, Clock, Dot, covers
from spec.cluster import incarnation_of
from spec.events import Deliver, Event, Invoke, Reply, Start, Timeout
from spec.history import Created, History
from spec.maps import FMap, FSet, SetMap
from spec.messages import Fetched, Forward, Forwarded, Found, Get, Handoff, Operation, Put, Result, Stored, shown_by
from spec.network import Envelope, Network
from spec.rows import NO_ROW, Disk, Row
from spec.siblings import Version
from spec.state import ForwardInFlight, GetInFlight, Node
from spec.trace import Step
from spec.types import NO_REQUEST, Key, NodeId, RequestId
from spec.views import carried_by
from spec.witness import witness
from spec.world import Advance, Client, Faults, Memory, Scenario, Server, State, client_id

RULE = "refines-protocol"
NO_FAULTS, NONE_FRESH = Faults(), FSet[Created]()
ANY = Key(b"a key that somebody asks for")


class Part(Struct, frozen=True):
    """What one step is to one key."""

    key: Key
    name: NodeId
    event: Event
    before: Server
    after: Server
    came: tuple[Envelope, ...] = ()
    """The message that it is about, if it is about one."""
    leaving: tuple[Envelope | Reply, ...] = ()
    sent: tuple[Envelope, ...] = ()
    """The messages among these."""
    fresh: FSet[Created] = FSet()
    """Versions that came to be."""

    def requests(self) -> set[RequestId]:
        """The requests that are named in it."""
        named = {getattr(envelope.message, "request", NO_REQUEST) for envelope in (*self.came, *self.sent)}
        if isinstance(self.event, Invoke | Timeout):
            named.add(self.event.request)
        named.update(self.before.requests, self.after.requests)
        return named - {NO_REQUEST}

    def asked(self) -> Operation | None:
        """What the node is asked, or asks another to coordinate."""
        if isinstance(self.event, Invoke):
            return self.event.operation
        messages = (envelope.message for envelope in (*self.came, *self.sent))
        return next((message.operation for message in messages if isinstance(message, Forward)), None)

    def versions(self) -> set[Version]:
        """The versions that are mentioned in it, but for those minted for its requests."""
        found = {one.version for one in self.fresh}
        for server in (self.before, self.after):
            found.update(server.disk.row(self.key).siblings)
            for _, request in server.requests.items():
                for _, answer in request.answers.items() if isinstance(request, GetInFlight) else ():
                    found.update(answer)
        for envelope in (*self.came, *self.sent):
            for siblings in carried_by(envelope.message):
                found.update(siblings)
        for said in self.leaving:
            shown = shown_by(said.result) if isinstance(said, Reply) else None
            found.update(shown.siblings if shown is not None else ())
        return found

    def results(self) -> list[Result]:
        """The results that are mentioned in it."""
        said = [said.message if isinstance(said, Envelope) else said for said in (*self.came, *self.leaving)]
        return [one.result for one in said if isinstance(one, Reply | Forwarded)]


class RunRefinement:
    """Checks the steps of a run, in an order that respects what happened before what."""

    def __init__(self, logs: Logs, views: Mapping[Key, View]) -> None:
        """Nothing has happened; `views` tell what is known of each key, after the step that is checked."""
        self.seen: Counter[str] = Counter()
        """How often each protocol action was witnessed."""
        self.steps = 0
        """How many steps are sequences of protocol actions, whatever keys they are about."""
        self.not_judged = 0
        """How many name a put of which nobody recorded which version it made."""
        self._logs, self._views = logs, views
        self.promised: dict[Key, set[Dot]] = defaultdict(set)
        """Writes that were called stored, by key."""
        self.read: dict[Key, set[Dot]] = defaultdict(set)
        """Where repair is blocking, what gets have shown."""
        self._whole = logs.whole
        self._down = {member.name: Node(member.name, logs.config, logs.ring) for member in logs.ring.members}
        self._others = {n: Server(node, FMap(), FSet(), Memory(Disk(""))) for n, node in self._down.items()}

    def take(self, place: Place, step: Step, before: Moment, after: Moment, changed: Mapping[Key, Change]) -> None:
        """The next step of a node, and the keys that it changed. Raises Invalid if it leaves the protocol."""
        try:
            for part, action in self._parts(step, before, after, changed):
                departure = self._departure(part, action)
                if departure is not None:
                    raise invalid(place, step, part.key, departure)
        except NotInHistory as error:
            if self._whole:
                raise Invalid(RULE, [place], f"{which(step)}: {error}", [event_told(step)]) from None
            self.not_judged += 1
        else:
            self.steps += 1

    # What a step is to each key that it may concern.

    def _parts(
        self, step: Step, before: Moment, after: Moment, changed: Mapping[Key, Change]
    ) -> Iterator[tuple[Part, Action]]:
        name, event, action = step.node, step.event, action_of(step)
        if before.disk is None:
            before = replace(before, disk=after.disk)  # a new disk is to the protocol as it will be
        if isinstance(event, Start):
            dead = Moment(self._down[name], before.disk, ())
            for key in sorted({r.key for r in before.requests if not isinstance(r, ForwardInFlight)}):
                row = self._row(key, name)
                yield Part(key, name, event, server(before, key, row), server(dead, key, row)), Crash(name)
            before = dead
        assert before.disk is not None, "a node that has taken a step has a disk"
        assert after.disk is not None, "a node that has taken a step has a disk"
        leaving = leaving_of(step)
        keys = set(changed).union(keys_said(leaving))
        if before.disk is not after.disk and bare(before.disk) != bare(after.disk):
            nothing = (server(before, UNASKED, NO_ROW), server(after, UNASKED, NO_ROW))
            yield Part(UNASKED, name, event, *nothing), action
            if before.disk.incarnation != after.disk.incarnation and not keys:
                keys = {key for key in self._views if self._row(key, name) != NO_ROW}
        for key in sorted(keys):
            change, row = changed.get(key), self._row(key, name)
            earlier = row if change is None else change.servers_before[name].disk.row(key)
            if not self._whole and self._is_early(key, name, (before.disk, after.disk), (earlier, row), change):
                raise NotInHistory("what it makes, or makes later, was in a snapshot that another node took later")
            about = tuple([said for each in leaving if (said := said_of(each, key)) is not None])
            came: tuple[Envelope, ...] = ()
            if isinstance(action, Arrive):
                came = tuple([said for said in [said_of(action.envelope, key)] if isinstance(said, Envelope)])
            yield (
                Part(
                    key=key,
                    name=name,
                    event=event,
                    before=server(before, key, earlier),
                    after=server(after, key, row),
                    came=came,
                    leaving=about,
                    sent=tuple([said for said in about if isinstance(said, Envelope)]),
                    fresh=NONE_FRESH if change is None else change.fresh,
                ),
                Arrive(came[0]) if came else action,
            )

    def _row(self, key: Key, name: NodeId) -> Row:
        view = self._views.get(key)  # none of a key that only a request knows of which recording began
        return NO_ROW if view is None else view.servers[name].disk.row(key)

    def _is_early(
        self, key: Key, name: NodeId, disks: tuple[Disk, Disk], rows: tuple[Row, Row], change: Change | None
    ) -> bool:
        """Whether a version is known already that a node makes between these, or under a name that it takes there."""
        (before, after), (earlier, row) = disks, rows
        if (row.birth, row.counter) <= (earlier.birth, earlier.counter):
            return False
        fresh = [] if change is None else [one.version for one in change.fresh]
        if before.incarnation == after.incarnation:
            made = Dot(Actor(name, after.incarnation, row.birth), row.counter)
            return not any(version.dot == made for version in fresh)
        known = (version.dot.actor for version in self._views[key].created if version not in fresh)
        return any((actor.node, actor.incarnation) == (name, after.incarnation) for actor in known)

    # What a part is to the protocol.

    def _departure(self, part: Part, action: Action) -> Departure | str | None:
        config, members = self._logs.config, self._logs.ring.members
        asked_about = ANY if part.key == UNASKED else part.key
        scenario = Scenario(config=config, members=members, key=asked_about, programs=((),), contacts=())
        before, after = self._states(part)
        taken = Advance(part.after, (), part.leaving)
        state = abstraction(scenario, before, part.key)
        try:
            meant = abstraction(scenario, after, part.key)
            moves = witness(scenario, before, action, after, part.key, lambda _server, _event: taken)
        except (AssertionError, KeyError) as error:
            return f"no protocol actions are what it does: {error}"
        return follow(state, moves, meant, self.seen)

    def _states(self, part: Part) -> tuple[State, State]:
        """The states before and after, with what the step touches."""
        earlier, history = self._histories(part)
        waiting = client = Client(waits_for=part.name)
        if isinstance(part.event, Invoke):
            client, asked = Client(), part.event.operation
            if isinstance(asked, Put) and asked.context != NOTHING:
                client = Client(context=asked.context, seen=history.shown[part.event.request])
        about = {name for envelope in (*part.came, *part.sent) for name in (envelope.source, envelope.target)}
        if isinstance(part.event, Deliver):
            about.add(part.event.source)
        others = {name: self._others[name] for name in about}
        servers = FMap.of({**others, part.name: part.before})
        before = State(servers, (client,), Network(part.came), NO_FAULTS, earlier)
        after = State(servers.set(part.name, part.after), (waiting,), Network(), NO_FAULTS, history)
        for said in part.leaving:
            after = promise(after, said)
            if isinstance(said, Reply) and after.clients == (waiting,):
                after = tell(after, RequestId(client_id(0), 1), said.result)
        self.promised[part.key].update(after.history.acknowledged)
        self.read[part.key].update(after.history.read)
        return before, replace(after, network=net.send(Network(), part.sent))

    def _histories(self, part: Part) -> tuple[History, History]:
        """What is known of the versions that are mentioned: before the step, and after it."""
        view = self._views.get(part.key)
        if view is None:
            return History(), History()
        versions, requests = part.versions(), part.requests()
        for request in requests:
            versions.update(one.version for one in view.by_request.get(request, ()))
        for result in part.results():
            if isinstance(result, Stored):
                versions.update(one.version for one in view.by_dot.get(result.dot, ()))
        if incarnation_of(part.before) != incarnation_of(part.after):
            versions.update(version for version in view.created if version.dot.actor.node == part.name)
        dots = sorted({version.dot for version in versions})
        known = [(v, view.created.get(v)) for v in versions]
        told_of = [replace(o, seen=among(dots, o.seen)) if o.seen else o for _, o in known if o is not None]
        if not self._whole:
            told_of += [Created(v, NO_REQUEST, covered(dots, v.context), UNKNOWN) for v, one in known if one is None]
        shown: SetMap[RequestId, Dot] = SetMap.of(
            {request: self._shown(part, view, request, dots) for request in requests}
        )
        fresh = {one.version for one in part.fresh}
        new = {version.dot for version in fresh}
        acknowledged, read = self._relied_on(part, [dot for dot in dots if dot not in new])
        earlier = FSet.of(one for one in told_of if one.version not in fresh)
        history = History(shown, earlier, acknowledged, read=read)
        return history, replace(history, created=FSet.of(told_of))

    def _relied_on(self, part: Part, dots: list[Dot]) -> tuple[FSet[Dot], FSet[Dot]]:
        """Which of these writes were called stored by now, and which a get has shown.

        What comes from a lost log was called so by a step that nobody recorded. A get that begins is owed nothing here.
        """
        if isinstance(part.event, Invoke) and isinstance(part.event.operation, Get):
            return FSet(), FSet()
        promised, read = self.promised[part.key], self.read[part.key]
        if not self._whole and part.came and isinstance(part.came[0].message, Forwarded):
            result = part.came[0].message.result
            promised.update([result.dot] if isinstance(result, Stored) else [])
            if self._logs.config.blocking_repair and isinstance(result, Found):
                read.update(version.dot for version in result.siblings)
        return FSet(tuple([d for d in dots if d in promised])), FSet(tuple([d for d in dots if d in read]))

    def _shown(self, part: Part, view: View, request: RequestId, dots: list[Dot]) -> FSet[Dot]:
        """Which of these the writer of a put had been shown; what its context says, if nobody recorded its call."""
        shown, asked = view.shown.get(request), part.asked()
        if shown is not None:
            return among(dots, shown)
        return covered(dots, asked.context) if isinstance(asked, Put) else FSet()


def server(moment: Moment, key: Key, row: Row) -> Server:
    """A node and its disk, as far as a key is concerned."""
    requests = {r.request: r for r in moment.requests if isinstance(r, ForwardInFlight) or r.key == key}
    table: FMap[Key, Row] = FMap() if row == NO_ROW else FMap(((key, row),))
    return Server(moment.node, FMap.of(requests), FSet(), Memory(moment.disk, table))


def keys_said(leaving: Iterable[Envelope | Reply]) -> Iterator[Key]:
    """The keys of which a step sends what it stores, although its event names none, or others."""
    for said in leaving:
        if isinstance(said, Envelope) and isinstance(said.message, Handoff):
            yield said.message.key
        elif isinstance(said, Envelope) and isinstance(said.message, Fetched):
            yield from (key for key, _ in said.message.rows)


def said_of(said: Envelope | Reply, key: Key) -> Envelope | Reply | None:
    """What is said without what it says of other keys; None if that is all."""
    message = said.message if isinstance(said, Envelope) else None
    if isinstance(said, Envelope) and isinstance(message, Fetched):
        rows = tuple([row for row in message.rows if row[0] == key])
        return replace(said, message=replace(message, rows=rows))
    return None if isinstance(message, Handoff) and message.key != key else said


def among(dots: list[Dot], known: FSet[Dot]) -> FSet[Dot]:
    """Those of these, which are sorted, that are in a large set."""
    items, found = known.items, list[Dot]()
    for dot in dots:
        at = bisect_left(items, dot)
        if at < len(items) and items[at] == dot:
            found.append(dot)
    return FSet(tuple(found))


def covered(dots: list[Dot], context: Clock) -> FSet[Dot]:
    """Those of these, which are sorted, that a context covers."""
    return FSet(tuple([dot for dot in dots if covers(context, dot)]))


def which(step: Step) -> str:
    """A step, by its number."""
    return f"step {step.seq} of run {step.epoch} of node {step.node}"


def invalid(place: Place, step: Step, key: Key, departure: Departure | str) -> Invalid:
    """What is said of a step that leaves the protocol."""
    said = f"{which(step)} is no step of the protocol"
    lines = [f"key {show(key)}" if key != UNASKED else "seen from other keys", event_told(step)]
    if isinstance(departure, str):
        return Invalid(RULE, [place], said, [*lines, departure])
    lines += [f"as {told(move)}" for move in departure.moves]
    if departure.meant is None:
        return Invalid(RULE, [place], said, [*map(cut, lines), "the protocol does not allow the last of these there"])
    lines += ["expected → observed:", *changes(departure.reached, departure.meant, "protocol")]
    return Invalid(RULE, [place], said, map(cut, lines))
