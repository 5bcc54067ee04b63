"""What must happen in the end: claims about whole runs, judged on the whole graph of a machine's states.

A run begins in an initial state and goes on for ever; where nothing happens any more, it stays where it is. Nothing
has to happen unless the machine declares it *fair*: a run may stop anywhere, as in TLA+. A declaration
(`machine.Fair`) sorts actions into classes, each of which is not put off for ever. A run is fair to a class

    weakly      if the class is taken again and again, or is again and again not possible;
    strongly    if the class is taken again and again, or is possible only finitely often.

A claim fails if some fair run never does what it should. In a finite graph there is then one of the form of a *lasso*:
a stem, and a cycle that is taken for ever. The states of its cycle lie in one strongly connected component of those
states that avoid what should happen, and a run that walks all over such a component is fair unless

    a weakly fair class is possible in all of its states and taken by none of its steps: then no part of it is fair; or
    a strongly fair class is possible in some and taken by none: then only a part that avoids those states can be.

So components are searched, and parts of components, until one is fair or none is left. Since all paths are looked at
and not the states alone, it makes no difference how a state was reached first: a path that joins one which already did
what it should is still followed, and cycles are runs like any others.

States are found as `checker.explore` finds them. Those whose successors a bound kept from being looked at are in no
cycle, so that a lasso is one even then; that there is none means nothing then, and the verdict is *incomplete*.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Generic

import networkx
from msgspec import Struct

from checker.doubts import look_closely
from checker.machine import A, ClaimsLiveness, Eventually, Fair, LeadsTo, Liveness, Machine, S
from checker.outcome import Bounds, ModelError, Standing, Step, Verdict
from checker.tally import bytes_held


class Lasso(Struct, Generic[S, A], frozen=True):
    """A fair run against a claim: a stem, and the steps that lead from its last state back to it, for ever.

    Without such steps the run stops there. `since` is the index in the stem of the state from which on it avoids what
    should happen.
    """

    stem: tuple[Step[S, A], ...]
    cycle: tuple[Step[S, A], ...]
    since: int
    can_go_on: bool
    """Whether anything could happen in the last state of the stem."""


class ClaimResult(Struct, Generic[S, A], frozen=True):
    """What became of one claim; a violated one has a lasso, unless it is void, which its clause then says."""

    name: str
    kind: str
    standing: Standing
    clause: str = ""
    lasso: Lasso[S, A] | None = None


class FairnessResult(Struct, frozen=True):
    """How many classes of actions a declaration of fairness turned out to speak of."""

    name: str
    strong: bool
    classes: int


class LivenessResult(Struct, Generic[S, A], frozen=True):
    """What a search of whole runs found; `stopped` says what cut it short."""

    machine: str
    verdict: Verdict
    states: int
    steps: int
    seconds: float
    claims: tuple[ClaimResult[S, A], ...]
    fairness: tuple[FairnessResult, ...]
    stopped: str = ""


class Edge(Struct, Generic[A], frozen=True):
    """A step that changes something: its action, the index of its end, and the fair classes that it takes."""

    action: A
    target: int
    classes: frozenset[int]


class Graph(Generic[S, A]):
    """All states, in order of discovery, and the steps from each; the last ones have none if a bound was reached."""

    def __init__(self, fairness: Iterable[Fair[A]]) -> None:
        """An empty graph, whose steps will be sorted into the classes of `fairness`."""
        self.fairness = tuple(fairness)
        self.states: list[S] = []
        self.parents: list[int] = []  # an initial state is its own
        self.initial = 0  # that many of the states
        self.edges: list[list[Edge[A]]] = []
        self.possible: list[frozenset[int]] = []  # the classes that some step from there takes
        self.class_ids: dict[tuple[int, Hashable], int] = {}
        self.strong: list[bool] = []
        self.stopped = ""

    def classes_of(self, action: A) -> frozenset[int]:
        """The fair classes of an action, by number."""
        found = []
        for index, fair in enumerate(self.fairness):
            if (key := fair.key(action)) is not None:
                number = self.class_ids.setdefault((index, key), len(self.class_ids))
                if number == len(self.strong):
                    self.strong.append(fair.strong)
                found.append(number)
        return frozenset(found)

    def path(self, index: int) -> tuple[Step[S, A], ...]:
        """A shortest path to a state."""
        indices = [index]
        while (parent := self.parents[indices[-1]]) != indices[-1]:
            indices.append(parent)
        return self.along(list(reversed(indices)))

    def along(self, indices: list[int]) -> tuple[Step[S, A], ...]:
        """The steps from each of these states to the next."""
        steps = [Step[S, A](None, self.states[indices[0]])]
        for here, there in pairwise(indices):
            edge = next(edge for edge in self.edges[here] if edge.target == there)
            steps.append(Step(edge.action, self.states[there]))
        return tuple(steps)


def check_liveness(machine: Machine[S, A], bounds: Bounds = Bounds()) -> LivenessResult[S, A]:  # noqa: B008 - immutable
    """Judge what `machine` claims of its runs, on the states that it reaches within `bounds`.

    Raises ModelError where the machine claims nothing, breaks its contract, or raises, or a claim or fairness does.
    """
    look_closely(machine)
    started = time.monotonic()
    if not isinstance(machine, ClaimsLiveness):
        raise ModelError("liveness", "the machine claims none: it has no `liveness` and `fairness`")
    claims: list[Liveness[S]] = list(machine.liveness)
    for claim in claims:
        if [c.name for c in claims].count(claim.name) > 1:
            raise ModelError("liveness", f"two claims are named {claim.name}")
    graph = build(machine, machine.fairness, bounds)
    results = tuple(judge(graph, claim) for claim in claims)
    violated = any(result.standing == "violated" for result in results)
    return LivenessResult(
        machine=machine.name,
        verdict="violated" if violated else "incomplete" if graph.stopped else "holds",
        states=len(graph.states),
        steps=sum(map(len, graph.edges)),
        seconds=time.monotonic() - started,
        claims=results,
        fairness=tuple(
            FairnessResult(fair.name, fair.strong, sum(index == i for i, _ in graph.class_ids))
            for index, fair in enumerate(graph.fairness)
        ),
        stopped=graph.stopped,
    )


def why_unfair(machine: Machine[S, A], fairness: Iterable[Fair[A]], cycle: Sequence[Step[S, A]]) -> str | None:
    """What is put off by a run that goes on for ever through these states, each reached by its action, or stays in one.

    The first step stands for the state that the cycle begins and ends in; where it is the only one, the run stops.
    """
    for fair in fairness:
        taken = {fair.key(step.action) for step in cycle[1:] if step.action is not None}
        possible = [
            {fair.key(action) for action, after in machine.transitions(step.state) if after != step.state}
            for step in cycle
        ]
        put_off = set().union(*possible) if fair.strong else set.intersection(*possible)
        if starved := sorted(map(str, put_off - taken - {None})):
            return f"{fair.name}: {starved[0]} is put off for ever"
    return None


# The graph.


def build(machine: Machine[S, A], fairness: Iterable[Fair[A]], bounds: Bounds) -> Graph[S, A]:
    """Find all states and all steps that change something, breadth first."""
    graph = Graph[S, A](fairness)
    deadline = None if bounds.seconds is None else time.monotonic() + bounds.seconds
    try:
        graph.states = list(dict.fromkeys(machine.initial()))
    except Exception as error:
        raise ModelError("the initial states", f"{type(error).__name__}: {error}") from error
    if not graph.states:
        raise ModelError("the initial states", "there are none")
    graph.initial = len(graph.states)
    graph.parents = list(range(graph.initial))
    indices = {state: index for index, state in enumerate(graph.states)}
    depths = [0] * graph.initial
    for index, state in enumerate(graph.states):  # which grows as we go
        if depths[index] == bounds.depth:
            graph.stopped = f"bound of depth {bounds.depth:,} reached"
        elif deadline is not None and time.monotonic() >= deadline:
            graph.stopped = f"bound of {bounds.seconds:g} seconds reached"
        elif bounds.memory is not None and bytes_held() >= bounds.memory:
            graph.stopped = f"bound of {bounds.memory >> 20:,} MiB of memory reached"
        elif bounds.states is not None and len(graph.states) > bounds.states:
            graph.stopped = f"bound of {bounds.states:,} states reached"
        if graph.stopped:
            break
        edges, possible = [], set[int]()
        try:
            for action, after in machine.transitions(state):
                target = indices.setdefault(after, len(graph.states))
                if target == len(graph.states):
                    graph.states.append(after)
                    graph.parents.append(index)
                    depths.append(depths[index] + 1)
                if target != index:
                    edges.append(Edge(action, target, graph.classes_of(action)))
                    possible |= edges[-1].classes
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise ModelError("a step from the last state", said, graph.path(index)) from error
        graph.edges.append(edges)
        graph.possible.append(frozenset(possible))
    return graph


# A claim.


def judge(graph: Graph[S, A], claim: Liveness[S]) -> ClaimResult[S, A]:
    """Look for a fair run against a claim."""
    kind = "eventually" if isinstance(claim, Eventually) else "leads-to"
    done = _holds(graph, claim.name, claim.holds if isinstance(claim, Eventually) else claim.effect)
    if isinstance(claim, LeadsTo):
        cause = _holds(graph, claim.name, claim.cause)
        if not any(cause) and not graph.stopped:
            return ClaimResult(claim.name, kind, "violated", "no state satisfies its cause, so that it says nothing")
        starts = [c and not d for c, d in zip(cause, done, strict=True)]
    else:
        starts = [index < graph.initial and not d for index, d in enumerate(done)]
    lasso = find_lasso(graph, starts, done, isinstance(claim, LeadsTo))
    if lasso is None:
        return ClaimResult(claim.name, kind, "not violated so far" if graph.stopped else "holds")
    clause = "no state of this run satisfies it"
    if isinstance(claim, LeadsTo):
        clause = f"its cause holds in step {lasso.since}, and its effect neither there nor ever after"
    return ClaimResult(claim.name, kind, "violated", clause, lasso)


def _holds(graph: Graph[S, A], name: str, predicate: Callable[[S], bool]) -> list[bool]:
    """Where a predicate of a claim holds."""
    found: list[bool] = []
    try:
        for state in graph.states:
            found.append(bool(predicate(state)))
    except Exception as error:
        raise ModelError(f"liveness {name}", f"{type(error).__name__}: {error}", graph.path(len(found))) from error
    return found


def find_lasso(graph: Graph[S, A], starts: list[bool], done: list[bool], anywhere: bool) -> Lasso[S, A] | None:
    """A fair run that from one of `starts` on avoids `done`; its stem is the shortest there is.

    A stem is searched in two layers: states of any kind, if `anywhere`, and from a start on states that are not done.
    """
    came_from: dict[tuple[int, bool], tuple[int, bool] | None] = {}  # (state, whether it avoids by now)
    queue: deque[tuple[int, bool]] = deque()

    def reach(index: int, avoiding: bool, source: tuple[int, bool] | None) -> None:
        if (index, avoiding) not in came_from:
            came_from[index, avoiding] = source
            queue.append((index, avoiding))

    for index in range(graph.initial):
        if starts[index]:
            reach(index, True, None)
        if anywhere:
            reach(index, False, None)
    while queue:
        node = index, avoiding = queue.popleft()
        if index >= len(graph.edges):
            continue
        for edge in graph.edges[index]:
            if avoiding and not done[edge.target]:
                reach(edge.target, True, node)
            elif not avoiding:
                if starts[edge.target]:
                    reach(edge.target, True, node)
                reach(edge.target, False, node)
    avoiders = [index for index, avoiding in came_from if avoiding and index < len(graph.edges)]
    component_of = {index: part for part in fair_components(graph, avoiders) for index in part}
    entry = next((index for index in avoiders if index in component_of), None)  # the first reached is the nearest
    if entry is None:
        return None
    stem: list[tuple[int, bool]] = [(entry, True)]
    while (before := came_from[stem[-1]]) is not None:
        stem.append(before)
    stem.reverse()
    cycle = fair_cycle(graph, component_of[entry], entry)
    return Lasso(
        stem=graph.along([index for index, _ in stem]),
        cycle=tuple(Step(edge.action, graph.states[edge.target]) for edge in cycle),
        since=next(i for i, (_, avoiding) in enumerate(stem) if avoiding),
        can_go_on=bool(graph.edges[entry]),
    )


# Fair components and cycles.


def components(graph: Graph[S, A], nodes: Collection[int]) -> list[frozenset[int]]:
    """The strongly connected components of the graph between these states, in the order of their first states."""
    inside = frozenset(nodes)
    digraph = networkx.DiGraph()
    digraph.add_nodes_from(sorted(inside))
    digraph.add_edges_from((i, e.target) for i in sorted(inside) for e in graph.edges[i] if e.target in inside)
    found: list[frozenset[int]] = [frozenset(part) for part in networkx.strongly_connected_components(digraph)]
    return sorted(found, key=min)


def fair_components(graph: Graph[S, A], nodes: Collection[int]) -> Iterator[frozenset[int]]:
    """Strongly connected parts of these states such that walking all over one is fair; each fair run ends in one."""
    waiting = [nodes]
    while waiting:
        for part in components(graph, waiting.pop()):
            taken = {c for i in part for edge in graph.edges[i] if edge.target in part for c in edge.classes}
            always = frozenset.intersection(*[graph.possible[i] for i in part])
            if any(c not in taken and not graph.strong[c] for c in always):
                continue
            starved = {c for i in part for c in graph.possible[i] if graph.strong[c]} - taken
            if not starved:
                yield part
            elif rest := [i for i in part if not starved & graph.possible[i]]:
                waiting.append(rest)


def fair_cycle(graph: Graph[S, A], part: frozenset[int], entry: int) -> list[Edge[A]]:
    """A fair cycle through `entry` within a fair component; empty if the run may stop at `entry`.

    What fairness still wants is settled one class after the other, each on the shortest way; then the way goes back.
    """
    cycle: list[Edge[A]] = []
    here = entry
    while True:
        wanted = _wanted(graph, entry, cycle)
        if wanted is not None:
            settles = _settles(graph, wanted)
        elif here != entry:
            settles = _leads_to(entry)
        else:
            return cycle
        way = _shortest(graph, part, here, settles)
        cycle += way
        here = way[-1].target


def _wanted(graph: Graph[S, A], entry: int, cycle: list[Edge[A]]) -> int | None:
    """The first class to which taking this cycle for ever is not fair."""
    visited = [entry, *[edge.target for edge in cycle]]
    taken = {c for edge in cycle for c in edge.classes}
    somewhere = frozenset.union(*[graph.possible[i] for i in visited])
    everywhere = frozenset.intersection(*[graph.possible[i] for i in visited])
    unfair = [c for c in somewhere if c not in taken and (graph.strong[c] or c in everywhere)]
    return min(unfair, default=None)


def _settles(graph: Graph[S, A], wanted: int) -> Callable[[Edge[A]], bool]:
    """Whether a step takes the class, or leads to where it is not possible, which is enough if it is weakly fair."""
    return lambda edge: wanted in edge.classes or not (graph.strong[wanted] or wanted in graph.possible[edge.target])


def _leads_to(index: int) -> Callable[[Edge[A]], bool]:
    return lambda edge: edge.target == index


def _shortest(
    graph: Graph[S, A], part: frozenset[int], start: int, is_last: Callable[[Edge[A]], bool]
) -> list[Edge[A]]:
    """The shortest way within a component that ends with such a step, of which there is one."""
    came: dict[int, tuple[int, Edge[A]] | None] = {start: None}
    queue = [start]
    for here in queue:  # which grows as we go
        for edge in graph.edges[here]:
            if edge.target not in part:
                continue
            if is_last(edge):
                way = [edge]
                while (step := came[here]) is not None:
                    here = step[0]
                    way.append(step[1])
                return way[::-1]
            if edge.target not in came:
                came[edge.target] = here, edge
                queue.append(edge.target)
    raise AssertionError("a fair component has a step that settles what fairness wants of it")
