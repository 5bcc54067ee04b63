"""Recordings that make way for new ones in the midst of runs, and recordings that began at different moments.

What was recorded then depends on what was not: an acknowledgement was counted, a client was shown something, another
node's snapshot holds what this one is about to make. None of that is a violation.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from checker.logs import Invalid, NodeRecord, read_log
from checker.rerun import rerun
from checker.validate import Report, examine
from impl.client import connect
from impl.recorder import export_log, log_lines
from impl.runtime import Arrival, Runtime
from impl.storage import DiskFull, open_storage
from spec.clock import NOTHING
from spec.events import Beat, Deliver, Invoke, Timeout
from spec.messages import Get, Put
from spec.ring import NO_RING, build_ring, owners_of, walk_of
from spec.state import ForwardInFlight, GetInFlight, PutInFlight
from spec.trace import FORMAT, Held, NodeLog, Running, Step
from spec.types import ClientId, Config, Key, Limits, NodeId, RequestId, Value
from tests.nodes import THREE, running, settings_of
from tests.recorded import CONFIG, MEMBERS, Recorded, save
from tests.test_recorder import lines_of

SLOPPY = replace(CONFIG, sloppy=True)
BLOCKING = replace(CONFIG, blocking_repair=True)
CONFIGS = [CONFIG, SLOPPY, BLOCKING, replace(SLOPPY, r=1, w=1), replace(SLOPPY, r=1, w=3)]
A = NodeId("a")


def record_anew(run: Recorded, name: NodeId) -> None:
    """A node restarts, and its recording begins there."""
    run.restart(name)
    rows = run.servers[name].disk.table.items()
    head = NodeLog(FORMAT, name, run.config, MEMBERS, run.servers[name].disk.disk(), len(rows))
    run.logs[name] = [head, *(Held(key, row) for key, row in rows), run.logs[name][-1]]


def scattered_run(seed: int, config: Config, *, rotate: bool, steps: int = 500) -> Recorded:
    """A run in which nodes' recordings begin anew now and then."""
    run = Recorded(seed, config=config)
    run.show = seed % 2 == 0
    for _ in range(steps):
        if run.random.random() < 0.006:
            name = run.random.choice(list(run.servers))
            if rotate:
                run.rotate(name)
            else:
                record_anew(run, name)
        run.act()
    return run


@pytest.mark.parametrize("rotate", [True, False], ids=["in-a-run", "at-a-start"])
@pytest.mark.parametrize("config", CONFIGS)
def test_recordings_that_began_at_different_moments_are_valid(config: Config, rotate: bool, tmp_path: Path) -> None:
    reports = list[Report]()
    for seed in (0, 2, 4, 5, 10, 22, 35, 43, 46, 59):  # in these, false alarms were met once
        run = scattered_run(seed, config, rotate=rotate)
        if all(any(isinstance(entry, Step) for entry in run.logs[name]) for name in run.servers):
            save(tmp_path / str(seed), run.files())
            reports.append(examine(tmp_path / str(seed)))
            assert reports[-1].problem is None, seed
    assert any(report.scattered for report in reports)
    assert sum(report.refined.steps for report in reports if report.refined) > 500


def test_a_recording_of_the_whole_run_is_judged_all_along(tmp_path: Path) -> None:
    run = scattered_run(1, CONFIG, rotate=True, steps=0)
    for _ in range(300):
        run.act()
    save(tmp_path, run.files())
    report = examine(tmp_path)
    assert not report.scattered
    assert {j.name for j in report.properties if j.times} >= {"context-honesty", "quorum-meaning-get"}


def test_what_a_client_was_told_before_recordings_began_is_missed(tmp_path: Path) -> None:
    """Nothing else depends on what was not recorded: no message is under way when all recordings begin."""
    run, me = Recorded(0, config=replace(CONFIG, n=1, r=1, w=1)), ClientId("me")
    owner = owners_of(run.ring, run.keys[0], 1)[0]
    for told in (False, True):
        run.arrive()
        if told:
            run.ask(me, owner, Get(run.keys[0]))
        for name in run.servers:
            run.rotate(name)
            run.take(name, Beat())
        run.arrive()
        run.ask(me, owner, Put(run.keys[0], Value(b"v"), NOTHING))
        save(tmp_path / str(told), run.files())
        report = examine(tmp_path / str(told))
        assert (report.problem, report.unmatched, report.scattered) == (None, 0, told)
        run.logs.pop(me)
        me = ClientId("another")


