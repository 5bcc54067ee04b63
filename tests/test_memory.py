"""What a machine of the store remembers: a claim remembered for what it reads says what the claim itself says."""

from __future__ import annotations

from itertools import product

import pytest
from msgspec.structs import replace

from checker import memory
from checker.audit import Walk
from checker.machine import Always
from checker.memory import READS, Reads, claimed
from checker.models import machine_of
from checker.verdicts import OF_COMPONENTS
from spec.maps import FSet
from spec.properties import EXPLORED_CLAIMS
from spec.world import State

NAMES = [name for group, _ in READS for name in group]
FAILING = {"no-lost-write", "quorum-meaning-put", "context-honesty"}
"""The claims that some mixture refutes."""


def mixed(name: str) -> list[State]:
    """States that cannot be reached: servers and messages of one, clients of another, the history of a third.

    Some of the clients have forgotten what they were shown, though not its context.
    """
    walked = [state for state, _ in Walk(machine_of(name), 10_000)]
    states = walked[:: len(walked) // 12]  # from the first to the last
    clients = [state.clients for state in states]
    clients += [tuple([replace(client, seen=FSet()) for client in some]) for some in clients[-4:]]
    return [
        State(one.servers, some, one.network, one.faults, three.history)
        for one, some, three in product(states, clients, states)
    ]


def disagreeing(states: list[State]) -> tuple[set[str], set[str]]:
    """The claims that are remembered wrongly, and those that fail somewhere."""
    plain = {claim.name: claim.check for claim in EXPLORED_CLAIMS if claim.check is not None}
    wrong, failing = set[str](), set[str]()
    for p in claimed([*NAMES, *OF_COMPONENTS]):
        if isinstance(p, Always):
            for state in states:
                said = plain[p.name](state)
                wrong |= {p.name} if (p.violation(state) is None) != (said is None) else set()
                failing |= {p.name} if said is not None else set()
    return wrong, failing


@pytest.mark.parametrize("name", ["put-get-crash", "sloppy-put"])
def test_claims_read_what_is_said_of_them(name: str) -> None:
    wrong, failing = disagreeing(mixed(name))
    assert wrong == set()
    assert failing >= FAILING - {"context-honesty"}


@pytest.mark.parametrize("claim", sorted(FAILING))
def test_a_claim_that_reads_more_is_found_out(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_clients(state: State) -> object:
        return len(state.clients)

    less: list[tuple[tuple[str, ...], Reads]] = [((claim,), of_clients)]
    monkeypatch.setattr(memory, "READS", (*((g, reads) for g, reads in READS if claim not in g), *less))
    assert disagreeing(mixed("put-get-crash"))[0] == {claim}
