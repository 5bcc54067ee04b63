"""From the source of a spec function to logic.

Calls are inlined, but for those that are declared *opaque*: their interpretation is the caller's.
"""

from __future__ import annotations

import ast
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

import spec.maps
from checker.prove import facade as z
from checker.prove.collected import Collections, Environment, comparable
from checker.prove.facade import Term
from checker.prove.logic import Logic
from checker.prove.subset import (
    BOOL,
    INT,
    Function,
    IntType,
    MapType,
    RecordType,
    SetType,
    Source,
    field_type,
    fields_of,
    holds_maps,
    import_of,
    sought,
    source_of,
    type_of_hint,
)
from checker.prove.values import EmptySet, Inserted, MapValue, Record, Scalar, SetValue, Value
from spec.maps import Counts, FMap, FSet, SetMap

Opaque: TypeAlias = Callable[["Translator", Sequence[Value]], Value]


class Translator(Logic):
    """One translation; `opaque` says how to interpret calls of some functions."""

    def __init__(self, opaque: Mapping[Function, Opaque] | None = None, scope: Mapping[str, int] | None = None) -> None:
        super().__init__(scope)
        self.opaque = dict(opaque or {})
        self.inlined: set[Function] = set()
        self._memo: dict[tuple[object, ...], tuple[Value, Sequence[Value]]] = {}

    def fork(self) -> Translator:
        """A translation that begins where this one is; what either learns from now on, the other does not see."""
        fork = Translator(self.opaque, self.scope)
        fork.universe, fork.facts, fork.promises = dict(self.universe), list(self.facts), list(self.promises)
        fork.fields_read, fork.inlined, fork.cardinalities = set(self.fields_read), set(self.inlined), []
        fork._sorts, fork._symbols, fork._memo = dict(self._sorts), dict(self._symbols), dict(self._memo)
        fork._elements = dict(self._elements)
        fork._made, fork.written_out = self._made, self.written_out
        return fork

    def parameters(self, function: Function, skip: int = 0) -> dict[str, Value]:
        """Any arguments for a function but its first `skip`."""
        named = source_of(function).parameters()
        return {name: self.fresh(type_, name) for name, type_ in list(named.items())[skip:]}

    def call(self, function: Function, arguments: Sequence[Value]) -> Value:
        """The value of a spec function."""
        if function in self.opaque:
            return self.opaque[function](self, arguments)
        return self.unfold(function, arguments)

    def unfold(self, function: Function, arguments: Sequence[Value]) -> Value:
        """The value of a spec function by its source, even if calls of it are opaque."""
        self.inlined.add(function)
        source = source_of(function)
        key = (function, *(("term", z.identity(a.term)) if isinstance(a, Scalar) else id(a) for a in arguments))
        if not self.below_quantifier and key in self._memo:
            return self._memo[key][0]
        environment = dict(zip((a.arg for a in source.tree.args.args), arguments, strict=True))
        value = Evaluation(self, source).block(source.tree.body, environment)
        if not self.below_quantifier:
            self._memo[key] = (value, arguments)
        return value

    def formula(self, function: Function, arguments: Sequence[Value]) -> Term:
        """A Boolean spec function."""
        return self.term(self.call(function, arguments))


