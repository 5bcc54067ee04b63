"""A plot of measurements, as SVG: small panels side by side, each with lines over the same few places.

Written by hand because it is a page of text, and a plotting library would be the largest thing that is installed. The
value axis is logarithmic: what matters are ratios. Where there are several measurements, the line goes through their
medians and dots show them all.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN = 330, 260, 48
COLOURS = ("#0b6e99", "#c9502e", "#6b7280", "#5b8c2a", "#7d4f9e")
"""Of the lines, in order; told apart in grey as well."""

Line: TypeAlias = Mapping[str, Sequence[float]]
"""For each place on the horizontal axis what was measured there: positive numbers, at least one."""


class Panel(NamedTuple):
    """One diagram."""

    title: str
    across: str
    """What the places are."""
    lines: Mapping[str, Line]
    """By name."""


def svg(title: str, panels: Sequence[Panel]) -> str:
    """The picture: two panels in a row."""
    rows = (len(panels) + 1) // 2
    width, height = 2 * WIDTH, 56 + rows * HEIGHT
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>',
        text(12, 20, title, size=14),
    ]
    for i, name in enumerate(names):
        parts.append(f'<rect x="{12 + 110 * i}" y="32" width="14" height="4" fill="{colours[name]}"/>')
        parts.append(text(30 + 110 * i, 38, name))
    for i, panel in enumerate(panels):
        parts.append(f'<g transform="translate({i % 2 * WIDTH},{48 + i // 2 * HEIGHT})">')
        parts += drawn(panel, colours)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def drawn(panel: Panel, colours: Mapping[str, str]) -> Iterator[str]:
    """One panel, at the origin."""
    places = list(dict.fromkeys(place for line in panel.lines.values() for place in line))
    values = [value for line in panel.lines.values() for found in line.values() for value in found]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def x(place: str) -> float:
        return MARGIN + (places.index(place) + 0.5) * (WIDTH - MARGIN - 12) / len(places)

    def y(value: float) -> float:
        return HEIGHT - 44 - (math.log10(value) - low) * (HEIGHT - 76) / (high - low)

    yield text(MARGIN, 22, panel.title, size=12)
    for power in range(low, high + 1):
        yield f'<path d="M{MARGIN} {y(10.0**power):.1f}H{WIDTH - 12}" stroke="#ddd"/>'
        yield text(MARGIN - 5, y(10.0**power) + 4, short(power), anchor="end")
    for place in places:
        yield text(x(place), HEIGHT - 28, place, anchor="middle")
    yield text((MARGIN + WIDTH - 12) / 2, HEIGHT - 12, panel.across, anchor="middle")
    for name, line in panel.lines.items():
        points = " ".join(f"{x(place):.1f},{y(statistics.median(found)):.1f}" for place, found in line.items())
        yield f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="2"/>'
        for place, found in line.items():
            for value in found:
                yield f'<circle cx="{x(place):.1f}" cy="{y(value):.1f}" r="2.5" fill="{colours[name]}"/>'


def short(power: int) -> str:
    """A power of ten, as there is room for it."""
    thousands = max(power // 3, 0)
    return f"{10.0 ** (power - 3 * thousands):g}{('', 'k', 'M', 'G')[thousands]}"


def text(x: float, y: float, words: str, *, size: int = 11, anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'
