"""What claims about the explored machine look at: the sets of versions that are anywhere in a state.

A claim is a function from a state, or from a transition (before, action, after), to None where it holds and otherwise
to one line that says which clause failed, and on what. A witness says whether there was something to bite on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from spec.actions import Action
from spec.messages import Answer, Fetched, Forwarded, Handoff, Message, Repair, Write, shown_by
from spec.placement import is_owner
from spec.siblings import Siblings
from spec.state import GetInFlight
from spec.types import Key, NodeId
from spec.world import State

StateCheck: TypeAlias = Callable[[State], str | None]
TransitionCheck: TypeAlias = Callable[[State, Action, State], str | None]
StateWitness: TypeAlias = Callable[[State], bool]
TransitionWitness: TypeAlias = Callable[[State, Action, State], bool]


def replicas(state: State) -> Iterator[tuple[NodeId, Key, Siblings]]:
    """Every set that a disk holds."""
    for name, server in state.servers.items():
        for key, row in server.disk.table.items():
            yield name, key, row.siblings


def carried(state: State) -> Iterator[tuple[tuple[str, NodeId, NodeId], Siblings]]:
    """Every set of versions anywhere but on a disk, as what, from whom and at whom."""
    for envelope in state.network.in_flight:
        what = "a result" if isinstance(envelope.message, Forwarded) else "a message"
        for siblings in carried_by(envelope.message):
            yield (what, envelope.source, envelope.target), siblings
    for name, server in state.servers.items():
        for _, request in server.requests.items():
            if isinstance(request, GetInFlight):
                for owner, siblings in request.answers.items():
                    yield ("an answer", owner, name), siblings


def carried_by(message: Message) -> Iterator[Siblings]:
    """Every set of versions in a message."""
    if isinstance(message, Write | Answer | Repair | Handoff):
        yield message.siblings
    elif isinstance(message, Fetched):
        for _, siblings in message.rows:
            yield siblings
    elif isinstance(message, Forwarded):
        shown = shown_by(message.result)
        if shown is not None:
            yield shown.siblings


def owners_served(state: State, name: NodeId, key: Key) -> tuple[NodeId, ...]:
    """The owners for whom a node holds a key: itself, if it is one, and those to whom it owes it."""
    server = state.servers[name]
    itself = (name,) if is_owner(server.node, name, key) else ()
    return (*itself, *server.disk.row(key).owed)


def show_set(siblings: Siblings) -> str:
    """A sibling set in one line."""
    return "{" + ", ".join(map(str, siblings)) + "}"
