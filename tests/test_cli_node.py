"""The commands that run nodes and use them: what they print and where, and what they refuse, in one line."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest

from impl.cli import main
from impl.client import MayHaveHappened, OperationFailed, connect
from impl.local import free_ports
from impl.outcomes import NodeOverloaded
from spec.trace import End, Line, NodeLog
from spec.types import LARGEST

RINGSPEC = [sys.executable, "-m", "impl.cli"]
ROOT = Path(__file__).resolve().parent.parent


def start(*args: str | Path) -> subprocess.Popen[bytes]:
    """A command that runs."""
    return subprocess.Popen(
        [*RINGSPEC, *map(str, args)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(*args: str | Path, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """What a command that ends gives: status, standard output, standard error."""
    with start(*args) as command:
        out, err = command.communicate(stdin, timeout=60)
        return command.returncode, out, err.decode()


def run_here(*args: str | Path, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """As `run`, in this process, where nothing has to be imported first: for many of them."""
    given, out, err = (io.TextIOWrapper(io.BytesIO(content)) for content in (stdin, b"", b""))
    with patch("sys.stdin", given), patch("sys.stdout", out), patch("sys.stderr", err):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in args])
        out.flush()
        err.flush()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.buffer.getvalue(), err.buffer.getvalue().decode()


def refused(*args: str | Path) -> tuple[int, str]:
    """The status and the line of a command that is refused; nothing on standard output, no traceback."""
    status, out, err = run(*args)
    assert status != 0
    assert out == b""
    assert err.count("\n") == 1, err
    return status, err


def refused_here(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str]:
    """As `refused`, in this process: for many of them."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in args])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    assert ended.value.code != 0
    assert out == ""
    assert err.count("\n") == 1, err
    return ended.value.code, err


