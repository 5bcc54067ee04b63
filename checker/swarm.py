"""Many checks and simulations at once, on the cores of this machine or on a Ray cluster: `ringspec swarm`.

A job is one model to check, or one seed to simulate it with; it is done by the same functions as `ringspec check` and
`ringspec simulate`, and reports what they report as JSON. Jobs know nothing of each other. A worker that is lost takes
the job with it that it was doing, and nothing else: that job is begun anew, by another worker. A job that loses its
worker again and again is given up, and told so, for it may be what kills it.

Workers are processes of this machine unless a Ray cluster is named (the extra `ray`). `local` starts one for this run,
which listens on the loopback interface alone; any other address is that of a cluster that runs already, each of whose
machines needs the same version of ringspec.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from msgspec import Struct

from checker.check import HOLDS, INCOMPLETE, OUR_BUG, USAGE, VIOLATED, Registry, Streams, UsageError, check, machine_of
from checker.outcome import Bounds
from checker.simulate import Plan
from checker.simulate_report import run_simulation

MOST_TRIES = 3
LOCAL = "local"
CLUSTER_OF_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""What Ray calls the question whether to listen on all interfaces, whatever the system."""
SECONDS_TO_CONNECT = 5.0
WORST_FIRST = (OUR_BUG, USAGE, VIOLATED, INCOMPLETE, HOLDS)


class Job(Struct, frozen=True):
    """A model, and how to check it, or how to walk over it."""

    model: str
    bounds: Bounds | None = None
    plan: Plan | None = None

    def __str__(self) -> str:
        return f"{self.model}, seed {self.plan.seed}" if self.plan is not None else f"{self.model}, all of it"


class Done(Struct, frozen=True):
    """A job's exit code and its report, empty if there is none; `said` is what it complained of."""

    job: Job
    code: int
    report: str
    said: str


Registries = Callable[[], Registry]
"""Gives the models; a function that other processes find by its name."""


def do(registries: Registries, job: Job) -> Done:
    """Do a job, in whatever process."""
    out, err = io.StringIO(), io.StringIO()
    streams = Streams(io.StringIO(), out, err)
    if job.plan is not None:
        code = run_simulation(registries(), job.model, job.plan, json=True, streams=streams)
    else:
        code = check(registries(), job.model, job.bounds, json=True, progress=False, streams=streams)
    return Done(job, code, out.getvalue(), err.getvalue().strip())


def given_up(job: Job) -> Done:
    """A job that nobody survives."""
    return Done(job, OUR_BUG, "", f"given up: its worker was lost {MOST_TRIES} times")


def on_this_machine(registries: Registries, jobs: Sequence[Job], workers: int) -> Iterator[Done]:
    """Do the jobs in so many processes, and give each as it is done.

    Where a worker is lost, its pool is, and nobody knows which job it had: what was not done is done again, each alone.
    """
    lost: list[Job] = []
    yield from _in_pool(registries, jobs, workers, lost)
    for _ in range(MOST_TRIES - 1):
        again, lost = lost, []
        for job in again:
            yield from _in_pool(registries, [job], 1, lost)
    yield from map(given_up, lost)


def _in_pool(registries: Registries, jobs: Sequence[Job], workers: int, lost: list[Job]) -> Iterator[Done]:
    """Those jobs that are done; the others are added to the lost ones."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        doing: dict[Future[Done], Job] = {pool.submit(do, registries, job): job for job in jobs}
        for future in as_completed(doing):
            try:
                yield future.result()
            except BrokenProcessPool:
                lost.append(doing[future])


def on_ray(registries: Registries, jobs: Sequence[Job], address: str) -> Iterator[Done]:
    """Do the jobs on a Ray cluster, and give each as it is done. Raises UsageError if there is none."""
    if address == LOCAL:
        os.environ[CLUSTER_OF_MACHINES] = "0"  # read when Ray is imported
    try:
        import ray
    except ImportError:
        raise UsageError("Ray is not installed: pip install 'ringspec[ray]'") from None
    refuse_unreachable(address)
    try:
        if address == LOCAL:
            ray.init(address=LOCAL, _node_ip_address="127.0.0.1", include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise UsageError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}") from None
    try:
        task = ray.remote(max_retries=MOST_TRIES - 1)(do)
        waiting: dict[Any, Job] = {task.remote(registries, job): job for job in jobs}  # Any: Ray's own
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(ready)
            try:
                done: Done = ray.get(ready)
                yield done
            except ray.exceptions.WorkerCrashedError:
                yield given_up(job)
    finally:
        ray.shutdown()


def refuse_unreachable(address: str) -> None:
    """Ray waits for minutes where nobody listens. Raises UsageError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.rpartition("/")[2], int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray cluster at {address}: {getattr(error, 'strerror', None) or error}") from None


def swarm(
    registries: Registries,
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    ray: str | None = None,
    as_json: bool = False,
    streams: Streams | None = None,
) -> int:
    """Do all jobs and tell each as it is done; the answer is the worst exit code."""
    streams = streams or Streams.standard()
    worst = HOLDS
    try:
        if workers < 1:
            raise UsageError(f"{workers} workers are none: give at least 1")
        for name in dict.fromkeys(job.model for job in jobs):
            machine_of(registries(), name)
        done_jobs = on_this_machine(registries, jobs, workers) if ray is None else on_ray(registries, jobs, ray)
        for done in done_jobs:
            worst = min(worst, done.code, key=WORST_FIRST.index)
            print(done.report.replace("\n", "") if as_json and done.report else told(done), file=streams.stdout)
    except UsageError as error:
        streams.complain(error)
        return USAGE
    return worst


def told(done: Done) -> str:
    """A job in one line."""
    if not done.report:
        return f"{done.job}: {' '.join(done.said.split()) or 'nothing was said'}"
    report = json.loads(done.report)
    figures = f"{report['states']:,} states, {report['seconds']:.1f} s"
    verdict = report["verdict"] + (f": {report['stopped']}" if report["stopped"] else "")
    failed = [report["violation"]] if report.get("violation") else report.get("failures", [])
    return f"{done.job}: {verdict}; {figures}" + "".join(f"; {one['property']}: {one['clause']}" for one in failed)
