"""The abstract protocol of one key: what its owners, the network and its clients may do, for any number of each.

It is built from the kernel's functions and from the guards that a node itself calls, but it knows nothing of requests,
timers or the order of steps: an action may happen whenever its guard allows, which is more than a cluster ever does. A
step of a cluster is none, one or several of these actions (`spec.witness` names which), so what holds here holds there.

An action is a function from a state and some parameters to the next state, with a guard of the same parameters named
`…_ok`. An *invariant* (`inv_…`) holds of `init` states and is kept by every action; a *lemma* of an action
(`<action>_lemma_…`) holds whenever its guard and the invariants do. All are plain functions: `ringspec prove` proves
them from this source for any number of nodes, versions and messages, and tests evaluate them.

Four invariants are what it is about:

* `inv_dot_uniqueness`: a dot names one version, for ever;
* `inv_only_maximal`: whatever holds or carries versions of the key holds none that another of them supersedes;
* `inv_durable_acknowledgement`: an acknowledgement, under way or counted, stands for a copy on the disk of an owner, or
  of a node that owes it to one; a write that was acknowledged to its client is known to as many owners, and to as many
  of them by their own disks, as its client asked for; but for owners who ever lost what was known for them;
* `inv_due`: of every write that was acknowledged before a get began, as many owners as know it by their own disks have
  told the get of it, if they have told it anything. So a reply whose own owners must meet these knows it: that is
  `reply_lemma_due`. PR + PW > N makes them meet, and R + W > N where nobody stands in for owners (`spec.quorum`).

To *know* a version is to hold it, or one whose writer had seen it. The others support these. The clocks never lie
(`inv_honest`), whole sets travel, so whoever holds a version knows all earlier ones of its actor (`inv_contiguous`),
and a node knows all that it minted itself (`inv_own`): so a context, which covers every counter up to its own, covers
nothing that its reader was not shown.

*Ghosts* are what nobody stores: `created`, `seen` (version → everything its writer had seen), `minted`, `acked`, `due`,
and what the client who holds a reply has seen. No decision of a node needs them: they say what is claimed, and which
version an action is about.
"""

# ruff: noqa: ARG001  a guard takes the parameters of its action, and an action those of its guard

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from spec.clock import NOTHING, Actor, Clock, covers, descends
from spec.handoff import may_release
from spec.maps import Counts, FMap, FSet, SetMap, implies
from spec.quorum import ReadQuorum, WriteQuorum, is_quorum, is_written
from spec.rows import Disk
from spec.siblings import Siblings, Version, add, is_antichain, is_context, merge, supersedes
from spec.types import NodeId, RequestId, Value
from spec.writing import may_mint, minting_actor, next_dot


class Sent(Struct, frozen=True, order=True, cache_hash=True):
    """A whole set on its way to a holder who will acknowledge one version by it, for an owner: itself, or another."""

    coordinator: NodeId
    target: NodeId
    owner: NodeId
    about: Version
    versions: Siblings


class Pushed(Struct, frozen=True, order=True, cache_hash=True):
    """A whole set on its way to an owner whose answer was stale; nobody waits for it."""

    target: NodeId
    versions: Siblings


class Handed(Struct, frozen=True, order=True, cache_hash=True):
    """A whole set on its way, from a node that owes it or waits for it, to the owner who will acknowledge it."""

    holder: NodeId
    owner: NodeId
    versions: Siblings


class Taken(Struct, frozen=True, order=True, cache_hash=True):
    """An owner has told a node that sent it a set with this context that it knows all of it durably."""

    holder: NodeId
    owner: NodeId
    context: Clock


class Acknowledgement(Struct, frozen=True, order=True, cache_hash=True):
    """A coordinator has been told, or is about to be, that an owner or who stands in for it knows a version durably."""

    coordinator: NodeId
    holder: NodeId
    """Who says so; a primary, if it is the owner."""
    owner: NodeId
    version: Version


class Success(Struct, frozen=True, order=True, cache_hash=True):
    """A client has been told that its put is stored; or was shown a version, where repair comes before the reply."""

    version: Version
    quorum: WriteQuorum
    """What that was to mean."""


class Due(Struct, frozen=True, order=True, cache_hash=True):
    """A version that a get may look for, since so many owners at least know it by their own disks."""

    request: RequestId
    version: Version
    owners: Annotated[int, Meta(ge=0)]


class Reading(Struct, frozen=True, order=True, cache_hash=True):
    """A get, at the node that coordinates it."""

    reader: NodeId
    request: RequestId


