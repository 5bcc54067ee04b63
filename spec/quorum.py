"""Quorums: how many distinct owners have to agree.

R + W > N makes every read quorum meet every write quorum in an owner, which is why a get sees what a put was promised;
with R + W <= N it need not. Both facts are proved by `ringspec prove`.
"""

from __future__ import annotations

from spec.maps import FSet
from spec.types import Config, NodeId


def is_write_quorum(nodes: FSet[NodeId], config: Config) -> bool:
    """Whether a put that these owners hold durably may be acknowledged."""
    return len(nodes) >= config.w


def is_read_quorum(nodes: FSet[NodeId], config: Config) -> bool:
    """Whether a get that these owners answered may be answered."""
    return len(nodes) >= config.r
