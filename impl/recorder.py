"""The step log of a node: what `spec.trace` calls a recording, kept in the node's own data file.

A step is logged in the transaction that makes its writes durable: the log never says more, nor less, than what the disk
holds. Recording is a setting, off or on. A recording begins with a snapshot of the disk and goes on over restarts of
the node for as long as each of them records too and nothing that the header states has changed; otherwise the log would
have a gap, so a new recording takes the place of the old one. So it does when the old one has grown too long, between
two batches: the header then holds what the node has in memory, too.

No step that changed something is ever missing from the log, nor is any other after the end of a process, however it
ended. Steps that changed nothing do not wait for the disk, for then a read would cost what a write costs: where the
machine itself goes down the last of them may be lost, with messages of theirs in the logs of others. So a recording
that was not closed does not go on after that. By the machine's boot id a node knows; where there is none, every step
waits for the disk.

The snapshot is a copy of the rows as the file has them, for a large store has to be recorded too, and soon. All else is
encoded once, as the JSON that the exported line will hold. The steps of a batch are kept as one part, their lines
joined, with a chain over the snapshot and the parts: what a commit adds costs one row and one digest. An export checks
these, and computes the chain of each line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from impl.errors import UserError
from impl.storage import Storage, open_storage
from spec.ring import Member
from spec.trace import FORMAT, End, Entry, Held, NodeLog, Running, link, link_encoded
from spec.types import Config, NodeId

RECORDED = "recorded"
"""The fact that names the latest epoch that the log covers, and until the log is closed the boot of the machine."""

PART_BYTES = 64 * 1024 * 1024
"""Lines that are longer than this together are kept as several parts; SQLite holds no value beyond 10⁹ bytes."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Where Linux says which start of the machine this is."""

_encode, _encode_lines = msgspec.json.Encoder().encode, msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(NodeLog).decode


class Head(Struct, tag="NodeLog"):
    """What the head of a log, of whatever format, has in common with all others."""

    format: int


_decode_any = msgspec.json.Decoder(Head).decode


class Recorder:
    """Adds steps to a node's log; what it adds becomes durable with the storage's next commit."""

    def __init__(self, storage: Storage, head: NodeLog, epoch: int, chain: str) -> None:
        """Use `start_recording`; `head` is what a new recording would begin with, but for what the node then holds."""
        self._storage, self._head, self._epoch = storage, head, epoch
        self._chain = self._committed_chain = chain
        self._most = head.config.limits.recorded_bytes
        self.replaced = False
        """Whether an earlier recording had to make way at the start."""

    def record(self, entries: Sequence[Entry]) -> None:
        """Add entries, at least one, to the log."""
        lines = _encode_lines(entries)
        if len(lines) <= PART_BYTES:
            self._add(lines, len(entries))
            return
        for at in range(0, len(lines), PART_BYTES):
            part = lines[at : at + PART_BYTES]
            self._add(part, part.count(b"\n"))

    def _add(self, part: bytes, lines: int) -> None:
        self._chain = link_encoded(self._chain, part)
        self._storage.append(part, self._chain, lines)

    @property
    def full(self) -> bool:
        """Whether the log has grown so long that it has to make way."""
        return self._storage.log_bytes() > self._most

    def begin(self, running: Running | None) -> None:
        """Begin anew, with what is committed and what the node has in memory, if it runs; at once.

        Raises StorageError; DiskFull if the log stays as it was, which is then no longer `full`.
        """

        def first(rows: int, digest: str) -> tuple[bytes, str]:
            head = _encode(replace(self._head, disk=self._storage.disk(), rows=rows, running=running)) + b"\n"
            return head, link_encoded(digest, head)

        limit = self._head.config.limits.recorded_bytes
        self._most = self._storage.log_bytes() + limit
        self._chain = self._committed_chain = self._storage.begin_log(first)
        self._most = limit

    def committed(self) -> None:
        """The storage has committed what was added."""
        self._committed_chain = self._chain

    def close(self) -> None:
        """Nothing more is recorded: make sure of what was. Raises StorageError, and then the log is not closed."""
        self._storage.set_meta(RECORDED, str(self._epoch).encode())
        self._storage.commit()

    def rolled_back(self) -> None:
        """The storage has forgotten what was added since the last commit."""
        self._chain = self._committed_chain


