"""Coming back: a node whose disk is new, lost or from the past is safe, and catches up before its answers count.

A disk may vanish, or be replaced by a copy made earlier, while its node is down; nothing on it tells. Three things
would go wrong. The node would number its writes from where the disk is, so that two writes bear one name; its answers
would deny what it once acknowledged; and a put that it is asked for again it would write again.

**Marks** tell. A node that runs and stores counts up a *mark* on its disk from time to time, and tells the others, who
keep the highest that they saw of it. When it comes up it asks them. A disk that is behind what anybody saw is from the
past. Until enough have answered the node is not *confirmed*: it stores what it is sent, which can do no harm, but
answers no read, and if it has to name a write, it does so under a new incarnation. Enough are W of every preference
list, itself included: with fewer, all whom it heard may have disks from the past as well, and confirm each other.
Whoever saw a later mark and was down, or cut off, says so as soon as he hears of an earlier one. What no mark tells is
what happened after the last one that any who answer saw: a copy of the disk that is younger than that is not found out.

A node *begins anew* on a new disk, and when it learns that its own is from the past. It takes a new incarnation, so
that no name is used twice: what its rows minted before is not continued. It *lacks*, durably, what each other node
holds of its keys; it asks them for it, in the order of keys, a batch at a time, and merges what comes. Whoever has
given all is lacked no more. A node answers for a key once it lacks nothing of the key's other owners: one of them
holds whatever it had acknowledged, if one disk was lost at a time. Meanwhile it takes writes like everybody. (That is
proved, of what another owner held by its own disk, `inv_lost` in `spec.protocol`. Under sloppy placement a fallback may
hold it instead, and what a fallback owed is lost with its disk: until the owner is repaired a write then has a copy
less than was promised. And of three disks that hold a write two may not be lost at once, though one is left: who lost
it may have been given all by that one before it had it, and then by another that has lost it too.)

With its disk a node loses what it saw of others' marks. Each tells it again with what it gives. Until then the node
does not vouch for the other's names: who hears from it takes a new incarnation. So names stay unique even where more is
lost than others can make up for.

A new disk is not told apart from a lost one: when a cluster is new its nodes fetch from each other, and get nothing.
(Riak: basho/riak_kv 679 and 1094; the Dynamo paper does not say what a node that lost its disk calls itself.)
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.events import Effect, Send, Start, StorageWrite, WriteDisk
from spec.maps import FMap, FSet
from spec.messages import Fetch, Fetched, Known, Mark
from spec.placement import is_owner
from spec.repair import store
from spec.rows import Disk
from spec.siblings import Siblings
from spec.state import Node, Outcome, Storage
from spec.trust import begun_anew, given_all, is_asked, is_behind, is_vouched_for, known_disk, others, renamed
from spec.types import Key, NodeId

BATCHES_PER_FRAME = 16
"""A batch of more than one row takes no more than this part of a frame."""


# Coming up.


def start(node: Node, storage: Storage, event: Start) -> Outcome:
    """Come up, and ask the others about oneself."""
    ready, disk = replace(node, started=True, run=event.incarnation), storage.disk()
    ready = replace(ready, confirmed=not others(node), anew=disk is None)
    writes: tuple[StorageWrite, ...] = ()
    if disk is None:
        disk = begun_anew(ready, Disk(event.incarnation))
        writes = (WriteDisk(disk),)
    return Outcome(ready, None, writes, (*marks(ready, disk), *fetches(ready, disk)))


def beat(node: Node, storage: Storage) -> Outcome:
    """Count up the mark, if the disk is not from the past as far as anybody knows; ask again for what is missing."""
    before = disk = known_disk(storage)
    if node.confirmed and others(node):
        disk = replace(disk, mark=disk.mark + 1)
    writes = () if disk == before else (WriteDisk(disk),)
    return Outcome(node, None, writes, (*marks(node, disk), *fetches(node, disk)))


# Marks.


def marks(node: Node, disk: Disk) -> tuple[Effect, ...]:
    """Tell the others how far the disk is."""
    return tuple([Send(name, Mark(node.run, disk.mark)) for name in others(node)])


def see(node: Node, storage: Storage, source: NodeId, message: Mark) -> Outcome:
    """Another node tells how far its disk is: remember it, durably, and say what was seen before."""
    disk = known_disk(storage)
    seen = disk.seen[source]
    writes = (WriteDisk(replace(disk, seen=disk.seen.set(source, message.mark))),) if message.mark > seen else ()
    return Outcome(node, None, writes, (Send(source, Known(message.run, seen, source in disk.lacking)),))


def learn(node: Node, storage: Storage, source: NodeId, message: Known) -> Outcome:
    """Another node says how far it has seen this one: begin anew if that is farther than the disk is."""
    disk = known_disk(storage)
    if not is_behind(disk, message.mark):
        if node.confirmed or message.run != node.run:
            return Outcome(node, None)
        named = renamed(disk, node.run) if message.lacking else disk
        return Outcome(vouched_for(node, source), None, () if named == disk else (WriteDisk(named),))
    begun = replace(node, confirmed=True, vouchers=FSet(), anew=True)
    lost = replace(disk, mark=message.mark, forgetful=True)
    if node.anew:
        return Outcome(begun, None, (WriteDisk(lost),))
    lost = begun_anew(node, lost)
    begun = replace(begun, fetched=FMap())
    return Outcome(begun, None, (WriteDisk(lost),), fetches(begun, lost))


def vouched_for(node: Node, source: NodeId) -> Node:
    """The node when one more has said that its disk is not from the past."""
    vouchers = node.vouchers | FSet.of([source])
    if is_vouched_for(node, vouchers):
        return replace(node, confirmed=True, vouchers=FSet())
    return replace(node, vouchers=vouchers)


# Catching up.


def fetches(node: Node, disk: Disk) -> tuple[Effect, ...]:
    """Ask those who have not given all for what comes next."""
    return tuple([fetch(node, disk, name) for name in disk.lacking])


def fetch(node: Node, disk: Disk, name: NodeId) -> Send:
    """Ask one of them."""
    return Send(name, Fetch(disk.incarnation, given_by(node, name)))


def given_by(node: Node, name: NodeId) -> tuple[Key, ...]:
    """The key up to which another node has given what it holds; none if nothing yet."""
    upto = node.fetched.get(name)
    return () if upto is None else (upto,)


def give(node: Node, storage: Storage, source: NodeId, message: Fetch) -> Outcome:
    """Another node fetches: give it the next of what this one holds of its keys.

    Not while it is itself waiting to be confirmed, for its own mark may be from the past; but on a new disk nothing is.
    """
    if not (node.confirmed or node.anew):
        return Outcome(node, None)
    limits = node.config.limits
    room, rows, last = limits.frame_bytes // BATCHES_PER_FRAME, list[tuple[Key, Siblings]](), message.after
    upto: tuple[Key, ...] = ()
    for count, (key, row) in enumerate(storage.rows_after(message.after), 1):
        if is_owner(node, source, key):
            room -= size_bytes(key, row.siblings)
            if rows and room < 0:
                upto = last
                break
            rows.append((key, row.siblings))
        last = (key,)
        if count == limits.fetched_rows:
            upto = last
            break
    given = Fetched(message.incarnation, message.after, tuple(rows), upto, known_disk(storage).mark)
    return Outcome(node, None, effects=(Send(source, given),))


def size_bytes(key: Key, siblings: Siblings) -> int:
    """Roughly what a set takes in a frame."""
    return sum(len(key) + len(version.value) for version in siblings)


def take_back(node: Node, storage: Storage, source: NodeId, message: Fetched) -> Outcome:
    """What was asked for comes: make it durable, and ask for the next, or lack this node no more."""
    disk = known_disk(storage)
    if not is_asked(disk, source, message.incarnation) or message.after != given_by(node, source):
        return Outcome(node, None)
    writes: tuple[StorageWrite, ...] = ()
    for key, siblings in message.rows:
        writes = (*writes, *store(storage, key, siblings))
    if message.upto:
        further = replace(node, fetched=node.fetched.set(source, message.upto[0]))
        return Outcome(further, None, writes, (fetch(further, disk, source),))
    seen = disk.seen.set(source, max(disk.seen[source], message.mark))
    given = WriteDisk(replace(given_all(disk, source), seen=seen))
    return Outcome(replace(node, fetched=node.fetched.remove(source)), None, (*writes, given))
