"""The runtime's core: what is decided in a batch is what would be decided step by step, and it is durable first.

Three runtimes exchange messages in memory. The step logs that they keep are read back as what
`spec.trace` says they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from impl.recorder import export_log, log_lines
from impl.runtime import Arrival, Released, Runtime
from impl.storage import MEMORY, DiskFull, open_storage
from spec.clock import NOTHING
from spec.events import Deliver, Invoke, Reply, Send, Timeout
from spec.messages import Found, Get, Operation, Put, Result, Stored
from spec.ring import Member
from spec.trace import End, Line, NodeLog, Step, link
from spec.types import ClientId, Config, Key, Limits, NodeId, RequestId, Value
from tests.simulated import stamped

NAMES = [NodeId("a"), NodeId("b"), NodeId("c")]
MEMBERS = tuple(Member(name) for name in NAMES)
CONFIG = Config(partitions=4, tokens=4)


class Net:
    """Three runtimes, and everything that is on its way between them."""

    def __init__(self, directory: Path | None = None) -> None:
        self.nodes: dict[NodeId, Runtime] = {}
        self.on_the_way: dict[NodeId, list[Arrival]] = {name: [] for name in NAMES}
        self.told: dict[RequestId, Result] = {}
        for name in NAMES:
            storage = open_storage(directory / f"{name}.db" if directory else MEMORY, name)
            self.nodes[name] = Runtime(storage, name, CONFIG, MEMBERS, record=True)
            self.release(name, self.nodes[name].start(f"disk of {name}"))
        self.run(random.Random(1), 1)

    def ask(self, node: NodeId, operation: Operation, number: int) -> None:
        self.on_the_way[node].append(Arrival(Invoke(RequestId(ClientId("me"), number), operation)))

    def release(self, source: NodeId, released: list[Released]) -> None:
        for stamp, effect in stamped(self.nodes[source], released):
            if isinstance(effect, Send):
                self.on_the_way[effect.target].append(Arrival(Deliver(source, effect.message), stamp))
            elif isinstance(effect, Reply):
                assert effect.request not in self.told
                self.told[effect.request] = effect.result

    def run(self, chance: random.Random, most: int) -> None:
        """Deliver everything, in batches of one to `most` events, at nodes chosen by chance."""
        while waiting := [name for name in NAMES if self.on_the_way[name]]:
            name = chance.choice(waiting)
            size = chance.randint(1, most)
            batch, self.on_the_way[name] = self.on_the_way[name][:size], self.on_the_way[name][size:]
            self.release(name, self.nodes[name].execute(batch))

    def close(self) -> None:
        for node in self.nodes.values():
            node.storage.close()


def entries(lines: Iterable[bytes]) -> list[object]:
    """The entries of an exported log, whose chain has been checked."""
    chain, found = "", list[object]()
    for encoded in lines:
        line = msgspec.json.decode(encoded, type=Line)
        assert encoded == msgspec.json.encode(line) + b"\n"
        chain = link(chain, line.entry)
        assert line.chain == chain
        found.append(line.entry)
    return found


operations = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([b"x", b"y"]), st.booleans()), max_size=8)


@given(operations, st.integers(1, 8), st.randoms(use_true_random=False))
def test_a_batch_decides_what_its_steps_decide_one_by_one(
    operations: list[tuple[NodeId, bytes, bool]], most: int, chance: random.Random
) -> None:
    net = Net()
    for number, (name, key, is_put) in enumerate(operations, 1):
        net.ask(name, Put(Key(key), Value(b"%d" % number), NOTHING) if is_put else Get(Key(key)), number)
    net.run(chance, most)
    assert len(net.told) == len(operations)
    assert all(isinstance(result, Stored | Found) for result in net.told.values())
    for name in NAMES:
        head, *steps, end = entries(log_lines(net.nodes[name].storage))
        assert isinstance(head, NodeLog)
        assert (head.node, head.config, head.members, head.disk, head.rows) == (name, CONFIG, MEMBERS, None, 0)
        assert end == End(len(steps) + 1)
        storage = open_storage(MEMORY, name)
        again = Runtime(storage, name, CONFIG, MEMBERS, record=True)
        again.start(f"disk of {name}")
        for i, step in enumerate(steps, 1):
            assert isinstance(step, Step)
            assert (step.node, step.epoch, step.seq) == (name, 1, i)
            if i > 1:
                released = again.execute([Arrival(step.event, step.stamp)])
                assert tuple(e for _, e in stamped(again, released)) == step.effects
        assert entries(log_lines(storage)) == [head, *steps, end]
        storage.close()
    net.close()


def test_effects_wait_for_the_commit(tmp_path: Path) -> None:
    """When the commit is over, the row is in the file, and nothing has been released."""
    net = Net(tmp_path)
    seen: list[int] = []
    node = net.nodes[NAMES[0]]
    node.after_commit = lambda: seen.append(node.storage.count_rows())
    net.ask(NAMES[0], Put(Key(b"x"), Value(b"1"), NOTHING), 1)
    batch = net.on_the_way[NAMES[0]]
    released = node.execute(batch)
    assert seen == [1]
    assert [type(effect).__name__ for _, effect in stamped(node, released)] == ["Send", "Send", "SetTimer"]
    assert [stamp.index for stamp, _ in stamped(node, released)] == [0, 1, 2]
    net.close()


def test_nothing_happened_in_a_batch_that_met_a_full_disk(tmp_path: Path) -> None:
    net = Net(tmp_path)
    name = NAMES[0]
    node = net.nodes[name]
    net.ask(name, Put(Key(b"x"), Value(b"1"), NOTHING), 1)
    net.release(name, node.execute(net.on_the_way[name]))
    before = node.node, node.seq, dict(node.requests), node.storage.row(Key(b"x"))
    assert len(node.requests) == 1
    node.storage.limit_pages(20)
    large = Put(Key(b"x"), Value(b"x" * 200_000), NOTHING)
    mine = RequestId(ClientId("me"), 1)
    others = [RequestId(ClientId("me"), number) for number in (2, 4)]
    batch = [Arrival(Timeout(mine)), *(Arrival(Invoke(request, large)) for request in others)]
    for _ in range(2):
        with pytest.raises(DiskFull):
            node.execute(batch)
        assert (node.node, node.seq, node.requests, node.storage.row(Key(b"x"))) == before
    node.storage.limit_pages(1_000_000)
    net.on_the_way[name] = [Arrival(Invoke(RequestId(ClientId("me"), 3), large))]
    net.run(random.Random(1), 3)
    assert {request.operation for request in net.told} == {1, 3}
    net.close()
    seqs = [step.seq for step in entries(export_log(tmp_path / "a.db")) if isinstance(step, Step)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_batch_ends_once_its_steps_have_touched_much() -> None:
    storage = open_storage(MEMORY, NAMES[0])
    config = Config(n=1, r=1, w=1, limits=Limits(batch_bytes=250))
    node = Runtime(storage, NAMES[0], config, MEMBERS[:1], record=True)
    node.start("disk")

    def asked(operation: Operation, number: int) -> Arrival:
        return Arrival(Invoke(RequestId(ClientId("me"), number), operation))

    puts = [asked(Put(Key(b"%d" % i), Value(b"x" * 100), NOTHING), i) for i in range(1, 8)]
    batch = node.decide(puts)
    assert batch.taken == 3
    node.commit(batch)
    batches = node.batches
    node.execute(puts[3:])
    assert node.batches == batches + 2
    gets = [asked(Get(Key(b"%d" % i)), 7 + i) for i in range(1, 8)]
    assert 1 <= node.decide(gets).taken < 7
    steps = [entry for entry in entries(log_lines(storage)) if isinstance(entry, Step)]
    assert [step.seq for step in steps] == list(range(1, len(steps) + 1))
    assert len(steps) == 8
    storage.close()
