"""The store as a machine to explore: `spec.cluster`, with a memory.

A step of a server depends on that server and the event alone, and most properties on the disks, the clients or the
history alone; all of these recur in very many states, so each is computed once for what it reads (`checker.memory`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from checker.audit import Audited
from checker.bugs.edits import carried
from checker.cluster_audit import audits_of
from checker.frames import Frames, Rules, rules_of
from checker.interned import Interned
from checker.machine import Property
from checker.memory import claimed, remembering
from checker.renaming import generators_of
from checker.symmetry import Renamings, Symmetry
from checker.tell import draw_action, tell_action, tell_changes
from spec import cluster, enabled
from spec.actions import Action
from spec.spent import DRIVER, Driver
from spec.world import Scenario, State

ACTION_KINDS = (
    "Ask",
    "Arrive",
    "Expire",
    "Suspect",
    "HandOver",
    "Drop",
    "Duplicate",
    "Crash",
    "CrashAfterCommit",
    "Restart",
    "Wipe",
    "Backup",
    "Restore",
    "Cut",
    "Heal",
)

SPECIFICATION = Path(cluster.__file__).parent
NOT_DECIDING = (
    "views",
    "version_properties",
    "client_properties",
    "replica_properties",
    "properties",
    "history",
    "laws",
    "abstraction",
    "witness",
)


class ClusterMachine:
    """A scenario of the store, as a `Machine`."""

    def __init__(
        self,
        name: str,
        scenario: Scenario,
        claims: Sequence[str],
        *,
        driver: Driver = DRIVER,
        memory: bool = True,
    ) -> None:
        """`driver` is for tests that break it on purpose; `memory` for the test that compares without."""
        self.name = name if not carried() else f"{name}, with the bug {carried()}"
        self.scenario = scenario
        self.properties: Sequence[Property[State, Action]] = claimed(claims, memory=memory)
        self._driver = remembering(driver) if memory else driver

    @property
    def action_kinds(self) -> Sequence[str]:
        """The kinds of action that the scenario's faults allow."""
        faults = self.scenario.faults
        absent = {
            "Drop": faults.drops,
            "Duplicate": faults.duplicates,
            "Crash": faults.crashes,
            "CrashAfterCommit": faults.crashes,
            "Restart": faults.crashes,
            "Cut": faults.cuts,
            "Heal": faults.cuts,
            "Wipe": faults.wipes,
            "Backup": faults.backups,
            "Restore": faults.restores,
            "Suspect": faults.suspicions,
            "HandOver": self.scenario.config.sloppy,
        }
        return [kind for kind in ACTION_KINDS if absent.get(kind, 1)]

    @property
    def params(self) -> Mapping[str, int | str | bool]:
        """What a trace has to name for a replay to mean the same."""
        config = self.scenario.config
        params: dict[str, int | str | bool] = {
            "nodes": len(self.scenario.members),
            "n": config.n,
            "r": config.r,
            "w": config.w,
        }
        return {**params, "bug": carried()} if carried() else params

    @property
    def sources(self) -> Sequence[Path]:
        """The specification, but for its claims, and what claims and proofs alone use."""
        parts = [file.relative_to(SPECIFICATION) for file in SPECIFICATION.rglob("*.py")]
        return [SPECIFICATION / part for part in parts if Path(part.parts[0]).stem not in NOT_DECIDING]

    @property
    def symmetry(self) -> Symmetry[State]:
        """Nodes and clients that differ in nothing but their names."""
        return Renamings(generators_of(self.scenario))

    def reduction(self) -> Interned | None:
        """By all rules that the scenario allows; none yet where actions ask what others saw."""
        return None if self.scenario.losing else self.numbered(rules_of(self.scenario))

    def numbered(self, rules: Rules) -> Interned:
        """The same machine over numbers, reduced by these rules; where disks are lost it is beyond it."""
        assert not self.scenario.losing, "what can happen to a server must depend on no other"
        return Interned(self.name, Frames(self.scenario, self._driver, rules), self.properties, self.action_kinds)

    def audits(self, max_states: int) -> Iterable[Audited]:
        """What that rests on, put to the test."""
        if self.scenario.losing:
            return ()
        return audits_of(self, self.scenario, self._driver, self.numbered, max_states)

    def initial(self) -> Iterable[State]:
        """All nodes up, nothing asked."""
        return [cluster.initial(self.scenario, self._driver)]

    def transitions(self, state: State) -> Iterable[tuple[Action, State]]:
        """Everything that can happen next."""
        return cluster.transitions(self.scenario, state, self._driver)

    def actions(self, state: State) -> Iterable[Action]:
        """The same without what comes of it: a walk takes only one of them."""
        return enabled.every_action(self.scenario, state, self._driver)

    def step(self, state: State, action: Action) -> State:
        """What comes of one."""
        return cluster.apply(self.scenario, state, action, self._driver)

    def is_final(self, state: State) -> bool:
        """Whether every client has had its answers."""
        return enabled.is_final(self.scenario, state)

    def describe_action(self, action: Action) -> str:
        """Who did what."""
        return tell_action(action)

    def draw_action(self, action: Action) -> tuple[Sequence[str], str]:
        """Between whom."""
        return draw_action(action)

    def describe_changes(self, before: State, after: State) -> list[str]:
        """What changed, in the field's words."""
        return tell_changes(before, after)
