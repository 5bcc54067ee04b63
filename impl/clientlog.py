"""A client's log: what it asked and what it was told, and when, as `spec.trace` has it.

Only clients see the real-time order of operations, without which nobody can judge whether a get should have seen a put.
A line is handed to the operating system before the call is made, so that a log never lacks a put that a node received.
A call without a `Returned` is one whose client was never told.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from impl.errors import UserError
from impl.recorder import line
from spec.messages import Operation, Result
from spec.trace import FORMAT, ClientLog, End, Entry, Invoked, Returned, link_encoded
from spec.types import ClientId, NodeId, RequestId


class ClientRecorder:
    """Writes one client's log."""

    def __init__(self, path: Path, client: ClientId) -> None:
        """Begin a new file. Raises UserError if it cannot be made."""
        try:
            self._file = path.open("xb")
        except OSError as error:
            raise UserError(f"log {path} cannot be made: {error.strerror}") from None
        self._chain = ""
        self._lines = 0
        self._write(ClientLog(FORMAT, client))

    def invoked(self, request: RequestId, node: NodeId, operation: Operation) -> None:
        """The client is about to ask."""
        self._write(Invoked(request, node, operation, time.monotonic_ns()))

    def returned(self, request: RequestId, result: Result) -> None:
        """The client was told; after the end of the log, nobody asks any more."""
        if not self._file.closed:
            self._write(Returned(request, result, time.monotonic_ns()))

    def close(self) -> None:
        """End the log."""
        if not self._file.closed:
            self._write(End(self._lines))
            self._file.close()

    def _write(self, entry: Entry) -> None:
        encoded = msgspec.json.encode(entry)
        self._chain = link_encoded(self._chain, encoded)
        self._file.write(line(encoded, self._chain))
        self._file.flush()
        self._lines += 1
