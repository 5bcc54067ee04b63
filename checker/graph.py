"""The graph of a machine's states, for other tools to draw and to search: DOT for Graphviz, GraphML for the rest.

Each state is a node with its number in order of discovery, its depth and its text, and says whether it is initial,
final or stuck, and which properties it violates; each step is an edge with its action and the kind of that. Unlike a
check, the search goes on beyond what is violated, up to its bounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx

from checker.machine import A, Always, KnowsActionKinds, Machine, S
from checker.outcome import Bounds, ModelError
from checker.story import action_told, show
from checker.tally import said

MOST_STATES = 5_000
COLOURS = {"violates": "#f4a582", "stuck": "#fddbc7", "final": "#d1e5f0"}


# Any, here and below: a graph of networkx, which has no types.
def graph_of(machine: Machine[S, A], bounds: Bounds = Bounds()) -> Any:  # noqa: B008 - immutable
    """The states within the bounds, of which there are few thousand if nothing else is said, and steps between them.

    Raises ModelError where the machine or a property raises.
    """
    most = MOST_STATES if bounds.states is None else bounds.states
    graph = networkx.MultiDiGraph(name=machine.name)
    numbers: dict[S, int] = {}
    depths: list[int] = []
    try:
        for state in machine.initial():
            if state not in numbers:
                numbers[state] = len(numbers)
                depths.append(0)
                graph.add_node(numbers[state], initial=True, **_attributes(machine, state, 0))
        waiting = list(numbers)
        for number, state in enumerate(waiting):  # which grows as we go
            if depths[number] == bounds.depth:
                break
            options = list(machine.transitions(state))
            if not options:
                graph.nodes[number]["final" if machine.is_final(state) else "stuck"] = True
            for action, after in options:
                if after not in numbers:
                    if len(numbers) >= most:
                        graph.nodes[number]["cut"] = True
                        continue
                    numbers[after] = len(numbers)
                    depths.append(depths[number] + 1)
                    waiting.append(after)
                    graph.add_node(numbers[after], **_attributes(machine, after, depths[-1]))
                kind = machine.action_kind(action) if isinstance(machine, KnowsActionKinds) else type(action).__name__
                graph.add_edge(number, numbers[after], label=action_told(machine, action), kind=kind)
    except Exception as error:
        raise ModelError("the graph", said(error)) from error
    return graph


def _attributes(machine: Machine[S, A], state: S, depth: int) -> dict[str, str | int | bool]:
    found: dict[str, str | int | bool] = {"label": show(state), "depth": depth}
    violated = [p.name for p in machine.properties if isinstance(p, Always) and p.violation(state) is not None]
    if violated:
        found["violates"] = ", ".join(violated)
    return found


def write_graph(graph: Any, file: Path) -> None:
    """As the file's name says: GraphML for `.graphml`, else DOT."""
    if file.suffix == ".graphml":
        networkx.write_graphml(graph, file)
    else:
        file.write_text(as_dot(graph))


def as_dot(graph: Any) -> str:
    """The source of a drawing; the text of states is shown where one points at them."""
    lines = [f"digraph {_quoted(graph.name)} {{", "  node [shape=circle, fontsize=10];", "  edge [fontsize=8];"]
    for number, data in graph.nodes(data=True):
        colour = next((COLOURS[mark] for mark in COLOURS if data.get(mark)), "")
        style = f', style=filled, fillcolor="{colour}"' if colour else ""
        shape = ", shape=doublecircle" if data.get("initial") else ""
        why = f"\n{data['violates']}" if "violates" in data else ""
        lines.append(f"  {number} [tooltip={_quoted(data['label'] + why)}{shape}{style}];")
    lines += [f"  {a} -> {b} [label={_quoted(data['label'])}];" for a, b, data in graph.edges(data=True)]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    inner = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inner}"'
