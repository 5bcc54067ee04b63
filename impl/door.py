"""The door of a node: whoever connects introduces itself, and is let in or turned away.

Until its first frame a connection is nobody's: there is little room and little time for that frame. There are places
for so many clients, and as many others for nodes and for those who have not said who they are; so clients never keep
nodes out. Where no place is left, a connection is told so and closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from impl.settings import Settings
from impl.transport import HELLO_SECONDS, Frames
from impl.wire import (
    HELLO_BYTES,
    PROTOCOL,
    ClientHello,
    PeerHello,
    Turned,
    Welcome,
    call_bytes,
    cluster_digest,
    decode,
    hello_decoder,
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
        self._peer, self._client, self._turned_away = peer, client, turned_away
        self._digest = cluster_digest(settings.secret, settings.config, settings.members)
        self.clients: set[Frames] = set()
        """Connections of clients."""
        self.others: set[Frames] = set()
        """Connections of nodes, and of those who have not said who they are."""

    def accept(self) -> Frames:
        """The protocol of a new connection."""
        frames = Frames(HELLO_BYTES)
        deadline = asyncio.get_running_loop().call_later(HELLO_SECONDS, frames.close)
        places = self._settings.config.limits.connections

        def opened() -> None:
            self.others.add(frames)
            if len(self.others) > places:
                turn_away(f"node {self._settings.name} has no place left: {places} connections")

        def lost() -> None:
            deadline.cancel()
            self.others.discard(frames)
            self.clients.discard(frames)

        def hello(frame: memoryview) -> None:
            said = decode(hello_decoder, frame)
            deadline.cancel()
            problem = self._problem(said)
            if problem:
                turn_away(problem)
            else:
                self._let_in(frames, said)

        def turn_away(reason: str) -> None:
            refused(reason)
            frames.close()

        def refused(reason: str) -> None:
            self._turned_away(reason)
            frames.send(Turned(reason))

        frames.on_open, frames.on_frame, frames.on_lost, frames.on_refused = opened, hello, lost, refused
        return frames

    def close(self) -> None:
        """Show everybody out."""
        for frames in (*self.clients, *self.others):
            frames.close()

    def _let_in(self, frames: Frames, said: PeerHello | ClientHello) -> None:
        limits = self._settings.config.limits
        name, most = self._settings.name, call_bytes(limits)
        frames.send(Welcome(PROTOCOL, name, self._incarnation, most, limits.frame_bytes, limits.message_bytes))
        if isinstance(said, PeerHello):
            frames.limit, frames.message_limit = limits.frame_bytes, limits.message_bytes
            self._peer(frames, said)
        else:
            frames.limit = most
            self.others.discard(frames)
            self.clients.add(frames)
            self._client(frames, said)

    def _problem(self, hello: PeerHello | ClientHello) -> str:
        """Why whoever introduces itself is turned away; empty if it is not."""
        name, places = self._settings.name, self._settings.config.limits.connections
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
        return ""
