"""Explored steps are steps of the abstract protocol; and a wrong abstraction would be noticed."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import fields, replace

from checker.cluster_machine import ClusterMachine
from checker.explore import explore
from checker.models import MODELS
from checker.outcome import Bounds, Result
from checker.prove.subset import functions_of
from checker.refine import Abstraction, Refinement, refines
from checker.simulate import Plan, simulate
from spec import protocol
from spec.abstraction import abstraction
from spec.actions import Action
from spec.maps import Counts, FMap, FSet, SetMap
from spec.protocol import state as abstract
from spec.types import Key
from spec.world import Scenario, State

STATES = 1_500


def refine(name: str, abstracted: Abstraction = abstraction) -> tuple[Result[State, Action], Refinement]:
    """Explore the first states of a model with refinement as its only claim."""
    scenario = MODELS[name].scenario
    machine, refinement = ClusterMachine(name, scenario, ()), Refinement(scenario, abstracted)
    machine.properties = [refines(refinement)]
    return explore(machine, Bounds(states=STATES)), refinement


@pytest.mark.first
def test_every_step_refines_and_every_protocol_action_is_witnessed() -> None:
    """What is proved of the protocol is proved of what is explored, and no action is proved for nothing."""
    seen: Counter[str] = Counter()
    models = ["put-get-drop", "put-get-crash", "put-get-cut", "forward-duplicate", "reconcile", "write-all"]
    for name in (
        *models,
        "ask-again",
        "ask-again-crash",
        "refuse-again",
        "show",
        "sloppy-put",
        "sloppy-puts",
        "sloppy-ask-again",
        "sloppy-ask-elsewhere",
        "stand-in-ask-again",
        "no-room-for-hints",
        "no-room-to-stand-in",
        "no-room-for-the-late",
        "put-all-get-one",
        "primaries",
        "basic-quorum",
        "blocking",
        "wipe",
        "wipe-both",
        "restart-again",
        "restore-puts",
    ):
        result, refinement = refine(name)
        assert result.violation is None, f"{name}: {result.violation}"
        seen += refinement.seen
    assert not [action.__name__ for action in protocol.ACTIONS if not seen[action.__name__]]


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.endless])
def test_every_step_of_walks_over_what_no_search_ends_refines(name: str) -> None:
    """Where everything may go wrong at once."""
    scenario = MODELS[name].scenario
    machine = ClusterMachine(name, scenario, ())
    machine.properties = [refines(Refinement(scenario))]
    found = simulate(machine, Plan(seed=1, runs=40, steps=200))
    assert found.verdict == "holds", found.failures
    assert found.steps > 1_000


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if name.startswith(("put-get", "puts-crash"))])
def test_every_step_of_a_whole_model_refines(name: str) -> None:
    """To the end."""
    scenario = MODELS[name].scenario
    machine, refinement = ClusterMachine(name, scenario, ()), Refinement(scenario)
    machine.properties = [refines(refinement)]
    assert explore(machine).verdict == "holds"


def forgetting(field: str) -> Abstraction:
    """The abstraction with one field always as it is at the beginning."""

    def abstracted(scenario: Scenario, state: State, key: Key) -> abstract.State:
        whole = abstraction(scenario, state, key)
        value = getattr(whole, field)
        empty: object = FSet()
        if isinstance(value, Counts | SetMap):
            empty = type(value)()
        elif isinstance(value, FMap):
            empty = FMap.of({name: replace(disk, births=0) for name, disk in value.items()})
        return replace(whole, **{field: empty})

    return abstracted


SHOWN_ELSEWHERE = {
    "owed": "sloppy-put",
    "confirmed": "blocking",
    "pushed": "reconcile",
    "handed": "sloppy-put",
    "taken": "sloppy-put",
    "replies": "reconcile",
    "seen": "reconcile",
    "given": "wipe-puts",
    "lost": "wipe-puts",
    "gone": "wipe-puts",
    "unpaid": "sloppy-put-wipe",
}
"""The model in which it soon shows that a field was forgotten, if it is not a put, a get and a lost message."""


@pytest.mark.parametrize("field", [field.name for field in fields(abstract.State)])
def test_an_abstraction_that_forgets_a_field_is_caught(field: str) -> None:
    """Every field of the protocol's state matters to some explored step."""
    result, _ = refine(SHOWN_ELSEWHERE.get(field, "put-get-drop"), forgetting(field))
    assert result.violation is not None
    assert result.violation.property == "refines-protocol"


@pytest.mark.parametrize(
    "name", ["put-get-crash", "reconcile", "forward-duplicate", "sloppy-put", "wipe", "restore", "blocking"]
)
def test_the_proved_invariants_hold_of_what_is_explored(name: str) -> None:
    """The same functions that are proved, evaluated on explored states."""
    scenario = MODELS[name].scenario
    invariants = functions_of(protocol, "inv_").values()
    assert len(invariants) >= 10
    frontier, known = list(ClusterMachine(name, scenario, ()).initial()), set[State]()
    machine = ClusterMachine(name, scenario, ())
    while frontier and len(known) < 400:
        state = frontier.pop(0)
        for _, after in machine.transitions(state):
            if after not in known:
                known.add(after)
                frontier.append(after)
                meant = abstraction(scenario, after, scenario.key)
                assert not [invariant.__name__ for invariant in invariants if not invariant(meant)]
