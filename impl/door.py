"""The door of a node: whoever connects introduces itself, and is let in or turned away.

Until its first frame a connection is nobody's: there is little room and little time for that frame. There are places
for so many clients, for as many connections of other nodes, and for as many strangers, who have not said yet who they
are; so neither clients nor strangers take a place of a node. Where no place is left for another stranger, the one that
has waited longest makes way: a node says who it is as soon as it is connected, so it is let in before its turn comes,
however many others say nothing. Whoever is not let in, or has to make way, is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from impl.frames import Frames
from impl.settings import Settings
from impl.transport import HELLO_SECONDS
from impl.wire import (
    PROTOCOL,
    ClientHello,
    PeerHello,
    Turned,
    Welcome,
    call_bytes,
    cluster_digest,
    decode,
    hello_decoder,
    reply_bytes,
)


class Door:
    """Lets connections in, and knows those that are open."""

    def __init__(
        self,
        settings: Settings,
        incarnation: str,
        *,
        peer: Callable[[Frames, PeerHello], None],
        client: Callable[[Frames, ClientHello], None],
        turned_away: Callable[[str], None],
    ) -> None:
        """`peer` and `client` take over who was let in; `turned_away` is told why somebody was not, or no longer."""
        self._settings, self._incarnation = settings, incarnation
        self._limits = settings.config.limits
        self._peer, self._client, self._turned_away = peer, client, turned_away
        self._digest = cluster_digest(settings.secret, settings.config, settings.members)
        self.clients: set[Frames] = set()
        """Connections of clients."""
        self._nodes: set[Frames] = set()
        self._strangers: dict[Frames, Callable[[str], None]] = {}
        """Those who have not said who they are, the oldest first, and how each is turned away."""

    def accept(self) -> Frames:
        """The protocol of a new connection."""
        name, places = self._settings.name, self._limits.connections
        frames = Frames(self._limits.hello_bytes)
        deadline = asyncio.get_running_loop().call_later(
            HELLO_SECONDS, lambda: turn_away(f"node {name} heard no hello within {HELLO_SECONDS:g} s")
        )

        def opened() -> None:
            if len(self._strangers) >= places:
                turn_oldest_away = next(iter(self._strangers.values()))
                turn_oldest_away(f"node {name} has no place left: {places} others wait to say who they are")
            self._strangers[frames] = turn_away

        def lost() -> None:
            deadline.cancel()
            self._strangers.pop(frames, None)
            self._nodes.discard(frames)
            self.clients.discard(frames)

        def hello(frame: memoryview) -> None:
            said = decode(hello_decoder, frame)
            problem = self._problem(said)
            if problem:
                turn_away(problem)
            else:
                deadline.cancel()
                del self._strangers[frames]
                self._let_in(frames, said)

        def turn_away(reason: str) -> None:
            refused(reason)
            frames.close()

        def refused(reason: str) -> None:
            deadline.cancel()
            self._strangers.pop(frames, None)
            self._turned_away(reason)
            frames.send(Turned(reason))

        frames.on_open, frames.on_frame, frames.on_lost, frames.on_refused = opened, hello, lost, refused
        return frames

    def close(self) -> None:
        """Show everybody out."""
        for frames in (*self.clients, *self._nodes, *self._strangers):
            frames.close()

    def _let_in(self, frames: Frames, said: PeerHello | ClientHello) -> None:
        limits, name, calls = self._limits, self._settings.name, call_bytes(self._limits)
        replies = reply_bytes(limits, limits.frame_bytes), reply_bytes(limits, limits.message_bytes)
        frames.send(Welcome(PROTOCOL, name, self._incarnation, calls, *replies, limits.calls_at_once))
        if isinstance(said, PeerHello):
            frames.limit, frames.message_limit = limits.frame_bytes, limits.message_bytes
            self._nodes.add(frames)
            self._peer(frames, said)
        else:
            frames.limit = calls
            self.clients.add(frames)
            self._client(frames, said)

    def _problem(self, hello: PeerHello | ClientHello) -> str:
        """Why whoever introduces itself is turned away; empty if it is not."""
        name, places = self._settings.name, self._limits.connections
        if hello.protocol != PROTOCOL:
            return f"node {name} speaks protocol {PROTOCOL}, not {hello.protocol}; run the same version everywhere"
        if isinstance(hello, ClientHello):
            full = len(self.clients) >= places
            return f"node {name} has no place left: {places} clients" if full else ""
        if hello.target != name:
            return f"this is node {name}, not {hello.target}"
        if hello.source not in self._settings.peers:
            return f"node {name} knows no other node {hello.source}"
        if hello.digest != self._digest:
            return f"nodes {name} and {hello.source} differ in configuration, list of nodes, or secret"
        return f"node {name} has no place left: {places} nodes" if len(self._nodes) >= places else ""
