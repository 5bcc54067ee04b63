"""The data file: what is committed is there, what is not is not, and nobody else's file is touched."""

import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from impl.errors import UserError
from impl.schema import schema
from impl.storage import MIGRATIONS, DiskFull, Storage, StorageError, open_storage
from spec.events import StorageWrite, WriteDisk, WriteRow
from spec.maps import FSet
from spec.rows import NO_ROW, Disk, Row
from spec.trace import link_encoded
from spec.types import Key, NodeId

A = NodeId("a")
KEYS = [Key(b""), Key(b"k"), Key(b"\0\xff"), Key(b"kk")]

owners = st.lists(st.sampled_from([NodeId("b"), NodeId("c")]), max_size=2).map(FSet.of)
rows = st.builds(Row, birth=st.integers(1, 3), counter=st.integers(0, 9), owed=owners) | st.just(NO_ROW)
writes = st.one_of(
    st.builds(WriteRow, st.sampled_from(KEYS), rows),
    st.builds(WriteDisk, st.builds(Disk, st.sampled_from(["i", "j"]), st.integers(0, 5))),
)
deeds = st.lists(st.one_of(st.lists(writes, max_size=3), st.sampled_from(["commit", "fill", "reopen"])), max_size=12)


@given(deeds)
def test_the_view_is_committed_state_overlaid_with_uncommitted_writes(
    tmp_path_factory: pytest.TempPathFactory, deeds: list[list[StorageWrite] | str]
) -> None:
    path = tmp_path_factory.mktemp("storage") / "a.db"
    storage = open_storage(path, A)
    disk: Disk | None = None
    rows: dict[Key, Row] = {}
    committed = disk, dict(rows)
    for deed in deeds:
        if deed == "commit":
            storage.commit()
            committed = disk, dict(rows)
        elif deed == "reopen":
            storage.close()
            storage = open_storage(path, A)
            disk, rows = committed[0], dict(committed[1])
        elif deed == "fill":
            storage.limit_pages(1)  # that is: no more than there are
            storage.append(b"x" * 50_000, "chain", 1)
            with pytest.raises(DiskFull):
                storage.commit()
            storage.limit_pages(1_000_000)
            disk, rows = committed[0], dict(committed[1])
        else:
            assert not isinstance(deed, str)
            storage.write(deed)
            for write in deed:
                if isinstance(write, WriteRow):
                    rows[write.key] = write.row
                    if write.row == NO_ROW:
                        del rows[write.key]
                else:
                    disk = write.disk
        assert storage.disk() == disk
        assert {key: storage.row(key) for key in KEYS} == {key: rows.get(key, NO_ROW) for key in KEYS}
        after: tuple[Key, ...]
        for after in ((), *((key,) for key in KEYS)):
            later = [entry for entry in sorted(rows.items()) if not after or entry[0] > after[0]]
            assert list(storage.rows_after(after)) == later
        sizes = {key: storage.row_bytes(key) for key in KEYS}
        assert sizes == {key: len(msgspec.msgpack.encode(row)) for key in KEYS if (row := committed[1].get(key))} | {
            key: 0 for key in KEYS if key not in committed[1]
        }
        assert list(storage.rows()) == sorted(committed[1].items())
        assert storage.count_hints() == sum(len(row.owed) for row in rows.values())
        hints = {(owner, key) for key, row in committed[1].items() for owner in row.owed}
        assert set(storage._connection.execute("SELECT owner, key FROM hints")) == hints
        assert {owner: set(storage.hints.owed_to(owner, 9)) for owner in storage.hints.counts()} == {
            owner: {key for other, key in hints if other == owner} for owner, _ in hints
        }
        assert storage.hints.counts() == Counter(owner for owner, _ in hints)
    storage.close()


def test_only_what_is_log_alone_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    storage, said, waited = open_storage(tmp_path / "a.db", A), list[str](), list[bool]()
    storage._connection.set_trace_callback(said.append)
    storage.waits_for_log = False

    def commit() -> None:
        storage.append(b"{}", "", 1)
        storage.commit()
        assert said.pop() == "COMMIT"
        waited.append(storage._connection.execute("PRAGMA synchronous").fetchone() == (2,))

    changes = [WriteRow(KEYS[0], Row(counter=1)), None, None, WriteDisk(Disk("i")), None, WriteRow(KEYS[0], NO_ROW)]
    for change in changes:
        storage.write([change] if change else [])
        commit()
    storage.set_meta("fact", b"")
    commit()
    storage.waits_for_log = True
    commit()
    assert waited == [True, False, False, True, False, True, True, True]
    storage.close()


def full(path: Path) -> Storage:
    """A data file with one committed row and no room for a large one."""
    storage = open_storage(path, A)
    storage.write([WriteRow(KEYS[0], Row(counter=1))])
    storage.commit()
    storage.limit_pages(20)
    return storage


