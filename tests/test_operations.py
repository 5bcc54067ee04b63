"""What an operator sees and does: status, the ring, metrics, logs, data files at rest, and stopping a node."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from sqlite_utils import Database

import impl.schema
from impl.cli import main
from impl.client import MayHaveHappened, OperationFailed, OperationRefused, Unreachable, connect
from impl.errors import UserError
from impl.inspection import inspect_file
from impl.local import free_ports
from impl.meters import BOUNDS_SECONDS, Meters, Waits
from impl.metrics import require_loopback
from impl.nodelog import node_log
from impl.settings import Settings
from impl.show import cells, marks_of, size, span
from impl.storage import MIGRATIONS, open_storage
from impl.transport import Address, parse_address
from impl.wire import PROTOCOL, CallFaults, ClientHello, encode, framed
from spec.events import WriteRow
from spec.messages import Failed, Get, Refused, Result
from spec.ring import build_ring
from spec.rows import Row
from spec.types import ClientId, Key, NodeId
from tests.live import Live
from tests.nodes import ONE, THREE, Running, clients, running, settings_of

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def ringspec(capsysbinary: pytest.CaptureFixture[bytes], *args: str | Path) -> tuple[int, str, str]:
    """A command in this process: status, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in args])
    out, err = capsysbinary.readouterr()
    assert isinstance(ended.value.code, int | None)
    return ended.value.code or 0, out.decode(), err.decode()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with Live(tmp_path_factory.mktemp("live"), 3) as nodes:
        yield nodes


# Status and ring.


