"""Quorums: how many distinct owners have to agree, by the store's configuration or as one request wishes.

W durable acknowledgements make a put a success, R answers a get. Under a sloppy quorum others count for an owner that
is suspected to be down. PW and PR, of a put and of a get, count *primaries* only: owners who hold it, or answer,
themselves. Only what was acknowledged or answered counts, never who is believed to be up. (Riak, "Replication
Properties" in its documentation, has the same names, the same words `one`, `quorum` and `all`, and `notfound_ok` and
`basic_quorum`; where it tells "not found" although somebody answered with a value, this store does not.)

R + W > N makes every read quorum meet every write quorum in an owner, which is why a get sees what a put was promised;
with R + W <= N it need not. Both facts are proved by `ringspec prove`. Where others may stand in for owners it is
PR + PW > N that has to hold.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

from spec.maps import FSet
from spec.types import Config, NodeId

Size: TypeAlias = Literal["one", "quorum", "all"] | Annotated[int, Meta(ge=0)]
"""So many of the N owners; a quorum is more than half of them."""


# What a request may wish.


class PutWishes(Struct, frozen=True, order=True, cache_hash=True, omit_defaults=True):
    """Of whom a put waits to hear; None is as the store is configured."""

    w: Size | None = None
    """Durable acknowledgements, of nodes for distinct owners."""
    pw: Size | None = None
    """How many of these have to be of primaries."""


class GetWishes(Struct, frozen=True, order=True, cache_hash=True, omit_defaults=True):
    """Of whom a get waits to hear; None is as the store is configured."""

    r: Size | None = None
    """Answers."""
    pr: Size | None = None
    """How many of these have to be of primaries."""
    notfound_ok: bool | None = None
    """Whether who holds nothing has answered. If not, R nodes have to hold something, or all N nothing."""
    basic_quorum: bool | None = None
    """Whether, if not, more than half of the owners holding nothing, and nobody yet anything, say enough."""


AS_CONFIGURED_PUT = PutWishes()
AS_CONFIGURED_GET = GetWishes()


# What it then needs.


class WriteQuorum(Struct, frozen=True, order=True, cache_hash=True):
    """What makes a put a success."""

    w: Annotated[int, Meta(ge=1)]
    pw: Annotated[int, Meta(ge=0)]


class ReadQuorum(Struct, frozen=True, order=True, cache_hash=True):
    """What makes a get a success."""

    r: Annotated[int, Meta(ge=1)]
    pr: Annotated[int, Meta(ge=0)]
    notfound_ok: bool
    basic_quorum: bool


def majority(n: int) -> int:
    """More than half of so many."""
    return n // 2 + 1


def size_of(wished: Size | None, configured: int, n: int) -> int:
    """How many a wish means, of n owners."""
    match wished:
        case None:
            return configured
        case "one":
            return 1
        case "quorum":
            return majority(n)
        case "all":
            return n
        case _:
            return wished


@lru_cache(maxsize=1024)  # nearly all wish the same: nothing
def wish_problem(wishes: PutWishes | GetWishes, config: Config) -> str:
    """Why nothing can be as wished; empty if it can."""
    if isinstance(wishes, PutWishes):
        wished = (("w", wishes.w, 1), ("pw", wishes.pw, 0))
    else:
        wished = (("r", wishes.r, 1), ("pr", wishes.pr, 0))
    for name, size, least in wished:
        number = size_of(size, least, config.n)
        if not least <= number <= config.n:
            return f"{name} must be between {least} and n = {config.n}, not {number}"
    return ""


@lru_cache(maxsize=1024)
def write_quorum(wishes: PutWishes, config: Config) -> WriteQuorum:
    """What a put with these wishes needs; they are possible."""
    return WriteQuorum(size_of(wishes.w, config.w, config.n), size_of(wishes.pw, config.pw, config.n))


@lru_cache(maxsize=1024)
def read_quorum(wishes: GetWishes, config: Config) -> ReadQuorum:
    """What a get with these wishes needs; they are possible."""
    return ReadQuorum(
        size_of(wishes.r, config.r, config.n),
        size_of(wishes.pr, config.pr, config.n),
        config.notfound_ok if wishes.notfound_ok is None else wishes.notfound_ok,
        config.basic_quorum if wishes.basic_quorum is None else wishes.basic_quorum,
    )


# Whether it is met.


def is_quorum(nodes: FSet[NodeId], size: int) -> bool:
    """Whether these are enough."""
    return len(nodes) >= size


def is_written(owners: FSet[NodeId], primaries: FSet[NodeId], quorum: WriteQuorum) -> bool:
    """Whether a put may be acknowledged that is held durably for these owners, and by these owners themselves."""
    return is_quorum(owners, quorum.w) and is_quorum(primaries, quorum.pw)


def is_read(answered: FSet[NodeId], primaries: FSet[NodeId], quorum: ReadQuorum) -> bool:
    """Whether a get may be answered with what these nodes told, of whom these are owners."""
    return is_quorum(answered, quorum.r) and is_quorum(primaries, quorum.pr)


def sizes(config: Config) -> str:
    """Those of a store in a few words, for people."""
    names = ("n", "r", "w", *(name for name in ("pr", "pw") if getattr(config, name)))
    return " ".join(f"{name}={getattr(config, name)}" for name in names)


def so_far(owners: FSet[NodeId], size: int, primaries: FSet[NodeId], of_primaries: int, did: str) -> str:
    """How many of those that are wanted have done something."""
    what = f"{len(owners)} of {size} owners"
    return f"{what} and {len(primaries)} of {of_primaries} primaries {did}" if of_primaries else f"{what} {did}"


def of_primaries(put: WriteQuorum, config: Config) -> WriteQuorum:
    """What a put needs, of primaries too: where nobody stands in for owners all who acknowledge are primaries."""
    return put if config.sloppy else replace(put, pw=max(put.pw, put.w))


def from_primaries(get: ReadQuorum, config: Config, *, denied: bool = False) -> ReadQuorum:
    """What a get needs, of primaries too; with `denied`, if it tells that nothing is there."""
    if config.sloppy:
        return get
    nothing = get.r if get.notfound_ok else majority(config.n) if get.basic_quorum else config.n
    return replace(get, pr=max(get.pr, nothing if denied else min(get.r, nothing)))


def must_meet(put: WriteQuorum, get: ReadQuorum, config: Config, *, denied: bool = False) -> bool:
    """Whether a get that begins after a put was acknowledged has to see it: an owner who holds it must have answered.

    With `denied`, if it tells that nothing is there.
    """
    return of_primaries(put, config).pw + from_primaries(get, config, denied=denied).pr > config.n