def test_a_full_disk_undoes_the_batch_and_only_it(tmp_path: Path) -> None:
    storage = full(tmp_path / "a.db")
    storage.write([WriteRow(KEYS[0], Row(counter=2))])
    storage.append(b"x" * 200_000, "chain", 1)
    with pytest.raises(DiskFull, match="disk is full"):
        storage.commit()
    assert storage.row(KEYS[0]).counter == 1
    storage.write([WriteRow(KEYS[0], Row(counter=3))])
    storage.commit()
    storage.close()
    storage = open_storage(tmp_path / "a.db")
    assert storage.row(KEYS[0]).counter == 3
    assert list(storage.log()) == []
    storage.close()


def test_any_other_failure_of_a_commit_is_no_full_disk(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "a.db", A)
    storage._connection.execute("DROP TABLE rows")
    storage.write([WriteRow(KEYS[0], NO_ROW)])
    with pytest.raises(StorageError, match="outcome is unknown") as caught:
        storage.commit()
    assert not isinstance(caught.value, DiskFull)
    storage.close()


def test_a_row_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "a.db", A)
    storage._connection.execute("INSERT INTO rows VALUES (x'6b', x'ffff')")
    with pytest.raises(StorageError, match="cannot be read"):
        storage.row(Key(b"k"))
    storage.close()


def refused(path: Path, node: NodeId | None = A) -> str:
    """What opening a file that nobody holds is refused with; one line, and the file is as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UserError) as caught:
        open_storage(path, node)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_foreign_and_impossible_files_are_refused(tmp_path: Path) -> None:
    for content in (b"x", b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000):
        (tmp_path / "foreign").write_bytes(content)
        assert "is not a ringspec data file" in refused(tmp_path / "foreign")
    foreign = sqlite3.connect(tmp_path / "other.db")
    foreign.execute("CREATE TABLE rows (key, row)")
    foreign.close()
    assert "is not a ringspec data file" in refused(tmp_path / "other.db")
    (tmp_path / "empty").touch()
    assert "is not a ringspec data file" in refused(tmp_path / "empty", None)
    assert "there is no data file" in refused(tmp_path / "absent", None)
    assert "is a directory" in refused(tmp_path)
    assert "there is no directory" in refused(tmp_path / "absent" / "a.db")


def test_another_node_s_file_and_a_newer_one_are_refused(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "a.db", A)
    storage.close()
    assert "belongs to node a, not to b" in refused(tmp_path / "a.db", NodeId("b"))
    newer = sqlite3.connect(tmp_path / "a.db")
    newer.execute("INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('ringspec', 'm999_later')")
    newer.commit()
    newer.close()
    assert "newer version" in refused(tmp_path / "a.db")


def test_a_file_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    old = Database(tmp_path / "a.db")
    schema.apply(old, stop_before="m002_log_in_parts")
    old.execute("INSERT INTO log (entry, chain) VALUES (?, ?)", [b"{}", link_encoded("", b"{}")])
    old.execute("INSERT INTO rows VALUES (x'6b', ?)", [msgspec.msgpack.encode(Row(counter=3))])
    old.conn.commit()
    old.close()
    storage = open_storage(tmp_path / "a.db", A)
    assert storage.row(Key(b"k")).counter == 3
    assert list(storage.log()) == [(b"{}", link_encoded("", b"{}"))]
    assert not storage.hints
    storage.write([WriteRow(Key(b"k"), Row(counter=3, owed=FSet.of([NodeId("b")])))])
    storage.commit()
    assert storage.hints.owed_to(NodeId("b"), 9) == (b"k",)
    storage.close()


def test_every_migration_is_known_by_name() -> None:
    assert tuple(migration.name for migration in schema.pending(Database(memory=True))) == MIGRATIONS


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "a.db", A)
    with pytest.raises(UserError, match="in use by another process"):
        open_storage(tmp_path / "a.db", A)
    code = "import sys, pathlib, impl.storage; impl.storage.open_storage(pathlib.Path(sys.argv[1]), 'a')"
    second = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.db")], capture_output=True, text=True, check=False
    )
    assert "in use by another process" in second.stderr
    storage.close()
    open_storage(tmp_path / "a.db", A).close()


def test_commits_survive_in_full(tmp_path: Path) -> None:
    """The settings that durability rests on are really on."""
    storage = open_storage(tmp_path / "a.db", A)
    pragmas = {
        name: storage._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "locking_mode", "application_id")
    }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "locking_mode": "exclusive",
        "application_id": int.from_bytes(b"Ring"),
    }
    storage.close()


def test_what_a_row_takes_is_known_without_reading_it(tmp_path: Path) -> None:
    row = Row(counter=3)
    storage = open_storage(tmp_path / "a.db", A)
    storage.write([WriteRow(KEYS[0], row)])
    storage.commit()
    storage.close()
    storage = open_storage(tmp_path / "a.db", A)
    assert [storage.row_bytes(key) for key in KEYS[:2]] == [len(msgspec.msgpack.encode(row)), 0]
    assert (storage.touched_bytes, len(storage.cache)) == (0, 0)
    assert list(storage.rows_after(())) == [(KEYS[0], row)]
    assert storage.touched_bytes == storage.row_bytes(KEYS[0])
    storage.close()
