"""The recording in a data file: when it goes on and when it begins anew, and what an export finds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checker.logs import Invalid, NodeRecord, read_log
from impl import recorder
from impl.errors import UserError
from impl.inspection import inspect_file
from impl.recorder import export_log, log_lines
from impl.runtime import Arrival, Runtime
from impl.storage import MEMORY, DiskFull, Storage, open_storage
from spec.clock import NOTHING
from spec.events import Invoke, Timeout, WriteRow
from spec.messages import Put
from spec.rows import Disk, Row
from spec.trace import FORMAT, Entry, Held, NodeLog, Step, link, link_encoded
from spec.types import ClientId, Config, Key, NodeId, RequestId, Value
from tests.test_runtime import CONFIG, MEMBERS, NAMES, entries


def run_once(directory: Path, *, record: bool, config: Config = CONFIG, close: bool = False) -> bool:
    """Start node a, let it answer something and kill or close it; whether it says that it replaced a recording."""
    storage = open_storage(directory / "a.db", NAMES[0])
    node = Runtime(storage, NAMES[0], config, MEMBERS, record=record)
    node.start("disk")
    node.execute([Arrival(Timeout(RequestId(ClientId("me"), 1)))])
    if close:
        node.close()
    storage.close()
    return node.replaced_recording


def test_a_recording_goes_on_over_restarts(tmp_path: Path) -> None:
    for _ in range(3):
        assert run_once(tmp_path, record=True) is False
    steps = [(s.epoch, s.seq) for s in entries(export_log(tmp_path / "a.db")) if isinstance(s, Step)]
    assert steps == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]


def test_a_recording_with_a_gap_or_another_configuration_begins_anew(tmp_path: Path) -> None:
    run_once(tmp_path, record=True)
    run_once(tmp_path, record=False)
    assert run_once(tmp_path, record=True) is True
    assert [s.epoch for s in entries(export_log(tmp_path / "a.db")) if isinstance(s, Step)] == [3, 3]
    assert run_once(tmp_path, record=True, config=Config(w=3)) is True
    head = entries(export_log(tmp_path / "a.db"))[0]
    assert isinstance(head, NodeLog)
    assert head.config.w == 3
    assert head.disk is not None


def test_a_recording_does_not_go_on_after_the_machine_went_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = tmp_path / "boot"
    monkeypatch.setattr(recorder, "BOOT_ID", boot)
    boot.write_text("monday\n")
    assert run_once(tmp_path, record=True) is False
    assert run_once(tmp_path, record=True) is False  # the process was killed, and nothing was lost
    boot.write_text("tuesday\n")
    warnings: list[str] = []
    assert len(entries(export_log(tmp_path / "a.db", warnings.append))) == 6
    assert [warning.endswith("last steps that changed nothing may be missing") for warning in warnings] == [True]
    assert run_once(tmp_path, record=True, close=True) is True
    boot.write_text("wednesday\n")
    assert run_once(tmp_path, record=True) is False  # it was closed, so nothing is missing
    warnings.clear()
    assert len(entries(export_log(tmp_path / "a.db", warnings.append))) == 6
    assert warnings == []


def test_where_nobody_knows_whether_the_machine_went_down_every_step_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for boot, waits in ((recorder.BOOT_ID, False), (tmp_path / "none", True)):
        monkeypatch.setattr(recorder, "BOOT_ID", boot)
        storage = open_storage(MEMORY, NAMES[0])
        Runtime(storage, NAMES[0], CONFIG, MEMBERS, record=True).start("disk")
        storage.append(b"{}", "", 1)
        assert storage.waits is waits
        storage.close()


def test_what_was_not_recorded_is_not_exported(tmp_path: Path) -> None:
    run_once(tmp_path, record=False)
    with pytest.raises(UserError, match="holds no recording"):
        entries(export_log(tmp_path / "a.db"))


def test_a_held_file_is_not_exported(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "a.db", NAMES[0])
    with pytest.raises(UserError, match="in use by another process"):
        entries(export_log(tmp_path / "a.db"))
    storage.close()


ONE = Config(n=1, r=1, w=1)


def put_all(storage: Storage, keys: list[bytes], *, record: bool) -> Runtime:
    """A run of the only node of a store, in which these keys are put, all at once."""
    node = Runtime(storage, NAMES[0], ONE, MEMBERS[:1], record=record)
    node.start("disk")
    puts = [Put(Key(key), Value(b"v of " + key), NOTHING) for key in keys]
    node.execute([Arrival(Invoke(RequestId(ClientId("me"), n), put)) for n, put in enumerate(puts, 1)])
    return node


@given(st.sets(st.binary(max_size=3)), st.sets(st.binary(max_size=3)))
def test_a_recording_of_a_store_begins_with_all_its_rows(before: set[bytes], after: set[bytes]) -> None:
    storage = open_storage(MEMORY, NAMES[0])
    put_all(storage, list(before), record=False)
    put_all(storage, [], record=True)  # a snapshot that has to make way for another
    put_all(storage, [], record=False)
    held = tuple(storage.rows())
    put_all(storage, list(after), record=True)
    head, *found = entries(log_lines(storage))
    assert isinstance(head, NodeLog)
    assert head.rows == len(before)
    assert tuple((entry.key, entry.row) for entry in found[: head.rows] if isinstance(entry, Held)) == held
    assert all(isinstance(entry, Step) for entry in found[head.rows : -1])
    record = read_log("a", b"".join(log_lines(storage)))
    assert isinstance(record, NodeRecord)
    assert (record.rows, len(record.steps)) == (held, 1 + len(after))
    assert record.place(0).line == len(held) + 2
    storage.close()


def test_an_inspection_counts_the_lines_of_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for record, keys in ((False, [b"1", b"2"]), (True, [b"3"])):
        storage = open_storage(path, NAMES[0])
        put_all(storage, keys, record=record)
        storage.close()
    with inspect_file(path) as inspected:
        counted = inspected.about().tables["log"]
    assert counted == len(list(export_log(path))) - 1 == 1 + 2 + 2


@pytest.mark.parametrize("part_bytes", [1, 100, 1_000_000])
def test_lines_of_any_size_are_kept_in_parts_of_a_bounded_size(
    monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    storage = open_storage(MEMORY, NAMES[0])
    keys = [b"k%d" % number for number in range(20)]
    put_all(storage, keys, record=True)
    expected = entries(log_lines(storage))
    storage.close()
    monkeypatch.setattr(recorder, "PART_BYTES", part_bytes)
    storage = open_storage(MEMORY, NAMES[0])
    put_all(storage, keys, record=True)
    assert entries(log_lines(storage)) == expected
    head, *parts = [part for part, _ in storage.log()]
    assert head.endswith(b"\n")
    assert max(map(len, parts)) <= part_bytes
    lines = storage._connection.execute("SELECT sum(lines) FROM log").fetchone()[0]
    assert lines == len(expected) - 1
    storage.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE log SET entry = x'7b7d0a' WHERE line = 2",
        "UPDATE snapshot SET row = x'00' WHERE key = x'31'",
        "DELETE FROM snapshot WHERE key = x'31'",
        "INSERT INTO snapshot VALUES (x'39', x'00')",
        "DELETE FROM log WHERE line = 1",
    ],
)
def test_a_recording_that_is_not_what_was_committed_is_not_exported(change: str) -> None:
    storage = open_storage(MEMORY, NAMES[0])
    put_all(storage, [b"1", b"2"], record=False)
    put_all(storage, [b"3"], record=True)
    list(log_lines(storage))
    assert storage._connection.execute(change).rowcount == 1
    with pytest.raises(UserError, match=r"the recording in data file .* is damaged"):
        list(log_lines(storage))
    storage.close()


def test_a_recording_that_breaks_off_within_a_line_is_damaged() -> None:
    storage = open_storage(MEMORY, NAMES[0])
    put_all(storage, [b"1"], record=True)
    storage.append(b'{"half', link_encoded(storage.last_chain() or "", b'{"half'), 0)
    storage.commit()
    with pytest.raises(UserError, match="is damaged"):
        list(log_lines(storage))
    storage.close()


def test_a_recording_of_another_format_is_not_exported_and_does_not_go_on(tmp_path: Path) -> None:
    run_once(tmp_path, record=True)
    storage = open_storage(tmp_path / "a.db")
    storage._connection.execute("UPDATE log SET entry = ? WHERE line = 1", (b'{"type":"NodeLog","format":5}\n',))
    storage.close()
    with pytest.raises(UserError, match=rf"holds a recording in format 5; this program exports {FORMAT}$"):
        list(export_log(tmp_path / "a.db"))
    assert run_once(tmp_path, record=True) is True
    storage = open_storage(tmp_path / "a.db")
    storage._connection.execute("UPDATE log SET entry = x'3f' WHERE line = 1")
    storage.close()
    with pytest.raises(UserError, match="is damaged"):
        run_once(tmp_path, record=True)


def test_where_there_is_no_room_for_a_snapshot_the_earlier_recording_stays(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "a.db", NAMES[0])
    put_all(storage, [b"1"], record=True)
    before = list(log_lines(storage))
    storage.write([WriteRow(Key(b"x" * 200_000), Row(counter=1, birth=1))])
    storage.commit()
    storage.limit_pages(70)
    with pytest.raises(DiskFull):
        storage.begin_log(lambda _rows, _digest: (b"", ""))
    assert list(log_lines(storage)) == before
    storage.close()


def lines_of(*written: Entry) -> bytes:
    """A log that was not closed, chained as it should be."""
    chain, lines = "", b""
    for entry in written:
        chain = link(chain, entry)
        lines += recorder.line(msgspec.json.encode(entry), chain)
    return lines


def test_a_snapshot_that_cannot_be_is_refused() -> None:
    disk, rows = Disk("disk"), [Held(Key(b"%d" % number), Row(counter=1)) for number in range(3)]
    head = NodeLog(FORMAT, NodeId("a"), CONFIG, MEMBERS, disk, 3)
    new = msgspec.structs.replace(head, disk=None)
    step = Step(NodeId("a"), 2, 1, Timeout(RequestId(ClientId("me"), 1)), None, (), ())
    broken: tuple[tuple[list[NodeLog | Held | Step], int, str], ...] = (
        ([new, *rows], 1, "a new disk holds no rows"),
        ([head, *rows[:2]], 1, "the snapshot has 2 rows; its head says 3"),
        ([head, *rows[:2], step], 1, "the snapshot has 2 rows; its head says 3"),
        ([head, rows[0], rows[2], rows[1]], 4, "the rows of the snapshot must be sorted by key, each key once"),
        ([head, rows[0], rows[1], rows[1]], 4, "the rows of the snapshot must be sorted by key, each key once"),
        ([head, *rows, rows[2]], 5, "the log of a node has steps between its head and end, no Held"),
        ([head, *rows], 1, "the log holds no step, not even the start of the node"),
        ([head, *rows, step], 5, "the first step of a log must be a start"),
    )
    for log, line, problem in broken:
        with pytest.raises(Invalid) as found:
            read_log("a", lines_of(*log), live=True)
        assert (found.value.problem.said, found.value.problem.places[0].line) == (problem, line)
