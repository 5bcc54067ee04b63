"""Edits of the specification: the text of a module of `spec/` changed while it is imported, in this process alone.

A process that `carry`s edits before it has imported anything of `spec` gets them wherever it looks: what runs, what is
explored, what is proved, and the lines that a traceback shows are of the edited text. The files stay as they are, and
no bytecode of the edited text is kept. What is forked from the process carries the same.

An edit says what stood there and what stands there instead. What stood there has to be found exactly once: an edit
that no longer fits the specification is refused (EditError), never guessed at.
"""

from __future__ import annotations

import difflib
import importlib.util
import linecache
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from msgspec import Struct


class EditError(ValueError):
    """An edit does not fit the specification; one line."""


class Edit(Struct, frozen=True):
    """One change to one file."""

    file: str
    """Its path in `spec/`."""
    old: str
    new: str


def carry(name: str, edits: Sequence[Edit]) -> None:
    """Let this process import the specification with these edits; `name` is what they are together, if anything.

    Raises EditError if one does not fit. Too late once something of the specification was imported.
    """
    early = [module for module in sys.modules if module.split(".")[0] == "spec"]
    assert not early, f"edits come before the first import of the specification, and {early[0]} is there already"
    sys.meta_path.insert(0, Carrier(name, edited(edits)))


def carried() -> str:
    """The name of what this process carries; empty if nothing, or nothing with a name."""
    return next((finder.name for finder in sys.meta_path if isinstance(finder, Carrier)), "")


def edited(edits: Iterable[Edit]) -> dict[Path, str]:
    """The files that the edits change, as they are afterwards. Raises EditError."""
    texts: dict[Path, str] = {}
    for edit in edits:
        path = place_of(edit.file)
        text = texts[path] if path in texts else path.read_text(encoding="utf-8")
        if text.count(edit.old) != 1:
            often = f"{text.count(edit.old)} times" if edit.old in text else "nowhere"
            raise EditError(
                f"an edit no longer fits spec/{edit.file}, which has, {often} instead of once: {edit.old!r}"
            )
        texts[path] = text.replace(edit.old, edit.new)
    return texts


def specification() -> Path:
    """Where the specification is, which need not have been imported."""
    package = importlib.util.find_spec("spec")
    assert package is not None, "there is a specification"
    assert package.submodule_search_locations, "it is a package"
    return Path(package.submodule_search_locations[0])


def place_of(file: str) -> Path:
    """The path of a file of the specification. Raises EditError."""
    path = specification() / file
    if not path.is_file():
        raise EditError(f"an edit no longer fits: there is no spec/{file}")
    return path


def module_of(path: Path) -> str:
    """The name of the module that a file of the specification holds."""
    return ".".join(("spec", *path.relative_to(specification()).with_suffix("").parts))


def difference(edits: Iterable[Edit]) -> str:
    """The edits as a patch. Raises EditError."""
    lines: list[str] = []
    for path, text in edited(edits).items():
        before, after = path.read_text(encoding="utf-8").splitlines(), text.splitlines()
        name = f"spec/{path.relative_to(specification())}"
        lines += difflib.unified_diff(before, after, name, name, n=1, lineterm="")
    return "\n".join(lines)


class Carrier(MetaPathFinder):
    """Finds the modules that edits change."""

    def __init__(self, name: str, texts: Mapping[Path, str]) -> None:
        self.name = name
        self._loaders = {module_of(path): Edited(path, text) for path, text in texts.items()}

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """How to load the module; None for all that no edit changes."""
        loader = self._loaders.get(fullname)
        if loader is None:
            return None
        return importlib.util.spec_from_file_location(fullname, loader.get_filename(fullname), loader=loader)


class Edited(ExecutionLoader):
    """Loads the edited text of a module in place of its file."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = str(path), text
        # Whoever asks for the source (tracebacks, `inspect`) asks here; without a time it is never read again.
        linecache.cache[self._path] = (len(text), None, text.splitlines(keepends=True), self._path)

    def get_filename(self, _fullname: str) -> str:
        """The file that the text comes from."""
        return self._path

    def get_source(self, _fullname: str) -> str:
        """The text that runs."""
        return self._text

    def is_package(self, _fullname: str) -> bool:
        """Edits are of modules."""
        return False
