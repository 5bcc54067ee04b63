"""Values as ITF, the JSON of Apalache and Quint: one exporter for everything, driven by types, and its inverse.

`codec_of(type)` compiles a type into a pair of functions.

    bool, str, literals      themselves
    int                      a number; {"#bigint": "…"} beyond ±(2^53 - 1), which JSON readers may round
    bytes                    a string: printable ASCII as it is, "\\xNN" for the rest, "\\\\" for a backslash, so that
                             keys and small values can be read
    tuple[X, Y]              {"#tup": […]}
    tuple[X, ...], list[X]   […], a sequence
    frozenset[X], FSet[X]    {"#set": […]}, in one order
    dict, FMap, Counts, …    {"#map": [[key, value], …]}, in one order
    Struct                   a record of its fields by name, tagged where it is declared so or where a union needs it
    X | None                 {"tag": "Some", "value": X} or {"tag": "None", "value": {"#tup": []}}, as in Quint
    other unions             told apart by the shape of their JSON, Structs by their tags

Where a type says nothing (`object`, a type variable) a value is written by the type it has, and every Struct with a
tag; it cannot be read back without being told the type.

Reading validates: constraints of annotated types, and whatever a Struct checks when it is built. What cannot be
written or read is refused with an `ItfError` of one line that says what it was.
"""

import json
import re
import types
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import Struct

from spec.maps import Counts, FMap, FSet, SetMap

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

BYTES_MEANING = "ASCII, with \\xNN for other bytes and \\\\ for a backslash"
MAX_SAFE_INTEGER = (1 << 53) - 1
NONE: Json = {"tag": "None", "value": {"#tup": []}}
MAPS = (FMap, Counts, SetMap)


class ItfError(ValueError):
    """A type or value that ITF cannot hold, or a file that is no such trace; one line."""


class Codec(Struct, frozen=True):
    """How values of one type are written and read; both raise ItfError for what is not of the type.

    `shape` is what the JSON looks like, by which a union tells its members apart.
    """

    shape: str
    encode: Callable[[object], Json]
    decode: Callable[[Json], object]


@cache
def codec_of(hint: Any) -> Codec:  # Any: typing has no type for "a type hint"
    """The codec of a type. Raises ItfError if ITF has no place for such values."""
    if isinstance(hint, NewType):
        return codec_of(hint.__supertype__)
    if hint is Any or hint is object or isinstance(hint, TypeVar):
        return Codec("any", encode_by_value, _refuse_untyped)
    if hint in PLAIN:
        return PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _validated(hint, codec_of(arguments[0]))
    if origin is Literal:
        return _literal(arguments)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is ...):
        return _tuple([codec_of(argument) for argument in arguments])
    if origin in (tuple, list):
        return _sequence(origin, codec_of(arguments[0]))
    if origin in (frozenset, set) or (origin or hint) is FSet:
        return _set(origin or hint, codec_of(arguments[0] if arguments else object))
    if origin is dict or (origin or hint) in MAPS:
        return _map(origin or hint, *_entry_types(origin or hint, arguments))
    if isinstance(origin or hint, type) and issubclass(origin or hint, Struct):
        return record_codec_of(hint, tagged=(origin or hint).__struct_config__.tag is not None)
    raise ItfError(f"ITF has no values of type {_name(hint)}")


def _entry_types(kind: type, arguments: tuple[object, ...]) -> tuple[Codec, Codec]:
    """The codecs of a map's keys and values; bare, any."""
    first, second = arguments if len(arguments) == 2 else (*arguments, object, object)[:2]
    if kind is SetMap:
        return codec_of(first), codec_of(FSet[second] if arguments else FSet)  # type: ignore[valid-type] # at run time
    return codec_of(first), codec_of(int) if kind is Counts else codec_of(second)


# Scalars.


def _scalar(kind: type, shape: str) -> Codec:
    """Values that are their own JSON."""

    def same(value: object) -> Any:  # Any: of `kind`, which is both a Json and an object
        if type(value) is not kind:
            raise ItfError(f"{value!r} is not of type {_name(kind)}")
        return value

    return Codec(shape, same, same)


