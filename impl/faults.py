"""Links as faulty as a test or a demonstration asks for; perfect until then.

The faults sit where a node hands messages to the network and takes them from it: what they lose, repeat, delay and
reorder is what the network of the specification may. They know nothing of what a message says.
"""

from __future__ import annotations

import random

from impl.wire import CallFaults
from spec.types import NodeId


class Faults:
    """How faulty a node's links are just now."""

    def __init__(self) -> None:
        """No faults."""
        self._now = CallFaults(0)

    def become(self, wanted: CallFaults) -> None:
        """From now on be like this, and no longer like before."""
        self._now = wanted

    def lets_in(self, source: NodeId) -> bool:
        """Whether a message that arrived from this node may be seen."""
        return source not in self._now.cut

    def lets_out(self, target: NodeId) -> bool:
        """Whether anything at all may be sent to this node."""
        return target not in self._now.cut and target not in self._now.mute

    def delays(self, target: NodeId) -> tuple[float, ...]:
        """For each copy of a message that is to be sent to this node, for how many seconds it is held back."""
        now = self._now
        if not self.lets_out(target) or (now.drop and random.random() < now.drop):
            return ()
        copies = 2 if now.duplicate and random.random() < now.duplicate else 1
        return tuple(random.uniform(0, now.delay_ms) / 1000 for _ in range(copies))

    @property
    def active(self) -> bool:
        """Whether there is any fault."""
        now = self._now
        return bool(now.cut or now.mute or now.drop or now.duplicate or now.delay_ms)
