"""What happened before what: the causes that the logs of a run record, and orders that respect them.

Within one log the lines are in order. Between logs there are four kinds of cause, and finding them is checking them:

* a message is received after the step that sent it: the stamp of a `Deliver` must name a `Send` of that very message to
  this very node. The network may lose, delay and reorder messages, and may repeat them: a repetition is counted, and
  is no violation, for the specification's network may do the same. A node that lost a disk lost its log with it, or
  the last part: whatever others received from there was sent by a step that nobody can name any more. Its new log
  numbers its runs as the lost one did; where a step of it has the stamp and sends the same, and yet comes after what it
  would have caused, the message was sent by the lost log's;
* a node is asked after the client said that it asks (a put that it may ask again: after it first did);
* a client is told after a node replied;
* what happens at one client later than at another, by the machine's clock, happened after it.

A *linear extension* puts all lines of all logs into one order that respects all of these. There is one unless they
contradict each other: something would have happened before its own cause. Usually there are very many, and what a
property says may depend on which is looked at, so validation looks at one, and at random others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from checker.logs import ClientRecord, Invalid, Logs, NodeRecord, Place
from checker.rerun import cut, event_told
from checker.story import changes, show
from spec.events import Deliver, Invoke, Reply, Send
from spec.messages import Failed, Put, Refused, Result, as_asked_again
from spec.trace import Invoked, Returned, Stamp
from spec.types import RequestId


class At(NamedTuple):
    """An entry: the index of its log, nodes before clients, and its index there."""

    log: int
    entry: int


Causes: TypeAlias = dict[At, list[At]]
"""For an entry, those of other logs that it must come after."""


class Traffic(Struct, frozen=True):
    """How many messages were received."""

    delivered: int = 0
    repeated: int = 0
    """Of these, those that had been received before."""
    unmatched: int = 0
    """Of these, those that were sent before the sender's recording began, or whose sending was lost with a disk."""


def match_messages(logs: Logs, causes: Causes) -> Traffic:
    """Check that whatever was received was sent, and add that to the causes. Raises Invalid."""
    delivered = repeated = unmatched = 0
    seen: set[tuple[Stamp, int]] = set()
    by_name = {node.name: log for log, node in enumerate(logs.nodes)}
    for log, node in enumerate(logs.nodes):
        for index, step in enumerate(node.steps):
            if not isinstance(step.event, Deliver):
                if step.stamp is not None:
                    raise Invalid("message", [node.place(index)], "only a delivered message has a stamp")
                continue
            stamp = step.stamp
            if stamp is None:
                raise Invalid("message", [node.place(index)], "a delivered message must have a stamp")
            sender = by_name.get(stamp.node)
            if sender is None or stamp.node != step.event.source:
                told = f"node {stamp.node} sent it by its stamp, node {step.event.source} by its event"
                raise Invalid("message", [node.place(index)], told, [event_told(step)])
            delivered += 1
            repeated += (stamp, log) in seen
            seen.add((stamp, log))
            try:
                sent = sent_at(logs.nodes[sender], node, index, stamp)
            except Invalid:
                if not logs.nodes[sender].lost:
                    raise
                sent = None  # by a run of which the log was lost
            if sent is None:
                unmatched += 1
            else:
                causes.setdefault(At(log, index), []).append(At(sender, sent))
    return Traffic(delivered, repeated, unmatched)


def sent_at(sender: NodeRecord, node: NodeRecord, index: int, stamp: Stamp) -> int | None:
    """The step that sent what was received at `index`; None if that was before recording began. Raises Invalid."""
    place, step = node.place(index), node.steps[index]
    assert isinstance(step.event, Deliver)
    at = sender.index_of(stamp.epoch, stamp.seq)
    if at is None:
        if sender.is_before(stamp.epoch, stamp.seq):
            return None
        told = f"its stamp names step {stamp.seq} of run {stamp.epoch} of node {stamp.node}, which is not in its log"
        raise Invalid("message", [place, Place(sender.file, 1)], told, [event_told(step)])
    origin, there = sender.steps[at], sender.place(at)
    effect = origin.effects[stamp.index] if stamp.index < len(origin.effects) else None
    if not isinstance(effect, Send):
        told = f"effect {stamp.index} of the step that it says sent it is no message"
        raise Invalid("message", [place, there], told, [event_told(step)])
    if effect.target != node.name:
        told = f"the message that it names was sent to node {effect.target}, not to {node.name}"
        raise Invalid("message", [place, there], told, [event_told(step)])
    if effect.message != step.event.message:
        told = "the message received is not the message sent"
        lines = [cut(line) for line in changes(effect.message, step.event.message, "message")]
        raise Invalid("message", [place, there], told, ["sent → received:", *lines])
    return at