class Evaluation(Collections):
    """The evaluation of one body."""

    def __init__(self, translator: Translator, source: Source) -> None:
        super().__init__(translator, source)
        self.t = translator
        self.globals: dict[str, object] = source.function.__globals__

    # Statements.

    def block(self, statements: Sequence[ast.stmt], env: Environment) -> Value:
        """The value that a sequence of statements returns."""
        first, rest = statements[0], statements[1:]
        if isinstance(first, ast.Expr):
            return self.block(rest, env)
        if isinstance(first, ast.Return):
            assert first.value is not None
            return self.value(first.value, env)
        if isinstance(first, ast.If):
            condition = self.truth(first.test, env)
            then = self.block([*first.body, *rest], env)
            return self.t.choose(condition, then, self.block([*first.orelse, *rest], env))
        if isinstance(first, ast.For):
            question = sought(first)
            assert question is not None
            asked, every = question
            each = ast.comprehension(first.target, first.iter, [], 0)
            found, others = self.quantified(asked, [each], env, every), self.block(rest, env)
            if not (isinstance(others, Scalar) and others.type == BOOL):
                raise self.source.refuse(first, "the function has to return a Boolean", "a loop that returns one")
            return Scalar((z.conj if every else z.disj)([found, others.term]), BOOL)
        assert isinstance(first, ast.Assign | ast.AnnAssign)
        target = first.targets[0] if isinstance(first, ast.Assign) else first.target
        assert isinstance(target, ast.Name)
        assert first.value is not None
        return self.block(rest, {**env, target.id: self.value(first.value, env)})

    # Expressions.

    def value(self, node: ast.expr, env: Environment) -> Value:
        """The value of an expression."""
        match node:
            case ast.Constant():
                assert isinstance(node.value, int)
                if isinstance(node.value, bool):
                    return Scalar(z.truth(node.value), BOOL)
                return Scalar(z.number(node.value), INT)
            case ast.Name():
                return env[node.id] if node.id in env else self.constant(node)
            case ast.Attribute():
                return self.attribute(node, env)
            case ast.Subscript():
                return self.lookup(node, env)
            case ast.BoolOp():
                parts = [self.truth(part, env) for part in node.values]
                return Scalar(z.conj(parts) if isinstance(node.op, ast.And) else z.disj(parts), BOOL)
            case ast.UnaryOp():
                if isinstance(node.op, ast.Not):
                    return Scalar(z.neg(self.truth(node.operand, env)), BOOL)
                return Scalar(z.arithmetic("-", z.number(0), self.integer(node.operand, env)), INT)
            case ast.BinOp():
                return self.binary(node, env)
            case ast.Compare():
                return self.compare(node, env)
            case ast.IfExp():
                condition = self.truth(node.test, env)
                return self.t.choose(condition, self.value(node.body, env), self.value(node.orelse, env))
            case ast.Call():
                return self.call(node, env)
        raise self.source.refuse(node, "see checker/prove/subset.py for what has a meaning")

    def truth(self, node: ast.expr, env: Environment) -> Term:
        """The value of a Boolean expression."""
        value = self.value(node, env)
        if not (isinstance(value, Scalar) and value.type == BOOL):
            raise self.source.refuse(node, "write a comparison: only Booleans are true or false here")
        return value.term

    def integer(self, node: ast.expr, env: Environment) -> Term:
        """The value of an integer expression."""
        value = self.value(node, env)
        if not (isinstance(value, Scalar) and isinstance(value.type, IntType)):
            raise self.source.refuse(node, "only integers are added and ordered")
        return value.term

    def set_of(self, node: ast.expr, env: Environment) -> SetValue:
        """The value of an expression that is iterated over: a set, or the stored keys of a map."""
        value = self.value(node, env)
        if isinstance(value, MapValue):
            return self.keys(node, value)
        if not isinstance(value, SetValue):
            raise self.source.refuse(node, "iterate over an FSet, or over a Counts or SetMap for its keys")
        return value

    def keys(self, node: ast.expr, value: MapValue) -> SetValue:
        if not isinstance(value.type.value, IntType | SetType):
            raise self.source.refuse(node, "an FMap is total for the prover: quantify over an FSet of its keys")
        return self.t.keys(value)

    def constant(self, node: ast.Name) -> Value:
        """A module's constant: an integer, or an empty collection."""
        found = self.globals.get(node.id)
        if isinstance(found, bool):
            return Scalar(z.truth(found), BOOL)
        if isinstance(found, int):
            return Scalar(z.number(found), INT)
        if isinstance(found, FSet) and not found.items:
            return SetValue(SetType(None), lambda _: z.truth(False), EmptySet())
        if isinstance(found, Counts) and not found.entries:
            module, name = self.source.function.__module__, node.id
            while (imported := import_of(module, name)) is not None:
                module, name = imported
            hints = ast_annotations(module)
            if name in hints:
                type_ = type_of_hint(hints[name], self.source.place(node))
                assert isinstance(type_, MapType)
                return MapValue(type_, lambda _: Scalar(z.number(0), INT))
        raise self.source.refuse(node, "use a parameter, a local name, an integer or a typed empty collection")

    def attribute(self, node: ast.Attribute, env: Environment) -> Value:
        value = self.value(node.value, env)
        if not isinstance(value.type, RecordType):
            raise self.source.refuse(node, "only Structs have fields")
        return self.t.field(value, node.attr, self.source.place(node))

    def lookup(self, node: ast.Subscript, env: Environment) -> Value:
        value = self.value(node.value, env)
        if not isinstance(value, MapValue):
            raise self.source.refuse(node, "only FMap, Counts and SetMap are indexed")
        return value.at(self.element(node.slice, env))

    def element(self, node: ast.expr, env: Environment) -> Term:
        """A term for an expression used as a key or an element."""
        value = self.value(node, env)
        if isinstance(value, SetValue | MapValue):
            raise self.source.refuse(node, "keys and elements are names, numbers or Structs, not collections")
        if isinstance(value, Record) and self.t.below_quantifier:
            raise self.source.refuse(node, "build the Struct outside of the comprehension, or compare its fields")
        return self.t.term(value)

    def binary(self, node: ast.BinOp, env: Environment) -> Value:
        a = self.value(node.left, env)
        if isinstance(a, SetValue):
            b = self.value(node.right, env)
            if not isinstance(b, SetValue) or isinstance(node.op, ast.Add):
                raise self.source.refuse(node, "combine two FSets by |, & or -")
            one, other = a, b
            type_ = one.type if one.type.element is not None else other.type
            if isinstance(node.op, ast.BitOr):
                return SetValue(type_, lambda x: z.disj([one.has(x), other.has(x)]))
            if isinstance(node.op, ast.BitAnd):
                return SetValue(type_, lambda x: z.conj([one.has(x), other.has(x)]))
            return SetValue(type_, lambda x: z.conj([one.has(x), z.neg(other.has(x))]))
        if not isinstance(node.op, ast.Add | ast.Sub):
            raise self.source.refuse(node, "use `and` and `or` for conditions; | and & combine FSets")
        sign = "+" if isinstance(node.op, ast.Add) else "-"
        return Scalar(z.arithmetic(sign, self.integer(node.left, env), self.integer(node.right, env)), INT)

    def compare(self, node: ast.Compare, env: Environment) -> Value:
        parts = [node.left, *node.comparators]
        pairs = zip(parts, node.ops, parts[1:], strict=False)
        return Scalar(z.conj(self.comparison(node, a, op, b, env) for a, op, b in pairs), BOOL)

    def comparison(self, node: ast.Compare, left: ast.expr, op: ast.cmpop, right: ast.expr, env: Environment) -> Term:
        """One link of a chain of comparisons."""
        if isinstance(op, ast.Eq | ast.NotEq):
            a, b = self.value(left, env), self.value(right, env)
            if not comparable(a.type, b.type):
                raise self.source.refuse(node, "compare values of one type")
            same = self.t.equal(a, b)
            return same if isinstance(op, ast.Eq) else z.neg(same)
        if isinstance(op, ast.In | ast.NotIn):
            inside = self.t.member(self.value(left, env), self.set_of(right, env))
            return inside if isinstance(op, ast.In) else z.neg(inside)
        signs: dict[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
        if type(op) not in signs:
            raise self.source.refuse(node, "compare by ==, !=, <, <=, >, >=, in and not in")
        if isinstance(self.value(left, env), SetValue):
            raise self.source.refuse(node, "for sets < and <= are the order of their tuples: use a.issubset(b)")
        return z.arithmetic(signs[type(op)], self.integer(left, env), self.integer(right, env))

    # Calls.

    def call(self, node: ast.Call, env: Environment) -> Value:
        if isinstance(node.func, ast.Attribute):
            return self.method(node, node.func, env)
        if not isinstance(node.func, ast.Name) or node.func.id in env:
            raise self.source.refuse(node, "call a function by its name")
        name = node.func.id
        if name in ("all", "any", "len", "max", "min") and name not in self.globals:
            return self.builtin(node, name, env)
        function = self.globals.get(name)
        if function is msgspec.structs.replace:
            return self.replaced(node, env)
        if isinstance(function, type) and issubclass(function, FSet | Counts | SetMap | FMap):
            return self.empty(node, function)
        if isinstance(function, type) and issubclass(function, Struct):
            return self.built(node, function, env)
        if name == "reduce":
            return self.reduced(node, env)
        if not isinstance(function, types.FunctionType):
            raise self.source.refuse(node, "call functions of the specification, by name")
        if node.keywords:
            raise self.source.refuse(node, "pass arguments by position")
        arguments = [self.value(argument, env) for argument in node.args]
        if function is spec.maps.implies:
            return Scalar(z.entails(self.truth(node.args[0], env), self.truth(node.args[1], env)), BOOL)
        return self.t.call(function, arguments)

    def builtin(self, node: ast.Call, name: str, env: Environment) -> Value:
        if node.keywords:
            raise self.source.refuse(node, "pass arguments by position")
        if name in ("all", "any"):
            if len(node.args) != 1 or not isinstance(node.args[0], ast.GeneratorExp):
                raise self.source.refuse(node, f"write {name}(condition for x in elements)")
            comprehension = node.args[0]
            return Scalar(self.quantified(comprehension.elt, comprehension.generators, env, name == "all"), BOOL)
        if name == "len":
            value = self.value(node.args[0], env)
            if not isinstance(value, SetValue):
                raise self.source.refuse(node, "only an FSet is counted")
            return self.t.cardinality(value)
        if len(node.args) != 2:
            raise self.source.refuse(node, f"{name} takes two integers")
        a, b = (self.integer(argument, env) for argument in node.args)
        return Scalar(z.choose(z.arithmetic(">=" if name == "max" else "<=", a, b), a, b), INT)

    def method(self, node: ast.Call, function: ast.Attribute, env: Environment) -> Value:
        """`FSet.of(…)`, `Counts.of(…)`, `SetMap.of(…)`, `.keys()`, `.set(…)`, `.issubset(…)`."""
        if isinstance(function.value, ast.Name) and function.value.id not in env:
            owner = self.globals.get(function.value.id)
            if function.attr == "of" and owner in (FSet, Counts, SetMap) and len(node.args) == 1:
                if owner is FSet:
                    return self.set_literal(node, node.args[0], env)
                return self.map_comprehension(node, node.args[0], env)
        value = self.value(function.value, env)
        if isinstance(value, MapValue) and function.attr == "keys" and not node.args:
            return self.keys(node, value)
        if isinstance(value, MapValue) and function.attr == "set" and len(node.args) == 2:
            return self.written(node, value, env)
        if isinstance(value, SetValue) and function.attr == "issubset" and len(node.args) == 1:
            other = self.set_of(node.args[0], env)
            return Scalar(self.t.bind_elements(value, "e", lambda e: other.has(e.term), every=True), BOOL)
        raise self.source.refuse(node, "methods with a meaning are of, keys, set and issubset of the collections")

    def built(self, node: ast.Call, cls: type[Struct], env: Environment) -> Value:
        """A new Struct; every field is given."""
        names = fields_of(cls)
        parts = dict(zip(names, (self.value(argument, env) for argument in node.args), strict=False))
        parts |= {k.arg: self.value(k.value, env) for k in node.keywords if k.arg is not None}
        if set(parts) != set(names) or len(node.args) + len(node.keywords) != len(names):
            raise self.source.refuse(node, f"give every field once: {', '.join(names)}")
        return self.record(node, cls, {name: parts[name] for name in names}, tuple(names))

    def replaced(self, node: ast.Call, env: Environment) -> Value:
        """replace(struct, field=value, …)."""
        if len(node.args) != 1:
            raise self.source.refuse(node, "write replace(struct, field=value, …)")
        value = self.value(node.args[0], env)
        if not isinstance(value.type, RecordType):
            raise self.source.refuse(node, "only Structs have fields to replace")
        cls = value.type.cls
        new = {k.arg: self.value(k.value, env) for k in node.keywords if k.arg is not None}
        unknown = [name for name in new if name not in fields_of(cls)]
        if unknown or len(new) != len(node.keywords):
            what = f"replacing {', '.join(unknown) or 'by **'} of {cls.__name__}"
            raise self.source.refuse(node, f"its fields are {', '.join(fields_of(cls))}", what)
        kept = {name: self.t.field(value, name, self.source.place(node)) for name in fields_of(cls) if name not in new}
        parts = {name: new[name] if name in new else kept[name] for name in fields_of(cls)}
        return self.record(node, cls, parts, tuple(new))

    def record(self, node: ast.Call, cls: type[Struct], parts: dict[str, Value], given: tuple[str, ...]) -> Value:
        """A Struct of these fields, of which those `given` are new and must be of the declared type and bounds."""
        place = self.source.place(node)
        for name in given:
            declared, part = field_type(cls, name, place), parts[name]
            if not comparable(declared, part.type):
                raise self.source.refuse(node, f"field {name} of {cls.__name__} is declared otherwise")
            if isinstance(declared, IntType) and declared.least is not None and isinstance(part, Scalar):
                bound = z.arithmetic(">=", part.term, z.number(declared.least))
                self.t.promise(f"{cls.__name__}.{name} is at least {declared.least} ({place})", bound)
            if isinstance(part, SetValue) and part.type.element is None:
                assert isinstance(declared, SetType)
                parts[name] = SetValue(declared, part.has, part.origin)
        record = Record(RecordType(cls), parts)
        if holds_maps(cls) or self.t.below_quantifier:
            return record
        return Scalar(self.t.term(record), record.type)

    def reduced(self, node: ast.Call, env: Environment) -> Value:
        """reduce(function, elements, start): by recursion over the set, as far as it is known how the set was built."""
        if len(node.args) != 3 or not isinstance(node.args[0], ast.Name):
            raise self.source.refuse(node, "write reduce(function, elements, start)")
        function = self.globals.get(node.args[0].id)
        if not isinstance(function, types.FunctionType):
            raise self.source.refuse(node, "fold by a function of the specification")
        elements, start = self.set_of(node.args[1], env), self.value(node.args[2], env)
        return self.fold(function, elements, start)

    def fold(self, function: Function, elements: SetValue, start: Value) -> Value:
        if self.t.scope is not None:
            assert elements.type.element is not None
            self.t.folded[elements.type.element] = None
            for element in self.t.elements(elements.type.element):
                taken = self.t.call(function, [start, Scalar(element, elements.type.element)])
                start = self.t.choose(elements.has(element), taken, start)
            return start
        if isinstance(elements.origin, EmptySet):
            return start
        if isinstance(elements.origin, Inserted):
            rest = self.fold(function, elements.origin.rest, start)
            return self.t.call(function, [rest, elements.origin.last])
        key = ("fold", function, id(elements))
        if key not in self.t._memo:
            self.t._memo[key] = (self.t.fresh(start.type, self.t.new("fold")), [elements])
        return self.t._memo[key][0]


def ast_annotations(module: str) -> dict[str, object]:
    """The annotated names of a module and their types."""
    return dict(typing.get_type_hints(sys.modules[module], include_extras=True))
