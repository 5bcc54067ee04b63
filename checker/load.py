"""A machine of one's own, by where it stands: `FILE.py:NAME` or `package.module:NAME`.

NAME is a machine, or a class or function that makes one without arguments. Loading a file runs it, as importing does.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PARTS = ("properties", "initial", "transitions", "is_final")


class LoadError(Exception):
    """There is no machine there; one line that says what is there instead."""


def load_machine(where: str) -> Any:  # Any: a machine of any types
    """The machine that stands there. Raises LoadError."""
    place, _, name = where.rpartition(":")
    module = _module(place)
    if not hasattr(module, name):
        near = ", ".join(sorted(found for found, value in vars(module).items() if _makes_machines(value, module)))
        raise LoadError(f"{place} has no {name or 'name after the colon'}; it has {near or 'no machine'}")
    found = getattr(module, name)
    if callable(found) and not _is_machine(found):
        try:
            found = found()
        except Exception as error:
            raise LoadError(f"{where} makes no machine: {type(error).__name__}: {error}") from error
    if not _is_machine(found):
        missing = next(part for part in ("name", *PARTS) if not hasattr(found, part))
        raise LoadError(f"{where} is no machine: it has no {missing}; see checker.machine.SimpleMachine")
    return found


def _is_machine(value: object) -> bool:
    return not inspect.isclass(value) and all(hasattr(value, part) for part in ("name", *PARTS))


def _makes_machines(value: object, module: ModuleType) -> bool:
    """Whether a name of the module is of a machine, or of a class of them that it defines."""
    own = inspect.isclass(value) and value.__module__ == module.__name__
    return _is_machine(value) or (own and all(hasattr(value, part) for part in PARTS))


def _module(place: str) -> ModuleType:
    """The module of a file, or of this name."""
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        file = Path(place)
        if not file.is_file():
            raise LoadError(f"there is no file {place}")
        name = file.stem
        loaded = sys.modules.get(name)
        if loaded is not None and getattr(loaded, "__file__", None) == str(file.absolute()):
            return loaded
        if loaded is not None or importlib.util.find_spec(name) is not None:
            name = f"own_{name}"
        spec = importlib.util.spec_from_file_location(name, file.absolute())
        assert spec is not None, "it is a Python file"
        assert spec.loader is not None, "it is a Python file"
        if str(file.absolute().parent) not in sys.path:
            sys.path.append(str(file.absolute().parent))  # for what it imports from beside it
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # where pickles of its states look for their classes
        spec.loader.exec_module(module)
        return module
    except LoadError:
        raise
    except Exception as error:
        line = error.lineno if isinstance(error, SyntaxError) else _line_in(place, error)
        at = f", line {line}" if line else ""
        raise LoadError(f"{place} cannot be loaded: {type(error).__name__}: {error}{at}") from error


def _line_in(place: str, error: BaseException) -> int | None:
    """Where in the file it was raised."""
    found, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename.endswith(place):
            found = step.tb_lineno
        step = step.tb_next
    return found
