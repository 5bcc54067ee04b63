"""A machine of one's own: the examples in the documentation run, it is loaded by name, and its mistakes are named."""

import doctest
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import force_setattr

import checker.machine
from checker.check import HOLDS, OUR_BUG, USAGE, VIOLATED, check
from checker.doubts import look_closely
from checker.explore import explore
from checker.load import load_machine
from checker.machine import SimpleMachine
from checker.models import MODELS, machine_of
from checker.outcome import ModelError
from checker.replay import replay
from tests.machines.two_phase import TwoPhase
from tests.test_check import run


def test_the_examples_of_the_documentation_run() -> None:
    """In the order in which they stand, with what earlier ones defined."""
    names = dict(vars(checker.machine))
    examples = [found for found in doctest.DocTestFinder().find(checker.machine) if found.examples]
    runner = doctest.DocTestRunner()
    for example in sorted(examples, key=lambda found: found.lineno or 0):
        example.globs = names
        runner.run(example, clear_globs=False)
    assert runner.summarize(verbose=False) == (0, 29)


def test_everything_that_a_user_needs_has_an_example() -> None:
    examples = [found for found in doctest.DocTestFinder().find(checker.machine) if found.examples]
    claims = {"Always", "Transition", "Sometimes", "SometimesStep", "Eventually", "LeadsTo"}
    assert {found.name.rpartition(".")[2] for found in examples} >= {"SimpleMachine", "Fair", *claims}


# By name.

