"""The demonstration keeps its promises in small, and says so when one is broken."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from checker.validate import examine
from impl import demo
from impl.client import Client, Values


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few files and few writes."""
    monkeypatch.setattr(demo, "FILES", 30)
    monkeypatch.setattr(demo, "WRITES", 80)


@pytest.mark.usefixtures("small")
def test_the_story_in_small(tmp_path: Path) -> None:
    """Cut, siblings, reconciliation and kill happen, and the logs are a run of the specification."""
    said: list[str] = []
    logs, logs_after_loss = asyncio.run(demo.tell_story(tmp_path, said.append))
    told = "\n".join(said)
    assert "all SHA-256 equal" in told
    assert "finds 2 siblings" in told
    assert "reconciles them" in told
    assert "was killed with SIGKILL" in told
    assert "that others had taken in its place" in told
    report = examine(logs)
    assert report.problem is None
    assert (report.nodes, report.restarts) == (5, 1)
    assert report.refined is not None
    assert (report.refined.steps, report.refined.not_judged) == (report.steps, 0)
    assert {a for a in ("hint", "hand", "take", "release") if not report.refined.actions[a]} == set()
    assert report.requests >= 30 * 2 + 80
    assert "has caught up" in told
    assert "is the only owner left: all" in told
    after = examine(logs_after_loss)
    assert after.problem is None
    assert (after.lost, after.restarts) == (("c",), 5)
    assert after.steps > report.steps
    assert after.refined is not None
    assert after.refined.steps + after.refined.not_judged == after.steps
    assert after.refined.actions["give"] > 0


@pytest.mark.usefixtures("small")
def test_a_broken_promise_ends_the_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that gives back something else than was stored is found out."""
    real = Client.get

    async def forgetful(self: Client, key: bytes) -> Values:
        found = await real(self, key)
        return Values(found.siblings - found.siblings, found.context)

    monkeypatch.setattr(Client, "get", forgetful)
    with pytest.raises(demo.Broken, match="did not come back as it was stored"):
        asyncio.run(demo.tell_story(tmp_path, lambda _: None))


def test_a_command_that_does_not_end_as_promised() -> None:
    """Its output is shown."""
    with pytest.raises(demo.Broken, match="weak"):
        demo.ringspec(["check", "weak", "--no-progress"], 0)


def test_there_are_a_few_hundred_real_files() -> None:
    """The three packages that it names come first, and whole."""
    files = demo.source_files()
    assert len(files) == demo.FILES >= 200
    assert all(any(path.startswith(f"{name}/") for path in files) for name in demo.PACKAGES)
