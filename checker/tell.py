"""The store's words for a counterexample: who did what, and what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from spec.actions import (
    Action,
    Arrive,
    Ask,
    Backup,
    Crash,
    CrashAfterCommit,
    Cut,
    Drop,
    Duplicate,
    Expire,
    HandOver,
    Heal,
    Restart,
    Restore,
    Suspect,
    Wipe,
    event_of,
)
from spec.clock import show_clock
from spec.messages import (
    Answer,
    Condition,
    Fetch,
    Fetched,
    Forward,
    Forwarded,
    Found,
    Get,
    Handoff,
    Known,
    Mark,
    Message,
    Operation,
    Put,
    Read,
    Repair,
    Repaired,
    Result,
    Stored,
    Taken,
    Write,
    Written,
)
from spec.network import Envelope, rank
from spec.quorum import ReadQuorum, WriteQuorum
from spec.rows import Disk
from spec.state import GetInFlight, PutInFlight
from spec.types import NO_REQUEST
from spec.views import show_set
from spec.world import Client, Server, State, client_id


def tell_action(action: Action) -> str:
    """Who did what."""
    match action:
        case Ask():
            return f"{client_id(action.client)} asks {action.node} to {tell_operation(action.operation)}"
        case Arrive():
            envelope = action.envelope
            return f"{envelope.target} receives from {envelope.source}: {tell_message(envelope.message)}"
        case Expire():
            return f"{action.node} runs out of patience with {action.request}"
        case Suspect():
            return f"{action.node} takes {action.about} to be {'down' if action.suspected else 'up again'}"
        case HandOver():
            return f"{action.node} hands {action.target} what it owes it"
        case Drop():
            return f"the network loses {tell_route(action.envelope)}"
        case Duplicate():
            return f"the network repeats {tell_route(action.envelope)}"
        case Crash():
            return f"{action.node} crashes"
        case CrashAfterCommit():
            much = f"{len(action.released)} of its messages" if action.released else "anything"
            return f"{tell_action(action.during)}, commits, and crashes before it sends more than {much}"
        case Restart():
            return f"{action.node} restarts"
        case Wipe():
            return f"{action.node} loses its disk, and starts again on an empty one"
        case Backup():
            return f"somebody copies the disk of {action.node}"
        case Restore():
            return f"{action.node} starts again on the copy of its disk"
        case Cut():
            return f"the network cuts off {', '.join(action.side)}"
        case Heal():
            return "the network heals"


def draw_action(action: Action) -> tuple[Sequence[str], str]:
    """Between whom it happens, and what."""
    match action:
        case Ask():
            return (client_id(action.client), action.node), tell_operation(action.operation)
        case Arrive():
            return (action.envelope.source, action.envelope.target), tell_message(action.envelope.message)
        case CrashAfterCommit():
            return (event_of(action.during)[0],), tell_action(action)
        case HandOver():
            return (action.node, action.target), tell_action(action)
        case Expire() | Suspect() | Crash() | Restart() | Wipe() | Backup() | Restore():
            return (action.node,), tell_action(action)
        case Drop() | Duplicate() | Cut() | Heal():
            return (), tell_action(action)


CONDITIONS: dict[Condition | None, str] = {
    None: "",
    "none-match": ", if nothing is there",
    "context-unchanged": ", if that is the context of what is there",
}


def tell_operation(operation: Operation) -> str:
    """What a client asks for."""
    match operation:
        case Put():
            again = " again" if operation.again else ""
            what = f"put{again} {tell_value(operation.value)} after {show_clock(operation.context)}"
            return what + CONDITIONS[operation.condition] + tell_wishes(operation)
        case Get():
            return f"get{tell_wishes(operation)}"


def tell_wishes(operation: Operation) -> str:
    """What it asks for that the store does not by itself."""
    wishes = operation.wishes
    names = [name for name in wishes.__struct_fields__ if getattr(wishes, name) is not None]
    return "".join(f", {name} = {getattr(wishes, name)}" for name in names)


def tell_value(value: bytes) -> str:
    """A value, readable where it is text."""
    text = value.decode(errors="backslashreplace")
    return text if len(text) <= 40 else f"{text[:37]}..."


def tell_result(result: Result) -> str:
    """What a client is told."""
    match result:
        case Stored():
            beside = "" if result.shown is None else f", in {show_set(result.shown.siblings)}"
            return f"stored as {result.dot}{beside}"
        case Found():
            return f"found {show_set(result.siblings)}"
        case _:
            return f"{type(result).__name__.lower()}: {result.reason}"


def tell_message(message: Message) -> str:
    """What a message says."""
    match message:
        case Write():
            behalf = "" if message.owner is None else f", in place of {message.owner}"
            return f"write {show_set(message.siblings)} for {message.request}{behalf}"
        case Written():
            return f"written, for {message.request}"
        case Read():
            return f"what do you hold, for {message.request}"
        case Answer():
            return f"I hold {show_set(message.siblings)}, for {message.request}"
        case Repair():
            waits = "" if message.request == NO_REQUEST else f", for which {message.request} waits"
            return f"repair with {show_set(message.siblings)}{waits}"
        case Repaired():
            return f"repaired up to {show_clock(message.context)}, for {message.request}"
        case Handoff():
            return f"you are owed {show_set(message.siblings)}"
        case Taken():
            return f"I hold all up to {show_clock(message.context)} of what you owed me"
        case Mark():
            return f"my disk is at mark {message.mark}"
        case Known():
            return f"I have seen your mark {message.mark}" if message.mark else "I have seen no mark of yours"
        case Fetch():
            return "what do you hold of my keys" + (f", after {tell_value(message.after[0])}" if message.after else "")
        case Fetched():
            sets = ", ".join(show_set(siblings) for _, siblings in message.rows) or "nothing"
            return f"of your keys I hold {sets}" + (", and more" if message.upto else "")
        case Forward():
            return f"coordinate {message.request}: {tell_operation(message.operation)}"
        case Forwarded():
            return f"{message.request} is {tell_result(message.result)}"


def tell_route(envelope: Envelope) -> str:
    """A message and where it goes."""
    return f"{envelope.source} to {envelope.target}: {tell_message(envelope.message)}"


def tell_changes(before: State, after: State) -> list[str]:
    """Everything that an action changed, disks first."""
    changes: list[str] = []
    for name, server in after.servers.items():
        changes += tell_server(name, before.servers[name], server)
    old, new = Counter(before.network.in_flight), Counter(after.network.in_flight)
    changes += [f"sent {tell_route(e)}" for e in sorted(new - old, key=rank)]
    changes += [f"gone {tell_route(e)}" for e in sorted(old - new, key=rank)]
    for i, (was, now) in enumerate(zip(before.clients, after.clients, strict=True)):
        changes += tell_client(client_id(i), was, now, before, after)
    return changes


def tell_server(name: str, before: Server, after: Server) -> Iterator[str]:
    """What changed on one server."""
    for _, row in after.disk.table.items():
        if row not in [r for _, r in before.disk.table.items()]:
            owed = f", owed to {', '.join(row.owed)}" if row.owed else ""
            yield f"{name} durably holds {show_set(row.siblings)}{owed}"
    if len(after.disk.table) < len(before.disk.table):
        yield f"{name} holds nothing of it any more"
    yield from tell_disk(name, before, after)
    if before.node.started and not after.node.started:
        yield f"{name} is down; its requests in flight are lost"
    for request_id, request in after.requests.items():
        was = before.requests.get(request_id)
        if isinstance(request, PutInFlight) and request != was:
            yield f"{name} counts {', '.join(request.acknowledged)} for {request_id}; {needs(request.quorum)}"
        if isinstance(request, GetInFlight) and request != was:
            yield f"{name} has answers of {', '.join(request.answers)} for {request_id}; {needs(request.quorum)}"


def needs(quorum: WriteQuorum | ReadQuorum) -> str:
    """How many a request waits for."""
    if isinstance(quorum, WriteQuorum):
        return f"W = {quorum.w}, PW = {quorum.pw}" if quorum.pw else f"W = {quorum.w}"
    empty = "" if quorum.notfound_ok else ", of whom holds something"
    return (f"R = {quorum.r}, PR = {quorum.pr}" if quorum.pr else f"R = {quorum.r}") + empty


def tell_disk(name: str, before: Server, after: Server) -> Iterator[str]:
    """What changed in what a server knows of itself."""
    was, now = before.disk.about or Disk(""), after.disk.about or Disk("")
    if now.incarnation != was.incarnation:
        yield f"{name} begins incarnation {now.incarnation}"
    if now.mark != was.mark:
        yield f"{name} is at mark {now.mark}"
    if now.lacking != was.lacking:
        yield (
            f"{name} lacks what {', '.join(now.lacking)} may hold" if now.lacking else f"{name} lacks nothing any more"
        )


def tell_client(name: str, was: Client, now: Client, before: State, after: State) -> Iterator[str]:
    """What a client learned."""
    if now.patience < was.patience:
        yield f"{name} does not know what came of it, and may ask again"
    if now.done == was.done:
        return
    acknowledged = after.history.acknowledged - before.history.acknowledged
    if acknowledged:
        yield f"{name} is told that {', '.join(map(str, acknowledged))} is stored"
    elif now.context != was.context or now.seen:
        yield f"{name} is shown {', '.join(map(str, now.seen)) or 'nothing'}, context {show_clock(now.context)}"
    else:
        yield f"{name} is left with nothing new"
    if now.missed:
        yield f"{name} was owed {', '.join(map(str, now.missed))}"
