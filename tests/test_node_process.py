"""What befalls a node's process beside its work: where its log cannot be written, and who sits on its metrics."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from impl.blocking import connect
from impl.client import Unreachable
from impl.local import free_ports
from impl.scrapers import PLACES
from impl.wire import framed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and /proc are Linux's")

ROOT = Path(__file__).resolve().parent.parent
OTHERS = 16
"""Threads and descriptors of a node that are not for metrics, or of connections that just end, at most, beyond those
that it has when it begins."""


class Node:
    """A node in a process of its own, whose streams are what a shell is told."""

    def __init__(self, directory: Path, streams: str, *more: str, stderr: int | None = None) -> None:
        (directory / "secret").write_bytes(b"s" * 32)
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        command = [
            *("sh", "-c", f'exec "$@" {streams}', "sh"),
            *(sys.executable, "-m", "impl.cli", "node", "--name", "a", "--listen", self.address),
            *("--data", str(directory / "a.db"), "--secret-file", str(directory / "secret")),
            *("-n", "1", "-r", "1", "-w", "1", *more),
        ]
        nothing = subprocess.DEVNULL
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=nothing, stdout=nothing, stderr=stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind, whatever happened."""
        with self.process:
            self.process.kill()

    def serves(self) -> None:
        """Wait until it serves; it puts, gets, and turns away what is nonsense, of which there is something to say."""
        while not self.listens():
            assert self.process.poll() is None, "it ended"
            time.sleep(0.05)
        host, port = self.address.split(":")
        for _ in range(3):
            with socket.create_connection((host, int(port))) as stranger:
                stranger.sendall(framed(b"nonsense"))
                while stranger.recv(1000):
                    pass
            with connect([self.address]) as store:
                store.put(b"k", b"v")
                assert b"v" in store.get(b"k").values
        with connect([self.address]) as store:
            assert store.status().counts.turned_away >= 3

    def listens(self) -> bool:
        try:
            connect([self.address]).close()
        except Unreachable:
            return False
        return True

    def stop(self) -> int:
        """Its status when it was told to stop."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def costs(self) -> tuple[int, int]:
        """How many threads it has, and how many open files."""
        place = Path(f"/proc/{self.process.pid}")
        return len(os.listdir(place / "task")), len(os.listdir(place / "fd"))


@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_node_that_cannot_log_does_its_work(tmp_path: Path, streams: str) -> None:
    with Node(tmp_path, streams) as node:
        node.serves()
        held = {os.readlink(f"/proc/{node.process.pid}/fd/{number}") for number in range(3)}
        assert held <= {"/dev/null", "/dev/full"}, "no file or connection of the node has a standard stream's number"
        assert node.stop() == 0


def test_a_node_whose_log_nobody_reads_any_more_does_its_work(tmp_path: Path) -> None:
    """As under `ringspec node … 2>&1 | head -1`."""
    with Node(tmp_path, "", stderr=subprocess.PIPE) as node:
        assert node.process.stderr is not None
        assert b"event=listening" in node.process.stderr.readline()
        node.process.stderr.close()
        node.serves()
        assert node.stop() == 0


def test_who_sits_on_the_metrics_costs_little_and_hinders_nobody(tmp_path: Path) -> None:
    """They say nothing, or end no line, or go in the middle; meanwhile there are scrapes, puts, and a clean end."""
    metrics, log = ("127.0.0.1", free_ports(1)[0]), tmp_path / "log"

    def scrape() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics[1]}/metrics", timeout=60) as response:
            return bytes(response.read())

    with Node(tmp_path, f"2>'{log}'", "--metrics", f"127.0.0.1:{metrics[1]}") as node, ExitStack() as sitting:
        node.serves()
        threads, files = node.costs()
        for number in range(300):
            guest = sitting.enter_context(socket.create_connection(metrics))
            if number % 3 == 1:
                guest.sendall(b"GET /metrics HTTP/1.0\r\nX: " + b"x" * 1000)
            if number % 3 == 2:
                guest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                guest.sendall(b"GET /met")
                guest.close()
        assert b"ringspec_steps_total" in scrape()
        more_threads, more_files = node.costs()
        assert more_threads - threads <= PLACES + OTHERS
        assert more_files - files <= PLACES + OTHERS
        node.serves()
        assert b"ringspec_turned_away_total 6" in scrape()
        assert node.stop() == 0
        assert b"Traceback" not in log.read_bytes()


def test_a_request_line_without_an_end_is_refused(tmp_path: Path) -> None:
    metrics = ("127.0.0.1", free_ports(1)[0])
    with Node(tmp_path, "", "--metrics", f"127.0.0.1:{metrics[1]}") as node:
        node.serves()
        with socket.create_connection(metrics) as guest:
            guest.sendall(b"GET /" + b"x" * 70_000)
            assert guest.recv(1000).startswith(b"HTTP/1.0 414 ")
        assert node.stop() == 0
