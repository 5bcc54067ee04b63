"""The checker's half of the command line: check, bugs, simulate, swarm, liveness, replay, validate, history, prove.

Each command only reads its options and calls a plain function that gives the exit status. `impl.cli`, the composition
root, adds them to `ringspec`.

    0 holds · 1 violated, or not proved · 2 usage · 3 incomplete: a bound or the time was reached · 4 our bug
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from checker.bugs.bug import Bug
    from checker.check import Registry
    from checker.outcome import Bounds, Order


def models(*only: str) -> Registry:
    """The named models, as the checker wants them, with all their claims or only these."""
    from functools import partial

    from checker.eventually import RUNS
    from checker.models import MODELS, machine_of

    def about(name: str) -> str:
        model = MODELS[name]
        must_fail = f" (must fail: {model.must_fail})" if model.must_fail else ""
        return model.about + must_fail + (" (with --reduce)" if model.too_large else "")

    return {**{name: (about(name), partial(machine_of, name, only)) for name in MODELS}, **RUNS}


def put_back(bug: str) -> Bug:
    """Put a bug of the museum back into the specification, of which nothing was imported yet. Refuses (UsageError)."""
    from checker.bugs import museum
    from checker.bugs.edits import EditError

    try:
        return museum.put_back(bug)
    except (museum.UnknownBug, EditError) as error:
        raise click.UsageError(str(error)) from None


def named(model: str | None, registry: Registry, list_only: bool) -> str:
    """The model that was named. Exits after listing them, if that is what was asked; refuses no name (UsageError)."""
    from checker.check import list_models

    if list_only:
        raise SystemExit(list_models(registry))
    if model is None:
        raise click.UsageError("name a model, or --list them")
    return model


def bug_option(command: Callable[..., None]) -> Callable[..., None]:
    """The option --bug."""
    return click.option("--bug", metavar="NAME", help="Put back this bug of the museum: see `ringspec bugs`.")(command)


def bounds_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options --max-states, --max-depth, --max-seconds and --max-memory."""
    command = click.option("--max-memory", type=int, metavar="MIB", help="Stop when the process holds so much.")(
        command
    )
    command = click.option("--max-seconds", type=float, help="Stop after so long.")(command)
    command = click.option("--max-depth", type=int, help="Look no further than so many steps.")(command)
    return click.option("--max-states", type=int, help="Stop after so many distinct states.")(command)


def bounds_of(states: int | None, depth: int | None, seconds: float | None, memory_mib: int | None) -> Bounds:
    """What those options bound."""
    from checker.outcome import Bounds

    return Bounds(states, depth, seconds, None if memory_mib is None else memory_mib << 20)