def test_status_tells_what_a_node_owns_has_done_and_waits_for(
    live: Live, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    node = ("--node", live.addresses[0])
    for i in range(3):
        assert ringspec(capsysbinary, "put", f"k{i}", "v", *node)[0] == 0
    assert ringspec(capsysbinary, "get", "k0", *node)[0] == 0
    status, out, err = ringspec(capsysbinary, "status", *node)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert re.fullmatch(rf"node a at {live.addresses[0]}, run 1, up \d+ s", lines[0])
    assert lines[1:3] == ["store     3 nodes, n=3 r=2 w=2", lines[2]]
    assert re.fullmatch(r"owns      8 of 8 partitions \(100%\), first owner of \d", lines[2])
    assert re.fullmatch(r"puts      3 stored; half within [\d.]+ ms, 99 % within [\d.]+ ms", lines[3])
    assert re.fullmatch(r"gets      1 found; half within [\d.]+ ms, 99 % within [\d.]+ ms", lines[4])
    assert re.fullmatch(r"sent      \d+ messages to other nodes, \d+ repairs?", lines[5])
    assert re.fullmatch(r"now       \d+ requests? in flight, 0 events waiting, 1 client", lines[6])
    assert re.fullmatch(r"disk      [\d.]+ kB, \d+ steps, [\d.]+ to a commit, recording off", lines[7])
    assert [line.split()[0:3:2] for line in lines[-2:]] == [["b", "up"], ["c", "up"]]
    status, out, _ = ringspec(capsysbinary, "status", "--json", *node)
    told = json.loads(out)
    assert told["counts"]["replies"] == {"Put": {"Stored": 3}, "Get": {"Found": 1}}
    assert told["counts"]["sent"]["Write"] == 6


def test_ring_shows_a_picture_and_every_node(live: Live, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    status, out, err = ringspec(capsysbinary, "ring", "--node", live.addresses[1])
    assert (status, err) == (0, "")
    picture, table = out.splitlines()[:21], out.splitlines()[21:]
    assert set("".join(picture)) == set("abc ")
    assert [row.split()[:3] for row in table[1:4]] == [
        [name, name, address] for name, address in zip("abc", live.addresses, strict=True)
    ]
    assert table[-1] == "8 partitions clockwise from the top, each with 3 owners, the first one outermost"
    rows = json.loads(ringspec(capsysbinary, "ring", "--json", "--node", live.addresses[1])[1])
    ring = build_ring(live.settings[0].members, THREE)
    assert [row["first"] for row in rows] == [sum(w[0] == row["node"] for w in ring.walks) for row in rows]
    assert all(row["up"] and row["owns"] == 8 and row["share"] == 0.3333 for row in rows)


def test_ring_tells_where_a_key_is(live: Live, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    status, out, err = ringspec(capsysbinary, "ring", "k", "--node", live.addresses[0])
    assert status == 0
    assert sorted(out.split()) == ["a", "b", "c"]
    assert re.fullmatch(r"k is in partition \d of 8\n", err)
    told = json.loads(ringspec(capsysbinary, "ring", "k", "--json", "--node", live.addresses[0])[1])
    assert told["owners"] == out.split()


def test_a_node_that_is_down_is_shown_as_down(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with Live(tmp_path, 3, up=2) as nodes:
        rows = json.loads(ringspec(capsysbinary, "ring", "--json", "--node", nodes.addresses[0])[1])
        assert [row["up"] for row in rows] == [True, True, False]
        assert rows[2]["operations"] is None
        assert "down" in ringspec(capsysbinary, "ring", "--node", nodes.addresses[0])[1]
        assert re.search(r"^c .* down ", ringspec(capsysbinary, "status", "--node", nodes.addresses[0])[1], re.M)


@given(st.integers(1, 300), st.integers(1, 4))
def test_the_picture_shows_every_place_of_every_arc(partitions: int, places: int) -> None:
    """Clockwise from the top; whatever is as wide as a cell is seen."""
    drawn = [[cell for cell in row if cell] for row in cells(partitions, places)]
    shown = {cell for row in drawn for cell in row}
    assert all(0 <= partition < partitions and 0 <= place < places for partition, place in shown)
    assert {place for _, place in shown} == set(range(places))
    if partitions <= 16:
        assert {partition for partition, place in shown if place == 0} == set(range(partitions))
    if partitions == 4:
        picture = list(cells(partitions, places))
        corners = [picture[y][x] for y, x in ((3, 32), (17, 32), (17, 8), (3, 8))]
        assert [corner[0] for corner in corners if corner] == [0, 1, 2, 3]


def test_marks_tell_nodes_apart() -> None:
    assert marks_of([NodeId(n) for n in ("alpha", "beta")]) == {"alpha": "a", "beta": "b"}
    assert marks_of([NodeId(f"node{i}") for i in range(3)]) == {"node0": "a", "node1": "b", "node2": "c"}
    assert set(marks_of([NodeId(f"n{i:03}") for i in range(100)]).values()) >= {"a", "Z", "9", "*"}


def test_sizes_and_times_are_for_people() -> None:
    assert [size(n) for n in (0, 999, 1000, 1_234_567, 5_000_000_000)] == ["0 B", "999 B", "1.0 kB", "1.2 MB", "5.0 GB"]
    assert [span(s) for s in (0.4, 61, 3600, 90_000)] == ["0 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]


# Counting.


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from([Failed(""), Refused("")]))))
def test_waiting_times_are_counted_once_each_and_within_their_bounds(replies: list[tuple[float, Result]]) -> None:
    meters, seconds = Meters(), [wait for wait, _ in replies]
    for wait, result in replies:
        meters.replied(Get(Key(b"")), result, wait)
    counts = meters.counts()
    assert counts.replies.get("Get", {}) == Counter(type(result).__name__ for _, result in replies)
    waits = counts.waits.get("Get", Waits())
    assert waits.replies == len(seconds)
    assert waits.seconds == pytest.approx(sum(seconds))
    for i, bound in enumerate(BOUNDS_SECONDS):
        assert sum(waits.buckets[: i + 1]) == sum(wait <= bound for wait in seconds)
    for share in (0.5, 0.99, 1.0):
        kept = waits.within(share)
        if kept is not None:
            assert sum(wait <= kept for wait in seconds) >= share * len(seconds)
        elif seconds:
            assert sum(wait <= BOUNDS_SECONDS[-1] for wait in seconds) < share * len(seconds)


# Metrics.


def scrape(address: Address) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels, as Prometheus would read them."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        text = response.read().decode()
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_metrics_say_what_the_status_says(tmp_path: Path) -> None:
    async def main() -> None:
        port = Address("127.0.0.1", free_ports(1)[0])
        first, *others = settings_of(tmp_path, ["a", "b", "c"], THREE).values()
        async with running(structs.replace(first, metrics=port), *others), clients(first) as (store,):
            for i in range(5):
                await store.put(b"%d" % i, b"v")
            await store.get(b"0")
            with suppress(OperationRefused):
                await store.get(b"x" * 5000)
            status = await store.status()
            samples = await asyncio.to_thread(scrape, port)
            assert samples["ringspec_replies_total", (("operation", "put"), ("result", "stored"))] == 5
            assert samples["ringspec_replies_total", (("operation", "get"), ("result", "refused"))] == 1
            assert samples["ringspec_messages_sent_total", (("kind", "write"),)] == 10
            assert samples["ringspec_reply_seconds_count", (("operation", "put"),)] == 5
            assert samples["ringspec_reply_seconds_bucket", (("le", "+Inf"), ("operation", "put"))] == 5
            assert samples["ringspec_reply_seconds_sum", (("operation", "put"),)] == status.counts.waits["Put"].seconds
            assert samples["ringspec_peer_up", (("peer", "b"),)] == 1
            assert samples["ringspec_hints", (("peer", "b"),)] == 0
            assert samples["ringspec_hints_limit", ()] == 1_000_000
            assert samples["ringspec_steps_total", ()] >= status.steps
            assert samples["ringspec_clients", ()] == 1
            assert samples["ringspec_node_info", (("address", str(first.listen)), ("node", "a"))] == 1
        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(scrape, port)

    asyncio.run(main())


def test_a_port_for_metrics_that_is_taken_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        port = Address("127.0.0.1", free_ports(1)[0])
        async with await asyncio.start_server(lambda *_: None, *port):
            with pytest.raises(UserError, match=r"cannot serve metrics on \S+: address already in use"):
                await Running(structs.replace(settings, metrics=port)).task
        assert list(tmp_path.iterdir()) == []

    asyncio.run(main())


@pytest.mark.parametrize("address", ["0.0.0.0:1", "192.0.2.1:1", "[::]:1", "example.org:1"])
def test_metrics_are_for_this_machine_only(address: str) -> None:
    with pytest.raises(UserError, match="loopback"):
        require_loopback(parse_address(address))
    for fine in ("127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "localhost:1"):
        require_loopback(parse_address(fine))


# Logs.


def test_logs_are_lines_of_fields(capsys: pytest.CaptureFixture[str]) -> None:
    node_log("a", "text")("peer connected", peer="b")
    node_log("a", "json")("connection turned away", reason='a "reason"\nof two lines')
    text, encoded = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r'timestamp=\S+Z event="peer connected" node=a peer=b', text)
    told = json.loads(encoded)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", told.pop("timestamp"))
    assert told == {"event": "connection turned away", "node": "a", "reason": 'a "reason"\nof two lines'}


def test_a_node_that_logs_has_not_imported_what_shows_colours() -> None:
    """It would start half as fast again; whoever wants it later finds it."""
    program = """
import sys
from impl.nodelog import node_log
node_log("a", "text")("listening")
assert "structlog" in sys.modules and "rich" not in sys.modules
import rich.table
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "event=listening" in ran.stderr


# Stopping.


def test_a_node_that_stops_answers_what_it_has_begun(tmp_path: Path) -> None:
    """Its peers take long to acknowledge: the put ends well all the same, and nothing new is begun meanwhile."""

    patient = replace(THREE, put_timeout_ms=5_000, get_timeout_ms=5_000)

    async def main() -> None:
        settings = list(settings_of(tmp_path, ["a", "b", "c"], patient).values())
        nodes = [Running(each) for each in settings]
        for node in nodes:
            await node.ready()
        async with clients(*settings) as stores, await connect([settings[0].listen], attempts=1) as late:
            await stores[0].get(b"k")
            for store in stores[1:]:
                await store.faults(CallFaults(0, delay_ms=800))
            begun = asyncio.create_task(stores[0].put(b"k", b"v"))
            while not (await late.status()).requests:
                assert not begun.done(), "the peers answered sooner than they were told to"
                await asyncio.sleep(0.002)
            nodes[0].stop.set()
            while not (await late.status()).stopping:
                await asyncio.sleep(0.002)
            with pytest.raises(OperationFailed, match="node a is stopping"):
                await late.get(b"k")
            with pytest.raises(OperationRefused, match="node a is stopping"):
                await late.put(b"k", b"new")
            with pytest.raises(Unreachable):
                await connect([settings[0].listen])
            assert (await begun).dot.actor.node == A
            await nodes[0].task
            assert nodes[0].said[-1] == "stopped"
            assert (await stores[1].get(b"k")).values == (b"v",)
        for node in nodes[1:]:
            await node.end()

    asyncio.run(main())


def test_a_client_goes_elsewhere_when_its_node_stops(tmp_path: Path) -> None:
    async def main() -> None:
        settings = list(settings_of(tmp_path, ["a", "b", "c"], THREE).values())
        nodes = [Running(each) for each in settings]
        for node in nodes:
            await node.ready()
        addresses = [s.listen for s in settings[:2]]
        async with clients(settings[0]) as (hands,), await connect(addresses, attempts=3) as store:
            await hands.faults(CallFaults(0, cut=(B, C)))
            stuck = asyncio.create_task(hands.put(b"other", b"v"))
            while (await hands.status()).requests < 1:
                await asyncio.sleep(0.002)
            nodes[0].stop.set()
            while not (await hands.status()).stopping:
                await asyncio.sleep(0.002)
            assert (await store.put(b"k", b"v")).dot.actor.node == B
            assert (await store.get(b"k")).values == (b"v",)
            with pytest.raises(MayHaveHappened):
                await stuck
        for node in nodes:
            await node.end()

    asyncio.run(main())


def test_a_node_with_nothing_to_do_says_that_it_stops_before_it_goes(tmp_path: Path) -> None:
    """A call that is under way while the node learns that it is to stop is answered, and the put is in no doubt."""

    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        async with running(settings) as (node,), clients(settings) as (store,):
            await store.put(b"k", b"v")
            node.stop.set()
            await asyncio.sleep(0.05)
            with pytest.raises(OperationFailed, match="node a is stopping"):
                await store.get(b"k")

    asyncio.run(main())


def test_who_is_refused_after_the_hello_is_counted_too(tmp_path: Path) -> None:
    async def main() -> None:
        (settings,) = settings_of(tmp_path, ["a"], ONE).values()
        async with running(settings) as (node,), clients(settings) as (store,):
            reader, writer = await asyncio.open_connection(*settings.listen)
            writer.write(framed(encode(ClientHello(PROTOCOL, ClientId("me")))) + framed(b"\xc1"))
            await reader.read()
            writer.close()
            assert (await store.status()).counts.turned_away == 1
            assert any(line.startswith("connection turned away reason=") for line in node.said)

    asyncio.run(main())


def test_stopping_is_bounded(tmp_path: Path) -> None:
    """The put would wait for its quorum for a minute; the node does not."""

    async def main() -> None:
        patient = structs.replace(THREE, put_timeout_ms=60_000)
        first = next(iter(settings_of(tmp_path, ["a", "b", "c"], patient).values()))
        node = Running(structs.replace(first, drain_seconds=0.1))
        await node.ready()
        async with await connect([first.listen], attempts=1) as store:
            put = asyncio.create_task(store.put(b"k", b"v", timeout=20))
            while not (await store.status()).requests:
                await asyncio.sleep(0.002)
            began = time.monotonic()
            await node.end()
            assert time.monotonic() - began < 20
            with pytest.raises(MayHaveHappened, match="ended before it answered"):
                await put
        assert "stopping with requests unanswered requests=1" in node.said

    asyncio.run(main())


# Data files at rest.


@pytest.fixture
def at_rest(tmp_path: Path) -> Path:
    """The data file of a node that stored a few things and stopped."""

    async def main() -> Settings:
        (settings,) = settings_of(tmp_path, ["a"], ONE, record=True).values()
        async with running(settings), clients(settings) as (store,):
            await store.put(b"cart", b"apples")
            await store.put(b"cart", b"two\nlines")
            await store.put(b"\0", b"\xff" * 100)
            for i in range(30):
                await store.put(b"many/%02d" % i, b"")
        return settings

    return asyncio.run(main()).data


def test_inspect_tells_what_a_data_file_holds(at_rest: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    before = at_rest.read_bytes()
    status, out, err = ringspec(capsysbinary, "inspect", at_rest)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"data file {at_rest} of node a, ")
    assert lines[1] == f"schema {' '.join(MIGRATIONS)}"
    assert re.fullmatch(r"disk incarnation [0-9a-f]{16}, 32 actors born", lines[2])
    assert lines[3] == "facts epoch 1, recorded 1"
    assert re.fullmatch(r"32 keys, \d+ lines of a recording", lines[4])
    assert lines[5:10] == [
        "0x00: 1 version, context [a.2:1]; minted 1 under birth 2",
        f"  a.2:1 after []  100 bytes: 0x{'ff' * 29}…",
        "cart: 2 siblings, context [a:2]; minted 2 under birth 1",
        "  a:1 after []  6 bytes: apples",
        r"  a:2 after []  9 bytes: 'two\nlines'",
    ]
    assert lines[-1] == "… and 12 more rows; --limit 0 shows all"
    assert "more row" not in ringspec(capsysbinary, "inspect", "--limit", "0", at_rest)[1]
    assert ringspec(capsysbinary, "inspect", "--key", "cart", at_rest)[1].splitlines() == lines[7:10]
    assert ringspec(capsysbinary, "inspect", "--key", "00", "--hex-key", at_rest)[1].splitlines() == lines[5:7]
    _, out, _ = ringspec(capsysbinary, "inspect", "--json", "--key", "cart", at_rest)
    about, row = map(json.loads, out.splitlines())
    assert about["tables"]["rows"] == 32
    assert row["siblings"][0] == {"version": "a:1 after []", "value": "YXBwbGVz"}
    assert at_rest.read_bytes() == before
    assert sorted(path.name for path in at_rest.parent.iterdir()) == ["a.db"]


def test_inspect_refuses_in_one_line(at_rest: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    def refused(path: Path, *more: str) -> str:
        status, out, err = ringspec(capsysbinary, "inspect", path, *more)
        assert (status, out, err.count("\n")) == (1, "", 1)
        return err

    assert "there is no data file" in refused(tmp_path / "absent")
    assert "holds no row of 'x\\ny'" in refused(at_rest, "--key", "x\ny")
    held = open_storage(at_rest)
    assert "is in use by another process" in refused(at_rest)
    held.close()
    with inspect_file(at_rest), pytest.raises(UserError, match="in use by another process"):
        open_storage(at_rest, A)
    (tmp_path / "foreign").write_bytes(b"something else" * 100)
    assert "is not a ringspec data file" in refused(tmp_path / "foreign")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE rows (key, row)")
    other.close()
    assert "is not a ringspec data file" in refused(tmp_path / "other.db")
    broken = sqlite3.connect(at_rest)
    broken.execute("UPDATE rows SET row = x'ff' WHERE key = x'63617274'")
    broken.commit()
    broken.close()
    assert "is damaged" in refused(at_rest)
    broken = sqlite3.connect(at_rest)
    broken.execute("INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('ringspec', 'm999_later')")
    broken.commit()
    broken.close()
    assert "newer version" in refused(at_rest)


def test_an_older_file_is_inspected_as_it_is_and_migrated_by_its_node(
    at_rest: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The program learns of one more migration; one that fails changes nothing."""
    later = (*MIGRATIONS, "m999_later")
    monkeypatch.setattr("impl.storage.MIGRATIONS", later)
    monkeypatch.setattr("impl.inspection.MIGRATIONS", later)
    monkeypatch.setattr("impl.schema.MIGRATIONS", later)
    schema = impl.schema.schema
    monkeypatch.setattr(schema, "_migrations", list(schema._migrations))
    works = False

    @schema()
    def m999_later(db: Database) -> None:
        db.execute("CREATE TABLE more (x) STRICT" if not works else "CREATE TABLE more (x BLOB) STRICT")

    before = at_rest.read_bytes()
    assert "older than this program" in ringspec(capsysbinary, "inspect", at_rest)[1]
    assert at_rest.read_bytes() == before
    with pytest.raises(UserError, match="cannot be used"):
        open_storage(at_rest, A)
    assert "older than this program" in ringspec(capsysbinary, "inspect", at_rest)[1]
    works = True
    storage = open_storage(at_rest, A)
    assert len(storage.row(Key(b"cart")).siblings) == 2
    storage.write([WriteRow(Key(b"new"), Row())])
    storage.commit()
    storage.close()
    assert "older than this program" not in ringspec(capsysbinary, "inspect", at_rest)[1]
    storage = open_storage(at_rest, A)
    assert len(storage.row(Key(b"cart")).siblings) == 2
    storage.close()
