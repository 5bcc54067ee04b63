"""What `ringspec check MODEL --interactive` does: the reader chooses what happens next.

In each state everything that may happen is listed, and the reader names one of it by its number, goes back, or has
chance choose. Every step and every state is judged, and what fails is said at once; one may go on all the same, as the
machine does not stop there. At the end the path is written as a trace, if a file is named. Answers come from standard
input, line by line, so that a walk can be repeated from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Generic

from checker.check import (
    HOLDS,
    OUR_BUG,
    USAGE,
    VIOLATED,
    Registry,
    Streams,
    UsageError,
    Writing,
    machine_of,
    validate,
)
from checker.itf import About, Trace, dump
from checker.machine import A, Always, Machine, S, Transition
from checker.outcome import DEADLOCK, DEADLOCK_CLAUSE, Bounds, ModelError, Step
from checker.report import model_error_text, params_of
from checker.story import action_told, show, tell_step
from checker.tally import said

PROMPT = "a number, Enter for any, b back, s the whole state, q quit: "


def interact(
    registry: Registry, name: str, *, out: Path | None = None, seed: int = 0, streams: Streams | None = None
) -> int:
    """Let the reader walk over the model `name`; the answer is the exit code: violated if the last state or step is."""
    streams = streams or Streams.standard()
    try:
        machine = machine_of(registry, name)
        validate(Bounds(), out)
    except UsageError as error:
        streams.complain(error)
        return USAGE
    walk = _Walk(machine, streams, Random(seed))
    try:
        walk.go()
        failed = walk.judge()
    except ModelError as error:
        print(model_error_text(machine, error), file=streams.stderr)
        return OUR_BUG
    status = VIOLATED if failed else HOLDS
    if out is not None and walk.path:
        property, clause = failed[0] if failed else ("", "")
        about = About(machine=name, params=params_of(machine), property=property, clause=clause)
        with Writing(out, f"{name}: the path", streams) as writing:
            out.write_bytes(dump(Trace(about, tuple(walk.path))))
        status = writing.failed or status
    return status


class _Walk(Generic[S, A]):
    """A path that grows as the reader says."""

    def __init__(self, machine: Machine[S, A], streams: Streams, chance: Random) -> None:
        self.machine, self.streams, self.chance = machine, streams, chance
        self.path: list[Step[S, A]] = []

    def go(self) -> None:
        """From an initial state until the reader has enough."""
        options = self.options()
        if len(options) == 1:
            self.take(options[0])
        while True:
            options = self.options()
            self.offer(options)
            answer = self.ask(len(options))
            if answer is None:
                return
            if answer == "b":
                if len(self.path) > 1:
                    self.path.pop()
                    self.tell()
                else:
                    self.say("this is the start")
            elif answer == "s":
                self.say(show(self.path[-1].state) if self.path else "no state was chosen yet")
            elif options:
                self.take(options[int(answer) - 1 if answer else self.chance.randrange(len(options))])

    def options(self) -> list[Step[S, A]]:
        """What may happen here. Raises ModelError."""
        doing = "a step from the last state" if self.path else "the initial states"
        try:
            if not self.path:
                return [Step[S, A](None, state) for state in dict.fromkeys(self.machine.initial())]
            return [Step(action, after) for action, after in self.machine.transitions(self.path[-1].state)]
        except Exception as error:
            raise ModelError(doing, said(error), tuple(self.path)) from error

    def offer(self, options: Sequence[Step[S, A]]) -> None:
        """Everything that may happen, by number."""
        for number, step in enumerate(options, 1):
            told = show(step.state) if step.action is None else action_told(self.machine, step.action)
            self.say(f"  {number:>3}  {told}")
        if not options:
            self.say("  nothing can happen here")

    def ask(self, most: int) -> str | None:
        """What the reader wants, a possible number or a letter; None at the end."""
        while True:
            print(PROMPT, end="", file=self.streams.stdout, flush=True)
            line = self.streams.stdin.readline()
            answer = line.strip()
            if not self.streams.stdin.isatty():  # which shows what is typed
                self.say(answer)
            if not line or answer == "q":
                return None
            if answer in ("", "b", "s") or (answer.isascii() and answer.isdigit() and 1 <= int(answer) <= most):
                return answer
            self.say(f"there is no {answer!r} here: numbers go from 1 to {most}")

    def take(self, step: Step[S, A]) -> None:
        """Go there, and say what fails there."""
        self.path.append(step)
        self.tell()
        for name, clause in self.judge():
            self.say(f"{name} fails: {clause}")

    def tell(self) -> None:
        """The last step."""
        self.say(tell_step(self.machine, tuple(self.path), len(self.path) - 1))

    def judge(self) -> list[tuple[str, str]]:
        """The properties that the last step or state violates, each with its clause. Raises ModelError."""
        if not self.path:
            return []
        failed, last, name = list[tuple[str, str]](), self.path[-1], ""
        try:
            for p in self.machine.properties:
                name, clause = p.name, None
                if isinstance(p, Always):
                    clause = p.violation(last.state)
                elif isinstance(p, Transition) and last.action is not None:
                    clause = p.violation(self.path[-2].state, last.action, last.state)
                if clause is not None:
                    failed.append((name, clause))
        except Exception as error:
            raise ModelError(f"property {name}", said(error), tuple(self.path)) from error
        if not self.machine.is_final(last.state) and not self.options():
            failed.append((DEADLOCK, DEADLOCK_CLAUSE))
        return failed

    def say(self, text: str) -> None:
        print(text, file=self.streams.stdout)
