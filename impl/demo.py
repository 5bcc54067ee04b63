"""The main job, end to end: run the specification, then validate the run, explore and prove what ran.

Five real nodes on this machine, real files, a cut, a kill, a lost disk. Every promise that is made on the way is held
against what came back; the first that is broken ends the run. The nodes and the clients record what they do. Then the
commands that a user would give, `ringspec validate`, `check` and `prove`, are given, as processes of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from impl.client import Client, MayHaveHappened, OperationFailed, Values
from impl.errors import UserError
from impl.local import LocalCluster, open_cluster
from spec.quorum import GetWishes
from spec.ring import Member, build_ring, owners_of
from spec.siblings import Version
from spec.types import Config, Key, NodeId

NODES = 5
CLIENTS = 8
PACKAGES = ("asyncio", "email", "json")
MORE_PACKAGES = ("importlib", "logging", "multiprocessing", "unittest", "encodings", "http", "xml", "ctypes")
FILES = 300
EXPLORED, STATES = "puts-get-crash", 100_000
WRITES = 600
DRAIN_SECONDS = 10.0
CONFIG = Config(n=3, r=2, w=2, put_timeout_ms=1_500, get_timeout_ms=1_500)
"""Short timeouts, so that the cut costs little time."""

Say = Callable[[str], None]


class Broken(UserError):
    """Something was not as promised."""


def expect(condition: bool, broken: str) -> None:
    """End the run unless a promise was kept."""
    if not condition:
        raise Broken(f"not as promised: {broken}")


def source_files() -> dict[str, bytes]:
    """The source of packages of the installed Python, by path: the three named first, then others up to `FILES`."""
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for name in (*PACKAGES, *MORE_PACKAGES) for path in sorted((library / name).rglob("*.py"))]
    return {str(path.relative_to(library)): path.read_bytes() for path in paths[:FILES]}


async def side_by_side(jobs: Iterable[Coroutine[None, None, None]]) -> None:
    """Run these at the same time; the first that fails ends all, and its error is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def play(directory: Path | None, say: Say) -> int:
    """Do it all, telling it as it goes; the exit status. Raises UserError when a promise was broken."""
    began = time.perf_counter()

    def told(line: str) -> None:
        say(f"{time.perf_counter() - began:5.1f} s  {line}")

    with tempfile.TemporaryDirectory() if directory is None else nullcontext(str(directory)) as place:
        Path(place).mkdir(parents=True, exist_ok=True)
        say("RUN      real nodes, sockets and disks")
        logs, logs_after_loss = asyncio.run(tell_story(Path(place), told))
        say("VALIDATE the nodes' and the clients' logs against the specification that they ran")
        commands = {
            "validate": (["validate", str(logs)], 0),
            "validate after loss": (["validate", str(logs_after_loss)], 0),
            "check": (["check", EXPLORED, "--max-states", str(STATES), "--no-progress"], 3),
            "prove": (["prove"], 0),
        }
        with ThreadPoolExecutor(max_workers=2) as pool:
            jobs = {name: pool.submit(ringspec, *command) for name, command in commands.items()}
            told(first_lines(jobs["validate"].result(), 2))
            after = first_lines(jobs["validate after loss"].result(), 2)
            told(f"so it is with the day after; {after.partition('; ')[2]}")
            say("EXPLORE  the same specification, every interleaving and a crash at any moment")
            told(first_lines(jobs["check"].result(), 2))
            say("PROVE    the same specification, for any number of nodes, versions and messages")
            told(jobs["prove"].result().splitlines()[-1])
    told("everything is as promised")
    return 0


