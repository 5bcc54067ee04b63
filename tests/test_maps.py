"""The collections: equal by content, one order, validated however they come to be, and carried whole by encodings."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.actions import Action
from spec.events import Effect, Event, StorageWrite
from spec.maps import Counts, FMap, FSet, SetMap, implies
from spec.messages import Message, Result
from spec.state import Request
from spec.trace import Entry
from tests.strategies import FEWER, of_type

letters = st.sampled_from("abcdef")
some_sets = st.sets(letters)
some_counts = st.dictionaries(letters, st.integers(0, 3))
some_maps = st.dictionaries(letters, st.integers(-3, 3))
some_set_maps = st.dictionaries(letters, st.frozensets(st.integers(0, 3)))

# Modules whose Structs travel, are stored, recorded or shown in a trace, each a value in its own right.
VALUES = ("types", "clock", "siblings", "ring", "messages", "events", "rows", "state")
MODULES = (*VALUES, "network", "history", "world", "cluster", "trace")
NEVER_ENCODED = {"Advance"}  # lives for one step


def encodable() -> list[type[msgspec.Struct]]:
    modules = [importlib.import_module(f"spec.{name}") for name in MODULES]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
        if value.__name__ not in NEVER_ENCODED
    ]


# Any: a type to decode is known only at run time, here and below.
KINDS: list[Any] = [
    *encodable(),
    Message,
    Result,
    Event,
    Effect,
    StorageWrite,
    Request,
    Entry,
    Action,
    FSet[str],
    FMap[bytes, int],
    Counts[str],
    SetMap[str, int],
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(getattr(kind, "__name__", kind))[:60])
def test_json_and_msgpack_carry_every_value(kind: Any) -> None:
    # Any: see KINDS.
    @FEWER
    @given(of_type(kind))
    def carries(value: Any) -> None:
        for encoding in (msgspec.json, msgspec.msgpack):
            again = encoding.decode(encoding.encode(value), type=kind)
            assert again == value
            assert hash(again) == hash(value)
            assert type(again) is type(value)

    carries()


# Sets.


@given(some_sets, some_sets)
def test_a_set_behaves_as_a_set(a: set[str], b: set[str]) -> None:
    x, y = FSet.of(a), FSet.of(b)
    assert (x == y) == (a == b)
    assert set(x | y) == a | b
    assert set(x & y) == a & b
    assert set(x - y) == a - b
    assert x.issubset(y) == (a <= b)
    assert len(x) == len(a)
    assert bool(x) == bool(a)
    assert list(x) == sorted(a)
    assert all((letter in x) == (letter in a) for letter in "abcdef")
    for made in (x | y, x & y, x - y):
        FSet(made.items)  # sorted, or it would be refused


@given(st.lists(letters))
def test_a_set_is_what_it_holds_however_it_was_made(elements: list[str]) -> None:
    one_by_one = FSet[str]()
    for element in elements:
        one_by_one = one_by_one | FSet.of([element])
    assert FSet.of(elements) == FSet.of(reversed(elements)) == one_by_one
    assert hash(FSet.of(elements)) == hash(one_by_one)


# Maps.


@given(some_maps, letters, st.integers())
def test_a_map_behaves_as_a_map(entries: dict[str, int], key: str, value: int) -> None:
    made = FMap.of(entries)
    assert dict(made.items()) == entries
    assert list(made) == sorted(entries) == list(made.keys())
    assert made.get(key) == entries.get(key)
    assert (key in made) == (key in entries)
    assert len(made) == len(entries)
    assert dict(made.set(key, value).items()) == {**entries, key: value}
    assert dict(made.remove(key).items()) == {k: v for k, v in entries.items() if k != key}
    if key in entries:
        assert made[key] == entries[key]
    else:
        with pytest.raises(AssertionError, match="no entry for"):
            made[key]


@given(some_counts, letters, st.integers(0, 3))
def test_counts_are_total_and_store_no_zero(entries: dict[str, int], key: str, value: int) -> None:
    made = Counts.of(entries)
    assert all(made[k] == entries.get(k, 0) for k in "abcdef")
    written = made.set(key, value)
    assert written[key] == value
    assert (key in written) == (value != 0)
    assert written == Counts.of({**entries, key: value})


@given(some_set_maps, letters, st.frozensets(st.integers(0, 3)))
def test_set_maps_are_total_and_store_no_empty_set(
    entries: dict[str, frozenset[int]], key: str, value: frozenset[int]
) -> None:
    made = SetMap.of({k: FSet.of(v) for k, v in entries.items()})
    assert all(set(made[k]) == entries.get(k, set()) for k in "abcdef")
    written = made.set(key, FSet.of(value))
    assert (key in written) == bool(value)
    assert written == SetMap.of({k: FSet.of(v) for k, v in {**entries, key: value}.items()})


@given(st.lists(st.tuples(letters, st.integers(0, 3))))
def test_maps_are_extensional(writes: list[tuple[str, int]]) -> None:
    last, counts, plain = dict[str, int](), Counts[str](), FMap[str, int]()
    for key, value in writes:
        last[key] = value
        counts = counts.set(key, value)
        plain = plain.set(key, value)
    assert counts == Counts.of(last)
    assert hash(counts) == hash(Counts.of(last))
    assert plain == FMap.of(last)
    assert hash(plain) == hash(FMap.of(last))
    assert all(counts[key] == last.get(key, 0) for key in "abcdef")


def test_collections_of_different_kinds_are_never_equal() -> None:
    same: tuple[tuple[str, int], ...] = (("a", 1),)
    different: list[object] = [FSet(same), FMap(same), Counts(same)]
    assert all((x == y) == (x is y) for x in different for y in different)


# What is refused.


@pytest.mark.parametrize(
    "make",
    [
        lambda: FSet(("b", "a")),
        lambda: FSet(("a", "a")),
        lambda: FMap((("b", 1), ("a", 1))),
        lambda: FMap((("a", 1), ("a", 2))),
        lambda: Counts((("a", 0),)),
        lambda: Counts((("a", -1),)),
        lambda: Counts((("b", 1), ("a", 1))),
        lambda: Counts.of({"a": -1}),
        lambda: Counts[str]().set("a", -1),
        lambda: SetMap((("a", FSet[int]()),)),
        lambda: SetMap((("b", FSet((1,))), ("a", FSet((1,))))),
    ],
)
def test_what_is_not_canonical_cannot_be_built(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must"):
        make()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('[["b","a"]]', FSet[str]),
        ('[["a","a"]]', FSet[str]),
        ('[["a"],1]', FSet[str]),
        ("[[1]]", FSet[str]),
        ('[[["b",1],["a",1]]]', FMap[str, int]),
        ('[[["a",1],["a",1]]]', FMap[str, int]),
        ('[[["a",1]],"more"]', FMap[str, int]),
        ('[[["a",0]]]', Counts[str]),
        ('[[["a",-1]]]', Counts[str]),
        ('[[["a",1.5]]]', Counts[str]),
        ('[[["a",1]],"more"]', Counts[str]),
        ('[[["a",[[]]]]]', SetMap[str, int]),
        ('[[["a",[[2,1]]]]]', SetMap[str, int]),
        ('[[["a",[[1]]]],"more"]', SetMap[str, int]),
    ],
)
def test_what_is_not_canonical_cannot_be_decoded(text: str, kind: Any) -> None:
    # Any: see KINDS.
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=kind)
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(msgspec.json.decode(text)), type=kind)


def test_implies() -> None:
    table = {(p, q): implies(p, q) for p in (False, True) for q in (False, True)}
    assert table == {(False, False): True, (False, True): True, (True, False): False, (True, True): True}