def _encode_str(value: object) -> Json:
    if type(value) is not str:
        raise ItfError(f"{value!r} is not of type str")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ItfError(f"{value!r} has surrogates, which JSON cannot hold") from None
    return value


def _decode_str(value: Json) -> object:
    if type(value) is not str:
        raise ItfError(f"{value!r} is no string")
    return value


def _encode_int(value: object) -> Json:
    if type(value) is not int:
        raise ItfError(f"{value!r} is not of type int")
    return value if abs(value) <= MAX_SAFE_INTEGER else {"#bigint": str(value)}


def _decode_int(value: Json) -> object:
    if type(value) is dict and set(value) == {"#bigint"} and isinstance(digits := value["#bigint"], str):
        if re.fullmatch(r"-?[0-9]{1,1000}", digits):
            return int(digits)
    if type(value) is not int:
        raise ItfError(f"{_short(value)} is no integer")
    return value


def _encode_bytes(value: object) -> Json:
    if type(value) is not bytes:
        raise ItfError(f"{value!r} is not of type bytes")
    return "".join("\\\\" if b == 0x5C else chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}" for b in value)


def _decode_bytes(value: Json) -> object:
    if type(value) is str and re.fullmatch(r"(?:[ -\[\]-~]|\\\\|\\x[0-9a-f]{2})*", value):
        parts = re.findall(r"[ -\[\]-~]|\\\\|\\x..", value)
        return b"".join(bytes.fromhex(part[2:]) if part[:2] == "\\x" else part[:1].encode() for part in parts)
    raise ItfError(f"{_short(value)} does not spell bytes ({BYTES_MEANING})")


def _encode_none(value: object) -> Json:
    if value is not None:
        raise ItfError(f"{value!r} is not None")
    return NONE


def _decode_none(value: Json) -> object:
    if value != NONE:
        raise ItfError(f"{_short(value)} is not {_short(NONE)}")
    return None


PLAIN: dict[object, Codec] = {
    bool: _scalar(bool, "bool"),
    int: Codec("int", _encode_int, _decode_int),
    str: Codec("str", _encode_str, _decode_str),
    bytes: Codec("str", _encode_bytes, _decode_bytes),
    types.NoneType: Codec("option", _encode_none, _decode_none),
}


def _literal(values: tuple[object, ...]) -> Codec:
    kind: Any = type(values[0])  # Any: typing has no type for "a type hint"
    codec = codec_of(kind)
    if len({type(value) for value in values}) > 1:
        raise ItfError(f"the literals {', '.join(map(repr, values))} are of several types")

    def member(value: object) -> object:
        if type(value) is not kind or value not in values:
            raise ItfError(f"{value!r} is none of {', '.join(map(repr, values))}")
        return value

    return Codec(codec.shape, lambda value: codec.encode(member(value)), lambda value: member(codec.decode(value)))


def _validated(hint: Any, codec: Codec) -> Codec:
    """An annotated type: msgspec checks its constraints on reading."""

    def decode(value: Json) -> object:
        try:
            return msgspec.convert(codec.decode(value), hint)
        except msgspec.ValidationError as error:
            raise ItfError(str(error)) from None

    return Codec(codec.shape, codec.encode, decode)


# Collections.


def _items(value: Json, mark: str) -> list[Json]:
    """The list in {mark: [...]}."""
    if type(value) is dict and set(value) == {mark} and isinstance(items := value[mark], list):
        return items
    raise ItfError(f"{_short(value)} is no {mark}")


def _elements(value: object, kind: type) -> Iterable[object]:
    """A collection's elements, if it is of this kind."""
    if type(value) is not kind or not isinstance(value, Iterable):
        raise ItfError(f"{value!r} is not of type {_name(kind)}")
    return value


def _sequence(kind: type, codec: Codec) -> Codec:
    def decode(value: Json) -> object:
        if type(value) is not list:
            raise ItfError(f"{_short(value)} is no sequence")
        return _built(kind, [codec.decode(item) for item in value])

    return Codec("list", lambda value: [codec.encode(item) for item in _elements(value, kind)], decode)


