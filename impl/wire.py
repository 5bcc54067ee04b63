"""What travels on a connection: frames, and what is in them.

A frame is a length, four bytes big-endian, and that many bytes of msgpack: one Struct of this module. What is larger
than the other side takes in a frame is cut, and travels in several: the highest bit of a length says that more of the
same Struct follows. Only nodes cut what they say, to each other and to clients, and not before both have introduced
themselves.

The first frame of a connection is a hello, from whoever opened it: another node of the cluster, or a client. The node
answers `Welcome`, or `Turned` and closes. After that a peer's connection carries `Parcel`s, of messages that left
together, one way, for each node opens its own, and back only the answers to heartbeats; a client's carries calls, and
their answers in any order. From its first heartbeat on a client is sent heartbeats too, of their own accord: answers
would have to wait for as long as the node does not read, because the client has asked too much already.

Clients never handle clocks: what `spec.messages.Found` and `Put` call a context is a token here (`spec.token`).
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from impl.detector import Opinion
from impl.meters import Counts
from spec.clock import Dot
from spec.messages import Condition, Failed, Indefinite, Message, Overloaded, Refused, Stored, Unmet
from spec.quorum import AS_CONFIGURED_GET, AS_CONFIGURED_PUT, GetWishes, PutWishes
from spec.ring import Member
from spec.siblings import Siblings
from spec.trace import Counter
from spec.types import LARGEST, ClientId, Config, Key, Limits, Milliseconds, NodeId, Value

PROTOCOL = 8
"""The version of everything in this module; nodes and clients of different versions do not talk."""

LENGTH_BYTES = 4
MORE = 2**31
"""Added to the length of a frame that the next one continues."""
ROOM_FOR_FIELDS_BYTES = 64 * 1024
"""What a call or a reply needs besides key, values and context: its other fields, or the status of a cluster."""

PARCEL_MESSAGES, PARCEL_BYTES = 1024, 1024 * 1024
"""How many messages leave together at most, and how large that is at most unless it is one. No limits that a user could
meet: nodes group what they send, and no message is too many. That a decoder refuses more at once is part of the
protocol, for a parcel of tiny messages would take far more room than its bytes."""

T = TypeVar("T")


class WireError(Exception):
    """What arrived is not what this connection may carry; one line, for whoever sent it."""


# Hello.


class PeerHello(Struct, frozen=True, tag=True):
    """A node wants to send messages to a node."""

    protocol: int
    source: NodeId
    target: NodeId
    digest: bytes
    """What all nodes of a cluster agree on; see `cluster_digest`."""


class ClientHello(Struct, frozen=True, tag=True):
    """A client wants to be served."""

    protocol: int
    client: Annotated[ClientId, Meta(min_length=1, max_length=64)]


Hello: TypeAlias = PeerHello | ClientHello


class Welcome(Struct, frozen=True, tag=True):
    """The node will talk."""

    protocol: int
    node: NodeId
    incarnation: str
    """The id of its disk: another one tells that the node has lost what it held, and what it knew of requests."""
    call_bytes: int
    """The largest call that it takes."""
    frame_bytes: int
    """The largest reply that it gives in one piece."""
    message_bytes: int
    """The largest that it gives."""
    calls_at_once: Annotated[int, Meta(ge=1)]
    """How many calls it reads before it has answered one."""


class Turned(Struct, frozen=True, tag=True):
    """The node will not, or no longer, talk; the connection is closed."""

    reason: str


class Alive(Struct, frozen=True, tag=True):
    """A sign of life: the answer to a node's heartbeat, which is a frame without messages; and what clients and the
    nodes that serve them say to each other."""


# Between nodes.


class Envelope(Struct, frozen=True, gc=False, array_like=True):
    """A message on its way to a node, and what named it there: the step, and its place among what that decided."""

    seq: Counter
    index: Annotated[int, Meta(ge=0)]
    message: Message


class Parcel(Struct, frozen=True, gc=False, array_like=True):
    """Messages that left together. One without any is a heartbeat."""

    epoch: Counter
    """Which run of its node decided them: with that every message has its stamp (`spec.trace`)."""
    envelopes: Annotated[list[Envelope], Meta(max_length=PARCEL_MESSAGES)] = []


# Clients' calls. A call is answered by what carries its number. Puts and gets are numbered as their client's
# operations, from 1; the other calls from -1 down, for they are no operations of the store.


class CallPut(Struct, frozen=True, tag=True, omit_defaults=True, gc=False):
    """Write a value."""

    call: Annotated[int, Meta(ge=1)]
    key: Key
    value: Value
    context: str | None
    """The token of an earlier get of this key; None for a blind put."""
    again: bool = False
    """Whether this call was made before, and the client does not know what came of it."""
    show: bool = False
    """Whether to show what there is afterwards."""
    within_ms: Milliseconds | None = None
    """How long the client waits for the reply; None: as long as nodes do."""
    wishes: PutWishes = AS_CONFIGURED_PUT
    condition: Condition | None = None


class CallGet(Struct, frozen=True, tag=True, omit_defaults=True, gc=False):
    """Read a key."""

    call: Annotated[int, Meta(ge=1)]
    key: Key
    within_ms: Milliseconds | None = None
    """How long the client waits for the reply; None: as long as nodes do."""
    wishes: GetWishes = AS_CONFIGURED_GET


class CallStatus(Struct, frozen=True, tag=True):
    """How is the node?"""

    call: int


class CallFaults(Struct, frozen=True, tag=True):
    """From now on let the node's links be as faulty as this; only a node that was started for it obeys."""

    call: int
    cut: tuple[NodeId, ...] = ()
    """Nodes from which nothing arrives and to which nothing is sent."""
    mute: tuple[NodeId, ...] = ()
    """Nodes to which nothing is sent, although what they send arrives: a cut in one direction."""
    drop: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """The share of messages to other nodes that is lost."""
    duplicate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """The share of messages to other nodes that is sent twice."""
    delay_ms: Annotated[float, Meta(ge=0, le=60_000)] = 0.0
    """The longest that a message to another node waits; each waits some random part of it, so they overtake."""
    crash_after_commits: Annotated[int, Meta(ge=1)] | None = None
    """Die, as if killed, after this many commits from now, before anything that waits for the last is sent."""


