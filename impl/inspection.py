"""What the data file of a node at rest holds, for `ringspec inspect`.

No node can start on the file meanwhile, and a running node's is refused. Nothing about it changes: an older one is not
brought up to date, and a write-ahead log that a killed node left is read with the file, not folded into it.

SQLite folds it in when the last connection closes that can write, and only such a one can lock out others. So there are
two: one that can write holds the lock, for this process alone (the VFS `unix-excl`, which also spares a file of shared
memory), and one that cannot reads. The first is closed while the other is still there, and so is not the last. Only
where there is no log it closes last: opening made an empty one, and it takes that away again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct
from sqlite_utils import Database
from sqlite_utils.db import Table

from impl.console import print_json, shown, tell
from impl.datafile import NOT_OURS, data_bytes, require_place, write_ahead_log
from impl.errors import UserError, one_line
from impl.show import number, plural, size
from impl.storage import APPLICATION_ID, MIGRATIONS, applied_migrations, refusal
from spec.clock import show_clock
from spec.rows import Disk, Row
from spec.siblings import context_of

VALUE_SHOWN = 60
"""How much of a value is shown, in characters."""


class About(Struct, frozen=True):
    """A data file as a whole."""

    file: str
    data_bytes: int
    schema: tuple[str, ...]
    """The migrations that it has been through."""
    current: bool
    """Whether these are all that there are."""
    facts: dict[str, str]
    """What the node keeps about itself: its name, how often it was started, and so on."""
    disk: Disk | None
    tables: dict[str, int]
    """Rows of each table."""


class Inspected:
    """An open data file."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use `inspect_file`."""
        self._db, self._path = Database(connection), path

    def about(self) -> About:
        """The file as a whole."""
        facts = {str(row["name"]): bytes(row["value"]) for row in table(self._db, "meta").rows}
        disk = facts.pop("disk", None)
        applied = applied_migrations(self._db.conn)
        return About(
            file=str(self._path),
            data_bytes=data_bytes(self._path),
            schema=tuple(sorted(applied)),
            current=applied == set(MIGRATIONS),
            facts={name: shown(value) for name, value in facts.items()},
            disk=None if disk is None else msgspec.msgpack.decode(disk, type=Disk),
            tables={"rows": table(self._db, "rows").count, "log": self._log_lines()},
        )

    def _log_lines(self) -> int:
        """A row of the log holds as many lines as it says; one, in a file from before it said. The snapshot is a table
        of its own."""
        log, snapshot = table(self._db, "log"), table(self._db, "snapshot")
        if "lines" not in log.columns_dict:
            return log.count
        lines = int(self._db.execute("SELECT coalesce(sum(lines), 0) FROM log").fetchone()[0])
        return lines + (snapshot.count if snapshot.exists() else 0)

    def rows(self, key: bytes | None, limit: int | None) -> Iterator[tuple[bytes, Row]]:
        """Rows by increasing key, at most so many; only that of one key, if it is given."""
        where, arguments = (None, None) if key is None else ("key = ?", [key])
        for row in table(self._db, "rows").rows_where(where, arguments, order_by="key", limit=limit):
            yield bytes(row["key"]), msgspec.msgpack.decode(row["row"], type=Row)

    def show(self, key: bytes | None, limit: int | None, *, as_json: bool) -> None:
        """Print the file as a whole, then rows."""
        about = self.about()
        if as_json:
            print_json(about)
            for name, row in self.rows(key, limit):
                print_json({"key": name} | as_json_row(row))
            return
        lines = list(told(about)) if key is None else []
        count = 0
        for name, row in self.rows(key, limit):
            lines += told_row(name, row)
            count += 1
        if key is not None and not count:
            raise UserError(f"{self._path} holds no row of {shown(key)}")
        if key is None and count < about.tables["rows"]:
            lines.append(f"… and {plural(about.tables['rows'] - count, 'more row')}; --limit 0 shows all")
        for line in lines:
            tell(line)


def table(database: Database, name: str) -> Table:
    """A table; no view has any of our names."""
    found = database.table(name)
    assert isinstance(found, Table)
    return found


def told(about: About) -> Iterator[str]:
    """A file as a whole, for people."""
    age = "" if about.current else ", older than this program: a node brings it up to date when it starts"
    yield f"data file {about.file} of node {about.facts.get('node', '?')}, {size(about.data_bytes)}"
    yield f"schema {' '.join(about.schema) or 'none'}{age}"
    if about.disk is None:
        yield "disk new: no node has started on it"
    else:
        yield f"disk incarnation {about.disk.incarnation}, {plural(about.disk.births, 'actor')} born"
    facts = {name: value for name, value in about.facts.items() if name != "node"}
    if facts:
        yield "facts " + ", ".join(f"{name} {value}" for name, value in sorted(facts.items()))
    yield f"{plural(about.tables['rows'], 'key')}, {plural(about.tables['log'], 'line')} of a recording"


def told_row(key: bytes, row: Row) -> Iterator[str]:
    """A row, for people: its siblings, and what the node itself has minted."""
    minted = f"; minted {number(row.counter)} under birth {row.birth}" if row.birth else ""
    siblings = "1 version" if len(row.siblings) == 1 else plural(len(row.siblings), "sibling")
    owed = f"; owed to {', '.join(row.owed)}" if row.owed else ""
    yield f"{shown(key)}: {siblings}, context {show_clock(context_of(row.siblings))}{minted}{owed}"
    for version in row.siblings:
        text = shown(version.value)
        cut = text if len(text) <= VALUE_SHOWN else text[:VALUE_SHOWN] + "…"
        yield f"  {version}  {plural(len(version.value), 'byte')}: {cut}"


def as_json_row(row: Row) -> dict[str, object]:
    """A row as `ringspec get --json` shows siblings."""
    return {
        "siblings": [{"version": str(version), "value": version.value} for version in row.siblings],
        "context": show_clock(context_of(row.siblings)),
        "birth": row.birth,
        "counter": row.counter,
        "minted": [{"request": str(minted.request), "counter": minted.counter} for minted in row.minted],
        "owed": list(row.owed),
    }


@contextmanager
def inspect_file(path: Path) -> Iterator[Inspected]:
    """A data file at rest, locked until the end of the block. Raises UserError, and changes nothing."""
    require_place(path, new=False)
    try:
        with locked_for_reading(path) as connection:
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise UserError(NOT_OURS.format(path))
            if not applied_migrations(connection) <= set(MIGRATIONS):
                raise UserError(f"data file {path} was written by a newer version of ringspec; use that one")
            yield Inspected(connection, path)
    except sqlite3.Error as error:
        raise UserError(refusal(path, error)) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise UserError(f"data file {path} is damaged: {one_line(error)}") from None


@contextmanager
def locked_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, while another keeps everybody out. Raises sqlite3.Error."""
    log, name = write_ahead_log(path), path.absolute().as_uri()
    had_log = log.exists()
    with closing(sqlite3.connect(f"{name}?mode=rw&vfs=unix-excl", uri=True, timeout=0)) as keeper:
        keeper.execute("SELECT count(*) FROM sqlite_master").fetchone()  # locked from the first read on
        with closing(sqlite3.connect(f"{name}?mode=ro&vfs=unix-excl", uri=True, timeout=0)) as reader:
            try:
                yield reader
            finally:
                if had_log or (log.exists() and log.stat().st_size):
                    keeper.close()
