"""Histories: one register or not, by its search and by trying all orders; and the promises that clients can see."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import spec.writing
from checker.check import HOLDS, USAGE, VIOLATED, check
from checker.commands import models
from checker.history import Call, by_key, calls_of, history_of, read_history
from checker.history_report import examine, history
from checker.linearizable import linearization, smallest_window, value_put, values_read, with_strangers
from checker.logs import ClientRecord
from checker.models import machine_of
from checker.outcome import Step
from checker.promises import judge
from spec.actions import Action
from spec.clock import NOTHING, Actor, Clock, Dot
from spec.maps import Counts, FSet
from spec.messages import Failed, Found, Get, Indefinite, Put, Refused, Result, Stored
from spec.siblings import Version
from spec.trace import ClientLog, Invoked, Returned
from spec.types import ClientId, Config, Key, NodeId, RequestId, Value
from spec.world import State
from tests.recorded import run as recorded_run
from tests.recorded import save
from tests.test_check import REGISTRY, run

KEY, A = Key(b"k"), NodeId("a")
RECORDED = Path(__file__).resolve().parent.parent / "traces" / "recorded" / "siblings"


def version(value: str, counter: int = 1, context: Clock = NOTHING) -> Version:
    return Version(Dot(Actor(A, "disk", 1), counter), context, Value(value.encode()))


def put(number: int, value: str, began: int, ended: int | None) -> Call:
    result = None if ended is None else Stored(version(value, number).dot)
    operation = Put(KEY, Value(value.encode()), NOTHING)
    return Call(RequestId(ClientId("w"), number), A, operation, began, ended, result, f"w:{number}")


def get(number: int, values: str, began: int, ended: int) -> Call:
    siblings = FSet.of(version(value, ord(value)) for value in values)
    return Call(RequestId(ClientId("r"), number), A, Get(KEY), began, ended, Found(siblings, NOTHING), f"r:{number}")


# Linearizability, against all orders.


def explains(order: Sequence[Call]) -> bool:
    value = None
    for call in order:
        if call.is_put:
            value = value_put(call)
        elif values_read(call) != (() if value is None else (value,)):
            return False
    return True


def orders(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """Every order of the calls, and of those that have to be in it, that real time allows."""
    unsure = [call for call in calls if call.ended is None]
    for mask in range(1 << len(unsure)):
        chosen = [c for c in calls if c.ended is not None or mask >> unsure.index(c) & 1]
        for order in permutations(chosen):
            ends = [(a.ended, b.began) for i, b in enumerate(order) for a in order[i + 1 :]]
            if not any(ended is not None and ended < began for ended, began in ends):
                yield order


@st.composite
def histories(draw: st.DrawFn) -> list[Call]:
    calls = []
    for number in range(1, draw(st.integers(1, 5)) + 1):
        began, length = draw(st.integers(0, 9)), draw(st.integers(1, 6))
        if draw(st.booleans()):
            calls.append(put(number, draw(st.sampled_from("AB")), began, draw(st.sampled_from([began + length, None]))))
        else:
            calls.append(get(number, draw(st.sampled_from(["", "A", "B", "A", "B", "AB"])), began, began + length))
    return calls


@given(histories())
def test_it_finds_an_order_exactly_where_there_is_one(calls: list[Call]) -> None:
    found, explained = linearization(calls), [list(order) for order in orders(calls) if explains(order)]
    assert (found is not None) == bool(explained)
    if found is not None:
        assert found in explained


@given(histories())
def test_the_window_shows_it_and_nothing_in_it_can_go(calls: list[Call]) -> None:
    whole = with_strangers(calls)
    window = smallest_window(calls)
    assert (window is None) == (linearization(whole) is not None)
    if window is None:
        return
    assert linearization(window) is None
    assert {call.request for call in window} <= {call.request for call in whole}
    read = {value for call in window for value in values_read(call)}
    assert {value_put(call) for call in window if call.is_put} >= read, "what was read was put"
    for call in window:
        if not call.is_put or value_put(call) not in read:
            rest = [other for other in window if other is not call]
            read_by_rest = {value for other in rest for value in values_read(other)}
            if {value_put(c) for c in rest if c.is_put} >= read_by_rest:
                assert linearization(rest) is not None


def test_a_stale_get_is_shown_in_three_calls() -> None:
    """However long the history is."""
    random, calls = Random(1), list[Call]()
    for number in range(1, 200):
        value, began = f"v{number}", 100 * number
        calls.append(put(number, value, began, began + 40))
        calls.append(get_value(number, value, began + 50 + random.randrange(5), began + 90))
    calls.insert(150, get_value(1_000, "v7", 10_000, 10_001))
    window = smallest_window(calls)
    assert window is not None
    old, new, stale = window
    assert (value_put(old), values_read(stale)) == (b"v7", (b"v7",))
    assert old.ended is not None
    assert new.ended is not None
    assert old.ended < new.began < new.ended < stale.began


def get_value(number: int, value: str, began: int, ended: int) -> Call:
    found = Found(FSet.of([version(value, number)]), NOTHING)
    return Call(RequestId(ClientId("r"), number), A, Get(KEY), began, ended, found, f"r:{number}")


def test_two_siblings_are_no_register() -> None:
    window = smallest_window([put(1, "A", 0, 5), put(2, "B", 0, 5), get(1, "A", 6, 7), get(2, "AB", 8, 9)])
    assert window is not None
    assert [(c.is_put, values_read(c)) for c in window][-1] == (False, (b"A", b"B"))
    assert len(window) == 3


def test_a_value_that_nobody_put_is_a_strangers() -> None:
    assert smallest_window([get(1, "Z", 0, 1), get(2, "Z", 2, 3)]) is None
    window = smallest_window([get(1, "Z", 0, 1), get(2, "", 2, 3)])
    assert window is not None
    assert [c.place for c in window] == ["no log", "r:1", "r:2"]


def test_a_long_history_of_many_clients_is_searched() -> None:
    random, calls, value, now = Random(2), list[Call](), "", 0
    for number in range(1, 600):
        now += 10
        began, ended = now - random.randrange(25), now + random.randrange(25)
        if random.random() < 0.5:
            value = f"v{number}"
            calls.append(put(number, value, began, ended if random.random() < 0.9 else None))
        elif value:
            calls.append(get_value(number, value, began, ended))
    assert linearization(calls) is not None


def test_the_same_calls_in_another_order_are_not_tried_again() -> None:
    """Fourteen puts at once have 87 billion orders, but only 16,384 sets of them can have come first."""
    puts = [put(number, f"v{number}", 0, 10) for number in range(14)]
    assert linearization([*puts, get_value(1, "v20", 11, 12)]) is None


def test_what_had_no_effect_is_left_out_unless_an_earlier_try_may_have_had_one() -> None:
    def client(times: int, result: Result) -> list[Call]:
        request = RequestId(ClientId("w"), 1)
        asked = [Invoked(request, A, Put(KEY, Value(b"A"), NOTHING), n) for n in range(times)]
        return calls_of(ClientRecord("w.ndjson", ClientLog(1, request.client), (*asked, Returned(request, result, 9))))

    assert client(1, Refused("too large")) == client(1, Failed("too late")) == []
    (again,) = client(2, Refused("too large"))
    assert (again.ended, again.began) == (None, 0)
    (unknown,) = client(1, Indefinite("nobody knows"))
    assert unknown.ended is None


# Promises.


def test_a_promise_broken_is_told_with_the_calls() -> None:
    stale = get(2, "", 8, 9)
    broken = judge([put(1, "A", 0, 5), get(1, "", 3, 4), stale]).broken
    assert [(b.claim, b.call) for b in broken] == [("quorum-meaning-get", stale)]
    assert "the get of r#2 did not return a:1, acknowledged before it began" in broken[0].clause


def test_a_successor_is_as_good() -> None:
    later = version("B", 2, Counts.of({Actor(A, "disk", 1): 1}))
    seen = replace(get(1, "", 8, 9), result=Found(FSet((later,)), Counts.of({Actor(A, "disk", 1): 2})))
    assert judge([put(1, "A", 0, 5), seen]).broken == ()


def test_each_promise_can_be_broken() -> None:
    one, two = version("A", 1), version("B", 1)
    later = version("B", 2, Counts.of({Actor(A, "disk", 1): 1}))
    both = Counts.of({Actor(A, "disk", 1): 2})

    def told(*siblings: Version, context: Clock) -> list[Call]:
        return [replace(get(1, "", 8, 9), result=Found(FSet.of(siblings), context))]

    once = Counts.of({Actor(A, "disk", 1): 1})
    assert [b.claim for b in judge(told(one, two, context=once)).broken] == ["dot-uniqueness"]
    assert [b.claim for b in judge(told(one, later, context=both)).broken] == ["only-maximal"]
    assert [b.claim for b in judge(told(one, context=NOTHING)).broken] == ["context-honesty"]
    assert [b.claim for b in judge([put(1, "A", 0, 5), *told(context=NOTHING)]).broken] == ["quorum-meaning-get"]


# Runs.


def logs_of(directory: Path, seed: int, config: Config | None = None) -> Path:
    recorded = recorded_run(seed, 1_500) if config is None else recorded_run(seed, 1_500, config=config)
    save(directory, recorded.files())
    return directory


@pytest.mark.parametrize("seed", range(4))
def test_runs_keep_their_promises_and_are_no_register(tmp_path: Path, seed: int) -> None:
    code, out, err = run(history, logs_of(tmp_path / "run", seed), linearizable=True)
    assert (code, err) == (VIOLATED, "")
    assert out.count("FAILS") == 1
    assert "linearizable fails of key 'k" in out
    assert run(history, tmp_path / "run")[0] == HOLDS


def test_a_quorum_of_one_is_noticed_by_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec.writing, "is_written", lambda owners, _, __: len(owners) >= 1)
    codes = [run(history, logs_of(tmp_path / f"run{seed}", seed))[0] for seed in range(6)]
    assert VIOLATED in codes


def test_what_is_not_promised_is_not_judged(tmp_path: Path) -> None:
    weak = Config(n=3, r=1, w=1, partitions=4, tokens=4)
    for seed in range(6):
        code, out, _ = run(history, logs_of(tmp_path / f"run{seed}", seed, weak))
        assert code == HOLDS
        assert "quorum-meaning-get  not promised by this configuration" in out
    codes = [examine(read_history(tmp_path / f"run{seed}"), False).verdict for seed in range(6)]
    assert "violated" in codes, "had it been promised, it would have been missed"


def test_real_nodes_were_no_register_either() -> None:
    """Two clients on two sides of a cut put, and both values are there afterwards."""
    assert run(history, RECORDED)[0] == HOLDS
    code, out, _ = run(history, RECORDED, linearizable=True, json=True)
    report = json.loads(out)
    assert (code, report["verdict"], report["calls"]) == (VIOLATED, "violated", 5)
    assert [call["told"] for call in report["failures"][0]["calls"]] == [
        "may have happened",
        "stored as b:1",
        "'apples', 'pears'",
    ]


def test_a_path_of_the_model_has_a_history() -> None:
    """Random walks over the model: promises hold, and some are no register."""
    machine, register = machine_of("puts-get-crash"), list[bool]()
    for seed in range(60):
        random, state = Random(seed), next(iter(machine.initial()))
        path = [Step[State, Action](None, state)]
        while options := list(machine.transitions(state)):
            action, state = random.choice(options)
            path.append(Step(action, state))
        for calls in by_key(history_of(path)).values():
            assert judge(calls).broken == ()
            register.append(smallest_window(calls) is None)
    assert len(set(register)) == 2


def test_a_counterexample_is_a_history(tmp_path: Path) -> None:
    trace = tmp_path / "weak.itf.json"
    assert check(models(), "weak", out=trace) == VIOLATED
    assert history(models(), trace) == HOLDS, "not promised"
    assert history(models(), trace, linearizable=True) == VIOLATED


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "no logs of clients"), (tmp_path / "nowhere", "there is no directory")):
        code, out, err = run(history, path)
        assert (code, out) == (USAGE, "")
        assert said in err
        assert err.count("\n") == 1
    trace = tmp_path / "jugs.itf.json"
    check(REGISTRY, "die-hard-solved", out=trace)
    assert "is no model of the store" in run(history, trace)[2]
    logs = logs_of(tmp_path / "run", 0)
    log = logs / "client0.ndjson"
    log.write_bytes(log.read_bytes().replace(b'",1]', b'",2]', 1))
    code, _, err = run(history, logs)
    assert code == USAGE
    assert "client0.ndjson:" in err