def start_recording(
    storage: Storage, node: NodeId, config: Config, members: tuple[Member, ...], epoch: int
) -> Recorder:
    """Go on with the log of the data file, or begin one; part of the first transaction of the node's epoch."""
    boot = boot_id()
    storage.waits_for_log = not boot
    chain, goes_on = storage.last_chain(), storage.meta(RECORDED) in (b"%d" % (epoch - 1), b"%d %b" % (epoch - 1, boot))
    storage.set_meta(RECORDED, b"%d %b" % (epoch, boot) if boot else b"%d" % epoch)
    recorder = Recorder(storage, NodeLog(FORMAT, node, config, members, None, 0), epoch, chain or "")
    if chain is None or recorder.full or not goes_on or not is_head(storage, config, members):
        recorder.replaced = chain is not None
        recorder.begin(None)
    return recorder


def format_of(storage: Storage) -> int:
    """The format of a log that is not empty. Raises UserError."""
    try:
        return _decode_any(storage.first_part()).format
    except msgspec.DecodeError:
        raise damaged(storage) from None


def is_head(storage: Storage, config: Config, members: tuple[Member, ...]) -> bool:
    """Whether the log, which is not empty, states this configuration and these members. Raises UserError."""
    if format_of(storage) != FORMAT:
        return False
    try:
        head = _decode(storage.first_part())
    except (msgspec.DecodeError, ValueError):
        raise damaged(storage) from None
    return (head.config, head.members) == (config, members)


def damaged(storage: Storage) -> UserError:
    """The log is not what was committed."""
    return UserError(f"the recording in data file {storage.path} is damaged")


def boot_id() -> bytes:
    """Which start of the machine this is; nothing where the system does not tell."""
    try:
        return BOOT_ID.read_bytes().strip()
    except OSError:
        return b""


def lacks_its_end(storage: Storage) -> bool:
    """Whether the machine went down while the log was written, so that its last steps may be missing."""
    _, _, boot = (storage.meta(RECORDED) or b"").partition(b" ")
    return boot not in (b"", boot_id())


def line(entry: bytes, chain: str) -> bytes:
    """A `spec.trace.Line` as one line of NDJSON, from its encoded entry."""
    return b'{"entry":' + entry + b',"chain":"' + chain.encode() + b'"}\n'


def recorded(storage: Storage) -> Iterator[bytes]:
    """The committed entries, encoded. Raises UserError where they are not what was committed."""
    chain, rest, begun = storage.snapshot_digest(), b"", False
    for part, said in storage.log():
        chain = link_encoded(chain, part)
        if chain != said:
            raise damaged(storage)
        *entries, rest = (rest + part).split(b"\n")  # within JSON a line break is escaped
        for entry in entries:
            yield entry
            if not begun:
                begun = True
                yield from (_encode(Held(key, row)) for key, row in storage.snapshot())
    if rest:
        raise damaged(storage)


def log_lines(storage: Storage) -> Iterator[bytes]:
    """The committed recording as lines of NDJSON that end with an `End`; nothing where there is none."""
    lines, chain = 0, ""
    for entry in recorded(storage):
        lines, chain = lines + 1, link_encoded(chain, entry)
        yield line(entry, chain)
    if lines:
        end = End(lines)
        yield line(_encode(end), link(chain, end))


def export_log(path: Path, warn: Callable[[str], None] = lambda _: None) -> Iterator[bytes]:
    """The recording in a data file at rest; `warn` is told if its last steps may be missing.

    Raises UserError if it has none, or while a node holds the file.
    """
    storage = open_storage(path)
    try:
        if storage.last_chain() is None:
            raise UserError(f"data file {path} holds no recording; run its node with --record")
        if (found := format_of(storage)) != FORMAT:
            told = f"holds a recording in format {found}; this program exports {FORMAT}"
            raise UserError(f"data file {path} {told}")
        if lacks_its_end(storage):
            warn(f"the machine went down while {path} was recorded: last steps that changed nothing may be missing")
        yield from log_lines(storage)
    finally:
        storage.close()
