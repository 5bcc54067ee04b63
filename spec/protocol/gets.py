"""Actions of gets and of the repairs that come of them.

A reader merges what it is told, replies when it has heard enough, and brings whom it found stale up to date. Where
repair comes before the reply, it first waits until enough owners *confirmed* that they hold what it shows.
"""

# ruff: noqa: ARG001  a guard takes the parameters of its action, and an action those of its guard

from __future__ import annotations

from msgspec.structs import replace

from spec.clock import Clock
from spec.handoff import may_release
from spec.maps import FSet
from spec.protocol.state import (
    Confirmation,
    Due,
    Handed,
    Pushed,
    Reading,
    Reply,
    State,
    Success,
    Taken,
    Told,
    knows,
    stored,
)
from spec.quorum import ReadQuorum, WriteQuorum, is_quorum, is_written
from spec.siblings import Version, is_context, merge
from spec.trust import is_whole
from spec.types import NodeId, RequestId


def was_promised(d: Due, a: Success) -> bool:
    """Whether this success means that so many owners know the version."""
    return a.version == d.version and d.owners <= a.quorum.pw


def ask_ok(s: State, request: RequestId, due: FSet[Due]) -> bool:
    """A client asks, under a new request; it may look for whatever was acknowledged by now."""
    return (
        all(d.request == request and any(was_promised(d, a) for a in s.acked) for d in due)
        and all(t.reading.request != request for t in s.told)
        and all(r.request != request for r in s.heard)
    )


def ask(s: State, request: RequestId, due: FSet[Due]) -> State:
    """That is held against the answer."""
    return replace(s, due=s.due | due)


def conclude_ok(s: State, request: RequestId) -> bool:
    """A client looks for something."""
    return any(d.request == request for d in s.due)


def conclude(s: State, request: RequestId) -> State:
    """It has its answer, or waits no more."""
    return replace(s, due=FSet.of(d for d in s.due if d.request != request))


def answer_ok(s: State, r: Reading, n: NodeId) -> bool:
    """An owner is asked, or asks itself, that has not lost what it knew, or has caught up."""
    return n in s.nodes and is_whole(s.disks[n], s.owners)


def answer(s: State, r: Reading, n: NodeId) -> State:
    """It tells everything that it holds."""
    return replace(s, told=s.told | FSet.of([Told(r, n, s.store[n])]))


def collect_ok(s: State, t: Told) -> bool:
    """An answer arrives."""
    return t in s.told


def collect(s: State, t: Told) -> State:
    """The reader merges it with those that it has; what was confirmed says nothing of what is new."""
    merged = merge(s.gathered[t.reading], t.versions)
    unchanged = merged == s.gathered[t.reading]
    return replace(
        s,
        gathered=s.gathered.set(t.reading, merged),
        confirmed=FSet.of(c for c in s.confirmed if c.reading != t.reading or unchanged),
        heard=s.heard.set(t.reading, s.heard[t.reading] | FSet.of([t.owner])),
    )


def reply_ok(s: State, r: Reading, quorum: ReadQuorum, context: Clock) -> bool:
    """A reader has heard enough nodes, and enough owners; the context is that of what they told.

    Where an answer that nothing is there is none, others may have answered, or fewer: see `spec.reading`.
    """
    return (
        is_context(context, s.gathered[r])
        and is_quorum(s.heard[r] & s.owners, quorum.pr)
        and (is_quorum(s.heard[r], quorum.r) or not quorum.notfound_ok)
    )


def reply(s: State, r: Reading, quorum: ReadQuorum, context: Clock) -> State:
    """It tells the client."""
    saw = FSet.of(x for x in s.created if knows(s, s.gathered[r], x))
    return replace(s, replies=s.replies | FSet.of([Reply(context, saw)]))


def show_ok(s: State, n: NodeId, context: Clock) -> bool:
    """The client of a put wanted to be shown what its coordinator holds."""
    return n in s.nodes and is_context(context, s.store[n])


def show(s: State, n: NodeId, context: Clock) -> State:
    """It tells the client."""
    saw = FSet.of(x for x in s.created if stored(s, n, x))
    return replace(s, replies=s.replies | FSet.of([Reply(context, saw)]))


def push_ok(s: State, r: Reading, target: NodeId) -> bool:
    """A reader may repair any owner."""
    return target in s.nodes


def push(s: State, r: Reading, target: NodeId) -> State:
    """It sends everything that it gathered."""
    return replace(s, pushed=s.pushed | FSet.of([Pushed(target, s.gathered[r])]))


def mend_ok(s: State, p: Pushed) -> bool:
    """A repair arrives."""
    return p in s.pushed


def mend(s: State, p: Pushed) -> State:
    """The owner merges it, durably."""
    return replace(s, store=s.store.set(p.target, merge(s.store[p.target], p.versions)))


# Actions: where repair comes before the reply.


def agree_ok(s: State, t: Told) -> bool:
    """The answer of an owner was all that is known by now."""
    return t in s.told and t.owner in s.owners and t.versions == s.gathered[t.reading]


def agree(s: State, t: Told) -> State:
    """So it holds that."""
    return replace(s, confirmed=s.confirmed | FSet.of([Confirmation(t.reading, t.owner)]))


def press_ok(s: State, r: Reading, target: NodeId) -> bool:
    """A reader repairs an owner, maybe itself, and waits for it."""
    return r.reader in s.nodes and target in s.owners


def press(s: State, r: Reading, target: NodeId) -> State:
    """It sends everything that it gathered, to be acknowledged."""
    return replace(s, handed=s.handed | FSet.of([Handed(r.reader, target, s.gathered[r])]))


def confirm_ok(s: State, r: Reading, t: Taken) -> bool:
    """An owner has acknowledged, if not what it was sent for this get, then all that is gathered anyway."""
    return t in s.taken and may_release(s.gathered[r], t.context)


def confirm(s: State, r: Reading, t: Taken) -> State:
    """So it holds that."""
    return replace(s, confirmed=s.confirmed | FSet.of([Confirmation(r, t.owner)]))


def vouch_ok(s: State, r: Reading, x: Version, quorum: WriteQuorum) -> bool:
    """Enough owners hold what a reply shows, and so whatever that knows."""
    owners = FSet.of(c.owner for c in s.confirmed if c.reading == r)
    return x in s.created and knows(s, s.gathered[r], x) and is_written(owners, owners, quorum)


def vouch(s: State, r: Reading, x: Version, quorum: WriteQuorum) -> State:
    """The client that is shown it may rely on it as if it had been told that its put is stored."""
    return replace(s, acked=s.acked | FSet.of([Success(x, quorum)]))


def relax_ok(s: State, r: Reading) -> bool:
    """A get has its reply, or will have none."""
    return r in s.heard


def relax(s: State, r: Reading) -> State:
    """Its reader waits for nobody any more."""
    return replace(s, confirmed=FSet.of(c for c in s.confirmed if c.reading != r))


# Actions: the end of a get.


def forget_ok(s: State, r: Reading) -> bool:
    """A get is over."""
    return r in s.heard


def forget(s: State, r: Reading) -> State:
    """Its reader forgets it."""
    return replace(
        s,
        gathered=s.gathered.set(r, FSet()),
        heard=s.heard.set(r, FSet()),
        confirmed=FSet.of(c for c in s.confirmed if c.reading != r),
    )
