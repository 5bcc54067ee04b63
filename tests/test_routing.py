"""Ring-aware clients ask an owner of the key, and notice when what they know of the ring is no longer so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from impl.client import Client, Unreachable, connect
from impl.local import free_ports
from impl.transport import Address
from spec.ring import build_ring, owners_of
from spec.types import Config, Key, NodeId
from tests.nodes import Running, running, settings_of

NAMES = ["a", "b", "c", "d", "e"]
ONE_OF_FIVE = Config(n=1, r=1, w=1, partitions=64, tokens=16, put_timeout_ms=500, get_timeout_ms=500)
TWO_OF_FIVE = Config(n=2, r=1, w=1, partitions=64, tokens=16, put_timeout_ms=500, get_timeout_ms=500)
KEYS = [b"%d" % i for i in range(60)]


async def steps(nodes: list[Running]) -> dict[str, int]:
    """How many steps each node has taken."""
    counted = {}
    for node in nodes:
        async with await connect([node.settings.listen]) as store:
            counted[str(node.settings.name)] = (await store.status()).steps
    return counted


@pytest.mark.usefixtures("nobody_suspected")
def test_an_owner_is_asked_itself(tmp_path: Path) -> None:
    """With N = 1 a put and a get are a step each at the owner, and nobody else takes any."""

    async def main() -> None:
        settings = list(settings_of(tmp_path, NAMES, ONE_OF_FIVE).values())
        async with running(*settings) as nodes, await connect([settings[0].listen], routing="ring") as store:
            ring = build_ring(settings[0].members, ONE_OF_FIVE)
            before = await steps(nodes)
            for key in KEYS:
                await store.put(key, key)
                assert (await store.get(key)).values == (key,)
            after = await steps(nodes)
            owned = [owners_of(ring, Key(key), 1)[0] for key in KEYS]
            taken = {name: after[name] - before[name] for name in after}
            assert taken == {name: 2 * owned.count(NodeId(name)) for name in NAMES}
            assert len(store._routes._connections) == 5

    asyncio.run(main())


def test_any_node_routing_stays_with_one_node(tmp_path: Path) -> None:
    async def main() -> None:
        settings = list(settings_of(tmp_path, NAMES, ONE_OF_FIVE).values())
        where = [each.listen for each in settings]
        async with running(*settings), await connect(where[2:]) as store:
            await asyncio.gather(*(store.put(key, key) for key in KEYS))
            assert list(store._routes._connections) == where[2:3]

    asyncio.run(main())


def test_when_the_first_owner_is_down_the_next_is_asked(tmp_path: Path) -> None:
    async def main() -> None:
        settings = settings_of(tmp_path, NAMES, TWO_OF_FIVE)
        ring = build_ring(settings[NodeId("a")].members, TWO_OF_FIVE)
        first, second = owners_of(ring, Key(b"k"), 2)
        nodes = {name: Running(each) for name, each in settings.items()}
        for node in nodes.values():
            await node.ready()
        seeds = [settings[name].listen for name in nodes]
        async with await connect(seeds, routing="ring") as store:
            assert (await store.put(b"k", b"1")).dot.actor.node == first
            await nodes.pop(first).end()
            await gone(store, settings[first].listen)
            stored = await store.put(b"k", b"2", (await store.get(b"k")).context)
            assert stored.dot.actor.node == second
            nodes[first] = Running(settings[first])
            await nodes[first].ready()
            store._routes._down_until.clear()
            stored = await store.put(b"k", b"3", (await store.get(b"k")).context)
            assert stored.dot.actor.node == first, "once it is back it is asked again"
        for node in nodes.values():
            await node.end()

    asyncio.run(main())


async def gone(store: Client, address: Address) -> None:
    """Wait until the client knows that a connection has ended."""
    while store._routes._connections[address].open:
        await asyncio.sleep(0.002)


def test_a_cluster_that_changed_is_learned_anew(tmp_path: Path) -> None:
    """Three nodes become five, at the same addresses: what was asked of the old owners is soon asked of the new."""

    async def main() -> None:
        five = settings_of(tmp_path, NAMES, ONE_OF_FIVE)
        members = tuple(member for member in five[NodeId("a")].members if member.name in "abc")
        three = [
            structs.replace(each, members=members, peers={n: a for n, a in each.peers.items() if n in "abc"})
            for name, each in five.items()
            if name in "abc"
        ]
        store = Client([five[NodeId("a")].listen], routing="ring")
        async with running(*three):
            await store.open()
            for key in KEYS:
                await store.put(key, b"")
        ring = build_ring(five[NodeId("a")].members, ONE_OF_FIVE)
        for each in three:
            await gone(store, each.listen)
        async with running(*five.values()) as nodes:
            await store.put(b"k", b"")
            while store._routes.map is None or len(store._routes.map.members) < 5:
                await asyncio.sleep(0.01)
            before = await steps(nodes)
            await asyncio.gather(*(store.get(key) for key in KEYS))
            after = await steps(nodes)
            owned = [owners_of(ring, Key(key), 1)[0] for key in KEYS]
            assert {n: after[n] - before[n] for n in NAMES} == {n: owned.count(NodeId(n)) for n in NAMES}
            assert owned.count(NodeId("d")) + owned.count(NodeId("e")) > 0
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("wrong", ["addresses", "ring"])
def test_a_map_that_is_wrong_costs_a_hop_and_is_corrected(tmp_path: Path, wrong: str) -> None:
    """The client takes the nodes' addresses, or their parts of the ring, for each other's: every call is forwarded."""

    async def main() -> None:
        settings = settings_of(tmp_path, NAMES, ONE_OF_FIVE)
        async with running(*settings.values()), await connect([settings[NodeId("a")].listen], routing="ring") as store:
            right = store._routes.map
            assert right is not None
            next_to = dict(zip(NAMES, NAMES[1:] + NAMES[:1], strict=True))
            if wrong == "addresses":
                turned = {name: right.addresses[NodeId(next_to[name])] for name in right.addresses}
                store._routes.map = structs.replace(right, addresses=turned)
            else:
                walks = tuple(tuple(NodeId(next_to[name]) for name in walk) for walk in right.ring.walks)
                members = right.members[:-1]  # so that it is seen to differ, and drawn again
                store._routes.map = structs.replace(
                    right, members=members, ring=structs.replace(right.ring, walks=walks)
                )
            await asyncio.gather(*(store.put(key, key) for key in KEYS))
            while store._routes.map != right:
                await asyncio.sleep(0.01)
            found = (await store.get_many(KEYS)).found
            assert {key: values.values for key, values in found.items()} == {key: (key,) for key in KEYS}

    asyncio.run(main())


def test_no_node_at_all() -> None:
    async def main() -> None:
        ports = free_ports(2)
        with pytest.raises(Unreachable) as caught:
            await connect([f"127.0.0.1:{port}" for port in ports], routing="ring")
        assert str(caught.value) == "; ".join(f"no node at 127.0.0.1:{port}: connection refused" for port in ports)

    asyncio.run(main())
