"""Values that reconcile themselves: their laws, what they mean whatever is lost or shown twice, and on real nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impl import blocking
from impl.client import Client, MayHaveHappened, Unsettled
from impl.convergent import (
    AddWinsSet,
    Assigned,
    Convergent,
    Counted,
    Elements,
    Entries,
    Entry,
    ForeignValue,
    Form,
    Grown,
    GrowOnlyCounter,
    LastWriterWins,
    Register,
    Stamped,
    TwoWayCounter,
)
from impl.errors import UserError
from impl.wire import CallFaults
from spec.types import NodeId
from tests.live import Live
from tests.nodes import THREE, clients, running, settings_of

Copy: TypeAlias = Convergent[Any]  # Any: the form, of which these tests know nothing
Kind: TypeAlias = Callable[[], Copy]

# The laws, of any values that can be decoded.

SESSIONS = st.sampled_from("xyz")
NUMBERS = st.integers(1, 4)


def content_of(session: str, number: int) -> bytes:
    """An entry has one content for ever."""
    return b"%d" % ((ord(session) + number) % 3)


@st.composite
def entries_of(draw: st.DrawFn, form: type[Entries]) -> Entries:
    seen = draw(st.dictionaries(SESSIONS, NUMBERS))
    known = [Entry(s, n, content_of(s, n)) for s, count in sorted(seen.items()) for n in range(1, count + 1)]
    return form(seen, tuple(e for e in known if draw(st.booleans())))


FORMS: dict[Kind, st.SearchStrategy[Form]] = {
    GrowOnlyCounter: st.builds(Grown, st.dictionaries(SESSIONS, NUMBERS)),
    TwoWayCounter: st.builds(Counted, st.dictionaries(SESSIONS, st.tuples(st.integers(0, 3), st.integers(0, 3)))),
    AddWinsSet: entries_of(Elements),
    Register: entries_of(Assigned),
    LastWriterWins: st.builds(Stamped, st.integers(1, 3), SESSIONS, st.sampled_from([b"", b"1"])),
}
KINDS = pytest.mark.parametrize("kind", FORMS, ids=lambda kind: str(kind.__name__))


def written(form: Form) -> bytes:
    return msgspec.json.encode(form, order="sorted")


@KINDS
@given(data=st.data())
def test_merging_is_a_join(kind: Kind, data: st.DataObject) -> None:
    """Commutative, associative, idempotent, to the byte; and what was never anything changes nothing."""
    a, b, c = (data.draw(FORMS[kind]) for _ in range(3))
    assert written(a.merge(a)) == written(a)
    assert written(a.merge(b)) == written(b.merge(a))
    assert written(a.merge(b).merge(c)) == written(a.merge(b.merge(c)))
    assert written(kind().learn((written(a),))._known) == written(a)


@KINDS
@given(data=st.data())
def test_a_value_reads_as_it_was_written(kind: Kind, data: st.DataObject) -> None:
    """And a copy that changes nothing writes what it read, so that an update puts nothing."""
    value = written(data.draw(FORMS[kind]))
    assert kind()((value,)) == value
    assert kind()((value, value)) == value
    assert kind()(()) is None


# What they mean: against the changes themselves, each with those that its maker knew.


class Change(NamedTuple):
    """A change that somebody made: what was done, with what, and which changes the copy knew of then."""

    id: int
    what: str
    argument: Any  # an amount or a content
    knew: frozenset[Change]


def summed(changes: Iterable[Change]) -> object:
    return sum(change.argument for change in changes)


def added_and_not_removed(changes: frozenset[Change]) -> object:
    removed = {(old.id, c.argument) for c in changes if c.what == "remove" for old in c.knew}
    return {c.argument for c in changes if c.what == "add" and (c.id, c.argument) not in removed}


def latest(changes: frozenset[Change]) -> object:
    replaced = {old.id for c in changes for old in c.knew}
    return tuple(sorted({c.argument for c in changes if c.id not in replaced}))


class Meaning(NamedTuple):
    """What a kind is to be: its changes, how to look at it, and what one sees if these changes are known."""

    kind: Kind
    changes: Sequence[tuple[str, Any]]
    view: str
    means: Callable[[frozenset[Change]], object]


CONTENTS = (b"1", b"2")
MEANINGS = (
    Meaning(GrowOnlyCounter, [("add", n) for n in (1, 3)], "total", summed),
    Meaning(TwoWayCounter, [("add", n) for n in (2, -1, -3)], "total", summed),
    Meaning(AddWinsSet, [(w, e) for w in ("add", "remove") for e in CONTENTS], "elements", added_and_not_removed),
    Meaning(Register, [("assign", e) for e in CONTENTS], "contents", latest),
)


class Attempt(NamedTuple):
    """One update: by whom, what it changes if anything, which values it is shown, and how far it gets."""

    copy: int
    change: int | None
    shown: int
    reaches: str


ATTEMPTS = st.lists(
    st.builds(
        Attempt,
        st.integers(0, 2),
        st.none() | st.integers(0, 20),
        st.integers(0, 2**12 - 1),
        st.sampled_from(["get", "put", "stored", "stored", "stored"]),
    ),
    max_size=12,
)


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: str(meaning.kind.__name__))
@settings(max_examples=200)
@given(attempts=ATTEMPTS)
def test_every_change_counts_once_whatever_is_lost_late_or_shown_again(
    meaning: Meaning, attempts: list[Attempt]
) -> None:
    """A get may fail, and show anything that was ever stored; a put may be lost, and its update made again or not."""
    copies = [meaning.kind() for _ in range(3)]
    known = [frozenset[Change]() for _ in copies]
    queued: list[list[tuple[str, Any]]] = [[] for _ in copies]
    stored: list[tuple[bytes, frozenset[Change]]] = []
    made = 0
    for attempt in attempts:
        me, copy = attempt.copy, copies[attempt.copy]
        if attempt.change is not None:
            queued[me].append(meaning.changes[attempt.change % len(meaning.changes)])
            what, argument = queued[me][-1]
            assert getattr(copy, what)(argument) is copy
        if attempt.reaches == "get":
            continue
        shown = [pair for i, pair in enumerate(stored) if attempt.shown >> i & 1]
        value = copy(tuple(each for each, _ in shown))
        known[me] = known[me].union(*(changes for _, changes in shown))
        for what, argument in queued[me]:
            made += 1
            known[me] |= {Change(made, what, argument, known[me])}
        queued[me].clear()
        assert getattr(copy, meaning.view) == meaning.means(known[me])
        if attempt.reaches == "stored" and value is not None:
            stored.append((value, known[me]))
    reader = meaning.kind().learn(tuple(value for value, _ in stored))
    assert getattr(reader, meaning.view) == meaning.means(
        frozenset[Change]().union(*(changes for _, changes in stored))
    )


def test_the_last_writer_wins_by_clocks_and_over_whatever_it_saw() -> None:
    right, slow, later = LastWriterWins(lambda: 1000), LastWriterWins(lambda: 5), LastWriterWins(lambda: 1001)
    assert right.content is None
    first = right.assign(b"first")(())
    assert first is not None
    seen = slow.assign(b"seen")((first,))
    assert seen is not None
    assert slow.content == b"seen"
    assert LastWriterWins().learn((first, seen)).content == b"seen", "whoever saw the other replaces it"
    unseen = LastWriterWins(lambda: 5).assign(b"unseen")(())
    other = later.assign(b"other")(())
    assert unseen is not None
    assert other is not None
    for siblings in ((first, unseen, other), (other, first, unseen)):
        assert LastWriterWins().learn(siblings).content == b"other", "of those that saw nothing, all but one are gone"
    assert LastWriterWins().assign(b"now")((other,)) is not None


def test_a_value_grows_by_who_writes_not_by_how_often() -> None:
    element = AddWinsSet()
    sizes = [len(element.add(b"1")(()) or b"") for _ in range(9)]
    assert len(set(sizes)) == 1
    assert len(element.remove(b"1")(()) or b"") < sizes[0]


# What is refused.


@KINDS
@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"42",
        b"apples\nand pears",
        b"\xff" * 100,
        b"[" * 100_000,
        b'{"type":"odd"}',
        b'{"type":"grow-only counter","shares":{"x":0}}',
        b'{"type":"grow-only counter","shares":{"x":1},"more":1}',
        b'{"type":"two-way counter","shares":{"x":[1,-1]}}',
        b'{"type":"add-wins set","seen":{},"entries":[["x",1,"YQ=="]]}',
        b'{"type":"register","seen":{"x":1},"entries":[["x",2,"YQ=="]]}',
        b'{"type":"last-writer-wins register","at_ns":0,"session":"","content":""}',
    ],
)
def test_a_value_of_another_kind_is_refused_in_a_line_before_anything_changes(kind: Kind, foreign: bytes) -> None:
    copy = kind()
    copy._queue(lambda known: pytest.fail(f"{known} was changed"))
    for take_in in (copy, copy.learn):
        with pytest.raises(ForeignValue, match=r"^the key holds a value that is no [a-z -]+: ") as refused:
            take_in((foreign,))
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 250
    assert copy._known == kind()._known


@KINDS
def test_kinds_refuse_each_other(kind: Kind) -> None:
    others: list[Copy] = [
        TwoWayCounter().add(),
        GrowOnlyCounter().add(),
        AddWinsSet().add(b"1"),
        Register().assign(b"1"),
    ]
    for other in [*others, LastWriterWins().assign(b"1")]:
        value = other(())
        assert value is not None
        if not isinstance(other, type(kind())):
            with pytest.raises(ForeignValue):
                kind()((value,))


def test_a_counter_that_only_grows_does() -> None:
    with pytest.raises(UserError, match="add 0 or more, not -1"):
        GrowOnlyCounter().add(-1)
    assert GrowOnlyCounter().add(0)(()) is None


def test_numbers_may_be_large() -> None:
    value = TwoWayCounter().add(2**100)(())
    assert value is not None
    assert TwoWayCounter().learn((value,)).total == 2**100


# On real nodes.


async def settled(store: Client, key: bytes, copy: Copy) -> None:
    """Update until it succeeds; a change is in the copy already, however an attempt ends."""
    try:
        await store.update(key, copy, rounds=50)
    except MayHaveHappened:
        await settled(store, key, copy)


def test_programs_that_update_at_the_same_time_lose_and_double_nothing(tmp_path: Path) -> None:
    async def work(store: Client, me: int, set_of: AddWinsSet) -> None:
        count, register = TwoWayCounter(), Register()
        for i in range(5):
            await settled(store, b"count", count.add(10 if i % 2 else -1))
            await settled(store, b"set", set_of.add(b"%d %d" % (me, i)))
            if i:
                await settled(store, b"set", set_of.remove(b"%d %d" % (me, i - 1)))
        await settled(store, b"register", register.assign(b"%d" % me))

    async def main() -> None:
        where = list(settings_of(tmp_path, ["a", "b", "c"], THREE).values())
        async with running(*where), clients(*where) as stores:
            shared = AddWinsSet()
            await asyncio.gather(*(work(stores[i % 3], i, shared if i < 2 else AddWinsSet()) for i in range(4)))
            count, set_of, register = TwoWayCounter(), AddWinsSet(), Register()
            for key, copy in ((b"count", count), (b"set", set_of), (b"register", register)):
                copy.learn((await stores[0].get(key)).values)
            assert count.total == 4 * (2 * 10 - 3)
            assert set_of.elements == {b"%d 4" % me for me in range(4)}
            assert set(register.contents) <= {b"%d" % me for me in range(4)}
            assert register.contents
            await stores[1].update(b"register", register.assign(b"one"))
            assert Register().learn((await stores[2].get(b"register")).values).contents == (b"one",)

    asyncio.run(main())


def test_a_change_that_may_have_happened_is_made_once(tmp_path: Path) -> None:
    """The coordinator stores it and cannot say so; the program goes on with what it has."""

    async def main() -> None:
        where = list(settings_of(tmp_path, ["a", "b", "c"], THREE).values())
        async with running(*where), clients(*where) as (a, b, _):
            count = GrowOnlyCounter()
            await a.update(b"k", count.add(1))
            found = await a.get(b"k")
            value = count.add(10)(found.values)
            assert value is not None
            await a.faults(CallFaults(0, cut=(NodeId("b"), NodeId("c"))))
            with pytest.raises(MayHaveHappened):
                await a.put(b"k", value, found.context, timeout=0.8)
            await b.update(b"k", GrowOnlyCounter().add(100))
            await a.faults(CallFaults(0))
            await settled(a, b"k", count)
            await settled(b, b"k", count.add(1000))
            assert GrowOnlyCounter().learn((await b.get(b"k")).values).total == 1111

    asyncio.run(main())


def test_a_foreign_value_stays_as_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        where = list(settings_of(tmp_path, ["a", "b", "c"], THREE).values())
        async with running(*where), clients(*where) as (store, *_):
            await store.put(b"k", b"apples")
            with pytest.raises(ForeignValue, match="no add-wins set: 'apples'"):
                await store.update(b"k", AddWinsSet().add(b"pears"))
            assert (await store.get(b"k")).values == (b"apples",)

    asyncio.run(main())


def test_threads_share_a_copy_and_a_blocking_client(tmp_path: Path) -> None:
    with Live(tmp_path, 3) as live, blocking.connect(live.addresses) as store, ThreadPoolExecutor(4) as pool:
        count = GrowOnlyCounter()

        def add(_: int) -> None:
            try:
                store.update(b"k", count.add(), rounds=50)
            except (MayHaveHappened, Unsettled):
                store.update(b"k", count, rounds=50)

        list(pool.map(add, range(20)))
        assert GrowOnlyCounter().learn(store.update(b"k", count).values).total == 20