def _tuple(codecs: list[Codec]) -> Codec:
    def encode(value: object) -> Json:
        items = list(_elements(value, tuple))
        if len(items) != len(codecs):
            raise ItfError(f"{value!r} has {len(items)} elements, not {len(codecs)}")
        return {"#tup": [codec.encode(item) for codec, item in zip(codecs, items, strict=True)]}

    def decode(value: Json) -> object:
        items = _items(value, "#tup")
        if len(items) != len(codecs):
            raise ItfError(f"{_short(value)} has {len(items)} elements, not {len(codecs)}")
        return tuple(codec.decode(item) for codec, item in zip(codecs, items, strict=True))

    return Codec("#tup", encode, decode)


def _set(kind: type, codec: Codec) -> Codec:
    def encode(value: object) -> Json:
        items = [codec.encode(item) for item in _elements(value, kind)]
        return {"#set": items if kind is FSet else sorted(items, key=text_of)}

    def decode(value: Json) -> object:
        items = [codec.decode(item) for item in _items(value, "#set")]
        found = _built(FSet.of if kind is FSet else kind, items)
        if len(found) != len(items):  # type: ignore[arg-type] # `_built` made a set
            raise ItfError(f"{_short(value)} repeats an element")
        return found

    return Codec("#set", encode, decode)


def _map(kind: type, keys: Codec, values: Codec) -> Codec:
    def encode(value: object) -> Json:
        if type(value) is not kind or not isinstance(value, (dict, *MAPS)):
            raise ItfError(f"{value!r} is not of type {_name(kind)}")
        entries: list[Json] = [[keys.encode(k), values.encode(v)] for k, v in value.items()]
        return {"#map": sorted(entries, key=text_of) if kind is dict else entries}

    def decode(value: Json) -> object:
        pairs = []
        for entry in _items(value, "#map"):
            if type(entry) is not list or len(entry) != 2:
                raise ItfError(f"{_short(entry)} is no [key, value]")
            pairs.append((keys.decode(entry[0]), values.decode(entry[1])))
        entries = _built(dict, pairs)
        if len(entries) != len(pairs):  # type: ignore[arg-type] # `_built` made a dict
            raise ItfError(f"{_short(value)} repeats a key")
        return entries if kind is dict else _built(kind.of, entries)  # type: ignore[attr-defined] # all MAPS have it

    return Codec("#map", encode, decode)


def _built(make: Callable[[Any], object], parts: object) -> object:  # Any: whatever `make` takes
    """`make(parts)`; what that objects to is the trace's fault."""
    try:
        return make(parts)
    except (TypeError, ValueError) as error:
        raise ItfError(str(error)) from None


# Records and unions.


def record_codec_of(hint: Any, tagged: bool) -> Codec:  # Any: a Struct class or a parametrised one
    """A Struct. Its fields are compiled when they are first needed, so that it may contain its own kind."""
    cls: type[Struct] = get_origin(hint) or hint
    tag_field, tag = _tag_of(cls) if tagged else ("", "")
    fields = partial(fields_of, hint)

    def encode(value: object) -> Json:
        if type(value) is not cls:
            raise ItfError(f"{value!r} is not of type {_name(cls)}")
        record: dict[str, Json] = {tag_field: tag} if tag_field else {}
        record.update((name, codec.encode(getattr(value, name))) for name, codec in fields().items())
        return record

    def decode(value: Json) -> object:
        if type(value) is not dict:
            raise ItfError(f"{_short(value)} is no record")
        wanted = {*fields(), tag_field} - {""}
        if value.keys() != wanted or (tag_field and value[tag_field] != tag):
            raise ItfError(f"{_short(value)} is no {_name(cls)}: it has the fields {', '.join(sorted(wanted))}")
        return _built(lambda parts: cls(**parts), {name: codec.decode(value[name]) for name, codec in fields().items()})

    return Codec(f"{tag_field}={tag}" if tag_field else "record", encode, decode)


def _tag_of(cls: type[Struct]) -> tuple[str, int | str]:
    """The field and value by which this class is known among others; as declared, else as msgspec would choose."""
    config = cls.__struct_config__
    tag = cls.__name__ if config.tag is None else config.tag
    tag_field = config.tag_field or "type"
    if tag_field in cls.__struct_fields__:
        raise ItfError(
            f"{cls.__name__} has a field {tag_field!r}, which is where its tag goes: give it another tag_field"
        )
    return tag_field, tag


