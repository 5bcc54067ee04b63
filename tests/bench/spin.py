"""Spin on two-phase commit, to compare: the machine of `tests.machines.two_phase` in Promela, in full.

Spin writes a C program that searches this one model, and a compiler makes a fast one of it: that is what can be had of
a model that is translated beforehand, and is not the program that runs. Its partial order reduction is off and it keeps
states exactly, so that it finds the same ones. It has to be installed, and `gcc` with it.
"""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

WORKING, PREPARED, COMMITTED, ABORTED = range(4)
DEPTH, HASH_BITS = 1_000_000, 22


def promela(managers: int) -> str:
    """The machine: one process whose every step is one action."""

    def some(value: int) -> str:
        return " || ".join(f"now_{r} == {value}" for r in range(managers))

    consistent = f"assert(!(({some(COMMITTED)}) && ({some(ABORTED)})))"
    everyone = (1 << managers) - 1
    lines = [f"byte now_{r};" for r in range(managers)]
    lines += ["byte coordinator; short prepared, said; bool commit, abort;", "active proctype machine() { do"]
    lines += [
        f":: d_step {{ coordinator == 0 && prepared == {everyone} -> coordinator = 1; commit = true }}",
        ":: d_step { coordinator == 0 -> coordinator = 2; abort = true }",
    ]
    for r in range(managers):
        bit = 1 << r
        lines += [
            f":: d_step {{ coordinator == 0 && (said & {bit}) -> prepared = prepared | {bit} }}",
            f":: d_step {{ now_{r} == {WORKING} -> now_{r} = {PREPARED}; said = said | {bit}; {consistent} }}",
            f":: d_step {{ now_{r} == {WORKING} -> now_{r} = {ABORTED}; {consistent} }}",
            f":: d_step {{ commit -> now_{r} = {COMMITTED}; {consistent} }}",
            f":: d_step {{ abort -> now_{r} = {ABORTED}; {consistent} }}",
        ]
    return "\n".join([*lines, "od }", ""])


def searched(managers: int) -> tuple[int, float] | None:
    """How many states Spin finds, and in how many seconds of its CPU; None if it is not installed."""
    spin, compiler = shutil.which("spin"), shutil.which("gcc")
    if spin is None or compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.pml").write_text(promela(managers))
        for command in (
            [spin, "-a", "model.pml"],
            [compiler, "-O2", "-w", "-DSAFETY", "-DNOREDUCE", "-o", "pan", "pan.c"],
        ):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        search = [str(Path(folder, "pan")), f"-m{DEPTH}", f"-w{HASH_BITS}"]
        said = subprocess.run(search, cwd=folder, check=True, capture_output=True, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "errors: 0" in said, said
    stored = re.search(r"(\d+) states, stored", said)
    assert stored is not None, said
    return int(stored[1]), after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
