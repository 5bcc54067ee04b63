"""Counterexamples as Mermaid, and state graphs as DOT and GraphML."""

import re
from pathlib import Path

import networkx
import pytest

from checker.check import HOLDS, OUR_BUG, USAGE, VIOLATED, check
from checker.commands import models
from checker.explore import explore
from checker.graph import as_dot, graph_of
from checker.mermaid import as_mermaid
from checker.models import machine_of
from checker.outcome import Bounds, ModelError
from checker.report import as_trace
from tests.machines import odd
from tests.machines.die_hard import DieHard
from tests.machines.odd import Counter
from tests.machines.two_phase import TwoPhase
from tests.test_check import run


def test_the_graph_has_every_state_and_step() -> None:
    graph, result = graph_of(TwoPhase(3)), explore(TwoPhase(3))
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (result.states, result.generated - 1)
    depths = networkx.single_source_shortest_path_length(graph, 0)
    assert {number: data["depth"] for number, data in graph.nodes(data=True)} == depths
    assert [number for number, data in graph.nodes(data=True) if data.get("initial")] == [0]


def test_the_graph_says_what_is_wrong() -> None:
    graph = graph_of(DieHard(claim_unsolvable=True))
    assert graph.number_of_nodes() == 16
    wrong = [data["label"] for _, data in graph.nodes(data=True) if data.get("violates") == "unsolvable"]
    assert sorted(wrong) == ["Jugs(small=0, big=4)", "Jugs(small=3, big=4)"]
    stuck = graph_of(Counter(limit=3, stuck=True))
    found = [data["label"] for _, data in stuck.nodes(data=True) if data.get("stuck")]
    assert found == ["Count(value=3)", "Count(value=4)"]
    with pytest.raises(ModelError, match="the graph: ZeroDivisionError"):
        graph_of(odd.RAISES)


def test_a_bound_is_a_bound() -> None:
    assert graph_of(TwoPhase(3), Bounds(states=50)).number_of_nodes() == 50
    shallow = graph_of(TwoPhase(3), Bounds(depth=2))
    assert max(data["depth"] for _, data in shallow.nodes(data=True)) == 2


def test_graphml_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "graph.graphml"
    assert run(check, "die-hard", graph=file)[0] == HOLDS
    graph = networkx.read_graphml(file)
    assert graph.number_of_nodes() == 16
    assert {data["kind"] for _, _, data in graph.edges(data=True)} >= {"FillSmall", "BigToSmall"}


def test_dot_quotes_what_it_must(tmp_path: Path) -> None:
    file = tmp_path / "graph.dot"
    assert run(check, "die-hard-solved", graph=file)[0] == VIOLATED
    text = file.read_text()
    assert text.startswith('digraph "die-hard-solved" {\n')
    assert text.count(" -> ") == 96
    assert 'label="fill the big jug"' in text
    graph = networkx.MultiDiGraph(name='a "name"')
    graph.add_node(0, label='with "quotes", a \\ and\na line')
    assert '0 [tooltip="with \\"quotes\\", a \\\\ and\\na line"]' in as_dot(graph)


def test_a_counterexample_is_a_flowchart(tmp_path: Path) -> None:
    file = tmp_path / "trace.mmd"
    assert run(check, "die-hard-solved", out=file)[0] == VIOLATED
    lines = file.read_text().splitlines()
    assert lines[0] == "flowchart TD"
    assert '    s0 -->|"fill the big jug"| s1' in lines
    assert '    s1["big#58; 0 → 5"]' in lines
    assert lines[-1] == '    s6 -.- failed["unsolvable fails#58; the big jug holds 4 gallons"]'


def test_a_counterexample_of_the_store_is_a_sequence(tmp_path: Path) -> None:
    file = tmp_path / "weak.mmd"
    assert check(models(), "weak", out=file) == VIOLATED
    lines = file.read_text().splitlines()
    assert lines[:2] == ["sequenceDiagram", "    autonumber"]
    assert "    participant p0 as client1" in lines
    assert "    p0->>p1: put client1#35;1 after []" in lines
    assert re.fullmatch(r"    Note over p0,p\d: quorum-meaning-get fails#58; .*", lines[-1])


def test_every_action_of_the_store_can_be_drawn() -> None:
    for name in ("put-get-drop", "put-get-duplicate", "put-get-crash", "put-get-cut"):
        machine, kinds = machine_of(name), set[str]()
        for state in list(machine.initial()):
            frontier = [state]
            for depth in range(4):
                following = [step for here in frontier[:12] for step in machine.transitions(here)]
                for action, _ in following:
                    who, told = machine.draw_action(action)
                    kinds.add(type(action).__name__)
                    assert told
                    assert len(who) <= 2, depth
                frontier = [after for _, after in following[::-1]]
        assert len(kinds) >= 3
    result = explore(machine_of("weak"))
    trace = as_trace("weak", machine_of("weak"), result)
    assert trace is not None
    assert as_mermaid(machine_of("weak"), trace).count("\n") >= 5


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    code, _, err = run(check, "die-hard", graph=tmp_path / "nowhere" / "graph.dot")
    assert code == USAGE
    assert "there is no folder" in err
    assert run(check, "raises", graph=tmp_path / "graph.dot")[0] == OUR_BUG