class Node:
    """A single node that runs as a command, and its address."""

    def __init__(self, directory: Path, *more: str) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self.data = directory / "a.db"
        secret = directory / "secret"
        if not secret.exists():
            secret.write_bytes(b"s" * 32)
        self.arguments = [
            *("node", "--name", "a", "--listen", self.address, "--data", str(self.data)),
            *("--secret-file", str(secret), "-n", "1", "-r", "1", "-w", "1", *more),
        ]
        self.process = start(*self.arguments)
        assert self.process.stderr is not None
        self.said = self.process.stderr.readline().decode()
        assert self.said.split(maxsplit=1)[1] == f"event=listening node=a address={self.address} run=1\n"

    def end(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err.decode()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    running = Node(tmp_path_factory.mktemp("node"))
    yield running
    running.end(signal.SIGTERM)


def test_values_go_to_standard_output_as_they_are(node: Node, tmp_path: Path) -> None:
    value = bytes(range(256)) * 10
    (tmp_path / "file").write_bytes(value)
    ways: list[list[str]] = [["--file", str(tmp_path / "file")], [], ["--file", "-"]]
    for i, given in enumerate(ways):
        status, out, err = run("put", f"raw-{i}", *given, "--node", node.address, stdin=value)
        assert (status, out) == (0, b"")
        assert re.fullmatch(r"stored as a(\.\d+)?:1\n", err)
        status, out, err = run("get", f"raw-{i}", "--node", node.address)
        assert (status, out) == (0, value)
        assert re.fullmatch(r"version a(\.\d+)?:1 after \[\], 2560 bytes\ncontext \S+\n", err)


def test_siblings_are_shown_and_settled_by_one_put(node: Node) -> None:
    for value in ("one", "two"):
        assert run_here("put", "sib", value, "--node", node.address)[0] == 0
    status, out, err = run_here("get", "sib", "--node", node.address)
    assert (status, out) == (0, b"one\ntwo\n")
    actor = re.search(r"version (a[.\d]*):2 after \[\], 3 bytes", err)
    assert actor is not None
    assert err.startswith("2 siblings")
    status, out, _ = run_here("get", "sib", "--json", "--node", node.address)
    found = json.loads(out)
    assert [sibling["value"] for sibling in found["siblings"]] == ["b25l", "dHdv"]
    context = re.search(r"^context (\S+)$", err, re.MULTILINE)
    assert context is not None
    assert found["context"] == context[1]
    status, out, err = run_here("put", "sib", "both", "--context", context[1], "--json", "--node", node.address)
    assert (status, json.loads(out)["stored"][1]) == (0, 3)
    status, out, err = run_here("put", "sib", "third", "--show", "--node", node.address)
    assert (status, sorted(out.split())) == (0, [b"both", b"third"])
    shown = json.loads(run_here("get", "sib", "--json", "--node", node.address)[1])
    again = ("put", "sib", "both", "--context", shown["context"], "--show", "--json", "--node", node.address)
    settled = json.loads(run_here(*again)[1])
    assert [sibling["value"] for sibling in settled["siblings"]] == ["Ym90aA=="]
    status, out, err = run_here("get", "sib", "--node", node.address)
    assert (status, out) == (0, b"both")
    assert f"version {actor[1]}:5 after [{actor[1]}:4]" in err
    status, line = refused("put", "other", "x", "--context", context[1], "--node", node.address)
    assert status == 1
    assert "context was not given out for this key" in line


def test_nothing_found_is_a_status_of_its_own(node: Node) -> None:
    status, out, err = run_here("get", "absent", "--node", node.address)
    assert (status, out) == (1, b"")
    assert err.startswith("nothing is stored under absent\n")


def test_requests_ask_for_quorums_and_conditions(node: Node) -> None:
    at = ["--node", node.address]
    assert run_here("put", "wish", "1", "-w", "all", "--pw", "quorum", "--if-none-match", *at)[0] == 0
    assert run_here("get", "wish", "-r", "1", "--pr", "one", "--no-notfound-ok", "--basic-quorum", *at)[:2] == (0, b"1")
    status, out, err = run_here("put", "wish", "2", "-w", "2", *at)
    assert (status, out) == (1, b"")
    assert "w must be between 1 and n = 1, not 2" in err
    status, out, err = run_here("put", "wish", "2", "--if-none-match", *at)
    assert (status, out, err) == (1, b"", "ringspec: a value is there\n")
    context = json.loads(run_here("get", "wish", "--json", *at)[1])["context"]
    unchanged = ["--context", context, "--if-context-unchanged", *at]
    assert run_here("put", "wish", "2", *unchanged)[0] == 0
    assert run_here("put", "wish", "3", *unchanged)[0] == 1
    for wrong in (["-w", "most"], ["--if-context-unchanged"], ["--if-context-unchanged", "--if-none-match"]):
        assert run_here("put", "wish", "4", *wrong, *at)[0] == 2


@pytest.mark.parametrize("key", [b"", b"\0", b"\xff\xfe", b"a b\n", "ключ".encode()])
def test_keys_and_values_are_any_bytes(node: Node, key: bytes) -> None:
    for value in (b"", b"\0", b"\n", bytes(range(256)), b"x" * 1024 * 1024):
        context = json.loads(run_here("get", "--hex-key", key.hex(), "--json", "--node", node.address)[1])["context"]
        put = ("put", "--hex-key", key.hex(), "--context", context, "--node", node.address)
        assert run_here(*put, stdin=value)[0] == 0
        status, out, err = run_here("get", "--hex-key", key.hex(), "--node", node.address)
        assert (status, out) == (0, value)
        assert f"{len(value)} bytes" in err


def test_keys_are_as_the_shell_gave_them(node: Node) -> None:
    for key in ("plain", "Ключ", "0x00"):
        assert run("put", key, key, "--node", node.address)[0] == 0
        assert run("get", "--hex-key", key.encode().hex(), "--node", node.address)[:2] == (0, key.encode())
    assert run("put", "", "empty", "--node", node.address)[0] == 0
    assert b"empty" in run("get", "--hex-key", "", "--node", node.address)[1]
    assert "is not hexadecimal" in refused("get", "--hex-key", "0", "--node", node.address)[1]


def test_a_value_over_the_limit_is_refused_in_one_line(node: Node, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    status, line = refused("put", "large", "--file", tmp_path / "large", "--node", node.address)
    assert (status, line) == (1, "ringspec: the value is 1048577 bytes, the limit is 1048576\n")


def test_a_key_at_the_limit_is_taken_and_one_byte_more_is_refused_in_one_line(node: Node) -> None:
    for command, value in (("put", ["v"]), ("get", [])):
        assert run(command, "k" * 4096, *value, "--node", node.address)[0] == 0
        status, line = refused(command, "k" * 4097, *value, "--node", node.address)
        assert (status, line) == (1, "ringspec: the key is 4097 bytes, the limit is 4096\n")


def test_scripts_can_tell_that_a_node_is_too_busy(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def busy(*_: object, **__: object) -> None:
        raise NodeOverloaded("node a is overloaded: 4096 requests in flight")

    monkeypatch.setattr("impl.client.Client.put", busy)
    status, line = refused_here(capsys, "put", "k", "v", "--node", node.address)
    assert (status, line) == (75, "ringspec: node a is overloaded: 4096 requests in flight\n")


def test_nodes_may_be_named_by_the_environment(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGSPEC_NODES", f"127.0.0.1:{free_ports(1)[0]} {node.address}")
    assert run("put", "env", "v")[0] == 0
    assert run("get", "env")[:2] == (0, b"v")


def test_a_put_that_may_have_happened_has_a_status_of_its_own(tmp_path: Path) -> None:
    """Two nodes of three are not there: the put is on one disk, and not on two."""
    more = [f"b=127.0.0.1:{free_ports(1)[0]}", f"c=127.0.0.1:{free_ports(1)[0]}"]
    node = Node(tmp_path, "-n", "3", "-r", "2", "-w", "2", "--peer", more[0], "--peer", more[1])
    status, line = refused("put", "k", "v", "--timeout", "0.2", "--node", node.address)
    assert (status, line) == (3, "ringspec: node a did not answer in time\n")
    assert refused("get", "k", "--timeout", "0.2", "--node", node.address)[0] == 1
    node.process.kill()
    node.process.communicate()


def test_a_port_and_a_data_file_are_used_by_one_process(node: Node) -> None:
    assert "the port is in use" in refused(*node.arguments)[1]
    elsewhere = [f"127.0.0.1:{free_ports(1)[0]}" if a == node.address else a for a in node.arguments]
    assert "is in use by another process" in refused(*elsewhere)[1]
    assert "is in use by another process" in refused("export", node.data)[1]


@pytest.mark.parametrize("command", ["get", "put", "status", "inspect", "node"])
def test_help_answers_at_once(command: str) -> None:
    """It imports the command line and nothing that it would run: time is not measured here, its cause is."""
    code = (
        "import sys; from impl.cli import main\ntry: main(sys.argv[1:])\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code, command, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert told.stdout.startswith(f"Usage: ringspec {command}")
    modules = {name.partition(".")[0] for name in told.stderr.split()}
    assert not modules & {"asyncio", "msgspec", "spec", "checker", "sqlite3", "rich", "structlog", "prometheus_client"}
    ours = {name for name in told.stderr.split() if name.startswith("impl.")}
    assert len(ours) <= 4, ours


def node_with(tmp_path: Path, *more: str | Path) -> list[str | Path]:
    """The arguments of a node that could start but for `more`."""
    (tmp_path / "secret").write_bytes(b"s" * 32)
    return [
        *("node", "--name", "a", "--listen", f"127.0.0.1:{free_ports(1)[0]}", "--data", tmp_path / "a.db"),
        *("--secret-file", tmp_path / "secret", *more),
    ]


ONE = ("-n", "1", "-r", "1", "-w", "1")


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ((), "n = 3 replicas need at least 3 nodes, not 1"),
        (("-n", "1"), "r must be between 1 and n = 1, not 2"),
        (("-n", "1", "-r", "1"), "w must be between 1 and n = 1, not 2"),
        (("-n", "0"), "n must be at least 1, not 0"),
        (("-n", "x"), "not a valid int"),
        ((*ONE, "--peer", "a=127.0.0.1:1"), "names must be unique; given more than once: a"),
        ((*ONE, "--peer", "b=127.0.0.1:1", "--peer", "c=127.0.0.1:1"), "more than once: 127.0.0.1:1"),
        ((*ONE, "--peer", "b"), "is not a peer"),
        ((*ONE, "--peer", "b=x"), "is not an address"),
        ((*ONE, "--peer", "b=127.0.0.1:1,size=2"), "is not understood"),
        ((*ONE, "--peer", "b b=127.0.0.1:1"), "is not a name for a node"),
        ((*ONE, "--name", ""), "a node needs --name"),
        ((*ONE, "--metrics", "0.0.0.0:9401"), "metrics are served on a loopback address only"),
        ((*ONE, "--metrics", "9401"), "is not an address"),
        ((*ONE, "--log", "xml"), "'xml' is not one of 'text', 'json'"),
        ((*ONE, "--listen", "7401"), "is not an address"),
        ((*ONE, "--weight", "0"), "weight of node a must be 1 to 1000, not 0"),
        ((*ONE, "--secret-file", "absent"), "secret absent cannot be read"),
        ((*ONE, "--secret-file", "pyproject.toml"), "must be 16 to 64 bytes"),
        ((*ONE, "--config", "absent.toml"), "absent.toml cannot be read"),
        (("--bogus",), "No such option"),
    ],
)
def test_settings_that_cannot_work_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, more: tuple[str, ...], line: str
) -> None:
    status, said = refused_here(capsys, *node_with(tmp_path, *more))
    assert status == 2
    assert line in said
    assert not (tmp_path / "a.db").exists(), "refused before anything was touched"


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ("colour = 1", "unknown field `colour`"),
        ("[store]\nq = 1", "unknown field `q` (in store)"),
        ("[store.limits]\nbytes = 1", "unknown field `bytes` (in store.limits)"),
        ("[store]\nn = 'x'", "Expected `int`, got `str` (in store.n)"),
        ("[store]\nn = 2\nw = 3", "w must be between 1 and n = 2, not 3"),
        ("[store.limits]\nsiblings = 0", "limit siblings must be at least 1, not 0"),
        ("[[peer]]\nname = 'b'", "missing required field `address`"),
        ("drain_seconds = -1", "Expected `float` >= 0.0"),
        ("log = 'xml'", "Invalid enum value 'xml'"),
        ("x = ", "cannot be read"),
        ("name = 7", "Expected `str`, got `int`"),
    ],
)
def test_configuration_files_are_strict(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, toml: str, line: str
) -> None:
    (tmp_path / "a.toml").write_text(toml)
    more = () if "name = 7" in toml else ("--name", "a")
    arguments = ["node", "--config", tmp_path / "a.toml", *more, "--listen", "127.0.0.1:1", "--data", tmp_path / "a.db"]
    (tmp_path / "secret").write_bytes(b"s" * 32)
    status, said = refused_here(capsys, *arguments, "--secret-file", tmp_path / "secret")
    assert status == 2
    assert line in said
    assert "a.toml" in said


