"""How nodes and the ring look in a terminal.

The picture of the ring is drawn as the ring is: position 0 at the top, positions growing clockwise. Each of the
concentric circles is a place in the preference lists, the first owner outermost; a cell has the mark of the node that
owns the partition there.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from impl.detector import Opinion
from impl.meters import Waits
from impl.wire import Status
from spec.quorum import sizes
from spec.ring import Ring
from spec.text import printable
from spec.types import Config, NodeId

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

RADIUS = 10
"""Of the picture, in lines; a line is as high as two columns are wide."""
DEEPEST = 4
"""Places of a preference list that the picture has room for."""
WIDE = 160
"""Columns of what is no terminal."""
COLOURS = ("red", "green", "yellow", "blue", "magenta", "cyan", "bright_red", "bright_green", "bright_blue")


class RingRow(Struct, frozen=True):
    """A node as `ringspec ring` shows it."""

    node: NodeId
    mark: str
    address: str
    up: bool
    zone: str
    weight: int
    first: int
    """Partitions of which it is the first owner."""
    owns: int
    """Partitions of which it is an owner."""
    share: float
    """Of all replicas of all partitions."""
    operations: int | None
    """Replies to clients since it was started; None if it could not be asked."""
    requests: int | None
    """Requests that it coordinates or forwards just now."""
    waiting: int | None
    """Events that wait for their step."""
    data_bytes: int | None


def ring_rows(asked: Status, ring: Ring, statuses: dict[NodeId, Status | None]) -> list[RingRow]:
    """What there is to say of each member, by name; `asked` is the node whose view of the cluster this is."""
    n, addresses = asked.config.n, {asked.node: asked.address} | {peer.name: peer.address for peer in asked.peers}
    marks = marks_of([member.name for member in ring.members])
    rows = []
    for member in ring.members:
        status = statuses.get(member.name)
        owns = sum(member.name in walk[:n] for walk in ring.walks)
        rows.append(
            RingRow(
                node=member.name,
                mark=marks[member.name],
                address=addresses.get(member.name, ""),
                up=status is not None,
                zone=member.zone,
                weight=member.weight,
                first=sum(walk[0] == member.name for walk in ring.walks),
                owns=owns,
                share=round(owns / (len(ring.walks) * n), 4),
                operations=None if status is None else operations(status),
                requests=None if status is None else status.requests,
                waiting=None if status is None else status.waiting,
                data_bytes=None if status is None else status.data_bytes,
            )
        )
    return rows


def operations(status: Status) -> int:
    """Replies that a node has given to clients."""
    return sum(sum(replies.values()) for replies in status.counts.replies.values())


def marks_of(names: list[NodeId]) -> dict[NodeId, str]:
    """A letter for each node: its initial where that tells them apart, else letters in order, `*` when they run out."""
    initials = [name[0] for name in names]
    if len(set(initials)) == len(names) and "".join(initials).isalnum():
        return dict(zip(names, initials, strict=True))
    letters = string.ascii_lowercase + string.ascii_uppercase + string.digits
    return {name: letters[i] if i < len(letters) else "*" for i, name in enumerate(names)}


def cells(partitions: int, places: int, radius: int = RADIUS) -> Iterator[list[tuple[int, int] | None]]:
    """The picture, line by line: which partition and which place of its preference list a cell shows, if any."""
    thickness = radius / (places + 1.5)
    for line in range(-radius, radius + 1):
        row: list[tuple[int, int] | None] = []
        for column in range(-2 * radius, 2 * radius + 1):
            x, y = column / 2, line
            place = math.floor((radius + 0.5 - math.hypot(x, y)) / thickness)
            turn = math.atan2(x, -y) / (2 * math.pi) % 1.0
            row.append((int(turn * partitions) % partitions, place) if 0 <= place < places else None)
        yield row


def picture(config: Config, ring: Ring, marks: dict[NodeId, str]) -> list[Text]:
    """The ring, in colours where the terminal has them."""
    from rich.text import Text

    colours = {node: COLOURS[i % len(COLOURS)] for i, node in enumerate(marks)}
    lines = []
    for row in cells(len(ring.walks), min(config.n, DEEPEST)):
        line = Text()
        for cell in row:
            if cell is None:
                line.append(" ")
            else:
                node = ring.walks[cell[0]][cell[1]]
                line.append(marks[node], style=colours[node])
        line.rstrip()
        lines.append(line)
    return lines


def show_ring(config: Config, ring: Ring, rows: list[RingRow]) -> None:
    """The picture, and a table of the nodes."""
    from rich.table import Table

    console = terminal()
    for line in picture(config, ring, {row.node: row.mark for row in rows}):
        console.print(line)
    zones = any(row.zone for row in rows) or any(row.weight != 1 for row in rows)
    table = Table(box=None, pad_edge=False)
    for name in ("", "node", "address", *(("zone",) if zones else ())):
        table.add_column(name, no_wrap=True)
    numbers = (*(("weight",) if zones else ()), "first of", "owner of", "share", "served", "open", "waiting", "data")
    for name in numbers:
        table.add_column(name, no_wrap=True, justify="right")
    for row in rows:
        zone, weight = ([row.zone or "-"], [str(row.weight)]) if zones else ([], [])
        known = [number(row.operations), number(row.requests), number(row.waiting), size(row.data_bytes)]
        table.add_row(
            *(row.mark, row.node, row.address, *zone, *weight, str(row.first), str(row.owns), f"{row.share:.1%}"),
            *(known if row.up else ["down", "", "", ""]),
        )
    console.print(table)
    order = "" if config.n == 1 else ", the first one outermost" + (f" (of {config.n})" if config.n > DEEPEST else "")
    console.print(f"{len(ring.walks)} partitions clockwise from the top, each with {plural(config.n, 'owner')}{order}")


def show_status(status: Status) -> None:
    """A node's status for people."""
    from rich.table import Table
    from rich.text import Text

    config, console = status.config, terminal()

    def tell(what: str, said: str) -> None:
        console.print(f"{what:<9} {said}")

    stopping = ", stopping" if status.stopping else ""
    console.print(f"node {status.node} at {status.address}, run {status.epoch}, up {span(status.uptime)}{stopping}")
    tell("store", f"{plural(len(status.members), 'node')}, {sizes(config)}")
    tell("owns", owned(status))
    for operation in ("Put", "Get"):
        replies = status.counts.replies.get(operation, {})
        tell(f"{operation.lower()}s", replied(replies, status.counts.waits.get(operation, Waits())))
    sent = status.counts.sent
    tell("sent", f"{plural(sum(sent.values()), 'message')} to other nodes, {plural(sent.get('Repair', 0), 'repair')}")
    tell(
        "now",
        f"{plural(status.requests, 'request')} in flight, {plural(status.waiting, 'event')} waiting, "
        f"{plural(status.clients, 'client')}",
    )
    each = f", {status.steps / status.batches:.1f} to a commit" if status.batches else ""
    tell("disk", f"{size(status.data_bytes)}, {plural(status.steps, 'step')}{each}, recording {onoff(status.recorded)}")
    hints, most = sum(peer.owed for peer in status.peers), config.limits.hints
    if hints:
        tell("hints", f"{number(hints)}, room for {number(max(0, most - hints))} more")
    troubles = [standing(status)] * bool(standing(status))
    troubles += ["no room for more hints"] * (hints >= most)
    troubles += [f"{plural(status.counts.turned_away, 'connection')} turned away"] * bool(status.counts.turned_away)
    troubles += [f"the disk was full {plural(status.counts.full_disks, 'time')}"] * bool(status.counts.full_disks)
    if troubles:
        tell("trouble", ", ".join(troubles))
    if status.peers:
        table = Table(box=None, pad_edge=False)
        for name in ("link to", "address", "", "queued", "lost", "owed", "heard", "phi", "suspected"):
            table.add_column(
                name, no_wrap=True, justify="right" if name in ("queued", "lost", "owed", "phi") else "left"
            )
        for peer in status.peers:
            up, opinion = Text("up") if peer.connected else Text("down", "bold"), peer.opinion
            heard = "never" if opinion.heard_seconds is None else f"{opinion.heard_seconds:.1f} s ago"
            numbers = map(number, (peer.queued, peer.lost, peer.owed))
            table.add_row(peer.name, peer.address, up, *numbers, heard, f"{opinion.phi:.1f}", suspected(opinion))
        console.print(table)


