"""Two-phase commit, after Gray and Lamport, "Consensus on Transaction Commit" (2006), and its TLA+ module TwoPhase.

Resource managers work on one transaction. Each may prepare, which it tells the transaction manager, or abort on its
own as long as it has not prepared. The transaction manager collects the announcements; once all have prepared it may
commit, and until it has decided it may abort. Managers obey its decision. Messages are never removed: one that was
sent can be received at any time, and again.

With n managers there are 6ⁿ + 4ⁿ + 2ⁿ reachable states. One without a transition does not exist: a decision, once
sent, can always be received again, and before it the transaction manager can abort.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from checker.machine import Always, Property, SimpleMachine, Sometimes
from checker.symmetry import Interchangeable, Symmetry

Manager: TypeAlias = Literal["working", "prepared", "committed", "aborted"]
Coordinator: TypeAlias = Literal["init", "committed", "aborted"]
MANAGER_STATES = frozenset(["working", "prepared", "committed", "aborted"])
COORDINATOR_STATES = frozenset(["init", "committed", "aborted"])


class Prepared(Struct, frozen=True, cache_hash=True, tag=True):
    """Manager `manager` has prepared."""

    manager: int


class Commit(Struct, frozen=True, cache_hash=True, tag=True):
    """The transaction manager has decided to commit."""


class Abort(Struct, frozen=True, cache_hash=True, tag=True):
    """The transaction manager has decided to abort."""


Message: TypeAlias = Prepared | Commit | Abort
COMMIT, ABORT = Commit(), Abort()
WORKING: tuple[Manager, ...] = ("working",)
PREPARED: tuple[Manager, ...] = ("prepared",)
COMMITTED: tuple[Manager, ...] = ("committed",)
ABORTED: tuple[Manager, ...] = ("aborted",)


class State(Struct, frozen=True, cache_hash=True):
    """The managers' states, the transaction manager's, whom it knows to have prepared, and all messages ever sent."""

    managers: tuple[Manager, ...]
    coordinator: Coordinator
    prepared: frozenset[int]
    messages: frozenset[Message]


class CoordinatorCommits(Struct, frozen=True, tag=True):
    """TMCommit."""


class CoordinatorAborts(Struct, frozen=True, tag=True):
    """TMAbort."""


class CoordinatorHearsPrepared(Struct, frozen=True, tag=True):
    """TMRcvPrepared(manager)."""

    manager: int


class Prepares(Struct, frozen=True, tag=True):
    """RMPrepare(manager)."""

    manager: int


class ChoosesToAbort(Struct, frozen=True, tag=True):
    """RMChooseToAbort(manager)."""

    manager: int


class HearsCommit(Struct, frozen=True, tag=True):
    """RMRcvCommitMsg(manager)."""

    manager: int


class HearsAbort(Struct, frozen=True, tag=True):
    """RMRcvAbortMsg(manager)."""

    manager: int


Action: TypeAlias = (
    CoordinatorCommits
    | CoordinatorAborts
    | CoordinatorHearsPrepared
    | Prepares
    | ChoosesToAbort
    | HearsCommit
    | HearsAbort
)
COORDINATOR_COMMITS, COORDINATOR_ABORTS = CoordinatorCommits(), CoordinatorAborts()


def inconsistent(state: State) -> str | None:
    """No manager has committed while another has aborted."""
    managers = state.managers
    if "committed" in managers and "aborted" in managers:
        return f"manager {managers.index('committed')} committed, manager {managers.index('aborted')} aborted"
    return None


def some_commits(state: State) -> bool:
    """Some manager has committed."""
    return "committed" in state.managers


def some_aborts(state: State) -> bool:
    """Some manager has aborted."""
    return "aborted" in state.managers


class TwoPhase(SimpleMachine[State, Action]):
    """Two-phase commit with `n` resource managers, numbered from 0."""

    def __init__(self, n: int) -> None:
        """Prepare the values that steps share: there is one message and one action of each kind per manager."""
        self.name = f"two-phase-{n}"
        self.n = n
        self.params = {"n": n}
        self.everyone = frozenset(range(n))
        self.vocabulary = frozenset([COMMIT, ABORT, *map(Prepared, range(n))])
        self.per_manager = [
            (r, Prepared(r), CoordinatorHearsPrepared(r), Prepares(r), ChoosesToAbort(r), HearsCommit(r), HearsAbort(r))
            for r in range(n)
        ]
        self.action_kinds = [kind.__name__ for kind in Action.__args__]
        self.symmetry: Symmetry[State] = Interchangeable(n, parts, whole)
        self.properties: Sequence[Property[State, Action]] = (
            Always("consistency", inconsistent),
            Always("type-ok", self.ill_typed),
            Sometimes("some-commits", some_commits, of="consistency"),
            Sometimes("some-aborts", some_aborts, of="consistency"),
            Sometimes("some-heard", lambda state: len(state.prepared) > 0, of="type-ok"),
        )

    def ill_typed(self, state: State) -> str | None:
        """Every variable is of its type (TPTypeOK)."""
        if not MANAGER_STATES.issuperset(state.managers):
            return f"the managers are {state.managers}"
        if state.coordinator not in COORDINATOR_STATES:
            return f"the coordinator is {state.coordinator}"
        if not self.everyone.issuperset(state.prepared):
            return f"the coordinator heard of managers {sorted(state.prepared)}"
        if not self.vocabulary.issuperset(state.messages):
            return f"{len(state.messages - self.vocabulary)} of the messages are unknown"
        return None

    def initial(self) -> list[State]:
        """Everyone works, nothing was sent."""
        return [State(WORKING * self.n, "init", frozenset(), frozenset())]

    def actions(self, state: State) -> Iterator[Action]:
        """The module's Next, disjunct by disjunct."""
        if state.coordinator == "init":
            if state.prepared == self.everyone:
                yield COORDINATOR_COMMITS
            yield COORDINATOR_ABORTS
        for r, announcement, hears_prepared, prepares, chooses_to_abort, hears_commit, hears_abort in self.per_manager:
            if state.coordinator == "init" and announcement in state.messages:
                yield hears_prepared
            if state.managers[r] == "working":
                yield prepares
                yield chooses_to_abort
            if COMMIT in state.messages:
                yield hears_commit
            if ABORT in state.messages:
                yield hears_abort

    def step(self, state: State, action: Action) -> State:
        """The module's actions, one case each."""
        managers, coordinator, prepared, messages = state.managers, state.coordinator, state.prepared, state.messages
        match action:
            case CoordinatorCommits():
                return State(managers, "committed", prepared, messages | {COMMIT})
            case CoordinatorAborts():
                return State(managers, "aborted", prepared, messages | {ABORT})
            case CoordinatorHearsPrepared(r):
                return State(managers, coordinator, prepared | {r}, messages)
            case Prepares(r):
                return State(changed(managers, r, PREPARED), coordinator, prepared, messages | {Prepared(r)})
            case ChoosesToAbort(r):
                return State(changed(managers, r, ABORTED), coordinator, prepared, messages)
            case HearsCommit(r):
                return State(changed(managers, r, COMMITTED), coordinator, prepared, messages)
            case HearsAbort(r):
                return State(changed(managers, r, ABORTED), coordinator, prepared, messages)


