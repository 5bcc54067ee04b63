"""A path as a Mermaid diagram, which many renderers of Markdown draw.

A machine whose actions happen between parties says so (`DrawsActions`), and its path is a sequence diagram: a lifeline
for each party, an arrow for what goes from one to another, a note for what happens at one or to all. The path of any
other machine is a flowchart, in which each step is an arrow to what it changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from checker.itf import Trace
from checker.machine import A, DrawsActions, Machine, S
from checker.story import action_told, changes_told, show

SUFFIX = ".mmd"
MOST_LINES = 8


def as_mermaid(machine: Machine[S, A], trace: Trace[S, A]) -> str:
    """The source of a diagram."""
    lines = sequence(machine, trace) if isinstance(machine, DrawsActions) else flowchart(machine, trace)
    return "\n".join(lines) + "\n"


def sequence(machine: Machine[S, A], trace: Trace[S, A]) -> Iterator[str]:
    """What goes from whom to whom, one after the other."""
    assert isinstance(machine, DrawsActions), "whoever draws a sequence knows who takes part"
    drawn = [machine.draw_action(step.action) for step in trace.path if step.action is not None]
    parties = list(dict.fromkeys(party for who, _ in drawn for party in who))
    names = {party: f"p{number}" for number, party in enumerate(parties)}
    yield "sequenceDiagram"
    yield "    autonumber"
    for party, name in names.items():
        yield f"    participant {name} as {escaped(party)}"
    for who, told in drawn:
        if len(who) == 2 and who[0] != who[1]:
            yield f"    {names[who[0]]}->>{names[who[1]]}: {escaped(told)}"
        elif parties:
            over = [who[0]] if who else list(dict.fromkeys([parties[0], parties[-1]]))
            yield f"    Note over {','.join(names[party] for party in over)}: {escaped(told)}"
    if trace.about.property and parties:
        both = ",".join(dict.fromkeys([names[parties[0]], names[parties[-1]]]))
        yield f"    Note over {both}: {escaped(f'{trace.about.property} fails: {trace.about.clause}')}"


def flowchart(machine: Machine[S, A], trace: Trace[S, A]) -> Iterator[str]:
    """From state to state."""
    yield "flowchart TD"
    for index, step in enumerate(trace.path):
        before = trace.path[index - 1].state if index else None
        told = (
            [show(step.state)] if before is None else changes_told(machine, before, step.state) or ["nothing changes"]
        )
        told = told if len(told) <= MOST_LINES else [*told[: MOST_LINES - 1], f"and {len(told) - MOST_LINES + 1} more"]
        yield f'    s{index}["{"<br/>".join(map(escaped, told))}"]'
        if index:
            yield f'    s{index - 1} -->|"{escaped(action_told(machine, step.action))}"| s{index}'
    if trace.about.property:
        failed = escaped(f"{trace.about.property} fails: {trace.about.clause}")
        yield f'    s{len(trace.path) - 1} -.- failed["{failed}"]'


def escaped(text: str) -> str:
    """Text in which nothing means anything to Mermaid."""
    special = {'"': "#quot;", "#": "#35;", ";": "#59;", "<": "#lt;", ">": "#gt;", ":": "#58;", "|": "#124;"}
    return "".join(special.get(character, character) for character in " ".join(text.split()))
