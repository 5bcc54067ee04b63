"""Machines whose state counts others have published, and what becomes of the counts and claims when they are broken."""

import subprocess
import sys

import pytest
from msgspec.structs import replace

from checker.check import AnyMachine
from checker.explore import explore
from tests.machines import chang_roberts, ewd840
from tests.machines.abd import Abd, Asking, Server
from tests.machines.chang_roberts import ChangRoberts
from tests.machines.dining import Act, Dining, Fork
from tests.machines.dining import State as Table
from tests.machines.ewd840 import Ewd840, InitiateProbe, PassToken
from tests.machines.register import Call, GetOk, Handled, State, not_linearizable
from tests.machines.single_copy import SingleCopy
from tests.machines.two_phase import FastTwoPhase


def put(value: str, after: tuple[int, ...] = (0, 0)) -> Call:
    return Call(True, value, after)


def get(value: str, after: tuple[int, ...] = (0, 0)) -> Call:
    return Call(False, value, after)


# What the sources say: distinct states, generated states and depth; TLC counts the initial states as depth 1.
PUBLISHED: list[tuple[AnyMachine, int, int | None, int | None]] = [
    (Ewd840(3), 302, None, None),
    (ChangRoberts(3), 137, 227, 10),
    (ChangRoberts(4), 823, None, None),
    (ChangRoberts(5), 5_455, None, None),
    (Dining(3), 19, None, None),
    (Dining(5), 67, 336, 29),
    (Abd(2, 2), 544, None, None),
    (SingleCopy(2, 1), 93, None, None),
]


@pytest.mark.parametrize(("machine", "states", "generated", "depth"), PUBLISHED, ids=[p[0].name for p in PUBLISHED])
def test_the_published_number_of_states(
    machine: AnyMachine, states: int, generated: int | None, depth: int | None
) -> None:
    result = explore(machine)
    assert (result.verdict, result.states) == ("holds", states)
    assert generated in (None, result.generated)
    assert depth in (None, result.depth + 1)


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_two_phase_commit_has_as_many_states_as_the_formula_says(n: int) -> None:
    result = explore(FastTwoPhase(n))
    assert (result.verdict, result.states) == ("holds", 6**n + 4**n + 2**n)


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_two_phase_commit_with_nine_managers_fits_into_eight_gigabytes() -> None:
    """In full, every state kept exactly: measured 4.2 GiB, and 226 s of one core, in a process of its own."""
    program = (
        "import resource; from checker.explore import explore; from tests.machines.two_phase import FastTwoPhase\n"
        "result = explore(FastTwoPhase(9)); peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(result.verdict, result.states, result.generated, peak >> 10, round(result.seconds))\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    verdict, states, generated, mib, seconds = said.split()
    assert (verdict, int(states), int(generated)) == ("holds", 6**9 + 4**9 + 2**9, 123_558_402)
    assert int(mib) < 8_000
    print(f"{states} states, {mib} MiB, {seconds} s")


def test_ewd840_generates_what_tlc_does_if_each_true_disjunct_of_a_guard_counts() -> None:
    machine = Ewd840(3)
    found = dict.fromkeys(machine.initial())
    queue, generated = list(found), len(found)
    for state in queue:
        for action, after in machine.transitions(state):
            match action:
                case InitiateProbe():
                    generated += state.token_black + state.black[0]
                case PassToken(node):
                    generated += (not state.active[node]) + state.black[node] + state.token_black
                case _:
                    generated += 1
            if after not in found:
                found[after] = None
                queue.append(after)
    assert (len(found), generated) == (302, 2_001)


# Each of them broken.


def broken(machine: AnyMachine) -> str:
    result = explore(machine)
    assert result.violation is not None
    return result.violation.property


def test_a_sender_that_stays_white_lets_termination_be_detected_too_early() -> None:
    class Clean(Ewd840):
        def step(self, state: ewd840.State, action: ewd840.Action) -> ewd840.State:
            after = super().step(state, action)
            if isinstance(action, ewd840.SendMessage):
                return ewd840.State(after.active, state.black, after.token_at, after.token_black)
            return after

    assert broken(Clean(3)) == "invariant"


def test_a_philosopher_who_eats_with_dirty_forks_eats_beside_a_neighbour() -> None:
    class Greedy(Dining):
        def step(self, state: Table, action: Act) -> Table:
            p = action.philosopher
            both = [state.forks[p], state.forks[(p + 1) % self.n]]
            if state.places[p] == "Loop" and Fork(p, True) in both:  # one is enough
                return Table(state.forks, (*state.places[:p], "Eat", *state.places[p + 1 :]), state.hungry)
            return super().step(state, action)

    assert broken(Greedy(3)) == "exclusive-access"


def test_a_candidate_that_does_not_give_up_disagrees_with_the_winner() -> None:
    class Stubborn(ChangRoberts):
        def step(self, state: chang_roberts.State, action: chang_roberts.Action) -> chang_roberts.State:
            after = super().step(state, action)
            kept = tuple("cand" if old == "cand" != new != "won" else new
                         for old, new in zip(state.standing, after.standing, strict=True))  # fmt: skip
            return replace(after, standing=kept)

    assert broken(Stubborn(3)) == "correctness"


def test_copies_that_do_not_talk_are_not_linearizable() -> None:
    """As in the example, in four steps: the put is answered by one server, and the get by the other."""
    result = explore(SingleCopy(2, 2))
    assert result.violation is not None
    assert (result.violation.property, len(result.violation.path) - 1) == ("linearizable", 4)
    last = result.violation.path[-1].action
    assert last is not None
    assert isinstance(last.message, GetOk)


def test_a_put_that_does_not_count_up_is_not_linearizable() -> None:
    class Forgetful(Abd):
        def record(self, number: int, server: Server, asked: Asking) -> Handled[Server]:
            answers = tuple((who, (count - 1, by), value) for who, (count, by), value in asked.answers)
            return super().record(number, server, asked if asked.write is None else replace(asked, answers=answers))

    assert broken(Forgetful(2, 2)) == "linearizable"


@pytest.mark.parametrize(
    ("ended", "opened", "linearizable"),
    [
        # Of two clients: the first put A, the second reads.
        ([[put("A")], []], [None, None], True),
        ([[put("A")], [get("A")]], [None, None], True),
        ([[put("A")], [get("")]], [None, None], True),
        ([[put("A")], [get("", after=(1, 0))]], [None, None], False),
        ([[put("A")], [get("A", after=(1, 0))]], [None, None], True),
        ([[], [get("A")]], [put("A"), None], True),
        ([[], [get("A")]], [put("B"), None], False),
        ([[], [get("A"), get("")]], [put("A"), None], False),
        ([[put("A"), get("B")], [put("B"), get("A")]], [None, None], False),
        ([[put("A"), get("B")], [put("B"), get("B")]], [None, None], True),
    ],
)
def test_linearizability_of_known_histories(
    ended: list[list[Call]], opened: list[Call | None], linearizable: bool
) -> None:
    state = State[str]((), (), frozenset(), tuple(map(tuple, ended)), tuple(opened))
    assert (not_linearizable(state) is None) == linearizable
