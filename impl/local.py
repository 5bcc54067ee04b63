"""A cluster of node processes on this machine: start, cut, heal, kill, restart and stop them.

A cluster lives in one directory: `cluster.json` (what it is), `secret`, and for each node its settings (`a.toml`), data
file (`a.db`) and what it said (`a.log`). Opening a directory that holds a cluster continues it, on the same ports.

Every node is a child of ours and reads from a pipe that we hold: when we are gone, however that came about, the pipe
ends and the nodes stop. Ports are taken from below the range that the system gives out by itself, so that nobody else
is handed the port of a node that is down.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from impl.client import ATTEMPTS, Client, OperationFailed, OperationRefused, Routing, connect
from impl.errors import UserError, one_line, usage
from impl.recorder import export_log
from impl.transport import Address
from impl.wire import CallFaults, Status
from spec.quorum import sizes
from spec.types import Config, NodeId

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
SLICE = 200
"""How many of these a process takes for itself."""

START_SECONDS = 20.0
STOP_SECONDS = 10.0
STANDING_SECONDS = 10.0
"""How long a node that serves may take to hear what it lacks from the others that run."""


class Description(Struct, frozen=True, forbid_unknown_fields=True):
    """What `cluster.json` holds."""

    config: Config
    addresses: dict[NodeId, str]
    record: bool
    faults: bool
    zones: dict[NodeId, str] = {}
    """Of the nodes that are in one."""


class LocalCluster:
    """The nodes of one directory; use `open_cluster`, then `start`."""

    def __init__(self, directory: Path, description: Description) -> None:
        """The processes are not started yet."""
        self.directory, self.description = directory, description
        self._processes: dict[NodeId, subprocess.Popen[bytes]] = {}

    @property
    def nodes(self) -> list[NodeId]:
        """The names of all nodes, up or down."""
        return sorted(self.description.addresses)

    @property
    def running(self) -> list[NodeId]:
        """The names of the nodes whose processes run."""
        return [name for name in self.nodes if name in self._processes and self._processes[name].poll() is None]

    def address(self, node: str) -> str:
        """HOST:PORT of a node."""
        return self.description.addresses[NodeId(node)]

    def addresses(self, nodes: Iterable[str] | None = None) -> list[str]:
        """HOST:PORT of these nodes; of all if none are named."""
        return [self.address(node) for node in (self.nodes if nodes is None else nodes)]

    def data(self, node: str) -> Path:
        """The data file of a node."""
        return self.directory / f"{node}.db"

    def log(self, node: str) -> Path:
        """What a node said."""
        return self.directory / f"{node}.log"

    async def client(
        self, *nodes: str, log: Path | None = None, routing: Routing = "any", attempts: int = ATTEMPTS
    ) -> Client:
        """A client of these nodes, in this order; of all if none are named; see `impl.client.connect`."""
        return await connect(self.addresses(nodes or None), log, routing=routing, attempts=attempts)

    # Processes.

    async def start(self, *nodes: str) -> None:
        """Start these nodes, or all, and wait until they serve and their links are up to all that run."""
        names = [NodeId(node) for node in nodes] or self.nodes
        for name in names:
            self._spawn(name)
        for name in names:
            await self._serving(name)

    async def kill(self, node: str) -> None:
        """`kill -9`."""
        await self._end(NodeId(node), signal.SIGKILL)

    async def stop(self, *nodes: str) -> None:
        """Ask these nodes, or all that run, to stop, and wait until they did. Raises UserError if one did not."""
        names = [NodeId(node) for node in nodes] or self.running
        statuses = await asyncio.gather(*(self._end(name, signal.SIGTERM) for name in names))
        for name, status in zip(names, statuses, strict=True):
            if status != 0:
                raise UserError(f"node {name} ended with status {status}: {self.last_words(name)}")

    async def restart(self, node: str) -> None:
        """Start a node that is down."""
        await self.start(node)

    async def ended(self, node: str) -> int:
        """Wait until a node's process ended, of itself; its status."""
        process = self._processes[NodeId(node)]
        while process.poll() is None:
            await asyncio.sleep(0.005)
        return process.wait()

    def process(self, node: str) -> int:
        """The process of a node that was started."""
        return self._processes[NodeId(node)].pid

    def end_of(self, node: str) -> str:
        """How a node ended of itself, or by another's hand."""
        status = self._processes[NodeId(node)].poll()
        assert status is not None, "a node that runs has no end"
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended: {self.last_words(node)}"

    async def caught_up(self, node: str) -> None:
        """Wait until a node that runs is confirmed and lacks nothing, however long that takes: what it holds counts.

        While it cannot be asked it is asked again. See `spec.comeback`.
        """
        while (status := await self.status(node)) is None or not status.confirmed or status.lacking:
            await asyncio.sleep(0.02)

    async def status(self, node: str) -> Status | None:
        """How a node is; None if it cannot be asked."""
        try:
            async with await self.client(node) as client:
                return await client.status()
        except OperationFailed:
            return None

    def lose_disk(self, node: str) -> None:
        """Remove the data file of a node that is down."""
        for file in self.directory.glob(f"{node}.db*"):
            file.unlink()

    def pause(self, node: str) -> None:
        """SIGSTOP: the node is there and does nothing."""
        self._processes[NodeId(node)].send_signal(signal.SIGSTOP)

    def resume(self, node: str) -> None:
        """SIGCONT."""
        self._processes[NodeId(node)].send_signal(signal.SIGCONT)

    def last_words(self, node: str) -> str:
        """The last line that a node said."""
        lines = self.log(node).read_text(errors="replace").splitlines() if self.log(node).exists() else []
        return lines[-1] if lines else "it said nothing"

    def export(self, directory: Path) -> list[Path]:
        """Write the recordings of all nodes, which must be down, into a directory: `a.ndjson` and so on."""
        files = []
        for name in self.nodes:
            files.append(directory / f"{name}.ndjson")
            with files[-1].open("wb") as file:
                file.writelines(export_log(self.data(name)))
        return files

    async def owed_to(self, node: str) -> int:
        """How many keys the other nodes, which must run, owe a node something of."""
        count = 0
        for name in self.nodes:
            if name != node:
                async with await self.client(name) as client:
                    count += sum(peer.owed for peer in (await client.status()).peers if peer.name == node)
        return count

    # Links.

    async def faults(self, node: str, wanted: CallFaults) -> None:
        """Make the links of a running node this faulty. Raises OperationRefused if it was not started for it.

        A node that is to die after a commit may be dead before it has answered.
        """
        async with await self.client(node) as client:
            try:
                await client.faults(wanted)
            except OperationFailed as failure:
                if wanted.crash_after_commits is None or isinstance(failure, OperationRefused):
                    raise

    async def cut(self, *sides: Sequence[str]) -> None:
        """Cut the network into these sides: nothing crosses until it is healed."""
        for i, side in enumerate(sides):
            others = tuple(sorted(NodeId(node) for j, other in enumerate(sides) if j != i for node in other))
            for node in side:
                await self.faults(node, CallFaults(0, cut=others))

    async def heal(self) -> None:
        """Make all links of all running nodes perfect."""
        for node in self.running:
            await self.faults(node, CallFaults(0))

    # How.

    def _spawn(self, name: NodeId) -> None:
        if name in self.running:
            raise UserError(f"node {name} is running already")
        command = [sys.executable, "-m", "impl.cli", "node", "--config", str(self.directory / f"{name}.toml")]
        with self.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*command, "--until-eof"], stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    async def _serving(self, name: NodeId) -> None:
        """Wait until a node serves, is linked to every node that runs, and, a while, until its answers count."""
        process, patient = self._processes[name], time.monotonic() + STANDING_SECONDS
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    if process.poll() is not None:
                        raise UserError(f"node {name} did not start: {self.last_words(name)}")
                    status = await self.status(name)
                    if status is not None:
                        linked, others = {p.name for p in status.peers if p.connected}, set(self.running) - {name}
                        if linked >= others and (stands(status, others) or time.monotonic() > patient):
                            return
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise UserError(f"node {name} did not start in {START_SECONDS:g} s: {self.last_words(name)}") from None

    async def _end(self, name: NodeId, number: signal.Signals) -> int:
        process = self._processes.pop(name)
        if process.poll() is None:
            process.send_signal(number)
        try:
            status = await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            status = await asyncio.to_thread(process.wait)
        if process.stdin is not None:
            process.stdin.close()
        return status

    async def __aenter__(self) -> LocalCluster:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Whatever happened, leave no process behind."""
        await asyncio.gather(*(self._end(name, signal.SIGTERM) for name in self.nodes if name in self._processes))


def open_cluster(
    directory: Path,
    nodes: Sequence[str] | int,
    config: Config,
    *,
    zones: Mapping[NodeId, str] | None = None,
    record: bool = False,
    faults: bool = False,
) -> LocalCluster:
    """The cluster of a directory: made if the directory is new or empty, else continued. Raises UserError.

    `nodes` are names, or how many, and `zones` says in which failure domains they are. A cluster that is continued must
    be the same in everything but `record`, `faults`.
    """
    names = [NodeId(name) for name in (node_names(nodes) if isinstance(nodes, int) else nodes)]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "cluster.json"
        if file.exists():
            old = msgspec.json.decode(file.read_bytes(), type=Description)
            if (sorted(old.addresses), old.config, old.zones) != (sorted(names), config, dict(zones or {})):
                raise usage(f"{directory} holds another cluster: {describe(old)}; name another directory")
            addresses = old.addresses
        elif any(directory.iterdir()):
            raise usage(f"{directory} is not empty and holds no cluster; name another directory")
        else:
            addresses = {name: f"{HOST}:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
            (directory / "secret").write_bytes(secrets.token_bytes(32))
        cluster = LocalCluster(directory, Description(config, addresses, record, faults, dict(zones or {})))
        for name in names:
            (directory / f"{name}.toml").write_text(node_toml(name, cluster.description), encoding="utf-8")
        file.write_bytes(msgspec.json.format(msgspec.json.encode(cluster.description)))
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise UserError(f"{directory} cannot hold a cluster: {one_line(error)}") from None
    return cluster


def node_names(count: int) -> list[str]:
    """a, b, c … as long as letters last, then n27, n28 …"""
    return [chr(ord("a") + i) if i < 26 else f"n{i + 1}" for i in range(count)]


def describe(description: Description) -> str:
    """A cluster in a few words."""
    config = description.config
    return f"{len(description.addresses)} nodes, {sizes(config)}"


class Slice:
    """Ports of which this process alone chooses, in turn.

    Between the choice of a port and the start of its node, and again while that node is down, nobody listens there, and
    any other process that looks would find it free. So each process that chooses takes a slice of the range for itself:
    it holds the first port of it for as long as it lives.
    """

    def __init__(self) -> None:
        """Take one. Raises UserError if all are taken."""
        for start in random.sample(PORTS[::SLICE], len(PORTS) // SLICE):
            lock = socket.socket()
            try:
                lock.bind(Address(HOST, start))
            except OSError:
                lock.close()
                continue
            self.lock = lock.detach()
            """A file descriptor, which nobody closes before the process ends."""
            self.ports = itertools.cycle(PORTS[start - PORTS.start + 1 :][: SLICE - 1])
            return
        raise UserError(f"all ports between {PORTS.start} and {PORTS.stop} are taken")


@cache
def our_slice() -> Slice:
    """The slice of this process."""
    return Slice()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now, and that no other process is told. Raises UserError."""
    found: list[int] = []
    for port in itertools.islice(our_slice().ports, SLICE - 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(Address(HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise UserError(f"there are no {count} free ports among the {SLICE} that this process may choose from")


def stands(status: Status, others: set[NodeId]) -> bool:
    """Whether what a node holds counts, as far as these others can help it."""
    return not others or (status.confirmed and not others & set(status.lacking))


def node_toml(name: NodeId, description: Description) -> str:
    """The settings of one node of a cluster, as a file."""

    def table(values: dict[str, object]) -> list[str]:
        # Strings, numbers and booleans are written alike in TOML and in JSON.
        return [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in values.items()]

    config: dict[str, object] = msgspec.to_builtins(description.config)
    limits = config.pop("limits")
    assert isinstance(limits, dict)
    head: dict[str, object] = {
        "name": name,
        "listen": description.addresses[name],
        "data": f"{name}.db",
        "secret_file": "secret",
        "record": description.record,
        "faults": description.faults,
        "zone": description.zones.get(name, ""),
    }
    lines = [*table(head), "", "[store]", *table(config), "", "[store.limits]", *table(limits)]
    for peer, address in description.addresses.items():
        if peer != name:
            lines += [
                "",
                "[[peer]]",
                *table({"name": peer, "address": address, "zone": description.zones.get(peer, "")}),
            ]
    return "\n".join(lines) + "\n"
