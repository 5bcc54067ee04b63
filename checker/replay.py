"""What `ringspec replay TRACE` does with a trace of a machine: take the path again, and tell it.

Every step is taken by the machine itself. It is asked for its initial states and transitions, and the recorded action
has to be among them and to lead to the recorded state; where several actions that are written alike lead on, the one
that leads to the recorded state is taken. Values are compared as they are written, so no types need be known. The
first place where machine and trace part is told as what was recorded against what the machine gives. If the trace
says that a property fails at its end, it has to fail there now.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from checker.check import HOLDS, OUR_BUG, USAGE, VIOLATED, AnyMachine, Registry, Streams, UsageError, machine_of
from checker.itf import About, Scanned, encode_action, encode_state, normal, scan
from checker.itf_values import ItfError, Json, text_of
from checker.machine import Always, ClaimsLiveness, Eventually, Transition
from checker.outcome import DEADLOCK, DEADLOCK_CLAUSE, Step
from checker.report import params_of
from checker.story import WIDTH, action_told, changes, tell_path, tell_step
from spec.text import paragraph


class Replayed(Struct, frozen=True):
    """How far the machine went along; `divergence` says, in lines, where it parted from the trace, if it did."""

    path: tuple[Step[object, object], ...]
    divergence: tuple[str, ...] = ()


def replay(registry: Registry, file: Path, *, step: bool = False, streams: Streams | None = None) -> int:
    """Replay a trace on the model that it names, and tell it, whole or step by step; the answer is the exit code.

    0: the machine takes this path, and what the trace says fails does fail. 1: it does not. 2: no such trace or model.
    """
    streams = streams or Streams.standard()
    try:
        scanned = read(file)
        machine = machine_for(registry, scanned)
    except (UsageError, ItfError) as error:
        streams.complain(f"{file}: {error}")
        return USAGE
    try:
        replayed = follow(machine, scanned)
        ending = outcome(machine, scanned, replayed)
    except Exception as error:
        streams.complain(f"{scanned.about.machine}: the model is at fault: {type(error).__name__}: {error}")
        return OUR_BUG
    if step:
        walk_through(machine, replayed.path, streams)
    else:
        print(tell_path(machine, replayed.path), end="\n\n" if replayed.path else "", file=streams.stdout)
    good = not replayed.divergence and ending.good
    print(paragraph(ending.lines), file=streams.stdout)
    return HOLDS if good else VIOLATED


class Ending(Struct, frozen=True):
    """What there is to say at the end, and whether the trace was right."""

    good: bool
    lines: tuple[str, ...]


def read(file: Path) -> Scanned:
    """The trace in a file. Raises UsageError or ItfError."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(error.strerror or str(error)) from None
    scanned = scan(data)
    if not scanned.steps:
        raise ItfError("this trace has no states")
    return scanned


def machine_for(registry: Registry, scanned: Scanned) -> AnyMachine:
    """The machine that the trace names. Raises UsageError if there is none or its parameters are others."""
    machine = machine_of(registry, scanned.about.machine)
    recorded, ours = scanned.about.params, params_of(machine)
    for name in sorted(recorded.keys() | ours.keys()):
        if recorded.get(name) != ours.get(name):
            raise UsageError(
                f"it was recorded with {name} = {recorded.get(name)}, the model {scanned.about.machine} "
                f"has {name} = {ours.get(name)}"
            )
    return machine


def follow(machine: AnyMachine, scanned: Scanned) -> Replayed:
    """Take the recorded path on the machine, as far as it goes."""
    path: list[Step[object, object]] = []
    for index, (action, variables) in enumerate(scanned.steps):
        wanted = normal_state(variables)
        if index == 0:
            possible = [Step[object, object](None, state) for state in machine.initial()]
        else:
            possible = [Step(a, after) for a, after in machine.transitions(path[-1].state)]
        fitting = [s for s in possible if index == 0 or normal(encode_action(s.action)) == normal(action)]
        if not fitting:
            return Replayed(tuple(path), tuple(_impossible(machine, index, action, possible)))
        found = next((s for s in fitting if normal_state(encode_state(s.state)) == wanted), None)
        if found is None:
            ours = normal_state(encode_state(fitting[0].state))
            return Replayed(tuple(path), tuple(_different(machine, index, fitting[0], wanted, ours)))
        path.append(found)
    return Replayed(tuple(path))


def normal_state(variables: dict[str, Json]) -> dict[str, Json]:
    """All variables of a state as we would write them."""
    return {name: normal(value) for name, value in variables.items()}


