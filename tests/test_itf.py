"""Traces as ITF: what is written is read back, to the byte and to the value; what is no such trace is refused."""

import json
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from checker.explore import explore
from checker.itf import About, Trace, dump, normal, parse, scan
from checker.itf_values import ItfError, codec_of, encode_by_value
from checker.outcome import Step
from spec.maps import Counts, FMap, FSet, SetMap
from tests.machines.die_hard import Action as JugAction
from tests.machines.die_hard import DieHard, Jugs
from tests.machines.two_phase import Action, State, TwoPhase

Name = NewType("Name", str)
T = TypeVar("T")


class Leaf(Struct, frozen=True, order=True, cache_hash=True, array_like=True):
    name: Name
    count: Annotated[int, Meta(ge=0)]


class Put(Struct, frozen=True, tag=True):
    key: bytes


class Get(Struct, frozen=True, tag="get", tag_field="kind"):
    key: bytes


class Untagged(Struct, frozen=True):
    key: bytes


class Box(Struct, Generic[T], frozen=True):
    inside: T


class Tree(Struct, frozen=True):
    left: "Tree | None" = None
    right: "Tree | None" = None


class Everything(Struct, frozen=True):
    yes: bool
    number: int
    text: str
    raw: bytes
    color: Literal["red", "green"]
    pair: tuple[int, str]
    many: tuple[Leaf, ...]
    plain_set: frozenset[int]
    set: FSet[Leaf]
    map: FMap[Name, Leaf]
    counts: Counts[str]
    sets: SetMap[str, int]
    by_pair: dict[tuple[int, int], bytes]
    maybe: Leaf | None
    deep: tuple[int | None, ...]
    message: Put | Get | Untagged
    odd: int | str | tuple[int, ...]
    box: Box[FSet[int]]
    tree: Tree


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
leaves = st.builds(Leaf, texts.map(Name), st.integers(0))
trees = st.recursive(st.just(Tree()), lambda t: st.builds(Tree, t | st.none(), t | st.none()), max_leaves=4)
some_bytes = st.binary(max_size=6)
everything = st.builds(
    Everything,
    yes=st.booleans(),
    number=st.integers() | st.sampled_from([2**53 - 1, 2**53, -(2**53), 2**200]),
    text=texts,
    raw=some_bytes,
    color=st.sampled_from(["red", "green"]),
    pair=st.tuples(st.integers(), texts),
    many=st.lists(leaves, max_size=3).map(tuple),
    plain_set=st.frozensets(st.integers(), max_size=4),
    set=st.frozensets(leaves, max_size=3).map(FSet.of),
    map=st.dictionaries(texts.map(Name), leaves, max_size=3).map(FMap.of),
    counts=st.dictionaries(texts, st.integers(0), max_size=3).map(Counts.of),
    sets=st.dictionaries(texts, st.frozensets(st.integers(), max_size=3).map(FSet.of), max_size=3).map(SetMap.of),
    by_pair=st.dictionaries(st.tuples(st.integers(), st.integers()), some_bytes, max_size=3),
    maybe=leaves | st.none(),
    deep=st.lists(st.integers() | st.none(), max_size=3).map(tuple),
    message=st.builds(Put, some_bytes) | st.builds(Get, some_bytes) | st.builds(Untagged, some_bytes),
    odd=st.integers() | texts | st.lists(st.integers(), max_size=3).map(tuple),
    box=st.frozensets(st.integers(), max_size=3).map(lambda items: Box(FSet.of(items))),
    tree=trees,
)


@given(st.lists(everything, min_size=1, max_size=3))
def test_a_trace_of_everything_is_read_back(states: list[Everything]) -> None:
    steps: list[Step[Everything, Put]] = [Step(None if i == 0 else Put(b"k"), state) for i, state in enumerate(states)]
    trace = Trace(
        About(machine="m", params={"n": 3, "fast": True, "name": "x"}, property="p", clause="c"), tuple(steps)
    )
    data = dump(trace)
    again = parse(data, Everything, Put)
    assert again == trace
    assert dump(again) == data
    assert json.loads(data)["vars"] == ["action", *Everything.__struct_fields__]


@given(everything)
def test_what_is_normal_stays_so(state: Everything) -> None:
    codec = codec_of(Everything)
    once = normal(codec.encode(state))
    assert normal(once) == once
    assert codec.decode(once) == state


@given(st.binary())
def test_bytes_are_spelt_readably_and_in_one_way(raw: bytes) -> None:
    spelt = codec_of(bytes).encode(raw)
    assert isinstance(spelt, str)
    assert spelt.isascii()
    assert spelt.isprintable()
    assert codec_of(bytes).decode(spelt) == raw


