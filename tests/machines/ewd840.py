"""Termination detection on a ring, after Dijkstra, Feijen and van Gasteren (EWD 840), and its TLA+ module EWD840.

Source: the TLA+ examples, `specifications/ewd840/EWD840.tla` by Stephan Merz; its manifest gives 302 distinct states of
2,001 generated, which are those of N = 3. (TLC generates a state for each disjunct of a guard that is true, we once.)

Nodes 0 … N-1 compute; an active one may activate another by a message that arrives at once, and may become passive. A
token travels from N-1 down to 0. A node that activates one with a higher number turns black, for the token may have
passed that one already, and stains the token when it passes it on. Node 0 starts another round unless it got a white
token and is white itself. Any states, colours and place of the token may be the first, but the token starts black.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TypeAlias

from msgspec import Struct

from checker.machine import Always, Fair, LeadsTo, Liveness, Property, SimpleMachine, Sometimes


class State(Struct, frozen=True, cache_hash=True):
    """Who is active, which nodes are black, where the token is, and whether it is black."""

    active: tuple[bool, ...]
    black: tuple[bool, ...]
    token_at: int
    token_black: bool


class InitiateProbe(Struct, frozen=True, tag=True):
    """Node 0 sends a white token to the last node."""


class PassToken(Struct, frozen=True, tag=True):
    """PassToken(node)."""

    node: int


class SendMessage(Struct, frozen=True, tag=True):
    """SendMsg(node), to one node."""

    node: int
    target: int


class Deactivate(Struct, frozen=True, tag=True):
    """Deactivate(node)."""

    node: int


Action: TypeAlias = InitiateProbe | PassToken | SendMessage | Deactivate


def detected(state: State) -> bool:
    """Node 0 knows that all are passive (terminationDetected)."""
    return state.token_at == 0 and not state.token_black and not state.black[0] and not state.active[0]


def detected_too_early(state: State) -> str | None:
    """What is detected is true (TerminationDetection)."""
    if detected(state) and any(state.active):
        return f"termination is detected, but node {state.active.index(True)} is active"
    return None


def not_inductive(state: State) -> str | None:
    """Dijkstra's invariant (Inv)."""
    passed_are_passive = not any(state.active[state.token_at + 1 :])
    if passed_are_passive or any(state.black[: state.token_at + 1]) or state.token_black:
        return None
    return "a node that a white token has passed is active, and none before it is black"


def is_system(action: Action) -> bool | None:
    """The actions of termination detection itself (System)."""
    return True if isinstance(action, InitiateProbe | PassToken) else None


class Ewd840(SimpleMachine[State, Action]):
    """The ring of `n` nodes; with `fair`, the token travels on as long as it may (WF_vars(System))."""

    def __init__(self, n: int, fair: bool = True) -> None:
        """Only liveness depends on `fair`."""
        self.name = f"ewd840-{n}"
        self.n = n
        self.properties: Sequence[Property[State, Action]] = (
            Always("termination-detection", detected_too_early),
            Always("invariant", not_inductive),
            Sometimes("detected", detected, of="termination-detection"),
            Sometimes("white-token", lambda state: not state.token_black, of="invariant"),
        )
        self.liveness: Sequence[Liveness[State]] = (LeadsTo("liveness", lambda state: not any(state.active), detected),)
        self.fairness: Sequence[Fair[Action]] = (Fair("system", is_system),) if fair else ()

    def initial(self) -> Iterator[State]:
        """Anything, but the token is black."""
        for active in product((False, True), repeat=self.n):
            for black in product((False, True), repeat=self.n):
                for token_at in range(self.n):
                    yield State(active, black, token_at, True)

    def actions(self, state: State) -> Iterator[Action]:
        """The module's Next, disjunct by disjunct."""
        at = state.token_at
        if at == 0 and (state.token_black or state.black[0]):
            yield InitiateProbe()
        if at != 0 and (not state.active[at] or state.black[at] or state.token_black):
            yield PassToken(at)
        for node in range(self.n):
            if state.active[node]:
                yield from (SendMessage(node, target) for target in range(self.n) if target != node)
                yield Deactivate(node)

    def step(self, state: State, action: Action) -> State:
        """The module's actions, one case each."""
        active, black, at = state.active, state.black, state.token_at
        match action:
            case InitiateProbe():
                return State(active, changed(black, 0, False), self.n - 1, False)
            case PassToken(node):
                return State(active, changed(black, node, False), node - 1, state.token_black or black[node])
            case SendMessage(node, target):
                stained = changed(black, node, True) if target > node else black
                return State(changed(active, target, True), stained, at, state.token_black)
            case Deactivate(node):
                return State(changed(active, node, False), black, at, state.token_black)

    def is_final(self, state: State) -> bool:
        """The module is checked with CHECK_DEADLOCK FALSE, for this is where it should end."""
        return detected(state)


def changed(values: tuple[bool, ...], at: int, to: bool) -> tuple[bool, ...]:
    """`values` with one replaced."""
    return (*values[:at], to, *values[at + 1 :])
