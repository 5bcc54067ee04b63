"""The schema of a data file, as a list of migrations that is only ever added to.

A migration is a transaction, together with the note that it was applied. Their names are known to `impl.storage` too,
which decides by them whether a file is older or newer than this program.
"""

from __future__ import annotations

import sqlite3

from sqlite_utils import Database, Migrations

from impl.storage import APPLICATION_ID, MIGRATIONS

schema = Migrations("ringspec")


@schema()
def m001_rows_and_log(db: Database) -> None:
    """A row per key, a few facts about the node, and the step log."""
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID")
    db.execute("CREATE TABLE rows (key BLOB PRIMARY KEY, row BLOB NOT NULL) STRICT")
    db.execute("CREATE TABLE log (line INTEGER PRIMARY KEY, entry BLOB NOT NULL, chain TEXT NOT NULL) STRICT")


@schema()
def m002_log_in_parts(db: Database) -> None:
    """A row of the log holds all lines of a commit, and how many these are."""
    db.execute("ALTER TABLE log ADD COLUMN lines INTEGER NOT NULL DEFAULT 1")


@schema()
def m003_hints(db: Database) -> None:
    """Which keys a node owes to whom; in files from before there were hints, none."""
    db.execute("CREATE TABLE hints (owner TEXT, key BLOB, PRIMARY KEY (owner, key)) STRICT, WITHOUT ROWID")


@schema()
def m004_snapshot(db: Database) -> None:
    """The rows with which the log began, in no order; and what the log takes up to each part."""
    db.execute("CREATE TABLE snapshot (key BLOB NOT NULL, row BLOB NOT NULL) STRICT")
    db.execute("ALTER TABLE log ADD COLUMN total INTEGER NOT NULL DEFAULT 0")


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing."""
    database = Database(connection)
    assert {migration.name for migration in schema.pending(database)} <= set(MIGRATIONS)
    schema.apply(database)
