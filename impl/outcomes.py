"""What may become of a call to the store, as types.

A result is success. `OperationFailed`, and its kinds `OperationRefused`, `NodeOverloaded`, `ConditionUnmet` and
`Unreachable`, are definite: a put that raises one had no effect and never will. `MayHaveHappened` is what remains: the
put may have been written, or may yet be. Doubt is not forgotten: a put that was in doubt once is settled only by a
success (`spec.requests.unchanged`).
"""

from __future__ import annotations

from msgspec import Struct

from impl.errors import UserError
from spec.messages import Failed, Overloaded, Refused, Stored, Unmet
from spec.siblings import Siblings
from spec.types import Value


class StoreError(UserError):
    """A call did not succeed; one line says why."""


class OperationFailed(StoreError):
    """Definite: the operation had no effect and never will. For a get: too few nodes answered in time."""


class OperationRefused(OperationFailed):
    """Definite: the operation was turned down before anything changed."""


class NodeOverloaded(OperationRefused):
    """Definite: the node has too much to do and began nothing; later, or elsewhere, the same may succeed."""

    def __init__(self, problem: str) -> None:
        """A command that ends with it has the exit status by which scripts know what to try again (`EX_TEMPFAIL`)."""
        super().__init__(problem, status=75)


class ConditionUnmet(OperationRefused):
    """Definite: the condition of a put did not hold where it was decided, and nothing changed."""


REFUSALS: dict[type[Refused], type[OperationRefused]] = {
    Refused: OperationRefused,
    Overloaded: NodeOverloaded,
    Unmet: ConditionUnmet,
}


def refusal(told: Failed | Refused) -> OperationFailed:
    """What a node's definite answer is as an error."""
    kind = REFUSALS[type(told)] if isinstance(told, Refused) else OperationFailed
    return kind(told.reason)


class Unreachable(OperationFailed):
    """Definite: no node could be asked."""


class MayHaveHappened(StoreError):
    """The put may have been written, or may yet be."""


class Unsettled(StoreError):
    """Every put of an update was stored, but others kept writing: there are siblings again, which are in `found`."""

    def __init__(self, problem: str, found: Values) -> None:
        """The siblings that the last get found."""
        super().__init__(problem)
        self.found = found


class Values(Struct, frozen=True):
    """What a get found."""

    siblings: Siblings
    """The versions of the key that nobody has reconciled; usually one, none where nothing was ever put."""
    context: str
    """Put with this context supersedes exactly these versions."""

    @property
    def values(self) -> tuple[Value, ...]:
        """The values of the siblings, in their order."""
        return tuple(version.value for version in self.siblings)


class Gets(Struct, frozen=True):
    """What became of many gets: every key is in exactly one of these."""

    found: dict[bytes, Values]
    failed: dict[bytes, OperationFailed]


class Puts(Struct, frozen=True):
    """What became of many puts: every key is in exactly one of these."""

    stored: dict[bytes, Stored]
    failed: dict[bytes, OperationFailed]
    """These had no effect and never will."""
    unknown: dict[bytes, MayHaveHappened]
    """These may have been written, or may yet be."""
