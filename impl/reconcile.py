"""Reconciling siblings with a function of the user's, apart from how gets and puts are made.

`reconciling` is a generator: it yields what is to be done before the next get, and is sent what that get found. The
asynchronous and the synchronous client drive the same one.

Who finds siblings after a put was not alone. If everybody reconciled at once, all would be siblings again: so each
waits for a random time that doubles from round to round, and looks again. Often somebody else, who had seen this put,
has settled it by then.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import TypeAlias

from msgspec import Struct

from impl.outcomes import Unsettled, Values
from spec.types import Value

Reconcile: TypeAlias = Callable[[tuple[Value, ...]], bytes | None]
"""From the values of all siblings to the one that takes their place, or None to leave them. See `impl.convergent`."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.01, 1.0


class Change(Struct, frozen=True):
    """Put this value with this context."""

    value: bytes
    context: str


class Wait(Struct, frozen=True):
    """Let others go first."""

    seconds: float


def reconciling(function: Reconcile, rounds: int) -> Generator[Change | Wait, Values, Values]:
    """At each yield: do that, then get, and send what was found. Returns what was found last. Raises Unsettled.

    A single value that the function leaves as it is needs no put.
    """
    found = yield Wait(0)
    longest = FIRST_WAIT_SECONDS
    for _ in range(rounds):
        value = function(found.values)
        if value is None or found.values == (value,):
            return found
        found = yield Change(value, found.context)
        if len(found.siblings) > 1:
            found = yield Wait(random.uniform(0, longest))
            longest = min(2 * longest, LONGEST_WAIT_SECONDS)
        if len(found.siblings) <= 1:
            return found
    raise Unsettled(f"stored, but after {rounds} rounds there are {len(found.siblings)} siblings again", found)
