"""The ring: a pure function of the membership, fair, spread over zones, and little disturbed by a node that joins."""

from __future__ import annotations

from collections import Counter
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.ring import POSITIONS, Member, build_ring, owners_of, partition_of, position_of, tokens_of, walks_of
from spec.types import Config, ConfigError, Key, NodeId
from tests.strategies import configs, memberships


@given(configs(), memberships, st.data())
def test_the_ring_depends_on_who_is_in_it_not_on_their_order(
    config: Config, members: tuple[Member, ...], data: st.DataObject
) -> None:
    shuffled = tuple(data.draw(st.permutations(members)))
    assert build_ring(shuffled, config) == build_ring(members, config)


@given(configs(), memberships, st.binary())
def test_owners_are_n_distinct_nodes(config: Config, members: tuple[Member, ...], key: bytes) -> None:
    ring = build_ring(members, config)
    owners = owners_of(ring, Key(key), config.n)
    assert len(set(owners)) == len(owners) == config.n
    assert len(ring.walks) == config.partitions
    for walk in ring.walks:
        assert sorted(walk) == sorted(m.name for m in members)


@given(configs(), memberships)
def test_owners_are_spread_over_as_many_zones_as_there_are(config: Config, members: tuple[Member, ...]) -> None:
    zones = {m.name: m.zone for m in members}
    for walk in build_ring(members, config).walks:
        assert len({zones[o] for o in walk[: config.n]}) == min(config.n, len(set(zones.values())))


@given(configs(), memberships)
def test_without_zones_the_preference_list_is_the_walk(config: Config, members: tuple[Member, ...]) -> None:
    plain = tuple(Member(m.name, weight=m.weight) for m in members)
    tokens = sorted(t for m in plain for t in tokens_of(m, config.tokens))
    ring = build_ring(plain, config)
    for partition, walk in enumerate(ring.walks):
        end = (partition + 1) * POSITIONS // config.partitions % POSITIONS
        clockwise = sorted(tokens, key=lambda t: (int.from_bytes(t[0]) - end) % POSITIONS)
        assert walk == tuple(dict.fromkeys(name for _, name in clockwise))


@given(configs(), memberships, st.sampled_from(("", "east", "north")))
def test_a_node_that_joins_disturbs_only_what_it_comes_to_own(
    config: Config, members: tuple[Member, ...], zone: str
) -> None:
    before = build_ring(members, config)
    newcomer = NodeId("newcomer")
    after = build_ring((*members, Member(newcomer, zone)), config)
    for old, new in zip(before.walks, after.walks, strict=True):
        if newcomer in new[: config.n]:
            assert len(set(new[: config.n]) - set(old[: config.n])) == 1, "it takes one place, nobody else gains one"
        else:
            assert new[: config.n] == old[: config.n]


@given(st.binary(), st.integers(1, 2**16))
def test_a_key_is_in_the_partition_where_its_md5_falls(key: bytes, partitions: int) -> None:
    partition = partition_of(Key(key), partitions)
    position = int.from_bytes(md5(key).digest())
    assert partition * POSITIONS <= position * partitions < (partition + 1) * POSITIONS
    assert 0 <= partition < partitions
    assert len(position_of(key)) == 16


def test_a_walk_goes_round_the_circle() -> None:
    a, b, quarter = NodeId("a"), NodeId("b"), POSITIONS // 4
    tokens = [(quarter.to_bytes(16), a), ((2 * quarter + 1).to_bytes(16), b)]
    last, third, second, first = walks_of(tokens, 4)
    assert first == [a, b], "a token at the very end of a partition is met first"
    assert second == [b, a]
    assert third == last == [a, b]


def test_the_largest_ring_is_built_before_anybody_wonders() -> None:
    """It costs what its partitions and its tokens cost, not each for each."""
    members = tuple(Member(NodeId(name)) for name in "abc")
    config = Config(partitions=2**16, tokens=2**16)
    assert len(build_ring(members, config).walks) == 2**16


def deviations(members: tuple[Member, ...], owners: Counter[NodeId]) -> list[float]:
    """How far each member's part of all that is owned is from its part of all weight, relative to that."""
    weight, owned = sum(m.weight for m in members), owners.total()
    return [owners[m.name] / owned * weight / m.weight - 1 for m in members]


@pytest.mark.parametrize("pattern", ["n{}", "node-{:02}", "10.0.0.{}:7400"])
def test_shares_follow_the_weights(pattern: str) -> None:
    """DESIGN's figures: 10 nodes, 256 tokens, Q = 1024. What a node stores and serves is within 10 %.

    How often it comes first in a list, and so coordinates, varies twice as much: a third of the samples.
    """
    config = Config(partitions=1024, tokens=256)
    members = tuple(Member(NodeId(pattern.format(i))) for i in range(10))
    walks = build_ring(members, config).walks
    replicas = deviations(members, Counter(o for walk in walks for o in walk[:3]))
    primaries = deviations(members, Counter(walk[0] for walk in walks))
    assert max(map(abs, replicas)) <= 0.10
    assert max(map(abs, primaries)) <= 0.25


def test_a_heavier_node_holds_more() -> None:
    config = Config(partitions=1024, tokens=64, n=1, r=1, w=1)
    members = tuple(Member(NodeId(f"n{i}"), weight=1 + i % 2) for i in range(10))
    shares = deviations(members, Counter(walk[0] for walk in build_ring(members, config).walks))
    assert max(map(abs, shares)) <= 0.25
    even = tuple(Member(m.name) for m in members)
    light = deviations(members, Counter(walk[0] for walk in build_ring(even, config).walks))
    assert max(map(abs, light)) > 0.25, "ignoring weights would be noticed"


def test_partition_assignments_are_pinned() -> None:
    """Two versions of the software must agree on who owns what; a change here moves everybody's data."""
    ring = build_ring(tuple(Member(NodeId(n)) for n in "abcde"), Config(partitions=8, tokens=4))
    assert ["".join(walk[:3]) for walk in ring.walks] == ["bac", "acb", "cbe", "ced", "edc", "bae", "dec", "ecb"]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("ab", "n = 3 replicas need at least 3 nodes, not 2"),
        ("", "n = 3 replicas need at least 3 nodes, not 0"),
        ("abca", "node names must be unique; given more than once: a"),
        ("bbaa", "node names must be unique; given more than once: a, b"),
    ],
)
def test_memberships_that_cannot_work_are_refused(names: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build_ring(tuple(Member(NodeId(name)) for name in names), Config())
    assert str(refusal.value) == problem


def test_a_ring_of_far_too_many_tokens_is_refused() -> None:
    members = (Member(NodeId("a"), weight=30), Member(NodeId("b"), weight=3))
    with pytest.raises(
        ConfigError, match=r"^weights x tokens must be at most 2097152 for all nodes together, not 2162688$"
    ):
        build_ring(members, Config(n=1, r=1, w=1, tokens=65_536))
    build_ring(members[:1], Config(n=1, r=1, w=1, tokens=1_024))
