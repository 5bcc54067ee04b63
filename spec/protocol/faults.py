"""Actions of what may go wrong at any time: a message is lost, a client never uses its reply, a node crashes.

That something is delivered twice, or late, needs no action: delivering does not remove.
"""

from __future__ import annotations

from msgspec.structs import replace

from spec.maps import FSet, SetMap
from spec.protocol.state import Acknowledgement, Given, Handed, Pushed, Reply, Sent, State, Taken, Told
from spec.types import NodeId


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


def lose_given_ok(s: State, g: Given) -> bool:
    """What a node lacks is under way."""
    return g in s.given


def lose_given(s: State, g: Given) -> State:
    """It is lost, or will not be repeated any more."""
    return replace(s, given=s.given - FSet.of([g]))


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
