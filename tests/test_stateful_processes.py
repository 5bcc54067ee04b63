"""The random runs that try the specification, bound to real processes, sockets and files.

One cluster of four nodes serves all examples; each has keys of its own. Time is real here, so that the rules that move
single messages and timers rest, and what a rule draws may not depend on how fast anything was: an operation is given a
moment to finish, and goes on beside the next rules if it does not; contexts are taken from whatever gets have shown.
A node that is to die in its next step dies by its own hand between a commit and the sends that wait for it.

Disks are looked at without asking: a node is stopped (SIGSTOP), its files copied as a `kill -9` would leave them, and
continued. In the end all logs are validated. A run that fails leaves them, and says where.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import StopTest
from hypothesis.stateful import MultipleResults, invariant, multiple, rule, run_state_machine_as_test
from msgspec.structs import replace

from checker import stateful
from checker.stateful import Outcome, Read, StoreMachine, TurnedDown, Unknown, places, seen, some_key, some_node
from checker.validate import examine, told
from impl.client import Client, MayHaveHappened, OperationFailed, connect
from impl.local import LocalCluster, open_cluster
from impl.storage import open_storage
from impl.wire import CallFaults
from spec.ring import Member, build_ring, owners_of
from spec.types import Config, Key, NodeId

T = TypeVar("T")

CONFIG = Config(sloppy=False, partitions=16, tokens=8, put_timeout_ms=300, get_timeout_ms=300)
STEPS, LEAST = 34, 31
"""Rules of an example: at most, and at least. An invariant before the first counts as one."""
EXAMPLES = 22
CRASHES = 3
"""How many an example may have: each costs the start of a process."""
MOMENT_SECONDS = 0.02
"""How long a rule waits for the operation that it began."""
PATIENCE = 5
"""How often a get is tried while nothing is wrong: on a busy machine a node may be late all the same."""
PEACE_SECONDS = 20.0
"""How long nodes may take to trust each other again, and to hand over what they owe."""
CALL_SECONDS = 3.0
"""How long a client waits; longer than a node."""


class Processes:
    """A cluster of processes, and what goes on in it; a `checker.stateful.Harness` of the example that is running."""

    def __init__(self, directory: Path, names: Sequence[str], config: Config = CONFIG) -> None:
        """Start the nodes; they must be ended with `end`."""
        self.config = config
        self.directory, self.logs = directory, directory / "logs"
        self.logs.mkdir(parents=True)
        self.runner = asyncio.Runner()
        self.cluster: LocalCluster = open_cluster(directory / "cluster", names, config, record=True, faults=True)
        self.ring = build_ring(tuple(Member(NodeId(name)) for name in names), config)
        self.clients: dict[str, Client] = {}
        self.calls: list[asyncio.Task[Outcome]] = []
        self.cut_off: frozenset[str] = frozenset()
        self.down: set[str] = set()
        """Nodes that were killed, and those that soon will have killed themselves."""
        self.doomed: set[str] = set()
        """The latter."""
        self.example = self.faults = self.crashes = self.crashes_before = self.cuts = 0
        self.run(self.cluster.start())

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Let things go on until this is done."""
        return self.runner.run(what)

    def begin(self) -> None:
        """A new example, on a whole cluster."""
        self.example += 1
        self.faults, self.crashes_before = 0, self.crashes
        self.calls = []

    def end(self) -> None:
        """Stop the nodes and the clients, and keep all logs."""

        async def main() -> None:
            for client in self.clients.values():
                await client.close()
            async with asyncio.timeout(60):
                await self.cluster.stop()

        self.run(main())
        self.runner.close()
        self.cluster.export(self.logs)

    # Clients: one for each node.

    def name(self, key: bytes) -> bytes:
        """The key of this example that a rule means."""
        return b"%d/%s" % (self.example, key)

    async def client(self, node: str) -> Client:
        if node not in self.clients:
            log = self.logs / f"client-{node}.ndjson"
            self.clients[node] = await connect([self.cluster.address(node)], log, attempts=1, timeout=CALL_SECONDS)
        return self.clients[node]

    def put(self, node: str, key: bytes, value: bytes, context: object | None) -> int:
        assert context is None or isinstance(context, str)

        async def ask() -> Outcome:
            try:
                await (await self.client(node)).put(self.name(key), value, context)
                return stateful.Stored()
            except MayHaveHappened as doubt:
                return Unknown(str(doubt))
            except OperationFailed as error:
                return TurnedDown(str(error))

        return self.call(ask())

    def get(self, node: str, key: bytes) -> int:
        async def ask() -> Outcome:
            reason = ""
            for _ in range(1 if self.cut_off or self.down else PATIENCE):
                try:
                    found = await (await self.client(node)).get(self.name(key))
                    return Read(tuple(found.values), found.context)
                except OperationFailed as error:
                    reason = str(error)
            return Unknown(reason)

        return self.call(ask())

    def call(self, asking: Coroutine[Any, Any, Outcome]) -> int:
        async def begin() -> None:
            self.calls.append(asyncio.create_task(asking))
            await asyncio.wait(self.calls[-1:], timeout=MOMENT_SECONDS)

        self.run(begin())
        return len(self.calls) - 1

    def outcome(self, ticket: int) -> Outcome | None:
        task = self.calls[ticket]
        if not task.done():
            self.run(asyncio.sleep(0))
        return task.result() if task.done() else None

    # What moves by itself.

    def in_flight(self) -> Sequence[str]:
        return ()

    def deliver(self, which: int) -> None:
        raise NotImplementedError

    drop = duplicate = fire = deliver

    def timers(self) -> Sequence[str]:
        return ()

    # Faults.

    def cut(self, side: frozenset[str]) -> None:
        self.faults += 1
        self.cuts += 1
        self.cut_off = side
        for node in self.cluster.nodes:
            self.become(node)

    def heal(self) -> None:
        if self.cut_off:
            self.cut_off = frozenset()
            for node in self.cluster.nodes:
                self.become(node)

    def become(self, node: str, crash_after_commits: int | None = None) -> None:
        """Tell a node, if it is there, how its links are to be."""
        cut = tuple(n for n in self.cluster.nodes if (n in self.cut_off) != (node in self.cut_off))
        if node not in self.down:
            self.run(self.cluster.faults(node, CallFaults(0, cut, crash_after_commits=crash_after_commits)))

    def is_up(self, node: str) -> bool:
        return node not in self.down

    def may_crash(self, node: str) -> bool:
        """Whether a node is up, and this example has not had its crashes."""
        return self.is_up(node) and self.crashes - self.crashes_before < CRASHES

    def crash(self, node: str) -> None:
        self.faults += 1
        self.crashes += 1
        self.down.add(node)
        self.run(self.cluster.kill(node))

    def crash_in_next_step(self, node: str, _released: frozenset[int]) -> None:
        """None of what the step says is released."""
        self.faults += 1
        self.crashes += 1
        self.become(node, crash_after_commits=1)
        self.down.add(node)
        self.doomed.add(node)

    def restart(self, *nodes: str) -> None:
        async def main() -> None:
            for node in self.doomed.intersection(nodes):  # it is dead, or nothing made it take a step
                await self.cluster.kill(node)
            await self.cluster.start(*nodes)

        self.run(main())
        self.doomed.difference_update(nodes)
        self.down.difference_update(nodes)
        if self.cut_off:
            for node in nodes:
                self.become(node)

    def settle(self) -> None:
        self.heal()
        if self.down:
            self.restart(*sorted(self.down))

        async def until_told() -> None:
            if self.calls:
                await asyncio.wait(self.calls, timeout=PATIENCE * CALL_SECONDS)

        self.run(until_told())
        self.run(self.until_all_stand())
        self.run(self.until_quiet())
        if self.config.sloppy:
            self.run(self.until_handed_over())

    async def until_all_stand(self) -> None:
        """Wait until what every node holds counts."""
        async with asyncio.timeout(PEACE_SECONDS):
            for node in self.cluster.nodes:
                await self.cluster.caught_up(node)

    async def until_quiet(self) -> None:
        """Wait until no node waits for another or takes a step: who was late has answered, and has been repaired."""
        before: list[int] = []
        async with asyncio.timeout(PEACE_SECONDS):
            while True:
                found = [await (await self.client(node)).status() for node in self.cluster.nodes]
                steps = [status.steps for status in found]
                if steps == before and not any(status.requests or status.waiting for status in found):
                    return
                before = steps
                await asyncio.sleep(0.05)

    async def until_handed_over(self) -> None:
        """Wait until nobody waits for who is late, nobody suspects anybody, and nobody owes anything."""
        await asyncio.sleep(self.config.put_timeout_ms / 1000)
        async with asyncio.timeout(PEACE_SECONDS):
            for node in self.cluster.nodes:
                client = await self.client(node)
                while any(peer.owed or peer.opinion.why for peer in (await client.status()).peers):
                    await asyncio.sleep(0.02)

    # What can be seen.

    def owners(self, key: bytes) -> Collection[str]:
        return owners_of(self.ring, Key(self.name(key)), self.config.n)

    def disks(self) -> Mapping[str, Mapping[bytes, Collection[bytes]]]:
        found: dict[str, dict[bytes, Collection[bytes]]] = {}
        for node in self.cluster.nodes:
            storage = open_storage(self.image(node))
            rows = {key: [version.value for version in row.siblings] for key, row in storage.rows()}
            storage.close()
            mine = self.name(b"")
            found[node] = {key.removeprefix(mine): values for key, values in rows.items() if key.startswith(mine)}
        return found

    def image(self, node: str) -> Path:
        """A copy of a node's files, of one moment."""
        place = self.directory / "images"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        running = node in self.cluster.running
        if running:
            self.cluster.pause(node)
        try:
            for file in self.cluster.data(node).parent.glob(f"{node}.db*"):
                shutil.copy(file, place)
        finally:
            if running:
                self.cluster.resume(node)
        return place / f"{node}.db"

    def stop(self) -> None:
        """The example is over; the cluster goes on."""
        self.settle()


