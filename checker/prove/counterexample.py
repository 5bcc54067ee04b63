"""Counterexamples: small, decoded to real values, and replayed through the real Python before anybody sees them.

A claim that fails mostly fails with two or three of everything. So each sort is given a few elements, every quantifier
is written out over them, nothing is opaque, and the solver finds a state in which the guard and all invariants hold and
after which the claim does not: a *counterexample to induction*. The state need not be reachable; it shows what the
invariants fail to rule out, or what an action breaks.

The same search shows that guards and invariants are not contradictory: a *witness* is an eventful state in which an
action may happen.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from checker.prove import facade as z
from checker.prove.facade import Model, Term
from checker.prove.logic import Logic
from checker.prove.obligations import Protocol
from checker.prove.subset import (
    Function,
    IdType,
    IntType,
    RecordType,
    SetType,
    Type,
    fields_of,
)
from checker.prove.translate import Translator
from checker.prove.values import MapValue, Record, Scalar, SetValue, Value
from spec.maps import Counts, FMap, FSet, SetMap

Scope: TypeAlias = Mapping[str, int]

SMALL: Scope = {
    "NodeId": 2, "str": 1, "Actor": 3, "Dot": 3, "Version": 3, "Value": 1, "ClientId": 1, "RequestId": 1, "Reading": 1,
    "Sent": 1, "Pushed": 1, "Told": 1, "Acknowledgement": 2, "Reply": 1, "Disk": 3, "Config": 1, "Limits": 1,
}  # fmt: skip
LARGER: Scope = {
    **SMALL, "NodeId": 3, "str": 2, "Actor": 4, "Dot": 4, "Version": 4, "Sent": 2, "Pushed": 2, "Told": 2, "Reply": 2,
    "Acknowledgement": 3, "Reading": 2, "RequestId": 2, "Disk": 4,
}  # fmt: skip
SCOPES = (SMALL, LARGER)
"""How many of each there are; spare ones too, for what an action makes."""

SEARCH_MS = 20_000


class ReplayFailed(AssertionError):
    """Python does not agree with the logic: the translation is wrong."""


class Counterexample(Struct, frozen=True):
    """Arguments for which a claim is false; for an action, `before` is the state before, and `after` the one after."""

    subject: str
    claim: str
    arguments: dict[str, object]
    after: object = None


# From a model to values.


class Decoder:
    """Reads values of spec types out of a model of a finite scope."""

    def __init__(self, logic: Logic, model: Model) -> None:
        self.logic, self.model = logic, model

    def elements(self, type_: Type) -> tuple[Term, ...]:
        """All elements of a sort."""
        return self.logic.elements(type_)

    def holds(self, term: Term) -> bool:
        """Whether a condition is true."""
        return z.is_true(self.model.value(term))

    def decode(self, value: Value) -> object:
        """The Python value."""
        if isinstance(value, SetValue):
            element = value.type.element
            assert element is not None
            return FSet.of(self.decode(Scalar(e, element)) for e in self.elements(element) if self.holds(value.has(e)))
        if isinstance(value, MapValue):
            return self.decode_map(value)
        if isinstance(value, Record) or isinstance(value.type, RecordType):
            return self.decode_record(value)
        literal = self.model.value(value.term)
        if isinstance(value.type, IntType):
            return z.integer(literal)
        if isinstance(value.type, IdType):
            names = [str(e) for e in self.elements(value.type)]
            return name_of(value.type, names.index(str(literal)))
        return z.is_true(literal)

    def decode_map(self, value: MapValue) -> object:
        """A map over all keys of the scope."""
        key_type, kind = value.type.key, value.type.value
        entries = {self.decode(Scalar(k, key_type)): self.decode(value.at(k)) for k in self.elements(key_type)}
        if isinstance(kind, IntType):
            return Counts.of({k: v for k, v in entries.items() if isinstance(v, int)})
        if isinstance(kind, SetType):
            return SetMap.of({k: v for k, v in entries.items() if isinstance(v, FSet)})
        return FMap.of(entries)

    def decode_record(self, value: Value) -> object:
        """A Struct; fields that no function read take their defaults."""
        assert isinstance(value.type, RecordType)
        cls = value.type.cls
        optional = cls.__struct_fields__[len(cls.__struct_fields__) - len(cls.__struct_defaults__) :]
        given = {
            name: self.decode(self.logic.field(value, name, ""))
            for name in fields_of(cls)
            if name not in optional or (cls, name) in self.logic.fields_read
        }
        return cls(**given)


def name_of(type_: IdType, index: int) -> str | bytes:
    """A short name for an element of a sort: nodes are A, B, …, others are named after their type."""
    name = chr(ord("A") + index) if type_.name == "NodeId" else f"{type_.name.lower()}{index + 1}"
    return name if type_.base is str else name.encode()


# The order in which Python meets the elements of a set.


def comes_before(logic: Logic, a: Value, b: Value) -> Term:
    """Whether Python sorts one value before another, as far as names, numbers and the first fields of Structs tell."""
    if isinstance(a.type, RecordType):
        before, alike = z.truth(False), z.truth(True)
        for name in fields_of(a.type.cls):
            x, y = logic.field(a, name, ""), logic.field(b, name, "")
            if isinstance(x, SetValue | MapValue):
                return before
            before = z.disj([before, z.conj([alike, comes_before(logic, x, y)])])
            alike = z.conj([alike, logic.equal(x, y)])
        return before
    assert isinstance(a, Scalar)
    assert isinstance(b, Scalar)
    if isinstance(a.type, IntType):
        return z.arithmetic("<", a.term, b.term)
    if isinstance(a.type, IdType):
        pairs = itertools.combinations(logic.elements(a.type), 2)
        return z.disj(z.conj([z.equal(a.term, one), z.equal(b.term, other)]) for one, other in pairs)
    return z.conj([z.neg(a.term), b.term])


def in_order(logic: Logic) -> list[Term]:
    """That the elements of each sort that is folded over stand in the order of Python.

    A fold takes them as they stand in the scope. A claim that fails only in an order that Python never takes would be
    no counterexample.
    """
    return [
        comes_before(logic, Scalar(one, type_), Scalar(other, type_))
        for type_ in logic.folded
        for one, other in itertools.pairwise(logic.elements(type_))
    ]


# Searching.


def find(logic: Logic, conditions: Sequence[Term], timeout_ms: int = SEARCH_MS) -> Model | None:
    """A model of the conditions in the finite scope of the logic; None if there is none, or none was found in time."""
    conditions = (*conditions, *in_order(logic))
    expanded = [z.in_scope(term, logic.universe, logic.written_out) for term in (*logic.facts, *conditions)]
    found = z.find_model(expanded, timeout_ms)
    return None if found == "unknown" else found


def refute_law(name: str, law: Function, scope: Scope) -> Counterexample | None:
    """Arguments for which a law is false, replayed; None if none were found in this scope."""
    t = Translator(scope=scope)
    arguments = t.parameters(law)
    wrong = z.neg(t.formula(law, list(arguments.values())))
    model = find(t, [wrong])
    if model is None:
        return None
    decoder = Decoder(t, model)
    decoded = {parameter: decoder.decode(value) for parameter, value in arguments.items()}
    if law(*decoded.values()) is not False:
        raise ReplayFailed(f"{name} holds in Python of {decoded}")
    return Counterexample(name, "law", decoded)


def search(
    protocol: Protocol, action: str, scope: Scope, claim: str | None, require: Sequence[str]
) -> Counterexample | None:
    """A state and parameters where an action may happen, after which a claim (if one is named) is false.

    All invariants hold before, and the predicates of the state named in `require` do; Python agrees on all of this.
    """
    functions = protocol.functions
    step = protocol.step(action, scope)
    t, state = step.t, step.state
    assert isinstance(state, Record)
    conditions = [step.guard, *step.before.values()]
    conditions += [t.formula(functions[name], [state]) for name in require]
    if claim is not None:
        conditions.append(z.neg((step.after | step.lemmas)[claim]))
    model = find(t, conditions)
    if model is None:
        return None
    decoder = Decoder(t, model)
    before = decoder.decode(state)
    parameters = {name: decoder.decode(value) for name, value in step.parameters.items()}
    after = protocol.actions[action](before, *parameters.values())
    held = [functions[f"{action}_ok"](before, *parameters.values())]
    held += [invariant(before) for invariant in protocol.invariants.values()]
    held += [functions[name](before) for name in require]
    if not all(held):
        raise ReplayFailed(f"{action}: Python refuses the state before, {before}, {parameters}")
    if claim is not None:
        arguments = (after,) if claim in step.after else (before, *parameters.values())
        if functions[claim](*arguments) is not False:
            raise ReplayFailed(f"{action}: {claim} holds in Python after {before}, {parameters}")
    return Counterexample(action, claim or "", {"before": before, **parameters}, after)


def refute_invariant(protocol: Protocol, action: str, claim: str) -> Counterexample | None:
    """A counterexample to induction in the smallest scope that has one; None if none has."""
    for scope in SCOPES:
        found = search(protocol, action, scope, claim, ())
        if found is not None:
            return found
    return None


def witness(protocol: Protocol, action: str) -> Counterexample | None:
    """An eventful state in which an action may happen; None if there is none, and all proofs about it are hollow."""
    for scope in SCOPES:
        found = search(protocol, action, scope, None, ("is_eventful",))
        if found is not None:
            return found
    return None


# Telling.


def tell(counterexample: Counterexample) -> str:
    """The counterexample for a reader, in lines."""
    lines: list[str] = []
    for name, value in counterexample.arguments.items():
        lines += tell_value(name, value)
    before = counterexample.arguments.get("before")
    if isinstance(counterexample.after, Struct) and isinstance(before, Struct):
        changed = [f for f in fields_of(type(before)) if getattr(before, f) != getattr(counterexample.after, f)]
        lines += ["after"] + [f"  {f} = {show(getattr(counterexample.after, f))}" for f in changed]
    return "\n".join(lines)


def tell_value(name: str, value: object) -> list[str]:
    """One argument; a state gets a line for each of its fields that is not empty."""
    if isinstance(value, Struct) and name == "before":
        parts = {f: getattr(value, f) for f in fields_of(type(value))}
        return [name] + [f"  {f} = {show(part)}" for f, part in parts.items() if show(part) not in ("{}", "")]
    return [f"{name} = {show(value)}"]


def show(value: object) -> str:
    """A value, briefly: its own words where it has some."""
    if isinstance(value, FSet):
        return "{" + ", ".join(show(element) for element in value) + "}"
    if isinstance(value, Counts | SetMap | FMap):
        return "{" + ", ".join(f"{show(k)}: {show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Struct) and type(value).__str__ is Struct.__str__:
        defaults = type(value)() if not required(type(value)) else None
        parts = {f: getattr(value, f) for f in value.__struct_fields__}
        told = {f: part for f, part in parts.items() if defaults is None or part != getattr(defaults, f)}
        return f"{type(value).__name__}({', '.join(f'{f}={show(part)}' for f, part in told.items())})"
    return value.decode() if isinstance(value, bytes) else str(value)


def required(cls: type[Struct]) -> bool:
    """Whether a Struct has fields without a default."""
    return len(cls.__struct_defaults__) < len(cls.__struct_fields__)