class Asked(NamedTuple):
    """A call in a client's log: the first time that it was made."""

    at: At
    call: Invoked
    place: Place
    times: int
    """How often it was made."""


class Arrived(NamedTuple):
    """A node was asked."""

    place: Place
    again: bool


def is_repeated(event: Invoke) -> bool:
    """Whether a client asks again for a put."""
    return isinstance(event.operation, Put) and event.operation.again


class Callers(Struct, frozen=True):
    """What clients' logs have to do with nodes'."""

    strangers: int = 0
    """Requests of clients without a log."""
    unmatched: int = 0
    """Answers, other than refusals, that were given before the node's recording began, or by a log that was lost."""


def match_clients(logs: Logs, causes: Causes) -> Callers:
    """Check that clients' logs fit nodes', and add to the causes. Raises Invalid."""
    recorded = {client.name for client in logs.clients}
    asked: dict[RequestId, Asked] = {}
    for number, client in enumerate(logs.clients):
        for index, entry in enumerate(client.entries):
            if isinstance(entry, Invoked):
                at, before = At(len(logs.nodes) + number, index), asked.get(entry.request)
                first = Asked(at, entry, client.place(index), 0) if before is None else before
                asked[entry.request] = first._replace(times=first.times + 1)
                contacted(logs, entry, client.place(index))
    invoked: dict[RequestId, list[Arrived]] = defaultdict(list)
    replies: dict[RequestId, list[tuple[At, Result]]] = defaultdict(list)
    strangers = unmatched = 0
    for log, node in enumerate(logs.nodes):
        for index, step in enumerate(node.steps):
            for effect in step.effects:
                if isinstance(effect, Reply):
                    replies[effect.request].append((At(log, index), effect.result))
            if not isinstance(step.event, Invoke):
                continue
            if step.event.request.client not in recorded:
                strangers += 1
                continue
            call = fit_call(node, index, step.event, asked, invoked)
            invoked[step.event.request].append(Arrived(node.place(index), is_repeated(step.event)))
            causes.setdefault(At(log, index), []).append(call.at)
    for number, client in enumerate(logs.clients):
        for index, entry in enumerate(client.entries):
            if isinstance(entry, Returned):
                here = At(len(logs.nodes) + number, index)
                place, call = client.place(index), asked[entry.request]
                told_at = fit_answer(logs, entry, place, call, invoked, replies[entry.request])
                if told_at is not None:
                    causes.setdefault(here, []).append(told_at)
                elif not isinstance(entry.result, Failed | Refused):
                    unmatched += entry.result not in [result for _, result in replies[entry.request]]
    return Callers(strangers, unmatched)


def contacted(logs: Logs, call: Invoked, place: Place) -> None:
    """A client asks a member. Raises Invalid."""
    if call.node not in [node.name for node in logs.nodes]:
        raise Invalid("client", [place], f"it asks node {call.node}, which is no member")


def fit_call(
    node: NodeRecord, index: int, event: Invoke, asked: dict[RequestId, Asked], invoked: dict[RequestId, list[Arrived]]
) -> Asked:
    """The call in a client's log that a node was asked by. Raises Invalid."""
    place, request, again = node.place(index), event.request, is_repeated(event)
    if request not in asked:
        told = f"node {node.name} was asked {request}; the log of its client has no such call"
        raise Invalid("client", [place], told)
    call, before = asked[request], invoked.get(request, [])
    times = call.times - 1 if again else 1
    same = [arrived.place for arrived in before if arrived.again == again]
    if len(same) >= times:
        told = f"was asked {'again ' if again else ''}{times} times, and arrived oftener"
        raise Invalid("client", [place, *same, call.place], f"{request} {told}")
    if call.call.node != node.name:
        told = f"{request} arrived at node {node.name}; its client asked node {call.call.node}"
        raise Invalid("client", [place, call.place], told)
    asked_for = as_asked_again(call.call.operation) if again else call.call.operation
    if asked_for != event.operation:
        lines = [cut(line) for line in changes(asked_for, event.operation, "operation")]
        told = f"{request} is not what its client asked"
        raise Invalid("client", [place, call.place], told, ["asked → arrived:", *lines])
    return call


def fit_answer(
    logs: Logs,
    answer: Returned,
    place: Place,
    call: Asked,
    invoked: dict[RequestId, list[Arrived]],
    replies: Sequence[tuple[At, Result]],
) -> At | None:
    """The step that gave a client its answer; None for one that turned the request away at the door. Raises Invalid."""
    here = [at for at, result in replies if result == answer.result]
    if here:
        return here[0] if len(here) == 1 else None
    node = next(node for node in logs.nodes if node.name == call.call.node)
    if answer.request in invoked and not node.lost:
        observed = cut(show(answer.result))
        there = [logs.nodes[at.log].place(at.entry) for at, _ in replies]
        given = [cut(f"node {logs.nodes[at.log].name} replied {show(result)}") for at, result in replies]
        told = f"{answer.request} was answered {observed}; its node did not say so"
        raise Invalid(
            "client", [place, *(there or [arrived.place for arrived in invoked[answer.request]])], told, given
        )
    if isinstance(answer.result, Failed | Refused) or not node.whole:
        return None
    told = f"{answer.request} was answered {cut(show(answer.result))}; node {node.name} was never asked"
    raise Invalid("client", [place, call.place], told)


