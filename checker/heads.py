"""Numbers in place of values: what `checker.interned` keeps of the store's states, and what stands for which.

A state of `spec.cluster` is a *head* (servers, clients, and the rest: history, budgets of faults, the cut) and the
messages in flight. The same few servers, clients, rests and messages recur in very many states, so each is kept once
and known by a number; a head is a tuple of them and has a number too; a state is the bytes of a head's number and of
its messages' numbers in order.

Renaming is a table too, by number of renaming and of component. The representative of a state is the least of its
images: of heads as tuples of numbers, and among the renamings that give the least head, of the sorted messages.

A message that is spent (`spec.spent`) is left out. Whether it is depends on the servers at both ends, and on who may
open its request again. (`spec.spent.settle` looks at a message again only when a server at either end has changed; this
looks at every state, so that fewer messages may be left where requests are opened again.)
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from msgspec.structs import replace

from checker.frames import Frames, may_reopen, small
from checker.renaming import renamings_of
from spec.actions import Action
from spec.maps import FMap
from spec.network import Envelope
from spec.spent import names_one_of, reopened_by
from spec.types import NodeId, RequestId
from spec.world import State

T = TypeVar("T", bound=Hashable)
Parts: TypeAlias = tuple[int, ...]
"""A head: the numbers of its servers, by name, of its clients, and of the rest."""

SPENT = -1


class Table(Generic[T]):
    """Values and their numbers, and the numbers of their images under each renaming."""

    def __init__(self, renamings: Sequence[Callable[[T], T]]) -> None:
        """Empty."""
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}
        self.images: list[dict[int, int]] = [{} for _ in renamings]
        self._renamings = renamings

    def number(self, value: T) -> int:
        """The number of a value, a new one if it is new."""
        known = self._numbers.get(value)
        if known is None:
            known = self._numbers[value] = len(self.values)
            self.values.append(value)
        return known

    def image(self, renaming: int, number: int) -> int:
        """The number of what a renaming makes of a value."""
        found = self.images[renaming].get(number)
        if found is None:
            found = self.images[renaming][number] = self.number(self._renamings[renaming](self.values[number]))
        return found


class Local:
    """What some actions, one after the other, make of the components that they are about."""

    __slots__ = ("actions", "changes", "failed", "kind", "left", "nets")

    def __init__(self, kind: str, failed: str) -> None:
        self.kind = kind
        self.failed = failed
        """The first claim about components that fails on the way, if one does."""
        self.actions: list[Action] = []
        self.changes: list[list[tuple[int, int]]] = []
        """After each action: which parts of the head have which numbers."""
        self.nets: list[tuple[Envelope, ...]] = []
        """What was in flight of the messages concerned, before the first action and after each."""
        self.left: list[int] = []
        """And at the end, by number."""


class Step:
    """What some actions make of a head."""

    __slots__ = ("after", "changed", "failed", "first", "kind", "left")

    def __init__(self, local: Local, after: Head, changed: tuple[int, ...], failed: str) -> None:
        self.kind = local.kind
        self.first = local.actions[0]
        self.left = local.left
        self.after = after
        self.changed = changed
        """The places of the servers whose disks change."""
        self.failed = failed
        """The first claim that fails on the way, if one does."""


class Head:
    """One head, and what is known of it so far."""

    __slots__ = ("about", "best", "failed", "parts", "quiet", "renamings", "state", "tables")

    def __init__(self, parts: Parts, state: State, renamings: list[int]) -> None:
        self.parts = parts
        self.state = state
        """With nothing in flight."""
        self.best = -1
        """The number of its least image."""
        self.renamings = renamings
        """Those that give it."""
        self.tables: list[dict[int, int]] = [{} for _ in renamings]
        """For each of them: message → what it is in the least image, or SPENT."""
        self.quiet: list[Step] | None = None
        """What can happen without a message."""
        self.about: dict[int, list[Step]] = {}
        """Message → what can happen with it."""
        self.failed: str | None = None
        """The first claim about heads that fails; None while nobody has asked."""


class Heads:
    """The components, heads and representatives of a scenario that were met so far."""

    def __init__(self, frames: Frames) -> None:
        """None."""
        self.frames = frames
        self.scenario, self.rules = frames.scenario, frames.rules
        renamings = renamings_of(self.scenario)
        self._renamings = renamings if self.rules.symmetry else renamings[:1]
        of = [names.of for names in self._renamings]
        # Any: a table holds values of one type; that of the rest, what a state has besides servers and clients.
        self._servers, self._clients = Table[Any](of), Table[Any](of)
        self._rest, self._messages = Table[Any](of), Table[Envelope](of)
        self._names = sorted(member.name for member in self.scenario.members)
        self._ends = dict[int, tuple[int, int]]()
        self._heads: list[Head] = []
        self._numbers: dict[Parts, int] = {}
        self._forms: dict[tuple[int, ...], int] = {}
        self._reopens = may_reopen(self.scenario)
        self._repeating = self.scenario.repeating

    def key(self, state: State) -> bytes:
        """The representative of a real state."""
        head = self._head(self._parts(state), state)
        return self._least(head, [self._messages.number(envelope) for envelope in state.network.in_flight])

    def whole(self, state: bytes) -> State:
        """A representative as a real state."""
        number, *bag = array("I", state)
        return small(self._heads[number].state, *[self._messages.values[message] for message in bag])

    def _ends_of(self, message: int) -> tuple[int, int]:
        """The places of the servers that a message is for and from."""
        if message not in self._ends:
            envelope = self._messages.values[message]
            self._ends[message] = self._names.index(envelope.target), self._names.index(envelope.source)
        return self._ends[message]

    def _parts(self, state: State) -> Parts:
        """The numbers of what a state consists of, but for its messages."""
        network = state.network
        bare = replace(network, in_flight=()) if network.in_flight else network
        return (
            *[self._servers.number(server) for _, server in state.servers.entries],
            *[self._clients.number(client) for client in state.clients],
            self._rest.number((bare, state.faults, state.history)),
        )

    def _head(self, parts: Parts, state: State | None = None) -> Head:
        """The head that consists of these parts."""
        known = self._numbers.get(parts)
        if known is not None:
            return self._heads[known]
        images = [self._image(renaming, parts) for renaming in range(len(self._renamings))]
        least = min(images)
        bare = self._bare(parts) if state is None else small(state)
        head = Head(parts, bare, [renaming for renaming, image in enumerate(images) if image == least])
        self._numbers[parts] = len(self._heads)
        self._heads.append(head)
        head.best = self._numbers[parts] if least == parts else self._head(least).best
        return head

    def _bare(self, parts: Parts) -> State:
        servers, clients = parts[: len(self._names)], parts[len(self._names) : -1]
        network, faults, history = self._rest.values[parts[-1]]
        named = zip(self._names, servers, strict=True)
        return State(
            FMap[NodeId, Any](tuple((name, self._servers.values[server]) for name, server in named)),
            tuple(self._clients.values[client] for client in clients),
            network,
            faults,
            history,
        )

    def _image(self, renaming: int, parts: Parts) -> Parts:
        """What a renaming makes of a head."""
        names, nodes = self._renamings[renaming], len(self._names)
        servers, clients, image = self._servers.images[renaming], self._clients.images[renaming], list(parts)
        for old, new in enumerate(names.nodes):
            number = parts[old]
            image[new] = servers[number] if number in servers else self._servers.image(renaming, number)
        for old, new in enumerate(names.clients, nodes):
            number = parts[old]
            image[nodes + new] = clients[number] if number in clients else self._clients.image(renaming, number)
        image[-1] = self._rest.image(renaming, parts[-1])
        return tuple(image)

    def _least(self, head: Head, bag: list[int]) -> bytes:
        """The representative of a head and messages in flight, those that are spent left out."""
        reopening = self._reopening(head, bag) if self._reopens else ()
        best: list[int] | None = None
        for table, renaming in zip(head.tables, head.renamings, strict=True):
            try:
                image = [table[message] for message in bag]
            except KeyError:
                for message in bag:
                    if message not in table:
                        table[message] = self._form(head, renaming, message)
                image = [table[message] for message in bag]
            if reopening:
                image = [self._kept(renaming, old, new, reopening) for old, new in zip(bag, image, strict=True)]
            image = sorted(set(image)) if self._repeating else sorted(image)
            if best is None or image < best:
                best = image
        assert best is not None, "some renaming gives the least image"
        spent = bisect_left(best, 0)  # they come first
        best[:spent] = [head.best]
        return array("I", best).tobytes()

    def _form(self, head: Head, renaming: int, message: int) -> int:
        """What stands for a message under a renaming, as things stand at both ends, or SPENT."""
        target, source = self._ends_of(message)
        key = (message, head.parts[target], head.parts[source], head.parts[-1])
        form = self._forms.get(key)
        if form is None:
            envelope = self.frames.form(head.state, self._messages.values[message])
            form = self._forms[key] = SPENT if envelope is None else self._messages.number(envelope)
        return SPENT if form == SPENT else self._messages.image(renaming, form)

    def _reopening(self, head: Head, bag: list[int]) -> list[RequestId]:
        """The requests that may be opened again when they are over."""
        return reopened_by([self._messages.values[message] for message in bag], head.state.clients)

    def _kept(self, renaming: int, message: int, form: int, reopening: Sequence[RequestId]) -> int:
        """The form of a message, which is not spent while its request may be opened again."""
        kept = form == SPENT and names_one_of(reopening, self._messages.values[message])
        return self._messages.image(renaming, message) if kept else form

    def _orbit_size(self, head: Head, bag: list[int]) -> int:
        """How many renamings there are for each that changes nothing."""
        images = ([self._messages.image(renaming, message) for message in bag] for renaming in head.renamings)
        return len(self._renamings) // sum(1 for image in images if sorted(image) == bag)
