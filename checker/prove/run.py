"""Discharging obligations, and learning which facts each proof needs.

A proof is tried with few facts and little time before much: several ways to search, each for a fraction of a second,
then again for longer. Which few facts is remembered per obligation in `facts.json`, where the obvious ones (the guard,
the claim itself before the action, …) do not do; `python -m checker.prove.learn` writes that file. The file holds no
claims: a wrong entry can only make a proof fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from checker.prove import facade as z
from checker.prove.facade import Options, Verdict
from checker.prove.obligations import Obligation

FactNames: TypeAlias = Mapping[str, tuple[str, ...]]

FACTS_FILE = Path(__file__).with_name("facts.json")
OBVIOUS = ("hypothesis", "uses", "size", "init", "guard")
E_MATCHING: Options = {"smt.mbqi": False, "smt.auto_config": False}
"""Instantiate quantifiers only where a term of the problem calls for it: fast, and gives up rather than wander."""
WAYS: tuple[Options, ...] = (E_MATCHING, {**E_MATCHING, "smt.relevancy": 0}, {})
QUICK_MS = 500
PATIENT_MS = 3_000


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
    facts = [*obligation.background, *(term for name in names for term in context.facts[name])]
    for way in ways:
        verdict = z.prove(facts, obligation.goal, timeout_ms, seed, way)
        if verdict == "proved":
            return verdict
    return "unknown"


def chosen(obligation: Obligation, names: FactNames) -> tuple[str, ...]:
    """The facts to prove it from."""
    return tuple(n for n in names.get(obligation.key, obvious(obligation)) if n in obligation.usable)


def quickly(obligation: Obligation, names: FactNames, seed: int) -> Verdict:
    """What a fraction of a second gives: a proof, for all that is in order."""
    return "proved" if obligation.trivial else attempt(obligation, chosen(obligation, names), QUICK_MS, seed)


def insist(obligation: Obligation, names: FactNames, seed: int) -> Verdict:
    """A longer try, and one from all facts: `facts.json` may be older than the source."""
    verdict = attempt(obligation, chosen(obligation, names), PATIENT_MS, seed)
    if verdict == "proved":
        return verdict
    return attempt(obligation, obligation.usable, PATIENT_MS, seed, WAYS[:1])
