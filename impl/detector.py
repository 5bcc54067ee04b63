"""Who seems to be down: a phi-accrual failure detector (Hayashibara, Défago, Yared and Katayama, SRDS 2004).

Nodes show each other a heartbeat at a regular interval. From the intervals at which those of a peer arrived lately, the
detector tells how surprising its present silence is: with mean and deviation of the intervals and the normal
distribution,

    phi = -log10(probability that a peer that is alive is silent for so long)

so that suspecting it from phi 8 on is a mistake once in 10⁸ silences, as far as the distribution is right. Where
heartbeats come irregularly, because machine or network are busy, more patience follows by itself.

Four rules make of this what a node can use:

* Only heartbeats are sampled, for only they are regular; but *anything* that a peer sends ends its silence.
* No peer is expected earlier than once in an interval, nor with less than a minimal deviation, and a detector begins as
  if a few heartbeats had come on time.
* Silence counts only while we listen: time in which this process did not run itself is taken off.
* A refused connection says at once what silence says late: on that machine nobody listens there. A connection that was
  lost says nothing yet; it is tried again at once, and what becomes of that does.

A suspicion ends with the first sign of life, and with nothing else; an outage is no sample. Times are given by the
caller, in seconds of any clock that never goes back.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from statistics import fmean

from msgspec import Struct

from spec.types import NodeId

SAMPLES, ON_TIME = 100, 10
"""How many of the latest intervals count, and as how many that were on time a detector begins."""

MOST_PHI = 300.0
"""Beyond this a probability is too small to be told from none."""


class Patience(Struct, frozen=True, forbid_unknown_fields=True):
    """How easily a node suspects others."""

    threshold: float = 8.0
    """From which phi on a peer is suspected."""
    deviation_seconds: float = 0.25
    """The least deviation of the intervals: what is always allowed for."""

    def __post_init__(self) -> None:
        """Refuse what would suspect everybody, or nobody (ValueError)."""
        if not 1 <= self.threshold <= 100:
            raise ValueError(f"threshold must be between 1 and 100, not {self.threshold}")
        if not 0.01 <= self.deviation_seconds <= 60:
            raise ValueError(f"deviation_seconds must be between 0.01 and 60, not {self.deviation_seconds}")


class Opinion(Struct, frozen=True):
    """What there is to say of a peer at some moment."""

    phi: float
    heard_seconds: float | None
    """How long ago it was last heard; None if it never was."""
    suspected_seconds: float | None
    """For how long it has been suspected; None if it is not."""
    why: str
    """Why it is suspected; empty if it is not."""


class _Peer:
    """What the detector keeps of a peer."""

    def __init__(self, interval_seconds: float, deviation: float, now: float) -> None:
        self.intervals = deque([interval_seconds] * ON_TIME, maxlen=SAMPLES)
        self.mean, self.deviation, self.stale = interval_seconds, deviation, False
        self.heard_at, self.ever_heard = now, False
        self.beat_at: float | None = None
        self.refused = False
        self.suspected_at: float | None = None
        self.why = ""


class Detector:
    """What one node thinks of all others."""

    def __init__(
        self, peers: Iterable[NodeId], patience: Patience, interval_seconds: float, look_seconds: float, now: float
    ) -> None:
        """Heartbeats are expected at this interval; `look` is to be called at that one."""
        self._patience, self._interval, self._look = patience, interval_seconds, look_seconds
        self._peers = {peer: _Peer(interval_seconds, patience.deviation_seconds, now) for peer in peers}
        self._looked_at = now
        self.suspected: frozenset[NodeId] = frozenset()
        """Who is suspected, as of the last look or sign of life."""

    def heartbeat(self, name: NodeId, now: float) -> None:
        """A heartbeat of a peer arrived."""
        peer = self._peers[name]
        self.heard(name, now)
        if peer.beat_at is not None:
            peer.intervals.append(now - peer.beat_at)
            peer.stale = True  # only then: a peer may send more heartbeats than anybody can make statistics of
        peer.beat_at = now

    def heard(self, name: NodeId, now: float) -> None:
        """Anything of a peer arrived."""
        peer = self._peers[name]
        peer.heard_at, peer.ever_heard, peer.refused = now, True, False
        if peer.suspected_at is not None:
            peer.suspected_at, peer.why, peer.beat_at = None, "", None
            self.suspected -= {name}

    def refused(self, name: NodeId) -> None:
        """A peer's machine says that nobody listens at its address."""
        self._peers[name].refused = True

    def look(self, now: float) -> None:
        """Make up the mind about everybody."""
        away = now - self._looked_at - self._look
        self._looked_at = now
        for name, peer in self._peers.items():
            if away > self._look:
                peer.heard_at = min(now, peer.heard_at + away)
                peer.beat_at = None if peer.beat_at is None else min(now, peer.beat_at + away)
            if peer.suspected_at is None and (peer.refused or self._phi(peer, now) >= self._patience.threshold):
                peer.suspected_at, peer.why = now, "connection refused" if peer.refused else "silent"
                self.suspected |= {name}

    def opinion(self, name: NodeId, now: float) -> Opinion:
        """What there is to say of a peer."""
        peer = self._peers[name]
        return Opinion(
            phi=round(self._phi(peer, now), 2),
            heard_seconds=now - peer.heard_at if peer.ever_heard else None,
            suspected_seconds=None if peer.suspected_at is None else now - peer.suspected_at,
            why=peer.why,
        )

    def _phi(self, peer: _Peer, now: float) -> float:
        """How surprising a peer's silence is."""
        if peer.stale:
            mean = fmean(peer.intervals)
            deviation = math.sqrt(fmean([(interval - mean) ** 2 for interval in peer.intervals]))  # `pstdev` is slow
            peer.mean = max(mean, self._interval)
            peer.deviation = max(deviation, self._patience.deviation_seconds)
            peer.stale = False
        deviations = (now - peer.heard_at - peer.mean) / peer.deviation
        probability = math.erfc(deviations / math.sqrt(2)) / 2
        return min(MOST_PHI, -math.log10(probability)) if probability > 0 else MOST_PHI
