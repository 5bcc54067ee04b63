"""A node's disk: one SQLite file and one connection, used by one thread at a time.

The specification decides in steps, and a step sees **committed state overlaid with the writes of steps that are not yet
committed**. Here the overlay is two attributes: `write` puts values there, `row` and `disk` look there first, and
`commit` makes all of it durable in one transaction (WAL, synchronous=FULL) or none; `prepare` is the part of it that
waits for no disk. Many steps share a commit; who collects them is the runtime's business. A step costs the rows that it
touches, whatever else the file holds, and rows that were touched lately are not read again (`impl.cache`).

Steps that change nothing may still be logged. A commit of log and nothing else need not wait for the disk
(synchronous=NORMAL): the end of the process takes nothing from it, and if the machine goes down, what is lost is the
end of the log, at most back to the last commit that changed something. `impl.recorder` says what becomes of that.

The file is opened with exclusive locking, before anything is looked at, so that a second process is refused: two
writers on one WAL can corrupt it, and two nodes on one disk would mint the same dots. It bears an application id and
its node's name, so that neither a foreign file nor another node's is taken for this node's disk.

The schema is a list of migrations. A file that knows more of them than this program was written by a newer one and is
refused; one that knows fewer is brought up to date in a transaction.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from heapq import merge
from operator import itemgetter
from pathlib import Path

import msgspec

from impl.cache import RowCache
from impl.datafile import NOT_OURS, require_place
from impl.errors import UserError, one_line
from impl.hints import HintChanges, Hints
from spec.events import StorageWrite, WriteDisk
from spec.rows import NO_ROW, Disk, Row
from spec.types import Key, NodeId

APPLICATION_ID = int.from_bytes(b"Ring")
"""SQLite keeps it in the file's header, where we recognise a file of ours by it."""

MEMORY = Path(":memory:")
"""No file: a disk that is gone when it is closed, for tests."""

CHECKPOINT_PAGES = 4000
"""How many pages of 4 KiB the write-ahead log gathers before they are written back."""

PAGE_CACHE_KIB = 32 * 1024
"""What SQLite keeps of the file in memory."""

MIGRATIONS = ("m001_rows_and_log", "m002_log_in_parts", "m003_hints", "m004_snapshot")
"""What brings an empty file to the present schema, in order; `impl.schema` holds what each does."""

_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_key_of = itemgetter(0)
_decode_disk = msgspec.msgpack.Decoder(Disk).decode


class StorageError(UserError):
    """The disk cannot be used, or can no longer be trusted; the node must stop."""


class DiskFull(StorageError):
    """There was no room: nothing of the batch is durable, and everything before it is."""


