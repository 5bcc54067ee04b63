"""Which examples Hypothesis draws: the same in CI every time, fresh ones by night, fresh ones at a desk.

`ci` is derandomised, so that a change fails for what it changed and a rerun of CI says the same. That also means that
it never finds anything new: `nightly` (`make nightly`) draws fresh seeds and many more examples, and prints how to
repeat a failure. `desk` is what a developer gets: fresh examples, and failures kept in `.hypothesis/` until they pass.
Choose one by `HYPOTHESIS_PROFILE` or `pytest --hypothesis-profile`. None has a deadline, and none minds that examples
take long to draw: tests never gate on time.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

from impl import door
from impl.detector import Detector
from impl.frames import Frames

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("ci", PATIENT, derandomize=True, database=None)
settings.register_profile("nightly", PATIENT, derandomize=False, max_examples=2_000)
settings.register_profile("desk", PATIENT, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "desk"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first: in the end no worker waits for the other."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


class AtOnce:
    """Names what fails when it fails: a run that is ended before its end has no summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        """Where to say it."""
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test is over."""
        if report.failed:
            self._terminal.write_line(f" {report.nodeid}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Where there is a terminal: a worker has none, its failures are told by who started it."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(AtOnce(terminal))


@pytest.fixture
def nobody_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes in this process suspect nobody, whatever happens: for tests that count steps."""
    monkeypatch.setattr(Detector, "look", lambda *_: None)


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[Frames]:
    """The connections that nodes accept from now on."""
    made = list[Frames]()

    class Seen(Frames):
        def __init__(self, limit: int) -> None:
            super().__init__(limit)
            made.append(self)

    monkeypatch.setattr(door, "Frames", Seen)
    return made
