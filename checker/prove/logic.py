"""The vocabulary of a proof: sorts, fields, fresh values, equality and quantifiers.

Identifiers become sorts of which only equality is known, so what is proved holds for any number of nodes, versions and
messages. A Struct becomes a sort with one function per field (a field that is a set: a relation). A Struct that holds
maps is a whole state and stays a record of values.

Building a Struct promises that its bounds hold (`Meta(ge=…)`, and counts at least zero). They are assumed of every
value that is given, so that each one that is built keeps them is collected, as `promises`, to be proved.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from msgspec import Struct

from checker.prove import facade as z
from checker.prove.facade import Sort, Symbol, Term
from checker.prove.subset import (
    INT,
    BoolType,
    IdType,
    IntType,
    MapType,
    RecordType,
    SetType,
    Type,
    field_type,
    fields_of,
    holds_maps,
)
from checker.prove.values import MapValue, Record, Scalar, SetValue, Value

_scope_numbers = itertools.count()  # Z3 keeps the names of finite sorts for the life of the process


@dataclass(frozen=True, eq=False)
class Promise:
    """What a construction owes."""

    what: str
    owed: Term
    known: tuple[Term, ...]
    """What was assumed before the construction: what it makes is assumed to keep its bounds, which proves nothing."""


class Logic:
    """The symbols made so far, and what must be assumed (`facts`) and is promised about them.

    `scope`, where given, is the number of elements of each sort: then quantifiers can be written out
    (`facade.in_scope`), and `universe` holds the elements.
    """

    def __init__(self, scope: Mapping[str, int] | None = None) -> None:
        self.scope = scope
        self.universe: dict[str, tuple[Term, ...]] = {}
        self.facts: list[Term] = []
        self.promises: list[Promise] = []
        self.fields_read: set[tuple[type[Struct], str]] = set()
        self.cardinalities: list[tuple[SetValue, Term]] = []
        self.folded: dict[Type, None] = {}
        self.written_out: dict[int, tuple[Term, Term]] = {}
        """Terms without their quantifiers, for `facade.in_scope`; translations that begin alike share it."""
        self._sorts: dict[Type, Sort] = {}
        self._elements: dict[Type, tuple[Term, ...]] = {}
        self._symbols: dict[str, Symbol] = {}
        self._bound: list[tuple[Term, list[Term]]] = []
        self._made = 0

    # Sorts and fresh values.

    def sort(self, type_: Type) -> Sort:
        """The sort of the elements of a scalar type."""
        if isinstance(type_, IntType):
            return z.int_sort()
        if isinstance(type_, BoolType):
            return z.bool_sort()
        assert isinstance(type_, IdType | RecordType), f"{type_} has no sort: sets and maps are not elements"
        if type_ not in self._sorts:
            name = type_.name if isinstance(type_, IdType) else type_.cls.__name__
            if self.scope is None:
                self._sorts[type_] = z.open_sort(name)
            else:
                unique = f"{name}#{next(_scope_numbers)}"
                self._sorts[type_], elements = z.finite_sort(unique, self.scope.get(name, 2))
                self.universe[unique] = self._elements[type_] = elements
            if isinstance(type_, RecordType):
                self.facts += self.record_facts(type_)
        return self._sorts[type_]

    def elements(self, type_: Type) -> tuple[Term, ...]:
        """All elements of a sort of a finite scope."""
        self.sort(type_)
        return self._elements[type_]

    def record_facts(self, type_: RecordType) -> list[Term]:
        """What holds of every Struct of a type: its bounds and, in a finite scope, that equal fields make it equal."""
        x = Scalar(z.constant(f"{type_.cls.__name__}!x", self.sort(type_)), type_)
        facts: list[Term] = []
        for name in fields_of(type_.cls):
            value = self.field(x, name, "")
            if isinstance(value, Scalar) and isinstance(value.type, IntType) and value.type.least is not None:
                bound = z.arithmetic(">=", value.term, z.number(value.type.least))
                facts.append(z.forall([x.term], bound, [value.term]))
            elif isinstance(value, MapValue) and isinstance(value.type.value, IntType):
                key = z.constant("k!", self.sort(value.type.key))
                count = self.term(value.at(key))
                facts.append(z.forall([x.term, key], z.arithmetic(">=", count, z.number(0)), [count]))
        if self.scope is not None:
            facts.append(self.extensionality(type_))
        return facts

    def extensionality(self, type_: RecordType) -> Term:
        """That Structs with equal fields are equal; the solver thinks of it where it meets their first fields."""
        x, y = (Scalar(z.constant(f"{type_.cls.__name__}!{name}", self.sort(type_)), type_) for name in "xy")
        alike = z.conj(self.equal(self.field(x, n, ""), self.field(y, n, "")) for n in fields_of(type_.cls))
        firsts = [self.field(v, next(iter(fields_of(type_.cls))), "") for v in (x, y)]
        pattern = [first.term for first in firsts if isinstance(first, Scalar)] if self.scope is None else []
        return z.forall([x.term, y.term], z.entails(alike, z.equal(x.term, y.term)), pattern)

    def family(self, type_: Type, name: str, over: Sequence[Sort], arguments: Sequence[Term]) -> Value:
        """A value of any type that depends on the arguments in an unknown way, named."""
        if isinstance(type_, SetType):
            assert type_.element is not None
            element = self.sort(type_.element)
            return SetValue(type_, lambda x: self.apply(name, [*over, element], z.bool_sort(), [*arguments, x]))
        if isinstance(type_, MapType):
            key, value = self.sort(type_.key), type_.value
            return MapValue(type_, lambda x: self.family(value, name, [*over, key], [*arguments, x]))
        return Scalar(self.apply(name, over, self.sort(type_), arguments), type_)

    def apply(self, name: str, over: Sequence[Sort], result: Sort, arguments: Sequence[Term]) -> Term:
        if name not in self._symbols:
            self._symbols[name] = z.symbol(name, over, result)
        return self._symbols[name](*arguments)

    def fresh(self, type_: Type, name: str) -> Value:
        """Any value of a type."""
        if isinstance(type_, RecordType) and holds_maps(type_.cls):
            parts = {f: self.fresh(field_type(type_.cls, f, name), f"{name}.{f}") for f in fields_of(type_.cls)}
            return Record(type_, parts)
        value = self.family(type_, name, [], [])
        if isinstance(value, Scalar) and isinstance(type_, IntType) and type_.least is not None:
            self.facts.append(z.arithmetic(">=", value.term, z.number(type_.least)))
        if isinstance(value, MapValue) and isinstance(value.type.value, IntType):
            key = z.constant("k!", self.sort(value.type.key))
            count = self.term(value.at(key))
            self.facts.append(z.forall([key], z.arithmetic(">=", count, z.number(0)), [count]))
        return value

    def new(self, name: str) -> str:
        """A name that nothing else has."""
        self._made += 1
        return f"{name}!{self._made}"

    # Quantifiers.

    @contextmanager
    def binding(self, name: str, type_: Type) -> Iterator[Scalar]:
        """A bound variable. Its name depends on its depth only, so that equal formulas are written the same."""
        term = z.constant(f"{name}!{len(self._bound)}", self.sort(type_))
        self._bound.append((term, []))
        try:
            yield Scalar(term, type_)
        finally:
            self._bound.pop()

    @property
    def below_quantifier(self) -> bool:
        """Whether variables are bound here: then nothing can be given a name once and for all."""
        return bool(self._bound)

    def given(self, *conditions: Term) -> None:
        """What holds of the innermost variable, for the promises made below it."""
        self._bound[-1][1].extend(conditions)

    def promise(self, what: str, condition: Term) -> None:
        """Collect what a construction owes, for all values of the variables and under the conditions around it."""
        if not z.is_true(condition):
            variables = [term for term, _ in self._bound]
            given = z.conj(guard for _, guards in self._bound for guard in guards)
            owed = z.forall(variables, z.entails(given, condition))
            self.promises.append(Promise(what, owed, tuple(self.facts)))

    # Values.

    def term(self, value: Value) -> Term:
        """A term for a value that can be an element of a set."""
        if isinstance(value, Scalar):
            return value.term
        assert isinstance(value, Record), "a set or map is not an element"
        assert not self._bound, f"a {value.cls.__name__} built below a quantifier has no name"
        constant = Scalar(z.constant(self.new(value.cls.__name__), self.sort(value.type)), value.type)
        for name, part in value.fields.items():
            known = self.field(constant, name, "")
            self.facts.append(self.equal(known, part))
            if isinstance(part, MapValue) and isinstance(known, MapValue):
                self.facts += [self.equal(known.at(key), part.at(key)) for key in part.written]
            value.fields[name] = known
        return constant.term

    def field(self, value: Value, name: str, place: str) -> Value:
        """One field of a Struct."""
        assert isinstance(value.type, RecordType)
        cls = value.type.cls
        if place:
            self.fields_read.add((cls, name))
        if isinstance(value, Record):
            if name not in value.fields:
                field_type(cls, name, place)
            return value.fields[name]
        assert isinstance(value, Scalar)
        type_ = field_type(cls, name, place)
        return self.family(type_, f"{cls.__name__}.{name}", [self.sort(value.type)], [value.term])

    def equal(self, a: Value, b: Value) -> Term:
        """Whether two values are the same: terms by sort, sets and maps by content, records by fields."""
        if isinstance(a, Record) or isinstance(b, Record):
            cls = a.cls if isinstance(a, Record) else b.cls if isinstance(b, Record) else None
            assert cls is not None
            return z.conj(self.equal(self.field(a, n, ""), self.field(b, n, "")) for n in fields_of(cls))
        if isinstance(a, SetValue):
            assert isinstance(b, SetValue)
            element = a.type.element or b.type.element
            if element is None:
                return z.truth(True)
            with self.binding("e", element) as e:
                return z.forall([e.term], z.equal(a.has(e.term), b.has(e.term)))
        if isinstance(a, MapValue):
            assert isinstance(b, MapValue)
            with self.binding("k", a.type.key) as k:
                return z.forall([k.term], self.equal(a.at(k.term), b.at(k.term)))
        assert isinstance(b, Scalar)
        return z.equal(a.term, b.term)

    def choose(self, condition: Term, a: Value, b: Value) -> Value:
        """The value of a conditional."""
        if a is b or z.is_true(condition):
            return a
        if z.is_false(condition):
            return b
        if isinstance(a, SetValue):
            assert isinstance(b, SetValue)
            one, other = a, b
            type_ = a.type if a.type.element is not None else b.type
            return SetValue(type_, lambda x: z.choose(condition, one.has(x), other.has(x)))
        if isinstance(a, MapValue):
            assert isinstance(b, MapValue)
            first, second = a, b
            return MapValue(a.type, lambda x: self.choose(condition, first.at(x), second.at(x)))
        if isinstance(a, Record) or isinstance(b, Record):
            type_r = a.type
            assert isinstance(type_r, RecordType)
            parts = {
                n: self.choose(condition, self.field(a, n, ""), self.field(b, n, "")) for n in fields_of(type_r.cls)
            }
            return Record(type_r, parts)
        assert isinstance(b, Scalar)
        return Scalar(z.choose(condition, a.term, b.term), a.type)

    def keys(self, value: MapValue) -> SetValue:
        """The stored keys of a map with a default: those at which it is not the default."""
        type_ = SetType(value.type.key)
        if isinstance(value.type.value, IntType):
            return SetValue(type_, lambda x: z.neg(z.equal(self.term(value.at(x)), z.number(0))))
        element = value.type.value
        assert isinstance(element, SetType)
        assert element.element is not None
        kept = element.element

        def stored(key: Term) -> Term:
            with self.binding("x", kept) as x:
                found = value.at(key)
                assert isinstance(found, SetValue)
                return z.exists([x.term], found.has(x.term))

        return SetValue(type_, stored)

    def bind_elements(self, elements: SetValue, name: str, body: Callable[[Scalar], Term], every: bool) -> Term:
        """A quantifier over a set."""
        assert elements.type.element is not None
        with self.binding(name, elements.type.element) as x:
            inside = elements.has(x.term)
            self.given(inside)
            if every:
                return z.forall([x.term], z.entails(inside, body(x)))
            return z.exists([x.term], z.conj([inside, body(x)]))

    def member(self, value: Value, elements: SetValue) -> Term:
        """Whether a value is in a set; one that is being built below a quantifier is compared by its fields."""
        if elements.type.element is None:
            return z.truth(False)
        if isinstance(value, Record) and self._bound:
            return self.bind_elements(elements, "e", lambda e: self.equal(e, value), every=False)
        return elements.has(self.term(value))

    def cardinality(self, elements: SetValue) -> Scalar:
        """How many elements a set has: counted in a finite scope, else a number that `laws` knows rules for."""
        assert elements.type.element is not None
        if self.scope is not None:
            ones = [z.choose(elements.has(e), z.number(1), z.number(0)) for e in self.elements(elements.type.element)]
            return Scalar(z.total(ones), INT)
        for known, size in self.cardinalities:
            if known is elements:
                return Scalar(size, INT)
        assert not self._bound, "len() below a quantifier"
        size = z.constant(self.new("len"), z.int_sort())
        self.cardinalities.append((elements, size))
        return Scalar(size, INT)
