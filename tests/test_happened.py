"""Orders that respect what happened before what, in the recorded run, and where a log was lost with its disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from checker.happened import At, Causes, linear_extension, match_clients, match_messages
from checker.logs import Invalid, Logs, read_logs
from spec.events import Deliver

RECORDED = Path(__file__).resolve().parent.parent / "traces" / "recorded" / "siblings"


@pytest.fixture
def run() -> tuple[Logs, Causes]:
    """The recorded run, and what caused what in it."""
    logs, causes = read_logs(RECORDED), Causes()
    match_messages(logs, causes)
    match_clients(logs, causes)
    return logs, causes


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_an_order_holds_everything_once_and_no_effect_before_its_cause(
    run: tuple[Logs, Causes], seed: int | None
) -> None:
    logs, causes = run
    order = list(linear_extension(logs, causes, seed))
    place = {at: i for i, at in enumerate(order)}
    assert len(place) == len(order) == sum(len(r.steps) for r in logs.nodes) + sum(len(r.entries) for r in logs.clients)
    assert all(place[cause] < place[at] for at, before in causes.items() for cause in before)


def received(logs: Logs, causes: Causes) -> tuple[At, At]:
    """A message that was received, and the step that sent it."""
    return next(
        (at, cause)
        for at, (cause, *_) in causes.items()
        if at.log < len(logs.nodes) and isinstance(logs.nodes[at.log].steps[at.entry].event, Deliver)
    )


def test_who_receives_what_only_follows_from_it_read_a_lost_log(run: tuple[Logs, Causes]) -> None:
    """A disk was lost, its node counts its runs anew, and says what it once said, in the step of the same number.

    (Found by six seconds of chaos on a busy machine: a node's answers to marks are the same after its start on a new
    disk, and what was received of the lost disk's was taken for what it said later.)
    """
    logs, causes = run
    receipt, sending = received(logs, causes)
    causes.setdefault(sending, []).append(receipt)
    with pytest.raises(Invalid, match="in a circle"):
        list(linear_extension(logs, {at: list(before) for at, before in causes.items()}, None))
    lost = replace(logs.nodes[sending.log], found_out=0)
    nodes = tuple(lost if record.name == lost.name else record for record in logs.nodes)
    order = list(linear_extension(replace(logs, nodes=nodes), causes, None))
    assert order.index(receipt) < order.index(sending)
    assert sending not in causes[receipt]
