"""The store's models, to the end: what CI can afford here, what takes minutes behind the marker `deep`."""

from __future__ import annotations

import pytest

from checker.cluster_machine import ClusterMachine
from checker.explore import explore
from checker.models import MODELS, machine_of
from checker.outcome import Bounds, Result
from checker.reduce import explore_reduced
from checker.simulate import Plan, simulate
from spec.actions import Action
from spec.world import State

# Distinct states and steps generated. They are facts about the models: a change here changes what is explored.
COUNTS = {
    "puts": (1_861, 6_343),
    "puts-crash": (12_851, 54_163),
    "put-get-drop": (2_299, 8_326),
    "put-get-duplicate": (3_988, 15_901),
    "put-get-crash": (5_228, 20_938),
    "put-get-cut": (4_094, 13_726),
    "forward-duplicate": (17_051, 101_712),
    "write-all-duplicate": (3_094, 12_085),
    "refuse": (9_328, 46_643),
    "ask-again": (4_273, 22_871),
    "ask-again-crash": (901, 3_902),
    "refuse-again": (3_077, 14_391),
    "show": (1_246, 5_089),
    "sloppy-put": (722, 2_208),
    "sloppy-put-crash": (4_922, 19_943),
    "sloppy-put-cut": (5_166, 22_356),
    "sloppy-put-drop": (2_017, 7_284),
    "sloppy-put-duplicate": (4_093, 14_694),
    "sloppy-put-put": (1_311, 4_913),
    "sloppy-ask-again": (3_583, 18_038),
    "sloppy-ask-elsewhere": (1_824, 7_555),
    "stand-in-ask-again": (303, 890),
    "show-two": (12_671, 52_981),
    "strict-suspect": (1_835, 7_923),
    "preset-322": (13_412, 62_275),
    "preset-331": (10_481, 46_999),
    "no-room-for-hints": (26_057, 109_393),
    "no-room-to-stand-in": (8_130, 33_253),
    "no-room-for-the-late": (7_512, 36_043),
    "wipe": (51_281, 285_596),
    "wipe-of-four": (7_660, 44_311),
    "wipe-puts": (21_778, 106_952),
    "wipe-again": (22_539, 132_463),
    "forward-repeated": (2_656, 10_803),
    "wipe-show": (19_988, 98_193),
    "wipe-both": (17_169, 63_094),
    "restore": (22_325, 92_625),
    "restore-puts": (9_074, 30_878),
    "wipe-restore": (76_753, 226_645),
    "restart-again": (20_073, 72_956),
    "stand-in-again": (325, 843),
    "put-all-get-one": (625, 1_936),
    "put-one-get-all": (586, 1_837),
    "primaries-refused": (233, 780),
    "notfound": (475, 1_579),
    "basic-quorum": (784, 2_500),
    "blocking": (27_087, 155_503),
    "conditional": (45, 97),
    "conditional-seen": (3_001, 12_513),
    "conditional-again": (193, 603),
}
QUICK = tuple(COUNTS)
REDUCED = tuple(name for name in MODELS if MODELS[name].too_large)
ENDLESS = tuple(name for name in MODELS if MODELS[name].endless)
DEEP = tuple(name for name in MODELS if name not in (*QUICK, *REDUCED, *ENDLESS) and not MODELS[name].must_fail)


def search(name: str, bounds: Bounds | None = None) -> Result[State, Action]:
    """Explore a model, and say everything that did not hold if a test fails on it."""
    result = explore(machine_of(name), bounds or Bounds())
    print(result.verdict, result.violation and (result.violation.property, result.violation.clause), result.stopped)
    return result


@pytest.mark.parametrize("name", QUICK)
def test_small_models_hold_to_the_end(name: str) -> None:
    """Every reachable state was seen, every claim holds, every *sometimes* was met."""
    result = search(name)
    assert result.verdict == "holds"
    assert (result.states, result.generated) == COUNTS[name]
    assert all(coverage.generated for coverage in result.coverage), "an action that can happen never did"


