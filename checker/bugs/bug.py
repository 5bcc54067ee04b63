"""What an exhibit of the museum says besides its page."""

from __future__ import annotations

from msgspec import Struct

from checker.bugs.edits import Edit


class Bug(Struct, frozen=True, kw_only=True):
    """One bug."""

    name: str
    edits: tuple[Edit, ...]
    """The smallest change to the specification that brings it back."""
    model: str
    """Where it shows; without the bug, everything that the model claims holds."""
    noticed_by: tuple[str, ...]
    """Claims of the model that fail, each by itself. The first is asked for, and its story kept."""
    refutes: str = ""
    """A law of the kernel whose proof fails as well."""
    page: str = ""
    """What it was, who had it, and what there is to learn; its first line is a title."""

    @property
    def title(self) -> str:
        """The bug in a line."""
        return self.page.partition("\n")[0]