def outcome(machine: AnyMachine, scanned: Scanned, replayed: Replayed) -> Ending:
    """Whether the machine went all the way, and what was said to fail at the end fails."""
    about = scanned.about
    if replayed.divergence:
        return Ending(False, replayed.divergence)
    if scanned.loop is not None:
        return endless(machine, about, replayed.path, scanned.loop)
    if not about.property:
        return Ending(True, (f"the machine takes all {len(replayed.path) - 1} steps",))
    clause = failing(machine, about.property, replayed.path)
    if clause is None:
        return Ending(False, (f"the trace says that {about.property} fails at the end: here it holds",))
    if clause != about.clause:
        told = f"{about.property} fails, but otherwise than recorded"
        return Ending(False, (told, f"  recorded: {about.clause}", f"  now:      {clause}"))
    return Ending(True, (f"{about.property} fails: {clause}",))


def endless(machine: AnyMachine, about: About, path: tuple[Step[object, object], ...], loop: int) -> Ending:
    """Whether a run that comes back to the state at `loop` for ever is fair, and never does what the claim wants."""
    from checker.liveness import why_unfair  # networkx takes its time

    claims = list(machine.liveness) if isinstance(machine, ClaimsLiveness) else []
    claim = next((claim for claim in claims if claim.name == about.property), None)
    if claim is None or not isinstance(machine, ClaimsLiveness):
        return Ending(False, (f"{about.machine} claims no {about.property!r} of runs that go on for ever",))
    stays = loop == len(path) - 1
    if not stays and (loop == 0 or path[loop - 1].state != path[-1].state):
        return Ending(False, (f"the last state does not lead back to step {loop}",))
    if (unfair := why_unfair(machine, machine.fairness, path[-1:] if stays else path[loop - 1 :])) is not None:
        return Ending(False, (f"this run is not fair, so that it is none against {about.property}: {unfair}",))
    states = [step.state for step in path]
    if isinstance(claim, Eventually):
        fails = not any(map(claim.holds, states))
    else:
        fails = any(
            claim.cause(state) and not any(map(claim.effect, states[index:])) for index, state in enumerate(states)
        )
    if not fails:
        return Ending(False, (f"the trace says that {about.property} fails: of this run it holds",))
    there = "and there it stays" if stays else f"after the last step it goes on with step {loop}, for ever"
    return Ending(True, (there, "", f"{about.property} fails: {about.clause}"))


def failing(machine: AnyMachine, name: str, path: tuple[Step[object, object], ...]) -> str | None:
    """How the property `name` fails at the end of this path, or None if it holds there."""
    last = path[-1].state
    if name == DEADLOCK:
        stuck = not machine.is_final(last) and not any(True for _ in machine.transitions(last))
        return DEADLOCK_CLAUSE if stuck else None
    for p in machine.properties:
        if p.name == name and isinstance(p, Always):
            return p.violation(last)
        if p.name == name and isinstance(p, Transition) and len(path) > 1:
            return p.violation(path[-2].state, path[-1].action, last)
    return None


def walk_through(machine: AnyMachine, path: tuple[Step[object, object], ...], streams: Streams) -> None:
    """Tell one step of a path at a time, as the reader asks."""
    browse([tell_step(machine, path, index) for index in range(len(path))], streams)


def browse(told: Sequence[str], streams: Streams) -> None:
    """Show one at a time, forwards and back, as the reader asks; ends at the end of input or at `q`."""
    index = 0
    while told:
        print(told[index], file=streams.stdout)
        while True:
            print(f"[{index}/{len(told) - 1}] Enter on, b back, a number to go there, q quit: ",
                  end="", file=streams.stdout, flush=True)  # fmt: skip
            line = streams.stdin.readline()
            answer = line.strip()
            if not line or answer == "q" or (answer == "" and index == len(told) - 1):
                print(file=streams.stdout)
                return
            target = index + 1 if answer == "" else index - 1 if answer == "b" else _number(answer)
            if 0 <= target < len(told):
                index = target
                break
            print(f"there is no such step: they go from 0 to {len(told) - 1}", file=streams.stdout)


def _number(answer: str) -> int:
    return int(answer) if answer.isascii() and answer.isdigit() and len(answer) < 10 else -1


def _impossible(machine: AnyMachine, index: int, action: Json, possible: list[Step[object, object]]) -> Iterator[str]:
    """The recorded action is none of those that the machine has here."""
    yield f"step {index} differs: the machine does not have the recorded action here"
    lines = [f"  recorded: {text_of(action)}"]
    lines += [f"  possible: {action_told(machine, step.action)}" for step in possible] or ["  possible: nothing"]
    yield from (line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..." for line in lines)


def _different(
    machine: AnyMachine, index: int, step: Step[object, object], recorded: dict[str, Json], ours: dict[str, Json]
) -> Iterator[str]:
    """The recorded action leads elsewhere."""
    where = "the initial state" if index == 0 else f"step {index} ({action_told(machine, step.action)})"
    yield f"{where} differs: recorded → what the machine gives"
    for name in {**ours, **recorded}:
        for line in changes(recorded.get(name, "no such variable"), ours.get(name, "no such variable"), name):
            yield f"  {line}"
