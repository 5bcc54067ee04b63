"""What is known of one key at a moment of a run, and what one step makes of it: the states that properties speak of.

See `checker.judge` for what a state holds here, and why that is enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from spec.actions import Action, Arrive, Ask, Backup, Expire, HandOver, Restart, Suspect
from spec.clock import Clock, Dot
from spec.events import Beat, Deliver, HandOff, Invoke, Reply, Send, Start, Suspicion, Timeout
from spec.history import Created, History, known_by, wished
from spec.maps import FMap, FSet, SetMap
from spec.network import Envelope, Network
from spec.quorum import AS_CONFIGURED_PUT, PutWishes
from spec.siblings import Siblings, Version
from spec.trace import Step
from spec.types import ClientId, NodeId, RequestId
from spec.world import Client, Faults, Server, State

DISK = "a disk changed"
FORGOT = "a disk no longer knows an acknowledged write"
CREATED = "a version came to be"
PROMISED = "a put was called stored"
TOLD = "a client was told"
CARRIED = "a set of versions is on its way"

UNKNOWN = PutWishes(w=1, pw=0)
"""What is at least wished of a put that was asked before the recording began."""


class View:
    """What is known of one key at a moment of the run."""

    def __init__(self, servers: FMap[NodeId, Server]) -> None:
        """Nothing has been written."""
        self.servers = servers
        self.created: dict[Version, Created] = {}
        self.by_dot: dict[Dot, list[Created]] = defaultdict(list)
        self.by_request: dict[RequestId, list[Created]] = defaultdict(list)
        self.frontier: FSet[Dot] = FSet()
        """Acknowledged writes that no writer of another acknowledged one with the same wishes has been shown."""
        self.read: FSet[Dot] = FSet()
        """Where repair is blocking: what gets have shown."""
        self.refused: set[RequestId] = set()
        """Requests whose client was told that they had no effect."""
        self.again: set[RequestId] = set()
        """Requests that were asked more than once, because they may have happened."""
        self.shown: dict[RequestId, FSet[Dot]] = {}
        self.contexts: dict[Clock, FSet[Dot]] = {}
        """What those were shown who were given a context."""
        self.asking: dict[RequestId, Client] = {}
        self.clients: dict[ClientId, Client] = {}
        """Each client as its latest get of this key left it."""
        self._all: FSet[Created] | None = None

    def add(self, created: Iterable[Created]) -> None:
        """Versions came to be."""
        for one in created:
            self.created[one.version] = one
            self.by_dot[one.version.dot].append(one)
            self.by_request[one.request].append(one)
        self._all = None

    def all(self) -> FSet[Created]:
        """Every version that ever came to be."""
        if self._all is None:
            self._all = FSet.of(self.created.values())
        return self._all

    def versions(self, siblings: Iterable[Version]) -> FSet[Created]:
        """How these versions came to be."""
        return FSet.of(self.created[version] for version in siblings if version in self.created)

    def held(self, servers: FMap[NodeId, Server]) -> list[Version]:
        """What disks hold."""
        return [v for _, server in servers.items() for _, row in server.disk.table.items() for v in row.siblings]

    def known(self, siblings: Siblings) -> FSet[Dot]:
        """Which acknowledged writes these versions know."""
        return self.frontier & known_by(History(SetMap(), self.versions(siblings)), siblings)

    def forgets(self, old: Siblings, new: Siblings) -> bool:
        """Whether an acknowledged write that the old set knows is not known to the new one."""
        return not old.issubset(new) and not self.known(old).issubset(self.known(new))

    def relatives(self, fresh: FSet[Created]) -> list[Created]:
        """Whatever shares a dot or a request with these."""
        return [
            other
            for one in fresh
            for other in (*self.by_dot[one.version.dot], *self.by_request[one.request])
            if other not in fresh
        ]

    def wished(self) -> dict[Dot, PutWishes]:
        """The wishes of the acknowledged writes that had any."""
        return wished(one for dot in self.frontier for one in self.by_dot[dot])

    def wish(self, dot: Dot) -> PutWishes:
        """When a write was to be called stored."""
        return next((one.wishes for one in self.by_dot[dot]), AS_CONFIGURED_PUT)

    def acknowledge(self, dots: FSet[Dot]) -> None:
        """These writes were acknowledged."""
        for dot in dots:
            wish = self.wish(dot)
            past = {d for one in self.by_dot[dot] for d in one.seen if self.wish(d) == wish}
            if not any(dot in one.seen and one.wishes == wish for d in self.frontier for one in self.by_dot[d]):
                self.frontier = FSet.of([d for d in self.frontier if d not in past] + [dot])


class Change:
    """What one step makes of the state of its key: the state before and after, and which of it is new."""

    def __init__(self, view: View) -> None:
        """Nothing has changed yet."""
        self.kinds: set[str] = set()
        self.servers_before = self.servers = view.servers
        self.frontier_before = view.frontier
        self.promised: FSet[Dot] = FSet()
        self.refused: FSet[RequestId] = FSet()
        self.told: tuple[tuple[Client, Client], ...] = ()
        self.fresh: FSet[Created] = FSet()
        self.sent = Network()
        self.shows_all = False

    def states(self, view: View, node: NodeId) -> tuple[State, State]:
        """The state before and after a step of this node, with what can matter."""
        if self.kinds == {CARRIED}:
            server = FMap(((node, self.servers[node]),))
            said = State(server, (), self.sent, Faults(), History())
            return said, said
        was, now = tuple(old for old, _ in self.told), tuple(new for _, new in self.told)
        if self.fresh:
            others = tuple(view.clients.values())
            was, now = (*was, *others), (*now, *others)
        if self.shows_all:
            old = new = view.all()
        else:
            held = view.held(self.servers) + view.held(self.servers_before)
            of_refused = [one for request in self.refused for one in view.by_request[request]]
            wishing = [one for dot in view.frontier for one in view.by_dot[dot] if one.wishes != AS_CONFIGURED_PUT]
            relevant = {*view.versions(held), *view.relatives(self.fresh), *of_refused, *wishing}
            old = FSet.of(relevant - set(self.fresh))
            new = old | self.fresh
        before_refused = FSet.of(one.request for one in old if one.request in view.refused)
        refused = before_refused | FSet.of(one.request for one in new if one.request in view.refused) | self.refused
        promised = view.frontier if FORGOT in self.kinds else self.promised
        none: SetMap[RequestId, Dot] = SetMap()
        earlier = History(none, old, self.frontier_before, before_refused)
        before = State(self.servers_before, was, Network(), Faults(), earlier)
        after = State(self.servers, now, self.sent, Faults(), History(none, new, promised, refused))
        return before, after


def past(context: Clock) -> FSet[Dot]:
    """Every dot that a context covers."""
    return FSet.of(Dot(actor, counter) for actor, count in context.items() for counter in range(1, count + 1))


def leaving_of(step: Step) -> list[Envelope | Reply]:
    """What a step says, to nodes and to clients."""
    said: list[Envelope | Reply] = []
    for effect in step.effects:
        if isinstance(effect, Send):
            said.append(Envelope(step.node, effect.target, effect.message))
        elif isinstance(effect, Reply):
            said.append(effect)
    return said


def action_of(step: Step) -> Action:
    """The action of the explored machine that a step is."""
    event, node = step.event, step.node
    match event:
        case Start():
            return Restart(node)
        case Invoke():
            return Ask(0, node, event.request, event.operation)
        case Deliver():
            return Arrive(Envelope(event.source, node, event.message))
        case Timeout():
            return Expire(node, event.request)
        case Suspicion():
            return Suspect(node, event.about, event.suspected)
        case HandOff():
            return HandOver(node, event.target, event.keys[0])
        case Beat():
            return Backup(node)
