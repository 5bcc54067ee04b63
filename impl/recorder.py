"""The step log of a node: what `spec.trace` calls a recording, kept in the node's own data file.

A step is logged in the transaction that makes its writes durable: the log never says more, nor less, than what the disk
holds. Recording is a setting, off or on. A recording begins with a snapshot of the disk and goes on over restarts of
the node for as long as each of them records too and nothing that the header states has changed; otherwise the log would
have a gap, so a new recording takes the place of the old one.

Entries are encoded once, as the JSON that the exported line will hold. The steps of a batch are kept as one part, their
lines joined, with a chain over the parts: what a commit adds costs one row and one digest. An export checks these, and
computes the chain of each line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from impl.errors import UserError
from impl.storage import Storage, open_storage
from spec.ring import Member
from spec.trace import FORMAT, End, Entry, NodeLog, link, link_encoded
from spec.types import Config, NodeId

RECORDED = "recorded"
"""The fact that names the latest epoch that the log covers."""

_encode, _encode_lines = msgspec.json.Encoder().encode, msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(Entry).decode


class Recorder:
    """Adds steps to a node's log; what it adds becomes durable with the storage's next commit."""

    def __init__(self, storage: Storage, chain: str, replaced: bool) -> None:
        """Use `start_recording`."""
        self._storage = storage
        self._chain = self._committed_chain = chain
        self.replaced = replaced
        """Whether an earlier recording had to make way for this one."""

    def record(self, entries: Sequence[Entry]) -> None:
        """Add entries, at least one, to the log."""
        part = _encode_lines(entries).removesuffix(b"\n")
        self._chain = link_encoded(self._chain, part)
        self._storage.append(part, self._chain, len(entries))

    def committed(self) -> None:
        """The storage has committed what was added."""
        self._committed_chain = self._chain

    def rolled_back(self) -> None:
        """The storage has forgotten what was added since the last commit."""
        self._chain = self._committed_chain


def start_recording(
    storage: Storage, node: NodeId, config: Config, members: tuple[Member, ...], epoch: int
) -> Recorder:
    """Go on with the log of the data file, or begin one; part of the first transaction of the node's epoch."""
    storage.set_meta(RECORDED, str(epoch).encode())
    chain = storage.last_chain()
    if chain is not None and storage.meta(RECORDED) == str(epoch - 1).encode():
        head = _decode(next(recorded(storage)))
        if isinstance(head, NodeLog) and (head.format, head.config, head.members) == (FORMAT, config, members):
            return Recorder(storage, chain, replaced=False)
    if chain is not None:
        storage.clear_log()
    recorder = Recorder(storage, "", replaced=chain is not None)
    recorder.record([NodeLog(FORMAT, node, config, members, storage.disk(), tuple(storage.rows()))])
    return recorder


def line(entry: bytes, chain: str) -> bytes:
    """A `spec.trace.Line` as one line of NDJSON, from its encoded entry."""
    return b'{"entry":' + entry + b',"chain":"' + chain.encode() + b'"}\n'


def recorded(storage: Storage) -> Iterator[bytes]:
    """The committed entries, encoded. Raises UserError where they are not what was committed."""
    chain = ""
    for part, said in storage.log():
        chain = link_encoded(chain, part)
        if chain != said:
            raise UserError(f"the recording in data file {storage.path} is damaged")
        yield from part.split(b"\n")  # within JSON a line break is escaped


def log_lines(storage: Storage) -> Iterator[bytes]:
    """The committed recording as lines of NDJSON that end with an `End`; nothing where there is none."""
    lines, chain = 0, ""
    for entry in recorded(storage):
        lines, chain = lines + 1, link_encoded(chain, entry)
        yield line(entry, chain)
    if lines:
        end = End(lines)
        yield line(_encode(end), link(chain, end))


def export_log(path: Path) -> Iterator[bytes]:
    """The recording in a data file at rest. Raises UserError if it has none, or while a node holds the file."""
    storage = open_storage(path)
    try:
        if storage.last_chain() is None:
            raise UserError(f"data file {path} holds no recording; run its node with --record")
        yield from log_lines(storage)
    finally:
        storage.close()
