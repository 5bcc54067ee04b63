"""The golden scenarios give what they must, on the specification and on real nodes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.scenarios import Nodes, Play, Spec, parse, render, rewrite, run

SCENARIOS = sorted((Path(__file__).resolve().parent.parent / "traces" / "scenarios").glob("*.txt"))
every_scenario = pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: str(file.stem))


@every_scenario
def test_on_the_specification(file: Path) -> None:
    steps = parse(file.read_text())
    assert render(asyncio.run(run(steps, Spec()))) == render(steps)


@every_scenario
def test_on_real_nodes(file: Path, tmp_path: Path) -> None:
    async def main() -> str:
        async with AsyncExitStack() as stack:
            return render(await run(steps, Nodes(tmp_path, stack)))

    steps = parse(file.read_text())
    assert asyncio.run(main()) == render(steps)


@every_scenario
def test_a_scenario_is_written_as_it_would_be_rewritten(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_text(file.read_text())
    rewrite(copy)
    assert copy.read_text() == file.read_text()


def test_the_textbook_cases_are_there() -> None:
    """Of design documents and papers: their clocks, as they print them."""
    texts = {file.stem: file.read_text() for file in SCENARIOS}
    assert "2  [A:2]\n3  [A:1, B:1]\n" in texts["concurrent-writes"]
    for clock in ("D1  [Sx:1]", "D2  [Sx:2]", "D3  [Sx:2, Sy:1]", "D4  [Sx:2, Sz:1]", "D5  [Sx:3, Sy:1, Sz:1]"):
        assert clock in texts["dynamo-figure-3"]


def test_a_difference_is_seen() -> None:
    steps = parse((SCENARIOS[0]).read_text())
    wrong = [step._replace(gives="something else") for step in steps]
    assert render(asyncio.run(run(wrong, Spec()))) == render(steps)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("heal\n", "line 1: a line of ---- has to follow `heal`"),
        ("\n# a\nheal\nok\n", "line 3: a line of ---- has to follow `heal`"),
        ("heal\n----\nok\n\n# the end\n", "line 5: nothing comes after this remark"),
    ],
)
def test_another_form_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(text)


@pytest.mark.parametrize("command", ["dance", "put D x=1", "put A x", "get D x", "cluster A B C"])
def test_a_command_that_there_is_not_is_refused(command: str) -> None:
    async def main() -> None:
        play = Play(Spec())
        await play.do("cluster A B C")
        await play.do(command)

    with pytest.raises(ValueError, match=f"there is no command `{command}` here"):
        asyncio.run(main())
