"""What the Dynamo paper says, by section, on real nodes of the specification.

DeCandia et al., "Dynamo: Amazon's Highly Available Key-value Store", SOSP 2007.
"""

from __future__ import annotations

import pytest

from spec.clock import NOTHING, Actor, Clock, show_clock
from spec.maps import Counts
from spec.messages import Found, Indefinite, Put, Repair, Stored
from spec.ring import Member, build_ring, owners_of, partition_of, position_of
from spec.siblings import NO_VERSIONS, Siblings, context_of
from spec.types import Config, Key, NodeId, RequestId, Value
from tests.small import KEY, Hands, get, put, request, small_config

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def clocks_of(siblings: Siblings) -> list[str]:
    """Each version's clock as the paper prints it: what its writer had seen, and the write itself."""
    return [show_clock(version.context.set(version.dot.actor, version.dot.counter)) for version in siblings]


def deliver_between(hands: Hands, one: NodeId, other: NodeId) -> None:
    hands.deliver(lambda e: {e.source, e.target} == {one, other})


def values_of(siblings: Siblings) -> list[bytes]:
    return [version.value for version in siblings]


# 4.2 Partitioning.


def test_4_2_a_key_goes_to_the_first_node_clockwise_of_its_partition() -> None:
    config = Config(partitions=64, tokens=8)
    members = tuple(Member(NodeId(name)) for name in "abcde")
    ring = build_ring(members, config)
    tokens = sorted((position_of(f"{m.name}#{i}".encode()), m.name) for m in members for i in range(8))
    for number in range(100):
        key = Key(str(number).encode())
        end = ((partition_of(key, 64) + 1) * 2**128 // 64) % 2**128
        after = [name for position, name in tokens if int.from_bytes(position) >= end] + [name for _, name in tokens]
        assert owners_of(ring, key, 3)[0] == after[0]


def test_4_2_a_node_that_leaves_disturbs_only_its_neighbours() -> None:
    config = Config(partitions=64, tokens=8)
    members = tuple(Member(NodeId(name)) for name in "abcde")
    whole, without = build_ring(members, config), build_ring(members[:-1], config)
    for before, after in zip(whole.walks, without.walks, strict=True):
        assert [name for name in before if name != "e"] == list(after)


# 4.3 Replication.


def test_4_3_the_preference_list_has_n_distinct_physical_nodes() -> None:
    ring = build_ring(tuple(Member(NodeId(name)) for name in "abcde"), Config(partitions=64, tokens=8))
    assert all(len(set(walk[:3])) == 3 for walk in ring.walks)
    assert len({walk[:3] for walk in ring.walks}) > 5, "skipping positions of nodes already met mixes the lists"


def test_4_3_the_coordinator_replicates_to_the_other_owners_and_nobody_else() -> None:
    hands = Hands("abcde")
    hands.ask(hands.owners()[0], request(), put())
    assert {e.target for e in hands.mail} == set(hands.owners()[1:])
    hands.deliver()
    assert {name for name in hands.servers if hands.held(name)} == set(hands.owners())


def test_4_3_preference_lists_cross_data_centres() -> None:
    members = tuple(Member(NodeId(name), zone) for name, zone in zip("abcdef", "xxyyzz", strict=True))
    zones = {m.name: m.zone for m in members}
    ring = build_ring(members, Config(partitions=64, tokens=8))
    assert all({zones[name] for name in walk[:3]} == {"x", "y", "z"} for walk in ring.walks)


# 4.4 Data versioning.


class Shopper:
    """A client of nodes called Sx, Sy and Sz, each handling a write alone, as in figure 3."""

    def __init__(self) -> None:
        """Three nodes that own the key; W = R = 1, so that one node can handle a write by itself."""
        self.hands = Hands("xyz", config=small_config(r=1, w=1))
        self.asked = 0

    def write(self, node: str, value: bytes, context: Clock) -> Siblings:
        """A write handled by one node, whose replication waits; what the node holds then."""
        self.asked += 1
        self.hands.ask(NodeId(node), request(self.asked), put(value, context))
        assert isinstance(self.hands.results(request(self.asked))[0], Stored)
        return self.hands.held(NodeId(node))


def test_4_4_figure_3() -> None:
    shopper = Shopper()
    hands = shopper.hands
    d1 = shopper.write("x", b"D1", NOTHING)
    assert clocks_of(d1) == ["[x:1]"]
    d2 = shopper.write("x", b"D2", context_of(d1))
    assert clocks_of(d2) == ["[x:2]"]
    assert values_of(d2) == [b"D2"], "D2 descends from D1 and overwrites it"
    hands.deliver()
    assert hands.held(NodeId("y")) == hands.held(NodeId("z")) == d2
    d3 = shopper.write("y", b"D3", context_of(d2))
    assert clocks_of(d3) == ["[x:2, y:1]"]
    d4 = shopper.write("z", b"D4", context_of(d2))
    assert clocks_of(d4) == ["[x:2, z:1]"]
    hands.deliver()
    both = hands.held(NodeId("x"))
    assert clocks_of(both) == ["[x:2, y:1]", "[x:2, z:1]"], "neither descends from the other"
    assert sorted(values_of(both)) == [b"D3", b"D4"]
    hands.ask(NodeId("x"), request(50), get())
    (result,) = hands.results(request(50))
    assert isinstance(result, Found)
    assert show_clock(result.context) == "[x:2, y:1, z:1]", "the context is a summary of both"
    d5 = shopper.write("x", b"D5", result.context)
    assert clocks_of(d5) == ["[x:3, y:1, z:1]"]
    hands.deliver()
    assert {hands.held(name) for name in hands.servers} == {d5}


def test_4_4_the_textbook_case() -> None:
    """x=1 at A, replicated to B; then x=2 at A and, concurrently, x=3 at B: siblings, which one put reconciles."""
    hands = Hands(config=small_config(r=1, w=1))
    hands.ask(A, request(1), put(b"x=1"))
    hands.deliver(lambda e: e.target != C)
    seen = context_of(hands.held(A))
    assert context_of(hands.held(B)) == seen
    hands.ask(A, request(2), put(b"x=2", seen))
    hands.ask(B, request(3), put(b"x=3", seen))
    assert clocks_of(hands.held(A)) == ["[a:2]"]
    assert clocks_of(hands.held(B)) == ["[a:1, b:1]"]
    hands.deliver()
    hands.ask(C, request(4), get())
    (result,) = hands.results(request(4))
    assert isinstance(result, Found)
    assert sorted(values_of(result.siblings)) == [b"x=2", b"x=3"]
    hands.ask(C, request(5), put(b"x=4", result.context))
    hands.deliver()
    assert {tuple(values_of(hands.held(name))) for name in (A, B, C)} == {(b"x=4",)}


def test_4_4_a_plain_clock_would_have_lost_one_of_two_puts_through_one_node() -> None:
    """Where we leave the paper: both come with the context [a:1], and one clock per version would order them."""
    hands = Hands(config=small_config(r=1, w=1))
    hands.ask(A, request(1), put(b"1"))
    seen = context_of(hands.held(A))
    hands.ask(A, request(2), put(b"2", seen))
    hands.ask(A, request(3), put(b"3", seen))
    assert sorted(values_of(hands.held(A))) == [b"2", b"3"]


def test_4_4_contexts_tell_actors_of_one_node_apart() -> None:
    actor = Actor(A, "disk-a", 1)
    assert show_clock(Counts.of({actor: 1, Actor(A, "disk-a", 2): 1})) == "[a:1, a.2:1]"


# 4.5 Execution of get and put.


@pytest.mark.parametrize("w", [1, 2, 3])
def test_4_5_a_put_succeeds_when_w_nodes_have_written(w: int) -> None:
    hands = Hands(config=small_config(w=w))
    hands.ask(A, request(), put())
    for number, owner in enumerate((B, C), start=2):
        assert bool(hands.told) == (w < number)
        deliver_between(hands, A, owner)
    assert len(hands.told) == 1
    assert isinstance(hands.told[0][1], Stored)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_4_5_a_get_succeeds_when_r_nodes_have_answered(r: int) -> None:
    hands = Hands(config=small_config(r=r))
    hands.ask(A, request(), get())
    for number, owner in enumerate((B, C), start=2):
        assert bool(hands.told) == (r < number)
        deliver_between(hands, A, owner)
    assert len(hands.told) == 1


@pytest.mark.parametrize(("r", "w", "sees"), [(2, 2, True), (1, 3, True), (3, 1, True), (1, 1, False)])
def test_4_5_r_plus_w_above_n_makes_a_get_see_the_latest_put(r: int, w: int, sees: bool) -> None:
    """The put reaches as few nodes as it may; the get asks as few as it may, the others first."""
    hands = Hands(config=small_config(r=r, w=w))
    hands.ask(A, request(1), put())
    reached = (A, B, C)[:w]
    hands.deliver(lambda e: e.source in reached and e.target in reached)
    assert isinstance(hands.results(request(1))[0], Stored)
    hands.mail.clear()
    hands.ask(C, request(2), get())
    asked = (C, B, A)[:r]
    hands.deliver(lambda e: e.source in asked and e.target in asked)
    (result,) = hands.results(request(2))
    assert isinstance(result, Found)
    assert (values_of(result.siblings) == [b"v"]) == sees


def test_4_5_any_node_may_be_asked_and_the_first_of_the_list_coordinates() -> None:
    hands = Hands("abcde")
    hands.ask(hands.stranger(), request(), put())
    hands.deliver()
    (result,) = hands.results(request())
    assert isinstance(result, Stored)
    assert result.dot.actor.node == hands.owners()[0]


def test_4_5_too_few_nodes_leave_the_put_in_doubt() -> None:
    hands = Hands(config=small_config(w=3))
    hands.ask(A, request(), put())
    hands.deliver(lambda e: C not in (e.source, e.target))
    hands.expire(A, request())
    assert hands.results(request()) == [Indefinite("2 of 3 owners acknowledged in time")]


# 5 Implementation: read repair.


def test_5_read_repair_after_the_answer() -> None:
    """ "If stale versions were returned in any of the responses, the coordinator updates those nodes"."""
    hands = Hands()
    hands.ask(A, request(1), put())
    hands.deliver(lambda e: C not in (e.source, e.target))
    hands.mail.clear()
    hands.ask(A, request(2), get())
    hands.deliver(lambda e: C not in (e.source, e.target))
    assert len(hands.results(request(2))) == 1, "answered, with C yet to be heard of"
    assert hands.servers[A].requests.get(request(2)) is not None, "the state machine waits for outstanding responses"
    hands.deliver(lambda e: not isinstance(e.message, Repair))
    assert hands.held(C) == NO_VERSIONS
    assert [(e.target, e.message) for e in hands.mail] == [(C, Repair(KEY, hands.held(A)))]
    hands.deliver()
    assert hands.held(C) == hands.held(A)
    assert not hands.mail


def test_5_the_writer_brings_its_context_back() -> None:
    hands = Hands(config=small_config(r=1, w=1))
    about = RequestId(request().client, 1)
    hands.ask(A, about, Put(KEY, Value(b"old"), NOTHING))
    hands.ask(A, request(2), get())
    (result,) = hands.results(request(2))
    assert isinstance(result, Found)
    hands.ask(A, request(3), put(b"new", result.context))
    assert values_of(hands.held(A)) == [b"new"]
