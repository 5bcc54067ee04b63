"""Values that reconcile themselves: counters, a set and registers, as functions for `update` (state-based CRDTs).

    visits = TwoWayCounter()
    found = await store.update(b"visits", visits.add(3))
    print(visits.learn(found.values).total)

An object is this program's copy of the value of one key: make one for each key, and keep it as long as the program
changes that key. A change is queued; when `update` shows the siblings, the copy takes all of them in, makes what is
queued, and gives the result to be put. It may be shown its own earlier results, older ones too, any number of times
and in any order: what it takes in is merged, and merging is commutative, associative and idempotent.

A change is made once, whatever becomes of the update: a change that may not have been stored is in the copy, and goes
along with the next put. So after an error do not make it again, but call `update` with the object itself. Siblings are
merged, never chosen among, and nothing that was stored is lost; `LastWriterWins` is the exception, and says so.

Every object writes under a name of its own, which is never used again: two objects do not disturb each other, in one
program or in two. The value keeps an entry for each object that ever changed it, so let objects live. Values are
JSON, the same bytes wherever the content is the same; one of another kind is refused, before anything is changed.
(Shapiro et al., "A comprehensive study of convergent and commutative replicated data types", 2011; the set and the
register without tombstones: Bieniusa et al., "An optimized conflict-free replicated set", 2012.)
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Annotated, Generic, Protocol, Self, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from impl.errors import UserError

Session: TypeAlias = str
"""The name under which one object writes."""
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Natural: TypeAlias = Annotated[int, Meta(ge=0)]


class ForeignValue(UserError):
    """The key holds a value of another kind; nothing was changed."""


# What is stored.


class Form(Protocol):
    """How such a value is written."""

    def merge(self, other: Self) -> Self:
        """Everything that either says."""
        ...


F = TypeVar("F", bound=Form)
K = TypeVar("K")
V = TypeVar("V")


def join(a: Mapping[K, V], b: Mapping[K, V], pick: Callable[[V, V], V]) -> dict[K, V]:
    """The entries of both; of a key that both have, what is picked."""
    return {**a, **b, **{key: pick(a[key], b[key]) for key in a.keys() & b.keys()}}


class Grown(Struct, frozen=True, tag="grow-only counter", tag_field="type", forbid_unknown_fields=True):
    """How much each session has added."""

    shares: dict[Session, Positive] = {}

    def merge(self, other: Grown) -> Grown:
        """A share only grows, so the larger is the later."""
        return Grown(join(self.shares, other.shares, max))


class Counted(Struct, frozen=True, tag="two-way counter", tag_field="type", forbid_unknown_fields=True):
    """How much each session has added, and how much taken away."""

    shares: dict[Session, tuple[Natural, Natural]] = {}

    def merge(self, other: Counted) -> Counted:
        """Both only grow."""
        return Counted(join(self.shares, other.shares, lambda a, b: (max(a[0], b[0]), max(a[1], b[1]))))


class Entry(Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """Something that a session put in, as its how manieth."""

    session: Session
    number: Positive
    content: bytes


class Entries(Struct, frozen=True, forbid_unknown_fields=True):
    """What is in, and what was ever put in: what is covered by `seen` and not in was taken out."""

    seen: dict[Session, Positive] = {}
    """How many entries of each session are known."""
    entries: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an entry that is not covered (ValueError)."""
        if any(not self.covers(entry) for entry in self.entries):
            raise ValueError("an entry is not among those that were seen")

    def covers(self, entry: Entry) -> bool:
        """Whether the entry was ever seen here."""
        return entry.number <= self.seen.get(entry.session, 0)

    def merge(self, other: Self) -> Self:
        """An entry stays that both have, or that one has and the other never saw."""
        ours, theirs = set(self.entries), set(other.entries)
        new = {e for e in ours - theirs if not other.covers(e)} | {e for e in theirs - ours if not self.covers(e)}
        return type(self)(join(self.seen, other.seen, max), tuple(sorted(ours & theirs | new)))

    def with_entry(self, session: Session, content: bytes, kept: Iterable[Entry]) -> Self:
        """One more entry of a session, beside those that are kept."""
        number = self.seen.get(session, 0) + 1
        return type(self)({**self.seen, session: number}, tuple(sorted([*kept, Entry(session, number, content)])))


class Elements(Entries, frozen=True, tag="add-wins set", tag_field="type", forbid_unknown_fields=True):
    """The entries are elements."""


class Assigned(Entries, frozen=True, tag="register", tag_field="type", forbid_unknown_fields=True):
    """The entries are assignments of which none had seen another."""


class Stamped(
    Struct, frozen=True, order=True, tag="last-writer-wins register", tag_field="type", forbid_unknown_fields=True
):
    """One assignment."""

    at_ns: Positive
    """What the writer's clock said, in nanoseconds since 1970; later than any assignment that the writer had seen."""
    session: Session
    content: bytes

    def merge(self, other: Stamped) -> Stamped:
        """The later one; the names of sessions decide where clocks say the same."""
        return max(self, other)


# What a program holds.