Call: TypeAlias = CallPut | CallGet | CallStatus | CallFaults

FromClient: TypeAlias = Call | Alive
"""What a client says once it is introduced."""


class FoundHere(Struct, frozen=True, tag=True, gc=False):
    """The get succeeded: `spec.messages.Found` with a token."""

    siblings: Siblings
    context: str


class StoredHere(Struct, frozen=True, tag=True, gc=False):
    """The put succeeded, and this is what its node now knows: `spec.messages.Stored` with a token."""

    dot: Dot
    shown: FoundHere


class PeerStatus(Struct, frozen=True):
    """What a node knows of its link to another."""

    name: NodeId
    address: str
    connected: bool
    queued: int
    """Messages that wait for the link."""
    lost: int
    """Messages given up because too many waited, or because one was too large."""
    opinion: Opinion
    """What the failure detector says of it."""
    owed: int
    """Keys of which something is to be handed over to it."""
    mark: int
    """The highest mark of its disk that was seen."""


class Status(Struct, frozen=True, tag=True):
    """How the node is."""

    node: NodeId
    address: str
    epoch: int
    """How often it has been started."""
    config: Config
    members: tuple[Member, ...]
    peers: tuple[PeerStatus, ...]
    requests: int
    """Requests that it coordinates or forwards."""
    waiting: int
    """Events that wait for their step."""
    steps: int
    """Steps since it was started."""
    batches: int
    """Commits since it was started."""
    confirmed: bool
    """Whether enough others have said that its disk is not from the past."""
    lacking: tuple[NodeId, ...]
    """The nodes that still have to give it what it lost with a disk."""
    recorded: bool
    faults: bool
    stopping: bool
    """Whether it was told to stop, and only finishes what it has begun."""
    clients: int
    """Connections of clients."""
    uptime: float
    """Seconds since it was started."""
    data_bytes: int
    """The data file and its write-ahead log."""
    counts: Counts