def test_who_was_shown_a_version_of_a_lost_log_has_seen_what_its_context_covers(tmp_path: Path) -> None:
    """Nobody recorded how it came to be, nor held it, when it was shown; two minutes of chaos found that."""
    run, (one, other) = Recorded(0), (ClientId("one"), ClientId("other"))
    key = run.keys[0]
    first, second, _, stranger = walk_of(run.ring, key)
    run.ask(one, first, Put(key, Value(b"old"), NOTHING))
    run.arrive()
    run.ask(one, first, Get(key))
    run.arrive()
    run.ask(one, first, Put(key, Value(b"new"), run.contexts[one, key]))
    run.network.clear()
    run.ask(other, stranger, Get(key))
    while (other, key) not in run.contexts:
        source, stamp, sent = run.network.pop(0)
        run.take(sent.target, Deliver(source, sent.message), stamp)
    run.network.clear()
    run.ask(other, second, Put(key, Value(b"newer"), run.contexts[other, key]))
    run.lose(first)
    save(tmp_path, run.files())
    report = examine(tmp_path)
    assert report.problem is None
    assert report.lost == (first,)


def test_what_a_node_had_in_memory_matters() -> None:
    """A head that says something else of it does not go with the steps."""
    noticed = tried = 0
    for seed in range(30):
        run = Recorded(seed, config=CONFIG)
        while not any(len(server.requests) for server in run.servers.values()):
            run.act()
        name = next(name for name in run.servers if len(run.servers[name].requests))
        run.rotate(name)
        for _ in range(200):
            run.act(faults=False)
        head = run.logs[name][0]
        assert isinstance(head, NodeLog)
        assert head.running is not None
        fewer = replace(head.running, requests=head.running.requests[1:])
        tried += 1
        try:
            record = read_log("x", lines_of(replace(head, running=fewer), *run.logs[name][1:]), live=True)
            assert isinstance(record, NodeRecord)
            rerun(record, run.ring)
        except Invalid:
            noticed += 1
    assert noticed > tried / 2


# Heads that cannot be.

NODE = Recorded(0).servers[A].node
RUNNING = Running(2, 7, replace(NODE, ring=NO_RING), ())


def test_a_head_in_the_midst_of_a_run_that_cannot_be_is_refused() -> None:
    run = Recorded(0)
    disk = run.servers[A].disk.disk()
    head = NodeLog(FORMAT, A, CONFIG, MEMBERS, disk, 0, RUNNING)
    timeout = Timeout(RequestId(ClientId("me"), 1))
    step = Step(A, 2, 8, timeout, None, (), ())
    forward = ForwardInFlight(RequestId(ClientId("me"), 2), is_put=True)
    twice = replace(RUNNING, requests=(forward, forward))
    other = replace(RUNNING, node=replace(RUNNING.node, name=NodeId("b")))
    elsewhere = replace(RUNNING, node=replace(RUNNING.node, config=SLOPPY))
    ran = "node {} ran when recording began, or with another configuration"
    broken: tuple[tuple[NodeLog, Step, str], ...] = (
        (head, replace(step, seq=9), "this is step 9 of run 2; step 8 of run 2 comes next"),
        (head, replace(step, epoch=3), "this is step 8 of run 3; step 8 of run 2 comes next"),
        (replace(head, disk=None), step, "the disk held nothing when recording began, but this was run 2"),
        (replace(head, running=None), step, "the first step of a log must be a start"),
        (replace(head, running=other), step, ran.format("b")),
        (replace(head, running=elsewhere), step, ran.format("a")),
        (replace(head, running=twice), step, "the requests in flight must be sorted by id, each id once"),
    )
    for wrong, first, problem in broken:
        with pytest.raises(Invalid) as found:
            read_log("a", lines_of(wrong, first), live=True)
        assert found.value.problem.said == problem
    record = read_log("a", lines_of(head, step), live=True)
    assert isinstance(record, NodeRecord)
    assert [record.index_of(2, seq) for seq in (7, 8, 9)] == [None, 0, None]
    assert [record.is_before(*number) for number in ((1, 99), (2, 7), (2, 8), (3, 1))] == [True, True, False, False]
    rerun(record, build_ring(MEMBERS, CONFIG))
    twice_fired = read_log("a", lines_of(head, step, replace(step, seq=9)), live=True)
    assert isinstance(twice_fired, NodeRecord)
    with pytest.raises(Invalid, match="no timer of me#1 is set"):
        rerun(twice_fired, build_ring(MEMBERS, CONFIG))


# Real nodes.


