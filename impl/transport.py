"""Where nodes listen, how they are reached, and how long anybody waits for a sign of the other side.

What travels on a connection is in `impl.wire`, how it is cut into frames in `impl.frames`, and how a node keeps in
touch with another in `impl.link`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import NamedTuple

from impl.errors import UserError, one_line, usage
from impl.frames import Frames

HELLO_SECONDS = 5.0
"""How long either side may take to introduce itself."""

HEARTBEAT_SECONDS, SILENCE_SECONDS = 1.0, 5.0
"""How often each side shows that it is alive, and after how long without a sign a node is taken to be gone."""

BACKLOG = 128
"""Connections that wait to be accepted."""


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT` or `[HOST]:PORT`. Raises UserError for anything else."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and host.isprintable() and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise usage(f"{text!r} is not an address; give HOST:PORT, such as 127.0.0.1:7401")
    try:
        host.encode("idna")  # as whoever looks the name up will
    except UnicodeError:
        raise usage(f"{text!r} is not an address: no host has such a name") from None
    return Address(host, int(port))


async def listen(address: Address, factory: Callable[[], Frames]) -> asyncio.Server:
    """Take an address; whoever connects waits until the server starts to serve. Raises UserError if it is not free."""
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        taken = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else reason_of(error)
        raise UserError(f"cannot listen on {address}: {reason}") from None
    return await asyncio.get_running_loop().create_server(factory, sock=taken, start_serving=False)


def reason_of(error: Exception) -> str:
    """Why a connection could not be made, in the words of the system."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()  # the loops word `strerror` each in its own way
    return one_line(error)
