"""What `ringspec replay RUN` does with the logs of a real run: tell it, entry by entry, forwards and back.

The run is first decided again, step by step, like `ringspec validate` does, so that what is told is what the
specification did, not what a file says. Then all entries, of nodes and of clients, are put into one order that respects
what happened before what, and told in the words in which counterexamples are told. `key` leaves out what concerns other
keys; a run of thousands of steps is usually about one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from checker.check import HOLDS, USAGE, VIOLATED, Streams
from checker.happened import At, Causes, linear_extension, match_clients, match_messages
from checker.logs import Invalid, Logs, NoLogs, read_logs
from checker.replay import browse
from checker.rerun import rerun
from checker.tell import tell_message, tell_operation, tell_result, tell_value
from spec.events import (
    Beat,
    Deliver,
    Event,
    HandOff,
    Invoke,
    Reply,
    Send,
    Start,
    Suspicion,
    Timeout,
    WriteRow,
    request_of,
)
from spec.messages import Fetched, Forward, Handoff, Read, Repair, Taken, Write
from spec.text import printable
from spec.trace import Invoked, Returned, Step
from spec.types import Key, RequestId
from spec.views import show_set


def play_back(
    directory: Path,
    *,
    key: Key | None = None,
    step: bool = False,
    live: bool = False,
    streams: Streams | None = None,
) -> int:
    """Tell a recorded run, whole or step by step; the answer is the exit code.

    0: it was told. 1: it is not a run of the specification. 2: there is no such run, or nothing about the key.
    """
    streams = streams or Streams.standard()
    try:
        logs = read_logs(directory, live=live)
        order = decided(logs)
    except NoLogs as nothing:
        streams.complain(f"ringspec replay: {nothing}")
        return USAGE
    except Invalid as invalid:
        problem = invalid.problem
        streams.complain(f"{directory} is not a run of the specification: {problem.places[0]}: {problem.said}")
        return VIOLATED
    about = keys_of(logs)
    entries = [at for at in order if key is None or key in concerned(logs, at, about)]
    if key is not None and not entries:
        streams.complain(f"ringspec replay: nothing in {directory} is about {tell_value(key)}")
        return USAGE
    stories = [map(printable, tell_entry(logs, at)) for at in entries]
    told = [f"{number:4}  " + "\n        ".join(story) for number, story in enumerate(stories)]
    if step:
        browse(told, streams)
    else:
        print("\n".join(told), file=streams.stdout)
    return HOLDS


def decided(logs: Logs) -> list[At]:
    """All entries in an order that respects their causes, every step decided again. Raises Invalid."""
    causes: Causes = {}
    match_messages(logs, causes)
    for node in logs.nodes:
        rerun(node, logs.ring)
    match_clients(logs, causes)
    return list(linear_extension(logs, causes, None))


def entry_at(logs: Logs, at: At) -> Step | Invoked | Returned:
    """An entry of a log."""
    if at.log < len(logs.nodes):
        return logs.nodes[at.log].steps[at.entry]
    return logs.clients[at.log - len(logs.nodes)].entries[at.entry]


def keys_of(logs: Logs) -> dict[RequestId, Key]:
    """The key that each request is about."""
    found: dict[RequestId, Key] = {}
    for client in logs.clients:
        found |= {e.request: e.operation.key for e in client.entries if isinstance(e, Invoked)}
    for node in logs.nodes:
        found |= {s.event.request: s.event.operation.key for s in node.steps if isinstance(s.event, Invoke)}
    return found


def concerned(logs: Logs, at: At, about: dict[RequestId, Key]) -> set[Key]:
    """The keys that an entry concerns; a start concerns all that there are."""
    entry = entry_at(logs, at)
    if not isinstance(entry, Step):
        return {about[entry.request]}
    event = entry.event
    if isinstance(event, Start):
        return set(about.values())
    if isinstance(event, Deliver) and isinstance(event.message, Write | Read | Repair | Handoff | Taken):
        return {event.message.key}
    if isinstance(event, HandOff):
        return set(event.keys)
    if isinstance(event, Deliver) and isinstance(event.message, Fetched):
        return {key for key, _ in event.message.rows}
    request = request_of(event)
    return {about[request]} if request in about else set()


def tell_entry(logs: Logs, at: At) -> Iterator[str]:
    """Who did what, and then what came of it, a line each."""
    entry = entry_at(logs, at)
    match entry:
        case Invoked():
            yield f"client {entry.request} asks {entry.node} to {tell_operation(entry.operation)}, key {name(entry)}"
        case Returned():
            yield f"client {entry.request} is told: {tell_result(entry.result)}"
        case Step():
            yield f"{entry.node} {tell_event(entry.event)}   [run {entry.epoch}, step {entry.seq}]"
            for write in entry.writes:
                if isinstance(write, WriteRow):
                    yield f"{entry.node} durably holds {show_set(write.row.siblings)} under {tell_value(write.key)}"
            for effect in entry.effects:
                if isinstance(effect, Send):
                    yield f"sends to {effect.target}: {tell_message(effect.message)}"
                elif isinstance(effect, Reply):
                    yield f"replies to {effect.request}: {tell_result(effect.result)}"


def name(entry: Invoked) -> str:
    """The key of a call."""
    return tell_value(entry.operation.key)


def tell_event(event: Event) -> str:
    """What a node takes."""
    match event:
        case Start():
            return "starts"
        case Invoke():
            return f"is asked by {event.request} to {tell_operation(event.operation)}"
        case Deliver():
            forwards = " (forwarded)" if isinstance(event.message, Forward) else ""
            return f"receives from {event.source}: {tell_message(event.message)}{forwards}"
        case Timeout():
            return f"runs out of patience with {event.request}"
        case Suspicion():
            return f"takes {event.about} to be {'down' if event.suspected else 'up again'}"
        case HandOff():
            return f"hands {event.target} what it owes it of {len(event.keys)} keys"
        case Beat():
            return "has been up for a while"
