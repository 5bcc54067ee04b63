"""Stories: what changed is told, all of it, once, within a page's width, in the machine's words if it has any."""

from collections.abc import Sequence
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from checker.explore import explore
from checker.machine import Property
from checker.outcome import Step, Violation
from checker.story import WIDTH, changes, show, tell_in_one_line, tell_path, tell_violation
from spec.maps import Counts, FMap, FSet, SetMap
from tests.machines import odd
from tests.machines.die_hard import DieHard
from tests.machines.two_phase import TwoPhase

Path: TypeAlias = tuple[Step[odd.Count, odd.Action], ...]


class Point(Struct, frozen=True, order=True):
    x: int
    y: int = 0


class Named(Struct, frozen=True):
    name: str

    def __str__(self) -> str:
        return f"<{self.name}>"


class World(Struct, frozen=True):
    point: Point | Named
    table: FMap[str, Point]
    queue: tuple[int, ...]
    members: FSet[str]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Point(1), "Point(x=1)"),
        (Point(1, 2), "Point(x=1, y=2)"),
        (Named("a"), "<a>"),
        (odd.Stay(), "Stay"),
        (b"a\x00", r"'a\x00'"),
        ("text", "text"),
        (None, "None"),
        ((1,), "(1,)"),
        ([Named("a"), b"b"], "[<a>, 'b']"),
        (frozenset(["b", "a", "c"]), "{a, b, c}"),
        (FSet.of([10, 9]), "{9, 10}"),
        (FMap.of({"b": Point(1), "a": Point(2)}), "{a: Point(x=2), b: Point(x=1)}"),
        (Counts.of({"a": 2}), "{a: 2}"),
        ({"b": 1, "a": 2}, "{a: 2, b: 1}"),
    ],
)
def test_how_values_are_shown(value: object, shown: str) -> None:
    assert show(value) == shown


BEFORE = World(Point(1, 2), FMap.of({"a": Point(1), "b": Point(2)}), (1, 2, 3), FSet.of("xy"))


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (BEFORE, []),
        (World(Point(1, 3), BEFORE.table, BEFORE.queue, BEFORE.members), ["point.y: 2 → 3"]),
        (World(Named("n"), BEFORE.table, BEFORE.queue, BEFORE.members), ["point: Point(x=1, y=2) → <n>"]),
        (
            World(BEFORE.point, FMap.of({"a": Point(9), "c": Point(3)}), BEFORE.queue, BEFORE.members),
            ["table[a].x: 1 → 9", "table - b: Point(x=2)", "table + c: Point(x=3)"],
        ),
        (World(BEFORE.point, BEFORE.table, (1, 2, 3, 4), BEFORE.members), ["queue + 4"]),
        (World(BEFORE.point, BEFORE.table, (1, 3), BEFORE.members), ["queue - 2"]),
        (World(BEFORE.point, BEFORE.table, (1, 2, 5), BEFORE.members), ["queue[2]: 3 → 5"]),
        (World(BEFORE.point, BEFORE.table, BEFORE.queue, FSet.of("yz")), ["members - x", "members + z"]),
    ],
)
def test_changes_are_told_where_they_are(after: World, told: list[str]) -> None:
    assert list(changes(BEFORE, after)) == told


def test_changes_of_other_collections() -> None:
    assert list(changes(frozenset([1, 2]), frozenset([2, 3]), "s")) == ["s - 1", "s + 3"]
    assert list(changes({"a": 1}, {"a": 2}, "d")) == ["d[a]: 1 → 2"]
    assert list(changes(SetMap.of({"a": FSet.of([1])}), SetMap.of({"a": FSet.of([1, 2])}), "m")) == ["m[a] + 2"]
    assert list(changes(1, "1")) == ["1 → 1"]
    assert list(changes((), (1, 1), "q")) == ["q + 1", "q + 1"]
    assert list(changes((1, 1, 1), (1, 1), "q")) == ["q - 1"]


worlds = st.builds(
    World,
    st.builds(Point, st.integers(0, 3), st.integers(0, 1)) | st.builds(Named, st.sampled_from("ab")),
    st.dictionaries(st.sampled_from("abc"), st.builds(Point, st.integers(0, 2))).map(FMap.of),
    st.lists(st.integers(0, 2), max_size=4).map(tuple),
    st.frozensets(st.sampled_from("xyz")).map(FSet.of),
)


@given(worlds, worlds)
def test_nothing_is_told_exactly_where_nothing_changed(before: World, after: World) -> None:
    assert (list(changes(before, after)) == []) == (before == after)


def test_the_whole_story() -> None:
    machine = DieHard(claim_unsolvable=True)
    found = explore(machine).violation
    assert found is not None
    assert (
        tell_violation(machine, found)
        == """\
   0  at the start
        Jugs(small=0, big=0)
   1  fill the big jug
        big: 0 → 5
   2  pour the big jug into the small one
        small: 0 → 3
        big: 5 → 2
   3  empty the small jug
        small: 3 → 0
   4  pour the big jug into the small one
        small: 0 → 2
        big: 2 → 0
   5  fill the big jug
        big: 0 → 5
   6  pour the big jug into the small one
        small: 2 → 3
        big: 5 → 4

unsolvable fails: the big jug holds 4 gallons"""
    )
    assert tell_in_one_line(machine, found) == (
        "unsolvable: the big jug holds 4 gallons after 6 steps: fill the big jug; pour the big jug into the small one; "
        "empty the small jug; pour the big jug into the small one; "
        "fill the big jug; pour the big jug into the small one"
    )


def test_a_step_that_changes_nothing_says_so() -> None:
    path: Path = (Step(None, odd.Count(1)), Step(odd.Stay(), odd.Count(1)))
    assert tell_path(odd.Counter(), path).endswith("1  Stay\n        nothing changes")


def test_a_machines_own_words_are_used() -> None:
    class Wordy(odd.Counter):
        def describe_action(self, action: odd.Action) -> str:
            return f"it {type(action).__name__.lower()}s"

        def describe_changes(self, before: odd.Count, after: odd.Count) -> list[str]:
            return [f"from {before.value} up to {after.value}"]

    path: Path = (Step(None, odd.Count(1)), Step(odd.Add(2), odd.Count(3)))
    assert tell_path(Wordy(), path) == "   0  at the start\n   1  it adds\n        from 1 up to 3"


def test_stories_fit_the_page() -> None:
    machine = TwoPhase(12)
    assert all(len(line) <= WIDTH for line in tell_path(machine, (Step(None, machine.initial()[0]),)).splitlines())

    class Endless(odd.Counter):
        properties: Sequence[Property[odd.Count, odd.Action]] = ()

        def describe_action(self, action: odd.Action) -> str:
            return f"{action} " * 20 + "x" * 300

    path: Path = (Step(None, odd.Count(1)), Step(odd.Add(1), odd.Count(2)))
    violation = Violation("p", "always", "clause " * 40, path)
    told = tell_violation(Endless(), violation)
    assert len(told.splitlines()) > 8
    assert max(len(line) for line in told.splitlines()) <= WIDTH


def test_an_unmet_sometimes_has_no_path_to_tell() -> None:
    found = explore(odd.UNMET).violation
    assert found is not None
    assert tell_violation(odd.UNMET, found) == (
        "negative fails: met by none of 12 states, so small may hold for want of anything happening"
    )
    assert tell_in_one_line(odd.UNMET, found).startswith("negative: met by none of 12 states")
