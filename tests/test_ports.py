"""Ports for local nodes: processes that choose at the same time choose different ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from impl import local
from impl.errors import UserError
from impl.local import PORTS, SLICE, Slice, free_ports

CHOOSE = "from impl.local import free_ports; print(*free_ports(150), flush=True); input()"


def test_processes_that_live_at_the_same_time_choose_different_ports() -> None:
    others = [
        subprocess.Popen([sys.executable, "-c", CHOOSE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    chosen = free_ports(150)
    for other in others:
        assert other.stdout is not None
        chosen += map(int, other.stdout.readline().split())
    for other in others:
        other.communicate(b"\n")
    assert len(chosen) == len(set(chosen)) == 600
    assert set(chosen) <= set(PORTS)


def test_a_port_is_not_chosen_again_soon() -> None:
    """The node that it was chosen for may be down, and come back."""
    ports = [port for _ in range(30) for port in free_ports(3)]
    assert len(set(ports)) == len(ports)


def test_when_all_ports_are_taken_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=f"^there are no {SLICE} free ports"):
        free_ports(SLICE)
    monkeypatch.setattr(local, "PORTS", PORTS[-SLICE:])
    try:
        taken: Slice | None = Slice()
    except UserError:  # this or another process has it
        taken = None
    with pytest.raises(UserError, match=r"^all ports between 31800 and 32000 are taken$"):
        Slice()
    if taken is not None:
        os.close(taken.lock)
