"""A data file before it is opened, and beside its database: its name, its place and its size.

Only the file system is asked, never the content: closing a file gives up the locks that this process has on it.
"""

from __future__ import annotations

import stat
from os import stat_result
from pathlib import Path

from impl.errors import UserError

SMALLEST_BYTES = 512
"""SQLite takes a file that is smaller than its smallest page for an empty database, and would overwrite it."""

NOT_OURS = "{} is not a ringspec data file; name another, or a new one"

LONGEST_SUFFIX = "-journal"
"""Of those that SQLite adds to the name for files of its own."""


def write_ahead_log(data: Path) -> Path:
    """Where SQLite keeps what it has not written back yet."""
    return beside(data, "-wal")


def data_bytes(data: Path) -> int:
    """How large a data file and its write-ahead log are."""
    return sum(path.stat().st_size for path in (data, write_ahead_log(data)) if path.exists())


def require_place(data: Path, *, new: bool) -> None:
    """Refuse (UserError) a name under which there can be no data file, or is none, unless it may be a new one.

    SQLite has one answer to all that cannot be opened, and to some of it only after it made the file.
    """
    found = look(data)
    look(beside(data, LONGEST_SUFFIX))
    if found is None:
        if not new:
            raise UserError(f"there is no data file {data}")
        if not data.parent.is_dir():
            raise UserError(f"there is no directory {data.parent} for the data file {data.name}")
    elif stat.S_ISDIR(found.st_mode):
        raise UserError(f"data file {data} is a directory")
    elif not stat.S_ISREG(found.st_mode) or (found.st_size < SMALLEST_BYTES and (found.st_size or not new)):
        raise UserError(NOT_OURS.format(data))


def look(path: Path) -> stat_result | None:
    """What there is of this name; None where there is nothing. Raises UserError."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"data file {path} cannot be used: {str(error.strerror).lower()}") from None


def beside(data: Path, suffix: str) -> Path:
    """A file of SQLite's own, which is beside the file itself where the name is a link."""
    return Path(f"{data.resolve()}{suffix}")
