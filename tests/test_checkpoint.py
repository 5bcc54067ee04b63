"""A search that was cut short and resumed gives what an unbroken one gives."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checker import checkpoint
from checker.check import USAGE, AnyMachine, check
from checker.checkpoint import CheckpointError, Head, search
from checker.explore import Search
from checker.machine import Always
from checker.outcome import Bounds, How, Result
from tests.machines.die_hard import DieHard
from tests.machines.graph import Grid, Node
from tests.machines.two_phase import TwoPhase
from tests.test_check import run

WAYS = [How(order, fingerprints) for order in ("breadth", "depth", "deepening") for fingerprints in (False, True)]


# Any, below: machines of several types.


def known(result: Result[Any, Any]) -> Result[Any, Any]:
    return replace(result, seconds=0.0)


def in_pieces(machine: AnyMachine, how: How, file: Path, piece: int) -> tuple[Result[Any, Any], int]:
    """Search so many states more each time; the last result, and how often it was resumed."""
    how = replace(how, checkpoint=file)
    result, times, states = search(machine, how, Bounds(states=piece)), 0, piece
    while result.verdict == "incomplete":
        times, states = times + 1, states + piece
        result = search(machine, replace(how, resume=True), Bounds(states=states))
    return result, times


@pytest.mark.parametrize("how", WAYS, ids=lambda how: how.order + "-fingerprints" * how.fingerprints)
@pytest.mark.parametrize(
    "machine", [TwoPhase(3), Grid(30, 20), Grid(30, 20, forbidden=377), DieHard(True)], ids=lambda machine: machine.name
)
def test_in_pieces_it_is_what_it_is_in_one(tmp_path: Path, machine: AnyMachine, how: How) -> None:
    result, times = in_pieces(machine, how, tmp_path / "checkpoint", 57)
    assert known(result) == known(search(machine, how))
    assert times >= (0 if isinstance(machine, DieHard) else 4)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(5, 80), st.integers(0, 143), st.sampled_from(WAYS))
def test_any_grid_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, columns: int, rows: int, piece: int, forbidden: int, how: How
) -> None:
    machine = Grid(columns, rows, forbidden)
    result, _ = in_pieces(machine, how, tmp_path_factory.mktemp("grid") / "checkpoint", piece)
    assert known(result) == known(search(machine, how))


class Interrupts(Grid):
    """Somebody presses Ctrl-C at each of these nodes, once."""

    def __init__(self, *at: int) -> None:
        super().__init__(40, 30)
        self.at = set(at)
        self.properties = (Always("pressed", self.press),)

    def press(self, node: Node) -> str | None:
        if node.id in self.at:
            self.at.remove(node.id)
            os.kill(os.getpid(), signal.SIGINT)
        return None


@pytest.mark.parametrize("how", WAYS, ids=lambda how: how.order + "-fingerprints" * how.fingerprints)
def test_ctrl_c_stops_between_two_states(tmp_path: Path, how: How) -> None:
    how = replace(how, checkpoint=tmp_path / "checkpoint")
    machine = Interrupts(100, 600)
    for _ in range(2):
        result = search(machine, how)
        assert (result.verdict, result.stopped) == ("incomplete", "interrupted")
        how = replace(how, resume=True)
    assert known(search(machine, how)) == known(search(Interrupts(), replace(how, checkpoint=None, resume=False)))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    class Impatient(Interrupts):
        def press(self, node: Node) -> str | None:
            if node.id == 100:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            return None

    file = tmp_path / "checkpoint"
    result = search(Impatient(), How(checkpoint=file))
    assert (result.verdict, result.stopped) == ("incomplete", "interrupted")
    assert not file.exists(), "what it held was half done"


def test_checkpoints_are_written_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a search that is killed goes on from the last one."""
    file, whole = tmp_path / "checkpoint", search(TwoPhase(3))
    sizes = []
    written = checkpoint.save
    monkeypatch.setattr(checkpoint, "SHARE", 0)

    def measured(begun: Search[Any, Any], head: Head, path: Path) -> None:
        written(begun, head, path)
        sizes.append(path.stat().st_size)

    monkeypatch.setattr(checkpoint, "save", measured)
    how = How(checkpoint=file, checkpoint_seconds=1e-9)
    assert known(search(TwoPhase(3), how)) == known(whole)
    assert len(sizes) == -(-whole.states // 16)
    assert sizes == sorted(sizes)
    assert known(search(TwoPhase(3), replace(how, resume=True))) == known(whole)


# What cannot be gone on with.


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    file = tmp_path / "checkpoint"
    assert search(TwoPhase(3), How(checkpoint=file), Bounds(states=100)).verdict == "incomplete"
    return file


def test_another_search_is_refused(begun: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a checkpoint of two-phase-3 .*, not of two-phase-4"):
        search(TwoPhase(4), How(checkpoint=begun, resume=True))
    with pytest.raises(CheckpointError, match="a search in the order breadth: go on in the same way"):
        search(TwoPhase(3), How("depth", checkpoint=begun, resume=True))
    with pytest.raises(CheckpointError, match="go on in the same way"):
        search(TwoPhase(3), How(fingerprints=True, checkpoint=begun, resume=True))


def test_changed_source_is_refused(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "source_of", lambda _: "changed")
    with pytest.raises(CheckpointError, match="whose source has changed since"):
        search(TwoPhase(3), How(checkpoint=begun, resume=True))


def test_what_is_no_whole_checkpoint_is_refused(begun: Path) -> None:
    whole = begun.read_bytes()
    for part in (b"", b"nonsense", whole[:40], whole[: len(whole) - 10], whole[: len(whole) // 2]):
        begun.write_bytes(part)
        with pytest.raises(CheckpointError, match="is no"):
            search(TwoPhase(3), How(checkpoint=begun, resume=True))


def test_states_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    class Local(Node, frozen=True):
        pass

    class Locals(Grid):
        def initial(self) -> list[Node]:
            return [Local(0)]

    with pytest.raises(CheckpointError, match="states of grid cannot be written"):
        search(Locals(30, 20), How(checkpoint=tmp_path / "checkpoint"), Bounds(states=100))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (How(resume=True), "resume from where? name the --checkpoint"),
        (How(checkpoint=Path("/nowhere/c"), resume=True), "there is no checkpoint /nowhere/c to resume from"),
        (How(checkpoint=Path("/nowhere/c")), "/nowhere/c cannot be written: there is no folder /nowhere"),
        (How(checkpoint=Path(__file__)), f"{__file__} is there already: --resume from it, or remove it"),
        (How(checkpoint=Path(__file__), resume=True), f"{__file__} is no whole checkpoint"),
        (How(checkpoint=Path("c"), checkpoint_seconds=0), "a checkpoint every 0 seconds leaves no time"),
    ],
)
def test_check_refuses_in_one_line(how: How, said: str) -> None:
    code, out, err = run(check, "two-phase-3", how=how)
    assert (code, out) == (USAGE, "")
    assert err.startswith(said)
    assert err.count("\n") == 1