def test_data_files_that_are_not_this_node_s_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = node_with(tmp_path, *ONE)
    (tmp_path / "a.db").write_bytes(b"something else" * 100)
    assert "is not a ringspec data file" in refused_here(capsys, *arguments)[1]
    assert "is not a ringspec data file" in refused_here(capsys, "export", tmp_path / "a.db")[1]
    (tmp_path / "a.db").unlink()
    other = sqlite3.connect(tmp_path / "a.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    assert "is not a ringspec data file" in refused_here(capsys, *arguments)[1]
    assert (
        "there is no directory"
        in refused_here(capsys, *node_with(tmp_path, *ONE, "--data", tmp_path / "no" / "a.db"))[1]
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_a_node_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    node = Node(tmp_path, "--record")
    assert run("put", "k", "v", "--node", node.address)[0] == 0
    status, err = node.end(number)
    assert (status, err.split(maxsplit=1)[1]) == (0, "event=stopped node=a\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "secret"], "the write-ahead log is folded in"
    status, out, err = run("export", node.data)
    assert (status, err) == (0, "")
    lines = [msgspec.json.decode(line, type=Line).entry for line in out.splitlines()]
    assert isinstance(lines[0], NodeLog)
    assert lines[-1] == End(len(lines) - 1)
    assert len(lines) >= 4


def test_no_node_at_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    for command in (["get", "k"], ["put", "k", "v"], ["status"], ["ring"]):
        assert refused_here(capsys, *command, "--node", address) == (
            1,
            f"ringspec: no node at {address}: connection refused\n",
        )
    assert refused_here(capsys, "get", "k", "--node", "x")[0] == 2
    assert refused_here(capsys, "put", "k", "v", "--file", "f")[0] == 2
    assert refused_here(capsys, "put", "k", "--file", "absent")[0] == 2
    assert refused_here(capsys, "export", "absent.db")[1] == "ringspec: there is no data file absent.db\n"


def test_no_answer_from_the_address() -> None:
    """Somebody listens and says nothing: for as long as was said, and no longer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node = ("--node", f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.2")
        for command in (["get", "k"], ["put", "k", "v"], ["status"], ["ring"]):
            assert refused(*command, *node) == (1, "ringspec: no node could be reached in 0.2 s\n")


def test_a_cluster_runs_until_it_is_told_to_stop_and_goes_on_later(tmp_path: Path) -> None:
    for i in range(2):
        cluster = start("cluster", "--nodes", "3", "--dir", tmp_path / "run", "--record")
        assert cluster.stderr is not None
        said = [cluster.stderr.readline().decode() for _ in range(7)]
        assert "3 nodes, n=3 r=2 w=2" in said[6]
        addresses = [line.split()[2] for line in said[:3]]
        assert run("put", f"k{i}", f"v{i}", "--node", addresses[0])[0] == 0
        assert run("get", "k0", "--node", addresses[2])[:2] == (0, b"v0")
        assert len(run("ring", "k0", "--node", addresses[1])[1].split()) == 3
        cluster.send_signal(signal.SIGINT)
        assert cluster.communicate(timeout=30) == (b"", b"stopped\n")
        assert cluster.returncode == 0
    assert run("export", tmp_path / "run" / "a.db")[0] == 0
    assert "holds another cluster" in refused("cluster", "--nodes", "4", "--dir", tmp_path / "run")[1]
    assert "need at least 3 nodes, not 2" in refused("cluster", "--nodes", "2", "--dir", tmp_path / "two")[1]
    assert not (tmp_path / "two").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert "is not empty" in refused("cluster", "--dir", tmp_path / "full")[1]


def test_a_cluster_goes_on_without_a_node_that_was_killed_until_none_is_left(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    cluster = start("cluster", "--nodes", "3", "--dir", directory)
    assert cluster.stderr is not None
    said = [cluster.stderr.readline().decode() for _ in range(7)]
    addresses = [line.split()[2] for line in said[:3]]
    assert [line.split(maxsplit=2)[2] for line in said[3:6]] == [f"is node {name}\n" for name in "abc"]
    processes = [int(line.split()[1]) for line in said[3:6]]
    os.kill(processes[2], signal.SIGKILL)
    again = f"start it again: ringspec node --config {directory}/c.toml"
    assert cluster.stderr.readline().decode() == f"node c was killed by SIGKILL; {again}\n"
    assert run("put", "k", "v", "--node", addresses[0])[0] == 0
    assert run("get", "k", "--node", addresses[1])[:2] == (0, b"v")
    node = start("node", "--config", directory / "c.toml")
    while run("get", "k", "--node", addresses[2], "--timeout", "1")[:2] != (0, b"v"):
        assert node.poll() is None
    for process in processes[:2]:
        os.kill(process, signal.SIGTERM)
    assert {cluster.stderr.readline().split(b":")[0] for _ in range(2)} == {b"node a ended", b"node b ended"}
    assert cluster.communicate(timeout=30) == (b"", b"ringspec: no node is left\n")
    assert cluster.returncode == 1
    node.send_signal(signal.SIGTERM)
    node.communicate(timeout=30)
    assert node.returncode == 0


def test_nodes_of_a_cluster_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    cluster = start("cluster", "--nodes", "3", "--dir", tmp_path / "run")
    assert cluster.stderr is not None
    for _ in range(7):
        cluster.stderr.readline()
    cluster.kill()
    cluster.communicate(timeout=20)
    for name in ("a", "b", "c"):
        while "stopped" not in (tmp_path / "run" / f"{name}.log").read_text():
            time.sleep(0.01)


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "k", "--node", "a..b:7401"],
        ["get", "k", "--node", f"{'a' * 64}:7401"],
        ["get", "k", "--node", "a\0b:7401"],
        ["get", "k", "--timeout", "nan"],
        ["get", "k", "--timeout", "inf"],
        ["get", "k", "-r", "9" * 30],
        ["put", "k", "v", "-w", "9" * 30],
    ],
)
def test_arguments_that_no_number_and_no_host_can_be(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert refused_here(capsys, *arguments)[0] == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "it is nested too deeply"),
        ("store = 5", "Expected `object`, got `int` (in store)"),
        (f"[store]\nput_timeout_ms = {2**64}", f"put_timeout_ms must be at most {LARGEST}"),
        (f"[store]\nget_timeout_ms = {2**31}", f"get_timeout_ms must be at most {LARGEST}"),
        (f"[store.limits]\nhints = {2**64}", f"limit hints must be at most {LARGEST}"),
        (f"[store.limits]\nframe_bytes = {2**33}", f"limit frame_bytes must be at most {LARGEST}"),
        ('[[peer]]\nname = "b"\naddress = "a..b:7401"', "no host has such a name"),
    ],
)
def test_configurations_that_cannot_be_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "a.toml").write_text(text)
    status, line = refused_here(capsys, *node_with(tmp_path, *ONE), "--config", tmp_path / "a.toml")
    assert status == 2
    assert reason in line
    assert not (tmp_path / "a.db").exists()


@pytest.mark.parametrize("option", ["--data", "--secret-file"])
def test_no_file_has_such_a_name(capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str) -> None:
    status, line = refused_here(capsys, *node_with(tmp_path, *ONE), option, "a\0b")
    assert (status, line) == (2, "ringspec: 'a\\x00b' is not the name of a file\n")


def test_what_cannot_be_written_or_read_is_told_in_one_line(node: Node) -> None:
    assert run_here("put", "told", "v", "--node", node.address)[0] == 0
    for shell in ("get told --node {} > /dev/full", "status --node {} > /dev/full", "get told --node {} >&-"):
        command = " ".join([*RINGSPEC, shell.format(node.address)])
        done = subprocess.run(command, shell=True, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
        *_, last = done.stderr.splitlines()
        assert done.returncode == 1
        assert last.startswith("ringspec: ")
        assert "Traceback" not in done.stderr
    command = " ".join([*RINGSPEC, "put", "told", "--node", node.address, "<&-"])
    done = subprocess.run(command, shell=True, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "ringspec put: standard input is closed\n")


def test_a_node_that_stops_says_so_to_whoever_still_calls(tmp_path: Path) -> None:
    """Each of these clients asks again at once: no call is lost in a connection that ends, so no put is in doubt."""
    node, told = Node(tmp_path), Counter[str]()

    async def ask(number: int) -> None:
        async with await connect([node.address], timeout=2, attempts=1) as client:
            for turn in range(10_000):
                try:
                    await client.put(b"%d.%d" % (number, turn), b"x")
                except (MayHaveHappened, OperationFailed) as error:
                    told[type(error).__name__] += 1
                    return
                told["stored"] += 1

    async def main() -> None:
        asking = [asyncio.create_task(ask(number)) for number in range(8)]
        while told["stored"] < 100:
            await asyncio.sleep(0.01)
        node.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*asking)

    asyncio.run(main())
    node.process.communicate(timeout=20)
    assert node.process.returncode == 0
    assert told["MayHaveHappened"] == 0
    assert told["stored"] >= 100
