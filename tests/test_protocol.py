"""The abstract protocol, run in Python: every invariant and lemma in every state of random behaviours."""

import random

import pytest

from checker.prove.subset import functions_of
from spec import protocol
from spec.maps import FSet
from spec.protocol import gets, hints, invariants, lemmas, puts
from spec.protocol.state import BLIND, Due, Reading, State, held_for, init, knows, stored
from spec.quorum import ReadQuorum, WriteQuorum
from spec.siblings import context_of
from spec.types import ClientId, Config, RequestId, Value
from tests.arbitrary import beginning, choices, walk

TWO, BOTH = WriteQuorum(2, 1), ReadQuorum(2, 2, notfound_ok=True, basic_quorum=False)
INVARIANTS = functions_of(protocol, "inv_")
CONFIGS = [Config(n=3, r=2, w=2), Config(n=3, r=1, w=1), Config(n=2, r=1, w=2)]


def broken(s: State) -> list[str]:
    """The invariants that a state violates."""
    return [name for name, invariant in INVARIANTS.items() if not invariant(s)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"n{c.n}r{c.r}w{c.w}")
def test_invariants_hold_in_every_state_of_random_walks(config: Config) -> None:
    assert init(beginning(config))
    assert not broken(beginning(config))
    happened: set[str] = set()
    eventful = 0
    for seed in range(60):
        steps = walk(seed, 240, config)
        for name, parameters, s in steps:
            assert not broken(s), f"seed {seed}: {broken(s)} after {name}{parameters}"
            happened.add(name)
        eventful += any(invariants.is_eventful(s) for _, _, s in steps)
    assert happened | {"drop"} == {action.__name__ for action in protocol.ACTIONS}  # that one is rare; see below
    assert eventful >= 5, "the walks meet too little for the invariants to say anything"


def test_lemmas_hold_wherever_their_action_may_happen() -> None:
    functions = functions_of(protocol)
    checked = 0
    rnd = random.Random(1)
    for seed in range(30):
        for _, _, s in walk(seed, 120, CONFIGS[0])[::7]:
            for action in protocol.ACTIONS:
                name = action.__name__
                parameters = choices(s, name, 99, rnd)
                if parameters is None or not functions[f"{name}_ok"](s, *parameters):
                    continue
                for lemma in (*functions_of(protocol, f"{name}_lemma_").values(), functions.get(f"{name}_uses")):
                    if lemma is not None:
                        assert lemma(s, *parameters), f"{lemma.__name__}{parameters}"
                        checked += 1
    assert checked > 300


def test_a_write_is_acknowledged_read_and_superseded() -> None:
    """The main line, step by step: put at A, replicated to B, read at C, written again at C."""
    s = beginning(CONFIGS[0])
    a, b, c, _ = s.nodes
    s = puts.put(s, a, BLIND, Value(b"x=1"), a)
    (first,) = s.created
    assert not puts.acknowledge_ok(s, a, first, TWO)
    s = puts.send(s, a, first, b, b)
    (message,) = s.sent
    s = puts.receive(s, message)
    (acknowledgement,) = s.acks
    s = puts.count(s, acknowledgement)
    assert puts.acknowledge_ok(s, a, first, TWO)
    s = puts.acknowledge(s, a, first, TWO)
    reading = Reading(c, RequestId(ClientId("client"), 1))
    for node in (b, c):
        s = gets.answer(s, reading, node)
        (answer,) = [t for t in s.told if t.owner == node]
        s = gets.collect(s, answer)
    context = context_of(s.gathered[reading])
    assert gets.reply_ok(s, reading, BOTH, context)
    s = gets.reply(s, reading, BOTH, context)
    (reply,) = s.replies
    assert reply.saw == FSet.of([first])
    s = puts.put(s, c, reply, Value(b"x=2"), c)
    (second,) = s.store[c]
    assert str(second) == "C:1 after [A:1]"
    assert s.seen[second] == FSet.of([first])
    assert not broken(s)
    assert invariants.is_eventful(s)


