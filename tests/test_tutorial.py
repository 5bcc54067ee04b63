"""checker/TUTORIAL.md is done as a reader does it: its files are saved, its commands run, what it shows is compared.

The rules are those of README.md (see test_readme.py). A block marked `python NAME.py` is saved under that name.
"""

import re
from pathlib import Path

from tests.test_readme import BadReadme, Session, blocks, complaints, sessions

TUTORIAL = Path(__file__).resolve().parent.parent / "checker" / "TUTORIAL.md"
MOST_LINES = 60


def files(text: str) -> dict[str, str]:
    """What the reader is told to save, by name."""
    return {found[1]: found[2] for found in re.finditer(r"^```python (\S+)\n(.*?)^```$", text, re.S | re.M)}


def only_session(text: str) -> Session:
    """All of it happens in one shell."""
    (session,) = sessions(blocks(text))
    return session


def test_the_tutorial_is_right(tmp_path: Path) -> None:
    text = TUTORIAL.read_text()
    assert complaints(only_session(text), tmp_path, files=files(text)) == []


def test_the_protocol_is_small() -> None:
    written = files(TUTORIAL.read_text())
    assert list(written) == ["pay.py", "fair.py"]
    assert len(written["pay.py"].splitlines()) < MOST_LINES
    for name in written:
        assert f"Save this as `{name}`" in TUTORIAL.read_text()


def test_a_wrong_tutorial_fails(tmp_path: Path) -> None:
    text = TUTORIAL.read_text().replace("15 states, 42 generated", "16 states, 42 generated")
    assert len(complaints(only_session(text), tmp_path, files=files(text))) == 1


def test_every_command_can_be_read() -> None:
    try:
        assert len(only_session(TUTORIAL.read_text()).commands) >= 8
    except BadReadme as bad:
        raise AssertionError(f"checker/TUTORIAL.md: {bad}") from None
