"""Fingerprints: 128 bits that stand for a state where there is no memory for the state itself.

A fingerprint is BLAKE2b over a canonical form of the value, which equal values share and different ones do not: numbers
by value, text and bytes with their length, tuples in order, sets sorted by the form of their elements, Structs,
dataclasses and enum members by their class and fields. So the only way in which two states can be taken for one is
that their fingerprints collide, and whoever searches by fingerprints is told how likely that is at most: n states are
fewer than n²/2 pairs, and each pair collides with one chance in 2¹²⁸. Equality that a class defines for itself cannot
be seen from outside, so such a class is refused.

The forms of what a state is made of recur in very many states, and are remembered for a while.
"""

import dataclasses
from collections.abc import Callable
from enum import Enum
from functools import cache
from hashlib import blake2b

from msgspec import Struct

BITS = 128
MOST_REMEMBERED = 1 << 10  # more would take the memory that fingerprints save


class NoFingerprint(TypeError):
    """A value has no canonical form; one line that says why."""


def fingerprinting() -> Callable[[object], int]:
    """A function from values to their fingerprints, with a memory of its own."""
    remembered: dict[object, bytes] = {}

    def form(value: object) -> bytes:
        if isinstance(value, (Struct, tuple, frozenset)):
            known = remembered.get(value)
            if known is None:
                if len(remembered) >= MOST_REMEMBERED:
                    remembered.clear()
                known = remembered[value] = canonical(value, form)
            return known
        return canonical(value, form)

    def fingerprint(state: object) -> int:
        return int.from_bytes(blake2b(canonical(state, form), digest_size=BITS // 8).digest(), "big")

    return fingerprint


def collision_odds(states: int) -> float:
    """At most how likely it is that of so many states two have the same fingerprint."""
    return states * (states - 1) / float(2 ** (BITS + 1))


def canonical(value: object, form: Callable[[object], bytes]) -> bytes:
    """The canonical form of a value, given that of its parts. Raises NoFingerprint."""
    if isinstance(value, tuple):  # a NamedTuple equals a plain one
        return b"(%d:" % len(value) + b"".join([form(item) for item in value])
    if isinstance(value, Struct):
        return _of_class(type(value)) + b"".join([form(getattr(value, name)) for name in value.__struct_fields__])
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return b"s%d:" % len(text) + text
    if isinstance(value, int):  # True equals 1
        return b"i%d;" % value
    if isinstance(value, bytes):
        return b"b%d:" % len(value) + value
    if value is None:
        return b"n"
    if isinstance(value, frozenset):
        return b"{%d:" % len(value) + b"".join(sorted([form(item) for item in value]))
    if isinstance(value, float):  # 1.0 equals 1
        return b"i%d;" % int(value) if value.is_integer() else b"f%s;" % repr(value).encode()
    if isinstance(value, Enum):
        return _of_class(type(value)) + form(value.name)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.compare]
        return _of_class(type(value)) + b"".join([form(getattr(value, name)) for name in fields])
    raise NoFingerprint(f"a {type(value).__qualname__} has no fingerprint: search without, or use Structs and tuples")


@cache
def _of_class(kind: type) -> bytes:
    """What the form of an object of this class begins with; how many parts follow is the same for all of them."""
    if issubclass(kind, Struct):
        ordinary = kind.__struct_config__.eq and kind.__eq__ is Struct.__eq__
    else:
        ordinary = issubclass(kind, Enum) or kind.__eq__ is not object.__eq__
    if not ordinary:
        raise NoFingerprint(f"{kind.__qualname__} defines its own equality, which a fingerprint cannot follow")
    name = f"{kind.__module__}.{kind.__qualname__}".encode()
    return b"<%d:" % len(name) + name
