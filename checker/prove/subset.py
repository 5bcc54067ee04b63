"""Which Python can be proved: its types, its sources, and what is said about everything else.

A *spec function* is a plain function at the top of a module of the specification: typed parameters, a docstring, local
names each assigned once, a final return (branches by `if` may return early). A loop may do what `all` and `any` do,
look for an element because of which to return False or True: where that is done often, a loop is faster. Expressions
are those of logic: Booleans, integer sums and comparisons, Structs and their fields, the collections of `spec.maps`,
`all`/`any` and comprehensions over them, conditionals, `max`/`min`, `replace`, and calls of other spec functions.

What is read is the source file itself, never a second model. Anything else raises `OutsideSubset`, which names file,
line and construct and says what to write instead.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NewType, TypeAlias

from msgspec import Meta, Struct

from spec.maps import Counts, FMap, FSet, SetMap


class OutsideSubset(Exception):
    """Python that cannot be proved; one line that says where, what, and what to write instead."""

    def __init__(self, place: str, construct: str, instead: str) -> None:
        super().__init__(f"{place}: {construct} cannot be proved; {instead}")
        self.place, self.construct, self.instead = place, construct, instead


# Types.


@dataclass(frozen=True)
class IntType:
    """Integers, from `least` up if it is given."""

    least: int | None = None


@dataclass(frozen=True)
class BoolType:
    """True and False."""


@dataclass(frozen=True)
class IdType:
    """Names of which only equality matters: a NewType, or str or bytes."""

    name: str
    base: type[str] | type[bytes]


@dataclass(frozen=True)
class RecordType:
    """A Struct."""

    cls: type[Struct]


@dataclass(frozen=True)
class SetType:
    """FSet; of an element type yet unknown in a bare `FSet()`."""

    element: Type | None


@dataclass(frozen=True)
class MapType:
    """Counts if values are integers, SetMap if they are sets, else FMap."""

    key: Type
    value: Type


Function: TypeAlias = Callable[..., object]
"""A spec function, whatever it takes and gives."""

Type: TypeAlias = IntType | BoolType | IdType | RecordType | SetType | MapType

INT, BOOL, NATURAL = IntType(), BoolType(), IntType(0)


def type_of_hint(hint: object, place: str) -> Type:
    """The type that an annotation means."""
    if hint is int:
        return INT
    if hint is bool:
        return BOOL
    if hint is str or hint is bytes:
        return IdType("str" if hint is str else "bytes", str if hint is str else bytes)
    if isinstance(hint, NewType) and hint.__supertype__ in (str, bytes):
        return IdType(hint.__name__, str if hint.__supertype__ is str else bytes)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated and arguments[0] is int:
        least = [m.ge for m in arguments[1:] if isinstance(m, Meta) and m.ge is not None]
        return IntType(int(max(least))) if least else INT
    if origin is FSet:
        return SetType(type_of_hint(arguments[0], place))
    if origin is Counts:
        return MapType(type_of_hint(arguments[0], place), NATURAL)
    if origin is SetMap:
        return MapType(type_of_hint(arguments[0], place), SetType(type_of_hint(arguments[1], place)))
    if origin is FMap:
        return MapType(type_of_hint(arguments[0], place), type_of_hint(arguments[1], place))
    if isinstance(hint, type) and issubclass(hint, Struct):
        return RecordType(hint)
    raise OutsideSubset(
        place, f"the type {hint}", "use int, bool, NewTypes, Structs, FSet, Counts, SetMap and FMap of these"
    )


@functools.cache
def fields_of(cls: type[Struct]) -> dict[str, object]:
    """The fields of a Struct and their annotations, in order."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: hints[name] for name in cls.__struct_fields__}


def field_type(cls: type[Struct], name: str, place: str) -> Type:
    """The type of one field."""
    if name not in fields_of(cls):
        raise OutsideSubset(place, f"{cls.__name__}.{name}", f"its fields are {', '.join(fields_of(cls))}")
    return type_of_hint(fields_of(cls)[name], f"{module_path(cls.__module__).name} in {cls.__name__}.{name}")


def holds_maps(cls: type[Struct]) -> bool:
    """Whether a Struct is a whole state rather than an element of sets: it has a field that is an FMap or SetMap."""
    return any(typing.get_origin(hint) in (FMap, SetMap) for hint in fields_of(cls).values())


