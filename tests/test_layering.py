"""The arrows between the packages, read from the source itself.

The claim of the project is that one specification is run, explored, proved and replayed. It would be lost the day
that `spec/` reads a clock, or the checker explores what only `impl/` does. So every import of every file is parsed and
put to a short list of rules. A rule sees one import and where it stands, and answers with a complaint or with nothing;
each rule is also shown a source that breaks it, since a rule that cannot fail guards nothing.

`import_module("x")` and `__import__("x")` with a constant count as imports. Computed names are refused in `spec/`,
where neither function can be had; elsewhere they are trusted.
"""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

import spec

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("spec", "impl", "checker")

# Pure modules only: nothing here does I/O, reads a clock, draws randomness, starts a thread or logs.
# fmt: off
SPEC_STDLIB = frozenset({
    "__future__", "abc", "base64", "binascii", "bisect", "collections", "dataclasses", "enum", "fractions", "functools",
    "hashlib", "heapq", "hmac", "itertools", "math", "operator", "re", "string", "struct", "types", "typing",
})
# Builtins that do I/O, run text as code, or answer differently in another process.
SPEC_MAY_NOT_CALL = frozenset({
    "__import__", "breakpoint", "compile", "eval", "exec", "globals", "id", "input", "open", "print", "vars",
})
# fmt: on
SPEC_MAY_IMPORT = SPEC_STDLIB | {"msgspec", "spec"}
# Where the checker keeps its own runs, once it does: the one place outside impl/ that may open a database.
CHECKER_RUN_STORES: frozenset[str] = frozenset()
SQLITE = frozenset({"sqlite3", "sqlite_utils"})
COMPOSITION_ROOT = "impl/cli.py"


class Import(NamedTuple):
    """One name that a file brings in: the absolute dotted name, its line, and whether only a call brings it in."""

    name: str
    line: int
    lazy: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def layer(path: str) -> str:
    return path.partition("/")[0]


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def is_or_inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def imports(path: str, source: str) -> Iterator[Import]:
    """Every import in `source`, `from a import b` as `a.b`: whether `b` is a module cannot be told from here."""
    package = module_name(path).split(".")
    if not path.endswith("__init__.py"):
        package = package[:-1]

    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, node.lineno, lazy) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = package[: len(package) - level + 1] if level else []
                prefix = ".".join([*base, *([module] if module else [])])
                yield from (Import(f"{prefix}.{alias.name}", node.lineno, lazy) for alias in names)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(name, node.lineno, lazy)
            case _:
                pass
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    return visit(ast.parse(source, path), False)


def spec_is_pure(path: str, found: Import) -> str | None:
    if layer(path) == "spec" and found.top not in SPEC_MAY_IMPORT:
        return f"spec imports {found.name}: only pure standard modules, msgspec and spec itself"
    return None


def checker_knows_no_impl(path: str, found: Import) -> str | None:
    if layer(path) == "checker" and found.top == "impl":
        return f"checker imports {found.name}: it would check what runs apart from the specification"
    return None


def impl_knows_no_checker(path: str, found: Import) -> str | None:
    if layer(path) == "impl" and found.top == "checker" and not (path == COMPOSITION_ROOT and found.lazy):
        return f"impl imports {found.name}: only {COMPOSITION_ROOT} may, inside a function"
    return None


def nothing_imports_the_root(path: str, found: Import) -> str | None:
    if layer(path) in LAYERS and path != COMPOSITION_ROOT and is_or_inside(found.name, module_name(COMPOSITION_ROOT)):
        return f"imports {found.name}: nothing imports the composition root"
    return None


def layers_know_no_tests(path: str, found: Import) -> str | None:
    if layer(path) in LAYERS and found.top in ("tests", "pytest", "_pytest"):
        return f"imports {found.name}: the product does not depend on its tests"
    return None


def z3_only_where_proofs_are(path: str, found: Import) -> str | None:
    if found.top == "z3" and not path.startswith("checker/prove/"):
        return f"imports {found.name}: z3 belongs behind the facade in checker/prove/"
    return None


def networkx_only_in_the_checker(path: str, found: Import) -> str | None:
    if found.top == "networkx" and layer(path) not in ("checker", "tests"):
        return f"imports {found.name}: graphs are the checker's"
    return None


def sqlite_only_where_nodes_store(path: str, found: Import) -> str | None:
    if found.top in SQLITE and layer(path) not in ("impl", "tests") and path not in CHECKER_RUN_STORES:
        return f"imports {found.name}: databases are impl's"
    return None


