"""How what others wrote is put in a line for people.

Names, reasons and values come from files and from other processes. Printed as they are they could end the line that
they are in and forge the next one, or tell the terminal to do things. So a line is made printable where it is printed,
as the last thing before, and whoever puts text together need not think of it.
"""

from __future__ import annotations

from collections.abc import Iterable


def printable(line: str) -> str:
    """A line in which whatever cannot be seen, line breaks among it, is written as an escape sequence of Python."""
    if line.isprintable():
        return line
    return "".join([c if c.isprintable() else c.encode("unicode_escape").decode() for c in line])


def paragraph(lines: Iterable[str]) -> str:
    """Several lines as one text, each made printable."""
    return "\n".join(map(printable, lines))
