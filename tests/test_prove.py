"""The proofs as a whole: all is proved, nothing is hollow, and breaking the specification makes proofs fail.

Mutations are made in a copy of `spec/` and proved in another process. Each must be caught by a counterexample, which
the prover shows only after Python has agreed with it.
"""

import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spec.laws
import spec.protocol
from checker.prove import counterexample, facade
from checker.prove.counterexample import tell, witness
from checker.prove.obligations import Obligation, Protocol, law_obligations, protocol_obligations
from checker.prove.prove import NOT_PROVED, PROVED, USAGE, concerned, known_names, prove, selected, unknown_names
from checker.prove.run import E_MATCHING, remembered
from checker.prove.translate import Translator
from checker.prove.values import Scalar
from spec.maps import FSet
from spec.protocol.invariants import is_eventful
from spec.protocol.state import State

ROOT = Path(__file__).parent.parent
PROTOCOL = Protocol(spec.protocol)


def run(*names: str, seeds: int = 1, as_json: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    return prove(names, seeds, as_json, out), out.getvalue()


# Everything is proved.


def test_everything_is_proved() -> None:
    status, told = run()
    assert status == PROVED, told
    assert "not proved" not in told
    assert "untouched" in told
    assert told.count("inv_dot_uniqueness") == 1 + len(PROTOCOL.actions)


@pytest.mark.deep
def test_everything_is_proved_under_five_seeds() -> None:
    status, told = run(seeds=5)
    assert status == PROVED, told
    assert told.count("all proved") == 5


def test_names_select() -> None:
    status, told = run("law_join_least", "receive")
    assert status == PROVED
    assert "law_join_least" in told
    assert "protocol: receive" in told
    assert "law_merge" not in told
    assert "protocol: put" not in told


def test_a_report_as_json() -> None:
    status, told = run("law_join_least", "control_supersedes_transitive_unclosed", as_json=True)
    assert status == PROVED
    lines = json.loads(told)["lines"]
    assert [(line["subject"], line["outcome"]) for line in lines] == [
        ("law_join_least", "proved"),
        ("control_supersedes_transitive_unclosed", "refuted"),
    ]


def test_unknown_names_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("law_of_the_land") == (USAGE, "")
    refusal = "nothing that is proved is called law_of_the_land; leave the names out to see all\n"
    assert capsys.readouterr().err == refusal
    assert run(seeds=0) == (USAGE, "")
    assert capsys.readouterr().err == "the number of seeds must be at least 1, not 0\n"


@pytest.fixture(scope="module")
def everything() -> dict[str, Obligation]:
    """All that has to be proved, by its key."""
    return {o.key: o for o in itertools.chain(law_obligations(spec.laws), protocol_obligations(spec.protocol))}


def test_what_a_name_does_not_concern_is_nothing_that_it_selects(everything: dict[str, Obligation]) -> None:
    """Only what is concerned is translated."""
    pairs = {(o.subject, o.claim): o for o in everything.values()}
    subjects = {subject for subject, _ in pairs}
    of_one = (f"{subject}/{claim}" for subject, claim in pairs if subject in ("init", "put", "lib_merge_sees"))
    names = [name for name in (*known_names(), *of_one) if not unknown_names([name])]
    asked = {(name, subject) for name in names for subject in subjects if concerned(subject, [name])}
    selects = {(name, subject) for name in names for (subject, _), o in pairs.items() if selected(o, [name])}
    assert selects <= asked
    assert {subject for name, subject in selects if name == "put/inv_due"} >= {"put"}
    assert all(concerned(subject, []) for subject in subjects)
    assert not concerned("put", ["receive", "receive/inv_due", "law_join_least"])


def test_the_recorded_facts_are_of_obligations_that_exist(everything: dict[str, Obligation]) -> None:
    for key, names in remembered().items():
        assert key in everything, f"facts.json has {key}, which nobody has to prove: run python -m checker.prove.learn"
        assert set(names) <= set(everything[key].usable), key


# Nothing is hollow.


@pytest.mark.parametrize("action", PROTOCOL.actions)
def test_every_action_may_happen_in_an_eventful_state(action: str) -> None:
    found = witness(PROTOCOL, action)
    assert found is not None, f"no eventful state in which {action} may happen: its proofs are hollow"
    before = found.arguments["before"]
    assert isinstance(before, State)
    assert is_eventful(before)
    assert tell(found).startswith("before")


@pytest.mark.parametrize("action", PROTOCOL.actions)
def test_the_facts_of_an_action_do_not_contradict_each_other(action: str) -> None:
    step = PROTOCOL.step(action)
    facts = [*step.t.facts, *(term for terms in step.facts.values() for term in terms)]
    assert facade.prove(facts, facade.truth(False), 200, 0, E_MATCHING) != "proved"


def test_an_opaque_predicate_is_one_symbol_for_all_that_it_reads() -> None:
    """What it reads is found out, through what it calls; if a field were missing, a change of that would be none."""
    stored, is_loyal = PROTOCOL.opaque
    assert PROTOCOL.reads(stored) == ("store", "seen")
    assert PROTOCOL.reads(is_loyal) == ("store", "heard", "gathered", "told", "seen", "lost", "gone")


def test_contradictory_facts_would_be_noticed() -> None:
    step = PROTOCOL.step("count")
    facts = [*step.t.facts, step.guard, facade.neg(step.guard)]
    assert facade.prove(facts, facade.truth(False), 200, 0, E_MATCHING) == "proved"


def test_a_fold_meets_elements_in_the_order_of_python() -> None:
    """Once, a fold that depends on the order failed in an order that Python never takes."""
    t = Translator(scope=counterexample.SMALL)
    t.formula(spec.laws.law_context_of, list(t.parameters(spec.laws.law_context_of).values()))
    (versions,) = t.folded
    one, other = (Scalar(element, versions) for element in t.elements(versions)[:2])
    model = counterexample.find(t, [])
    assert model is not None
    decoder = counterexample.Decoder(t, model)
    decoded = [decoder.decode(Scalar(element, versions)) for element in t.elements(versions)]
    assert decoded == list(FSet.of(decoded))
    assert counterexample.find(t, [counterexample.comes_before(t, other, one)]) is None


# Breaking the specification makes a proof fail.

RECEIVED = "        store=s.store.set(m.target, merge(s.store[m.target], m.versions)),\n"
COUNTED = "a.version == v and a.holder == a.owner),"

MUTATIONS = [
    # file, what stands there, what is put in its place, what must be refuted
    ("clock.py", "max(a[actor], b[actor])", "min(a[actor], b[actor])", "law_join_upper_bound"),
    ("clock.py", ">= dot.counter", "> dot.counter", "put/inv_minted"),
    ("siblings.py", "FSet.of(v for v in a if not any(supersedes(u, v) for u in b))", "a", "law_merge_antichain"),
    ("siblings.py", "v for v in siblings if not supersedes(version, v)", "v for v in siblings", "law_add_exact"),
    ("siblings.py", "v for v in siblings if not supersedes(version, v)", "v for v in siblings", "put/inv_only_maximal"),
    ("siblings.py", "max(known[version.dot.actor], version.dot.counter)", "version.dot.counter", "law_context_of"),
    ("quorum.py", ">= size", ">= size - 1", "law_quorums_intersect"),
    ("writing.py", "Dot(actor, counter + 1)", "Dot(actor, counter)", "put/put_lemma_fresh"),
    (
        "protocol/puts.py",
        "Sent(n, target, owner, v, s.store[n])",
        "Sent(n, target, owner, v, FSet.of([v]))",
        "send/inv_contiguous",
    ),
    ("protocol/puts.py", RECEIVED, "", "receive/inv_durable_acknowledgement"),
    ("protocol/puts.py", "merge(s.store[m.target], m.versions)", "m.versions", "receive/inv_durable_acknowledgement"),
    (
        "protocol/gets.py",
        "        is_context(context, s.gathered[r])\n        and is_quorum",
        "        is_quorum",
        "reply/reply_lemma_context",
    ),
    ("protocol/puts.py", COUNTED, "a.version == v),", "acknowledge/inv_durable_acknowledgement"),
    ("protocol/gets.py", "Told(r, n, s.store[n])", "Told(r, n, FSet())", "answer/inv_due"),
    ("protocol/gets.py", "merge(s.gathered[t.reading], t.versions)\n", "t.versions\n", "collect/inv_due"),
    ("protocol/gets.py", "        and all(t.reading.request != request for t in s.told)\n", "", "ask/inv_due"),
    ("protocol/gets.py", "        and is_quorum(s.heard[r] & s.owners, quorum.pr)\n", "", "reply/reply_lemma_due"),
    ("protocol/gets.py", "d.owners <= a.quorum.pw", "d.owners <= a.quorum.w", "reply/reply_lemma_due"),
    (
        "protocol/lemmas.py",
        "d.owners + quorum.pr > everybody",
        "d.owners + quorum.pr >= everybody",
        "reply/reply_lemma_due",
    ),
    ("protocol/gets.py", " and t.versions == s.gathered[t.reading]\n", "\n", "agree/inv_confirmed"),
    (
        "protocol/gets.py",
        "t in s.taken and may_release(s.gathered[r], t.context)",
        "t in s.taken",
        "confirm/inv_confirmed",
    ),
    ("protocol/gets.py", "if c.reading != t.reading or unchanged)", "if True)", "collect/inv_confirmed"),
    ("protocol/gets.py", " and is_written(owners, owners, quorum)\n", "\n", "vouch/inv_durable_acknowledgement"),
    ("protocol/gets.py", " and is_whole(s.disks[n], s.owners)\n", "\n", "answer/inv_due"),
    ("protocol/comeback.py", "merge(s.store[g.target], g.versions)", "s.store[g.target]", "take_back/inv_lost"),
    ("protocol/comeback.py", " and s.disks[n].lacking == FSet()\n", "\n", "regain/inv_due"),
    ("protocol/comeback.py", "all(o == n or o in disk.lacking for o in s.owners)", "True", "lose/inv_lost"),
    ("protocol/comeback.py", "any(o != n and stored(s, o, x) for o in s.owners)", "True", "lose/inv_lost"),
    ("protocol/comeback.py", "all(o == n or x not in s.lost[o] for o in s.owners)", "True", "lose/inv_lost"),
    ("protocol/comeback.py", "not (g.target == n and g.incarnation == disk.incarnation)", "True", "rename/inv_lost"),
    ("protocol/lemmas.py", "if a.quorum.pw >= 2", "if a.quorum.pw >= 1", "lose/lose_lemma_spared"),
]


def prove_mutation(directory: Path, file: str, old: str, new: str, claim: str) -> str:
    """What the prover says of a claim after a mutation, having failed to prove it."""
    shutil.copytree(ROOT / "spec", directory / "spec", ignore=shutil.ignore_patterns("__pycache__"))
    source = (directory / "spec" / file).read_text()
    assert source.count(old) == 1, f"{old!r} is no longer what {file} says once"
    (directory / "spec" / file).write_text(source.replace(old, new))
    program = f"import sys; from checker.prove.prove import prove; sys.exit(prove(['{claim}'], 1, False, sys.stdout))"
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == NOT_PROVED, told.stdout + told.stderr
    return told.stdout


@pytest.mark.parametrize(("file", "old", "new", "claim"), MUTATIONS)
def test_mutations_are_refuted(tmp_path: Path, file: str, old: str, new: str, claim: str) -> None:
    told = prove_mutation(tmp_path, file, old, new, claim)
    refuted = [line.split()[0] for line in told.splitlines() if " refuted " in line]
    assert claim.split("/")[-1] in refuted, told


def test_a_broken_promise_is_told(tmp_path: Path) -> None:
    told = prove_mutation(tmp_path, "writing.py", "else disk.births + 1)", "else disk.births)", "put/promise")
    assert "Actor.birth is at least 1 (writing.py:" in told
