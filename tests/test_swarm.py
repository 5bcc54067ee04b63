"""Many jobs at once: they say what they say alone, and a lost worker costs its own job only."""

import io
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from checker.check import HOLDS, INCOMPLETE, OUR_BUG, USAGE, VIOLATED, Registry, Streams, check
from checker.outcome import Bounds
from checker.simulate import Plan
from checker.swarm import MOST_TRIES, Job, do, on_ray, on_this_machine, swarm, told
from tests.machines.die_hard import DieHard, Jugs
from tests.machines.two_phase import TwoPhase

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")
KILLS = "RINGSPEC_TEST_KILLS"  # a folder: for each file in it, one worker dies


class Deadly(DieHard):
    """Kills the process that explores it, as often as there are files in a folder."""

    def is_final(self, state: Jugs) -> bool:
        return super().is_final(state)

    def initial(self) -> list[Jugs]:
        for file in Path(os.environ[KILLS]).iterdir():
            file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().initial()


def registry() -> Registry:
    return {
        "die-hard": ("", DieHard),
        "die-hard-solved": ("", lambda: DieHard(claim_unsolvable=True)),
        "two-phase-3": ("", lambda: TwoPhase(3)),
        "deadly": ("", Deadly),
    }


@contextmanager
def deaths(number: int) -> Iterator[None]:
    """So many workers will die."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(number):
            (Path(folder) / str(i)).touch()
        os.environ[KILLS] = folder
        try:
            yield
        finally:
            del os.environ[KILLS]


JOBS = [
    Job("die-hard"),
    Job("die-hard-solved"),
    Job("two-phase-3", Bounds(states=100)),
    Job("two-phase-3", plan=Plan(seed=5, runs=40)),
    Job("die-hard-solved", plan=Plan(seed=5, runs=400)),
]
CODES = {str(job): code for job, code in zip(JOBS, (HOLDS, VIOLATED, INCOMPLETE, HOLDS, VIOLATED), strict=True)}


def run(jobs: list[Job], **options: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = swarm(registry, jobs, streams=Streams(io.StringIO(), out, err), **options)  # type: ignore[arg-type]  # options
    return code, out.getvalue(), err.getvalue()


def test_each_job_says_what_it_says_alone() -> None:
    code, out, err = run(JOBS, workers=2)
    assert (code, err) == (VIOLATED, "")
    assert sorted(line.partition(";")[0] for line in out.splitlines()) == [
        "die-hard, all of it: holds",
        "die-hard-solved, all of it: violated",
        "die-hard-solved, seed 5: violated",
        "two-phase-3, all of it: incomplete: bound of 100 states reached",
        "two-phase-3, seed 5: not violated so far",
    ]
    assert "; unsolvable: the big jug holds 4 gallons" in out
    assert {str(done.job): done.code for done in (do(registry, job) for job in JOBS)} == CODES


def test_json_is_a_line_for_each_job() -> None:
    code, out, _ = run(JOBS[:2], as_json=True)
    assert code == VIOLATED
    assert {json.loads(line)["machine"] for line in out.splitlines()} == {"die-hard", "die-hard-solved"}


def test_a_lost_worker_costs_its_own_job_only() -> None:
    with deaths(1):
        done = list(on_this_machine(registry, [*JOBS, Job("deadly")], 2))
    assert {str(one.job): one.code for one in done} == {**CODES, "deadly, all of it": HOLDS}
    assert len(done) == len(JOBS) + 1


def test_who_kills_every_worker_is_given_up() -> None:
    with deaths(MOST_TRIES):
        code, out, _ = run([*JOBS[:1], Job("deadly")])
    assert code == OUR_BUG
    assert f"deadly, all of it: given up: its worker was lost {MOST_TRIES} times" in out
    assert "die-hard, all of it: holds" in out


def test_what_cannot_be_done_is_refused_at_once() -> None:
    assert run([Job("die-hart")])[0] == USAGE
    assert run(JOBS, workers=0) == (USAGE, "", "0 workers are none: give at least 1\n")


def test_a_complaint_is_told() -> None:
    done = do(registry, Job("die-hard", Bounds(states=0)))
    assert told(done).startswith("die-hard, all of it: a search of at most 0 states finds nothing")
    assert check(registry(), "die-hard", json=True, streams=Streams(io.StringIO(), io.StringIO(), io.StringIO())) == 0


def listening() -> set[tuple[str, str]]:
    """Address and port, in hexadecimal, of every socket that listens."""
    lines = [line.split() for file in ("tcp", "tcp6") for line in Path("/proc/net", file).read_text().splitlines()[1:]]
    return {(address, port) for line in lines if line[3] == "0A" for address, _, port in [line[1].partition(":")]}


def is_loopback(address: str) -> bool:
    """127.0.0.1, also as IPv6 shows it, or ::1."""
    return address.endswith("0100007F") or address == "0" * 24 + "01000000"


@needs_ray
@pytest.mark.deep
@pytest.mark.timeout(600)
def test_ray_listens_to_this_machine_alone() -> None:
    before, during = listening(), set[tuple[str, str]]()
    for _ in on_ray(registry, JOBS[:1], "local"):
        during |= listening()
    assert len(during - before) >= 3, "Ray does listen"
    assert [address for address, _ in during - before if not is_loopback(address)] == []


@needs_ray
@pytest.mark.deep
@pytest.mark.timeout(600)
def test_on_ray_it_is_the_same() -> None:
    with deaths(1):
        done = list(on_ray(registry, [*JOBS, Job("deadly")], "local"))
    assert {str(one.job): one.code for one in done} == {**CODES, "deadly, all of it": HOLDS}
    with deaths(MOST_TRIES):
        (lost,) = on_ray(registry, [Job("deadly")], "local")
    assert (lost.code, lost.report) == (OUR_BUG, "")


@needs_ray
@pytest.mark.deep
def test_no_cluster_no_swarm() -> None:
    code, out, err = run(JOBS[:1], ray="127.0.0.1:1")
    assert (code, out) == (USAGE, "")
    assert err.startswith("no Ray cluster at 127.0.0.1:1")
