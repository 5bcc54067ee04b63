"""What `ringspec check MODEL --audit` does: try what a model claims of itself, and say what stood up.

A plain function from a registry of models to an exit code, as `checker.check`: 0 if everything stood up on every state,
1 if something is false, 2 for usage, 3 if there are more states than were tried.
"""

from collections.abc import Sequence

from msgspec import Struct

from checker.audit import Audited, audit_all
from checker.check import HOLDS, INCOMPLETE, USAGE, VIOLATED, Registry, Streams, UsageError, machine_of
from checker.report import indented

MOST_STATES = 10_000


class AuditReport(Struct, frozen=True):
    """What came of each claim."""

    machine: str
    claims: list[Audited]


def audit(
    registry: Registry,
    name: str,
    max_states: int | None = None,
    *,
    json: bool = False,
    streams: Streams | None = None,
) -> int:
    """Try every claim of the model `name` on up to so many states; the answer is the exit code."""
    streams = streams or Streams.standard()
    try:
        machine = machine_of(registry, name)
        if max_states is not None and max_states < 1:
            raise UsageError(f"an audit of at most {max_states} states tries nothing: give at least 1")
    except UsageError as error:
        streams.complain(error)
        return USAGE
    audits = list(audit_all(machine, max_states or MOST_STATES))
    if json:
        print(indented(AuditReport(machine.name, audits)), file=streams.stdout)
    else:
        print(f"{machine.name}: {told_in_short(audits)}\n\n{audits_told(audits)}", file=streams.stdout)
    if any(one.complaint for one in audits):
        return VIOLATED
    return HOLDS if all(one.complete for one in audits) else INCOMPLETE


def told_in_short(audits: Sequence[Audited]) -> str:
    """What came of it, in a few words."""
    if any(one.complaint for one in audits):
        return "a claim is FALSE"
    return "the audit found nothing" if all(one.complete for one in audits) else "INCOMPLETE: there are more states"


def audits_told(audits: Sequence[Audited]) -> str:
    """A line for each claim."""
    width = max(len(one.claim) for one in audits)
    return "\n".join(f"  {one.claim:<{width}}  {_outcome(one)}" for one in audits)


def _outcome(one: Audited) -> str:
    if one.complaint:
        return f"FALSE: {one.complaint}"
    return f"stood up on {one.states:,} states" if one.complete else f"stood up on the first {one.states:,} states"
