"""Discharging obligations, and learning which facts each proof needs.

A proof is tried with few facts and little time before much: several ways to search, each for a fraction of a second,
then again for longer. Which few facts is remembered per obligation in `facts.json`, where the obvious ones (the guard,
the claim itself before the action, …) do not do; `python -m checker.prove.learn` writes that file. The file holds no
claims: a wrong entry can only make a proof fail.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from checker.prove import facade as z
from checker.prove.facade import Options, Verdict
from checker.prove.obligations import Obligation

FactNames: TypeAlias = Mapping[str, tuple[str, ...]]

FACTS_FILE = Path(__file__).with_name("facts.json")
OBVIOUS = ("hypothesis", "uses", "size", "init", "guard")
E_MATCHING: Options = {"smt.mbqi": False, "smt.auto_config": False}
"""Instantiate quantifiers only where a term of the problem calls for it: fast, and gives up rather than wander."""
WAYS: tuple[Options, ...] = (E_MATCHING, {**E_MATCHING, "smt.relevancy": 0}, {})
TRIES_MS = (500, 2_000, 8_000)


class Result(Struct, frozen=True):
    """How one obligation went."""

    subject: str
    claim: str
    part: int
    verdict: Verdict
    seconds: float


def remembered(file: Path = FACTS_FILE) -> FactNames:
    """Which facts the proofs need, where it is not the obvious ones."""
    if not file.exists():
        return {}
    return msgspec.json.decode(file.read_bytes(), type=dict[str, tuple[str, ...]])


def obvious(obligation: Obligation) -> tuple[str, ...]:
    """The facts that do for most proofs."""
    return tuple(name for name in (*OBVIOUS, obligation.claim) if name in obligation.usable)


def attempt(
    obligation: Obligation, names: Iterable[str], timeout_ms: int, seed: int, ways: Iterable[Options] = WAYS
) -> Verdict:
    """One round: each way to search, for so long."""
    context = obligation.context
    facts = [*context.background, *(term for name in names for term in context.facts[name])]
    for way in ways:
        verdict = z.prove(facts, obligation.goal, timeout_ms, seed, way)
        if verdict == "proved":
            return verdict
    return "unknown"


def discharge(obligation: Obligation, names: FactNames, seed: int) -> Result:
    """Prove one obligation, or fail to."""
    started = time.perf_counter()
    verdict: Verdict = "unknown"
    if obligation.trivial:
        verdict = "proved"
    else:
        chosen = [n for n in names.get(obligation.key, obvious(obligation)) if n in obligation.usable]
        for timeout_ms in TRIES_MS:
            verdict = attempt(obligation, chosen, timeout_ms, seed)
            if verdict == "proved":
                break
    return Result(obligation.subject, obligation.claim, obligation.part, verdict, time.perf_counter() - started)


def discharge_all(obligations: Iterable[Obligation], seed: int) -> Iterator[tuple[Obligation, Result]]:
    """All of them, in order."""
    names = remembered()
    for obligation in obligations:
        yield obligation, discharge(obligation, names, seed)
