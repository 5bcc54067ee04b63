"""What a node says of itself: events with fields, as lines for people (`key=value`) or as JSON for machines.

Only a node's process logs, on standard error. Modules that have something to tell are given a `Say` and know nothing of
where it goes.
"""

from __future__ import annotations

import sys
from typing import Literal, Protocol, TypeAlias

LogFormat: TypeAlias = Literal["text", "json"]


class Say(Protocol):
    """Tell that something happened that an operator should know, and what is known of it."""

    def __call__(self, event: str, /, **about: str | int) -> None:
        """`event` is a constant phrase; what differs from time to time is in the fields."""
        ...


def node_log(node: str, style: LogFormat) -> Say:
    """The log of a node, on standard error."""
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
        logger.info(event, node=node, **about)

    return say
