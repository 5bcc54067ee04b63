"""What the store promises, as named predicates over the explored machine.

A safety property is a function from a state, or from a transition (before, action, after), to None where it holds and
otherwise to one line that says which clause failed, and on what. Each has a *sometimes* twin that shows that the check
has something to bite on: it must be met by some state or transition of every model that claims the property.

Properties judge by `spec.history`, by what clients were really shown, never by the clocks they check.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import cache
from itertools import pairwise
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from spec.actions import Action, Arrive, Ask, Restore, Wipe
from spec.clock import Dot, covers, show_clock
from spec.history import known_by, wished
from spec.maps import FSet
from spec.messages import Answer, Fetched, Forwarded, Handoff, Message, Repair, Write, shown_by
from spec.network import Envelope, crosses
from spec.placement import is_owner
from spec.quorum import AS_CONFIGURED_GET, AS_CONFIGURED_PUT, must_meet, read_quorum, write_quorum
from spec.reading import conclusion
from spec.repair import fold_answers
from spec.ring import owners_of
from spec.siblings import Siblings, Version, is_antichain, merge, supersedes
from spec.state import GetInFlight, PutInFlight
from spec.types import NO_REQUEST, Config, Key, NodeId, RequestId
from spec.world import Server, State, client_id

StateCheck: TypeAlias = Callable[[State], str | None]
TransitionCheck: TypeAlias = Callable[[State, Action, State], str | None]
StateWitness: TypeAlias = Callable[[State], bool]
TransitionWitness: TypeAlias = Callable[[State, Action, State], bool]


# Views of a state.


def replicas(state: State) -> Iterator[tuple[NodeId, Key, Siblings]]:
    """Every set that a disk holds."""
    for name, server in state.servers.items():
        for key, row in server.disk.table.items():
            yield name, key, row.siblings


def carried(state: State) -> Iterator[tuple[tuple[str, NodeId, NodeId], Siblings]]:
    """Every set of versions anywhere but on a disk, as what, from whom and at whom."""
    for envelope in state.network.in_flight:
        what = "a result" if isinstance(envelope.message, Forwarded) else "a message"
        for siblings in carried_by(envelope.message):
            yield (what, envelope.source, envelope.target), siblings
    for name, server in state.servers.items():
        for _, request in server.requests.items():
            if isinstance(request, GetInFlight):
                for owner, siblings in request.answers.items():
                    yield ("an answer", owner, name), siblings


def carried_by(message: Message) -> Iterator[Siblings]:
    """Every set of versions in a message."""
    if isinstance(message, Write | Answer | Repair | Handoff):
        yield message.siblings
    elif isinstance(message, Fetched):
        for _, siblings in message.rows:
            yield siblings
    elif isinstance(message, Forwarded):
        shown = shown_by(message.result)
        if shown is not None:
            yield shown.siblings


# dot-uniqueness.


def dot_uniqueness(state: State) -> str | None:
    """A dot names at most one version, for ever."""
    created = [c.version for c in state.history.created]
    for a, b in pairwise(created):  # sorted, so equal dots are neighbours
        if a.dot == b.dot:
            return f"the dot {a.dot} names two versions: {a!s} = {a.value!r} and {b!s} = {b.value!r}"
    return None


def two_dots_exist(state: State) -> bool:
    """Two writes were given dots."""
    return len(state.history.created) >= 2


# no-lost-write.


def no_lost_write(state: State) -> str | None:
    """An acknowledged put is held by a disk, or a version is whose writer was shown it, directly or through others."""
    acknowledged = state.history.acknowledged
    if not acknowledged:
        return None
    for _, _, siblings in replicas(state):
        acknowledged = acknowledged - known_by(state.history, siblings)
    if acknowledged:
        dots = ", ".join(map(str, acknowledged))
        return f"{dots} was acknowledged; no disk holds it or a version whose writer had seen it"
    return None


def a_put_is_acknowledged(state: State) -> bool:
    """A client was told that its put succeeded."""
    return len(state.history.acknowledged) > 0


# exact-discard.


def exact_discard(before: State, _action: Action, after: State) -> str | None:
    """A put removes exactly the siblings that its context covers."""
    if after.history.created is before.history.created:
        return None
    for created in after.history.created - before.history.created:
        version = created.version
        for name, key, siblings in replicas(after):
            if version not in siblings:
                continue
            held = before.servers[name].disk.row(key).siblings
            kept = FSet.of(v for v in held if v in siblings)
            right = FSet.of(v for v in held if v.dot not in created.seen)
            if kept != right:
                return (
                    f"{name} put {version} onto {show_set(held)} and kept {show_set(kept)}; its writer had been shown "
                    f"{', '.join(map(str, created.seen)) or 'nothing'}"
                )
    return None


def a_put_leaves_a_sibling(before: State, _action: Action, after: State) -> bool:
    """A disk comes to hold two versions side by side."""
    return any(
        len(siblings) > 1 and siblings != before.servers[name].disk.row(key).siblings
        for name, key, siblings in replicas(after)
    )


# only-maximal.


def only_maximal(state: State) -> str | None:
    """No set of versions, held, sent or shown, contains two of which one supersedes the other."""
    for name, _, siblings in replicas(state):
        if has_superseded(siblings):
            return f"{name} holds {show_set(siblings)}: {beaten(siblings)}"
    for (what, source, target), siblings in carried(state):
        if has_superseded(siblings):
            return f"{what} from {source} for {target} carries {show_set(siblings)}: {beaten(siblings)}"
    return None


@cache
def has_superseded(siblings: Siblings) -> bool:
    """Whether a version of the set supersedes another; the same few sets are everywhere."""
    return not is_antichain(siblings)


def beaten(siblings: Siblings) -> str:
    """Which version of a set supersedes which."""
    u, v = next((u, v) for u in siblings for v in siblings if supersedes(u, v))
    return f"{u} supersedes {v}"


def siblings_exist(state: State) -> bool:
    """Some disk holds two concurrent versions."""
    return any(len(siblings) > 1 for _, _, siblings in replicas(state))


# one-dot-per-request.


def one_dot_per_request(state: State) -> str | None:
    """At most one dot is minted per put, however often and of whomever it is asked, and none for anything else."""
    minted: dict[RequestId, Version] = {}
    for created in state.history.created:
        if created.request == NO_REQUEST:
            return f"{created.version} came to be without a put"
        if created.request in minted:
            return f"two dots for {created.request}: {minted[created.request]} and {created.version}"
        minted[created.request] = created.version
    return None


def a_put_minted(state: State) -> bool:
    """A put was given a dot."""
    return len(state.history.created) > 0


# refusal-is-final.


def refusal_is_final(state: State) -> str | None:
    """A put whose client was told that it had no effect was not written, and never will be."""
    for created in state.history.created:
        if created.request in state.history.refused:
            return f"{created.request} was refused, and {created.version} was written for it"
    return None


def a_request_is_refused(state: State) -> bool:
    """A client was told that its request was turned down."""
    return len(state.history.refused) > 0


# conditional-put.


def conditional_put(before: State, _action: Action, after: State) -> str | None:
    """A put with a condition is taken only where its coordinator held nothing, or exactly what its client was shown."""
    if after.history.created is before.history.created:
        return None
    written = FSet.of(c.version.dot for c in before.history.created)
    for created in after.history.created - before.history.created:
        name = created.version.dot.actor.node
        for key, row in after.servers[name].disk.table.items():
            if created.condition is None or created.version not in row.siblings:
                continue
            held = before.servers[name].disk.row(key).siblings
            wanted = FSet[Dot]() if created.condition == "none-match" else created.seen & written
            if known_by(before.history, held) & written != wanted:
                return f"{name} held {show_set(held)}, and took {created.version} on the condition {created.condition}"
    return None


def compare_and_swap(state: State) -> str | None:
    """Of puts that were taken on the same condition no two saw the same: false, for coordinators do not ask others."""
    taken: dict[Hashable, Version] = {}
    for created in state.history.created:
        if created.condition is None:
            continue
        won = (created.condition, created.seen if created.condition == "context-unchanged" else None)
        if won in taken:
            return f"{taken[won]} and {created.version} were both taken, on the condition {created.condition}"
        taken[won] = created.version
    return None


def a_condition_is_unmet(state: State) -> bool:
    """A put was turned down, and another with a condition was taken."""
    return len(state.history.refused) > 0 and any(c.condition is not None for c in state.history.created)


# quorum-meaning.


def put_quorum(state: State) -> str | None:
    """W owners, or nodes that owe it to them, durably hold every acknowledged put, or a version that had seen it, but
    for disks that were lost; PW owners do so themselves: as the put wished, or as the store is configured."""
    if not state.history.acknowledged:
        return None
    knowing: dict[NodeId, FSet[Dot]] = {}
    themselves: dict[NodeId, FSet[Dot]] = {}
    for name, key, siblings in replicas(state):
        known = known_by(state.history, siblings) & state.history.acknowledged
        for owner in owners_served(state, name, key):
            knowing[owner] = knowing.get(owner, FSet()) | known
            if owner == name:
                themselves[owner] = known
    for name, dots in state.history.lost.items():
        knowing[name] = knowing.get(name, FSet()) | dots
        themselves[name] = themselves.get(name, FSet()) | dots
    for owner, dots in state.history.unpaid.items():
        knowing[owner] = knowing.get(owner, FSet()) | dots
    config, wishes = state.servers.entries[0][1].node.config, wished(state.history.created)
    for dot in state.history.acknowledged:
        quorum = write_quorum(wishes.get(dot, AS_CONFIGURED_PUT), config)
        for size, said, held in (("W", quorum.w, knowing), ("PW", quorum.pw, themselves)):
            names = [name for name, known in held.items() if dot in known]
            if len(names) < said:
                told = ", ".join(names) or "nobody"
                by = "for" if size == "W" else "by owners:"
                return f"{dot} was acknowledged, {size} = {said}, but it is durably known {by} {told} only"
    return None


def owners_served(state: State, name: NodeId, key: Key) -> tuple[NodeId, ...]:
    """The owners for whom a node holds a key: itself, if it is one, and those to whom it owes it."""
    server = state.servers[name]
    itself = (name,) if is_owner(server.node, name, key) else ()
    return (*itself, *server.disk.row(key).owed)


def an_acknowledgement_is_counted(state: State) -> bool:
    """A coordinator counts owners, and not yet enough of them."""
    return any(
        isinstance(request, PutInFlight) and len(request.acknowledged) > 0
        for _, server in state.servers.items()
        for _, request in server.requests.items()
    )


def get_quorum(state: State) -> str | None:
    """A get returns every put acknowledged before it began whose quorum its own meets, or one whose writer saw it; and,
    under blocking repair, everything that a get showed that ended before it began."""
    for index, client in enumerate(state.clients):
        if client.missed:
            dots = ", ".join(map(str, client.missed))
            shown = len(client.missed & state.history.read) > 0
            when = "shown or acknowledged" if shown else "acknowledged"
            return f"the get of client{index + 1} did not return {dots}, {when} before it began, or a successor"
    return None


def a_get_owes(before: State, _action: Action, after: State) -> bool:
    """A get shows a write that was acknowledged before."""
    acknowledged = before.history.acknowledged
    return len(acknowledged) > 0 and any(
        old.done < new.done and len(acknowledged & new.seen) > 0
        for old, new in zip(before.clients, after.clients, strict=True)
    )


# context-honesty.


def context_honesty(state: State) -> str | None:
    """A context covers exactly the versions that it was shown with, and those that their writers had been shown."""
    for index, client in enumerate(state.clients):
        for created in state.history.created:
            covered, seen = covers(client.context, created.version.dot), created.version.dot in client.seen
            if covered != seen:
                return (
                    f"client{index + 1} holds the context {show_clock(client.context)}, which "
                    f"{'covers' if covered else 'does not cover'} {created.version.dot}, "
                    f"which it was {'' if seen else 'not '}shown"
                )
    return None


def a_client_has_seen_something(state: State) -> bool:
    """A client was shown a version."""
    return any(client.seen for client in state.clients)


# placement.


def placement(state: State) -> str | None:
    """Only the N owners of a key, distinct nodes, hold it, and nodes that owe it to one of them."""
    for name, key, _ in replicas(state):
        node = state.servers[name].node
        owners = owners_of(node.ring, key, node.config.n)
        if len(set(owners)) != node.config.n:
            return f"the preference list {', '.join(owners)} does not name {node.config.n} distinct nodes"
        if not owners_served(state, name, key):
            return f"{name} holds a key, and owes it to none of its owners {', '.join(owners)}"
    return None


def every_owner_holds(state: State) -> bool:
    """All N owners hold something."""
    sets = list(replicas(state))
    return bool(sets) and len(sets) == state.servers[sets[0][0]].node.config.n


# hint-conservation.


def hint_conservation(before: State, action: Action, after: State) -> str | None:
    """A hint goes only once its owner durably holds, or supersedes, everything that was held for it; or with a disk."""
    for name, server in before.servers.items():
        if isinstance(action, Wipe | Restore) and action.node == name:
            continue
        for key, row in server.disk.table.items():
            for owner in row.owed - after.servers[name].disk.row(key).owed:
                held = known_by(after.history, after.servers[owner].disk.row(key).siblings)
                lost = known_by(after.history, row.siblings) - held - after.history.lost[owner]
                if lost:
                    return f"{name} owed {owner} {', '.join(map(str, lost))}, which {owner} does not hold, and lets go"
    return None


def a_hint_is_let_go(before: State, _action: Action, after: State) -> bool:
    """A node has handed over what it owed."""
    return any(
        len(row.owed - after.servers[name].disk.row(key).owed) > 0
        for name, server in before.servers.items()
        for key, row in server.disk.table.items()
    )


# hint-limit.


def hint_limit(state: State) -> str | None:
    """No node keeps more hints than it may."""
    for name, server in state.servers.items():
        hints, most = hints_of(server), server.node.config.limits.hints
        if hints > most:
            return f"{name} keeps {hints} hints, and may keep {most}"
    return None


def hints_of(server: Server) -> int:
    """How many hints a node keeps, counted on its disk."""
    return sum(1 for _, row in server.disk.table.items() for _ in row.owed)


def there_is_no_room_for_a_hint(before: State, action: Action, after: State) -> bool:
    """A node that keeps as many hints as it may turns a put down, or what it is sent to keep for another."""
    if not isinstance(action, Ask | Arrive):
        return False
    name = action.node if isinstance(action, Ask) else action.envelope.target
    server = before.servers[name]
    if hints_of(server) < server.node.config.limits.hints:
        return False
    if isinstance(action, Ask):
        return after.history.refused != before.history.refused
    sent = action.envelope.message
    return isinstance(sent, Write) and sent.owner is not None and sent.owner not in server.disk.row(sent.key).owed


# merge-is-join.


def merge_is_join(state: State) -> str | None:
    """Merging what disks hold is idempotent, commutative and associative."""
    sets, merged = tuple(dict.fromkeys(siblings for _, _, siblings in replicas(state))), cache(merge)
    for a in sets:
        if merged(a, a) != a:
            return f"merging {show_set(a)} with itself gives {show_set(merged(a, a))}"
        for b in sets:
            if merged(a, b) != merged(b, a):
                return f"merging {show_set(a)} and {show_set(b)} depends on the order"
            for c in sets:
                if merged(merged(a, b), c) != merged(a, merged(b, c)):
                    return f"merging {show_set(a)}, {show_set(b)} and {show_set(c)} depends on the grouping"
    return None


def disks_differ(state: State) -> bool:
    """Two disks hold different sets of one key."""
    return len({siblings for _, _, siblings in replicas(state)}) > 1


# read-repair.


def read_repair(before: State, action: Action, after: State) -> str | None:
    """Whoever's answer was staler than what a get knows is sent all of that, late answers and the reader's own too."""
    if not isinstance(action, Arrive) or not isinstance(action.envelope.message, Answer):
        return None
    reader, source, message = action.envelope.target, action.envelope.source, action.envelope.message
    get = before.servers[reader].requests.get(message.request)
    if not isinstance(get, GetInFlight) or source in get.answers:
        return None
    answers, n = get.answers.set(source, message.siblings), before.servers[reader].node.config.n
    if len(answers) < n and message.request not in after.servers[reader].requests:
        return f"{reader} stopped listening to the owners of {message.request} after {len(answers)} of {n}"
    known = fold_answers(answers)
    if not (get.answered or get.settling) and conclusion(replace(get, answers=answers), known) is None:
        return None
    for owner, siblings in answers.items():
        if not is_owner(after.servers[reader].node, owner, get.key):
            continue
        row = after.servers[owner].disk.row(get.key)
        lost = crosses(Envelope(reader, owner, Repair(get.key, known)), after.network.cut_off)
        if siblings != known and merge(row.siblings, known) != row.siblings:
            if owner == reader or not (lost or is_repaired_with(after, reader, owner, known)):
                return (
                    f"{owner} answered {show_set(siblings)} to a get that knows {show_set(known)}, and is not repaired"
                )
    return None


def is_repaired_with(state: State, reader: NodeId, owner: NodeId, known: Siblings) -> bool:
    """Whether a reader has sent an owner a set."""
    return any(
        (e.source, e.target) == (reader, owner) and isinstance(e.message, Repair) and e.message.siblings == known
        for e in state.network.in_flight
    )


# catches-up.


def catches_up(before: State, action: Action, after: State) -> str | None:
    """A node that lost what it knew answers nothing before it knows all of it again that was acknowledged."""
    for name, dots in before.history.lost.items():
        whole = name not in after.history.lost
        if not whole and not answers(name, before, action, after):
            continue
        for _, row in after.servers[name].disk.table.items():
            dots = dots - known_by(after.history, row.siblings)
        if dots & after.history.acknowledged:
            does = "takes itself to be whole" if whole else "answers"
            return f"{name} {does}, and lacks {', '.join(map(str, dots & after.history.acknowledged))}"
    return None


def answers(name: NodeId, before: State, action: Action, after: State) -> bool:
    """Whether a node tells another in this step what it holds."""
    if not isinstance(action, Arrive) or action.envelope.target != name:
        return False
    told = [e for e in after.network.in_flight if e.source == name and isinstance(e.message, Answer)]
    return any(e not in before.network.in_flight for e in told)


def a_node_has_caught_up(before: State, _action: Action, after: State) -> bool:
    """A node has everything again that was acknowledged and that its lost disk knew."""
    lost, history = before.history.lost, after.history
    return any(len(dots & history.acknowledged) > 0 and name not in history.lost for name, dots in lost.items())


# Worth seeing, whatever is claimed.


def a_put_is_indefinite(before: State, _action: Action, after: State) -> bool:
    """A put ends without its client knowing whether it happened, and it did."""
    ended = [
        RequestId(client_id(i), new.done)
        for i, (old, new) in enumerate(zip(before.clients, after.clients, strict=True))
        if old.done < new.done
    ]
    history = after.history
    return any(c.request in ended and c.version.dot not in history.acknowledged for c in history.created)


def a_stale_answer_is_repaired(before: State, _action: Action, after: State) -> bool:
    """A read repair is on its way."""
    return any(isinstance(e.message, Repair) for e in after.network.in_flight) and not any(
        isinstance(e.message, Repair) for e in before.network.in_flight
    )


def show_set(siblings: Siblings) -> str:
    """A sibling set in one line."""
    return "{" + ", ".join(map(str, siblings)) + "}"


class Claim(Struct, frozen=True):
    """A property and its *sometimes* twin."""

    name: str
    check: StateCheck | None = None
    """Of every state; exactly one of the two checks is given."""
    step_check: TransitionCheck | None = None
    """Of every transition."""
    witness: StateWitness | None = None
    """Of some state; exactly one of the two witnesses is given."""
    step_witness: TransitionWitness | None = None
    """Of some transition."""


CLAIMS: tuple[Claim, ...] = (
    Claim("dot-uniqueness", check=dot_uniqueness, witness=two_dots_exist),
    Claim("no-lost-write", check=no_lost_write, witness=a_put_is_acknowledged),
    Claim("exact-discard", step_check=exact_discard, step_witness=a_put_leaves_a_sibling),
    Claim("only-maximal", check=only_maximal, witness=siblings_exist),
    Claim("one-dot-per-request", check=one_dot_per_request, witness=a_put_minted),
    Claim("refusal-is-final", check=refusal_is_final, witness=a_request_is_refused),
    Claim("conditional-put", step_check=conditional_put, witness=a_condition_is_unmet),
    Claim("quorum-meaning-put", check=put_quorum, witness=an_acknowledgement_is_counted),
    Claim("quorum-meaning-get", check=get_quorum, step_witness=a_get_owes),
    Claim("context-honesty", check=context_honesty, witness=a_client_has_seen_something),
    Claim("placement", check=placement, witness=every_owner_holds),
    Claim("hint-conservation", step_check=hint_conservation, step_witness=a_hint_is_let_go),
    Claim("merge-is-join", check=merge_is_join, witness=disks_differ),
)


def is_promised(claim: Claim, config: Config, *, wishes: bool = False) -> bool:
    """Whether a store so configured promises what the claim says; with `wishes`, if some requests have their own.

    A get sees puts only where quorums have to meet, among owners: not where others may stand in for them.
    """
    if claim.name == "quorum-meaning-get":
        return wishes or must_meet(
            write_quorum(AS_CONFIGURED_PUT, config), read_quorum(AS_CONFIGURED_GET, config), config
        )
    return claim.name != "hint-conservation" or config.sloppy


EXPLORED_CLAIMS: tuple[Claim, ...] = (
    *CLAIMS,
    Claim("read-repair", step_check=read_repair, step_witness=a_stale_answer_is_repaired),
    Claim("compare-and-swap", check=compare_and_swap, witness=a_put_minted),
    Claim("hint-limit", check=hint_limit, step_witness=there_is_no_room_for_a_hint),
    Claim("catches-up", step_check=catches_up, step_witness=a_node_has_caught_up),
)
"""With those that speak of the network, or of all keys, which no state that is judged of a real run shows."""

WITNESSES: tuple[tuple[str, TransitionWitness, str], ...] = (
    ("a put is indefinite", a_put_is_indefinite, "no-lost-write"),
)
"""Further witnesses: name, witness, and the claim that it bears on."""
