"""The properties of `spec.properties`, judged along one order of what happened in a real run.

The properties speak of a `spec.world.State`. A run of many keys has one for each: the nodes with their row of the key,
the clients, and the ghost history of who was really shown what. That history is made by the functions that make it in
the explored machine: `ask`, `tell` and `record`. After each step the claims that could have become false are
evaluated on the state of its key.

So that a step costs what it touches, however much has been written before, the state that is evaluated holds only what
can matter:

* of the history, the versions that a disk holds and those that just came to be, with any that share a dot or a request
  with them; all of them when a get has just been answered;
* of the acknowledged writes, those just acknowledged; where a disk forgets one, all that no writer of another one has
  been shown: who knows the later write knows the earlier one, because what a writer was shown includes what the writers
  of that were shown;
* of requests, messages and clients, those that the step changed.

Where a disk was lost its log was lost with it, or the last part of it, and with that the order of what others had from
there. So it is where recordings began at different moments: what was counted, or shown to a client, before one of them
began was perhaps done by steps of another that come later in the order. Then claims that depend on the order are judged
in the end; or not at all, if they are about what somebody was told at a moment.

That each step is one of the abstract protocol is checked along the same order, by `checker.refine_run`.

At the end every key is judged once more with its whole history. What was there before the recording began is taken at
its word: its writers were shown what its contexts cover.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from checker.happened import At
from checker.logs import HEAD_LINES, Invalid, Logs, Place
from checker.refine_run import RunRefinement
from checker.rerun import Rerun, cut, event_told
from checker.story import show
from checker.view import (
    CARRIED,
    CREATED,
    DISK,
    FORGOT,
    PROMISED,
    TOLD,
    UNKNOWN,
    Change,
    View,
    action_of,
    leaving_of,
    past,
)
from spec.actions import Action, Ask
from spec.clients import ask, promise, tell
from spec.clock import NOTHING, Dot, covers
from spec.cluster import minting
from spec.events import (
    Deliver,
    Event,
    Invoke,
    Reply,
    WriteRow,
    request_of,
)
from spec.history import NOTHING_OWED, Created, History, having_read, promised_to, record
from spec.maps import FMap, FSet, SetMap
from spec.messages import (
    Fetched,
    Forward,
    Found,
    Get,
    Handoff,
    Put,
    Read,
    Repair,
    Result,
    Taken,
    Write,
    Written,
    shown_by,
)
from spec.network import Envelope, Network, rank
from spec.properties import CLAIMS, Claim, is_promised
from spec.quorum import AS_CONFIGURED_GET, AS_CONFIGURED_PUT
from spec.siblings import Siblings, Version
from spec.state import ForwardInFlight, GetInFlight, Node, Request
from spec.trace import Step
from spec.types import NO_REQUEST, ClientId, Key, NodeId, RequestId
from spec.world import Client, Faults, Memory, Server, State, client_id, write

DEPENDS: dict[str, frozenset[str]] = {
    "dot-uniqueness": frozenset({CREATED}),
    "no-lost-write": frozenset({FORGOT, PROMISED}),
    "exact-discard": frozenset({CREATED}),
    "only-maximal": frozenset({DISK, CARRIED}),
    "one-dot-per-request": frozenset({CREATED}),
    "refusal-is-final": frozenset({CREATED, TOLD}),
    "conditional-put": frozenset({CREATED, TOLD}),
    "quorum-meaning-put": frozenset({FORGOT, PROMISED}),
    "quorum-meaning-get": frozenset({TOLD}),
    "context-honesty": frozenset({CREATED, TOLD}),
    "placement": frozenset({DISK}),
    "hint-conservation": frozenset({DISK}),
    "merge-is-join": frozenset({DISK}),
}
"""After which changes a claim could have become false; a claim that is not named here, after every change."""

ONE_ORDER = frozenset(
    {"dot-uniqueness", "exact-discard", "only-maximal", "one-dot-per-request", "placement", "merge-is-join"}
)
"""Claims about single sets, or single steps of one node: what they say cannot depend on the order, so one is enough."""

EVERY = {"merge-is-join": 64}
"""Claims that are laws, proved elsewhere, and dear: judged after every so many changes, and at the end."""

AT_THE_END = "in the state at the end of the run"
IN_THE_SNAPSHOT = "in the state in which recording began"

NOWHERE = State(FMap(), (), Network(), Faults(), History())
"""What a view of a key begins with."""


class Judge:
    """Judges one order of a run: give it every entry in turn, then the end."""

    def __init__(
        self, logs: Logs, reruns: tuple[Rerun, ...], *, another: bool = False, parts: bool = False, refine: bool = False
    ) -> None:
        """`reruns` belong to the nodes' logs, in their order; `another` says that one order has been judged before, and
        `parts` that something is missing on which what was recorded depends.

        `refine` is whether to check that every step is one of the abstract protocol; what that says of a step does not
        depend on the order, so one is enough.
        """
        self.judged: Counter[str] = Counter()
        """How often each claim was evaluated."""
        self.met: set[str] = set()
        """The claims whose *sometimes* was met: something was at stake."""
        self._logs, self._reruns = logs, reruns
        skipped = ONE_ORDER if another else frozenset()
        claims, wishes = [claim for claim in CLAIMS if claim.name not in skipped], have_wishes(logs)
        self._claims = [claim for claim in claims if is_promised(claim, logs.config, wishes=wishes)]
        self._at_the_end: list[Claim] = []
        if parts:
            self._claims, self._at_the_end = parted(self._claims)
        self._concerned: dict[frozenset[str], list[Claim]] = {}
        self._turn: Counter[str] = Counter()
        self._before = 0
        self._keys: dict[RequestId, Key] = {}
        self._views: dict[Key, View] = {}
        self.refinement = RunRefinement(logs, self._views) if refine else None
        self._servers = FMap.of({node.name: self._server(node.name, None, None, None) for node in logs.nodes})
        self._given = {
            shown.context
            for node in logs.nodes
            for step in node.steps
            for effect in step.effects
            if isinstance(effect, Reply) and (shown := shown_by(effect.result)) is not None
        }
        self._snapshots()

    def take(self, at: At) -> None:
        """The next entry. Raises Invalid if a property fails."""
        nodes = self._logs.nodes
        if at.log < len(nodes):
            node = nodes[at.log]
            place, step, rerun = node.place(at.entry), node.steps[at.entry], self._reruns[at.log]
            after = rerun.after[at.entry]
            changed = self._step(place, step, after.requests[0] if after.requests else None)
            if self.refinement is not None:
                self.refinement.take(place, step, rerun.before[at.entry], after, changed)

    def end(self) -> None:
        """The run is over: judge everything once more. Raises Invalid."""
        everything: list[Created] = []
        for view in self._views.values():
            clients = tuple(view.clients.values())
            history = History(SetMap(), view.all(), view.frontier, FSet.of(view.refused))
            state = State(view.servers, clients, Network(), Faults(), history)
            claims = [*self._claims, *self._at_the_end]
            self._evaluate(claims, state, None, state, [self._last_place()], lambda: [AT_THE_END])
            everything += view.all()
        whole = State(self._servers, (), Network(), Faults(), History(SetMap(), FSet.of(everything), FSet()))
        uniqueness = [claim for claim in self._claims if claim.name == "dot-uniqueness"]
        self._evaluate(uniqueness, whole, None, whole, [self._last_place()], lambda: [AT_THE_END])

    # One step.

    def _step(self, place: Place, step: Step, request: Request | None) -> dict[Key, Change]:
        keys = self._keys_of(step.event)
        strangers = [write for write in step.writes if isinstance(write, WriteRow) and write.key not in keys]
        assert not strangers, "a step writes the rows of the keys that it is about"
        return {key: self._step_of(key, place, step, request) for key in keys}

    def _step_of(self, key: Key, place: Place, step: Step, request: Request | None) -> Change:
        view = self._view(key)
        change = Change(view)
        if isinstance(step.event, Invoke):
            self._ask(view, place, step.node, step.event)
        self._write(view, change, key, step, request)
        leaving = leaving_of(step)
        self._promise(view, change, leaving)
        for said in leaving:
            if isinstance(said, Reply):
                self._tell(view, change, said.request, said.result)
        envelopes = [said for said in leaving if isinstance(said, Envelope) and not isinstance(said.message, Written)]
        if envelopes:
            change.sent = Network(tuple(sorted(envelopes, key=rank)))
            change.kinds.add(CARRIED)
        view.servers = change.servers
        claims = self._due(frozenset(change.kinds))
        if claims:
            before, after = change.states(view, step.node)
            action = action_of(step)
            self._evaluate(claims, before, action, after, [place], lambda: [f"key {show(key)}", event_told(step)])
        return change

    def _ask(self, view: View, place: Place, node: NodeId, event: Invoke) -> None:
        operation, client = event.operation, Client()
        if isinstance(operation, Put) and operation.context != NOTHING:
            seen = view.contexts.get(operation.context)
            if seen is None:
                if self._logs.whole and operation.context not in self._given:
                    told = f"{event.request} brings a context that no get was given"
                    raise Invalid("context-honesty", [place], told, [event_told_of(event)])
                seen = FSet.of(d for d in view.by_dot if covers(operation.context, d))
            client = Client(seen=seen)
        history = History(SetMap(), FSet(), view.frontier)
        state = State(view.servers, (client,), Network(), Faults(), history)
        if event.request in view.asking:
            view.again.add(event.request)
        owed = NOTHING_OWED
        if isinstance(operation, Get):
            owed = promised_to(operation.wishes, view.frontier, view.read, view.wished(), self._logs.config)
        asked = ask(state, Ask(0, node, event.request, operation), owed)
        view.asking[event.request] = asked.clients[0]
        view.shown[event.request] = asked.history.shown[event.request]

    def _write(self, view: View, change: Change, key: Key, step: Step, request: Request | None) -> None:
        row = None
        for written in step.writes:
            if isinstance(written, WriteRow) and written.key == key:
                row = written.row
                change.kinds.add(DISK)
                unknown = FSet.of(v for v in row.siblings if v not in view.created)
                if unknown:
                    self._create(view, change, step.event, unknown)
        held = view.servers[step.node].disk
        memory = held if row is None else write(Memory(), (WriteRow(key, row),))
        if row is not None and view.forgets(held.row(key).siblings, row.siblings):
            change.kinds.add(FORGOT)
        if row is not None or request is not None:
            server = self._server(step.node, memory, request, True)
            change.servers = view.servers.set(step.node, server)
            if isinstance(request, GetInFlight):
                change.kinds.add(CARRIED)

    def _create(self, view: View, change: Change, event: Event, unknown: Siblings) -> None:
        request, put = minting(event)
        if request == NO_REQUEST and not self._logs.whole:
            self._was_before(view, unknown)  # from a message that was on its way when recording began
            return
        seen = view.shown.get(request, FSet())
        if request not in view.shown and isinstance(event, Deliver) and isinstance(event.message, Forward):
            operation = event.message.operation  # asked before the recording began, or an Invoke would have been seen
            seen = past(operation.context) if isinstance(operation, Put) else seen
        shown: SetMap[RequestId, Dot] = SetMap()
        shown = shown.set(request, seen)
        change.fresh = record(History(shown), request, put, unknown).created
        change.kinds.add(CREATED)
        view.add(change.fresh)

    def _was_before(self, view: View, versions: Iterable[Version]) -> None:
        """These came to be before the recording began, each for a request of its own."""
        for version in versions:
            self._before += 1
            request = RequestId(ClientId("before the recording"), self._before)
            view.add([Created(version, request, past(version.context), UNKNOWN)])

    def _promise(self, view: View, change: Change, leaving: list[Envelope | Reply]) -> None:
        state = NOWHERE
        for said in leaving:
            state = promise(state, said)
        if state.history.acknowledged:
            change.kinds.add(PROMISED)
            change.promised = state.history.acknowledged
            view.acknowledge(state.history.acknowledged)

    def _tell(self, view: View, change: Change, request: RequestId, result: Result) -> None:
        asking = view.asking.get(request)
        if asking is None:
            return  # asked before the recording began
        shown = shown_by(result)
        siblings = FSet[Version]() if shown is None else shown.siblings
        if not self._logs.whole:  # what is shown may be in no log: how it came to be was in one that was lost
            self._was_before(view, [version for version in siblings if version not in view.created])
        history = History(SetMap(), view.versions(siblings), FSet())
        state = State(view.servers, (asking,), Network(), Faults(), history)
        after = tell(state, RequestId(client_id(0), asking.done + 1), result)
        told = after.clients[0]
        change.told = (*change.told, (asking, told))
        change.kinds.add(TOLD)
        if after.history.refused and request not in view.again:  # who asks again takes no refusal for final
            change.refused = FSet((request,))
            view.refused.add(request)
        if shown is not None:
            view.contexts[shown.context] = told.seen
            if isinstance(result, Found) and self._logs.config.blocking_repair:
                view.read = having_read(view.read, shown.siblings, told.seen)
            view.clients[request.client] = told
            change.shows_all = True

    # Judging.

    def _due(self, kinds: frozenset[str]) -> list[Claim]:
        """The claims to evaluate after a change of these kinds."""
        concerned = self._concerned.get(kinds)
        if concerned is None:
            concerned = [claim for claim in self._claims if kinds & DEPENDS.get(claim.name, kinds)]
            self._concerned[kinds] = concerned
        self._turn.update(claim.name for claim in concerned if claim.name in EVERY)
        return [c for c in concerned if c.name not in EVERY or self._turn[c.name] % EVERY[c.name] == 1]

    def _evaluate(
        self,
        claims: list[Claim],
        before: State,
        action: Action | None,
        after: State,
        places: list[Place],
        detail: Callable[[], list[str]],
    ) -> None:
        """Evaluate claims on a state and, if there is an action, on the transition. Raises Invalid."""
        for claim in claims:
            clause = None
            if claim.check is not None:
                clause = claim.check(after)
            elif claim.step_check is not None and action is not None:
                clause = claim.step_check(before, action, after)
            else:
                continue
            self.judged[claim.name] += 1
            if clause is not None:
                raise Invalid(claim.name, places, clause, map(cut, detail()))
            if claim.name not in self.met and self._witnessed(claim, before, action, after):
                self.met.add(claim.name)

    def _witnessed(self, claim: Claim, before: State, action: Action | None, after: State) -> bool:
        if claim.witness is not None:
            return claim.witness(after)
        return claim.step_witness is not None and action is not None and claim.step_witness(before, action, after)

    # Views.

    def _keys_of(self, event: Event) -> tuple[Key, ...]:
        """The keys that an event is about; none if it is about none, or nobody can know."""
        if isinstance(event, Deliver) and isinstance(event.message, Fetched):
            return tuple([key for key, _ in event.message.rows])
        key = self._key_of(event)
        return () if key is None else (key,)

    def _key_of(self, event: Event) -> Key | None:
        """The one key that an event is about."""
        if isinstance(event, Invoke):
            self._keys[event.request] = event.operation.key
            return event.operation.key
        if isinstance(event, Deliver):
            message = event.message
            if isinstance(message, Write | Read | Repair | Handoff | Taken):
                return message.key
            if isinstance(message, Forward):
                self._keys[message.request] = message.operation.key  # whom its client asked may have lost its log
                return message.operation.key
        about = request_of(event)
        return None if about is None else self._keys.get(about)

    def _view(self, key: Key) -> View:
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(self._servers)
        return view

    def _server(self, name: NodeId, disk: Memory | None, request: Request | None, started: bool | None) -> Server:
        node = Node(name, self._logs.config, self._logs.ring, started=bool(started))
        requests: FMap[RequestId, Request] = FMap() if request is None else FMap(((request.request, request),))
        return Server(node, requests, FSet(), disk or Memory())

    def _snapshots(self) -> None:
        """What disks held when recording began."""
        places: dict[Key, list[Place]] = {}
        for node in self._logs.nodes:
            for request in () if node.head.running is None else node.head.running.requests:
                if not isinstance(request, ForwardInFlight):
                    self._keys[request.request] = request.key
            for number, (key, row) in enumerate(node.rows, HEAD_LINES + 1):
                places.setdefault(key, []).append(Place(node.file, number))
                view = self._view(key)
                server = self._server(node.name, Memory(None, FMap(((key, row),))), None, True)
                view.servers = view.servers.set(node.name, server)
                self._was_before(view, [version for version in row.siblings if version not in view.created])
        for key, view in self._views.items():
            state = State(view.servers, (), Network(), Faults(), History(SetMap(), view.all(), FSet()))
            self._evaluate(self._claims, state, None, state, places[key], lambda: [IN_THE_SNAPSHOT])

    def _last_place(self) -> Place:
        node = self._logs.nodes[0]
        return node.place(len(node.steps) - 1)


def have_wishes(logs: Logs) -> bool:
    """Whether a request of a run asks for other quorums than the store's."""
    asked = (step.event.operation for node in logs.nodes for step in node.steps if isinstance(step.event, Invoke))
    return any(operation.wishes not in (AS_CONFIGURED_GET, AS_CONFIGURED_PUT) for operation in asked)


IN_THE_END = frozenset({"no-lost-write", "quorum-meaning-put", "refusal-is-final"})
"""Claims that depend on the order, and that the state in the end says something about by itself."""


def parted(claims: list[Claim]) -> tuple[list[Claim], list[Claim]]:
    """Those of these claims that can be judged all along where something is missing, and those only in the end."""
    return [c for c in claims if c.name in ONE_ORDER], [c for c in claims if c.name in IN_THE_END]


def event_told_of(event: Event) -> str:
    """An event, in one line."""
    return cut(f"on {show(event)}")