OWN = """
from checker.machine import SimpleMachine, invariant

class Steps(SimpleMachine):
    name = "steps"
    properties = (invariant("few", lambda state: state < 3, "too many"),)
    def initial(self):
        return [0]
    def actions(self, state):
        return ["step"]
    def step(self, state, action):
        return state + 1

def more():
    return Steps()

def broken():
    return 1 / 0

one = Steps()
number = 5
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "steps_of_my_own.py"
    file.write_text(OWN)
    return file


@pytest.mark.parametrize("name", ["Steps", "more", "one"])
def test_a_machine_is_loaded_from_a_file(own: Path, tmp_path: Path, name: str) -> None:
    trace = tmp_path / "trace.itf.json"
    code, out, err = run(check, f"{own}:{name}", out=trace)
    assert (code, err) == (VIOLATED, "")
    assert "few fails: too many" in out
    assert run(replay, trace)[0] == HOLDS


def test_a_machine_is_loaded_from_a_package() -> None:
    code, out, _ = run(check, "tests.machines.die_hard:DieHard")
    assert code == HOLDS
    assert out.startswith("die-hard: holds\n16 states")
    assert load_machine("tests.machines.die_hard:DieHard").name == "die-hard"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{own}:Step", "has no Step; it has Steps, one"),
        ("{own}:", "has no name after the colon; it has Steps, one"),
        ("{own}:number", "is no machine: it has no name; see checker.machine.SimpleMachine"),
        ("{own}:broken", "makes no machine: ZeroDivisionError: division by zero"),
        ("nowhere.py:Steps", "there is no file nowhere.py"),
        ("no_such_package_here:Steps", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_what_is_no_machine_is_refused_in_one_line(own: Path, name: str, said: str) -> None:
    code, out, err = run(check, name.format(own=own))
    assert (code, out) == (USAGE, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_file_with_a_mistake_is_refused_with_its_line(tmp_path: Path) -> None:
    for text, said in (("x = 1\ny = (\n", "SyntaxError"), ("x = 1\ny = x / 0\n", "ZeroDivisionError")):
        file = tmp_path / f"mistaken_{said.lower()}.py"
        file.write_text(text)
        code, _, err = run(check, f"{file}:Machine")
        assert code == USAGE
        assert said in err
        assert ", line 2" in err


# Mistakes.


class Frozen(Struct, frozen=True):
    value: Any  # Any: of any type


class Thawed(Struct):
    value: int

    def __hash__(self) -> int:
        return self.value


@dataclass(unsafe_hash=True)
class ThawedData:
    value: int


class Plain:
    def __init__(self, value: int) -> None:
        self.value = value


class Own(SimpleMachine[Any, Any]):  # Any: of whatever type the mistake is
    """Starts at what `make` makes of 0 and goes on to what it makes of the next numbers, until 3."""

    name = "own"

    def __init__(self, make: Callable[[int], object]) -> None:
        self.make = make
        self.made = 0

    def initial(self) -> Iterable[Any]:  # Any: as above
        return [self.make(0)]

    def actions(self, state: Any) -> Iterable[Any]:  # noqa: ARG002 # Any: as above
        return ["go on"]

    def step(self, state: Any, action: Any) -> Any:  # noqa: ARG002 # Any: as above
        self.made = (self.made + 1) % 4
        return self.make(self.made)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda n: [n], "an initial state: it is a list, which can change: use a tuple"),
        (lambda n: {"n": n}, "it is a dict, which can change: use spec.maps.FMap or a tuple of pairs"),
        (lambda n: (n, {n}), "it[1] is a set, which can change: use a frozenset"),
        (lambda n: Frozen((1, [n])), "it.value[1] is a list, which can change: use a tuple"),
        (Thawed, "it is a Thawed, a Struct that can change: declare it frozen=True"),
        (ThawedData, "it is a ThawedData, a dataclass that can change: declare it frozen=True"),
        (lambda n: frozenset([Plain(n)]), "an element of it is a Plain, of which no two are equal"),
        (lambda n: n if n < 1 else bytearray(b"x"), "the last state: it is a bytearray, which can change: use bytes"),
    ],
)
def test_states_that_can_change_are_refused_by_name(make: Callable[[int], object], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        explore(Own(make))
    assert said in str(caught.value)


def test_a_step_that_is_not_deterministic_is_named_with_what_it_gives() -> None:
    with pytest.raises(ModelError) as caught:
        explore(Own(lambda n: n))
    assert "it is not deterministic: asked twice, it gives go on → 1 and go on → 2" in str(caught.value)


def test_transitions_of_different_number_are_named() -> None:
    class Fickle(Own):
        def actions(self, state: Any) -> Iterable[Any]:  # noqa: ARG002 # Any: as above
            self.made += 1
            return ["go on"] * (self.made % 2)

        def step(self, state: Any, action: Any) -> Any:  # noqa: ARG002 # Any: as above
            return 0

    with pytest.raises(ModelError, match="asked twice, it gives 1 transitions and 0"):
        explore(Fickle(lambda n: n))


def test_a_step_that_changes_its_state_is_named() -> None:
    """Which can be done even to a frozen Struct, if it holds something of a kind that is not known here."""

    class Hidden(Struct, frozen=True):
        value: int

    class Changes(Own):
        def step(self, state: Any, action: Any) -> Any:  # noqa: ARG002 # Any: as above
            after = Hidden(state.value + 1)
            force_setattr(state, "value", state.value + 1)
            return after

    with pytest.raises(ModelError, match="it changed that state, which was Hidden"):
        explore(Changes(Hidden))


def test_an_action_that_is_none_is_named() -> None:
    class Silent(Own):
        def actions(self, state: Any) -> Iterable[Any]:  # noqa: ARG002 # Any: as above
            return [None]

        def step(self, state: Any, action: Any) -> Any:  # noqa: ARG002 # Any: as above
            return state

    with pytest.raises(ModelError, match="its action is None, which means the beginning"):
        explore(Silent(lambda n: n))


def test_a_mistake_is_told_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "mistaken.py"
    file.write_text(OWN.replace("return [0]", "return [[0]]"))
    code, out, err = run(check, f"{file}:Steps")
    assert (code, out) == (OUR_BUG, "")
    assert err.startswith("steps: the model is at fault, not the protocol: an initial state: it is a list")


def test_what_is_right_is_let_be() -> None:
    assert explore(TwoPhase(3)).verdict == "holds"
    for name in MODELS:
        look_closely(machine_of(name))