class Untold(Struct, frozen=True, tag=True):
    """There is a result, of so many bytes, and that is more than the client takes."""

    size: int
    limit: int


class Done(Struct, frozen=True, tag=True):
    """The call was obeyed."""


class Stopping(Struct, frozen=True, tag=True):
    """The node was told to stop and begins nothing new: it has changed nothing, ask another."""


Answer: TypeAlias = Stored | StoredHere | FoundHere | Indefinite | Failed | Refused | Overloaded | Unmet
"""What may be said of a put or a get by the node that serves it."""

Told: TypeAlias = Answer | Stopping | Untold | Status | Done | Turned | Alive


class Reply(Struct, frozen=True, array_like=True, gc=False):
    """The answer to a call."""

    call: int
    """0 where no call is answered: the connection is turned down, or the node shows that it is alive."""
    told: Told


FromNode: TypeAlias = Welcome | Turned
"""What a node says to a hello, and to a peer before it closes the connection."""

encode = msgspec.msgpack.Encoder().encode

hello_decoder = msgspec.msgpack.Decoder(Hello)
answer_decoder = msgspec.msgpack.Decoder(FromNode)
link_decoder = msgspec.msgpack.Decoder(FromNode | Alive)
parcel_decoder = msgspec.msgpack.Decoder(Parcel)
call_decoder = msgspec.msgpack.Decoder(FromClient)
reply_decoder = msgspec.msgpack.Decoder(Reply)


def decode(decoder: msgspec.msgpack.Decoder[T], frame: memoryview) -> T:
    """What is in an untrusted frame. Raises WireError if it is nothing that the decoder knows."""
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"malformed frame: {' '.join(str(error).split())[:200]}") from None


def parcels(epoch: int, envelopes: list[Envelope]) -> Iterator[tuple[bytes, int]]:
    """The parcels of messages of one run that leave together, in their order, and how many are in each."""
    for at in range(0, len(envelopes), PARCEL_MESSAGES):
        part = envelopes[at : at + PARCEL_MESSAGES]
        body = encode(Parcel(epoch, part))
        if len(body) <= PARCEL_BYTES:
            yield body, len(part)
        else:
            yield from ((encode(Parcel(epoch, [envelope])), 1) for envelope in part)


def call_bytes(limits: Limits) -> int:
    """The largest call that a node takes: far less than what nodes send to each other, for clients are many."""
    return min(limits.frame_bytes, limits.key_bytes + limits.value_bytes + limits.context_bytes + ROOM_FOR_FIELDS_BYTES)


def reply_bytes(limits: Limits, most: int) -> int:
    """What a reply may be, or one piece of it, where a sibling set may be so much: that, and its context."""
    return min(LARGEST, most + limits.context_bytes + ROOM_FOR_FIELDS_BYTES)


def framed(body: bytes, most: int = LARGEST) -> bytes:
    """An encoded Struct in its frame or, if it is larger than so many bytes, in several."""
    size = len(body)
    if size <= most:
        return size.to_bytes(LENGTH_BYTES) + body
    last, parts = (size - 1) // most * most, list[bytes | memoryview]()
    for at in range(0, size, most):
        part = memoryview(body)[at : at + most]
        parts += [(len(part) + (MORE if at < last else 0)).to_bytes(LENGTH_BYTES), part]
    return b"".join(parts)


HEARTBEAT = framed(encode(Parcel(1)))
"""A frame without messages, from a link to its node, which answers `Alive`."""

CLIENT_HEARTBEAT, NODE_HEARTBEAT = framed(encode(Alive())), framed(encode(Reply(0, Alive())))
"""From a client to the node that serves it, and from that to the client."""


def cluster_digest(secret: bytes, config: Config, members: tuple[Member, ...]) -> bytes:
    """Equal on two nodes exactly when configuration, members and secret are; tells nothing of the secret."""
    agreed = msgspec.msgpack.encode((PROTOCOL, config, sorted(members)))
    return blake2b(agreed, key=secret, digest_size=16, person=b"ringspec cluster").digest()