def test_a_full_disk_leaves_the_recording_as_it_was(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "a.db", A)
    config = Config(n=1, r=1, w=1, limits=Limits(recorded_bytes=100_000))
    node = Runtime(storage, A, config, MEMBERS[:1], record=True)
    begun: list[int] = []
    node.on_new_recording = lambda: begun.append(node.seq)
    node.start("disk")

    def put(number: int) -> None:
        operation = Put(Key(b"%d" % number), Value(b"v" * 2_000), NOTHING)
        node.execute([Arrival(Invoke(RequestId(ClientId("me"), number), operation))])

    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    number = 0
    while storage.log_bytes() <= 100_000:
        put(number := number + 1)
    with patch.object(storage, "snapshot_digest", side_effect=full) as copied:  # while the rows are copied
        put(number := number + 1)
        put(number := number + 1)
    assert copied.call_count == 1, "it is tried again only once the recording has grown as much again"
    assert not begun
    entries = read_log("a", b"".join(log_lines(storage)))
    assert isinstance(entries, NodeRecord)
    assert len(entries.steps) == node.seq
    while not begun:
        put(number := number + 1)
    assert storage.log_bytes() < 100_000
    entries = read_log("a", b"".join(log_lines(storage)))
    assert isinstance(entries, NodeRecord)
    assert len(entries.rows) == begun[0] - 1
    assert len(entries.steps) == node.seq - begun[0]
    while storage.log_bytes() <= 100_000:
        put(number := number + 1)
    storage.limit_pages(storage._connection.execute("PRAGMA page_count").fetchone()[0])
    large = Put(Key(b"large"), Value(b"v" * 300_000), NOTHING)
    with pytest.raises(DiskFull):
        node.execute([Arrival(Invoke(RequestId(ClientId("me"), number + 1), large))])
    assert len(begun) == 2, "the recording makes way, and then there is no room for the step"
    storage.limit_pages(1_000_000)
    put(number + 1)
    assert len(begun) == 2, "what was not recorded takes no room"
    entries = read_log("a", b"".join(log_lines(storage)))
    assert isinstance(entries, NodeRecord)
    rerun(entries, build_ring(MEMBERS[:1], config))
    storage.close()


def test_a_recording_that_goes_on_knows_how_long_it_is(tmp_path: Path) -> None:
    config = Config(n=1, r=1, w=1, limits=Limits(recorded_bytes=3_000))
    begun = list[int]()
    for run in range(1, 40):
        storage = open_storage(tmp_path / "a.db", A)
        node = Runtime(storage, A, config, MEMBERS[:1], record=True)
        node.start("disk")
        begun += [run] * node.replaced_recording
        node.close()
        assert storage.log_bytes() < 4_000
        storage.close()
    assert 1 < len(begun) < 20
    entries = read_log("a", b"".join(export_log(tmp_path / "a.db")))
    assert isinstance(entries, NodeRecord)
    assert (entries.steps[0].epoch, entries.head.running) == (begun[-1], None)


def test_real_nodes_record_within_bounds(tmp_path: Path) -> None:
    """Each node's recording makes way several times, also while requests are in flight; what is left is valid."""
    config = replace(THREE, limits=replace(THREE.limits, recorded_bytes=100_000), put_timeout_ms=30_000)
    settings = settings_of(tmp_path, ["a", "b", "c"], config, record=True)
    logs = tmp_path / "logs"
    logs.mkdir()

    async def load(number: int) -> None:
        address = list(settings.values())[number % 3].listen
        async with await connect([address], logs / f"client-{number}.ndjson") as store:
            for turn in range(40):
                key = b"k%d" % (turn % 7)
                found = await store.get(key)
                await store.put(key, b"%d of %d" % (turn, number), found.context)

    async def main() -> list[list[str]]:
        async with running(*settings.values()) as nodes:
            await asyncio.gather(*(load(number) for number in range(6)))
        return [node.said for node in nodes]

    for said in asyncio.run(main()):
        assert said.count("recording begins anew reason=the earlier one had grown too long") >= 2
    begun = 0
    for name, each in settings.items():
        exported = b"".join(export_log(each.data))
        (logs / f"node-{name}.ndjson").write_bytes(exported)
        record = read_log(name, exported)
        assert isinstance(record, NodeRecord)
        assert record.head.running is not None
        begun += any(isinstance(request, GetInFlight | PutInFlight) for request in record.head.running.requests)
        assert len(exported) < 1_000_000
    report = examine(logs)
    assert report.problem is None
    assert report.scattered
    assert report.refined is not None
    assert report.refined.steps > 0
