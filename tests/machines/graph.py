"""Any graph as a machine, and random ones: what a search finds there can be found in other ways."""

from collections.abc import Sequence

from hypothesis import strategies as st
from msgspec import Struct

from checker.machine import Always, Property, SimpleMachine, Sometimes


class Node(Struct, frozen=True, cache_hash=True):
    """A node by its number."""

    id: int


class Graph(SimpleMachine[Node, Node]):
    """Starts at node 0; an action is the node that it leads to; `bad` nodes violate its one claim."""

    def __init__(self, edges: list[list[int]], bad: set[int], name: str = "graph") -> None:
        """For each node, where its edges lead."""
        self.name = name
        self.edges = edges
        self.bad = bad
        self.properties: Sequence[Property[Node, Node]] = (
            Always("good", lambda node: f"{node.id} is bad" if node.id in bad else None),
        )

    def initial(self) -> list[Node]:
        """Node 0, twice."""
        return [Node(0), Node(0)]

    def actions(self, state: Node) -> list[Node]:
        """Along the edges."""
        return [Node(target) for target in self.edges[state.id]]

    def step(self, state: Node, action: Node) -> Node:  # noqa: ARG002 - the action says where to
        """To the end of the edge."""
        return action

    def is_final(self, state: Node) -> bool:  # noqa: ARG002
        """It may stop anywhere."""
        return True


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Of up to forty nodes, with at most two bad ones."""
    size = draw(st.integers(1, 40))
    nodes = st.integers(0, size - 1)
    edges = draw(st.lists(st.lists(nodes, max_size=4), min_size=size, max_size=size))
    return Graph(edges, draw(st.sets(nodes, max_size=2)))


class Grid(SimpleMachine[Node, str]):
    """A grid of so many columns and rows, walked from a corner right, down or back; wide enough to be interrupted."""

    def __init__(self, columns: int, rows: int, forbidden: int | None = None) -> None:
        """`forbidden` is a node that is claimed not to be reached."""
        self.name = "grid"
        self.columns, self.rows = columns, rows
        self.properties: Sequence[Property[Node, str]] = (
            Always("allowed", lambda node: f"{node.id} is forbidden" if node.id == forbidden else None),
            Sometimes("far", lambda node: node.id == columns * rows - 2, of="allowed"),
        )

    def initial(self) -> list[Node]:
        """Two corners."""
        return [Node(0), Node(self.columns - 1)]

    def actions(self, state: Node) -> list[str]:
        """Where there is more of it."""
        row, column = divmod(state.id, self.columns)
        can = {"right": column + 1 < self.columns, "down": row + 1 < self.rows, "back": state.id > 0}
        return [name for name, possible in can.items() if possible]

    def step(self, state: Node, action: str) -> Node:
        """One further, or back to the start."""
        return {"right": Node(state.id + 1), "down": Node(state.id + self.columns), "back": Node(0)}[action]

    def action_kind(self, action: str) -> str:
        """Each direction is one."""
        return action
