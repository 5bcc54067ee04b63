"""Find out which facts the proofs need: `python -m checker.prove.learn [SUBJECT …]` writes `facts.json`.

For each obligation that the obvious facts do not settle at once, a proof is searched from ever larger sets of facts;
the solver names those that it used, and each of these is then left out to see whether the rest will do. What is left
must do under every seed, fast, or the next larger set is tried: one superfluous fact can make the difference between a
proof and a search without end.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator

import msgspec

import spec.laws
import spec.protocol
from checker.prove import facade as z
from checker.prove.obligations import Obligation, law_obligations, protocol_obligations
from checker.prove.run import E_MATCHING, FACTS_FILE, WAYS, attempt, obvious, remembered

SEEDS = range(5)
FAST_MS = 300
ORDER = ("inv_past", "inv_past_closed", "inv_honest", "inv_only_maximal", "inv_created")
IDENTITY = ("inv_minted", "inv_dot_uniqueness", "inv_numbering", "inv_irreflexive")


def candidates(obligation: Obligation) -> Iterator[tuple[str, ...]]:
    """Sets of facts to try, small ones first."""
    usable = obligation.usable
    first = obvious(obligation)
    symbols = tuple(n for n in usable if n.startswith("stored "))
    loyalty = tuple(n for n in usable if n.startswith("is_loyal "))
    lemmas = tuple(n for n in usable if "_lemma_" in n)
    if "library" in usable:
        yield (*first, "library", *symbols, "inv_created", "inv_only_maximal", "inv_owners")
    groups = [lemmas, symbols, ORDER, IDENTITY, ("inv_replies",), ("inv_own", "inv_contiguous")]
    groups += [("supersedes",), ("same actor",), ("quorums",), ("inv_owners", "inv_durable_acknowledgement")]
    groups += [loyalty, ("quorums meet", "inv_due"), ("inv_told", "inv_confirmed")]
    groups += [("inv_sent",), ("inv_lost",)]
    for size in range(1, 4):
        for chosen in itertools.combinations(groups, size):
            names = (*first, *(n for group in chosen for n in group))
            yield tuple(dict.fromkeys(n for n in names if n in usable))
    yield usable


def settles(obligation: Obligation, names: tuple[str, ...]) -> bool:
    """Whether these facts prove it fast under every seed."""
    return all(attempt(obligation, names, FAST_MS, seed, WAYS[:1]) == "proved" for seed in SEEDS)


def learn(obligation: Obligation) -> tuple[str, ...] | None:
    """A small set of facts that proves it under every seed; None if none was found."""
    tried: set[tuple[str, ...]] = set()
    context = obligation.context
    for names in candidates(obligation):
        if names in tried:
            continue
        tried.add(names)
        facts = {name: context.facts[name] for name in names}
        core = z.needed(obligation.background, facts, obligation.goal, 400 if len(names) < 12 else 4_000, E_MATCHING)
        if core is None:
            continue
        kept = tuple(n for n in names if n in core)
        if not settles(obligation, kept):
            if not settles(obligation, names):
                continue
            kept = names
        for name in kept:
            fewer = tuple(n for n in kept if n != name)
            if settles(obligation, fewer):
                kept = fewer
        return kept
    return None


def main(subjects: list[str]) -> int:
    """Learn for some subjects (all if none is named); the number of obligations without a proof."""
    known = dict(remembered())
    missing = 0
    for obligation in itertools.chain(law_obligations(spec.laws), protocol_obligations(spec.protocol)):
        if obligation.trivial or (subjects and obligation.subject not in subjects):
            continue
        names = known.get(obligation.key, obvious(obligation))
        if all(n in obligation.usable for n in names) and settles(obligation, names):
            continue
        started = time.perf_counter()
        found = learn(obligation)
        print(f"{obligation.key}: {found or 'NO PROOF'} ({time.perf_counter() - started:.1f} s)", flush=True)
        missing += found is None
        if found is not None:
            known[obligation.key] = found
            FACTS_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(known, order="sorted"), indent=1))
    return missing


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
