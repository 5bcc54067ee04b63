"""Claims about whole runs: on machines whose answers are known, against a search of all sets, and told as stories."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from checker.check import HOLDS, INCOMPLETE, OUR_BUG, USAGE, VIOLATED, AnyMachine, Registry, Streams
from checker.convergence import CONVERGENCE, ONE_LOST, Converging
from checker.explore import explore
from checker.liveness import check_liveness
from checker.liveness_report import liveness
from checker.machine import Eventually, Fair, LeadsTo, Liveness, SimpleMachine
from checker.outcome import Bounds, ModelError
from spec.events import Event
from spec.messages import Repair
from spec.network import Envelope
from spec.spent import Driver
from spec.world import Advance, Server, advance
from tests.machines import ewd840
from tests.machines.chang_roberts import ChangRoberts
from tests.machines.dining import Dining
from tests.machines.ewd840 import Ewd840
from tests.machines.mutual import Lock, Peterson
from tests.machines.odd import Counter


class Node(Struct, frozen=True, cache_hash=True):
    """A state of a graph, by number."""

    id: int


class Go(Struct, frozen=True, tag=True):
    """An edge of a graph: where it leads, and its label."""

    target: int
    label: str


class Labelled(SimpleMachine[Node, Go]):
    """A graph of edges with labels; those of a letter in `weak` or `strong` are fair."""

    def __init__(
        self, edges: dict[int, list[tuple[int, str]]], *liveness: Liveness[Node], weak: str = "", strong: str = ""
    ) -> None:
        """It begins in 0."""
        self.name = "labelled"
        self.edges = edges
        self.liveness: Sequence[Liveness[Node]] = liveness
        self.fairness: Sequence[Fair[Go]] = (
            Fair("weakly", lambda go: go.label if go.label in weak else None),
            Fair("strongly", lambda go: go.label if go.label in strong else None, strong=True),
        )

    def initial(self) -> list[Node]:
        return [Node(0)]

    def actions(self, state: Node) -> list[Go]:
        return [Go(target, label) for target, label in self.edges.get(state.id, [])]

    def step(self, state: Node, action: Go) -> Node:  # noqa: ARG002 - the action says where to
        return Node(action.target)


def at(*ids: int) -> Callable[[Node], bool]:
    return lambda node: node.id in ids


def eventually(*ids: int) -> Eventually[Node]:
    return Eventually("arrives", at(*ids))


def leads_to(cause: int, *effect: int) -> LeadsTo[Node]:
    return LeadsTo("leads", at(cause), at(*effect))


def lasso_of(machine: AnyMachine) -> tuple[list[int], list[int]] | None:
    """The states of the stem and of the cycle; None if the only claim holds."""
    [claim] = check_liveness(machine).claims
    if claim.lasso is None:
        assert claim.standing == "holds"
        return None
    return [step.state.id for step in claim.lasso.stem], [step.state.id for step in claim.lasso.cycle]


# Joins and cycles, which a search that marks states, not paths, overlooks.

DIAMOND = {0: [(1, "a"), (2, "a")], 1: [(3, "a")], 2: [(3, "a")]}


def test_a_path_that_joins_one_which_has_arrived_is_followed() -> None:
    """By way of 1 it has arrived before the paths join in 3; by way of 2 it has not."""
    assert lasso_of(Labelled(DIAMOND, eventually(1), weak="a")) == ([0, 2, 3], [])
    assert lasso_of(Labelled(DIAMOND, eventually(2), weak="a")) == ([0, 1, 3], [])
    assert lasso_of(Labelled(DIAMOND, eventually(1, 2), weak="a")) is None
    assert lasso_of(Labelled(DIAMOND, eventually(3), weak="a")) is None


def test_a_cycle_is_a_run() -> None:
    ring = {0: [(1, "a")], 1: [(2, "a")], 2: [(1, "a"), (3, "b")]}
    assert lasso_of(Labelled(ring, eventually(3), weak="a")) == ([0, 1], [2, 1])
    assert lasso_of(Labelled(ring, eventually(3), weak="ab")) == ([0, 1], [2, 1])  # in 1 it cannot leave
    assert lasso_of(Labelled(ring, eventually(3), weak="a", strong="b")) is None


def test_a_step_that_changes_nothing_is_neither_possible_nor_taken() -> None:
    assert lasso_of(Labelled({0: [(0, "a"), (1, "a")]}, eventually(1), weak="a")) is None
    assert lasso_of(Labelled({0: [(0, "a"), (1, "b")]}, eventually(1), weak="a")) == ([0], [])


def test_without_fairness_a_run_may_stop_anywhere() -> None:
    line = {0: [(1, "a")], 1: [(2, "b")]}
    assert lasso_of(Labelled(line, eventually(2))) == ([0], [])
    assert lasso_of(Labelled(line, eventually(2), weak="a")) == ([0, 1], [])
    assert lasso_of(Labelled(line, eventually(2), weak="ab")) is None


def test_what_follows_a_cause_counts_and_not_what_went_before() -> None:
    line = {0: [(1, "a")], 1: [(2, "a")], 2: [(3, "a")]}
    assert lasso_of(Labelled(line, leads_to(1, 2), weak="a")) is None
    assert lasso_of(Labelled(line, leads_to(1, 1), weak="a")) is None
    assert lasso_of(Labelled(line, leads_to(2, 1), weak="a")) == ([0, 1, 2, 3], [])


def test_a_part_of_a_component_may_be_fair_where_the_whole_is_not() -> None:
    """The way out is possible in 2; who stays between 0 and 1 is never obliged to take it."""
    graph = {0: [(1, "a")], 1: [(0, "a"), (2, "a")], 2: [(1, "a"), (3, "s")]}
    assert lasso_of(Labelled(graph, eventually(3), weak="a", strong="s")) == ([0], [1, 0])


def test_a_cycle_takes_all_that_fairness_wants() -> None:
    """Three loops from one state, all of which are fair: the cycle goes through all."""
    clover = {0: [(1, "a"), (2, "b"), (3, "c")], 1: [(0, "x")], 2: [(0, "x")], 3: [(0, "x")]}
    lasso = lasso_of(Labelled(clover, eventually(9), weak="x", strong="abc"))
    assert lasso is not None
    assert set(lasso[1]) == {0, 1, 2, 3}
    assert lasso[1][-1] == 0


# Machines whose answers are known.


def standing(machine: AnyMachine) -> dict[str, str]:
    return {claim.name: claim.standing for claim in check_liveness(machine).claims}


@pytest.mark.parametrize("n", [3, 4])
def test_ewd840_detects_termination_if_the_token_is_passed_on(n: int) -> None:
    assert standing(Ewd840(n)) == {"liveness": "holds"}
    assert standing(Ewd840(n, fair=False)) == {"liveness": "violated"}


def test_ewd840_terminates_only_if_nodes_do_what_they_may() -> None:
    """AllNodesTerminateIfNoMessages: the module says that it fails with WF(System), and holds with WF(Next)."""

    class Silent(Ewd840):
        def actions(self, state: ewd840.State) -> Iterator[ewd840.Action]:
            yield from (a for a in super().actions(state) if not isinstance(a, ewd840.SendMessage))

    machine = Silent(3)
    machine.liveness = (Eventually("all-terminate", lambda state: not any(state.active)),)
    assert standing(machine) == {"all-terminate": "violated"}
    machine.fairness = (Fair("next", lambda _: True),)
    assert standing(machine) == {"all-terminate": "holds"}


@pytest.mark.parametrize("n", [3, 4])
def test_chang_roberts_elects_somebody_if_nobody_stops(n: int) -> None:
    assert standing(ChangRoberts(n)) == {"liveness": "holds"}
    assert standing(ChangRoberts(n, fair=False)) == {"liveness": "violated"}


def test_no_philosopher_starves_unless_somebody_stops() -> None:
    assert set(standing(Dining(5)).values()) == {"holds"}
    assert set(standing(Dining(3, fair=False)).values()) == {"violated"}


def test_peterson_lets_everybody_in_who_waits_and_the_lock_only_if_it_is_strongly_fair() -> None:
    assert explore(Peterson()).verdict == explore(Lock()).verdict == "holds"
    assert set(standing(Peterson()).values()) == {"holds"}
    assert set(standing(Peterson(fair=False)).values()) == {"violated"}
    assert set(standing(Lock()).values()) == {"violated"}
    assert set(standing(Lock(strong=True)).values()) == {"holds"}


def test_who_starves_at_the_lock_sees_the_other_come_and_go() -> None:
    claim = check_liveness(Lock()).claims[0]
    assert claim.lasso is not None
    assert [step.state.places[0] for step in claim.lasso.cycle] == ["wants"] * len(claim.lasso.cycle)
    assert "inside" in [step.state.places[1] for step in claim.lasso.cycle]


class Count(Struct, frozen=True, cache_hash=True):
    """A number."""

    value: int


class Countdown(SimpleMachine[Count, str]):
    """Counts down to 0 and stays there; with `reset`, it may begin anew instead."""

    name = "countdown"

    def __init__(self, reset: bool) -> None:
        self.reset = reset
        self.liveness = (Eventually[Count]("ends", lambda count: count.value == 0),)
        self.fairness = (Fair[str]("counts", lambda action: action if action == "count" else None),)

    def initial(self) -> list[Count]:
        return [Count(3)]

    def actions(self, state: Count) -> list[str]:
        return [] if state.value == 0 else ["count", "reset"] if self.reset else ["count"]

    def step(self, state: Count, action: str) -> Count:
        return Count(3 if action == "reset" else state.value - 1)


def test_a_countdown_ends_unless_it_begins_anew_for_ever() -> None:
    assert lasso_values(Countdown(reset=False)) is None
    assert lasso_values(Countdown(reset=True)) == ([3], [2, 3])


def lasso_values(machine: Countdown) -> tuple[list[int], list[int]] | None:
    lasso = check_liveness(machine).claims[0].lasso
    return (
        None
        if lasso is None
        else ([step.state.value for step in lasso.stem], [step.state.value for step in lasso.cycle])
    )


# The store.


@pytest.mark.parametrize("name", CONVERGENCE)
def test_replicas_converge_by_being_read_under_every_condition(name: str) -> None:
    about, make = CONVERGENCE[name]
    result = check_liveness(make())
    assert result.verdict == ("violated" if "must fail: convergence" in about else "holds")


def test_replicas_do_not_converge_if_repairs_are_not_sent() -> None:
    def silent(server: Server, event: Event) -> Advance:
        found = advance(server, event)
        said = tuple(s for s in found.leaving if not (isinstance(s, Envelope) and isinstance(s.message, Repair)))
        return replace(found, leaving=said)

    machine = Converging("silent", ONE_LOST, driver=Driver(silent))
    assert check_liveness(machine).verdict == "violated"


def test_where_replicas_converge_the_claims_of_safety_hold_too() -> None:
    assert explore(CONVERGENCE["converge"][1]()).verdict == "holds"


# Against a search that shares nothing with ours: every set of states, is it strongly connected, and is it fair?


LABELS = "abc"


@st.composite
def labelled(draw: st.DrawFn) -> Labelled:
    size = draw(st.integers(1, 6))
    edge = st.tuples(st.integers(0, size - 1), st.sampled_from(LABELS))
    edges = {i: draw(st.lists(edge, max_size=3, unique=True)) for i in range(size)}
    fair = draw(st.sampled_from([("", ""), ("a", ""), ("", "a"), ("a", "b"), ("ab", "c"), ("", "ab"), ("abc", "")]))
    targets = draw(st.sets(st.integers(0, size - 1), max_size=2))
    claim: Liveness[Node] = eventually(*targets)
    if draw(st.booleans()):
        claim = leads_to(0, *targets) if draw(st.booleans()) else LeadsTo("leads", lambda _: True, at(*targets))
    return Labelled(edges, claim, weak=fair[0], strong=fair[1])


def some_run_is_against(machine: Labelled) -> bool:
    """Whether a fair run avoids what it should do: by definition, and by brute force."""
    graph = networkx.MultiDiGraph()
    graph.add_nodes_from(machine.edges)
    for i, edges in machine.edges.items():
        graph.add_edges_from((i, target, {"label": label}) for target, label in edges if target != i)
    reachable = {0} | networkx.descendants(graph, 0)
    [claim] = machine.liveness
    if isinstance(claim, Eventually):
        avoiding = {i for i in reachable if not claim.holds(Node(i))}
        starts = {0} & avoiding
    else:
        avoiding = {i for i in reachable if not claim.effect(Node(i))}
        starts = {i for i in avoiding if claim.cause(Node(i))}
    free = graph.subgraph(avoiding)
    near = set().union(*[{i} | networkx.descendants(free, i) for i in starts])
    possible = {i: {data["label"] for _, _, data in graph.out_edges(i, data=True)} for i in graph}
    weak, strong = (
        set(LABELS) & {label for label in LABELS if fair.key(Go(0, label)) is not None} for fair in machine.fairness
    )
    for size in range(1, len(near) + 1):
        for chosen in combinations(sorted(near), size):
            part = graph.subgraph(chosen)
            if networkx.is_strongly_connected(part):
                taken = {data["label"] for _, _, data in part.edges(data=True)}
                unfair = weak.intersection(*[possible[i] for i in chosen]) - taken
                unfair |= strong & set().union(*[possible[i] for i in chosen]) - taken
                if not unfair:
                    return True
    return False


@given(labelled())
def test_it_agrees_with_a_search_of_all_sets_of_states(machine: Labelled) -> None:
    [claim] = check_liveness(machine).claims
    if claim.clause.startswith("no state satisfies its cause"):
        return
    assert (claim.standing == "violated") == some_run_is_against(machine)


@given(labelled())
def test_every_lasso_is_a_fair_run_against_the_claim(machine: Labelled) -> None:
    [claim] = check_liveness(machine).claims
    if (lasso := claim.lasso) is None:
        return
    whole = (*lasso.stem, *lasso.cycle)
    assert whole[0].state == Node(0)
    for here, there in pairwise(whole):
        assert there.action is not None
        assert (there.action, there.state) in list(machine.transitions(here.state))
    assert whole[-1].state == lasso.stem[-1].state
    avoided, wanted = lasso.stem[lasso.since :], machine.liveness[0]
    done = wanted.holds if isinstance(wanted, Eventually) else wanted.effect
    assert not any(done(step.state) for step in (*avoided, *lasso.cycle))
    assert isinstance(wanted, Eventually) or wanted.cause(avoided[0].state)
    visited = [lasso.stem[-1].state.id, *[step.state.id for step in lasso.cycle]]
    taken = {step.action.label for step in lasso.cycle if step.action is not None}
    possible = [{label for target, label in machine.edges[i] if target != i} for i in visited]
    for fair in machine.fairness:
        for label in LABELS:
            if fair.key(Go(0, label)) is not None and label not in taken:
                assert not (any if fair.strong else all)(label in labels for labels in possible)


# Claims that say nothing, models that are wrong, and bounds.


def test_a_cause_that_never_is_says_nothing() -> None:
    [claim] = check_liveness(Labelled(DIAMOND, leads_to(9, 1), weak="a")).claims
    assert (claim.standing, claim.lasso) == ("violated", None)
    assert "no state satisfies its cause" in claim.clause


def test_a_bound_is_never_holds_and_a_lasso_within_it_is_told() -> None:
    line = {i: [(i + 1, "a")] for i in range(9)}
    for bounds in (Bounds(states=5), Bounds(depth=5), Bounds(seconds=1e-9)):
        result = check_liveness(Labelled(line, eventually(9), weak="a"), bounds)
        assert (result.verdict, result.claims[0].standing) == ("incomplete", "not violated so far")
        assert result.stopped.startswith("bound of ")
    early = {0: [(1, "a")], 1: [(0, "a"), (2, "b")], **{i: [(i + 1, "a")] for i in range(2, 9)}}
    assert check_liveness(Labelled(early, eventually(9), weak="a"), Bounds(depth=4)).verdict == "violated"
    assert check_liveness(Labelled(line, eventually(9), weak="a"), Bounds(states=10, depth=10)).verdict == "holds"


def boom(_: object) -> bool:
    raise ZeroDivisionError("it divides by zero")


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (Counter(), "liveness: the machine claims none"),
        (Labelled(DIAMOND, eventually(1), eventually(2)), "two claims are named arrives"),
        (Labelled(DIAMOND, Eventually("bad", boom)), "liveness bad: ZeroDivisionError: it divides by zero"),
        (Labelled({0: [(1, 5)]}, eventually(1)), "a step from the last state: TypeError"),  # type: ignore[list-item]
    ],
)
def test_what_is_wrong_with_the_model_is_named(machine: AnyMachine, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        check_liveness(machine)


# The command.

REGISTRY: Registry = {
    "peterson": ("two processes", Peterson),
    "lock": ("one of them starves", Lock),
    "stops": ("a process stops", lambda: Peterson(fair=False)),
    "counter": ("claims nothing", Counter),
}


def run(name: str, **options: object) -> tuple[int, str, str]:
    said, complained = io.StringIO(), io.StringIO()
    streams = Streams(io.StringIO(), said, complained)
    code = liveness(REGISTRY, name, streams=streams, **options)  # type: ignore[arg-type] # options of several types
    return code, said.getvalue(), complained.getvalue()


def test_the_command_says_what_holds() -> None:
    code, out, err = run("peterson")
    assert (code, err) == (HOLDS, "")
    assert out.startswith("peterson: holds\n")
    assert "  leads-to     0-gets-in  holds\n" in out
    assert "  weak fair    process    6 kinds of action not put off for ever\n" in out


def test_the_command_tells_a_lasso_as_stem_and_cycle() -> None:
    code, out, _ = run("lock")
    assert code == VIOLATED
    assert "and then again and again:" in out
    assert "which leads back to where it was after step 1\n" in out
    assert "0-gets-in fails: its cause holds in step 1, and its effect neither there nor ever after" in out
    code, out, _ = run("stops")
    assert "and there it stays: more could happen, but no fairness asks for it\n" in out


def test_the_command_reports_as_json() -> None:
    code, out, _ = run("lock", json=True)
    claim = json.loads(out)["claims"][0]
    assert code == VIOLATED
    assert (claim["standing"], claim["kind"]) == ("violated", "leads-to")
    assert claim["cycle"][-1]["state"] == claim["stem"][-1]["state"]


def test_the_command_refuses_and_blames() -> None:
    assert run("petersen")[0] == USAGE
    assert run("counter")[0] == OUR_BUG
    assert run("peterson", bounds=Bounds(states=2))[0] == INCOMPLETE