def test_how_values_look() -> None:
    assert codec_of(bytes).encode(b"cart\\\x00\xff") == r"cart\\\x00\xff"
    assert codec_of(int).encode(2**53 - 1) == 9007199254740991
    assert codec_of(int).encode(-(2**53)) == {"#bigint": "-9007199254740992"}
    assert codec_of(tuple[int, str]).encode((1, "a")) == {"#tup": [1, "a"]}
    assert codec_of(tuple[int, ...]).encode((1, 2)) == [1, 2]
    assert codec_of(frozenset[int]).encode(frozenset([10, 9])) == {"#set": [10, 9]}
    assert codec_of(FSet[int]).encode(FSet.of([10, 9])) == {"#set": [9, 10]}
    assert codec_of(SetMap[str, int]).encode(SetMap.of({"b": FSet.of([1])})) == {"#map": [["b", {"#set": [1]}]]}
    assert codec_of(Leaf).encode(Leaf(Name("a"), 1)) == {"name": "a", "count": 1}
    assert codec_of(Leaf | None).encode(Leaf(Name("a"), 1)) == {"tag": "Some", "value": {"name": "a", "count": 1}}
    assert codec_of(Leaf | None).encode(None) == {"tag": "None", "value": {"#tup": []}}
    assert codec_of(Put | Get).encode(Get(b"k")) == {"kind": "get", "key": "k"}
    assert codec_of(Untagged | Put).encode(Untagged(b"k")) == {"type": "Untagged", "key": "k"}
    assert encode_by_value((Untagged(b"k"), None, FSet.of("ba"))) == {
        "#tup": [{"type": "Untagged", "key": "k"}, {"tag": "None", "value": {"#tup": []}}, {"#set": ["a", "b"]}]
    }


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (int, True, "true is no integer"),
        (int, 1.5, "1.5 is no integer"),
        (int, {"#bigint": "1x"}, 'bigint":"1x"} is no integer'),
        (bool, 1, "1 is not of type bool"),
        (str, 1, "1 is no string"),
        (bytes, "\\x4", "does not spell bytes"),
        (bytes, "é", "does not spell bytes"),
        (Literal["red"], "blue", "'blue' is none of 'red'"),
        (tuple[int, int], {"#tup": [1]}, "has 1 elements, not 2"),
        (tuple[int, int], [1, 2], "[1,2] is no #tup"),
        (tuple[int, ...], {"#tup": [1]}, "is no sequence"),
        (FSet[int], {"#set": [1, 1]}, "repeats an element"),
        (frozenset[int], {"#set": [1, 1]}, "repeats an element"),
        (FSet[int], {"#set": [1], "more": 1}, "is no #set"),
        (FMap[str, int], {"#map": [["a", 1], ["a", 2]]}, "repeats a key"),
        (FMap[str, int], {"#map": [["a"]]}, "is no [key, value]"),
        (Counts[str], {"#map": [["a", -1]]}, "a stored count must be at least 1"),
        (Leaf, {"name": "a"}, "is no Leaf: it has the fields count, name"),
        (Leaf, {"name": "a", "count": 1, "more": 1}, "is no Leaf"),
        (Leaf, {"name": "a", "count": -1}, "Expected `int` >= 0"),
        (Put, {"type": "Get", "key": "k"}, "is no Put"),
        (Put | Get, {"type": "Delete", "key": "k"}, "is none of Put | Get"),
        (Leaf | None, {"name": "a", "count": 1}, "is not"),
        (int | str, [], "[] is none of int | str"),
        (object, 1, "its type has to be known"),
    ],
)
def test_what_is_not_of_the_type_is_refused(hint: Any, value: Any, said: str) -> None:
    with pytest.raises(ItfError) as caught:
        codec_of(hint).decode(value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int, True), (int, "1"), (str, b""), (str, "\ud800"), (tuple[int, int], (1,)), (FSet[int], frozenset()),
     (Leaf, Untagged(b"")), (Put | Get, Untagged(b"")), (int | str, None), (Literal[1], True)],
)  # fmt: skip
def test_what_is_not_of_the_type_is_not_written(hint: Any, value: object) -> None:
    with pytest.raises(ItfError):
        codec_of(hint).encode(value)


class Clash(Struct, frozen=True):
    type: str


@pytest.mark.parametrize("hint", [float, complex, tuple[int, ...] | list[int], str | bytes, int | object, Clash | Put])
def test_types_without_a_place_in_itf_are_refused(hint: Any) -> None:
    with pytest.raises(ItfError):
        codec_of(hint)


def test_values_without_a_place_in_itf_are_refused() -> None:
    for value in (1.5, object(), (1, 1.5)):
        with pytest.raises(ItfError):
            encode_by_value(value)


class Acting(Struct, frozen=True):
    action: int