class Told(Struct, frozen=True, order=True, cache_hash=True):
    """An owner's answer to a get: its whole set."""

    reading: Reading
    owner: NodeId
    versions: Siblings


class Confirmation(Struct, frozen=True, order=True, cache_hash=True):
    """A reader knows that an owner durably knows all that was gathered by now."""

    reading: Reading
    owner: NodeId


class Reply(Struct, frozen=True, order=True, cache_hash=True):
    """What a client was given by a get, or by a put that it wanted to see the result of."""

    context: Clock
    saw: FSet[Version]
    """Ghost: all that it was shown, and all that the writers of these had seen."""


BLIND = Reply(NOTHING, FSet())
"""What a client holds that was never given a reply."""


class State(Struct, frozen=True, order=True, cache_hash=True):
    """Everything about one key."""

    nodes: FSet[NodeId]
    """Everybody."""
    owners: FSet[NodeId]
    """Whose the key is."""

    # On disk.
    disks: FMap[NodeId, Disk]
    """Of a node that never came up: the disk that it will be given."""
    birth: Counts[NodeId]
    """Of the row's actor; 0 before its node first mints."""
    counter: Counts[NodeId]
    """How many dots that actor has minted."""
    store: SetMap[NodeId, Version]
    owed: SetMap[NodeId, NodeId]
    """Hints: which owners may lack some of what a node stores."""

    # In the memory of coordinators.
    counted: FSet[Acknowledgement]
    """Acknowledgements that arrived, of puts that still wait."""
    heard: SetMap[Reading, NodeId]
    """Who has answered a get."""
    gathered: SetMap[Reading, Version]
    """What they know, merged."""
    confirmed: FSet[Confirmation]
    """Which of them, and of those that were repaired, hold all of that; where a reply waits for it."""

    # In the network; losing is an action, repeating is delivering twice.
    sent: FSet[Sent]
    pushed: FSet[Pushed]
    acks: FSet[Acknowledgement]
    told: FSet[Told]
    handed: FSet[Handed]
    taken: FSet[Taken]

    # With clients.
    replies: FSet[Reply]

    # Ghosts.
    created: FSet[Version]
    """Every version that was ever written."""
    seen: SetMap[Version, Version]
    """The causal past of each of them."""
    minted: Counts[Actor]
    """How many dots each actor ever minted."""
    acked: FSet[Success]
    """Writes whose clients were told of success, and what gets showed that had waited until it was held."""
    due: FSet[Due]
    """What gets that clients wait for may look for: it was acknowledged before they were asked."""
    bereft: FSet[NodeId]
    """Owners who ever lost what was known for them: their own disk, or that of a node that owed them something."""


# What it means to know.


def knows(s: State, versions: Siblings, x: Version) -> bool:
    """Whether a set holds `x`, or a version whose writer had seen it."""
    return x in versions or any(x in s.seen[u] for u in versions)


def stored(s: State, n: NodeId, x: Version) -> bool:
    """Whether a node knows `x` durably."""
    return knows(s, s.store[n], x)


def held_for(s: State, o: NodeId, x: Version) -> bool:
    """Whether an owner knows `x` durably, or a node that owes it to that owner does."""
    return stored(s, o, x) or any(o in s.owed[n] and stored(s, n, x) for n in s.nodes)


def acts_for(s: State, n: NodeId, o: NodeId) -> bool:
    """Whether what a node stores counts for an owner: it is one, or it owes it."""
    return o in s.owners and (n == o or o in s.owed[n])


def mints_as(s: State, n: NodeId, actor: Actor) -> bool:
    """Whether this is the actor under which the node's row has minted."""
    return actor.node == n and actor.incarnation == s.disks[n].incarnation and actor.birth == s.birth[n]


def init(s: State) -> bool:
    """Nothing has happened to the key; the disks may be in use for other keys."""
    return (
        s.owners.issubset(s.nodes)
        and all(s.birth[n] == 0 and s.counter[n] == 0 and s.store[n] == FSet() for n in s.nodes)
        and all(False for n in s.owed)
        and s.counted == FSet()
        and all(False for r in s.heard)
        and all(False for r in s.gathered)
        and s.confirmed == FSet()
        and s.sent == FSet()
        and s.pushed == FSet()
        and s.acks == FSet()
        and s.told == FSet()
        and s.handed == FSet()
        and s.taken == FSet()
        and s.replies == FSet()
        and s.created == FSet()
        and all(False for a in s.minted)
        and s.acked == FSet()
        and s.due == FSet()
        and s.bereft == FSet()
    )