@click.command()
@click.argument("model", required=False)
@click.option("--list", "list_only", is_flag=True, help="List the models.")
@bounds_options
@click.option(
    "--order",
    type=click.Choice(["breadth", "depth", "deepening"]),
    default="breadth",
    show_default=True,
    help="Of the search; all but depth find shortest counterexamples.",
)
@click.option("--fingerprints", is_flag=True, help="Keep 128 bits of each state, not the states: less memory, slower.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep there what was found so far: now and then, and when the search is cut short, by Ctrl-C too.",
)
@click.option("--checkpoint-seconds", type=float, default=600.0, show_default=True, help="How often, at most.")
@click.option(
    "--resume", is_flag=True, help="Go on from the checkpoint. Only from one that you wrote: it can run code."
)
@click.option("--coverage", is_flag=True, help="Say which branches were never taken; takes several times as long.")
@click.option("--reduce", is_flag=True, help="Search what stands for the states: fewer, and the same verdict.")
@click.option("--audit", is_flag=True, help="Try what the model claims of itself, so that it may be reduced.")
@click.option("--interactive", is_flag=True, help="Choose yourself what happens next.")
@bug_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a counterexample there: as a Mermaid diagram if it is called .mmd, else as ITF.",
)
@click.option(
    "--graph",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the graph of the first 5,000 states, or --max-states, there: .graphml, or DOT.",
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@click.option("--one-line", is_flag=True, help="Tell a violation in one line.")
@click.option("--progress/--no-progress", default=None, help="Say how far it is. [if standard error is a terminal]")
def check(
    model: str | None,
    list_only: bool,
    max_states: int | None,
    max_depth: int | None,
    max_seconds: float | None,
    max_memory: int | None,
    order: Order,
    fingerprints: bool,
    checkpoint: Path | None,
    checkpoint_seconds: float,
    resume: bool,
    coverage: bool,
    reduce: bool,
    audit: bool,
    interactive: bool,
    bug: str | None,
    out: Path | None,
    graph: Path | None,
    as_json: bool,
    one_line: bool,
    progress: bool | None,
) -> None:
    """Explore every interleaving of MODEL; `--list` names the models. A bug has its own, unless you say."""
    only: tuple[str, ...] = ()
    if bug is not None:
        back = put_back(bug)
        model, only = (back.model, back.noticed_by[:1]) if model is None else (model, ())

    from checker.check import check
    from checker.outcome import How

    registry = models(*only)
    model = named(model, registry, list_only)
    if interactive:
        from checker.interactive import interact

        raise SystemExit(interact(registry, model, out=out))
    if audit:
        from checker.audit_report import audit as run_audit

        raise SystemExit(run_audit(registry, model, max_states, json=as_json))
    bounds = bounds_of(max_states, max_depth, max_seconds, max_memory)
    how = How(order, fingerprints, checkpoint, checkpoint_seconds, resume, reduce)
    code = check(
        registry,
        model,
        bounds,
        how=how,
        json=as_json,
        out=out,
        graph=graph,
        progress=progress,
        one_line=one_line,
        coverage=coverage,
    )
    raise SystemExit(code)


@click.command()
@click.argument("name", required=False)
def bugs(name: str | None) -> None:
    """List the museum of bugs that such stores really had, or show the one of this NAME and find it."""
    from checker.bugs.museum import directory, plaque

    if name is None:
        click.echo(directory())
        return
    bug = put_back(name)
    click.echo(plaque(bug) + "\n")

    from checker.check import VIOLATED, check

    status = check(models(bug.noticed_by[0]), bug.model)
    raise SystemExit(0 if status == VIOLATED else status or VIOLATED)


@click.command()
@click.argument("model", required=False)
@click.option("--list", "list_only", is_flag=True, help="List the models.")
@click.option("--seed", type=int, help="Take the walks of this seed. [by chance]")
@click.option("--runs", type=int, default=1_000, show_default=True, help="So many walks.")
@click.option("--steps", type=int, default=200, show_default=True, help="Of at most so many steps.")
@click.option("--keep-going", is_flag=True, help="Do not stop at the first walk that fails.")
@click.option("--workers", type=int, default=1, show_default=True, help="In so many processes; the result is the same.")
@click.option("--max-seconds", type=float, help="Stop after so long.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Write walks that fail there, as ITF.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@click.option("--progress/--no-progress", default=None, help="Say how far it is. [if standard error is a terminal]")
def simulate(
    model: str | None,
    list_only: bool,
    seed: int | None,
    runs: int,
    steps: int,
    keep_going: bool,
    workers: int,
    max_seconds: float | None,
    out: Path | None,
    as_json: bool,
    progress: bool | None,
) -> None:
    """Walk over MODEL at random, and shrink the walks that fail; `--list` names the models."""
    import secrets

    from checker.simulate import Plan
    from checker.simulate_report import run_simulation

    model = named(model, models(), list_only)
    chosen = secrets.randbelow(2**32) if seed is None else seed
    plan = Plan(chosen, runs, steps, keep_going, workers, max_seconds)
    raise SystemExit(run_simulation(models(), model, plan, json=as_json, out=out, progress=progress))


@click.command()
@click.argument("model", required=False)
@click.option("--list", "list_only", is_flag=True, help="List the models that claim something of whole runs.")
@bounds_options
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.itf.json", help="Write a run that fails there.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def liveness(
    model: str | None,
    list_only: bool,
    max_states: int | None,
    max_depth: int | None,
    max_seconds: float | None,
    max_memory: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge what has to happen in the end in every fair run of MODEL; `--list` names the models."""
    from checker.eventually import RUNS
    from checker.liveness_report import liveness

    model = named(model, RUNS, list_only)
    bounds = bounds_of(max_states, max_depth, max_seconds, max_memory)
    raise SystemExit(liveness(RUNS, model, bounds, json=as_json, out=out))


@click.command()
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@bounds_options
@click.option("--seeds", type=int, default=0, help="Walk over each model with so many seeds. [search it]")
@click.option("--seed", type=int, default=0, show_default=True, help="The first of these seeds.")
@click.option("--runs", type=int, default=1_000, show_default=True, help="So many walks for each seed.")
@click.option("--steps", type=int, default=200, show_default=True, help="Of at most so many steps.")
@click.option("--workers", type=int, default=2, show_default=True, help="In so many processes of this machine.")
@click.option("--ray", metavar="ADDRESS", help="On a Ray cluster instead; `local` starts one, on loopback alone.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON, a line for each job.")
def swarm(
    names: tuple[str, ...],
    max_states: int | None,
    max_depth: int | None,
    max_seconds: float | None,
    max_memory: int | None,
    seeds: int,
    seed: int,
    runs: int,
    steps: int,
    workers: int,
    ray: str | None,
    as_json: bool,
) -> None:
    """Check many MODELs at once, or walk over them with many seeds; a worker that is lost costs only its own job."""
    from checker.simulate import Plan
    from checker.swarm import Job, swarm

    bounds = bounds_of(max_states, max_depth, max_seconds, max_memory)
    jobs = [Job(name, bounds) for name in names]
    if seeds:
        plans = [Plan(seed + i, runs, steps, seconds=max_seconds) for i in range(seeds)]
        jobs = [Job(name, plan=plan) for name in names for plan in plans]
    raise SystemExit(swarm(models, jobs, workers=workers, ray=ray, as_json=as_json))


@click.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--step", is_flag=True, help="Go step by step, forwards and back.")
@click.option("--key", metavar="KEY", help="Of a recorded run: only what concerns this key.")
@click.option("--live", is_flag=True, help="Of a recorded run: logs of nodes may end without being closed.")
def replay(trace: Path, step: bool, key: str | None, live: bool) -> None:
    """Take a TRACE again: the path of an ITF file on its model, or the steps of a recorded run, a directory of logs."""
    import os

    from checker.bugs.museum import bug_in

    if bug := bug_in(trace):
        put_back(bug)

    from checker.playback import play_back
    from checker.replay import replay
    from spec.types import Key

    if os.path.isdir(trace):  # no for what cannot be looked at: it is refused where it is read
        only = None if key is None else Key(os.fsencode(key))
        raise SystemExit(play_back(trace, key=only, step=step, live=live))
    raise SystemExit(replay(models(), trace, step=step))


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@click.option(
    "--live", is_flag=True, help="Logs may end without being closed: the nodes still run, or were not stopped."
)
@click.option(
    "--orders", type=click.IntRange(0), default=2, show_default=True, help="Random orders to judge besides one."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random orders.")
@click.option("--refine/--no-refine", default=True, help="Check that every step is one of the abstract protocol.")
def validate(run: Path, as_json: bool, live: bool, orders: int, seed: int, refine: bool) -> None:
    """Decide every step of a recorded RUN, a directory of logs, again, and judge the properties along it."""
    from checker.validate import validate

    status = validate(run, json=as_json, live=live, orders=orders, seed=seed, refine=refine, say=click.echo)
    raise SystemExit(status)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--linearizable", is_flag=True, help="Also whether each key behaved as one register, as none need do.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def history(run: Path, linearizable: bool, as_json: bool) -> None:
    """Judge what clients were told: by their logs in the directory RUN, or in a trace of a model of the store."""
    from checker.history_report import history

    raise SystemExit(history(models(), run, linearizable=linearizable, json=as_json))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--seeds", type=int, default=1, show_default=True, help="Prove everything so many times over.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON, a document per seed.")
@bug_option
def prove(names: tuple[str, ...], seeds: int, as_json: bool, bug: str | None) -> None:
    """Prove the laws of the kernel and the invariants of the protocol from their source; or only NAMES."""
    import sys

    if bug is not None:
        put_back(bug)

    from checker.prove.prove import prove

    raise SystemExit(prove(names, seeds, as_json, sys.stdout))
