"""Deadlines: what nobody waits for any more when its turn comes is not begun.

Whoever asks says how long it will wait, and each side counts that from the moment when the message is there: clocks are
never compared. Of a call, the specification is told what is left when its step is taken; what it makes of that is in
`spec.coordinate.timeout_ms`. What is given up here has changed nothing: a call is answered as overload, a forwarded
request is lost, as messages are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec.structs import replace

from impl.runtime import Arrival
from spec.events import Invoke
from spec.types import LARGEST, Milliseconds


def milliseconds(seconds: float) -> int:
    """How long somebody waits, as it is said to others: at least a millisecond, and no more than can be said."""
    return max(1, int(min(seconds * 1000, LARGEST)))


def deadline(within_ms: Milliseconds | None) -> float | None:
    """When who asks now, and waits for so long, waits no more; None where that is not said."""
    return None if within_ms is None else time.monotonic() + within_ms / 1000


def worth_beginning(batch: Sequence[Arrival], now: float) -> tuple[list[Arrival], list[Arrival]]:
    """Of events whose turn has come, those still waited for, calls with the time that is left; and the rest."""
    if not [each for each in batch if each.until is not None]:
        return [*batch], []
    still, late = list[Arrival](), list[Arrival]()
    for each in batch:
        if each.until is None:
            still.append(each)
        elif each.until <= now:
            late.append(each)
        elif isinstance(each.event, Invoke):
            left_ms = milliseconds(each.until - now)
            still.append(replace(each, event=replace(each.event, within_ms=left_ms)))
        else:  # a message is received as it was sent
            still.append(each)
    return still, late