class ProcessMachine(StoreMachine):
    """Real processes. Subclasses bring the cluster."""

    harness: Processes
    cluster: ClassVar[Processes]
    done: ClassVar[list[int]]
    """Of each example that had a crash or a cut, how many rules it ran."""
    failures: ClassVar[list[str]]
    """How examples failed: real processes may not fail twice alike, and Hypothesis then tells only that."""

    def begin(self) -> Processes:
        self.cluster.begin()
        self.ran = 0
        self.shown: list[tuple[bytes, Read]] = []
        return self.cluster

    @rule(target=seen)
    def pick_up(self) -> MultipleResults[tuple[bytes, Read]]:
        """Gets are picked up as they come, so that what is drawn does not depend on how fast they are."""
        return multiple()

    @rule(node=some_node, key=some_key, which=places)
    def put_over(self, node: str, key: bytes, which: int) -> None:
        """Write over what some get showed, however long ago."""
        reads = [read for shown, read in self.shown if shown == key]
        self.start_put(node, key, reads[which % len(reads)] if reads else None)

    @rule(node=some_node)
    def crash(self, node: str) -> None:
        """Kill a node at any moment."""
        if self.harness.may_crash(node):
            self.harness.crash(node)

    @rule(node=some_node, key=some_key)
    def crash_in_next_step(self, node: str, key: bytes) -> None:
        """Kill a node between a commit and what it has to say: as a coordinator, if it owns the key."""
        if self.harness.may_crash(node):
            self.harness.crash_in_next_step(node, frozenset())
            value = b"%d" % (len(self.promises.writes) + 1)
            self.promises.asked_to_put(key, value, ())
            self.puts[self.harness.put(node, key, value, None)] = value

    @invariant()
    def promises_are_kept(self) -> None:
        """After each rule what clients were told; what disks hold now and then, for that takes longer."""
        self.ran += 1
        self.collect()
        self.shown += self.reads
        self.reads.clear()
        if self.ran % 20 == 0:
            self.look_at_disks()

    def look_at_disks(self) -> None:
        disks = self.harness.disks()
        self.collect()
        self.promises.check_disks(disks)
        if not self.sloppy:
            self.check_placement(disks)

    def teardown(self) -> None:
        """Every example has a crash or a cut and `LEAST` rules, however few were drawn, and ends in peace."""
        failed = sys.exc_info()[1]
        if failed is not None:
            if not isinstance(failed, StopTest):  # by which Hypothesis gives an example up
                self.failures.append(repr(failed))
        else:
            if not self.harness.faults:
                self.crash_in_next_step("a", self.keys[0])
            while self.ran < LEAST:
                self.put_over(self.nodes[self.ran % 4], self.keys[self.ran % 2], self.ran)
                self.get(self.nodes[self.ran % 3], self.keys[self.ran % 2])
                self.promises_are_kept()
            self.settle_and_read_everything()
            self.look_at_disks()
            self.done.append(self.ran)
        super().teardown()