RULES: tuple[Callable[[str, Import], str | None], ...] = (
    spec_is_pure,
    checker_knows_no_impl,
    impl_knows_no_checker,
    nothing_imports_the_root,
    layers_know_no_tests,
    z3_only_where_proofs_are,
    networkx_only_in_the_checker,
    sqlite_only_where_nodes_store,
)


def wrong_imports(path: str, source: str) -> list[str]:
    """What the rules say against the imports of one file, each complaint with its place."""
    said = ((found, rule(path, found)) for found in imports(path, source) for rule in RULES)
    return [f"{path}:{found.line}: {complaint}" for found, complaint in said if complaint is not None]


def makes_mutable(value: ast.expr) -> bool:
    """Whether `value` builds a container that can be changed, by a display, a comprehension or a builtin's name."""
    match value:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="list" | "dict" | "set" | "bytearray" | "defaultdict" | "Counter" | "deque")):
            return True
        case _:
            return False


def wrong_state(path: str, source: str) -> list[str]:
    """Ways to keep state between calls of the specification, or to reach outside of it without an import."""
    if layer(path) != "spec":
        return []
    complaints: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source, path)):
        match node:
            case ast.Global():
                complaints.append((node.lineno, "global: state belongs in the values that step takes and returns"))
            case ast.FunctionDef(args=args) | ast.AsyncFunctionDef(args=args) | ast.Lambda(args=args):
                defaults = [default for default in [*args.defaults, *args.kw_defaults] if default is not None]
                complaints += [
                    (default.lineno, "a mutable default argument outlives its call")
                    for default in defaults
                    if makes_mutable(default)
                ]
            case ast.Call(func=ast.Name(id=name)) if name in SPEC_MAY_NOT_CALL:
                complaints.append((node.lineno, f"{name}(): reaches outside of the specification"))
            case _:
                pass
    return [f"{path}:{line}: {complaint}" for line, complaint in complaints]


def thawed(structs: list[type[msgspec.Struct]]) -> list[str]:
    """The Structs that can be changed in place, for want of `frozen=True`."""
    return [f"{struct.__module__}.{struct.__qualname__}" for struct in structs if not struct.__struct_config__.frozen]