class Convergent(Generic[F]):
    """This program's copy of the value of one key. Safe for many tasks and threads."""

    def __init__(self, nothing: F) -> None:
        self.session = Session(secrets.token_hex(8))
        self._nothing = self._known = nothing
        self._queued: list[Callable[[F], F]] = []
        self._decoder = msgspec.json.Decoder(type(nothing))
        self._lock = threading.Lock()

    def __call__(self, values: tuple[bytes, ...]) -> bytes | None:
        """For `update`: one value for all siblings, with every change that was made here. Raises ForeignValue."""
        with self._lock:
            self._take_in(values)
            self._known = reduce(lambda known, change: change(known), self._queued, self._known)
            self._queued.clear()
            if not values and self._known == self._nothing:
                return None
            return msgspec.json.encode(self._known, order="sorted")

    def learn(self, values: tuple[bytes, ...]) -> Self:
        """Take in what a get found, without changing anything. Raises ForeignValue."""
        with self._lock:
            self._take_in(values)
        return self

    def _take_in(self, values: tuple[bytes, ...]) -> None:
        self._known = reduce(lambda known, value: known.merge(self._read(value)), values, self._known)

    def _read(self, value: bytes) -> F:
        try:
            return self._decoder.decode(value)
        except (ValueError, RecursionError):
            kind = msgspec.to_builtins(self._nothing)["type"]
            shown = repr(value[:40])[1:] + ("…" if len(value) > 40 else "")
            raise ForeignValue(f"the key holds a value that is no {kind}: {shown}") from None

    def _queue(self, change: Callable[[F], F]) -> Self:
        with self._lock:
            self._queued.append(change)
        return self


class GrowOnlyCounter(Convergent[Grown]):
    """A number that is only ever added to."""

    def __init__(self) -> None:
        super().__init__(Grown())

    def add(self, amount: int = 1) -> Self:
        """Add at the next update. Raises UserError if it is to grow by less than nothing."""
        if amount < 0:
            raise UserError(f"a grow-only counter only grows: add 0 or more, not {amount}")
        return self._queue(lambda known: self._added(known, amount)) if amount else self

    def _added(self, known: Grown, amount: int) -> Grown:
        return Grown({**known.shares, self.session: known.shares.get(self.session, 0) + amount})

    @property
    def total(self) -> int:
        """The sum, as far as this copy knows."""
        return sum(self._known.shares.values())


class TwoWayCounter(Convergent[Counted]):
    """A number that is added to and taken from."""

    def __init__(self) -> None:
        super().__init__(Counted())

    def add(self, amount: int = 1) -> Self:
        """Add at the next update, or take away if it is below nothing."""
        return self._queue(lambda known: self._added(known, amount)) if amount else self

    def _added(self, known: Counted, amount: int) -> Counted:
        plus, minus = known.shares.get(self.session, (0, 0))
        return Counted({**known.shares, self.session: (plus + max(amount, 0), minus + max(-amount, 0))})

    @property
    def total(self) -> int:
        """The difference, as far as this copy knows."""
        return sum(plus - minus for plus, minus in self._known.shares.values())


class AddWinsSet(Convergent[Elements]):
    """A set. What is removed are the additions that the copy knows then: one that it does not know of yet stays."""

    def __init__(self) -> None:
        super().__init__(Elements())

    def add(self, element: bytes) -> Self:
        """Put an element in at the next update."""
        return self._queue(lambda known: known.with_entry(self.session, element, others(known, element)))

    def remove(self, element: bytes) -> Self:
        """Take an element out at the next update, as it is then; nothing happens if it is not in."""
        return self._queue(lambda known: Elements(known.seen, others(known, element)))

    @property
    def elements(self) -> frozenset[bytes]:
        """What is in, as far as this copy knows."""
        return frozenset(entry.content for entry in self._known.entries)


def others(known: Entries, content: bytes) -> tuple[Entry, ...]:
    """All entries but those of this content."""
    return tuple(entry for entry in known.entries if entry.content != content)


class Register(Convergent[Assigned]):
    """One content; several, where it was assigned by who had not seen each other's, until somebody assigns again."""

    def __init__(self) -> None:
        super().__init__(Assigned())

    def assign(self, content: bytes) -> Self:
        """Replace at the next update what there is then."""
        return self._queue(lambda known: known.with_entry(self.session, content, ()))

    @property
    def contents(self) -> tuple[bytes, ...]:
        """What it holds, as far as this copy knows: nothing, one content, or those that are concurrent."""
        return tuple(sorted({entry.content for entry in self._known.entries}))


class LastWriterWins(Convergent[Stamped]):
    """One content: the latest by the clocks of the machines that wrote. **Unsafe**: it drops what it was told to keep.

    Of contents that were assigned by who had not seen each other's, one stays and the others are gone without a trace,
    though each of them was acknowledged; which one, clocks decide, and a machine whose clock is behind loses to all
    others. An assignment replaces whatever it had seen, however wrong the clocks. For contents that may be lost.
    """

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        """`now_ns` is the clock."""
        super().__init__(Stamped(0, Session(""), b""))
        self._now_ns = now_ns

    def assign(self, content: bytes) -> Self:
        """Replace what there is at the next update; what others write at the same time may replace it."""
        return self._queue(lambda known: Stamped(max(self._now_ns(), known.at_ns + 1), self.session, content))

    @property
    def content(self) -> bytes | None:
        """What it holds, as far as this copy knows; None if it was never assigned."""
        return self._known.content if self._known.at_ns else None
