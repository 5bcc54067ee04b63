"""`ringspec prove`: laws, controls and protocol, a line for each claim.

The laws of the kernel come first; the protocol's proofs rest on them and are not begun if one fails. A claim is settled
by a proof of each of its parts or by a counterexample that was replayed in Python; what is neither proved nor refuted
counts as not proved. Controls are false statements: one that is not refuted means that too much can be proved.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, TextIO, TypeAlias

import msgspec
from msgspec import Struct

import spec.laws
import spec.protocol
from checker.prove import facade as z
from checker.prove.counterexample import (
    SCOPES,
    Counterexample,
    ReplayFailed,
    refute_invariant,
    refute_law,
    tell,
)
from checker.prove.obligations import Obligation, law_obligations, protocol_obligations, protocol_of
from checker.prove.run import FactNames, insist, quickly, remembered
from checker.prove.subset import OutsideSubset, functions_of

PROVED, NOT_PROVED, USAGE, OUR_BUG = 0, 1, 2, 4

Outcome: TypeAlias = Literal["proved", "refuted", "not proved", "untouched"]


class Line(Struct, frozen=True):
    """What became of one claim."""

    subject: str
    claim: str
    outcome: Outcome
    parts: int
    seconds: float
    counterexample: str = ""

    @property
    def fails(self) -> bool:
        """Whether it is not as it should be."""
        wanted = ("refuted",) if self.claim == "control" else ("proved", "untouched")
        return self.outcome not in wanted


class Report(Struct, frozen=True):
    """One run."""

    seed: int
    z3: str
    seconds: float
    lines: tuple[Line, ...]


def known_names() -> set[str]:
    """Laws, controls, lemmas, actions, and what is claimed of actions."""
    protocol = protocol_of(spec.protocol)
    lemmas = {lemma for action in protocol.actions for lemma in protocol.lemmas(action)}
    laws = {*functions_of(spec.laws, "law_"), *functions_of(spec.laws, "control_")}
    return {*laws, "init", "promise", *protocol.actions, *protocol.libraries, *protocol.invariants, *lemmas}


def unknown_names(names: Sequence[str]) -> list[str]:
    """Names of nothing that is proved."""
    known = known_names()
    return [name for name in names if not set(name.split("/", 1)) <= known]


def selected(obligation: Obligation, names: Sequence[str]) -> bool:
    """Whether one of the names asks for it, or for a claim that may rest on it."""
    subject, claim = obligation.subject, obligation.claim
    if not names or any(name in names for name in (subject, claim, f"{subject}/{claim}")):
        return True
    asked = [name for name in names if name.startswith("inv_") or "/inv_" in name]
    if subject.startswith("lib_"):
        return bool(asked)
    return ("_lemma_" in claim or claim == "promise") and any(
        name.startswith(("inv_", f"{subject}/")) for name in asked
    )


def concerned(subject: str, names: Sequence[str]) -> bool:
    """Whether the names ask for anything about a subject, as far as that can be told before it is translated."""
    if not names or any(name == subject or name.startswith((f"{subject}/", f"{subject}_lemma_")) for name in names):
        return True
    if subject.startswith("law_"):
        return False
    if subject.startswith("lib_"):
        return any("inv_" in name for name in names)
    return any(name == "promise" or name.startswith("inv_") for name in names)


# Settling claims.


def grouped(obligations: Iterable[Obligation]) -> Iterator[list[Obligation]]:
    """The parts of each claim together: those of a law, or of one claim about an action."""

    def claim(o: Obligation) -> tuple[str, str]:
        return o.subject, "" if o.subject.startswith("law_") else o.claim

    for _, parts in itertools.groupby(obligations, key=claim):
        yield list(parts)


def refute(parts: Sequence[Obligation]) -> Counterexample | None:
    """A counterexample to a claim, if there is a small one."""
    subject, claim = parts[0].subject, parts[0].claim
    if subject.startswith("law_"):
        found = (refute_law(subject, functions_of(spec.laws)[subject], scope) for scope in SCOPES)
        return next((c for c in found if c is not None), None)
    if (claim.startswith("inv_") and subject != "init") or "_lemma_" in claim:
        return refute_invariant(protocol_of(spec.protocol), subject, claim)
    return None


def settle(parts: Sequence[Obligation], facts: FactNames, seed: int) -> Line:
    """Prove a claim part by part; where that does not go quickly, look for a counterexample before trying harder."""
    started = time.perf_counter()
    first = parts[0]

    def line(outcome: Outcome, counterexample: str = "") -> Line:
        name = "law" if first.subject.startswith("law_") else first.claim
        seconds = time.perf_counter() - started
        return Line(first.subject, name, outcome, len(parts), round(seconds, 3), counterexample)

    if all(part.trivial for part in parts):
        return line("untouched")
    hard = [part for part in parts if quickly(part, facts, seed) != "proved"]
    if not hard:
        return line("proved")
    counterexample = refute(parts)
    if counterexample is not None:
        return line("refuted", tell(counterexample))
    failed = [part for part in hard if insist(part, facts, seed) != "proved"]
    return line("not proved", "\n".join(part.note for part in failed if part.note)) if failed else line("proved")


def run(names: Sequence[str], seed: int) -> Iterator[Line]:
    """Everything that the names ask for (everything, if there are none), in order; nothing rests on what failed."""
    facts = remembered()
    failed = False

    def wanted(subject: str) -> bool:
        return concerned(subject, names)

    for parts in grouped(o for o in law_obligations(spec.laws, wanted) if selected(o, names)):
        line = settle(parts, facts, seed)
        failed = failed or line.fails
        yield line
    for name, control in functions_of(spec.laws, "control_").items():
        if not names or name in names:
            started = time.perf_counter()
            found = refute_law(name, control, SCOPES[0])
            seconds = round(time.perf_counter() - started, 3)
            yield Line(name, "control", "refuted" if found else "not proved", 1, seconds, tell(found) if found else "")
    if failed:
        return
    unsupported: set[str] = set()
    for parts in grouped(o for o in protocol_obligations(spec.protocol, wanted) if selected(o, names)):
        usable = [replace(p, usable=tuple(f for f in p.usable if f not in unsupported)) for p in parts]
        line = settle(usable, facts, seed)
        yield line
        if line.fails and not line.claim.startswith("inv_"):
            unsupported.add("library" if line.subject.startswith("lib_") else line.claim)


# Telling.


def title(line: Line) -> str:
    """The heading under which a line stands."""
    if line.claim == "law":
        return "laws of the kernel"
    if line.claim == "control":
        return "controls: false, and must be refuted"
    return f"protocol: {line.subject}"


def describe(line: Line) -> str:
    """One line of the report."""
    name = line.subject if line.claim in ("law", "control") else line.claim
    parts = "" if line.parts == 1 else f"{line.parts} parts"
    return f"  {name:<44}{parts:>9}  {line.outcome:<10} {line.seconds:6.2f} s"


def write_lines(lines: Iterable[Line], out: TextIO) -> Iterator[Line]:
    """Tell each line as it comes; claims that an action leaves alone share one."""
    heading = ""
    untouched: list[str] = []

    def flush() -> None:
        if untouched:
            out.write(f"  untouched: {', '.join(untouched)}\n")
            untouched.clear()

    for line in lines:
        if title(line) != heading:
            flush()
            heading = title(line)
            out.write(f"{heading}\n")
        if line.outcome == "untouched":
            untouched.append(line.claim)
        else:
            out.write(describe(line) + "\n")
            if line.counterexample:
                out.write("".join(f"      {text}\n" for text in line.counterexample.splitlines()))
        out.flush()
        yield line
    flush()


def summary(report: Report) -> str:
    """The last line of a run."""
    wrong = [line for line in report.lines if line.fails]
    parts = sum(line.parts for line in report.lines)
    untouched = sum(line.outcome == "untouched" for line in report.lines)
    verdict = f"{len(wrong)} of {len(report.lines)} claims are NOT PROVED" if wrong else "all proved"
    return (
        f"{verdict}: {len(report.lines)} claims in {parts} parts, for any number of nodes, versions and messages; "
        f"{untouched} are untouched by their action; "
        f"{report.seconds:.1f} s, seed {report.seed}, Z3 {report.z3}"
    )


def prove(names: Sequence[str], seeds: int, as_json: bool, out: TextIO) -> int:
    """Prove what the names ask for (everything, if there are none), once for each of so many seeds of the solver.

    A name is that of a law, an action, a claim (an invariant or lemma), or action/claim.

    Writes a line per claim, or one JSON document per seed; refusals go to standard error. Returns 0 if all is proved,
    1 if not, 2 if a name is unknown, the number of seeds is below one or the specification leaves the subset of Python
    that can be proved, 4 if Python disagrees with a counterexample, which is a bug of the prover.
    """
    unknown = unknown_names(names)
    if unknown:
        sys.stderr.write(f"nothing that is proved is called {', '.join(unknown)}; leave the names out to see all\n")
        return USAGE
    if seeds < 1:
        sys.stderr.write(f"the number of seeds must be at least 1, not {seeds}\n")
        return USAGE
    worst = PROVED
    try:
        for seed in range(seeds):
            started = time.perf_counter()
            lines = run(names, seed)
            told = tuple(lines if as_json else write_lines(lines, out))
            report = Report(seed, z.version(), round(time.perf_counter() - started, 3), told)
            out.write((msgspec.json.encode(report).decode() if as_json else summary(report)) + "\n")
            if any(line.fails for line in told):
                worst = NOT_PROVED
    except OutsideSubset as problem:
        sys.stderr.write(f"{problem}\n")
        return USAGE
    except ReplayFailed as problem:
        sys.stderr.write(f"the prover is wrong, please report this: {problem}\n")
        return OUR_BUG
    return worst