Part: TypeAlias = tuple[Manager, bool, bool]
"""Of a manager: its state, whether the coordinator knows that it has prepared, and whether it has said so."""


def parts(state: State) -> list[Part]:
    """What a state holds of each manager."""
    return [(now, r in state.prepared, Prepared(r) in state.messages) for r, now in enumerate(state.managers)]


def whole(state: State, parts: Sequence[Part]) -> State:
    """The state with other managers."""
    return State(
        tuple(now for now, _, _ in parts),
        state.coordinator,
        frozenset(r for r, (_, known, _) in enumerate(parts) if known),
        (state.messages & {COMMIT, ABORT}) | {Prepared(r) for r, (_, _, said) in enumerate(parts) if said},
    )


def changed(managers: tuple[Manager, ...], r: int, to: tuple[Manager, ...]) -> tuple[Manager, ...]:
    """`managers` with manager `r` in the one state that `to` holds."""
    return managers[:r] + to + managers[r + 1 :]


class FastTwoPhase(TwoPhase):
    """The same machine with guards and effects fused: what is looked up once per state is not looked up per action."""

    def transitions(self, state: State) -> list[tuple[Action, State]]:
        """What `actions` and `step` give, in the same order."""
        managers, coordinator, prepared, messages = state.managers, state.coordinator, state.prepared, state.messages
        undecided, commit, abort = coordinator == "init", COMMIT in messages, ABORT in messages
        found: list[tuple[Action, State]] = []
        add = found.append
        if undecided:
            if prepared == self.everyone:
                add((COORDINATOR_COMMITS, State(managers, "committed", prepared, messages | {COMMIT})))
            add((COORDINATOR_ABORTS, State(managers, "aborted", prepared, messages | {ABORT})))
        for r, announcement, hears_prepared, prepares, chooses_to_abort, hears_commit, hears_abort in self.per_manager:
            now, left, right = managers[r], managers[:r], managers[r + 1 :]
            if undecided and announcement in messages:
                add(
                    (hears_prepared, state if r in prepared else State(managers, coordinator, prepared | {r}, messages))
                )
            if now == "working":
                announced = messages | {announcement}
                add((prepares, State(left + PREPARED + right, coordinator, prepared, announced)))
                add((chooses_to_abort, State(left + ABORTED + right, coordinator, prepared, messages)))
            if commit:
                same = now == "committed"
                add((hears_commit, state if same else State(left + COMMITTED + right, coordinator, prepared, messages)))
            if abort:
                same = now == "aborted"
                add((hears_abort, state if same else State(left + ABORTED + right, coordinator, prepared, messages)))
        return found
