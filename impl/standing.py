"""How a node stands that came back: when it asks the others about itself again, and what an operator is told.

`spec.comeback` decides. Here is the clock of it: a while after rows were stored the node is given a `Beat`, so that its
mark goes on; and for as long as it waits for others, to confirm its disk or to give it what it lacks, so that it asks
them again. A node that stores nothing and lacks nothing is left in peace.
"""

from __future__ import annotations

from impl.nodelog import Say
from impl.runtime import Runtime
from spec.events import Beat
from spec.maps import Counts, FSet
from spec.types import NodeId

BEAT_SECONDS = 1.0
"""How long a mark counts; a copy of a data file that is younger than that may not be recognised as one."""


class Standing:
    """Of one node."""

    def __init__(self, runtime: Runtime, say: Say, now: float) -> None:
        """It has just come up."""
        self._runtime, self._say = runtime, say
        self._last = now
        self._marked = runtime.storage.rows_written
        self._confirmed, self._incarnation = runtime.node.confirmed, self.incarnation
        self._lacking: FSet[NodeId] = FSet()
        self._fetched = runtime.node.fetched, self._lacking

    @property
    def incarnation(self) -> str:
        """Under which the node mints."""
        disk = self._runtime.storage.disk()
        return "" if disk is None else disk.incarnation

    @property
    def confirmed(self) -> bool:
        """Whether enough others have said that its disk is not from the past."""
        return self._runtime.node.confirmed

    @property
    def lacking(self) -> FSet[NodeId]:
        """Who still has to give it what it lost."""
        disk = self._runtime.storage.disk()
        return FSet() if disk is None else disk.lacking

    @property
    def seen(self) -> Counts[NodeId]:
        """The highest mark that was seen of each other node."""
        disk = self._runtime.storage.disk()
        return Counts() if disk is None else disk.seen

    def due(self, now: float) -> list[Beat]:
        """The beat that is due now, if one is. One that would ask again waits while what was asked for comes."""
        if now - self._last < BEAT_SECONDS:
            return []
        self._last = now
        fetched, self._fetched = self._fetched, (self._runtime.node.fetched, self.lacking)
        stuck = not self.confirmed or (len(self.lacking) > 0 and fetched == self._fetched)
        stored = self._runtime.storage.rows_written != self._marked
        if not stuck and (self.lacking or not stored):
            return []
        self._marked = self._runtime.storage.rows_written
        return [Beat()]

    def look(self) -> None:
        """Tell what has changed."""
        if self._incarnation != self.incarnation:
            self._say("incarnation begun", incarnation=self.incarnation)
            self._incarnation = self.incarnation
        if self.confirmed and not self._confirmed:
            self._say("disk confirmed")
            self._confirmed = True
        lacking = self.lacking
        if lacking != self._lacking:
            if lacking:
                self._say("catching up", lacking=", ".join(lacking))
            else:
                self._say("caught up")
            self._lacking = lacking
