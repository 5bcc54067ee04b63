"""The random runs that try the specification, bound to the runtime that executes it, in virtual time.

To the rules of `checker.stateful` come those that only a driver knows: events that gather while a commit goes on, and
disks that fill. After each run the logs that it left are validated, so that the driver is held to its contract twice:
by what clients and disks show, and by `ringspec validate`. The logs of the last run stay; if a run fails, the last one
is the shortest that Hypothesis found, and the failure says where its logs are.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from checker.stateful import SloppyMachine, StoreMachine, some_node
from checker.validate import examine, told
from impl.runtime import Arrival, Batch, Released, Runtime
from impl.storage import DiskFull, Storage
from spec.events import HandOff, WriteRow
from spec.maps import FSet
from spec.ring import Member, owners_of
from spec.rows import NO_ROW
from spec.types import Config, NodeId
from tests.simulated import SimulatedStore, fast_directory


class RuntimeMachine(StoreMachine):
    """Runtime nodes. Subclasses say where their files are."""

    harness: SimulatedStore
    files: ClassVar[Path]
    logs: ClassVar[Path]
    driver: ClassVar[type[Runtime]] = Runtime

    def begin(self) -> SimulatedStore:
        return SimulatedStore(self.nodes, self.files, self.driver, sloppy=self.sloppy)

    @rule(node=some_node)
    def commit_begins(self, node: str) -> None:
        """Events gather."""
        self.harness.commit_begins(node)

    @precondition(lambda self: self.harness.queues)
    @rule()
    def commits_end(self) -> None:
        """What has gathered is decided together."""
        for node in sorted(self.harness.queues):
            self.harness.commit_ends(node)

    @rule(node=some_node)
    def disk_fills(self, node: str) -> None:
        """What needs room is undone, from now on."""
        self.harness.fill_disk(node)

    @precondition(lambda self: self.harness.full)
    @rule()
    def room_is_made(self) -> None:
        """All disks have room again."""
        for node in sorted(self.harness.full):
            self.harness.make_room(node)

    def teardown(self) -> None:
        """Keep the logs, and validate those of a run that has not failed already."""
        failed = sys.exc_info()[1] is not None
        super().teardown()
        self.harness.save_logs(self.logs)
        if not failed:
            report = examine(self.logs, orders=1)
            assert report.problem is None, told(self.logs, report)


class SloppyRuntimeMachine(RuntimeMachine, SloppyMachine):
    """Runtime nodes that stand in for each other, and suspect each other, rightly or wrongly."""

    harness: SimulatedStore
    sloppy = True


@contextmanager
def machine(
    logs: Path, broken: type[Runtime] = Runtime, kind: type[RuntimeMachine] = RuntimeMachine
) -> Iterator[type[RuntimeMachine]]:
    """The machine over nodes with this driver; if it fails, the failure names the directory of the logs."""
    with fast_directory() as directory:

        class Machine(kind):  # type: ignore[misc, valid-type]  # a class, that of a parameter
            files = directory
            driver = broken

        Machine.logs = logs
        try:
            yield Machine
        except BaseException as failure:
            failure.add_note(f"the logs of this run: {logs} (ringspec validate {logs})")
            print(f"the logs of the failed run: {logs}")
            raise


DEFAULT = settings.default
assert DEFAULT is not None
RUNS = settings(max_examples=max(60, DEFAULT.max_examples // 2), stateful_step_count=50, report_multiple_bugs=False)


@pytest.mark.timeout(900)  # a failure is shrunk before it is told
@pytest.mark.first
def test_runtime_nodes_keep_the_promises(tmp_path: Path) -> None:
    with machine(tmp_path / "logs") as runtime_machine:
        run_state_machine_as_test(runtime_machine, settings=RUNS)


@pytest.mark.timeout(900)
@pytest.mark.first
def test_runtime_nodes_that_stand_in_for_each_other_keep_the_promises(tmp_path: Path) -> None:
    with machine(tmp_path / "logs", kind=SloppyRuntimeMachine) as runtime_machine:
        run_state_machine_as_test(runtime_machine, settings=RUNS)


def test_the_same_commands_make_the_same_logs(tmp_path: Path) -> None:
    def digests(where: Path) -> list[str]:
        found: list[str] = []
        with machine(where) as runtime_machine:

            class Digesting(runtime_machine):  # type: ignore[misc, valid-type]  # a class, made a line above
                def teardown(self) -> None:
                    super().teardown()
                    content = b"".join(file.read_bytes() for file in sorted(where.iterdir()))
                    found.append(hashlib.blake2b(content).hexdigest())

            few = settings(max_examples=5, stateful_step_count=50, derandomize=True, database=None, deadline=None)
            run_state_machine_as_test(Digesting, settings=few)
        return found

    first = digests(tmp_path / "first")
    assert len(set(first)) > 1
    assert first == digests(tmp_path / "second")


# Broken on purpose: each of these must be found.


class Hasty(Runtime):
    """Effects leave before the commit, which comes with the next batch."""

    def commit(self, batch: Batch) -> list[Released]:
        self.batches += 1
        return batch.released

    def decide(self, arrivals: Sequence[Arrival]) -> Batch:
        self.storage.commit()
        return super().decide(arrivals)


class Forgetful(Runtime):
    """Of the writes of a step only the first is kept."""

    def __init__(
        self, storage: Storage, name: NodeId, config: Config, members: tuple[Member, ...], *, record: bool
    ) -> None:
        super().__init__(storage, name, config, members, record=record)
        write = storage.write
        storage.write = lambda writes: write(tuple(writes)[:1])  # type: ignore[method-assign]  # the fault


class Stubborn(Runtime):
    """What a batch began goes on although the disk was full."""

    def commit(self, batch: Batch) -> list[Released]:
        begun = dict(self.requests)
        try:
            return super().commit(batch)
        except DiskFull:
            self.requests = begun
            raise


class Silent(Runtime):
    """A disk that fills is not noticed: effects leave although nothing was committed."""

    def commit(self, batch: Batch) -> list[Released]:
        try:
            return super().commit(batch)
        except DiskFull:
            return batch.released


class Careless(Runtime):
    """A hint goes as soon as it was handed over, and what was held for others with it."""

    def decide(self, arrivals: Sequence[Arrival]) -> Batch:
        batch = super().decide(arrivals)
        for event in (arrival.event for arrival in arrivals if isinstance(arrival.event, HandOff)):
            for key in event.keys:
                row = self.storage.row(key)
                left = replace(row, owed=row.owed - FSet.of([event.target]))
                owners = owners_of(self.node.ring, key, self.node.config.n)
                kept = left if left.owed or self.node.name in owners else NO_ROW
                self.storage.write((WriteRow(key, kept),))
        return batch


class Ungenerous(Runtime):
    """Nothing is ever handed over."""

    def decide(self, arrivals: Sequence[Arrival]) -> Batch:
        generous = [arrival for arrival in arrivals if not isinstance(arrival.event, HandOff)]
        return super().decide(generous)._replace(taken=len(arrivals))


LOST = "was acknowledged, and only"
INVALID = "is not a run of the specification"
MISSED = "it misses .* acknowledged before"


@pytest.mark.parametrize(
    ("broken", "complaint", "kind"),
    [
        (Hasty, f"{LOST}|{INVALID}", RuntimeMachine),
        (Forgetful, f"{LOST}|{MISSED}", RuntimeMachine),
        (Stubborn, f"{INVALID}|still waits", RuntimeMachine),
        (Silent, f"{INVALID}|{LOST}|answered twice|still waits", RuntimeMachine),
        (Careless, f"{INVALID}|{LOST}", SloppyRuntimeMachine),
        (Ungenerous, "does not come to rest", SloppyRuntimeMachine),
    ],
)
def test_a_broken_driver_is_found(
    broken: type[Runtime], complaint: str, kind: type[RuntimeMachine], tmp_path: Path
) -> None:
    search = settings(
        max_examples=1_000,
        stateful_step_count=50,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate,),
    )
    with (
        pytest.raises(AssertionError) as found,
        machine(tmp_path / "logs", broken, kind) as broken_machine,
    ):
        run_state_machine_as_test(broken_machine, settings=search)
    assert re.search(complaint, str(found.value))
    assert any("ringspec validate" in note for note in found.value.__notes__)
    assert list((tmp_path / "logs").glob("*.ndjson"))