# Orders.

Record: TypeAlias = NodeRecord | ClientRecord


def size(record: Record) -> int:
    """How many entries a log has."""
    return len(record.steps) if isinstance(record, NodeRecord) else len(record.entries)


def linear_extension(logs: Logs, causes: Causes, seed: int | None) -> Iterator[At]:
    """All entries in an order that respects all causes: always the same for no seed, else a random one.

    Causes that only seemed to be some, for the sender's log was lost, are taken out of `causes`. Raises Invalid, when
    nothing more can come, if the others contradict each other.
    """
    records: list[Record] = [*logs.nodes, *logs.clients]
    sizes = [size(record) for record in records]
    times = sorted(entry.at_ns for client in logs.clients for entry in client.entries)
    random = Random(seed) if seed is not None else None
    done = [0] * len(records)
    told = 0
    waiting: dict[int, list[int]] = defaultdict(list)  # a log: those that wait for it to get on
    later: list[tuple[int, int]] = []  # how many entries of clients must come first, and the client's log
    ready: list[int] = []

    def blocked(log: int) -> bool:
        """Whether the next entry of a log must wait; it is put down for what it waits for."""
        for cause in causes.get(At(log, done[log]), ()):
            if done[cause.log] <= cause.entry:
                waiting[cause.log].append(log)
                return True
        record = records[log]
        if isinstance(record, ClientRecord):
            first = bisect_left(times, record.entries[done[log]].at_ns)
            if first > told:
                heappush(later, (first, log))
                return True
        return False

    def consider(log: int) -> None:
        if done[log] < sizes[log] and not blocked(log):
            ready.append(log)

    for log in range(len(records)):
        consider(log)
    while done != sizes:
        if not ready:
            around = circle(records, causes, done, sizes)
            mistaken = of_a_lost_log(records, causes, done, around)
            if mistaken is None:
                raise contradiction(records, done, around)
            waiting[mistaken[1]].remove(mistaken[0])
            consider(mistaken[0])
            continue
        at = random.randrange(len(ready)) if random else len(ready) - 1
        ready[at], ready[-1] = ready[-1], ready[at]
        log = ready.pop()
        yield At(log, done[log])
        done[log] += 1
        if isinstance(records[log], ClientRecord):
            told += 1
        consider(log)
        for other in waiting.pop(log, ()):
            consider(other)
        while later and later[0][0] <= told:
            consider(heappop(later)[1])


def circle(records: Sequence[Record], causes: Causes, done: list[int], sizes: list[int]) -> list[int]:
    """Logs that wait in a circle, each for the next one."""
    stuck = [log for log in range(len(records)) if done[log] < sizes[log]]
    follows: dict[int, int] = {}
    for log in stuck:
        waits = [c.log for c in causes.get(At(log, done[log]), ()) if done[c.log] <= c.entry]
        if not waits:  # a client that waits for an earlier moment of another
            clients = [other for other in stuck if isinstance(records[other], ClientRecord)]
            waits = [min(clients, key=lambda other: moment(records[other], done[other]))]
        follows[log] = waits[0]
    path = [stuck[0]]
    while follows[path[-1]] not in path:
        path.append(follows[path[-1]])
    return path[path.index(follows[path[-1]]) :]


def of_a_lost_log(
    records: Sequence[Record], causes: Causes, done: list[int], around: list[int]
) -> tuple[int, int] | None:
    """Take out a cause that only seemed to be one: who waited, and for whose log; None if all are sound."""
    for log, other in zip(around, [*around[1:], around[0]], strict=True):
        receiver, sender = records[log], records[other]
        if isinstance(receiver, NodeRecord) and isinstance(sender, NodeRecord) and sender.lost:
            at = At(log, done[log])
            causes[at] = [cause for cause in causes[at] if cause.log != other]
            return log, other
    return None


def contradiction(records: Sequence[Record], done: list[int], around: list[int]) -> Invalid:
    """What is said of causes in a circle."""
    told = "these lines cannot all be true: each waits for something that comes at or after the next, in a circle"
    return Invalid("happened-before", [records[log].place(done[log]) for log in around], told)


def moment(record: Record, index: int) -> int:
    """When an entry of a client's log was written."""
    assert isinstance(record, ClientRecord)
    return record.entries[index].at_ns
