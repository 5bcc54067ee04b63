"""Which node a client asks, and its connections to them.

Any node serves any key. *Any-node* routing stays with the first of the given nodes that can be reached. *Ring-aware*
routing asks a node for members and configuration, builds the ring that the nodes build (`spec.ring`), and asks an owner
of the key itself, which spares the store a hop. Being wrong about the ring costs that hop and nothing else: what is
known of it is a hint, so it is refreshed in the background whenever something speaks against it (a connection was
lost or could not be made, a node turned out to have another name, a request was turned down or forwarded).

Some nodes are *passed over*: they are asked only if no other can be. One that turned a connection away is, for a
moment; one that let a call wait until its time was up, for as long as that took; one that is suspected to be silent,
for as long as it is. Where connecting meets silence no call waits for it again: that is tried in the background until
somebody answers. This ends no call, and decides only where the next one goes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

from msgspec import Struct

from impl.connection import Connection, Lost, NoAnswer, NoConnection, open_connection
from impl.outcomes import Unreachable
from impl.transport import Address, parse_address
from impl.wire import CallStatus, Status
from spec.ring import Member, Ring, build_ring, owners_of
from spec.types import ClientId, Config, Key, NodeId

PASS_OVER_SECONDS = 1.0
"""How long a node that turned a connection away is passed over, and until one that did not answer is tried again."""

MOST_LATE_SECONDS = 5.0
"""How long at most a node is passed over that let a call wait in vain."""

PROMPT_SECONDS = 1.0
"""How long a call waits for a connection to one node before it looks whether another can be reached sooner."""

REFRESH_SECONDS = 0.25
"""What is known of the ring is refreshed no oftener than this."""

STATUS_SECONDS = 5.0
"""How long a client waits for a node to tell of the ring."""


class Map(Struct, frozen=True):
    """What a client knows of the cluster."""

    config: Config
    members: tuple[Member, ...]
    addresses: dict[NodeId, Address]
    ring: Ring

    def owners(self, key: Key) -> list[Address]:
        """Where the owners of a key listen, the natural coordinator first."""
        names = owners_of(self.ring, key, self.config.n)
        return [self.addresses[name] for name in names if name in self.addresses]


def drawn(status: Status, reached: Address, before: Map | None) -> Map:
    """The map that a node's status gives; `reached` is where it answered. Raises ConfigError if it makes no sense."""
    addresses = {peer.name: parse_address(peer.address) for peer in status.peers}
    addresses[status.node] = reached
    if before is not None and (before.config, before.members) == (status.config, status.members):
        return Map(before.config, before.members, addresses, before.ring)
    return Map(status.config, status.members, addresses, build_ring(status.members, status.config))