@pytest.mark.parametrize(("state", "hint"), [(Acting(1), Acting), ((1, "a"), tuple[int, str]), (7, int)])
def test_states_that_are_not_variables_stand_in_one(state: Any, hint: Any) -> None:
    path: tuple[Step[Any, Put], ...] = (Step(None, state), Step(Put(b"k"), state))
    trace = Trace(About(machine="m"), path)
    data = dump(trace, hint)
    assert json.loads(data)["vars"] == ["action", "state"]
    assert parse(data, hint, Put) == trace


def test_a_counterexample_is_read_back() -> None:
    found = explore(DieHard(claim_unsolvable=True)).violation
    assert found is not None
    trace = Trace(About(machine="die-hard-solved"), found.path)
    assert parse(dump(trace), Jugs, JugAction) == trace


def test_the_file_is_itf_and_has_a_line_for_each_state() -> None:
    machine = TwoPhase(2)
    before = machine.initial()[0]
    action, after = next(iter(machine.transitions(before)))
    steps: tuple[Step[State, Action], ...] = (Step(None, before), Step(action, after))
    data = dump(Trace(About(machine="two-phase-2", params={"n": 2}), steps))
    assert data.decode().splitlines()[4:] == [
        '{"#meta":{"index":0},"action":{"tag":"None","value":{"#tup":[]}},"managers":["working","working"],'
        '"coordinator":"init","prepared":{"#set":[]},"messages":{"#set":[]}},',
        '{"#meta":{"index":1},"action":{"tag":"Some","value":{"type":"CoordinatorAborts"}},'
        '"managers":["working","working"],"coordinator":"aborted","prepared":{"#set":[]},'
        '"messages":{"#set":[{"type":"Abort"}]}}',
        "]",
        "}",
    ]
    file = json.loads(data)
    assert file["#meta"]["format"] == "ITF"
    assert [state["#meta"]["index"] for state in file["states"]] == [0, 1]
    assert parse(data, State, Action).path == steps


def test_equal_traces_are_equal_bytes() -> None:
    files = set()
    for names in ("abc", "cba", "bca"):
        start: Step[Box[frozenset[str]], Put] = Step(None, Box(frozenset(names)))
        files.add(dump(Trace(About(machine="m"), (start,))))
    assert len(files) == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000, b'{"#meta":{"format":"ITF"},"vars":[],"states":[]}',
     b'{"#meta":{"machine":"m","params":{},"format":"TLC"},"vars":[],"states":[]}',
     b'{"#meta":{"machine":"m","params":{}},"vars":["action","x"],"states":[{"action":1,"x":1}]}',
     b'{"#meta":{"machine":"m","params":{}},"vars":["x"],"states":[{"x":1}]}',
     dump(Trace(About(machine="m"), (Step(None, Leaf(Name("a"), 1)), Step(None, Leaf(Name("a"), 1)))))],
)  # fmt: skip
def test_what_is_no_trace_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ItfError) as caught:
        scan(data)
    assert "\n" not in str(caught.value)


def test_only_the_first_state_comes_without_an_action() -> None:
    start: Step[Leaf, Put] = Step(None, Leaf(Name("a"), 1))
    with pytest.raises(ItfError, match=r"state 1: .* is no action"):
        scan(dump(Trace(About(machine="m"), (start, start))))
    data = dump(Trace(About(machine="m"), (start, Step(Put(b"k"), start.state))))
    first, second = data.splitlines(keepends=True)[4:6]
    with pytest.raises(ItfError, match=r"state 0: .* is no start"):
        scan(data.replace(first, second.replace(b"}\n", b"},\n")).replace(second, first.replace(b"},\n", b"}\n"), 1))


def test_reading_names_the_state() -> None:
    data = dump(Trace(About(machine="m"), (Step(None, Leaf(Name("a"), 1)), Step(Put(b"k"), Leaf(Name("a"), 1)))))
    with pytest.raises(ItfError, match="state 1: Expected `int` >= 0"):
        parse(data.replace(b'"count":1}\n', b'"count":-1}\n'), Leaf, Put)
    with pytest.raises(ItfError, match=r"state 1: .* is no Get"):
        parse(data, Leaf, Get)


def test_foreign_json_is_normalised() -> None:
    foreign: Any = {
        "#map": [[{"#bigint": "2"}, {"#set": [3, {"#bigint": "1"}]}], [1, [{"#bigint": "90071992547409910"}]]]
    }
    assert normal(foreign) == {"#map": [[1, [{"#bigint": "90071992547409910"}]], [2, {"#set": [1, 3]}]]}


def test_structs_are_what_msgspec_makes_of_them() -> None:
    """A tagged record without collections is its own msgspec JSON, so the wire and the trace agree on tags."""
    assert msgspec.json.encode(Get(b"")) == b'{"kind":"get","key":""}'
    assert encode_by_value(Get(b"")) == {"kind": "get", "key": ""}