@pytest.mark.parametrize("name", DEEP)
def test_the_first_states_of_large_models(name: str) -> None:
    """Bounded siblings of the deep searches: nothing is violated, and nothing is claimed to hold."""
    result = search(name, Bounds(states=4_000))
    assert result.verdict == "incomplete"
    assert all(p.standing != "violated" for p in result.properties)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DEEP)
def test_large_models_hold_to_the_end(name: str) -> None:
    """The store with two concurrent puts and a get, under each fault, at every moment."""
    result = search(name)
    assert result.verdict == "holds"
    print(f"{name}: {result.states:,} states, {result.generated:,} generated, {result.seconds:.0f} s")


@pytest.mark.parametrize("name", REDUCED)
def test_the_first_representatives_of_the_largest_models(name: str) -> None:
    """Two clients that read and write back, under each fault and each pair of faults: bounded siblings again."""
    result = explore_reduced(machine_of(name), Bounds(states=500))
    assert (result.verdict, result.states, result.reduced) == ("incomplete", 500, True)
    assert all(p.standing != "violated" for p in result.properties)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", REDUCED)
def test_the_largest_models_hold_to_the_end_reduced(name: str) -> None:
    """Every single fault and every pair of them, explicit; and any number of losses and repetitions with a crash."""
    result = explore_reduced(machine_of(name))
    assert result.verdict == "holds"
    print(f"{name}: {result.states:,} representatives, {result.generated:,} generated, {result.seconds:.0f} s")


@pytest.mark.parametrize("name", ENDLESS)
def test_walks_over_what_no_search_ends(name: str) -> None:
    """Everything that can happen happens, every *sometimes* is met, and nothing fails."""
    found = simulate(machine_of(name), Plan(seed=1, runs=120, steps=200))
    assert found.verdict == "holds"
    assert all(p.standing == "met" for p in found.properties if p.kind == "sometimes"), found.properties
    assert {kind for kind, times in found.kinds if times} == set(machine_of(name).action_kinds)


@pytest.mark.deep
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ENDLESS)
def test_long_walks_over_what_no_search_ends(name: str, seed: int) -> None:
    """A million steps with each seed."""
    found = simulate(machine_of(name), Plan(seed=seed, runs=23_000, steps=300))
    assert found.verdict == "holds"
    assert found.steps > 950_000
    print(f"{name}, seed {seed}: {found.steps:,} steps, {found.states:,} states, {found.seconds:.0f} s")


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.must_fail])
def test_controls_fail(name: str) -> None:
    """A configuration that cannot keep a promise is found out, by the promise it cannot keep."""
    result = search(name)
    assert result.violation is not None
    assert result.violation.property == MODELS[name].must_fail


@pytest.mark.parametrize("name", ["weak", "preset-311"])
def test_the_shortest_story_of_weak_quorums(name: str) -> None:
    """R = W = 1: one put at one node, one get at another; nothing has to fail."""
    result = search(name)
    assert result.violation is not None
    machine = machine_of(name)
    told = [machine.describe_action(step.action) for step in result.violation.path if step.action is not None]
    assert told == ["client1 asks a to put client1#1 after []", "client1 asks b to get"]


def test_remembering_changes_nothing() -> None:
    """The same counts with and without the memory of steps, verdicts and properties."""
    model = MODELS["put-get-drop"]
    plain = explore(ClusterMachine("plain", model.scenario, model.claims, memory=False))
    quick = search("put-get-drop")
    assert (plain.verdict, plain.states, plain.generated) == (quick.verdict, quick.states, quick.generated)


def test_every_model_claims_something_and_knows_its_claims() -> None:
    """A model without claims, or with a misspelt one, would hold for nothing."""
    for name, model in MODELS.items():
        claimed = {p.name for p in machine_of(name).properties}
        assert model.claims
        assert set(model.claims) <= claimed, name
