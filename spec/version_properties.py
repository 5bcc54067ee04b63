"""Safety of versions: how writes are named, what supersedes what, and what a context covers.

Judged by the ghost history of what clients were really shown, never by the clocks that are checked.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from spec.actions import Action
from spec.clock import Dot, covers, show_clock
from spec.maps import FSet
from spec.siblings import Siblings, Version, is_antichain, merge, supersedes
from spec.types import NO_REQUEST, RequestId
from spec.views import carried, replicas, show_set
from spec.world import State

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
        beyond = [Dot(actor, count) for actor, count in client.context.items() if Dot(actor, count) not in client.seen]
        if beyond:
            held = f"client{index + 1} holds the context {show_clock(client.context)}"
            return f"{held}, which goes up to {beyond[0]}, a write that has not happened"
    return None


def a_client_has_seen_something(state: State) -> bool:
    """A client was shown a version."""
    return any(client.seen for client in state.clients)