@cache
def fields_of(hint: Any) -> dict[str, Codec]:  # Any: a Struct class or a parametrised one
    """By name, in order: the codec of each field, type parameters filled in."""
    cls = get_origin(hint) or hint
    bound = dict(zip(getattr(cls, "__parameters__", ()), get_args(hint), strict=False))
    hints = get_type_hints(cls, include_extras=True)
    return {name: codec_of(_filled(hints[name], bound)) for name in cls.__struct_fields__}


def _filled(hint: Any, bound: dict[TypeVar, Any]) -> Any:  # Any: type hints
    """`hint` with type variables replaced by what they are bound to."""
    if isinstance(hint, TypeVar):
        return bound.get(hint, object)
    parameters = getattr(hint, "__parameters__", ())
    if parameters and get_origin(hint) is not None:
        return hint[tuple(bound.get(parameter, object) for parameter in parameters)]
    return hint


def member_codec_of(hint: Any) -> Codec:  # Any: a type hint
    """The codec of a union's member: like `codec_of`, but a Struct is always tagged."""
    origin = get_origin(hint) or hint
    structured = isinstance(origin, type) and issubclass(origin, Struct) and origin not in (FSet, *MAPS)
    return record_codec_of(hint, tagged=True) if structured else codec_of(hint)


def _union(hints: tuple[object, ...]) -> Codec:
    """None or something is an option; members of any other union have different shapes."""
    some = [hint for hint in hints if hint is not types.NoneType]
    members = [member_codec_of(hint) if len(some) > 1 else codec_of(hint) for hint in some]
    shapes = [member.shape for member in members]
    if ("any" in shapes and len(shapes) > 1) or len(set(shapes)) < len(shapes):
        raise ItfError(f"in a trace the members of {' | '.join(map(_name, some))} look alike")

    def encode(value: object) -> Json:
        for member in members:
            try:
                return member.encode(value)
            except ItfError as error:
                if len(members) == 1:
                    raise error from None
        raise ItfError(f"{value!r} is none of {' | '.join(map(_name, some))}")

    def decode(value: Json) -> object:
        for member in members:
            if len(members) == 1 or member.shape == _shape(value, member.shape):
                return member.decode(value)
        raise ItfError(f"{_short(value)} is none of {' | '.join(map(_name, some))}")

    def encode_option(value: object) -> Json:
        return NONE if value is None else {"tag": "Some", "value": encode(value)}

    def decode_option(value: Json) -> object:
        if type(value) is dict and value.keys() == {"tag", "value"} and value["tag"] == "Some":
            return decode(value["value"])
        return _decode_none(value)

    if len(some) < len(hints):
        return Codec("option", encode_option, decode_option)
    return Codec("union", encode, decode)


def _shape(value: Json, like: str) -> str:
    """What shape this is; of a record, the field that a shape such as "type=Put" looks at."""
    if isinstance(value, dict):
        marks = [mark for mark in ("#tup", "#set", "#map") if mark in value]
        tag_field, known, _ = like.partition("=")
        if known and tag_field in value:
            return f"{tag_field}={value[tag_field]}"
        return "int" if "#bigint" in value else marks[0] if marks else "option"
    return {bool: "bool", int: "int", str: "str", list: "list"}.get(type(value), "")


def encode_by_value(value: object) -> Json:
    """Write what no type declares: by the type it has."""
    if isinstance(value, Struct) and not isinstance(value, (FSet, *MAPS)):
        return record_codec_of(type(value), tagged=True).encode(value)
    if type(value) is tuple:
        return {"#tup": [encode_by_value(item) for item in value]}
    if type(value) is object:
        raise ItfError(f"ITF has no place for {value!r}")
    parametrised: dict[type, object] = {
        list: list[object],
        set: set[object],
        frozenset: frozenset[object],
        dict: dict[object, object],
    }
    return codec_of(parametrised.get(type(value), type(value))).encode(value)


def _refuse_untyped(value: Json) -> object:
    raise ItfError(f"{_short(value)}: to read this, its type has to be known")


def _name(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def text_of(value: Json) -> str:
    """Compact JSON, keys as they come."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _short(value: Json) -> str:
    text = text_of(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