# Actions: puts.


def next_version(s: State, n: NodeId, p: Reply, value: Value) -> Version:
    """The version that a put at a node would write."""
    dot = next_dot(minting_actor(n, s.disks[n], s.birth[n]), s.counter[n])
    return Version(dot, p.context, value)


def put_ok(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> bool:
    """A client writes, with the context of a reply or blindly, at an owner or at a node that stands in for one."""
    return (
        n in s.nodes
        and acts_for(s, n, owner)
        and (p in s.replies or (p.context == NOTHING and p.saw == FSet()))
        and may_mint(p.context, next_version(s, n, p, value).dot)
    )


def put(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> State:
    """It mints a version and stores it; its own copy counts."""
    v = next_version(s, n, p, value)
    actor = v.dot.actor
    return replace(
        s,
        disks=s.disks.set(n, replace(s.disks[n], births=max(s.disks[n].births, actor.birth))),
        birth=s.birth.set(n, actor.birth),
        counter=s.counter.set(n, v.dot.counter),
        store=s.store.set(n, add(s.store[n], v)),
        counted=s.counted | FSet.of([Acknowledgement(n, n, owner, v)]),
        created=s.created | FSet.of([v]),
        seen=s.seen.set(v, p.saw),
        minted=s.minted.set(actor, v.dot.counter),
    )


def again_ok(s: State, n: NodeId, v: Version, owner: NodeId) -> bool:
    """A put is repeated at the node that minted for it."""
    return n in s.nodes and acts_for(s, n, owner) and v in s.created and mints_as(s, n, v.dot.actor)


def again(s: State, n: NodeId, v: Version, owner: NodeId) -> State:
    """It mints nothing: the copy that is there counts as before."""
    return replace(s, counted=s.counted | FSet.of([Acknowledgement(n, n, owner, v)]))


def send_ok(s: State, n: NodeId, v: Version, target: NodeId, owner: NodeId) -> bool:
    """The coordinator of a put has an owner to tell, or somebody who stands in for it."""
    return n in s.nodes and target in s.nodes and owner in s.owners and v in s.created and mints_as(s, n, v.dot.actor)


def send(s: State, n: NodeId, v: Version, target: NodeId, owner: NodeId) -> State:
    """It sends everything that it holds."""
    return replace(s, sent=s.sent | FSet.of([Sent(n, target, owner, v, s.store[n])]))


def receive_ok(s: State, m: Sent) -> bool:
    """A coordinator's set arrives; who stands in for another has made its hint."""
    return m in s.sent and acts_for(s, m.target, m.owner)


def receive(s: State, m: Sent) -> State:
    """The holder merges it, durably, and acknowledges."""
    return replace(
        s,
        store=s.store.set(m.target, merge(s.store[m.target], m.versions)),
        acks=s.acks | FSet.of([Acknowledgement(m.coordinator, m.target, m.owner, m.about)]),
    )


def count_ok(s: State, a: Acknowledgement) -> bool:
    """An acknowledgement arrives."""
    return a in s.acks


def count(s: State, a: Acknowledgement) -> State:
    """The coordinator counts it."""
    return replace(s, counted=s.counted | FSet.of([a]))


def acknowledge_ok(s: State, n: NodeId, v: Version, quorum: WriteQuorum) -> bool:
    """A coordinator has counted enough owners for a version, and enough of them as primaries."""
    return is_written(
        FSet.of(a.owner for a in s.counted if a.coordinator == n and a.version == v),
        FSet.of(a.owner for a in s.counted if a.coordinator == n and a.version == v and a.holder == a.owner),
        quorum,
    )


def acknowledge(s: State, n: NodeId, v: Version, quorum: WriteQuorum) -> State:
    """It tells the client."""
    return replace(s, acked=s.acked | FSet.of([Success(v, quorum)]))


def finish_ok(s: State, n: NodeId, v: Version) -> bool:
    """A coordinator is done with a put, or has waited long enough."""
    return n in s.nodes


def finish(s: State, n: NodeId, v: Version) -> State:
    """It forgets what it counted."""
    return replace(s, counted=FSet.of(a for a in s.counted if not (a.coordinator == n and a.version == v)))


# Actions: hints.


def hint_ok(s: State, n: NodeId, owner: NodeId) -> bool:
    """An owner may lack what a node stores, or is about to store."""
    return n in s.nodes and owner in s.owners


def hint(s: State, n: NodeId, owner: NodeId) -> State:
    """The node notes that it owes it."""
    return replace(s, owed=s.owed.set(n, s.owed[n] | FSet.of([owner])))


def hand_ok(s: State, n: NodeId, owner: NodeId) -> bool:
    """A node owes something."""
    return n in s.nodes and owner in s.owed[n]


def hand(s: State, n: NodeId, owner: NodeId) -> State:
    """It sends everything that it holds."""
    return replace(s, handed=s.handed | FSet.of([Handed(n, owner, s.store[n])]))


def take_ok(s: State, m: Handed, context: Clock) -> bool:
    """What was owed arrives; the context is that of what arrives."""
    return m in s.handed and is_context(context, m.versions)


def take(s: State, m: Handed, context: Clock) -> State:
    """The owner merges it, durably, and acknowledges."""
    return replace(
        s,
        store=s.store.set(m.owner, merge(s.store[m.owner], m.versions)),
        taken=s.taken | FSet.of([Taken(m.holder, m.owner, context)]),
    )


def release_ok(s: State, t: Taken) -> bool:
    """The owner has acknowledged all that its creditor stores by now."""
    return t in s.taken and may_release(s.store[t.holder], t.context)


def release(s: State, t: Taken) -> State:
    """The hint goes."""
    return replace(s, owed=s.owed.set(t.holder, s.owed[t.holder] - FSet.of([t.owner])))


def drop_ok(s: State, n: NodeId) -> bool:
    """A node that is no owner owes nothing any more."""
    return n in s.nodes and n not in s.owners and s.owed[n] == FSet()


def drop(s: State, n: NodeId) -> State:
    """Its row goes, and its numbering with it."""
    return replace(s, store=s.store.set(n, FSet()), birth=s.birth.set(n, 0), counter=s.counter.set(n, 0))


# Actions: gets and repair.


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
    """An owner is asked, or asks itself."""
    return n in s.nodes


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


# Actions: what may go wrong, and what happens elsewhere.


def lose_sent_ok(s: State, m: Sent) -> bool:
    """A message is under way."""
    return m in s.sent


def lose_sent(s: State, m: Sent) -> State:
    """It is lost, or will not be repeated any more."""
    return replace(s, sent=s.sent - FSet.of([m]))


def lose_pushed_ok(s: State, p: Pushed) -> bool:
    """A repair is under way."""
    return p in s.pushed


def lose_pushed(s: State, p: Pushed) -> State:
    """It is lost, or will not be repeated any more."""
    return replace(s, pushed=s.pushed - FSet.of([p]))


def lose_ack_ok(s: State, a: Acknowledgement) -> bool:
    """An acknowledgement is under way."""
    return a in s.acks


def lose_ack(s: State, a: Acknowledgement) -> State:
    """It is lost, or will not be repeated any more."""
    return replace(s, acks=s.acks - FSet.of([a]))


def lose_told_ok(s: State, t: Told) -> bool:
    """An answer is under way."""
    return t in s.told


def lose_told(s: State, t: Told) -> State:
    """It is lost, or will not be repeated any more."""
    return replace(s, told=s.told - FSet.of([t]))


def lose_handed_ok(s: State, m: Handed) -> bool:
    """What is owed is under way."""
    return m in s.handed


def lose_handed(s: State, m: Handed) -> State:
    """It is lost, or will not be repeated any more."""
    return replace(s, handed=s.handed - FSet.of([m]))


def lose_taken_ok(s: State, t: Taken) -> bool:
    """An owner's acknowledgement is under way."""
    return t in s.taken


def lose_taken(s: State, t: Taken) -> State:
    """It is lost, or will not be repeated any more."""
    return replace(s, taken=s.taken - FSet.of([t]))


def lose_reply_ok(s: State, p: Reply) -> bool:
    """A client holds a reply, or is about to be given one."""
    return p in s.replies


def lose_reply(s: State, p: Reply) -> State:
    """The client will never use it."""
    return replace(s, replies=s.replies - FSet.of([p]))


def crash_ok(s: State, n: NodeId) -> bool:
    """At any time."""
    return n in s.nodes


def crash(s: State, n: NodeId) -> State:
    """A node loses what it held in memory."""
    return replace(
        s,
        counted=FSet.of(a for a in s.counted if a.coordinator != n),
        gathered=SetMap.of({r: s.gathered[r] for r in s.gathered if r.reader != n}),
        heard=SetMap.of({r: s.heard[r] for r in s.heard if r.reader != n}),
        confirmed=FSet.of(c for c in s.confirmed if c.reading.reader != n),
    )


def is_new(s: State, n: NodeId, disk: Disk) -> bool:
    """Whether nothing was ever minted under the incarnation of a disk."""
    return all(not (a.node == n and a.incarnation == disk.incarnation) for a in s.minted)


def lose_ok(s: State, n: NodeId, disk: Disk, kept: Siblings, owed: FSet[NodeId]) -> bool:
    """A disk is lost, and an empty one takes its place, or one from the past: with what might have been held once."""
    return (
        n in s.nodes
        and is_new(s, n, disk)
        and kept.issubset(s.created)
        and is_antichain(kept)
        and is_contiguous(s, kept)
        and owed.issubset(s.owners)
    )


def lose(s: State, n: NodeId, disk: Disk, kept: Siblings, owed: FSet[NodeId]) -> State:
    """Its node continues no numbering."""
    return replace(
        s,
        disks=s.disks.set(n, disk),
        birth=s.birth.set(n, 0),
        counter=s.counter.set(n, 0),
        store=s.store.set(n, kept),
        owed=s.owed.set(n, owed),
        bereft=s.bereft | FSet.of([n]) | s.owed[n],
    )


def rename_ok(s: State, n: NodeId, disk: Disk) -> bool:
    """A node that cannot know whether its disk is from the past takes another incarnation."""
    return n in s.nodes and is_new(s, n, disk)


def rename(s: State, n: NodeId, disk: Disk) -> State:
    """It continues no numbering either."""
    return replace(s, disks=s.disks.set(n, disk), birth=s.birth.set(n, 0), counter=s.counter.set(n, 0))


def give_ok(s: State, n: NodeId, target: NodeId) -> bool:
    """A node that catches up has asked another."""
    return n in s.nodes and target in s.nodes


def give(s: State, n: NodeId, target: NodeId) -> State:
    """It is sent everything that the other holds."""
    return replace(s, pushed=s.pushed | FSet.of([Pushed(target, s.store[n])]))


def elsewhere_ok(s: State, n: NodeId) -> bool:
    """A node mints for the first time for another key."""
    return n in s.nodes


def elsewhere(s: State, n: NodeId) -> State:
    """That takes a birth from its disk."""
    return replace(s, disks=s.disks.set(n, replace(s.disks[n], births=s.disks[n].births + 1)))


ACTIONS = (
    put,
    again,
    send,
    receive,
    count,
    acknowledge,
    finish,
    hint,
    hand,
    take,
    release,
    drop,
    ask,
    conclude,
    answer,
    collect,
    reply,
    show,
    push,
    mend,
    agree,
    press,
    confirm,
    vouch,
    relax,
    forget,
    lose_sent,
    lose_pushed,
    lose_ack,
    lose_told,
    lose_handed,
    lose_taken,
    lose_reply,
    crash,
    lose,
    rename,
    give,
    elsewhere,
)
"""Everything that may happen."""


def is_eventful(s: State) -> bool:
    """Whether enough has happened for the invariants to say something: no proof is about empty states only."""
    return (
        any(x.version in s.seen[u] and supersedes(u, x.version) for u in s.created for x in s.acked)
        and any(v.dot.actor.node != n and v in s.store[n] for n in s.nodes for v in s.created)
        and any(all(a.version != v for a in s.acked) for v in s.created)
    )


# The invariants that it is about.


def inv_dot_uniqueness(s: State) -> bool:
    """A dot names one version."""
    return all(implies(u.dot == v.dot, u == v) for u in s.created for v in s.created)


def inv_only_maximal(s: State) -> bool:
    """Nothing that holds or carries versions has one that another of them supersedes."""
    return (
        all(is_antichain(s.store[n]) for n in s.nodes)
        and all(is_antichain(m.versions) for m in s.sent)
        and all(is_antichain(p.versions) for p in s.pushed)
        and all(is_antichain(t.versions) for t in s.told)
        and all(is_antichain(m.versions) for m in s.handed)
        and all(is_antichain(s.gathered[r]) for r in s.gathered)
    )


def is_durable(s: State, a: Acknowledgement) -> bool:
    """Whether what is acknowledged is known for the owner, and to it, if it says so itself."""
    return (
        a.version in s.created
        and (held_for(s, a.owner, a.version) or a.owner in s.bereft)
        and implies(a.holder == a.owner, stored(s, a.owner, a.version) or a.owner in s.bereft)
    )


def inv_durable_acknowledgement(s: State) -> bool:
    """Acknowledgements stand for durable copies, success for a write quorum of owners for whom the write is known.

    Who lost what was known for it is excused: of W owners, if fewer than W were bereft, some still know it.
    """
    return (
        all(is_durable(s, a) for a in s.acks)
        and all(is_durable(s, a) for a in s.counted)
        and all(
            a.version in s.created
            and is_written(
                FSet.of(o for o in s.owners if held_for(s, o, a.version) or o in s.bereft),
                FSet.of(o for o in s.owners if stored(s, o, a.version) or o in s.bereft),
                a.quorum,
            )
            for a in s.acked
        )
    )


def is_loyal(s: State, request: RequestId, o: NodeId, x: Version) -> bool:
    """Whether an owner knows `x`, and whatever it has told a get does; so whatever it can tell it does.

    Who lost what was known for it is excused here too.
    """
    return o in s.bereft or (
        stored(s, o, x)
        and all(knows(s, t.versions, x) for t in s.told if t.reading.request == request and t.owner == o)
        and all(implies(o in s.heard[r], knows(s, s.gathered[r], x)) for r in s.heard if r.request == request)
    )


def inv_due(s: State) -> bool:
    """Of what a get may look for as many owners can only tell as its write was acknowledged by."""
    return all(
        any(
            was_promised(d, a)
            and is_quorum(FSet.of(o for o in s.owners if is_loyal(s, d.request, o, d.version)), a.quorum.pw)
            for a in s.acked
        )
        for d in s.due
    )


def inv_released(s: State) -> bool:
    """An owner's acknowledgement of what it was handed stands for durable copies of all that its context covers."""
    return all(
        implies(covers(t.context, x.dot), stored(s, t.owner, x) or t.owner in s.bereft)
        for t in s.taken
        for x in s.created
    )


def inv_told(s: State) -> bool:
    """What an owner has told a reader it knows durably, unless it lost its disk since."""
    return all(
        implies(t.owner in s.owners and knows(s, t.versions, x), stored(s, t.owner, x) or t.owner in s.bereft)
        for t in s.told
        for x in s.created
    )


def inv_confirmed(s: State) -> bool:
    """An owner who confirmed what a reader gathered knows all of it durably, unless it lost its disk since."""
    return all(c.owner in s.owners for c in s.confirmed) and all(
        implies(knows(s, s.gathered[c.reading], x), stored(s, c.owner, x) or c.owner in s.bereft)
        for c in s.confirmed
        for x in s.created
    )


# The invariants that support them.


def inv_owners(s: State) -> bool:
    """Only owners are counted and owed to."""
    return (
        all(m.coordinator in s.nodes and m.target in s.nodes and m.owner in s.owners for m in s.sent)
        and all(p.target in s.nodes for p in s.pushed)
        and all(a.owner in s.owners for a in s.acks)
        and all(a.owner in s.owners for a in s.counted)
        and all(m.holder in s.nodes and m.owner in s.owners for m in s.handed)
        and all(t.holder in s.nodes and t.owner in s.owners for t in s.taken)
        and all(o in s.owners for n in s.nodes for o in s.owed[n])
        and s.owners.issubset(s.nodes)
    )


def inv_numbering(s: State) -> bool:
    """A row's counter is where its actor's numbering ends, and the next actor of a disk has minted nothing."""
    return (
        all(s.birth[n] <= s.disks[n].births and implies(s.birth[n] == 0, s.counter[n] == 0) for n in s.nodes)
        and all(implies(mints_as(s, n, a), s.minted[a] == s.counter[n]) for n in s.nodes for a in s.minted)
        and all(
            implies(a.node == n and a.incarnation == s.disks[n].incarnation, a.birth <= s.disks[n].births)
            for n in s.nodes
            for a in s.minted
        )
    )


def inv_minted(s: State) -> bool:
    """No version or context is ahead of what was minted."""
    return (
        all(covers(s.minted, v.dot) and descends(s.minted, v.context) for v in s.created)
        and all(descends(s.minted, p.context) for p in s.replies)
        and all(descends(s.minted, t.context) for t in s.taken)
    )


def inv_irreflexive(s: State) -> bool:
    """No version supersedes itself."""
    return all(not supersedes(v, v) for v in s.created)


def inv_past(s: State) -> bool:
    """Only what was written was seen."""
    return all(x in s.created for u in s.created for x in s.seen[u])


def inv_past_closed(s: State) -> bool:
    """Who saw a version saw what its writer had seen."""
    return all(y in s.seen[u] for u in s.created for x in s.seen[u] for y in s.seen[x])


def inv_honest(s: State) -> bool:
    """Clocks tell the causal past, exactly."""
    return all(supersedes(u, x) == (x in s.seen[u]) for u in s.created for x in s.created)


def inv_created(s: State) -> bool:
    """Only what was written is held or carried."""
    return (
        all(s.store[n].issubset(s.created) for n in s.nodes)
        and all(m.versions.issubset(s.created) for m in s.sent)
        and all(p.versions.issubset(s.created) for p in s.pushed)
        and all(t.versions.issubset(s.created) for t in s.told)
        and all(m.versions.issubset(s.created) for m in s.handed)
        and all(s.gathered[r].issubset(s.created) for r in s.gathered)
    )


def is_contiguous(s: State, versions: Siblings) -> bool:
    """Whether a set knows, with every version, all earlier ones of the same actor."""
    return all(
        implies(x.dot.actor == u.dot.actor and x.dot.counter <= u.dot.counter, knows(s, versions, x))
        for u in versions
        for x in s.created
    )


def inv_contiguous(s: State) -> bool:
    """Whatever holds or carries a version knows all earlier ones of its actor."""
    return (
        all(
            implies(x.dot.actor == u.dot.actor and x.dot.counter <= u.dot.counter, stored(s, n, x))
            for n in s.nodes
            for u in s.store[n]
            for x in s.created
        )
        and all(is_contiguous(s, m.versions) for m in s.sent)
        and all(is_contiguous(s, p.versions) for p in s.pushed)
        and all(is_contiguous(s, t.versions) for t in s.told)
        and all(is_contiguous(s, m.versions) for m in s.handed)
        and all(is_contiguous(s, s.gathered[r]) for r in s.gathered)
    )


def inv_own(s: State) -> bool:
    """A node knows everything that it minted under its row's actor."""
    return all(implies(mints_as(s, n, x.dot.actor), stored(s, n, x)) for n in s.nodes for x in s.created)


def inv_sent(s: State) -> bool:
    """A set that is to be acknowledged knows the version that it is acknowledged for."""
    return all(m.about in s.created and knows(s, m.versions, m.about) for m in s.sent)


def inv_replies(s: State) -> bool:
    """A reply's context covers exactly what its client has seen, which is causally closed."""
    return (
        all(p.saw.issubset(s.created) for p in s.replies)
        and all(y in p.saw for p in s.replies for x in p.saw for y in s.seen[x])
        and all(covers(p.context, x.dot) == (x in p.saw) for p in s.replies for x in s.created)
    )


# Lemmas about merging, proved once for any sets and used where an action merges.


def is_held(s: State, versions: Siblings) -> bool:
    """Whether a set is one that can be held: written versions of which none supersedes another."""
    return versions.issubset(s.created) and is_antichain(versions)


def lib_merge_dominates(s: State, a: Siblings, b: Siblings) -> bool:
    """The merge knows every member of either set."""
    return implies(is_held(s, a) and is_held(s, b), all(knows(s, merge(a, b), v) for v in a))


def lib_merge_keeps(s: State, a: Siblings, b: Siblings) -> bool:
    """Merging loses nothing: what a set knew, the merge knows."""
    return implies(is_held(s, a) and is_held(s, b), all(knows(s, merge(a, b), x) for x in s.created if knows(s, a, x)))


def uses_merge_keeps(s: State, a: Siblings, b: Siblings) -> bool:
    """By its members."""
    return lib_merge_dominates(s, a, b)


def receive_uses(s: State, m: Sent) -> bool:
    """Both sides of the merge."""
    return lib_merge_keeps(s, s.store[m.target], m.versions) and lib_merge_keeps(s, m.versions, s.store[m.target])


def mend_uses(s: State, p: Pushed) -> bool:
    """Both sides of the merge."""
    return lib_merge_keeps(s, s.store[p.target], p.versions) and lib_merge_keeps(s, p.versions, s.store[p.target])


def take_uses(s: State, m: Handed, context: Clock) -> bool:
    """Both sides of the merge."""
    return lib_merge_keeps(s, s.store[m.owner], m.versions) and lib_merge_keeps(s, m.versions, s.store[m.owner])


def collect_uses(s: State, t: Told) -> bool:
    """Both sides of the merge."""
    return lib_merge_keeps(s, s.gathered[t.reading], t.versions) and lib_merge_keeps(
        s, t.versions, s.gathered[t.reading]
    )


# Lemmas of actions.


def put_lemma_fresh(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> bool:
    """Nobody has written under the new dot, and nobody's context covers it."""
    v = next_version(s, n, p, value)
    return (
        all(not covers(s.minted, v.dot) and u.dot != v.dot for u in s.created)
        and all(not covers(u.context, v.dot) for u in s.created)
        and all(not covers(q.context, v.dot) for q in s.replies)
        and s.minted[v.dot.actor] <= s.counter[n]
    )


def put_lemma_past(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> bool:
    """What the writer had seen is written, closed, and told exactly by the context."""
    v = next_version(s, n, p, value)
    return (
        p.saw.issubset(s.created)
        and all(y in p.saw for x in p.saw for y in s.seen[x])
        and all(supersedes(v, x) == (x in p.saw) for x in s.created)
        and descends(s.minted, p.context)
    )


def put_lemma_grow(s: State, n: NodeId, p: Reply, value: Value, owner: NodeId) -> bool:
    """A put makes no node forget."""
    after = put(s, n, p, value, owner)
    return all(stored(after, t, x) for t in s.nodes for x in s.created if stored(s, t, x))


def receive_lemma_grow(s: State, m: Sent) -> bool:
    """Nor does a merge, and the target learns what it was sent."""
    after = receive(s, m)
    return all(stored(after, t, x) for t in s.nodes for x in s.created if stored(s, t, x)) and all(
        stored(after, m.target, x) for x in s.created if knows(s, m.versions, x)
    )


def take_lemma_told(s: State, m: Handed, context: Clock) -> bool:
    """What the owner acknowledges is what it was handed."""
    return all(covers(context, x.dot) == knows(s, m.versions, x) for x in s.created)


def take_lemma_grow(s: State, m: Handed, context: Clock) -> bool:
    """It learns that, and nobody forgets."""
    after = take(s, m, context)
    return all(stored(after, t, x) for t in s.nodes for x in s.created if stored(s, t, x)) and all(
        stored(after, m.owner, x) for x in s.created if knows(s, m.versions, x)
    )


def release_lemma_known(s: State, t: Taken) -> bool:
    """The owner knows all that its creditor knows, unless it lost its disk since."""
    return t.owner in s.bereft or all(stored(s, t.owner, x) for x in s.created if stored(s, t.holder, x))


def confirm_lemma_known(s: State, r: Reading, t: Taken) -> bool:
    """The owner knows all that the reader knows, unless it lost its disk since."""
    return t.owner in s.bereft or all(stored(s, t.owner, x) for x in s.created if knows(s, s.gathered[r], x))


def mend_lemma_grow(s: State, p: Pushed) -> bool:
    """Nor does a repair, and the target learns what it was sent."""
    after = mend(s, p)
    return all(stored(after, t, x) for t in s.nodes for x in s.created if stored(s, t, x)) and all(
        stored(after, p.target, x) for x in s.created if knows(s, p.versions, x)
    )


def collect_lemma_grow(s: State, t: Told) -> bool:
    """A reader loses nothing that it was told."""
    after = collect(s, t)
    return all(
        knows(after, after.gathered[t.reading], x)
        for x in s.created
        if knows(s, s.gathered[t.reading], x) or knows(s, t.versions, x)
    )


def reply_lemma_context(s: State, r: Reading, quorum: ReadQuorum, context: Clock) -> bool:
    """However many have answered, the context is that of what its reader knows."""
    return is_context(context, s.gathered[r])


def reply_lemma_told(s: State, r: Reading, quorum: ReadQuorum, context: Clock) -> bool:
    """The context of a reply covers exactly what its reader knows."""
    return all(covers(context, x.dot) == knows(s, s.gathered[r], x) for x in s.created)


def reply_lemma_due(s: State, r: Reading, quorum: ReadQuorum, context: Clock) -> bool:
    """A reply knows all that was acknowledged before it was asked for by a quorum that its own has to meet.

    Unless an owner that answered had lost what was known for it.
    """
    everybody = len(s.owners)
    return any(o in s.bereft for o in s.heard[r] & s.owners) or all(
        implies(d.request == r.request and d.owners + quorum.pr > everybody, knows(s, s.gathered[r], d.version))
        for d in s.due
    )


def show_lemma_told(s: State, n: NodeId, context: Clock) -> bool:
    """So does the context of what a coordinator shows."""
    return all(covers(context, x.dot) == stored(s, n, x) for x in s.created)
