"""What is recorded of a real run, so that it can be re-executed against this specification.

Each node keeps a step log: a `NodeLog` header, the `Held` rows of a snapshot, then one `Step` per executed step,
committed in the step's own transaction. A log that has grown too long makes way for a new one, which begins in the
midst of a run. Each client keeps a log of what it asked and was told. A log that was closed ends with `End`.

A message is named by its `Stamp`: the step that sent it and its place among that step's effects. A received message
carries the stamp it was sent with, so that happened-before can be recovered and nothing can be received that was not
sent. Lines are chained: each carries a digest over all lines up to it, so that no line can be altered, lost, repeated
or moved unnoticed even where re-execution could not tell.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from spec.events import Effect, Event, StorageWrite
from spec.messages import Operation, Result
from spec.ring import Member
from spec.rows import Disk, Row
from spec.state import Node, Request
from spec.types import ClientId, Config, Key, NodeId, RequestId

Counter: TypeAlias = Annotated[int, Meta(ge=1)]

FORMAT = 6
"""The version of this format."""


class Stamp(Struct, frozen=True, order=True, cache_hash=True, array_like=True, gc=False):
    """Names one sent message."""

    node: NodeId
    epoch: Counter
    seq: Counter
    index: Annotated[int, Meta(ge=0)]
    """Its place among the effects of the step, from 0."""


class Running(Struct, frozen=True):
    """What a node had in memory when recording began in the midst of a run."""

    epoch: Counter
    seq: Counter
    """Its last step that was not recorded."""
    node: Node
    """Without its ring, which is that of the members."""
    requests: tuple[Request, ...]
    """Those in flight, by increasing id."""


class NodeLog(Struct, frozen=True, tag=True):
    """The head of a node's log: who it is and what it held when recording began."""

    format: int
    node: NodeId
    config: Config
    members: tuple[Member, ...]
    disk: Disk | None
    rows: Annotated[int, Meta(ge=0)]
    """How many rows it held; so many lines of `Held` come next, by increasing key."""
    running: Running | None = None
    """None where recording began with a start of the node."""


class Held(Struct, frozen=True, tag=True):
    """A row that a node held when recording began."""

    key: Key
    row: Row


class Step(Struct, frozen=True, tag=True):
    """One executed step."""

    node: NodeId
    epoch: Counter
    """Which run of the node: 1, then one more at each start."""
    seq: Counter
    """1, 2, … within the epoch, without a gap."""
    event: Event
    stamp: Stamp | None
    """For a delivered message, the name it was sent under."""
    writes: tuple[StorageWrite, ...]
    effects: tuple[Effect, ...]


class ClientLog(Struct, frozen=True, tag=True):
    """The head of a client's log."""

    format: int
    client: ClientId


class Invoked(Struct, frozen=True, tag=True):
    """The client is about to ask."""

    request: RequestId
    node: NodeId
    """Whom it asks."""
    operation: Operation
    at_ns: int
    """Monotonic time of the machine, nanoseconds; comparable between clients on one machine only."""


class Returned(Struct, frozen=True, tag=True):
    """The client was told."""

    request: RequestId
    result: Result
    at_ns: int


class End(Struct, frozen=True, tag=True):
    """The log was closed here."""

    lines: Annotated[int, Meta(ge=1)]
    """How many lines come before this one."""


Entry: TypeAlias = NodeLog | Held | Step | ClientLog | Invoked | Returned | End


class Line(Struct, frozen=True):
    """One line of a log file (NDJSON)."""

    entry: Entry
    chain: str
    """Digest over this entry and the chain of the line before; see `link`."""


def link(chain: str, entry: Entry) -> str:
    """The chain of a line, given the chain of the line before it (empty for the first)."""
    return link_encoded(chain, msgspec.json.encode(entry))


def link_encoded(chain: str, entry: bytes) -> str:
    """`link` for an entry that is already encoded as JSON, which is the larger part of its cost."""
    return blake2b(chain.encode() + entry, digest_size=16).hexdigest()
