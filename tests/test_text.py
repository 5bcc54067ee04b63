"""What others wrote is printed without doing anything: it ends no line, and tells no terminal what to do.

Others are who wrote the files that are replayed, validated and judged, and whoever answers at a node's address. Each
command is given the same thing twice, once with a harmless name in it and once with any text, and has to print as many
lines, of characters that can be seen.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from checker.check import Streams
from checker.commands import models
from checker.history_report import history
from checker.playback import play_back
from checker.replay import replay
from checker.validate import validate
from impl.client import Unreachable, connect
from impl.errors import UserError
from impl.inspection import inspect_file
from impl.nodelog import node_log
from impl.show import RingRow, ring_rows, show_ring, show_status
from impl.storage import open_storage
from impl.wire import Status, Turned, encode, framed
from spec.clock import NOTHING, Actor, Dot
from spec.events import WriteDisk, WriteRow
from spec.maps import FSet
from spec.ring import Member, build_ring
from spec.rows import Disk, Row
from spec.siblings import Version
from spec.text import paragraph, printable
from spec.types import Key, NodeId, Value
from tests.live import Live
from tests.recorded import chained

ROOT = Path(__file__).resolve().parent.parent
SIBLINGS = ROOT / "traces" / "recorded" / "siblings"
COUNTEREXAMPLE = ROOT / "traces" / "counterexamples" / "weak.itf.json"
HOSTILE = "\x1b[2J\r\nnode a says [bold]\u202e\x00"
ESCAPED = r"\x1b[2J\r\nnode a says [bold]\u202e\x00"

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def all_visible(said: str) -> bool:
    return all(line.isprintable() for line in said.split("\n"))


@given(st.text())
def test_a_printable_line_is_one_line_and_ordinary_text_is_itself(text: str) -> None:
    line = printable(text)
    assert line.isprintable()
    assert printable(line) == line
    assert (line == text) == text.isprintable()
    assert line == "".join(map(printable, text))
    assert paragraph([text, text]).count("\n") == 1


def test_what_is_escaped_can_be_read() -> None:
    assert printable(HOSTILE) == ESCAPED
    assert printable("Grüße, 世界 → ∅") == "Grüße, 世界 → ∅"


@given(texts)
def test_an_error_is_one_line_whatever_it_quotes(text: str) -> None:
    assert str(UserError(f"node a: {text}")) == f"node a: {printable(text)}"


# Files.


def renamed(directory: Path, old: str, new: str) -> None:
    """The recorded run, with one text in place of another in every log, and the chains as they have to be."""
    for file in SIBLINGS.iterdir():
        swap = file.read_bytes().replace(json.dumps(old).encode(), msgspec.json.encode(new))
        entries = [msgspec.json.encode(json.loads(line)["entry"]) for line in swap.splitlines()]
        (directory / file.name).write_bytes(b"".join(line + b"\n" for line in chained(entries)))


def said_of(old: str, new: str) -> list[str]:
    """What the commands say of the run with this text in place of that."""
    with TemporaryDirectory() as name:
        renamed(Path(name), old, new)
        return [said.replace(name, "RUN") for said in said_of_run(Path(name))]


def said_of_run(run: Path) -> list[str]:
    """What validate, replay and history say of a run."""

    def validation(streams: Streams) -> int:
        return validate(run, orders=0, say=lambda line: print(line, file=streams.stdout))

    def telling(streams: Streams) -> int:
        return play_back(run, streams=streams)

    def judging(streams: Streams) -> int:
        return history(models(), run, linearizable=True, streams=streams)

    return [caught(command) for command in (validation, telling, judging)]


def caught(command: Callable[[Streams], int]) -> str:
    """What a command says, wherever it says it."""
    with redirect_stderr(io.StringIO()) as err:
        out = io.StringIO()
        command(Streams(io.StringIO(), out, err))
    return out.getvalue() + err.getvalue()


CLIENT, REASON, STRANGER = "c3f334aba09a4849", "1 of 2 owners acknowledged in time", "stranger"


@given(st.sampled_from([CLIENT, REASON, "b"]), texts.filter(lambda text: text.strip() == text))
@example(CLIENT, HOSTILE)
@example(REASON, HOSTILE)
@example("b", HOSTILE)
def test_recorded_runs_are_told_without_doing_anything(old: str, new: str) -> None:
    """A name of a client, what a node said, and a name of a node: with another one the run is none any more."""
    for said, harmless in zip(said_of(old, new), said_of(old, STRANGER), strict=True):
        assert all_visible(said)
        if old != "b":  # where a node is on the ring, and so who differs first, depends on its name
            assert said.count("\n") == harmless.count("\n")
        else:
            assert len(said.splitlines()) == said.count("\n")


def test_names_of_files_are_told_without_doing_anything(tmp_path: Path) -> None:
    (tmp_path / f"{HOSTILE[:-1]}.ndjson").mkdir()
    for said in said_of_run(tmp_path):
        assert all_visible(said)
        assert said.count("\n") == 1


@given(st.sampled_from(["machine", "property", "clause", "bug"]), texts)
@example("property", HOSTILE)
@example("clause", HOSTILE)
@example("machine", "\ud800")
def test_traces_of_machines_are_told_without_doing_anything(field: str, text: str) -> None:
    trace = json.loads(COUNTEREXAMPLE.read_bytes())
    about = trace["#meta"]["params"] if field == "bug" else trace["#meta"]
    about[field] = text
    with TemporaryDirectory() as name:
        file = Path(name) / "trace.itf.json"
        file.write_bytes(json.dumps(trace).encode())
        said = caught(lambda streams: replay(models(), file, streams=streams))
    assert all_visible(said)
    assert len(said.splitlines()) == said.count("\n")


@given(texts, texts)
@example(HOSTILE, HOSTILE)
def test_data_files_are_inspected_without_doing_anything(name: str, text: str) -> None:
    dot = Dot(Actor(NodeId(name), text, 1), 1)
    row = Row(FSet.of([Version(dot, NOTHING, Value(text.encode()))]), 1, 1, owed=FSet.of([NodeId(name)]))
    out = io.StringIO()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "a.db"
        storage = open_storage(path, NodeId(name))
        storage.write([WriteDisk(Disk(text)), WriteRow(Key(text.encode()), row)])
        storage.commit()
        storage.close()
        with redirect_stdout(out), inspect_file(path) as inspected:
            inspected.show(None, None, as_json=False)
    assert all_visible(out.getvalue())
    assert out.getvalue().count("\n") == 6


# Nodes.


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> Status:
    """What a node says of itself."""

    async def ask(address: str) -> Status:
        async with await connect([address]) as store:
            return await store.status()

    with Live(tmp_path_factory.mktemp("live"), 3, up=1) as live:
        return asyncio.run(ask(live.addresses[0]))


def shown_of(status: Status, name: str, text: str) -> list[str]:
    """What `status` and `ring` show of a node that is called so, and says this."""
    b, c = status.peers
    why = msgspec.structs.replace(b.opinion, why=text, suspected_seconds=3.0)
    members = tuple(Member(NodeId(name), text) if m.name == "b" else m for m in status.members)
    told = msgspec.structs.replace(
        status, address=text, lacking=(NodeId(name),), members=members,
        peers=(msgspec.structs.replace(b, name=NodeId(name), address=text, opinion=why), c),
    )  # fmt: skip
    ring = build_ring(members, told.config)
    rows: list[RingRow] = ring_rows(told, ring, {told.node: told})
    with redirect_stdout(io.StringIO()) as first:
        show_status(told)
    with redirect_stdout(io.StringIO()) as second:
        show_ring(told.config, ring, rows)
    return [first.getvalue(), second.getvalue()]


@given(texts.filter(lambda name: name not in ("a", "c")), texts)
@example(HOSTILE, HOSTILE)
@example("[/]", ":smile:")
def test_nodes_are_shown_without_doing_anything(status: Status, name: str, text: str) -> None:
    told = shown_of(status, name, text)
    for said, harmless in zip(told, shown_of(status, "b", "zone"), strict=True):
        assert all_visible(said)
        assert said.count("\n") == harmless.count("\n")
    assert printable(text) in told[0], "it is text, neither markup nor the name of a picture"


async def turning_away(reason: str) -> tuple[asyncio.Server, str]:
    """Somebody at an address who turns every caller away, and the address."""

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(framed(encode(Turned(reason))))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_node_that_turns_clients_away_says_why_in_one_line() -> None:
    async def main() -> None:
        server, address = await turning_away(HOSTILE)
        async with server:
            with pytest.raises(Unreachable) as refused:
                await connect([address])
            assert str(refused.value).endswith(f"turned the client away: {ESCAPED}")
            command = [sys.executable, "-m", "impl.cli", "get", "k", "--node", address]
            ran = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, check=False)
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert ran.stderr.decode().endswith(f"turned the client away: {ESCAPED}\n")
        assert ran.stderr.count(b"\n") == 1

    asyncio.run(main())


@given(texts)
@example(HOSTILE)
def test_a_node_logs_without_doing_anything(text: str) -> None:
    for style in ("text", "json"):
        with redirect_stderr(io.StringIO()) as err:
            node_log("a", "json" if style == "json" else "text")("connection turned away", reason=text)
        assert all_visible(err.getvalue())
        assert err.getvalue().count("\n") == 1
