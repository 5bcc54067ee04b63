"""What spec functions compute with, as the prover sees it.

A value is a term with its type, or something that is only ever looked into: a set is the question "is this in it", a
map the question "what is at this key", a record a value per field. So a comprehension becomes a condition on its
element, a union a disjunction, a written map a conditional; no theory of sets or arrays is involved, and quantifiers
stand exactly where the source says `all`, `any` or `for`.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import Struct

from checker.prove.facade import Term
from checker.prove.subset import MapType, RecordType, SetType, Type


@dataclass(frozen=True, eq=False)
class Scalar:
    """A term."""

    term: Term
    type: Type


@dataclass(frozen=True, eq=False)
class EmptySet:
    """How a set came to be: it is empty."""


@dataclass(frozen=True, eq=False)
class Inserted:
    """How a set came to be: one more element, the last in order, was put into another set."""

    rest: SetValue
    last: Scalar


@dataclass(frozen=True, eq=False)
class SetValue:
    """A set, by its membership test."""

    type: SetType
    has: Callable[[Term], Term]
    origin: EmptySet | Inserted | None = None
    """Known for the sets of an induction, for what is defined by recursion over them."""


@dataclass(frozen=True, eq=False)
class MapValue:
    """A total map, by its lookup."""

    type: MapType
    at: Callable[[Term], Value]
    written: tuple[Term, ...] = ()
    """Keys at which it was written: worth telling the solver about."""


@dataclass(frozen=True, eq=False)
class Record:
    """A Struct by its fields: a whole state, or an element that is being built."""

    type: RecordType
    fields: dict[str, Value]

    @property
    def cls(self) -> builtins.type[Struct]:
        """The Struct."""
        return self.type.cls


Value: TypeAlias = Scalar | SetValue | MapValue | Record
