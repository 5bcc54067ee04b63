"""What a person is told when something they gave cannot work."""

from __future__ import annotations


class UserError(Exception):
    """One clear line: what was wrong and, where it helps, what would be right. Never our own bug.

    It may quote what a node or a file says, so it is made printable here.
    """

    def __init__(self, problem: str, *, status: int = 1) -> None:
        """`status` is the exit status of a command that ends with it; 2 is wrong usage."""
        from spec.text import printable  # no sooner: a command may put a bug into the specification first

        super().__init__(printable(problem))
        self.status = status


def usage(problem: str) -> UserError:
    """The refusal of an argument or a setting."""
    return UserError(problem, status=2)


def one_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
