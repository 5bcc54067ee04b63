"""Which examples Hypothesis draws: the same in CI every time, fresh ones by night, fresh ones at a desk.

`ci` is derandomised, so that a change fails for what it changed and a rerun of CI says the same. That also means that
it never finds anything new: `nightly` (`make nightly`) draws fresh seeds and many more examples, and prints how to
repeat a failure. `desk` is what a developer gets: fresh examples, and failures kept in `.hypothesis/` until they pass.
Choose one by `HYPOTHESIS_PROFILE` or `pytest --hypothesis-profile`. None has a deadline: tests never gate on time.
"""

import os

import pytest
from hypothesis import settings

from impl.detector import Detector

settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile("nightly", deadline=None, derandomize=False, max_examples=2_000, print_blob=True)
settings.register_profile("desk", deadline=None, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "desk"))


@pytest.fixture
def nobody_suspected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes in this process suspect nobody, whatever happens: for tests that count steps."""
    monkeypatch.setattr(Detector, "look", lambda *_: None)
