"""What a node is told when it is started: by a TOML file, by options, or by both; options win.

Everything is put into one table first and then read as a whole, so that a file and a command line are checked by the
same rules, unknown names are refused, and a setting that cannot work is refused before anything is touched.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from impl.detector import Patience
from impl.errors import one_line, usage
from impl.metrics import require_loopback
from impl.nodelog import LogFormat
from impl.runtime import check_members
from impl.transport import Address, parse_address
from spec.ring import Member
from spec.types import Config, NodeId

Table = dict[str, Any]  # as TOML has it: anything, until it has been converted

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
SECRET_BYTES = 64
DRAIN_SECONDS = 5.0


class PeerTable(Struct, frozen=True, forbid_unknown_fields=True):
    """Another node."""

    name: str
    address: str
    zone: str = ""
    weight: int = 1


class NodeTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node's settings as written."""

    name: str
    listen: str
    data: str
    secret_file: str
    zone: str = ""
    weight: int = 1
    record: bool = False
    faults: bool = False
    """Whether faults of the node's links may be asked for over its port."""
    metrics: str = ""
    """Where Prometheus metrics are served: a loopback address, or nowhere."""
    log: LogFormat = "text"
    drain_seconds: Annotated[float, Meta(ge=0)] = DRAIN_SECONDS
    """How long a node that is told to stop goes on with what it has begun."""
    detector: Patience = Patience()
    store: Config = Config()
    peer: tuple[PeerTable, ...] = ()


class Settings(Struct, frozen=True):
    """A node's settings, checked."""

    name: NodeId
    listen: Address
    data: Path
    secret: bytes
    config: Config
    members: tuple[Member, ...]
    """All nodes, this one included."""
    peers: dict[NodeId, Address]
    """Where the others listen."""
    record: bool
    faults: bool
    metrics: Address | None = None
    log: LogFormat = "text"
    drain_seconds: float = DRAIN_SECONDS
    detector: Patience = Patience()
    """How easily the node suspects others."""


def read_toml(path: Path) -> Table:
    """The table in a TOML file; the paths in it are relative to its directory. Raises UserError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise usage(f"configuration {path} cannot be read: {one_line(error)}") from None
    except RecursionError:
        raise usage(f"configuration {path} cannot be read: it is nested too deeply") from None
    for name in ("data", "secret_file"):
        if isinstance(table.get(name), str):
            table[name] = str(path.parent / table[name])
    return table


def parse_peer(text: str) -> Table:
    """`NAME=HOST:PORT[,zone=Z][,weight=K]` as a table. Raises UserError."""
    name, equals, rest = text.partition("=")
    address, *more = rest.split(",")
    table: Table = {"name": name, "address": address}
    for item in more:
        option, _, value = item.partition("=")
        if option == "zone":
            table["zone"] = value
        elif option == "weight" and value.isascii() and value.isdigit():
            table["weight"] = int(value)
        else:
            raise usage(f"{item!r} in peer {text!r} is not understood; give zone=NAME or weight=NUMBER")
    if not equals:
        raise usage(f"{text!r} is not a peer; give NAME=HOST:PORT[,zone=NAME][,weight=NUMBER]")
    return table


def read_settings(table: Table, source: str = "") -> Settings:
    """Check the settings of a node. Raises UserError; touches nothing but the file of the secret.

    `source` names the file that the table came from, if it came from one.
    """
    for name, option in (
        ("name", "--name"),
        ("listen", "--listen"),
        ("data", "--data"),
        ("secret_file", "--secret-file"),
    ):
        if not table.get(name):
            raise usage(f"a node needs {option}" + (f"; {SECRET_HELP}" if name == "secret_file" else ""))
    try:
        written = msgspec.convert(table, NodeTable)
        members = (
            Member(NodeId(written.name), written.zone, written.weight),
            *(Member(NodeId(peer.name), peer.zone, peer.weight) for peer in written.peer),
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise usage(f"{source}: {complaint(error)}" if source else complaint(error)) from None
    for member in members:
        if not NAME.fullmatch(member.name):
            raise usage(f"{member.name!r} is not a name for a node; give up to 63 letters, digits, dots, - and _")
    check_members(members, written.store)
    for path in (written.data, written.secret_file):
        if "\0" in path:
            raise usage(f"{path!r} is not the name of a file")
    listen = parse_address(written.listen)
    peers = {NodeId(peer.name): parse_address(peer.address) for peer in written.peer}
    where = [listen, *peers.values()]
    if len(set(where)) < len(where):
        twice = next(address for address in where if where.count(address) > 1)
        raise usage(f"every node needs an address of its own; given more than once: {twice}")
    return Settings(
        NodeId(written.name),
        listen,
        Path(written.data),
        read_secret(Path(written.secret_file)),
        written.store,
        tuple(sorted(members)),
        peers,
        written.record,
        written.faults,
        require_loopback(parse_address(written.metrics)) if written.metrics else None,
        written.log,
        written.drain_seconds,
        written.detector,
    )


SECRET_HELP = "all nodes share one: head -c 32 /dev/urandom > FILE"


def read_secret(path: Path) -> bytes:
    """The cluster's secret: 16 to 64 bytes, as they are. Raises UserError."""
    try:
        with path.open("rb") as file:
            secret = file.read(SECRET_BYTES + 1)
    except OSError as error:
        raise usage(f"secret {path} cannot be read ({error.strerror}); {SECRET_HELP}") from None
    if not 16 <= len(secret) <= SECRET_BYTES:
        raise usage(f"secret {path} must be 16 to {SECRET_BYTES} bytes; {SECRET_HELP}")
    return secret


def complaint(error: Exception) -> str:
    """What conversion has against a table, with the place if it is in a table of its own."""
    problem, at, place = one_line(error).partition(" - at `$.")
    return f"{problem} (in {place.rstrip('`')})" if at and "must be" not in problem else problem
