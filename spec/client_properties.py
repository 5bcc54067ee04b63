"""Safety as clients see it: what it means that a put was stored or refused, and that a get showed something."""

from __future__ import annotations

from collections.abc import Hashable

from spec.actions import Action
from spec.clock import Dot
from spec.history import known_by, wished
from spec.maps import FSet
from spec.quorum import AS_CONFIGURED_PUT, write_quorum
from spec.siblings import Version
from spec.state import PutInFlight
from spec.types import NodeId, RequestId
from spec.views import owners_served, replicas, show_set
from spec.world import State, client_id

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


# conditional-put and compare-and-swap.


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
