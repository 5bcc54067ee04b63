"""Data files that a killed node left are inspected as they are, and names that no data file can have are refused."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Self

import pytest

from impl.datafile import data_bytes
from impl.errors import UserError
from impl.inspection import inspect_file
from impl.local import free_ports
from impl.storage import open_storage
from spec.types import NodeId

ROOT = Path(__file__).resolve().parent.parent
RINGSPEC = [sys.executable, "-m", "impl.cli"]


def ringspec(*args: str | Path, before: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """A command: status, standard output, standard error."""
    command = [*before, *RINGSPEC, *map(str, args)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return ran.returncode, ran.stdout, ran.stderr


def node_at(data: Path, secret: Path, address: str = "") -> list[str | Path]:
    """The arguments of a node over this data file."""
    listen = address or f"127.0.0.1:{free_ports(1)[0]}"
    where: list[str | Path] = ["--listen", listen, "--data", data, "--secret-file", secret]
    return ["node", "--name", "a", *where, "-n", "1", "-r", "1", "-w", "1"]


class Node:
    """A node in a process of its own, over this data file."""

    def __init__(self, data: Path) -> None:
        secret = data.parent / "secret"
        secret.write_bytes(b"s" * 32)
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self.arguments = node_at(data, secret, self.address)
        self.process = subprocess.Popen([*RINGSPEC, *map(str, self.arguments)], cwd=ROOT, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        assert b"event=listening" in self.process.stderr.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind, whatever happened."""
        with self.process:
            self.process.kill()

    def put(self, key: str, value: str) -> None:
        assert ringspec("put", key, value, "--node", self.address)[0] == 0

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=30)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The data file of a node that stored things, stopped, stored more and was killed."""
    data = tmp_path / "a.db"
    for number in (signal.SIGTERM, signal.SIGKILL):
        with Node(data) as node:
            node.put(f"before-{number.name}", "v" * 100)
            node.end(number)
    return data


def seen(directory: Path) -> dict[str, tuple[str, int, int]]:
    """Every file with its content, its size and when it was changed."""
    return {
        path.name: (sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in directory.iterdir()
    }


def test_what_a_killed_node_left_stays_as_it_is(killed: Path) -> None:
    """What is in the write-ahead log alone is shown, and is there when the node starts again."""
    left = seen(killed.parent)
    assert left["a.db-wal"][1] > 0
    assert b"before-SIGKILL" not in killed.read_bytes(), "it is in the log alone"
    for more in ((), ("--json",), ("--key", "before-SIGKILL"), ("--limit", "1")):
        status, out, err = ringspec("inspect", killed, *more)
        assert (status, err) == (0, "")
        assert "before-SIGKILL" in out or more
        assert seen(killed.parent) == left
    assert re.search(r"\n2 keys, 0 lines of a recording\n", ringspec("inspect", killed)[1])
    assert f'"data_bytes":{left["a.db"][1] + left["a.db-wal"][1]},' in ringspec("inspect", killed, "--json")[1]
    assert ringspec("inspect", killed, "--key", "absent")[0] == 1
    assert seen(killed.parent) == left
    with Node(killed) as node:
        for key in ("before-SIGTERM", "before-SIGKILL"):
            assert ringspec("get", key, "--node", node.address)[:2] == (0, "v" * 100)


def test_a_link_to_a_data_file_is_inspected_like_the_file(killed: Path) -> None:
    left = seen(killed.parent)
    link = killed.parent / "elsewhere" / "with ? and # in its name.db"
    link.parent.mkdir()
    link.symlink_to(killed)
    assert data_bytes(link) == data_bytes(killed)
    assert "before-SIGKILL" in ringspec("inspect", link)[1]
    link.unlink()
    link.parent.rmdir()
    assert seen(killed.parent) == left


def test_a_node_and_an_inspection_keep_each_other_out(killed: Path) -> None:
    with Node(killed) as node:
        assert "is in use by another process" in ringspec("inspect", killed)[2]
    left = seen(killed.parent)
    with inspect_file(killed) as inspected:
        status, out, err = ringspec(*node.arguments)
        assert (status, out, err) == (1, "", f"ringspec: data file {killed} is in use by another process\n")
        with pytest.raises(UserError, match="in use by another process"):
            open_storage(killed, NodeId("a"))
        assert ringspec("inspect", killed)[2] == err
        assert len(list(inspected.rows(None, None))) == 2
    assert seen(killed.parent) == left
    with Node(killed):
        pass


# Names.


def test_names_that_no_data_file_can_have_are_refused_in_one_line(tmp_path: Path) -> None:
    """SQLite adds to the name: it has to be shorter than a name may be, or the file is made and of no use."""
    place, secret = tmp_path / "place", tmp_path / "secret"
    place.mkdir()
    secret.write_bytes(b"s" * 32)
    (place / "file").touch()
    (place / "loop").symlink_to(place / "loop")
    os.mkfifo(place / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(place / "socket"))  # the name of a socket is short
    wrong = {
        place / ("x" * 256): "file name too long",
        place / ("x" * 250): "file name too long",
        place / ("x" * 300) / "a.db": "file name too long",
        place / "/".join(["x" * 250] * 20): "file name too long",
        place / "file" / "a.db": "not a directory",
        place / "loop": "too many levels of symbolic links",
        place / "loop" / "a.db": "too many levels of symbolic links",
        place / "pipe": "is not a ringspec data file",
        place / "socket": "is not a ringspec data file",
        place: "is a directory",
    }
    left = sorted(place.iterdir())
    for data, why in wrong.items():
        for command in (node_at(data, secret), ("inspect", data), ("export", data)):
            status, out, err = ringspec(*command)
            assert (status, out, err.count("\n")) == (1, "", 1), err
            assert err.startswith("ringspec: ")
            assert "Errno" not in err
            assert why in err
    assert sorted(place.iterdir()) == left


def test_a_directory_that_may_not_be_looked_into_is_named_in_one_line(tmp_path: Path) -> None:
    place, secret = tmp_path / "place", tmp_path / "secret"
    place.mkdir()
    secret.write_bytes(b"s" * 32)
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:  # whom permissions do not bind, unless he gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root may look into every directory, and nothing here can give that up")
        before = ("setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search")
    place.chmod(0)
    try:
        for command in (node_at(place / "a.db", secret), ("inspect", place / "a.db"), ("export", place / "a.db")):
            status, out, err = ringspec(*command, before=before)
            assert (status, out) == (1, "")
            assert err == f"ringspec: data file {place / 'a.db'} cannot be used: permission denied\n"
    finally:
        place.chmod(0o700)


@pytest.mark.parametrize("command", ["replay", "validate", "history"])
def test_names_that_no_run_can_have_are_refused_in_one_line(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for run in (tmp_path / ("x" * 256), tmp_path / "file" / "run", tmp_path / "loop"):
        status, out, err = ringspec(command, run)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert "Errno" not in err
