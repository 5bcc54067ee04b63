"""Stores of three processes on this machine, to be measured beside each other.

Ours come with and without recording, and as an echo that has no specification (`tests.bench.echo`). Of others there are
those that Debian packages, where they are installed: etcd, whose members agree on every write, make it durable, and
linearize every read; and Redis, a server that makes every write durable and has two replicas, for one of which a put
waits (`WAIT 1`: it was received there, which is less than durable) while a get asks the server alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from impl.local import LocalCluster, free_ports, node_names, open_cluster
from spec.types import Config, Key, Value
from tests.bench.talk import CLIENTS, Client, Language

Subject = Literal["node", "recording", "echo", "etcd", "redis"]

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 30.0


class Store(NamedTuple):
    """Three processes that serve."""

    language: Language
    addresses: list[str]
    """Whom clients ask."""
    processes: list[int]

    def cpu_seconds(self) -> float:
        """What the processes have spent so far."""
        return sum(map(cpu_seconds, self.processes))


def cpu_seconds(process: int) -> float:
    """What a process has spent so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


Opened: TypeAlias = contextlib.AbstractAsyncContextManager[Store]


def stores(directory: Path) -> Iterator[tuple[Subject, Opened]]:
    """Each that can be had here, in a folder of its own."""
    yield "node", cluster(directory / "node", False)
    yield "recording", cluster(directory / "recording", True)
    yield "echo", echoes(directory / "echo")
    if shutil.which("etcd"):
        yield "etcd", etcds(directory / "etcd")
    if shutil.which("redis-server"):
        yield "redis", redises(directory / "redis")


@contextlib.asynccontextmanager
async def cluster(directory: Path, record: bool) -> AsyncIterator[Store]:
    """Three nodes."""
    async with open_cluster(directory, 3, Config(), record=record) as nodes:
        yield store_of(nodes)


def store_of(nodes: LocalCluster) -> Store:
    """Nodes that run, as clients see them."""
    return Store("ringspec", nodes.addresses(), [nodes.process(name) for name in nodes.nodes])


@contextlib.asynccontextmanager
async def echoes(directory: Path) -> AsyncIterator[Store]:
    """Three processes without a specification."""
    directory.mkdir()
    names, addresses = node_names(3), local_addresses(3)
    peers = [f"{name}={address}" for name, address in zip(names, addresses, strict=True)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.echo", name, str(directory / f"{name}.db"), *peers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n", "an echo did not start"
        yield Store("ringspec", addresses, [process.pid for process in processes])
    finally:
        for process in processes:
            process.communicate()


@contextlib.asynccontextmanager
async def etcds(directory: Path) -> AsyncIterator[Store]:
    """Three members of an etcd cluster; clients ask all of them."""
    names, clients, peers = node_names(3), local_addresses(3), local_addresses(3)
    together = ",".join(f"{name}=http://{peer}" for name, peer in zip(names, peers, strict=True))
    commands = [
        [
            *("etcd", "--name", name, "--data-dir", str(directory / name), "--log-level", "error"),
            *("--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}"),
            *("--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}"),
            *("--initial-cluster", together),
        ]
        for name, client, peer in zip(names, clients, peers, strict=True)
    ]
    async with running(directory, commands) as processes:
        for address in clients:
            await answering("etcd", address)
        yield Store("etcd", clients, processes)


@contextlib.asynccontextmanager
async def redises(directory: Path) -> AsyncIterator[Store]:
    """A Redis server and two replicas of it; clients ask the first."""
    addresses = local_addresses(3)
    ports = [address.rpartition(":")[2] for address in addresses]
    for port in ports:
        (directory / port).mkdir(parents=True)
    durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--repl-diskless-sync-delay", "0")
    commands = [["redis-server", "--port", port, "--dir", str(directory / port), *durable] for port in ports]
    for command in commands[1:]:
        command += ["--replicaof", "127.0.0.1", ports[0]]
    async with running(directory, commands) as processes:
        await answering("redis", addresses[0])
        yield Store("redis", addresses[:1], processes)


def local_addresses(count: int) -> list[str]:
    """So many that nobody listens at."""
    return [f"127.0.0.1:{port}" for port in free_ports(count)]


@contextlib.asynccontextmanager
async def running(directory: Path, commands: Sequence[Sequence[str]]) -> AsyncIterator[list[int]]:
    """Programs of others, until the end; what they say goes to a file."""
    directory.mkdir(exist_ok=True)
    with (directory / "log").open("wb") as log:
        processes = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
        try:
            yield [process.pid for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()


async def answering(language: Language, address: str) -> None:
    """Wait until a put there succeeds."""
    async with asyncio.timeout(START_SECONDS):
        while not await asyncio.to_thread(has_stored, CLIENTS[language], address):
            await asyncio.sleep(0.2)


def has_stored(client_of: Callable[[str], Client], address: str) -> bool:
    """Whether a put of no importance succeeds."""
    try:
        client = client_of(address)
    except OSError:
        return False
    with contextlib.closing(client.socket):
        client.socket.settimeout(START_SECONDS / 4)
        try:
            client.put(Key(b"started"), Value(b"yes"), None)
            told = None
            while told is None:
                told = client.hear()
        except OSError:
            return False
        return told.type == "Stored"
