"""What a node says of itself: events with fields, as lines for people (`key=value`) or as JSON for machines.

Only a node's process logs, on standard error. Modules that have something to tell are given a `Say` and know nothing of
where it goes. A line that cannot be written, since the disk is full or whoever read has gone, is lost: a node does not
end for what it cannot say.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, Protocol, TypeAlias

from spec.text import printable

LogFormat: TypeAlias = Literal["text", "json"]


class Say(Protocol):
    """Tell that something happened that an operator should know, and what is known of it."""

    def __call__(self, event: str, /, **about: str | int) -> None:
        """`event` is a constant phrase; what differs from time to time is in the fields."""
        ...


def node_log(node: str, style: LogFormat) -> Say:
    """The log of a node, on standard error."""
    with without("rich"):
        import structlog

    first = ["timestamp", "event", "node"]
    logger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=first)
            if style == "text"
            else structlog.processors.JSONRenderer(),
        ],
    )

    def say(event: str, /, **about: str | int) -> None:
        if style == "text":  # JSON escapes by itself
            about = {name: printable(value) if isinstance(value, str) else value for name, value in about.items()}
        with suppress(OSError):
            logger.info(event, node=node, **about)

    return say


@contextmanager
def without(module: str) -> Iterator[None]:
    """Import something as if a module that it can do without were not installed.

    structlog imports rich, if that is there, to show tracebacks in colour, which no node does: a third of the time that
    a node takes to start.
    """
    there = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment] # what Python takes for: not to be found
    try:
        yield
    finally:
        if there is None:
            del sys.modules[module]
        else:
            sys.modules[module] = there
