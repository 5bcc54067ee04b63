"""What nodes do in a second, beside what the machine could do in the same minute.

Three node processes, n=3, r=w=2, 100-byte values, 20,000 keys, synchronous=FULL; clients are closed loops with a
connection each, in processes of their own (`tests.bench.load`). A put is one over what is there, with the context of a
get. Several stores take turns, because a machine that is shared is never the same twice (`tests.bench.stores`): nodes
without recording, nodes with it, the same messages and commits without a specification, and etcd and Redis where they
are installed; then come the storage alone and `step` alone (`tests.bench.alone`). Throughput says what this machine did
at that moment; what lasts is the CPU that an operation takes and the ratios between neighbours. Run as
`pytest -m bench -s tests/bench/test_node_bench.py` or `python -m tests.bench.bench_node [rounds] [seconds] [plot.svg]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from tests.bench.alone import step_alone, storage_alone
from tests.bench.load import KINDS, Kind
from tests.bench.measuring import KEYS, VALUE_BYTES, Figures, measure
from tests.bench.plot import Panel, svg
from tests.bench.stores import Store, Subject, stores

CLIENTS = (1, 8, 64)
PUT_KEYS = {1: 2_000, 8: 8_000, 64: KEYS}
"""How many keys the puts of so many clients have, each to be put once."""


Findings: TypeAlias = dict[tuple[Subject, Kind, int], list[Figures]]
"""What was measured of whom, doing what, for so many clients; a measurement for each round."""


async def compare(rounds: int, seconds: float, say: Callable[[str], None]) -> Findings:
    """Measure everything and print the tables."""
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringspec-bench-")))
        there: dict[Subject, Store] = {}
        for subject, opened in stores(directory):
            there[subject] = store = await stack.enter_async_context(opened)
            await asyncio.to_thread(measure, store, "fill", 64, KEYS, 3600.0)
        say(f"{'':>15}{'clients':>8}{'ops/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'CPU ms/op':>11}{'load ms/op':>11}"
            f"{'cores':>7}{'machine':>9}")  # fmt: skip
        found: Findings = {}
        for number in range(rounds):
            for clients in CLIENTS if number == 0 else CLIENTS[-1:]:
                for kind in KINDS:
                    for subject, store in there.items():
                        keys = PUT_KEYS[clients] if kind == "put" else KEYS
                        measured = await asyncio.to_thread(measure, store, kind, clients, keys, seconds)
                        found.setdefault((subject, kind, clients), []).append(measured)
                        say(line(f"{subject} {kind}", clients, measured))
        say("")
        for kind in KINDS:
            for text in ratios(kind, {subject: found[subject, kind, CLIENTS[-1]] for subject in there}):
                say(text)
    say("")
    for text in (*storage_alone(), *step_alone()):
        say(text)
    return found


def panels(found: Findings) -> Iterator[Panel]:
    """Throughput and the slowest of a hundred, against the number of clients."""
    for title, number in (("operations per second", "per_second"), ("99th percentile, ms", "p99_ms")):
        for kind in KINDS:
            lines: dict[str, dict[str, list[float]]] = {}
            for (subject, what, clients), measured in found.items():
                if what == kind:
                    lines.setdefault(subject, {})[str(clients)] = [getattr(f, number) for f in measured]
            yield Panel(f"{kind}s: {title}", "clients", lines)


def line(what: str, clients: int, f: Figures) -> str:
    """One measurement."""
    return (
        f"{what:>15}{clients:>8}{f.per_second:>9,.0f}{f.p50_ms:>8.1f}{f.p99_ms:>8.1f}{f.cpu_ms:>11.3f}"
        f"{f.load_cpu_ms:>11.3f}{f.busy:>7.2f}{os.getloadavg()[0]:>9.1f}"
    )


PAIRS: tuple[tuple[Subject, Subject], ...] = (
    ("recording", "node"),
    ("node", "echo"),
    ("node", "etcd"),
    ("node", "redis"),
)
"""What is told as a ratio."""


def ratios(kind: Kind, found: dict[Subject, list[Figures]]) -> Iterator[str]:
    """Medians over the rounds: of throughput, and of what a round says of neighbours, also by CPU and slowest 1 %."""

    def over(a: Subject, b: Subject, ratio: Callable[[Figures, Figures], float]) -> float:
        return statistics.median([ratio(x, y) for x, y in zip(found[a], found[b], strict=True)])

    def rate(subject: Subject) -> str:
        return f"{subject} {statistics.median([f.per_second for f in found[subject]]):,.0f}/s"

    yield f"{kind}s, {CLIENTS[-1]} clients: {', '.join(map(rate, found))}"
    for a, b in PAIRS:
        if {a, b} <= set(found):
            rates = over(a, b, lambda x, y: x.per_second / y.per_second)
            cpus = over(a, b, lambda x, y: y.cpu_ms / x.cpu_ms)
            slowest = over(a, b, lambda x, y: x.p99_ms / y.p99_ms)
            yield f"  {a}/{b}: {rates:.2f} ({cpus:.2f} by CPU), p99 {slowest:.2f}"


def main(rounds: int = 3, seconds: float = 5.0, plot: Path | None = None) -> None:
    """Run it, and draw it if there is a file to draw to."""
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; {KEYS:,} keys, {VALUE_BYTES}-byte values")
    found = asyncio.run(compare(rounds, seconds, lambda text: print(text, flush=True)))
    if plot is not None:
        plot.write_text(
            svg(f"ringspec: 3 nodes, n=3, r=w=2, {VALUE_BYTES}-byte values, {KEYS:,} keys", [*panels(found)])
        )
        print(f"plot: {plot}")


if __name__ == "__main__":
    said = dict(zip(("rounds", "seconds", "plot"), sys.argv[1:], strict=False))
    main(int(said.get("rounds", 3)), float(said.get("seconds", 5)), Path(said["plot"]) if "plot" in said else None)