def test_a_fallback_hands_over_what_it_owes_and_lets_it_go() -> None:
    """Step by step: D stands in for A, hands over, and starts a new numbering when it is asked again."""
    s = beginning(CONFIGS[0])
    a, *_, d = s.nodes
    value = Value(b"x")
    assert not puts.put_ok(s, d, BLIND, value, a)
    s = hints.hint(s, d, a)
    assert puts.put_ok(s, d, BLIND, value, a)
    s = puts.put(s, d, BLIND, value, a)
    (version,) = s.created
    assert held_for(s, a, version)
    assert not stored(s, a, version)
    s = hints.hand(s, d, a)
    (handed,) = s.handed
    context = context_of(handed.versions)
    assert hints.take_ok(s, handed, context)
    s = hints.take(s, handed, context)
    (taken,) = s.taken
    assert hints.release_ok(s, taken)
    assert not hints.release_ok(puts.put(s, d, BLIND, Value(b"y"), a), taken), "more came meanwhile"
    assert not hints.drop_ok(s, d)
    s = hints.release(s, taken)
    assert hints.drop_ok(s, d)
    s = hints.drop(s, d)
    assert not broken(s)
    assert (s.store[d], s.birth[d], s.store[a]) == (FSet(), 0, FSet.of([version]))
    s = puts.put(hints.hint(s, d, a), d, BLIND, value, a)
    (again,) = s.store[d]
    assert str(again) == "D.2:1 after []"
    assert not broken(s)


def test_a_get_whose_quorum_meets_that_of_a_put_knows_it() -> None:
    """Step by step: x is at A and B; whoever asks B and C is told, whoever asks C alone is not."""
    s = beginning(CONFIGS[0])
    a, b, c, _ = s.nodes
    s = puts.put(s, a, BLIND, Value(b"x"), a)
    (version,) = s.created
    s = puts.send(s, a, version, b, b)
    (message,) = s.sent
    s = puts.receive(s, message)
    (acknowledgement,) = s.acks
    s = puts.acknowledge(puts.count(s, acknowledgement), a, version, WriteQuorum(2, 2))
    request = RequestId(ClientId("client"), 1)
    reading, owed = Reading(c, request), FSet.of([Due(request, version, 2)])
    assert not gets.ask_ok(s, request, FSet.of([Due(request, version, 3)])), "that was promised of two"
    assert not gets.ask_ok(gets.answer(s, reading, c), request, owed), "what was told before may be older"
    assert gets.ask_ok(s, request, owed)
    s = gets.ask(s, request, owed)
    for node in (c, b):
        s = gets.answer(s, reading, node)
        (answer,) = [t for t in s.told if t.owner == node]
        s = gets.collect(s, answer)
        context = context_of(s.gathered[reading])
        assert gets.reply_ok(s, reading, BOTH, context) == knows(s, s.gathered[reading], version)
        assert lemmas.reply_lemma_due(s, reading, BOTH, context) == (node == b)
        assert lemmas.reply_lemma_due(s, reading, ReadQuorum(1, 1, notfound_ok=True, basic_quorum=False), context)
    assert not gets.conclude(s, request).due
    assert not broken(s)


def test_what_is_shown_after_repair_may_be_looked_for() -> None:
    """Step by step: x is at A only, and was never acknowledged; a get by B brings it to B before it shows it."""
    s = beginning(CONFIGS[0])
    a, b, _, _ = s.nodes
    s = puts.put(s, a, BLIND, Value(b"x"), a)
    (version,) = s.created
    reading = Reading(b, RequestId(ClientId("client"), 1))
    for node in (b, a):
        s = gets.answer(s, reading, node)
        (answer,) = [t for t in s.told if t.owner == node]
        s = gets.collect(s, answer)
        assert gets.agree_ok(s, answer)
        s = gets.agree(s, answer)
    assert [c.owner for c in s.confirmed] == [a], "what B had said before says nothing of x"
    assert not gets.vouch_ok(s, reading, version, TWO)
    s = gets.press(s, reading, b)
    (repair,) = s.handed
    s = hints.take(s, repair, context_of(repair.versions))
    (taken,) = s.taken
    assert gets.confirm_ok(s, reading, taken)
    s = gets.confirm(s, reading, taken)
    assert gets.vouch_ok(s, reading, version, TWO)
    s = gets.vouch(s, reading, version, TWO)
    later = RequestId(ClientId("client"), 2)
    assert gets.ask_ok(s, later, FSet.of([Due(later, version, 1)]))
    assert not gets.relax(s, reading).confirmed
    assert not broken(s)