def python_files(*layers: str) -> list[str]:
    return sorted(file.relative_to(ROOT).as_posix() for name in layers for file in (ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("path", python_files(*LAYERS, "tests"))
def test_file_keeps_to_the_layers(path: str) -> None:
    source = (ROOT / path).read_text()
    assert wrong_imports(path, source) + wrong_state(path, source) == []


def test_z3_has_one_home() -> None:
    users = [
        path
        for path in python_files(*LAYERS)
        if any(found.top == "z3" for found in imports(path, (ROOT / path).read_text()))
    ]
    assert len(users) == 1, users


def test_every_struct_of_the_specification_is_frozen() -> None:
    modules = [importlib.import_module(module.name) for module in pkgutil.walk_packages(spec.__path__, "spec.")]
    structs = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
    ]
    assert structs
    assert thawed(structs) == []


def test_the_allow_list_names_real_modules() -> None:
    assert sys.stdlib_module_names >= SPEC_STDLIB


def test_a_thawed_struct_is_caught() -> None:
    class Cold(msgspec.Struct, frozen=True):
        n: int

    class Warm(msgspec.Struct):
        n: int

    assert [name.rpartition(".")[2] for name in thawed([Cold, Warm])] == ["Warm"]


WRONG_IMPORTS = [
    ("spec/x.py", "import random", "spec imports random"),
    ("spec/x.py", "import time, re", "spec imports time"),
    ("spec/x.py", "from datetime import datetime", "spec imports datetime.datetime"),
    ("spec/x.py", "import logging", "spec imports logging"),
    ("spec/x.py", "import threading", "spec imports threading"),
    ("spec/x.py", "import asyncio", "spec imports asyncio"),
    ("spec/x.py", "from pathlib import Path", "spec imports pathlib"),
    ("spec/x.py", "import os.path as p", "spec imports os.path"),
    ("spec/x.py", "def f():\n    import secrets", "spec imports secrets"),
    ("spec/x.py", "from impl import storage", "spec imports impl.storage"),
    ("spec/x.py", "from ..checker import explore", "spec imports checker"),
    ("spec/x.py", "import networkx", "spec imports networkx"),
    ("spec/x.py", "import importlib", "spec imports importlib"),
    ("checker/x.py", "import impl", "checker imports impl"),
    ("checker/prove/x.py", "from impl.storage import open_store", "checker imports impl.storage"),
    ("checker/prove/x.py", "from ...impl import client", "checker imports impl.client"),
    ("checker/x.py", "def f():\n    from impl import client", "checker imports impl.client"),
    (
        "checker/x.py",
        "from importlib import import_module\nimport_module('impl.client')",
        "checker imports impl.client",
    ),
    ("checker/x.py", "import importlib\nimportlib.import_module('impl')", "checker imports impl"),
    ("checker/x.py", "__import__('impl')", "checker imports impl"),
    ("impl/x.py", "from checker import explore", "impl imports checker.explore"),
    ("impl/x.py", "def f():\n    from checker import explore", "impl imports checker.explore"),
    ("impl/cli.py", "from checker import explore", "impl imports checker.explore"),
    ("impl/cli.py", "class C:\n    import checker", "impl imports checker"),
    ("impl/cli.py", "if True:\n    import checker", "impl imports checker"),
    ("impl/__main__.py", "from impl.cli import main", "nothing imports the composition root"),
    ("impl/x.py", "from . import cli", "nothing imports the composition root"),
    ("checker/x.py", "import impl.cli", "nothing imports the composition root"),
    ("impl/x.py", "import pytest", "does not depend on its tests"),
    ("checker/x.py", "from tests import test_layering", "does not depend on its tests"),
    ("checker/explore.py", "import z3", "z3 belongs"),
    ("tests/test_x.py", "from z3 import Int", "z3 belongs"),
    ("impl/x.py", "import networkx as nx", "graphs are"),
    ("checker/x.py", "import sqlite3", "databases are"),
    ("checker/x.py", "from sqlite_utils import Database", "databases are"),
]

WRONG_STATE = [
    ("n = 0\ndef f():\n    global n\n    n += 1", "global"),
    ("def f(x=[]): ...", "mutable default"),
    ("def f(*, x={}): ...", "mutable default"),
    ("def f(x=dict()): ...", "mutable default"),
    ("g = lambda x=set(): x", "mutable default"),
    ("async def f(x={i for i in ()}): ...", "mutable default"),
    ("def f(): print(1)", "print()"),
    ("def f(): return open('x')", "open()"),
    ("def f(x): return id(x)", "id()"),
    ("def f(): return __import__('time')", "__import__()"),
]

RIGHT = [
    ("spec/x.py", "import hashlib\nimport collections.abc\nfrom msgspec import Struct\nfrom spec.clock import Clock"),
    ("spec/x.py", "from . import clock\nfrom .maps import FMap\ndef f(x=(), *, y=frozenset()): return x, y"),
    ("spec/x.py", "class ImportantError(Exception): ...\ndef f(): return 'import random'"),
    ("impl/cli.py", "def check():\n    from checker import explore\n    return explore"),
    ("impl/storage.py", "import sqlite3\nfrom sqlite_utils import Database\nfrom spec import node"),
    ("impl/x.py", "from impl.client import Client\nfrom . import client"),
    ("checker/x.py", "import networkx\nfrom spec import cluster\nfrom .implement import x"),
    ("checker/prove/x.py", "import z3"),
    ("tests/test_x.py", "from impl import cli\nimport checker, sqlite3, networkx\ndef f(x=[]): print(x)"),
]


@pytest.mark.parametrize(("path", "source", "complaint"), WRONG_IMPORTS)
def test_a_wrong_import_is_caught(path: str, source: str, complaint: str) -> None:
    assert any(complaint in said for said in wrong_imports(path, source))


@pytest.mark.parametrize(("source", "complaint"), WRONG_STATE)
def test_wrong_state_is_caught(source: str, complaint: str) -> None:
    assert [complaint in said for said in wrong_state("spec/x.py", source)] == [True]


@pytest.mark.parametrize(("path", "source"), RIGHT)
def test_what_is_right_is_let_be(path: str, source: str) -> None:
    assert wrong_imports(path, source) + wrong_state(path, source) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_every_rule_has_been_seen_to_fail(rule: Callable[[str, Import], str | None]) -> None:
    assert any(rule(path, found) for path, source, _ in WRONG_IMPORTS for found in imports(path, source))
