"""Immutable sets and maps that compare by content.

Every collection of the specification is one of these. Each is a frozen Struct over one tuple, strictly sorted, so that

* two collections are equal exactly when they hold the same things (extensional equality, which is what a prover means
  by equal and what an explorer needs in order to recognise a state);
* iteration has one order, whatever the hash seed, so that counts, counterexamples and traces are reproducible;
* they are their own wire and storage format, and an unsorted or repeating tuple is refused on decoding.

Values cannot form cycles. Those that are held by the ten thousand, these and what a row is made of, are therefore kept
from the garbage collector (`gc=False`), whose every look at all of them would stop a node.

Asked by `len`, by `in` or by a loop they answer in Python, called from C, which costs several times what it costs to
read the tuple: code that every step passes reads `items` and `entries` itself. Most have up to three elements, and are
checked whenever one is made or read: each kind in one loop of its own, for a call costs as much as the loop.

`Counts` and `SetMap` are total maps with a default, zero and the empty set, that is never stored: writing the default
removes the entry. `FMap` has no default; looking up what it does not hold is an error of ours.

Elements and keys of one collection must be mutually orderable: strings, bytes, numbers, tuples or Structs of one type
declared with `order=True`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Generic, Self, TypeVar

from msgspec import Struct

# Any, for both: "orderable" has no name in typing; the sort in `of` and the check on construction enforce it.
K = TypeVar("K", bound=Any)
T = TypeVar("T", bound=Any)
V = TypeVar("V")


def implies(premise: bool, conclusion: bool) -> bool:
    """Material implication; both sides are evaluated."""
    return not premise or conclusion


key_of = itemgetter(0)
"""The key of an entry."""

UNSORTED = "the keys of a map must be strictly increasing"


class FSet(
    Struct, Generic[T], frozen=True, order=True, cache_hash=True, array_like=True, forbid_unknown_fields=True, gc=False
):
    """A finite set, held as a strictly increasing tuple."""

    items: tuple[T, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a tuple that is not strictly increasing (ValueError)."""
        last = None
        for element in self.items:
            if last is not None and not last < element:
                raise ValueError("the elements of a set must be strictly increasing")
            last = element

    @classmethod
    def of(cls, elements: Iterable[T]) -> FSet[T]:
        """The set of these elements, in any order and with repetitions."""
        items = tuple(elements)
        if len(items) > 1:
            items = tuple(sorted(dict.fromkeys(items)))  # in order of arrival, which is often nearly sorted
        return FSet(items)

    def __contains__(self, element: T) -> bool:
        return element in self.items

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __or__(self, other: FSet[T]) -> FSet[T]:
        if not other.items or self.items == other.items:
            return self
        return FSet.of((*self.items, *other.items)) if self.items else other

    def __and__(self, other: FSet[T]) -> FSet[T]:
        return FSet(tuple(x for x in self.items if x in other.items))

    def __sub__(self, other: FSet[T]) -> FSet[T]:
        return FSet(tuple(x for x in self.items if x not in other.items))

    def issubset(self, other: FSet[T]) -> bool:
        """Whether every element of this set is in the other (`<=` is the order of the tuples, for sorting)."""
        return all(x in other.items for x in self.items)


class _Entries(
    Struct,
    Generic[K, V],
    frozen=True,
    order=True,
    cache_hash=True,
    array_like=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """What the maps share: entries sorted by key, each key once."""

    entries: tuple[tuple[K, V], ...] = ()

    def __post_init__(self) -> None:
        last = None
        for key, _ in self.entries:
            if last is not None and not last < key:
                raise ValueError(UNSORTED)
            last = key

    def keys(self) -> FSet[K]:
        """The keys that are stored."""
        return FSet(tuple(map(key_of, self.entries)))

    def items(self) -> tuple[tuple[K, V], ...]:
        """The stored entries, by increasing key."""
        return self.entries

    def __contains__(self, key: K) -> bool:
        for k, _ in self.entries:  # most have two or three entries: a loop is fastest
            if k == key:
                return True
        return False

    def __iter__(self) -> Iterator[K]:
        return map(key_of, self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def _with(self, key: K, value: V) -> tuple[tuple[K, V], ...]:
        entries = self.entries
        for at, (k, _) in enumerate(entries):
            if k is key or not k < key:
                rest = entries[at + 1 :] if k == key else entries[at:]
                return (*entries[:at], (key, value), *rest)
        return (*entries, (key, value))

    def _without(self, key: K) -> tuple[tuple[K, V], ...]:
        return tuple([e for e in self.entries if e[0] != key])


class FMap(_Entries[K, V], Generic[K, V], frozen=True, order=True, cache_hash=True, array_like=True):
    """A finite map without a default."""

    @classmethod
    def of(cls, mapping: Mapping[K, V]) -> Self:
        """The map with these entries."""
        return cls(tuple(sorted(mapping.items(), key=lambda e: e[0])))

    def __getitem__(self, key: K) -> V:
        for k, v in self.entries:
            if k == key:
                return v
        raise AssertionError(f"no entry for {key!r}")

    def get(self, key: K) -> V | None:
        """The entry, or None."""
        for k, v in self.entries:
            if k == key:
                return v
        return None

    def set(self, key: K, value: V) -> Self:
        """This map with one entry written."""
        return type(self)(self._with(key, value))

    def remove(self, key: K) -> Self:
        """This map without one key."""
        return type(self)(self._without(key))


class Counts(_Entries[K, int], Generic[K], frozen=True, order=True, cache_hash=True, array_like=True):
    """A total map to natural numbers; zero is never stored."""

    def __post_init__(self) -> None:
        """Refuse unsorted keys and counts below one (ValueError); a decoded clock is as checked as a built one."""
        last = None
        for key, count in self.entries:  # both in one loop: every answer that is read has clocks
            if last is not None and not last < key:
                raise ValueError(UNSORTED)
            if count < 1:
                raise ValueError("a stored count must be at least 1")
            last = key

    @classmethod
    def of(cls, mapping: Mapping[K, int]) -> Self:
        """The map with these counts."""
        return cls(tuple(sorted([e for e in mapping.items() if e[1] != 0])))

    def __getitem__(self, key: K) -> int:
        for k, v in self.entries:
            if k is key or k == key:  # actors of one version are mostly the same objects
                return v
        return 0

    def set(self, key: K, value: int) -> Self:
        """This map with one count written."""
        return type(self)(self._without(key) if value == 0 else self._with(key, value))


class SetMap(_Entries[K, FSet[T]], Generic[K, T], frozen=True, order=True, cache_hash=True, array_like=True):
    """A total map to sets; the empty set is never stored."""

    def __post_init__(self) -> None:
        """Refuse unsorted keys and stored empty sets (ValueError)."""
        _Entries.__post_init__(self)
        for _, elements in self.entries:
            if not elements.items:
                raise ValueError("a stored set must not be empty")

    @classmethod
    def of(cls, mapping: Mapping[K, FSet[T]]) -> Self:
        """The map with these sets."""
        return cls(tuple(sorted((k, v) for k, v in mapping.items() if v.items)))

    def __getitem__(self, key: K) -> FSet[T]:
        for k, v in self.entries:
            if k == key:
                return v
        return FSet()

    def set(self, key: K, value: FSet[T]) -> Self:
        """This map with one set written."""
        return type(self)(self._with(key, value) if value.items else self._without(key))
