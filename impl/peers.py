"""The other nodes: how this one reaches them, hears them, and what it makes of their silence.

Messages go out over a link to each peer and come in over the connection that the peer opened. Whatever comes, on either
connection, is a sign of life for the failure detector (`impl.detector`); its changes of mind become `Suspicion` events,
for the specification alone says what follows from them. To a peer that is owed something, seems to be up and is linked,
it is handed over (`impl.handover`).

Faults that a test asked for are faults of the network: who is cut off is neither heard nor heard of, heartbeats
included.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Protocol

from impl.deadlines import deadline
from impl.detector import Detector
from impl.faults import Faults
from impl.frames import Frames
from impl.handover import Handover
from impl.link import PeerLink
from impl.meters import Meters
from impl.nodelog import Say
from impl.runtime import Arrival, Runtime
from impl.settings import Settings
from impl.standing import Standing
from impl.transport import HEARTBEAT_SECONDS, SILENCE_SECONDS
from impl.wire import (
    PROTOCOL,
    Alive,
    Envelope,
    Parcel,
    PeerHello,
    PeerStatus,
    WireError,
    cluster_digest,
    decode,
    encode,
    parcel_decoder,
    parcels,
)
from spec.events import Deliver, Suspicion
from spec.messages import Forward, Write
from spec.trace import Stamp
from spec.types import NodeId

LOOK_SECONDS = 0.1
"""How often the node looks who is silent, and whether there is something to hand over."""


class Submit(Protocol):
    """Takes events, and the connection that they came from, if any."""

    def __call__(self, arrivals: list[Arrival], frames: Frames | None = None, /) -> None:
        """They wait for their steps from now on."""


class Peers:
    """All nodes but this one."""

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        meters: Meters,
        say: Say,
        *,
        submit: Submit,
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called when `hand_over` may have something to do."""
        self.faults = Faults()
        self._settings, self._runtime, self._meters, self._say = settings, runtime, meters, say
        self._submit, self._wake = submit, wake
        digest = cluster_digest(settings.secret, settings.config, settings.members)
        self._links = {name: self._link(name, digest) for name in sorted(settings.peers)}
        self._owed = {None, *self._links}
        """For whom this node may be asked to hold something: itself, or another."""
        self._hints = runtime.storage.hints
        self._handover = Handover(self._hints, settings.config.limits, runtime.storage.row_bytes)
        now = time.monotonic()
        self._detector = Detector(self._links, settings.detector, HEARTBEAT_SECONDS, LOOK_SECONDS, now)
        self.standing = Standing(runtime, say, now)
        self._told: frozenset[NodeId] = frozenset()
        """Whom the specification was told to suspect."""

    def _link(self, name: NodeId, digest: bytes) -> PeerLink:
        hello = PeerHello(PROTOCOL, self._settings.name, name, digest)
        say = partial(self._changed, name)
        link = PeerLink(self._settings.peers[name], hello, self._settings.config.limits, say)
        link.on_sign = lambda alive: self._heard(name) if alive else self._refused(name)
        link.beats = lambda: self.faults.lets_out(name)
        return link

    def _changed(self, name: NodeId, what: str) -> None:
        state, _, reason = what.partition(": ")
        self._say(f"peer {state}", peer=name, **({"reason": reason} if reason else {}))

    def tasks(self) -> list[Coroutine[None, None, None]]:
        """What is to run for as long as the node does."""
        return [self._watch(), *(link.run() for link in self._links.values())]

    # Messages.

    def send(self, target: NodeId, envelopes: list[Envelope]) -> None:
        """Hand messages to the network."""
        link = self._links[target]
        self._meters.sent(envelopes)
        if not self.faults.active:
            for parcel, messages in parcels(self._runtime.epoch, envelopes):
                link.send(parcel, messages)
            return
        for envelope in envelopes:
            parcel = encode(Parcel(self._runtime.epoch, [envelope]))
            for delay in self.faults.delays(target):
                if delay:
                    asyncio.get_running_loop().call_later(delay, link.send, parcel)
                else:
                    link.send(parcel)

    def serve(self, frames: Frames, hello: PeerHello) -> None:
        """A peer has opened a connection and introduced itself."""
        source = hello.source
        self._links[source].nudge()

        def deliver(frame: memoryview) -> None:
            parcel = decode(parcel_decoder, frame)
            if not parcel.envelopes:
                # Answers that nobody takes do not pile up.
                if not frames.slow and self.faults.lets_out(source):
                    frames.send(Alive())
                self._heard(source, heartbeat=True)
            elif self.faults.lets_in(source):
                self._heard(source)
                self._submit(self._arrivals(source, parcel), frames)

        frames.on_frame = deliver
        frames.on_piece = lambda: self._heard(source)
        frames.watch(SILENCE_SECONDS, lambda: self._say("peer gave no sign of life", peer=source))

    def _arrivals(self, source: NodeId, parcel: Parcel) -> list[Arrival]:
        """The messages of a parcel as events. Their stamps are for the record; a forwarded request has a deadline."""
        record, epoch = self._settings.record, parcel.epoch
        for each in parcel.envelopes:
            if type(each.message) is Write and each.message.owner not in self._owed:
                raise WireError(f"a write for {each.message.owner}, which is no other node")
        return [
            Arrival(
                Deliver(source, each.message),
                Stamp(source, epoch, each.seq, each.index) if record else None,
                deadline(each.message.within_ms) if type(each.message) is Forward else None,
            )
            for each in parcel.envelopes
        ]

    # Who seems to be down.

    def _heard(self, name: NodeId, *, heartbeat: bool = False) -> None:
        if not self.faults.lets_in(name):
            return
        (self._detector.heartbeat if heartbeat else self._detector.heard)(name, time.monotonic())
        if name in self._told:
            self._tell()

    def _refused(self, name: NodeId) -> None:
        if self.faults.lets_in(name):
            self._detector.refused(name)

    async def _watch(self) -> None:
        self.standing.look()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._detector.look(time.monotonic())
            self._tell()
            if self._hints:
                self._wake()
            beats = self.standing.due(time.monotonic())
            if beats:
                self._submit([Arrival(beat) for beat in beats])

    def _tell(self) -> None:
        """Have the specification told where it takes somebody for up who seems down, or the other way around."""
        suspected = self._detector.suspected
        for name in sorted(suspected ^ self._told):
            if name in suspected:
                self._say("peer suspected", peer=name, reason=self._detector.opinion(name, time.monotonic()).why)
            else:
                self._say("peer suspected no longer", peer=name)
            self._submit([Arrival(Suspicion(name, name in suspected))])
        self._told = suspected

    def untold(self, event: Suspicion) -> None:
        """This event had no effect after all; what it says will be said again."""
        self._told ^= {event.about}

    # What they are owed.

    def hand_over(self) -> None:
        """Submit what is to be handed over now; not while anybody writes to the storage."""
        if self._hints:
            due = self._handover.due(self._ready, time.monotonic())
            if due:
                self._submit([Arrival(event) for event in due])

    def _ready(self, name: NodeId) -> bool:
        return self._links[name].connected and name not in self._runtime.node.suspected

    # How they are.

    def status(self) -> tuple[PeerStatus, ...]:
        """What this node knows of each."""
        now, owed, seen = time.monotonic(), self._hints.counts(), self.standing.seen
        return tuple(
            PeerStatus(
                name=name,
                address=str(link.address),
                connected=link.connected,
                queued=len(link.queue),
                lost=link.queue.lost,
                opinion=self._detector.opinion(name, now),
                owed=owed.get(name, 0),
                mark=seen[name],
            )
            for name, link in self._links.items()
        )