class Storage:
    """The storage view of `spec.state`, over a data file; not safe for use from two threads at once."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use `open_storage`."""
        self.path = path
        self._connection = connection
        self._disk: Disk | None = None
        self._new_disk: Disk | None = None
        self._new_rows: dict[Key, Row] = {}
        self._new_meta: dict[str, bytes] = {}
        self._new_parts: list[tuple[bytes, str, int, int]] = []
        total = connection.execute("SELECT total FROM log ORDER BY line DESC LIMIT 1").fetchone()
        self._log_bytes: int = 0 if total is None else total[0]
        self._new_log_bytes = 0
        self._encoded: list[tuple[Key, bytes]] | None = None
        """The new rows as they are in the open transaction, but for those that go; None while there is none."""
        self._gone: list[Key] = []
        """The keys of rows that go in the open transaction."""
        self._new_hints = HintChanges([], [])
        self._more_hints = 0
        """How many more hints the new rows have than the committed ones."""
        self.cache = RowCache()
        self.touched_bytes = 0
        """Roughly how much was read and is to be written; who wants to know since when sets it to 0 then."""
        self.rows_written = 0
        """How many rows were written since the file was opened, whatever became of them."""
        self.commit_seconds = 0.0
        """How long a commit that waits for the disk has taken lately."""
        self.waits_for_log = True
        """Whether a commit waits for the disk although it holds nothing but log."""
        self._waiting = True
        """Whether the connection is set to wait for the disk."""
        hints = connection.execute("SELECT owner, key FROM hints")
        self.hints = Hints((NodeId(owner), Key(key)) for owner, key in hints)
        """What the committed rows owe to whom."""
        found = self.meta("disk")
        if found is not None:
            self._disk = _decode_disk(found)

    # The view that a step has.

    def disk(self) -> Disk | None:
        """What the node knows of itself; None on a new disk."""
        return self._new_disk or self._disk

    def row(self, key: Key) -> Row:
        """The row of a key; the empty row where there is none. Raises StorageError if it cannot be read."""
        row = self._new_rows.get(key)
        if row is not None:
            return row
        encoded = self.cache.get(key)
        try:
            if encoded is None:
                found = self._connection.execute("SELECT row FROM rows WHERE key = ?", (key,)).fetchone()
                encoded = b"" if found is None else found[0]
                self.cache.put(key, encoded)
            return self._read(encoded)
        except (sqlite3.Error, msgspec.DecodeError, ValueError) as error:
            raise StorageError(f"{self.path}: a row cannot be read: {one_line(error)}") from error

    def rows_after(self, after: tuple[Key, ...]) -> Iterator[tuple[Key, Row]]:
        """The rows, by key, after this one; from the first on, after none. Raises StorageError, also on the way."""
        where = ("WHERE key > ?", after[:1]) if after else ("", ())
        new = sorted((entry for entry in self._new_rows.items() if not after or entry[0] > after[0]), key=_key_of)
        try:
            held = self._connection.execute(f"SELECT key, row FROM rows {where[0]} ORDER BY key", where[1])
            committed = ((Key(key), self._read(row)) for key, row in held if key not in self._new_rows)
            yield from (entry for entry in merge(new, committed, key=_key_of) if entry[1] != NO_ROW)
        except (sqlite3.Error, msgspec.DecodeError, ValueError) as error:
            raise StorageError(f"{self.path}: the rows cannot be read: {one_line(error)}") from error

    def _read(self, encoded: bytes) -> Row:
        self.touched_bytes += len(encoded)
        return _decode_row(encoded) if encoded else NO_ROW

    def row_bytes(self, key: Key) -> int:
        """What the committed row of a key takes, or 0; without reading it. Raises StorageError."""
        encoded = self.cache.get(key)
        if encoded is not None:
            return len(encoded)
        try:
            found = self._connection.execute("SELECT length(row) FROM rows WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise StorageError(f"{self.path}: a row cannot be read: {one_line(error)}") from error
        return 0 if found is None else int(found[0])

    def count_hints(self) -> int:
        """How many hints all rows have together."""
        return len(self.hints) + self._more_hints

    # What the driver does.

    def write(self, writes: Iterable[StorageWrite]) -> None:
        """Let later steps see these writes; durable with the next commit. The empty row takes its key away."""
        for write in writes:
            if isinstance(write, WriteDisk):
                self._new_disk = write.disk
            else:
                before = self._new_rows.get(write.key)
                owed = self.hints.of(write.key) if before is None else len(before.owed)
                self._more_hints += len(write.row.owed) - owed
                self._new_rows[write.key] = write.row
                self.rows_written += 1
                for version in write.row.siblings.items:
                    self.touched_bytes += len(version.value)

    def set_meta(self, name: str, value: bytes) -> None:
        """Keep a fact about the node, with the next commit."""
        self._new_meta[name] = value

    def append(self, part: bytes, chain: str, lines: int) -> None:
        """Add a part, in which so many lines end, to the log, with the next commit."""
        self._new_log_bytes += len(part)
        self._new_parts.append((part, chain, lines, self.log_bytes()))

    @property
    def dirty(self) -> bool:
        """Whether there is anything to commit."""
        return self.waits or bool(self._new_parts)

    @property
    def waits(self) -> bool:
        """Whether the next commit has to wait for the disk."""
        return bool(self._new_rows or self._new_meta or self._new_disk or (self.waits_for_log and self._new_parts))

    def prepare(self) -> None:
        """Put everything since the last commit into a transaction; the next call but for reads must be `commit`.

        Raises as `commit` does.
        """
        if not self.dirty:
            return
        db = self._connection
        self._encoded = [(key, _encode(row)) for key, row in self._new_rows.items() if row != NO_ROW]
        self._gone = [key for key, row in self._new_rows.items() if row == NO_ROW]
        self._new_hints = self.hints.changes(self._new_rows)
        try:
            waits = self.waits
            if waits is not self._waiting:
                self._waiting = waits
                db.execute(f"PRAGMA synchronous = {'FULL' if self._waiting else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            if self._new_disk is not None:
                self._new_meta["disk"] = _encode(self._new_disk)
            if self._new_meta:
                db.executemany(
                    "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    self._new_meta.items(),
                )
            if self._encoded:
                db.executemany(
                    "INSERT INTO rows VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET row = excluded.row", self._encoded
                )
            if self._gone:
                db.executemany("DELETE FROM rows WHERE key = ?", [(key,) for key in self._gone])
            if self._new_hints.made:
                db.executemany("INSERT INTO hints VALUES (?, ?)", self._new_hints.made)
            if self._new_hints.gone:
                db.executemany("DELETE FROM hints WHERE owner = ? AND key = ?", self._new_hints.gone)
            if self._new_parts:
                db.executemany("INSERT INTO log (entry, chain, lines, total) VALUES (?, ?, ?, ?)", self._new_parts)
        except sqlite3.Error as error:
            raise self._give_up(error) from error

    def commit(self) -> None:
        """Make everything since the last commit durable, together; what is log alone only against the process's end.

        Raises DiskFull when none of it is and the view is as it was then; StorageError when nobody knows.
        """
        if self._encoded is None:
            self.prepare()
        if self._encoded is None:
            return
        started = time.perf_counter()
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._give_up(error) from error
        if self._waiting:
            self.commit_seconds += (time.perf_counter() - started - self.commit_seconds) / 8
        for key, encoded in self._encoded:
            self.cache.put(key, encoded)
        for key in self._gone:
            self.cache.put(key, b"")
        self.hints.apply(self._new_hints)
        self._log_bytes = self.log_bytes()
        if self._new_disk is not None:
            self._disk = self._new_disk
        self._forget()

    def _give_up(self, error: sqlite3.Error) -> StorageError:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            full = False
        self._forget()
        if full:
            return DiskFull(f"{self.path}: the disk is full")
        return StorageError(f"{self.path}: a commit failed and its outcome is unknown: {one_line(error)}")

    def _forget(self) -> None:
        self._new_disk = None
        self._new_rows, self._new_meta, self._new_parts, self._encoded = {}, {}, [], None
        self._gone, self._new_hints, self._more_hints, self._new_log_bytes = [], HintChanges([], []), 0, 0

    # Everything else.

    def meta(self, name: str) -> bytes | None:
        """A committed fact about the node."""
        found = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else bytes(found[0])

    def rows(self) -> Iterator[tuple[Key, Row]]:
        """All committed rows, by increasing key."""
        for key, row in self._connection.execute("SELECT key, row FROM rows ORDER BY key"):
            yield Key(key), _decode_row(row)

    def count_rows(self) -> int:
        """How many keys have a committed row."""
        return int(self._connection.execute("SELECT count(*) FROM rows").fetchone()[0])

    def log(self) -> Iterator[tuple[bytes, str]]:
        """The committed log: each part, and its chain."""
        yield from self._connection.execute("SELECT entry, chain FROM log ORDER BY line")

    def last_chain(self) -> str | None:
        """The chain of the last committed part; None of an empty log."""
        found = self._connection.execute("SELECT chain FROM log ORDER BY line DESC LIMIT 1").fetchone()
        return None if found is None else str(found[0])

    def first_part(self) -> bytes:
        """The first part of a log that is not empty."""
        return bytes(self._connection.execute("SELECT entry FROM log ORDER BY line LIMIT 1").fetchone()[0])

    def log_bytes(self) -> int:
        """What the parts of the log take, also those that are not committed yet."""
        return self._log_bytes + self._new_log_bytes

    def begin_log(self, first: Callable[[int, str], tuple[bytes, str]]) -> str:
        """Drop the log, and begin a new one with a copy of the committed rows, at once.

        `first` makes a line of the number of rows and their digest, and its chain, which is returned. Raises as
        `commit` does.
        """
        db = self._connection
        try:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM log")
            db.execute("DELETE FROM snapshot")
            rows = db.execute("INSERT INTO snapshot SELECT key, row FROM rows").rowcount
            line, chain = first(rows, self.snapshot_digest())
            db.execute("INSERT INTO log (entry, chain, total) VALUES (?, ?, ?)", (line, chain, len(line)))
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._give_up(error) from error
        self._log_bytes = len(line)
        return chain

    def snapshot(self) -> Iterator[tuple[Key, Row]]:
        """The rows with which the log began, by increasing key."""
        for key, row in self._connection.execute("SELECT key, row FROM snapshot ORDER BY key"):
            yield Key(key), _decode_row(row)

    def snapshot_digest(self) -> str:
        """A digest of these rows as they are in the file; nothing where there are none."""
        digest, held = blake2b(digest_size=16), False
        for key, row in self._connection.execute("SELECT key, row FROM snapshot ORDER BY rowid"):
            held = True
            digest.update(key)
            digest.update(row)
        return digest.hexdigest() if held else ""

    def limit_pages(self, pages: int) -> None:
        """Pretend, for tests, that the disk has room for this many pages of 4 KiB."""
        self._connection.execute(f"PRAGMA max_page_count = {pages}")

    def close(self) -> None:
        """Let go of the file; what was not committed is gone."""
        self._connection.close()


def open_storage(path: Path, node: NodeId | None = None) -> Storage:
    """Open the data file of a node, or make one; with `node` None, open whichever node's it is, but make none.

    Raises UserError, and changes nothing, if it is held by another process, unreadable, foreign, newer than this
    program, or another node's.
    """
    require_place(path, new=node is not None)
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise UserError(f"data file {path} cannot be opened: {one_line(error)}") from error
    try:
        prepare(connection, path, node)
        return Storage(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise UserError(refusal(path, error)) from error
    except (msgspec.DecodeError, ValueError) as error:
        connection.close()
        raise UserError(f"data file {path} is damaged: {one_line(error)}") from error
    except UserError:
        connection.close()
        raise


def refusal(path: Path, error: sqlite3.Error) -> str:
    """Why SQLite would not open the file, in our words."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"data file {path} is in use by another process"
    if code == sqlite3.SQLITE_NOTADB:
        return NOT_OURS.format(path)
    return f"data file {path} cannot be used: {one_line(error)}"


def prepare(connection: sqlite3.Connection, path: Path, node: NodeId | None) -> None:
    """Lock the file, make sure that it is ours, and bring its schema up to date, in that order."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN IMMEDIATE")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    connection.execute("ROLLBACK")
    is_new = application == 0 and tables == 0
    if application != APPLICATION_ID and not (is_new and node is not None):
        raise UserError(NOT_OURS.format(path))
    applied = applied_migrations(connection)
    if not applied <= set(MIGRATIONS):
        raise UserError(f"data file {path} was written by a newer version of ringspec; use that one")
    if not is_new:
        owner = connection.execute("SELECT value FROM meta WHERE name = 'node'").fetchone()
        if node is not None and owner is not None and owner[0] != node.encode():
            raise UserError(f"data file {path} belongs to node {owner[0].decode()}, not to {node}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    if applied < set(MIGRATIONS):
        from impl.schema import migrate  # only then: importing it costs a node a third of its start

        migrate(connection)
    if node is not None:
        connection.execute("INSERT INTO meta VALUES ('node', ?) ON CONFLICT DO NOTHING", (node.encode(),))


def applied_migrations(connection: sqlite3.Connection) -> set[str]:
    """The names of the migrations that the file has been through."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone():
        return set()
    applied = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = 'ringspec'")
    return {str(name) for (name,) in applied}
