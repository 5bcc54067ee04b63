"""Hypothesis strategies for values of the specification.

`of_type` is driven by the types themselves: it draws anything that a type admits, which is what encodings must carry.
Laws of clocks and sibling sets speak of values that can really come about; `worlds` draws those, by letting a few
replicas put and merge at random.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, NewType, TypeAlias, Union, get_args, get_origin

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from spec.clock import NOTHING, Actor, Clock, Dot
from spec.history import Created
from spec.maps import Counts, FMap, FSet, SetMap
from spec.ring import Member
from spec.siblings import NO_VERSIONS, Siblings, Version, add, context_of, merge
from spec.types import Config, Limits, NodeId, Value

# Any: what a strategy draws is known only at run time, from the type it is given.
Anything: TypeAlias = SearchStrategy[Any]

DEFAULT = settings.default
assert DEFAULT is not None
FEWER = settings(max_examples=max(10, DEFAULT.max_examples // 5))
"""For tests of many kinds of value, or of large ones: a share of the examples of the profile."""

NAMES = tuple(NodeId(name) for name in "abcde")


@cache
def of_type(kind: Any) -> Anything:
    """Any value of a type: of what Structs are made of, collections sorted, numbers within their `Meta`."""
    if kind in OVERRIDES:
        return OVERRIDES[kind]
    if isinstance(kind, NewType):
        return of_type(kind.__supertype__)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        (meta,) = args[1:]
        assert args[0] is int, f"no strategy for {kind}"
        assert isinstance(meta.ge, int), f"no strategy for {kind}"
        return st.integers(meta.ge, 2**62)
    if origin in (Union, types.UnionType):
        return st.one_of([of_type(arg) for arg in args])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        if len(args) == 2 and args[1] is ...:
            return st.lists(of_type(args[0]), max_size=3).map(tuple)
        return st.tuples(*map(of_type, args))
    if origin in COLLECTIONS:
        return COLLECTIONS[origin](*map(of_type, args))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind, include_extras=True)
        return st.builds(kind, **{name: of_type(hints[name]) for name in kind.__struct_fields__})
    raise AssertionError(f"no strategy for {kind}")


def sets(elements: Anything) -> Anything:
    return st.lists(elements, max_size=3).map(FSet.of)


def maps(keys: Anything, values: Anything) -> Anything:
    return st.dictionaries(keys, values, max_size=3).map(FMap.of)


def set_maps(keys: Anything, elements: Anything) -> Anything:
    return st.dictionaries(keys, sets(elements), max_size=3).map(SetMap.of)


def counts(keys: Anything) -> Anything:
    return st.dictionaries(keys, st.integers(0, 2**62), max_size=3).map(Counts.of)


COLLECTIONS: dict[Any, Callable[..., Anything]] = {FSet: sets, FMap: maps, SetMap: set_maps, Counts: counts}


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A configuration that works, small enough to build rings of."""
    n = draw(st.integers(1, 3))
    return Config(
        n=n,
        r=draw(st.integers(1, n)),
        w=draw(st.integers(1, n)),
        partitions=draw(st.integers(1, 16)),
        tokens=draw(st.integers(1, 8)),
    )


members = st.builds(
    Member,
    name=st.sampled_from(NAMES),
    zone=st.sampled_from(("", "east", "west")),
    weight=st.integers(1, 3),
)
memberships = st.lists(members, min_size=3, max_size=5, unique_by=lambda m: m.name).map(tuple)

OVERRIDES: dict[Any, Anything] = {
    int: st.integers(0, 2**62),
    str: st.text(max_size=3),
    bytes: st.binary(max_size=4),
    bool: st.booleans(),
    type(None): st.none(),
    Config: configs(),
    Limits: st.builds(Limits, siblings=st.integers(1, 16), batch_steps=st.integers(1, 2**40)),
    Member: members,
    # A version is created once, so that no two of these are told apart by what has no order.
    FSet[Created]: st.deferred(lambda: st.lists(of_type(Created), max_size=3, unique_by=version_of).map(FSet.of)),
}


def version_of(created: Created) -> Version:
    return created.version


# Clocks that meet: few actors, small counters.

actors = st.builds(
    Actor, node=st.sampled_from(NAMES[:3]), incarnation=st.sampled_from(("x", "y")), birth=st.integers(1, 2)
)
dots = st.builds(Dot, actor=actors, counter=st.integers(1, 4))
clocks: SearchStrategy[Clock] = st.dictionaries(actors, st.integers(0, 4), max_size=4).map(Counts.of)


def actor_of(replica: int) -> Actor:
    return Actor(NAMES[replica], "x", 1)


@st.composite
def worlds(draw: st.DrawFn, max_actions: int = 12) -> tuple[Siblings, ...]:
    """Every sibling set that three replicas ever held while they put, with any context read so far, and merged."""
    held = [NO_VERSIONS] * 3
    minted = [0, 0, 0]
    contexts: list[Clock] = [NOTHING]
    ever: list[Siblings] = [NO_VERSIONS]
    for _ in range(draw(st.integers(1, max_actions))):
        here = draw(st.integers(0, 2))
        if draw(st.booleans()):
            minted[here] += 1
            dot = Dot(actor_of(here), minted[here])
            version = Version(dot, draw(st.sampled_from(contexts)), Value(str(dot).encode()))
            held[here] = add(held[here], version)
        else:
            held[here] = merge(held[here], draw(st.sampled_from(held)))
        contexts.append(context_of(held[here]))
        ever.append(held[here])
    return tuple(ever)
