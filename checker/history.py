"""Histories: what clients asked and were told, and when, as calls that overlap in real time.

A history comes from the logs that the clients of a real run wrote, or from a path of the explored cluster, where what
happens in one step ends before what happens in the next. What a client was never told, or only that it may have
happened, is *indefinite*: a put of that kind may take effect at any time after it began, or never. What a client was
told had no effect is left out, unless it had asked more than once, for then an earlier try may have had one.

From a history alone, without looking into any node, two questions can be answered: whether the store kept those of its
promises that clients can see (`checker.promises`), and whether it behaved as one register (`checker.linearizable`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from checker.logs import SUFFIX, ClientRecord, NoLogs, read_entries, read_log
from checker.outcome import Step
from spec.actions import Action, Arrive, Ask, CrashAfterCommit, Expire, event_of
from spec.events import Reply
from spec.messages import Failed, Found, Get, Indefinite, Operation, Put, Refused, Result, Stored
from spec.trace import Invoked, NodeLog
from spec.types import Config, Key, NodeId, RequestId
from spec.world import State, advance


class Call(Struct, frozen=True):
    """One operation of a client: what it asked of whom, what it was told, and when, by one clock for all clients."""

    request: RequestId
    node: NodeId
    operation: Operation
    began: int
    ended: int | None
    """None if its outcome is indefinite."""
    result: Result | None
    place: str
    """Where it says so, for people."""

    @property
    def is_put(self) -> bool:
        """Whether it writes."""
        return isinstance(self.operation, Put)


def read_history(directory: Path) -> list[Call]:
    """The calls that the client logs of a directory tell of. Raises NoLogs, or Invalid for a log that is none."""
    if not directory.is_dir():
        raise NoLogs(f"there is no directory {directory}")
    calls: list[Call] = []
    clients = 0
    for file in sorted(directory.glob(f"*{SUFFIX}")):
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise NoLogs(f"log {file} cannot be read: {error.strerror}") from None
        if b'"type":"ClientLog"' in raw[:200]:
            record = read_log(file.name, raw)
            assert isinstance(record, ClientRecord), "it begins as one"
            calls += calls_of(record)
            clients += 1
    if not clients:
        raise NoLogs(f"there are no logs of clients (*{SUFFIX}) in {directory}")
    return calls


def configuration(directory: Path) -> Config | None:
    """What the store was configured as, if a node's log lies beside those of the clients. Raises Invalid."""
    for file in sorted(directory.glob(f"*{SUFFIX}")):
        with file.open("rb") as log:
            first = log.readline()
        if b'"type":"NodeLog"' in first[:200]:
            head = next(read_entries(file.name, first))
            assert isinstance(head, NodeLog), "it begins as one"
            return head.config
    return None


def calls_of(record: ClientRecord) -> list[Call]:
    """The calls of one client."""
    asked: dict[RequestId, tuple[int, Invoked]] = {}
    times, told = Counter[RequestId](), dict[RequestId, tuple[int, Result]]()
    for index, entry in enumerate(record.entries):
        if isinstance(entry, Invoked):
            asked.setdefault(entry.request, (index, entry))
            times[entry.request] += 1
        else:
            told[entry.request] = entry.at_ns, entry.result
    found = []
    for request, (index, entry) in asked.items():
        ended, result = told.get(request, (None, None))
        call = call_of(request, entry.node, entry.operation, entry.at_ns, ended, result, str(record.place(index)))
        if call is not None and not (had_no_effect(result) and times[request] == 1):
            found.append(call)
    return found


def call_of(
    request: RequestId,
    node: NodeId,
    operation: Operation,
    began: int,
    ended: int | None,
    result: Result | None,
    place: str,
) -> Call | None:
    """A call, without an end if its outcome is indefinite; None for a get that says nothing."""
    definite = isinstance(result, Stored | Found)
    if isinstance(operation, Get) and not definite:
        return None
    return Call(request, node, operation, began, ended if definite else None, result, place)


def had_no_effect(result: Result | None) -> bool:
    """Whether a client was told so."""
    return isinstance(result, Refused | Failed)


def history_of(path: Sequence[Step[State, Action]]) -> list[Call]:
    """The calls of a path of the cluster."""
    asked: dict[RequestId, tuple[int, Ask]] = {}
    told: dict[RequestId, tuple[int, Result]] = {}
    for index, step in enumerate(path[1:], 1):
        action = step.action.during if isinstance(step.action, CrashAfterCommit) else step.action
        if isinstance(action, Ask):
            asked[action.request] = 2 * index, action
        if isinstance(action, Ask | Arrive | Expire):
            name, event = event_of(action)
            leaving = advance(path[index - 1].state.servers[name], event).leaving
            if isinstance(step.action, CrashAfterCommit):
                leaving = tuple([leaving[i] for i in step.action.released])
            for said in leaving:
                if isinstance(said, Reply):
                    told[said.request] = 2 * index + 1, said.result
    found = []
    for request, (began, action) in asked.items():
        ended, result = told.get(request, (None, Indefinite("it was never answered")))
        call = call_of(request, action.node, action.operation, began, ended, result, f"step {began // 2}")
        if call is not None and not had_no_effect(result):
            found.append(call)
    return found


def by_key(calls: Iterable[Call]) -> dict[Key, list[Call]]:
    """The calls of each key, each in order of their beginnings."""
    keys: dict[Key, list[Call]] = {}
    for call in sorted(calls, key=lambda call: (call.began, call.request)):
        keys.setdefault(call.operation.key, []).append(call)
    return dict(sorted(keys.items()))