def ringspec(arguments: list[str], status: int) -> str:
    """What a command of ours prints. Raises Broken if it does not end as promised."""
    done = subprocess.run([sys.executable, "-m", "impl.cli", *arguments], capture_output=True, text=True, check=False)
    expect(done.returncode == status, f"ringspec {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def first_lines(text: str, count: int) -> str:
    """The first lines of a report, on one."""
    return "; ".join(line.strip() for line in text.splitlines()[:count])


async def tell_story(directory: Path, say: Say) -> tuple[Path, Path]:
    """Run the cluster through two days; the directories of the logs of the first, and of both.

    What was recorded on a lost disk is lost with it, so only the logs of the first day are whole. Raises Broken, or
    what a client raises.
    """
    cluster = open_cluster(directory / "cluster", NODES, CONFIG, record=True, faults=True)
    logs, logs_after_loss = directory / "logs", directory / "logs-after-loss"
    logs.mkdir()
    acknowledged = await first_day(cluster, logs, say)
    shutil.copytree(logs, logs_after_loss)
    cluster.export(logs)
    await lose_a_disk(cluster, logs_after_loss, acknowledged, say)
    cluster.export(logs_after_loss)
    return logs, logs_after_loss


async def first_day(cluster: LocalCluster, logs: Path, say: Say) -> dict[bytes, bytes]:
    """Store, cut, heal and kill; what was acknowledged in the end."""
    async with cluster:
        say(f"{NODES} nodes are up, N={CONFIG.n} R={CONFIG.r} W={CONFIG.w}: {', '.join(cluster.addresses())}")
        clients = [await cluster.client(*rotated(cluster, i), log=logs / f"client-{i}.ndjson") for i in range(CLIENTS)]
        try:
            await store_files(clients, say)
            await cut_and_heal(cluster, logs, say)
            acknowledged = await kill_during_writes(cluster, clients, say)
        finally:
            for client in clients:
                await client.close()
        await cluster.stop()
    return acknowledged


def rotated(cluster: LocalCluster, i: int) -> list[NodeId]:
    """All nodes, each client beginning with another."""
    at = i % len(cluster.nodes)
    return cluster.nodes[at:] + cluster.nodes[:at]


async def store_files(clients: list[Client], say: Say) -> None:
    """Store real files under their paths and read each back at another node."""
    files = source_files()
    paths, size = list(files), sum(map(len, files.values()))

    async def write(i: int) -> None:
        for path in paths[i :: len(clients)]:
            await clients[i].put(path.encode(), files[path])

    async def read(i: int) -> None:
        for path in paths[i :: len(clients)]:
            found = await clients[(i + 1) % len(clients)].get(path.encode())
            digests = [hashlib.sha256(value).hexdigest() for value in found.values]
            expect(digests == [hashlib.sha256(files[path]).hexdigest()], f"{path} did not come back as it was stored")

    began = time.perf_counter()
    await side_by_side(write(i) for i in range(len(clients)))
    written = time.perf_counter()
    await side_by_side(read(i) for i in range(len(clients)))
    done = time.perf_counter()
    say(
        f"{len(files)} files of Python's {', '.join(PACKAGES)} and others, {size / 1e6:.1f} MB: stored in "
        f"{written - began:.1f} s, read back at other nodes in {done - written:.1f} s, all SHA-256 equal"
    )


async def cut_and_heal(cluster: LocalCluster, logs: Path, say: Say) -> None:
    """Cut the network, write the same key on both sides, heal, and reconcile."""
    key, sides, at = split_key(cluster)
    await cluster.cut(*sides)
    say(f"the network is cut: {' '.join(sides[0])} | {' '.join(sides[1])}; both sides write the key {key.decode()!r}")
    async with await cluster.client(at[0], log=logs / "client-majority.ndjson") as majority:
        stored = await majority.put(key, b"written with the majority")
        say(f"  at {at[0]}: stored as {stored.dot}, two of its three owners are on this side")
        async with await cluster.client(at[1], log=logs / "client-minority.ndjson", attempts=1) as minority:
            try:
                await minority.put(key, b"written with the minority")
                raise Broken("not as promised: a put succeeded on the side of a single owner, with W = 2")
            except MayHaveHappened as indefinite:
                say(f"  at {at[1]}: may have happened ({indefinite}): one owner is here, W = 2")
            await cluster.heal()
            found = await get_siblings(minority, key, 2)
            say(f"healed; a get at {at[1]} finds {len(found.siblings)} siblings, neither had seen the other:")
            for version in found.siblings:
                say(f"  {version}: {version.value.decode()}")
            await minority.put(key, b"both", found.context)
            settled = await majority.get(key)
            expect(settled.values == (b"both",), f"the siblings were not reconciled: {show(settled.siblings)}")
            say(f"one put with that get's context reconciles them: {show(settled.siblings)}")


async def get_siblings(client: Client, key: bytes, count: int) -> Values:
    """Get until links are up again and this many siblings are there."""
    for _ in range(50):
        try:
            found = await client.get(key)
        except OperationFailed:
            continue
        if len(found.siblings) == count:
            return found
        await asyncio.sleep(0.1)
    raise Broken(f"not as promised: {count} siblings never came together after the cut was healed")


def split_key(cluster: LocalCluster) -> tuple[bytes, tuple[list[str], list[str]], tuple[str, str]]:
    """A key, two sides of a cut that part its owners, and an owner on each side."""
    ring = build_ring(tuple(Member(name) for name in cluster.nodes), CONFIG)
    key = Key(b"shopping cart")
    first, second, third = owners_of(ring, key, CONFIG.n)
    minority = [third, next(name for name in cluster.nodes if name not in (first, second, third))]
    return key, (sorted(set(cluster.nodes) - set(minority)), sorted(minority)), (first, third)


async def kill_during_writes(cluster: LocalCluster, clients: list[Client], say: Say) -> dict[bytes, bytes]:
    """Kill a node while everybody writes, bring it back, and look for everything that was acknowledged; that is told.

    Others take in its place what is written while it is away, and hand that over when it is back.
    """
    victim, acknowledged, unknown, failed = cluster.nodes[1], dict[bytes, bytes](), 0, 0
    reached = asyncio.Event()

    async def write(i: int) -> None:
        nonlocal unknown, failed
        for n in range(i, WRITES, len(clients)):
            key, value = f"order/{n}".encode(), f"order {n} of client {i + 1}".encode()
            try:
                await clients[i].put(key, value)
                acknowledged[key] = value
            except MayHaveHappened:
                unknown += 1
            except OperationFailed:
                failed += 1
                await asyncio.sleep(0.05)
            if len(acknowledged) >= WRITES // 4:
                reached.set()

    async def kill() -> None:
        await reached.wait()
        await cluster.kill(victim)

    await side_by_side([kill(), *(write(i) for i in range(len(clients)))])
    say(
        f"node {victim} was killed with SIGKILL during {WRITES} puts: {len(acknowledged)} acknowledged, {unknown} of "
        f"unknown outcome, {failed} failed"
    )
    hints = await cluster.owed_to(victim)
    expect(hints > 0, f"nobody owes {victim} anything, though it was away while others wrote")
    began = time.perf_counter()
    await cluster.restart(victim)
    while await cluster.owed_to(victim):
        expect(time.perf_counter() - began < DRAIN_SECONDS, f"{victim} still lacks something {DRAIN_SECONDS:g} s later")
        await asyncio.sleep(0.02)
    took = time.perf_counter() - began

    async def read(i: int) -> None:
        for key in list(acknowledged)[i :: len(clients)]:
            found = await clients[i].get(key)
            expect(acknowledged[key] in found.values, f"{key.decode()} was acknowledged and is gone")

    await side_by_side(read(i) for i in range(len(clients)))
    say(
        f"  restarted, it was handed the {hints} keys that others had taken in its place, {took:.1f} s after its start;"
        f" all {len(acknowledged)} acknowledged are there"
    )
    return acknowledged


async def lose_a_disk(cluster: LocalCluster, logs: Path, acknowledged: dict[bytes, bytes], say: Say) -> None:
    """Bring a node back without its disk, and when it has caught up take away those with whom it shares most keys.

    With two of three owners gone two others answer in their place; PR = 1 waits for the owner that is left.
    """
    ring = build_ring(tuple(Member(name) for name in cluster.nodes), CONFIG)
    victim = cluster.nodes[2]
    sharers = Counter(
        tuple(sorted(owners - {victim}))
        for key in acknowledged
        if victim in (owners := set(owners_of(ring, Key(key), CONFIG.n)))
    )
    others, alone = sharers.most_common(1)[0]
    async with cluster:
        await cluster.kill(victim)
        cluster.lose_disk(victim)
        began = time.perf_counter()
        await cluster.start(victim)
        try:
            await asyncio.wait_for(cluster.caught_up(victim), DRAIN_SECONDS)
        except TimeoutError:
            raise Broken(f"not as promised: {victim} has not caught up") from None
        took = time.perf_counter() - began
        await asyncio.gather(*map(cluster.kill, others))
        rest = [name for name in cluster.nodes if name not in others]
        async with await cluster.client(*rest, log=logs / "client-after-loss.ndjson", attempts=10) as client:

            async def read(i: int) -> None:
                for key in list(acknowledged)[i::CLIENTS]:
                    found = await client.get(key, wishes=GetWishes(pr=1))
                    expect(acknowledged[key] in found.values, f"{key.decode()} was acknowledged and went with a disk")

            await side_by_side(read(i) for i in range(CLIENTS))
    say(f"the next day node {victim} comes back with an empty disk, and has caught up {took:.1f} s later")
    say(
        f"  {' and '.join(others)} are killed, and of {alone} keys {victim} is the only owner left:"
        f" all {len(acknowledged)} acknowledged are there"
    )


def show(versions: Iterable[Version]) -> str:
    """Versions in one line."""
    return ", ".join(map(str, versions)) or "nothing"
