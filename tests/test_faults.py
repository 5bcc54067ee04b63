"""Random faults on five processes under load: every acknowledged write is accounted for, every log is valid."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import randrange

import pytest
from hypothesis import settings

from checker.validate import examine, told
from impl.faults import Faults
from impl.wire import CallFaults
from spec.types import NodeId
from tests.chaos import Chaos, tell


def seed() -> int:
    """What chance begins with: the same in CI, where Hypothesis is told the same, and fresh everywhere else."""
    assert settings.default is not None
    return 1 if settings.default.derandomize else randrange(2**32)


def survive(directory: Path, seconds: float, orders: int, *, sloppy: bool) -> Chaos:
    """A run, validated; if anything is wrong, where its logs are."""
    chaos: Chaos | None = None

    async def main() -> None:
        nonlocal chaos
        chaos = Chaos(directory, seed(), sloppy=sloppy)
        await chaos.run(seconds)

    try:
        asyncio.run(main())
        assert chaos is not None
        print(tell(chaos.done))
        report = examine(chaos.logs, orders=orders)
        print(told(chaos.logs, report))
        assert report.problem is None, told(chaos.logs, report)
        assert report.refined is not None
        assert report.refined.steps + report.refined.not_judged == report.steps
        assert report.refined.steps > report.refined.not_judged
    except BaseException as failure:
        if chaos is not None and not list(chaos.logs.glob("a.ndjson")):
            chaos.cluster.export(chaos.logs)
        failure.add_note(f"the logs of this run: {directory / 'logs'} (ringspec validate {directory / 'logs'})")
        raise
    return chaos


@pytest.mark.parametrize("sloppy", [False, True])
def test_six_seconds_of_chaos(tmp_path: Path, sloppy: bool) -> None:
    chaos = survive(tmp_path, 6, 0, sloppy=sloppy)
    assert chaos.done["acknowledged"] > 10


@pytest.mark.deep
@pytest.mark.timeout(1_200)  # most of it is spent on the account and on validating what two minutes logged
@pytest.mark.parametrize("sloppy", [False, True])
def test_two_minutes_of_chaos(tmp_path: Path, sloppy: bool) -> None:
    chaos = survive(tmp_path, 120, 1, sloppy=sloppy)
    assert all(chaos.done[kind] for kind in ("kill", "freeze", "cut", "cut one way", "disturb", "wipe", "restore"))
    assert chaos.done["acknowledged"] > 1_000


def test_a_cut_in_one_direction_loses_what_is_sent_and_lets_in_what_arrives() -> None:
    faults, b, c = Faults(), NodeId("b"), NodeId("c")

    def seen() -> tuple[bool, int, int, bool, bool]:
        return faults.active, len(faults.delays(b)), len(faults.delays(c)), faults.lets_in(b), faults.lets_out(b)

    assert seen() == (False, 1, 1, True, True)
    faults.become(CallFaults(0, mute=(b,)))
    assert seen() == (True, 0, 1, True, False)
    faults.become(CallFaults(0, cut=(b,)))
    assert seen() == (True, 0, 1, False, False)
    faults.become(CallFaults(0))
    assert seen() == (False, 1, 1, True, True)
