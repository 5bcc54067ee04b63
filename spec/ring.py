"""Where keys live: consistent hashing over Q equal partitions.

The ring is the circle of 128-bit positions. A key's position is the MD5 of the key; the circle is cut into Q equal
partitions, and a key belongs to the one its position falls into. Each node owns as many *tokens* (positions, MD5 of
its name and a number) as its weight asks for. The *walk* of a partition starts at its end and goes clockwise over the
tokens, naming each node at its first token; the first N of the walk, spread over zones where there are enough, are the
partition's *preference list*: its owners, in order. (Dynamo paper §4.2, §4.3, and "strategy 3" of §6.2.)

The ring is a pure function of the members and the configuration, so that equal membership means equal rings
everywhere. Positions are 16 bytes, compared as bytes: msgpack has no 128-bit integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import md5

from msgspec import Struct

from spec.maps import FSet
from spec.types import Config, Key, NodeId, require

POSITIONS = 2**128


class Member(Struct, frozen=True, order=True, cache_hash=True, forbid_unknown_fields=True):
    """A node of the cluster, as far as placement is concerned."""

    name: NodeId
    zone: str = ""
    """A failure domain; replicas are spread over as many as there are."""
    weight: int = 1
    """Its share of the keys, relative to the others."""

    def __post_init__(self) -> None:
        """Refuse a nameless or weightless member (ConfigError)."""
        require(bool(self.name), "a node must have a name")
        require(1 <= self.weight <= 1000, f"the weight of node {self.name} must be 1 to 1000, not {self.weight}")


class Ring(Struct, frozen=True, cache_hash=True):
    """The preference list of every partition."""

    members: tuple[Member, ...]
    """Sorted by name."""
    walks: tuple[tuple[NodeId, ...], ...]
    """For each partition all nodes, the owners first."""


NO_RING = Ring((), ())
"""Where it goes without saying which ring is meant."""


MOST_TOKENS = 2**21
"""Tokens of all nodes together; to place so many takes some seconds."""


def position_of(text: bytes) -> bytes:
    """A position on the ring: 16 bytes, big-endian."""
    return md5(text, usedforsecurity=False).digest()


@lru_cache(maxsize=64)  # a request asks several times
def partition_of(key: Key, partitions: int) -> int:
    """The partition, 0 to partitions - 1, that a key belongs to."""
    return int.from_bytes(position_of(key)) * partitions // POSITIONS


def tokens_of(member: Member, per_weight: int) -> list[tuple[bytes, NodeId]]:
    """The positions of one member."""
    return [(position_of(f"{member.name}#{i}".encode()), member.name) for i in range(member.weight * per_weight)]


def walks_of(tokens: Sequence[tuple[bytes, NodeId]], partitions: int) -> Iterator[list[NodeId]]:
    """The walk of each partition, the last one first: each node once, as its first token is met clockwise.

    The last partition ends where the circle begins. From there it is gone backwards: the walk from a token on is that
    from the next one on, with this token's node moved to its front.
    """
    walk, at = list(dict.fromkeys([node for _, node in tokens])), len(tokens)
    yield walk
    for partition in range(partitions - 1, 0, -1):
        start = (partition * POSITIONS // partitions).to_bytes(16)
        while at and tokens[at - 1][0] >= start:
            at -= 1
            node = tokens[at][1]
            walk = [node, *(other for other in walk if other != node)]
        yield walk


def spread(walk: list[NodeId], zones: dict[NodeId, str], n: int) -> tuple[NodeId, ...]:
    """The walk with its first n places taken from different zones as long as there are unused ones."""
    chosen: list[NodeId] = []
    while len(chosen) < n and len(chosen) < len(walk):
        used = {zones[node] for node in chosen}
        if len(used) == len(set(zones.values())):
            used = set()
        rest = [node for node in walk if node not in chosen]
        chosen.append(next((node for node in rest if zones[node] not in used), rest[0]))
    return (*chosen, *(node for node in walk if node not in chosen))


def build_ring(members: tuple[Member, ...], config: Config) -> Ring:
    """The ring of these members, in whatever order they are given.

    Raises ConfigError when names repeat, there are fewer members than replicas, or far too many tokens.
    """
    names = [member.name for member in members]
    repeated = sorted({name for name in names if names.count(name) > 1})
    require(not repeated, f"node names must be unique; given more than once: {', '.join(repeated)}")
    require(len(members) >= config.n, f"n = {config.n} replicas need at least {config.n} nodes, not {len(members)}")
    most = sum(member.weight for member in members) * config.tokens
    require(most <= MOST_TOKENS, f"weights x tokens must be at most {MOST_TOKENS} for all nodes together, not {most}")
    tokens = sorted(token for member in members for token in tokens_of(member, config.tokens))
    zones = {member.name: member.zone for member in members}
    walks = [spread(walk, zones, config.n) for walk in walks_of(tokens, config.partitions)]
    return Ring(members=tuple(sorted(members)), walks=tuple(reversed(walks)))


def walk_of(ring: Ring, key: Key) -> tuple[NodeId, ...]:
    """All nodes, in the order in which a key would have them: its owners, then who may stand in for them."""
    return ring.walks[partition_of(key, len(ring.walks))]


@lru_cache(maxsize=16)
def preference_lists(ring: Ring, n: int) -> FSet[FSet[NodeId]]:
    """The owners of each partition, without their order."""
    return FSet.of(FSet.of(walk[:n]) for walk in ring.walks)


def owners_of(ring: Ring, key: Key, n: int) -> tuple[NodeId, ...]:
    """The preference list of a key: its n owners, the first being the natural coordinator."""
    return walk_of(ring, key)[:n]
