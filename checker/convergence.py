"""That the replicas of a key become equal by reading it: the cluster's convergence, as a claim about whole runs.

What read repair promises, and no more. In a world in which the last thing a client does is a get, the network loses a
copy that a put sends but nothing else, and no request times out, every owner answers every get; whatever one of them
lacks is sent to it. So if clients go on and what is in flight is delivered in the end, there comes a moment when all
clients are done, nothing is in flight, and all owners hold the same.

Each condition is needed, and `without` one of them the claim fails: a run that never delivers a message need not
converge; a get that times out stops listening, and does not repair whom it did not hear; and a lost repair is
not repeated before the next get.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from checker.check import Registry
from checker.cluster_machine import ClusterMachine
from checker.machine import Eventually, Fair, Liveness
from checker.worlds import DROP, G, P, world
from spec.actions import Action, Arrive, Ask, Drop, Expire
from spec.enabled import is_final
from spec.messages import Write
from spec.network import Envelope
from spec.spent import DRIVER, Driver
from spec.views import replicas
from spec.world import Faults, Scenario, State, owners_asked

Condition: TypeAlias = Literal["delivery", "patience", "repairs-arrive"]
CLAIMS = ("quorum-meaning-put", "quorum-meaning-get", "read-repair")


class Converging(ClusterMachine):
    """A scenario whose clients all read in the end, and the claim that the owners of the key become equal."""

    def __init__(
        self, name: str, scenario: Scenario, *, without: Condition | None = None, driver: Driver = DRIVER
    ) -> None:
        """`without` lifts one of the conditions."""
        super().__init__(name, scenario, CLAIMS, driver=driver)
        self.without = without
        self.liveness: Sequence[Liveness[State]] = (Eventually("convergence", self.converged),)
        clients, network = Fair("clients go on", going_on), Fair("messages are delivered", delivered)
        self.fairness: Sequence[Fair[Action]] = (clients,) if without == "delivery" else (clients, network)

    def converged(self, state: State) -> bool:
        """All clients are done, nothing is in flight, and all owners hold the same, and something."""
        if not is_final(self.scenario, state) or state.network.in_flight:
            return False
        held = {name: siblings for name, _, siblings in replicas(state)}
        return all(owner in held for owner in owners_asked(self.scenario, state)) and len(set(held.values())) == 1

    def transitions(self, state: State) -> Iterable[tuple[Action, State]]:
        """What can happen under the conditions."""
        return [(action, after) for action, after in super().transitions(state) if self.allows(action)]

    def allows(self, action: Action) -> bool:
        """Whether the conditions leave this possible."""
        if isinstance(action, Expire):
            return self.without == "patience"
        if isinstance(action, Drop):
            return self.without == "repairs-arrive" or isinstance(action.envelope.message, Write)
        return True


def going_on(action: Action) -> int | None:
    """A client that has something to do does it, at one node or another."""
    return action.client if isinstance(action, Ask) else None


def delivered(action: Action) -> Envelope | None:
    """Each message that stays in flight arrives."""
    return action.envelope if isinstance(action, Arrive) else None


ONE_LOST = world((P, G), faults=DROP)
TWO_LOST = world((P, G), faults=Faults(drops=2))

CONVERGENCE: Registry = {
    "converge": (
        "a put, a get, a lost copy: reading makes the owners equal",
        lambda: Converging("converge", ONE_LOST),
    ),
    "converge-unfair": (
        "the same, but messages may wait for ever (must fail: convergence)",
        lambda: Converging("converge-unfair", ONE_LOST, without="delivery"),
    ),
    "converge-timeout": (
        "the same, but a get may time out before all have answered (must fail: convergence)",
        lambda: Converging("converge-timeout", ONE_LOST, without="patience"),
    ),
    "converge-loss": (
        "the same, but any two messages may be lost (must fail: convergence)",
        lambda: Converging("converge-loss", TWO_LOST, without="repairs-arrive"),
    ),
}