class Routes:
    """The connections of one client."""

    def __init__(self, client: ClientId, nodes: Sequence[Address], *, by_ring: bool) -> None:
        """Nodes in the order in which they are tried."""
        self.map: Map | None = None
        self._client, self._nodes, self._by_ring = client, tuple(nodes), by_ring
        self._connections: dict[Address, Connection] = {}
        self._opening: dict[Address, asyncio.Task[Connection]] = {}
        self._down_until: dict[Address, float] = {}
        self._late_until: dict[Address, float] = {}
        self._silent: set[Address] = set()
        """Who did not answer when it was last tried to connect; tried again until it does."""
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed = -REFRESH_SECONDS
        self.closed = False

    async def open(self) -> None:
        """Reach a node, and draw the map if routing needs one. Raises Unreachable."""
        await (self.refresh() if self._by_ring else self.to_any())

    async def to_key(self, key: Key, tried: Collection[Address] = ()) -> Connection:
        """A connection to the best node to ask about a key; to one of `tried` only if there is no other.

        Raises Unreachable.
        """
        if self._by_ring and self.map is None:
            await self.refresh()
        owners = self.map.owners(key) if self._by_ring and self.map is not None else []
        return await self._first(owners, tried)

    async def to_any(self) -> Connection:
        """A connection to a node. Raises Unreachable."""
        return await self._first([], ())

    async def to(self, address: Address, node: NodeId, incarnation: str | None = None) -> Connection:
        """A connection to this very node, again; if so asked, with the disk it had. Raises Unreachable."""
        connection = self._connections.get(address)
        if connection is None or not connection.open:
            try:
                connection = await self._open(address, None)
            except NoConnection as error:
                raise Unreachable(str(error)) from None
        if connection.node != node:
            raise Unreachable(f"at {address} there is now node {connection.node}, not {node}")
        if incarnation not in (None, connection.incarnation):
            raise Unreachable(f"node {node} has lost its disk since")
        return connection

    def was_late(self, connection: Connection, seconds: float) -> None:
        """A call waited for so long for this node, in vain."""
        self._late_until[connection.address] = time.monotonic() + min(seconds, MOST_LATE_SECONDS)

    def doubt(self) -> None:
        """Something speaks against the map: draw it again, soon, in the background."""
        if not self._by_ring or self.closed or (self._refreshing is not None and not self._refreshing.done()):
            return
        self._refreshing = asyncio.create_task(self._refresh_later())

    async def refresh(self) -> None:
        """Draw the map of the cluster, from what the first node that can be reached says. Raises Unreachable."""
        connection = await self.to_any()
        try:
            async with asyncio.timeout(STATUS_SECONDS), connection.turn():
                status = await connection.ask(CallStatus(connection.aside()))
        except Lost:
            raise Unreachable(f"node at {connection.address} did not say who the members are") from None
        except TimeoutError:
            self.was_late(connection, STATUS_SECONDS)
            raise Unreachable(f"node at {connection.address} did not say who the members are") from None
        if not isinstance(status, Status):
            raise Unreachable(f"node at {connection.address} did not say who the members are")
        self.map = drawn(status, connection.address, self.map)
        self._refreshed = time.monotonic()

    def close(self) -> None:
        """End all conversations."""
        self.closed = True
        for task in (self._refreshing, *self._opening.values()):
            if task is not None:
                task.cancel()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    async def _refresh_later(self) -> None:
        await asyncio.sleep(max(0.0, self._refreshed + REFRESH_SECONDS - time.monotonic()))
        with suppress(Unreachable):
            await self.refresh()

    async def _first(self, preferred: list[Address], tried: Collection[Address]) -> Connection:
        """The first node that can be reached: preferred ones first, then those with an open connection."""
        for address in (preferred or self._nodes)[:1]:  # nearly always it is this one
            connection = self._connections.get(address)
            if connection is not None and connection.open and address not in tried and not self._costs_time(address):
                return connection
        known = list(self.map.addresses.values()) if self._by_ring and self.map is not None else []
        now, everybody = time.monotonic(), list(dict.fromkeys([*preferred, *self._nodes, *known]))

        def rank(address: Address) -> tuple[bool, bool, bool, bool, bool]:
            connection = self._connections.get(address)
            is_open = connection is not None and connection.open
            down = not is_open and self._down_until.get(address, 0.0) > now
            other = address not in preferred
            return self._costs_time(address), address in tried, down, other, not is_open and other

        waiting, problems = sorted(everybody, key=rank), dict[Address, str]()
        for seconds in (PROMPT_SECONDS, None):
            asked, waiting = waiting, []
            for address in asked:
                connection = self._connections.get(address)
                if connection is not None and connection.open:
                    return connection
                try:
                    return await self._open(address, seconds)
                except NoConnection as error:
                    problems[address] = str(error)
                    if address in self._opening:  # it may answer yet
                        waiting.append(address)
        raise Unreachable("; ".join(problems.values()))

    def _costs_time(self, address: Address) -> bool:
        """Whether a call would probably wait for this node in vain: it is silent, or was late."""
        connection = self._connections.get(address)
        return (
            address in self._silent
            or (connection is not None and connection.suspected)
            or (address in self._late_until and self._late_until[address] > time.monotonic())
        )

    async def _open(self, address: Address, seconds: float | None) -> Connection:
        """A new connection, if it is there in time; those who want the same one wait together. Raises NoConnection."""
        if self.closed:
            raise NoConnection("the client is closed")
        task = self._begin(address)
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            self._silent.add(address)
            raise NoAnswer(f"node at {address} has not answered yet")
        if task.cancelled():
            raise NoConnection("the client is closed")
        return task.result()

    def _begin(self, address: Address) -> asyncio.Task[Connection]:
        """Have a connection opened, in the background."""
        task = self._opening.get(address)
        if task is None:
            if address in self._connections:  # and it is no longer open
                self.doubt()
            task = self._opening[address] = asyncio.create_task(open_connection(address, self._client))
            task.add_done_callback(lambda done: self._opened(address, done))
        return task

    def _try_again(self, address: Address) -> None:
        if not self.closed and address in self._silent:
            self._begin(address)

    def _opened(self, address: Address, task: asyncio.Task[Connection]) -> None:
        del self._opening[address]
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, NoAnswer):
            self._silent.add(address)
            asyncio.get_running_loop().call_later(PASS_OVER_SECONDS, self._try_again, address)
        else:
            self._silent.discard(address)
        if error is not None:
            self._down_until[address] = time.monotonic() + PASS_OVER_SECONDS
            self.doubt()
            return
        self._down_until.pop(address, None)
        connection = self._connections[address] = task.result()
        connection.on_silent = lambda: self._fell_silent(address)
        if self.closed:
            connection.close()
        names = {} if self.map is None else {where: name for name, where in self.map.addresses.items()}
        if names.get(address, connection.node) != connection.node:
            self.doubt()

    def _fell_silent(self, address: Address) -> None:
        """A connection was given up."""
        self._silent.add(address)
        self._try_again(address)
