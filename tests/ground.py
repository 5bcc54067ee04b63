"""Python values as the translator sees them: to ask it what a spec function gives for values that are known.

Each sort gets the elements that occur, a few to spare for what a function builds, and the facts that say what their
fields are. So everything is determined, and the solver has nothing to do but to compute.
"""

import typing
from collections.abc import Sequence

from checker.prove import facade as z
from checker.prove.facade import Term
from checker.prove.subset import (
    BOOL,
    INT,
    BoolType,
    Function,
    IdType,
    IntType,
    MapType,
    RecordType,
    SetType,
    Type,
    field_type,
    fields_of,
    holds_maps,
    source_of,
    type_of_hint,
)
from checker.prove.translate import Translator
from checker.prove.values import MapValue, Record, Scalar, SetValue, Value
from spec.maps import Counts, FMap, FSet, SetMap

SPARE = {"Actor": 2, "Dot": 2, "Disk": 2}
"""How many elements a sort has beyond those that occur, for what functions build and drop again; else 1."""


class Ground:
    """A world of known values: arguments, and the results that Python gives for them."""

    def __init__(self, known: Sequence[tuple[Type, object]]) -> None:
        self.tables: dict[Type, list[object]] = {}
        for type_, value in known:
            self.collect(type_, value)
        scope: dict[str, int] = {}
        for type_, elements in self.tables.items():
            elements.sort(key=lambda e: e)  # type: ignore[arg-type,return-value]  # elements of one type are ordered
            assert isinstance(type_, IdType | RecordType)
            name = type_.name if isinstance(type_, IdType) else type_.cls.__name__
            scope[name] = len(elements) + SPARE.get(name, 1)
        self.t = Translator(scope=scope)
        self.facts: list[Term] = []
        for type_, elements in self.tables.items():
            if isinstance(type_, RecordType):
                for element in elements:
                    self.facts += self.describe(type_, element)

    def collect(self, type_: Type, value: object) -> None:
        """Note all elements that occur in a value."""
        if isinstance(type_, SetType) and isinstance(value, FSet):
            assert type_.element is not None
            for element in value:
                self.collect(type_.element, element)
        elif isinstance(type_, MapType) and isinstance(value, Counts | SetMap | FMap):
            for key, at_key in value.items():
                self.collect(type_.key, key)
                self.collect(type_.value, at_key)
        elif isinstance(type_, IdType | RecordType):
            elements = self.tables.setdefault(type_, []) if not self.is_state(type_) else []
            if value not in elements:
                elements.append(value)
                if isinstance(type_, RecordType):
                    for name in fields_of(type_.cls):
                        self.collect(field_type(type_.cls, name, ""), getattr(value, name))

    def is_state(self, type_: Type) -> bool:
        """Whether values of a type are never elements."""
        return isinstance(type_, RecordType) and holds_maps(type_.cls)

    def describe(self, type_: RecordType, element: object) -> list[Term]:
        """What the fields of an element are."""
        scalar = self.encode(type_, element)
        facts: list[Term] = []
        for name in fields_of(type_.cls):
            value = self.encode(field_type(type_.cls, name, ""), getattr(element, name))
            facts.append(self.t.equal(self.t.field(scalar, name, ""), value))
        return facts

    def encode(self, type_: Type, value: object) -> Value:
        """A Python value as a value of the translator."""
        match type_:
            case IntType():
                assert isinstance(value, int)
                return Scalar(z.number(value), INT)
            case BoolType():
                return Scalar(z.truth(bool(value)), BOOL)
            case SetType(element):
                assert isinstance(value, FSet)
                assert element is not None
                terms = [self.t.term(self.encode(element, e)) for e in value]
                return SetValue(type_, lambda x: z.disj(z.equal(x, e) for e in terms))
            case MapType():
                return self.encode_map(type_, value)
            case RecordType(cls) if holds_maps(cls):
                parts = {f: self.encode(field_type(cls, f, ""), getattr(value, f)) for f in fields_of(cls)}
                return Record(type_, parts)
        return Scalar(self.t.elements(type_)[self.tables[type_].index(value)], type_)

    def encode_map(self, type_: MapType, value: object) -> MapValue:
        assert isinstance(value, Counts | SetMap | FMap)
        entries = [(self.t.term(self.encode(type_.key, k)), self.encode(type_.value, v)) for k, v in value.items()]
        if isinstance(value, Counts):
            default: Value = Scalar(z.number(0), INT)
        elif isinstance(value, SetMap):
            assert isinstance(type_.value, SetType)
            default = SetValue(type_.value, lambda _: z.truth(False))
        else:
            default = Scalar(self.t.elements(type_.value)[-1], type_.value)  # nobody looks there, and it is the same

        def at(x: Term) -> Value:
            found = default
            for key, at_key in entries:
                found = self.t.choose(z.equal(x, key), at_key, found)
            return found

        return MapValue(type_, at)

    def agreement(self, function: Function, arguments: Sequence[object], result: object) -> Term:
        """That the translation of a function gives this result for these arguments."""
        types = source_of(function).parameters().values()
        value = self.t.unfold(function, [self.encode(t, a) for t, a in zip(types, arguments, strict=True)])
        return self.t.equal(value, self.encode(result_type(function), result))

    def disagreements(self, claims: dict[str, Term]) -> list[str]:
        """The claims that are false in this world; the world itself must be possible."""
        done: dict[int, tuple[Term, Term]] = {}
        facts = [z.in_scope(term, self.t.universe, done) for term in (*self.t.facts, *self.facts)]
        model = z.find_model(facts, 60_000)
        assert model is not None, "no world is like this: the translator contradicts itself, or SPARE is too small"
        assert model != "unknown"
        expanded = {name: z.in_scope(term, self.t.universe, done) for name, term in claims.items()}
        return [name for name, term in expanded.items() if not z.is_true(model.value(term))]


def result_type(function: Function) -> Type:
    """What a spec function gives."""
    return type_of_hint(typing.get_type_hints(function, include_extras=True)["return"], function.__name__)


def world(calls: Sequence[tuple[Function, Sequence[object]]]) -> list[str]:
    """Names of the functions whose translation does not give what Python gives."""
    results = [function(*arguments) for function, arguments in calls]
    known: list[tuple[Type, object]] = []
    for (function, arguments), result in zip(calls, results, strict=True):
        known += zip(source_of(function).parameters().values(), arguments, strict=True)
        known.append((result_type(function), result))
    ground = Ground(known)
    claims = {
        f"{function.__name__}#{i}": ground.agreement(function, arguments, result)
        for i, ((function, arguments), result) in enumerate(zip(calls, results, strict=True))
    }
    return ground.disagreements(claims)
