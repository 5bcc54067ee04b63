"""Collections in the source of spec functions: literals, comprehensions, written maps, quantifiers.

A comprehension becomes a condition on its element; `all` and `any` become quantifiers, and so does a comprehension
whose element is computed.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from typing import TypeAlias

from checker.prove import facade as z
from checker.prove.facade import Term
from checker.prove.logic import Logic
from checker.prove.subset import INT, IntType, MapType, SetType, Source, Type
from checker.prove.values import EmptySet, MapValue, Scalar, SetValue, Value
from spec.maps import FSet

Environment: TypeAlias = dict[str, Value]


class Collections(ABC):
    """What the evaluation of one body does about collections; expressions in them are evaluated by the rest of it."""

    def __init__(self, logic: Logic, source: Source) -> None:
        self.logic = logic
        self.source = source

    @abstractmethod
    def value(self, node: ast.expr, env: Environment) -> Value:
        """The value of an expression."""

    @abstractmethod
    def truth(self, node: ast.expr, env: Environment) -> Term:
        """The value of a Boolean expression."""

    @abstractmethod
    def set_of(self, node: ast.expr, env: Environment) -> SetValue:
        """The value of an expression that is iterated over."""

    @abstractmethod
    def element(self, node: ast.expr, env: Environment) -> Term:
        """A term for an expression used as a key or an element."""

    def quantified(self, body: ast.expr, generators: list[ast.comprehension], env: Environment, every: bool) -> Term:
        """all(…) or any(…)."""
        if not generators:
            return self.truth(body, env)
        first, rest = generators[0], generators[1:]
        assert isinstance(first.target, ast.Name)
        name = first.target.id

        def inner(x: Scalar) -> Term:
            inside = {**env, name: x}
            conditions = [self.truth(condition, inside) for condition in first.ifs]
            self.logic.given(*conditions)
            rest_of_it = self.quantified(body, rest, inside, every)
            return z.entails(z.conj(conditions), rest_of_it) if every else z.conj([*conditions, rest_of_it])

        return self.logic.bind_elements(self.set_of(first.iter, env), name, inner, every)

    def written(self, node: ast.Call, value: MapValue, env: Environment) -> Value:
        """A map with one entry written."""
        key, new = self.element(node.args[0], env), self.value(node.args[1], env)
        if not comparable(value.type.value, new.type):
            raise self.source.refuse(node, "write a value of the map's type")
        if isinstance(new, Scalar) and isinstance(value.type.value, IntType):
            place = self.source.place(node)
            self.logic.promise(f"a count is not negative ({place})", z.arithmetic(">=", new.term, z.number(0)))

        def at(x: Term) -> Value:
            return self.logic.choose(z.equal(x, key), new, value.at(x))

        return MapValue(value.type, at, (*value.written, key))

    def set_literal(self, node: ast.Call, argument: ast.expr, env: Environment) -> SetValue:
        """FSet.of([…]) or FSet.of(… for …)."""
        if isinstance(argument, ast.List):
            elements = [self.value(element, env) for element in argument.elts]
            if not elements:
                return SetValue(SetType(None), lambda _: z.truth(False), EmptySet())
            types_ = {element.type for element in elements}
            if any(isinstance(e, SetValue | MapValue) for e in elements) or len(types_) != 1:
                raise self.source.refuse(node, "elements are names, numbers or Structs, all of one type")
            if not self.logic.below_quantifier:
                elements = [Scalar(self.logic.term(e), e.type) for e in elements]
            element_type = elements[0].type
            return SetValue(
                SetType(element_type),
                lambda x: z.disj(self.logic.equal(Scalar(x, element_type), element) for element in elements),
            )
        if not isinstance(argument, ast.GeneratorExp):
            raise self.source.refuse(node, "write FSet.of([…]) or FSet.of(… for x in elements)")
        return self.comprehension(argument, env)

    def comprehension(self, node: ast.GeneratorExp, env: Environment) -> SetValue:
        """The set of all values that an expression takes."""
        result: list[Value] = []

        def collect(generators: list[ast.comprehension], inside: Environment) -> Term:
            """Whether there are elements for which the placeholder is the value of the expression."""
            if not generators:
                value = self.value(node.elt, inside)
                if isinstance(value, SetValue | MapValue):
                    raise self.source.refuse(node.elt, "elements are names, numbers or Structs")
                result.append(value)
                placeholder = Scalar(z.constant("element!", self.logic.sort(value.type)), value.type)
                return self.logic.equal(placeholder, value)
            first, rest = generators[0], generators[1:]
            assert isinstance(first.target, ast.Name)
            target = first.target.id

            def inner(x: Scalar) -> Term:
                deeper = {**inside, target: x}
                conditions = [self.truth(condition, deeper) for condition in first.ifs]
                self.logic.given(*conditions)
                return z.conj([*conditions, collect(rest, deeper)])

            return self.logic.bind_elements(self.set_of(first.iter, inside), target, inner, every=False)

        first = node.generators[0]
        assert isinstance(first.target, ast.Name)
        if len(node.generators) == 1 and isinstance(node.elt, ast.Name) and node.elt.id == first.target.id:
            return self.filtered(first, env)
        condition = collect(node.generators, env)
        type_ = result[0].type
        placeholder = z.constant("element!", self.logic.sort(type_))
        return SetValue(SetType(type_), lambda x: z.substitute(condition, (placeholder, x)))

    def filtered(self, generator: ast.comprehension, env: Environment) -> SetValue:
        """FSet.of(x for x in elements if …): no quantifier is needed."""
        elements = self.set_of(generator.iter, env)
        assert isinstance(generator.target, ast.Name)
        if elements.type.element is None:
            return elements
        with self.logic.binding(generator.target.id, elements.type.element) as x:
            inside = elements.has(x.term)
            self.logic.given(inside)
            deeper = {**env, generator.target.id: x}
            condition = z.conj([inside, *(self.truth(c, deeper) for c in generator.ifs)])
        return SetValue(elements.type, lambda y: z.substitute(condition, (x.term, y)))

    def map_comprehension(self, node: ast.Call, argument: ast.expr, env: Environment) -> MapValue:
        """Counts.of({k: … for k in keys}) or SetMap.of({k: … for k in keys})."""
        form = "write {k: value for k in keys}"
        if not isinstance(argument, ast.DictComp) or len(argument.generators) != 1:
            raise self.source.refuse(node, form)
        generator = argument.generators[0]
        assert isinstance(generator.target, ast.Name)
        if not isinstance(argument.key, ast.Name) or argument.key.id != generator.target.id:
            raise self.source.refuse(node, form)
        keys = self.set_of(generator.iter, env)
        assert keys.type.element is not None
        key_type = keys.type.element
        with self.logic.binding(generator.target.id, key_type) as k:
            inside = keys.has(k.term)
            self.logic.given(inside)
            deeper = {**env, generator.target.id: k}
            conditions = [self.truth(c, deeper) for c in generator.ifs]
            self.logic.given(*conditions)
            value = self.value(argument.value, deeper)
            of = self.value(generator.iter, env)
            given = z.conj(conditions if self.is_entry(argument.value, of, k, deeper) else [inside, *conditions])
            if isinstance(value, Scalar) and isinstance(value.type, IntType):
                place = self.source.place(node)
                self.logic.promise(f"a count is not negative ({place})", z.arithmetic(">=", value.term, z.number(0)))
                count = z.choose(given, value.term, z.number(0))
                type_ = MapType(key_type, IntType(0))
                return MapValue(type_, lambda x: Scalar(z.substitute(count, (k.term, x)), INT))
            if not isinstance(value, SetValue) or value.type.element is None:
                raise self.source.refuse(node, "the values of Counts are integers, those of SetMap are FSets")
            placeholder = z.constant("element!", self.logic.sort(value.type.element))
            member, set_type = z.conj([given, value.has(placeholder)]), value.type

        def at(x: Term) -> Value:
            return SetValue(set_type, lambda y: z.substitute(member, (k.term, x), (placeholder, y)))

        return MapValue(MapType(key_type, set_type), at)

    def is_entry(self, node: ast.expr, of: Value, key: Value, env: Environment) -> bool:
        """Whether an expression is `of[key]`, and so the default for what is no key of the map."""
        if not isinstance(node, ast.Subscript) or not isinstance(of, MapValue):
            return False
        return self.value(node.value, env) is of and self.value(node.slice, env) is key

    def empty(self, node: ast.Call, cls: type) -> Value:
        """FSet(): the only collection that needs no type to be written."""
        if node.args or node.keywords or cls is not FSet:
            raise self.source.refuse(node, "write FSet.of(…), Counts.of(…), SetMap.of(…), or FSet() for the empty set")
        return SetValue(SetType(None), lambda _: z.truth(False), EmptySet())


def comparable(a: Type, b: Type) -> bool:
    """Whether values of two types may meet: bounds are checked apart, and a bare FSet() is of every element type."""
    if isinstance(a, IntType) and isinstance(b, IntType):
        return True
    if isinstance(a, SetType) and isinstance(b, SetType):
        return a.element is None or b.element is None or comparable(a.element, b.element)
    if isinstance(a, MapType) and isinstance(b, MapType):
        return comparable(a.key, b.key) and comparable(a.value, b.value)
    return a == b
