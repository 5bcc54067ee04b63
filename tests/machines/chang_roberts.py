"""Leader election on a ring, after Chang and Roberts, "An improved algorithm for decentralized extrema-finding" (1979).

Source: the TLA+ examples, `specifications/chang_roberts/MCChangRoberts.tla` and `.cfg` (N = 3, Id[i] = i) over the
module ChangRoberts by Stephan Merz; its manifest gives 137 distinct states of 227 generated, depth 10.

Any set of nodes starts the election: each of them sends its identity to the next node. A node passes on what is smaller
than its own identity, and is lost then, or has been from the start; it swallows what is larger. Whoever gets its own
identity back has won. Messages to a node are a set.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal, TypeAlias

from msgspec import Struct

from checker.machine import Always, Fair, LeadsTo, Liveness, Property, SimpleMachine, Sometimes

Standing: TypeAlias = Literal["cand", "lost", "won"]


class State(Struct, frozen=True, cache_hash=True):
    """Per node: the identities waiting for it, whether it has begun, whether it is an initiator, and how it stands."""

    messages: tuple[frozenset[int], ...]
    begun: tuple[bool, ...]
    initiator: tuple[bool, ...]
    standing: tuple[Standing, ...]


class Begin(Struct, frozen=True, tag=True):
    """n0(node)."""

    node: int


class Handle(Struct, frozen=True, tag=True):
    """n1(node), for one of the identities waiting for it."""

    node: int
    identity: int


Action: TypeAlias = Begin | Handle


def incorrect(state: State) -> str | None:
    """Who has won is the initiator of the smallest identity, and all others know that they lost (Correctness)."""
    for node, standing in enumerate(state.standing):
        if standing != "won":
            continue
        if not state.initiator[node]:
            return f"node {node} has won and is no initiator"
        for other, theirs in enumerate(state.standing):
            if other != node and (theirs != "lost" or (state.initiator[other] and other < node)):
                return f"node {node} has won, and node {other} is {theirs}"
    return None


class ChangRoberts(SimpleMachine[State, Action]):
    """The ring of `n` nodes, whose identities are their numbers; with `fair`, every node goes on."""

    def __init__(self, n: int, fair: bool = True) -> None:
        """Only liveness depends on `fair`."""
        self.name = f"chang-roberts-{n}"
        self.n = n
        self.properties: Sequence[Property[State, Action]] = (
            Always("correctness", incorrect),
            Sometimes("somebody-won", lambda state: "won" in state.standing, of="correctness"),
        )
        self.liveness: Sequence[Liveness[State]] = (
            LeadsTo("liveness", lambda state: "cand" in state.standing, lambda state: "won" in state.standing),
        )
        self.fairness: Sequence[Fair[Action]] = (Fair("node", lambda action: action.node),) if fair else ()

    def initial(self) -> Iterator[State]:
        """Nothing is sent; any of them may be initiators."""
        for initiator in product((False, True), repeat=self.n):
            standing = tuple[Standing, ...]("cand" if is_one else "lost" for is_one in initiator)
            yield State((frozenset[int](),) * self.n, (False,) * self.n, initiator, standing)

    def actions(self, state: State) -> Iterator[Action]:
        """The module's Next."""
        for node in range(self.n):
            if not state.begun[node]:
                yield Begin(node)
            else:
                yield from (Handle(node, identity) for identity in sorted(state.messages[node]))

    def step(self, state: State, action: Action) -> State:
        """The module's actions."""
        node, standing = action.node, list(state.standing)
        messages, begun = list(state.messages), list(state.begun)
        following = (node + 1) % self.n
        if isinstance(action, Begin):
            begun[node] = True
            if state.initiator[node]:
                messages[following] |= {node}
        else:
            messages[node] -= {action.identity}
            if standing[node] == "lost" or action.identity < node:
                standing[node] = "lost"
                messages[following] |= {action.identity}
            elif action.identity == node:
                standing[node] = "won"
        return State(tuple(messages), tuple(begun), state.initiator, tuple(standing))

    def is_final(self, state: State) -> bool:
        """All have begun, and nothing is on its way."""
        return all(state.begun) and not any(state.messages)