def standing(status: Status) -> str:
    """Why what a node holds does not count, or not all of it; nothing, if it does."""
    if not status.confirmed:
        return "too few other nodes have said yet that the disk is not from the past: reads are not answered"
    if status.lacking:
        return f"the disk was new or from the past: catching up on what {', '.join(status.lacking)} may hold"
    return ""


def suspected(opinion: Opinion) -> str:
    """Whether, since when and why a node is taken to be down."""
    if opinion.suspected_seconds is None:
        return "no"
    return f"for {span(opinion.suspected_seconds)}: {opinion.why}"


def owned(status: Status) -> str:
    """What share of the ring a node owns."""
    from spec.ring import build_ring

    walks = build_ring(status.members, status.config).walks
    owns = sum(status.node in walk[: status.config.n] for walk in walks)
    first = sum(walk[0] == status.node for walk in walks)
    return f"{owns} of {plural(len(walks), 'partition')} ({owns / len(walks):.0%}), first owner of {first}"


def replied(replies: dict[str, int], waits: Waits) -> str:
    """What became of one kind of operation, and how fast."""
    words = {
        "Stored": "stored",
        "Found": "found",
        "Indefinite": "may have happened",
        "Failed": "failed",
        "Refused": "refused",
        "Overloaded": "refused under overload",
        "Unmet": "turned down by their condition",
    }
    told = ", ".join(f"{number(replies[kind])} {word}" for kind, word in words.items() if replies.get(kind))
    if not told:
        return "none"
    bounds = [(name, waits.within(share)) for name, share in (("half", 0.5), ("99 %", 0.99))]
    fast = ", ".join(f"{name} within {bound * 1000:g} ms" for name, bound in bounds if bound is not None)
    return f"{told}; {fast}" if fast else told


def number(value: int | None) -> str:
    """A number, in groups of three digits."""
    return "" if value is None else f"{value:,}"


def plural(count: int, what: str) -> str:
    """So many of something."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size(count: int | None) -> str:
    """So many bytes, roughly."""
    if count is None:
        return ""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if count >= 1000**power:
            return f"{count / 1000**power:.1f} {unit}"
    return f"{count} B"


def span(seconds: float) -> str:
    """A time, in its two largest units."""
    whole = int(seconds)
    units = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((i for i, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def terminal() -> Console:
    """Where all is printed: not cut to the width of what is no terminal."""
    from rich.console import Console

    class Plain(Console):
        """What a node says is text: it is neither markup nor a command to the terminal."""

        def render_str(self, text: str, **options: Any) -> Text:  # Any: rich's own options, handed on
            return super().render_str(printable(text), **options)

    width = None if Console().is_terminal else WIDE
    return Plain(highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


def onoff(state: bool) -> str:
    """In a word."""
    return "on" if state else "off"
