"""Names, sizes and the configuration that every node of a store shares.

A `Config` is checked when it is built or decoded, so that nothing downstream has to ask whether it makes sense. Every
limit that a user can meet is here, with its default; what exceeds one is refused with a typed error before anything
changed.
"""

from __future__ import annotations

from typing import Annotated, NewType

from msgspec import Meta, Struct

NodeId = NewType("NodeId", str)
"""The name of a node, unique in its cluster, stable across restarts."""

Key = NewType("Key", bytes)
Value = NewType("Value", bytes)

ClientId = NewType("ClientId", str)
"""The name of one client session; never reused."""

Milliseconds = Annotated[int, Meta(ge=1)]
"""How long something may take; never a point in time, for no two clocks are ever compared."""

MEBIBYTE = 1024 * 1024


class ConfigError(ValueError):
    """A configuration that cannot work; one line that says what is wrong and what would be right."""


LEAST_HELLO_BYTES = 1024
"""No hello is larger, whatever the names in it."""

LARGEST = 2**31 - 1
"""The largest that a limit, or a number of milliseconds, may be."""


def require(condition: bool, problem: str) -> None:
    """Refuse a configuration unless the condition holds."""
    if not condition:
        raise ConfigError(problem)


def require_positive(what: str, number: int) -> None:
    """Refuse a number that is not from 1 to `LARGEST` (ConfigError)."""
    require(number >= 1, f"{what} must be at least 1, not {number}")
    require(number <= LARGEST, f"{what} must be at most {LARGEST}, not {number}")


class RequestId(Struct, frozen=True, order=True, cache_hash=True, array_like=True, gc=False):
    """The name of one operation of one client. A retried put keeps its id; a retried get takes a new one."""

    client: ClientId
    operation: int
    """Counts the client's operations from 1."""

    def __str__(self) -> str:
        return f"{self.client}#{self.operation}"


NO_REQUEST = RequestId(ClientId(""), 0)
"""Nobody's request."""


class Limits(Struct, frozen=True, kw_only=True, cache_hash=True, forbid_unknown_fields=True):
    """How much of anything there may be."""

    key_bytes: int = 4096
    value_bytes: int = MEBIBYTE
    siblings: int = 16
    """Versions of one key at which a coordinator refuses a further concurrent put. Merging never refuses."""
    requests_in_flight: int = 4096
    """Requests that one node coordinates or forwards at a time, and has not answered."""
    lingering_requests: int = 4096
    """Requests that a node has answered, and that wait for nodes which have not; beyond it nobody is waited for."""
    remembered_requests: int = 32
    """Request ids that a row remembers, so that a put retried at the same coordinator mints no second dot."""
    frame_bytes: int = 64 * MEBIBYTE
    """What is sent in one piece, and what may wait for one peer besides the oldest message; holds the siblings that N
    coordinators let be."""
    message_bytes: int = 256 * MEBIBYTE
    """One message in all its pieces. Merging never refuses, so sets outgrow a frame; one that outgrows this is told to
    nobody, which is said and counted."""
    queued_messages: int = 10_000
    """Messages waiting for one peer; beyond it the oldest are lost, as a network loses them."""
    connections: int = 1024
    """Clients that a node serves at a time, and as many connections of nodes, and of those not introduced yet."""
    hello_bytes: int = 64 * 1024
    """The first frame of a connection."""
    context_bytes: int = MEBIBYTE
    """The context of a put, as the token that a client has of it."""
    calls_at_once: int = 256
    """Calls of one connection that wait for their replies; at so many no more are read from it."""
    call_bytes_at_once: int = 16 * MEBIBYTE
    """What these calls may be together; once they are so much no more is read, so one is always let in."""
    batch_steps: int = 256
    """Steps that share one commit."""
    batch_bytes: int = 16 * MEBIBYTE
    """What the steps that share a commit may read and write before the next has to wait: large sets are not held many
    at a time."""
    cache_bytes: int = 64 * MEBIBYTE
    """What a node's cache of rows may take, roughly; a larger row is read from the disk at every look."""
    recorded_bytes: int = 1024 * MEBIBYTE
    """What a recording may take besides its snapshot; beyond it, it makes way for a new one."""
    hints: int = 1_000_000
    """Hints that a node keeps: for each key the owners to whom it owes it. Beyond it a node stands in for nobody new,
    and who is late is owed nothing."""
    handoff_rows: int = 256
    """Rows that are handed over to an owner at a time."""
    fetched_rows: int = 256
    """Rows that are looked through at a time for a node that fetches what it lost."""

    def __post_init__(self) -> None:
        """Refuse limits that cannot work (ConfigError)."""
        for name in self.__struct_fields__:
            require_positive(f"limit {name}", getattr(self, name))
        require(
            self.message_bytes >= self.frame_bytes,
            f"limit message_bytes must be at least frame_bytes = {self.frame_bytes}, not {self.message_bytes}",
        )
        require(
            self.hello_bytes >= LEAST_HELLO_BYTES,
            f"limit hello_bytes must be at least {LEAST_HELLO_BYTES}, to hold a hello, not {self.hello_bytes}",
        )


class Config(Struct, frozen=True, kw_only=True, cache_hash=True, forbid_unknown_fields=True):
    """What all nodes of a store agree on."""

    n: int = 3
    """Replicas of each key."""
    r: int = 2
    """Answers that a get waits for."""
    w: int = 2
    """Durable acknowledgements that a put waits for."""
    pr: int = 0
    """Of the answers, how many have to be of primaries: of owners, not of nodes that stand in for them."""
    pw: int = 0
    """Of the acknowledgements, how many have to be of primaries."""
    notfound_ok: bool = True
    """Whether an answer that nothing is there counts for R; see `spec.quorum`."""
    basic_quorum: bool = False
    """Whether, if not, so many of them say that nothing is there as are more than half of N."""
    blocking_repair: bool = False
    """Whether a get is answered only once W owners hold what it answers; else whoever is stale is repaired after it."""
    sloppy: bool = True
    """Whether other nodes stand in for owners that are suspected to be down."""
    partitions: int = 256
    """Q: equal arcs of the ring; a key belongs to one, a partition to its preference list."""
    tokens: int = 64
    """Positions on the ring of a node of weight 1."""
    put_timeout_ms: int = 5_000
    get_timeout_ms: int = 5_000
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        """Refuse a configuration that cannot work (ConfigError)."""
        require(self.n >= 1, f"n must be at least 1, not {self.n}")
        require(1 <= self.r <= self.n, f"r must be between 1 and n = {self.n}, not {self.r}")
        require(1 <= self.w <= self.n, f"w must be between 1 and n = {self.n}, not {self.w}")
        require(0 <= self.pr <= self.n, f"pr must be between 0 and n = {self.n}, not {self.pr}")
        require(0 <= self.pw <= self.n, f"pw must be between 0 and n = {self.n}, not {self.pw}")
        require(1 <= self.partitions <= 2**16, f"partitions must be between 1 and 65536, not {self.partitions}")
        require(1 <= self.tokens <= 2**16, f"tokens must be between 1 and 65536, not {self.tokens}")
        require_positive("put_timeout_ms", self.put_timeout_ms)
        require_positive("get_timeout_ms", self.get_timeout_ms)
        largest_set = self.n * self.limits.siblings * (self.limits.value_bytes + self.limits.key_bytes)
        require(
            self.limits.frame_bytes >= largest_set,
            f"limit frame_bytes must hold a whole sibling set: at least n x siblings x (value_bytes + key_bytes) = "
            f"{largest_set}, not {self.limits.frame_bytes}",
        )