class SloppyProcessMachine(ProcessMachine):
    """Nodes that stand in for each other, and suspect each other when they do not hear of one another."""

    sloppy = True


@contextmanager
def process_machine(
    directory: Path, config: Config = CONFIG, kind: type[ProcessMachine] = ProcessMachine
) -> Iterator[type[ProcessMachine]]:
    """The machine over a cluster in a directory, whose logs are validated in the end."""
    processes = Processes(directory, StoreMachine.nodes, config)
    found: list[str] = []
    try:
        try:

            class Machine(kind):  # type: ignore[misc, valid-type]  # a class, that of a parameter
                cluster = processes
                done: ClassVar[list[int]] = []
                failures: ClassVar[list[str]] = found

            yield Machine
        finally:
            processes.end()
        report = examine(processes.logs)
        assert report.problem is None, told(processes.logs, report)
        print(told(processes.logs, report))
    except BaseException as failure:
        for first in found[:1]:
            failure.add_note(f"the first failure: {first}")
        failure.add_note(f"the logs of this run: {processes.logs} (ringspec validate {processes.logs})")
        print(f"the logs of the failed run: {processes.logs}")
        raise


DEFAULT = settings.default
assert DEFAULT is not None
RUNS = settings(
    max_examples=max(EXAMPLES, DEFAULT.max_examples // 20),
    stateful_step_count=STEPS,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


@pytest.mark.first
@pytest.mark.timeout(600)
def test_processes_keep_the_promises(tmp_path: Path) -> None:
    with process_machine(tmp_path) as machine:
        run_state_machine_as_test(machine, settings=RUNS)
        crashes, cuts = machine.cluster.crashes, machine.cluster.cuts
        print(f"{len(machine.done)} examples of {min(machine.done)} to {max(machine.done)} steps;", end=" ")
        print(f"{crashes} crashes, {cuts} cuts")
        assert len([ran for ran in machine.done if ran > 30]) >= 20


@pytest.mark.first
@pytest.mark.timeout(600)
def test_processes_that_stand_in_for_each_other_keep_the_promises(tmp_path: Path) -> None:
    """Each example ends in peace: everything is handed over, and only owners hold anything."""
    with process_machine(tmp_path, replace(CONFIG, sloppy=True), SloppyProcessMachine) as machine:
        run_state_machine_as_test(machine, settings=settings(RUNS, max_examples=max(6, RUNS.max_examples // 4)))
        assert machine.cluster.crashes + machine.cluster.cuts >= len(machine.done) >= 5
    logs = b"".join(file.read_bytes() for file in machine.cluster.logs.iterdir())
    assert b'"Suspicion"' in logs
    assert b'"HandOff"' in logs
