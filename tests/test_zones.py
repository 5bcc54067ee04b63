"""Three zones, one of them down: every put and get with R = W = 2 is served, on the specification and by real nodes.

Each key has one owner in each zone, so two of its owners are left, and they need nobody else. A node that owns nothing
of a key has to find one of them: under sloppy placement it does where it suspects who is down; under strict placement
it asks the first owner, whatever becomes of that, so that there it is an owner who has to be asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.client import Routing
from impl.local import LocalCluster, open_cluster
from spec.events import Suspicion
from spec.messages import Found, Stored
from spec.ring import owners_of, partition_of
from spec.types import Config, Key, NodeId
from tests.small import Hands, get, put, request

ZONES = ("east", "north", "west")
PARTITIONS = 8


def one_key_of_each_partition() -> list[Key]:
    """A key in each partition, in their order."""
    keys: dict[int, Key] = {}
    number = 0
    while len(keys) < PARTITIONS:
        keys.setdefault(partition_of(Key(b"key-%d" % number), PARTITIONS), Key(b"key-%d" % number))
        number += 1
    return [keys[partition] for partition in range(PARTITIONS)]


KEYS = one_key_of_each_partition()


@given(
    sizes=st.tuples(*[st.integers(1, 3) for _ in ZONES]),
    down_zone=st.sampled_from(ZONES),
    sloppy=st.booleans(),
    data=st.data(),
)
def test_the_specification_serves_every_request_with_a_zone_down(
    sizes: tuple[int, ...], down_zone: str, sloppy: bool, data: st.DataObject
) -> None:
    zones = {NodeId(f"{zone}{i}"): zone for zone, size in zip(ZONES, sizes, strict=True) for i in range(size)}
    hands = Hands(zones, Config(n=3, r=2, w=2, partitions=PARTITIONS, tokens=4, sloppy=sloppy), zones)
    up = [name for name, zone in zones.items() if zone != down_zone]
    down = [name for name, zone in zones.items() if zone == down_zone]
    for name in up:  # whoever is not suspected yet is asked, and does not answer
        for about in data.draw(st.sets(st.sampled_from(down)), label=f"{name} suspects"):
            hands.event(name, Suspicion(about, suspected=True))
    for number, key in enumerate(KEYS):
        owners = owners_of(hands.ring, key, 3)
        assert {zones[owner] for owner in owners} == set(ZONES)
        asking, reading = (
            data.draw(st.sampled_from([name for name in up if serves(hands, name, owners, down)])) for _ in range(2)
        )
        written, read = request(2 * number + 1), request(2 * number + 2)
        hands.ask(asking, written, put(b"value", key=key))
        hands.deliver(lambda envelope: envelope.target in up)
        assert [type(result) for result in hands.results(written)] == [Stored]
        hands.ask(reading, read, get(key))
        hands.deliver(lambda envelope: envelope.target in up)
        (found,) = hands.results(read)
        assert isinstance(found, Found)
        assert [version.value for version in found.siblings] == [b"value"]


def test_without_zones_two_nodes_down_may_be_two_owners_of_a_key() -> None:
    """So it is the zones that keep the promise: the same six nodes that are in none do not."""
    hands = Hands("abcdef", Config(n=3, r=2, w=2, partitions=PARTITIONS, tokens=4, sloppy=False))
    served: list[bool] = []
    for number, key in enumerate(KEYS):
        asking = next(owner for owner in owners_of(hands.ring, key, 3) if owner not in ("c", "f"))
        hands.ask(asking, request(number + 1), put(key=key))
        hands.deliver(lambda envelope: envelope.target not in ("c", "f"))
        served.append(bool(hands.results(request(number + 1))))
    assert any(served)
    assert not all(served)


def serves(hands: Hands, name: NodeId, owners: Sequence[NodeId], down: Sequence[NodeId]) -> bool:
    """Whether a node that is up can be asked: it is an owner, or it knows which owner is down."""
    suspected = hands.servers[name].node.suspected
    return name in owners or (hands.config.sloppy and all(owner in suspected for owner in owners if owner in down))


async def suspect_all(cluster: LocalCluster, down: Sequence[str]) -> None:
    """Wait until every node that runs suspects these."""
    for name in cluster.running:
        async with await cluster.client(name) as client:
            while not set(down) <= {peer.name for peer in (await client.status()).peers if peer.opinion.why}:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(("sloppy", "routing"), [(True, "any"), (True, "ring"), (False, "ring")])
def test_real_nodes_serve_every_request_with_a_zone_killed(tmp_path: Path, sloppy: bool, routing: Routing) -> None:
    """Six nodes in three zones. Every put and every get succeeds, whichever node of the others is asked first."""
    config = Config(n=3, r=2, w=2, partitions=64, tokens=16, sloppy=sloppy)
    names = "abcdef"
    zones = {NodeId(name): ZONES[i % 3] for i, name in enumerate(names)}

    async def main() -> None:
        async with open_cluster(tmp_path / "cluster", names, config, zones=zones) as cluster:
            down = [name for name in names if zones[NodeId(name)] == "west"]
            for name in down:
                await cluster.kill(name)
            await suspect_all(cluster, down)
            for name in cluster.running:
                others = [other for other in cluster.running if other != name]
                async with await cluster.client(name, *others, routing=routing, attempts=1) as client:
                    for number in range(40):
                        key = f"{name}-{number}".encode()
                        await client.put(key, key)
                        assert [version.value for version in (await client.get(key)).siblings] == [key]

    asyncio.run(main())