# Sources.


@dataclass(frozen=True)
class Source:
    """A spec function: the function, where it is written, and its syntax."""

    function: types.FunctionType
    path: Path
    tree: ast.FunctionDef

    def place(self, node: ast.AST) -> str:
        """File and line of a part of it."""
        return f"{self.path.name}:{getattr(node, 'lineno', self.tree.lineno)} in {self.tree.name}"

    def refuse(self, node: ast.AST, instead: str, construct: str = "") -> OutsideSubset:
        """The error for a part of it."""
        return OutsideSubset(self.place(node), construct or f"`{ast.unparse(node)}`", instead)

    def parameters(self) -> dict[str, Type]:
        """Names and types of the parameters, in order."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        return {
            argument.arg: type_of_hint(hints[argument.arg], self.place(argument)) for argument in self.tree.args.args
        }


@functools.cache
def module_tree(name: str) -> ast.Module:
    """The syntax of an imported module, of the text that was imported."""
    module = sys.modules[name]
    return ast.parse(inspect.getsource(module), filename=module.__file__ or name)


def module_path(name: str) -> Path:
    """The source file of an imported module."""
    file = sys.modules[name].__file__
    assert file is not None, f"module {name} has no source"
    return Path(file)


@functools.cache
def source_of(function: Function) -> Source:
    """The source of a function at the top of an importable module, checked to be within the subset."""
    assert isinstance(function, types.FunctionType), f"{function} is not a plain function"
    path = module_path(function.__module__)
    found = [
        node
        for node in module_tree(function.__module__).body
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__
    ]
    if len(found) != 1 or function.__qualname__ != function.__name__:
        raise OutsideSubset(
            f"{path.name}:{function.__code__.co_firstlineno}",
            f"`{function.__qualname__}`",
            "define each spec function once, by `def`, at the top of its module",
        )
    source = Source(function, path, found[0])
    check(source)
    return source


def import_of(module: str, name: str) -> tuple[str, str] | None:
    """From where a module imports a name: (module, name there); None if it does not import it."""
    for node in module_tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return node.module, alias.name
    return None


# The check: syntax that is refused whatever the types are.

ADVICE: dict[type[ast.AST], str] = {
    ast.For: "use all(), any() or a comprehension; a loop may only say `if not …: return False` or `if …: return True`",
    ast.While: "use all(), any() or a comprehension",
    ast.AugAssign: "give the new value a name of its own",
    ast.Try: "spec functions do not raise: decide with a condition",
    ast.Raise: "spec functions do not raise: decide with a condition",
    ast.With: "spec functions touch no resources",
    ast.Assert: "make it a premise of the law or a guard of the action",
    ast.Match: "use if/else or a conditional expression",
    ast.Lambda: "define a function at the top of the module",
    ast.FunctionDef: "define it at the top of the module",
    ast.ListComp: "use FSet.of(… for …)",
    ast.SetComp: "use FSet.of(… for …)",
    ast.Set: "use FSet.of([…])",
    ast.Tuple: "use a Struct",
    ast.JoinedStr: "spec functions build no text",
    ast.NamedExpr: "assign on a line of its own",
    ast.Starred: "name each argument",
    ast.Await: "spec functions do no I/O",
    ast.Yield: "use FSet.of(… for …)",
    ast.Delete: "local names are assigned once",
    ast.Global: "spec functions are pure",
    ast.Nonlocal: "spec functions are pure",
    ast.Import: "import at the top of the module",
    ast.ImportFrom: "import at the top of the module",
    ast.Slice: "index by one key",
}

ALLOWED_STATEMENTS = (ast.Return, ast.Assign, ast.AnnAssign, ast.If, ast.Expr)
ALLOWED_OPERATORS = (ast.Add, ast.Sub, ast.BitOr, ast.BitAnd)


def check(source: Source) -> None:
    """Refuse what no type could make provable."""
    tree = source.tree
    if tree.decorator_list:
        raise source.refuse(tree.decorator_list[0], "a decorator may change what runs: call the function itself")
    arguments = tree.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs or arguments.defaults:
        raise source.refuse(tree, "use plain positional parameters without defaults", "its parameter list")
    assigned = [argument.arg for argument in arguments.args]
    for statement in tree.body:
        check_statement(source, statement, assigned)
    if not always_returns(tree.body):
        raise source.refuse(tree, "end every branch with a return", "a path that ends without a return")


def always_returns(body: list[ast.stmt]) -> bool:
    """Whether no path falls off the end."""
    last = body[-1]
    return isinstance(last, ast.Return) or (
        isinstance(last, ast.If) and bool(last.orelse) and always_returns(last.body) and always_returns(last.orelse)
    )


def check_statement(source: Source, statement: ast.stmt, assigned: list[str]) -> None:
    """Refuse a statement that is not an assignment to a new name, a branch, a return or a docstring."""
    if isinstance(statement, ast.For) and (question := sought(statement)) is not None:
        if ast.unparse(statement.target) in assigned:
            raise source.refuse(statement, "assign each name once: give the element a name of its own")
        check_expression(source, statement.iter)
        check_expression(source, question[0])
        return
    if not isinstance(statement, ALLOWED_STATEMENTS):
        advice = ADVICE.get(type(statement), "use assignments to new names, if and return")
        raise source.refuse(statement, advice, f"the statement `{ast.unparse(statement).splitlines()[0]}`")
    if isinstance(statement, ast.Expr):
        if not isinstance(statement.value, ast.Constant):
            raise source.refuse(statement, "an expression whose value nobody uses has no meaning: return it")
        return
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if len(targets) != 1 or not isinstance(targets[0], ast.Name) or statement.value is None:
            raise source.refuse(statement, "assign one value to one name")
        if targets[0].id in assigned:
            raise source.refuse(statement, "assign each name once: give the new value a name of its own")
        assigned.append(targets[0].id)
        check_expression(source, statement.value)
    elif isinstance(statement, ast.If):
        check_expression(source, statement.test)
        for branch in (statement.body, statement.orelse):
            inner = list(assigned)
            for part in branch:
                check_statement(source, part, inner)
    elif isinstance(statement, ast.Return):
        if statement.value is None:
            raise source.refuse(statement, "return a value")
        check_expression(source, statement.value)


def sought(loop: ast.For) -> tuple[ast.expr, bool] | None:
    """What a loop asks of each element: whether `all` of them do, or else any, and the rest is not looked at.

    None if it is no such loop.
    """
    match loop:
        case ast.For(
            target=ast.Name(),
            body=[ast.If(test=test, body=[ast.Return(value=ast.Constant(value))], orelse=[])],
            orelse=[],
        ):
            if value is True:
                return test, False
            if value is False and isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                return test.operand, True
    return None


def check_expression(source: Source, expression: ast.expr) -> None:
    """Refuse operators and forms that logic has no counterpart of."""
    for node in ast.walk(expression):
        if isinstance(node, ast.expr) and type(node) in ADVICE:
            raise source.refuse(node, ADVICE[type(node)])
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ALLOWED_OPERATORS):
            raise source.refuse(node, "use +, -, | and &")
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not | ast.USub):
            raise source.refuse(node, "use `not` and `-`")
        if isinstance(node, ast.Constant) and not isinstance(node.value, int):
            raise source.refuse(node, "only integer and Boolean literals have a meaning; pass other values in")
        if isinstance(node, ast.comprehension):
            if not isinstance(node.target, ast.Name):
                raise source.refuse(node.target, "iterate over one name, and look values up by key")
            if node.is_async:
                raise source.refuse(node.target, "spec functions do no I/O")


def functions_of(module: types.ModuleType, prefix: str = "") -> dict[str, Function]:
    """The functions that a module itself defines, by name, in the order of the source.

    Those of a package are those of all its modules, whether anybody imports them or not, so that nothing can be left
    out of a proof; a name that two of them define is refused (OutsideSubset).
    """
    found: dict[str, Function] = {}
    for part in parts_of(module):
        for name, value in vars(part).items():
            if isinstance(value, types.FunctionType) and value.__module__ == part.__name__ and name.startswith(prefix):
                if name in found:
                    raise OutsideSubset(module_path(part.__name__).name, f"a second `{name}`", "rename one of them")
                found[name] = value
    return found


def parts_of(module: types.ModuleType) -> list[types.ModuleType]:
    """A module, and those of the package that it may be."""
    inside = pkgutil.iter_modules(getattr(module, "__path__", ()))
    return [module, *(importlib.import_module(f"{module.__name__}.{part.name}") for part in inside)]
