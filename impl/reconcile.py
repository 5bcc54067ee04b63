"""Reconciling siblings with a function of the user's, apart from how gets and puts are made.

`reconciling` is a generator: it yields what is to be put, or None before anything is, and is sent what a get then
finds. The asynchronous and the synchronous client drive the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeAlias

from msgspec import Struct

from impl.outcomes import Unsettled, Values
from spec.types import Value

Reconcile: TypeAlias = Callable[[tuple[Value, ...]], bytes | None]
"""From the values of all siblings to the one that takes their place, or None to leave them."""


class Change(Struct, frozen=True):
    """Put this value with this context."""

    value: bytes
    context: str


def reconciling(function: Reconcile, rounds: int) -> Generator[Change | None, Values, Values]:
    """At each yield: make the change, if there is one, then get, and send what was found. Raises Unsettled.

    A single value that the function leaves as it is needs no put. After a put, whatever a get then shows is no longer
    to be changed, unless there are siblings: somebody wrote at the same time.
    """
    found = yield None
    for _ in range(rounds):
        value = function(found.values)
        if value is None or found.values == (value,):
            return found
        found = yield Change(value, found.context)
        if len(found.siblings) <= 1:
            return found
    raise Unsettled(f"stored, but after {rounds} rounds there are {len(found.siblings)} siblings again", found)
