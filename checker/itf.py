"""Traces of machines as ITF files (`.itf.json`), which Apalache, Quint and their viewers also read.

A trace is a path: states, and the action that led to each. The fields of a state are the trace's variables; one more,
`action`, holds the action, as an option: nothing has led to the first state. A state that is not a Struct, or that has
a field `action` of its own, is the one variable `state`.

`dump` and `parse` are inverse to each other, given the types. `scan` needs none: it yields the JSON of each step, for
`replay`, which compares with what a machine gives. A file is one line per state, and equal traces are equal bytes.
"""

import json
from typing import Any, Generic

import msgspec
from msgspec import Struct, field, structs

from checker.itf_values import (
    BYTES_MEANING,
    NONE,
    ItfError,
    Json,
    codec_of,
    encode_by_value,
    fields_of,
    member_codec_of,
    record_codec_of,
    text_of,
)
from checker.machine import A, S
from checker.outcome import Step

URL = "https://apalache-mc.org/docs/adr/015adr-trace.html"


class About(Struct, frozen=True, kw_only=True):
    """What is known of a trace: which machine took the path, and if it is a counterexample, to what."""

    machine: str
    params: dict[str, bool | int | str] = {}
    property: str = ""
    clause: str = ""


class Trace(Struct, Generic[S, A], frozen=True):
    """A path of a machine; one that goes on for ever comes after its last state to the one at `loop` again."""

    about: About
    path: tuple[Step[S, A], ...]
    loop: int | None = None


class Scanned(Struct, frozen=True):
    """A trace before its values are understood: for each state its action (None at the start) and its variables."""

    about: About
    steps: tuple[tuple[Json, dict[str, Json]], ...]
    loop: int | None = None


class _Meta(About, frozen=True, kw_only=True):
    format: str = "ITF"
    format_description: str = field(default=URL, name="format-description")
    source: str = "ringspec"
    bytes: str = BYTES_MEANING


class _File(Struct, frozen=True):
    meta: _Meta = field(name="#meta")
    vars: list[str]
    states: list[dict[str, Any]]  # Any: each is a Json, which msgspec need not look into
    loop: int | None = None


def encode_action(action: object) -> Json:
    """An action, by the type it has."""
    return encode_by_value(action)


def encode_state(state: object, state_type: Any = None) -> dict[str, Json]:  # Any: a type hint
    """The variables of a state; by its declared type if that is given, else by the type it has."""
    if isinstance(state, Struct) and "action" not in state.__struct_fields__:
        codecs = fields_of(type(state) if state_type is None else state_type)
        return {name: codec.encode(getattr(state, name)) for name, codec in codecs.items()}
    return {"state": encode_by_value(state) if state_type is None else codec_of(state_type).encode(state)}


def dump(trace: Trace[S, A], state_type: Any = None) -> bytes:  # Any: a type hint
    """The file of a trace. Raises ItfError for values that ITF cannot hold."""
    states: list[Json] = []
    variables: list[Json] = []
    for index, step in enumerate(trace.path):
        action: Json = NONE if step.action is None else {"tag": "Some", "value": encode_action(step.action)}
        state = encode_state(step.state, state_type)
        variables = ["action", *state]
        states.append({"#meta": {"index": index}, "action": action, **state})
    meta = msgspec.to_builtins(_Meta(**structs.asdict(trace.about)))
    lines = [f'"#meta":{text_of(meta)}', f'"vars":{text_of(variables)}']
    if trace.loop is not None:
        lines.append(f'"loop":{trace.loop}')
    lines.append('"states":[\n' + ",\n".join(map(text_of, states)) + "\n]")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def scan(data: bytes) -> Scanned:
    """Read a trace without knowing its types. Raises ItfError where it is none of ours."""
    try:
        file = msgspec.convert(json.loads(data), _File)
    except (ValueError, RecursionError) as error:  # of which decoding, JSON and validation errors are kinds
        raise ItfError(f"this is no trace of a machine: {str(error) or 'nested too deeply'}") from None
    if file.meta.format != "ITF":
        raise ItfError(f"this is no trace of a machine: its format is {file.meta.format!r}, not 'ITF'")
    steps: list[tuple[Json, dict[str, Json]]] = []
    for index, state in enumerate(file.states):
        variables = {name: value for name, value in state.items() if name != "#meta"}
        if set(variables) != set(file.vars) or "action" not in variables:
            raise ItfError(f"state {index} has the variables {', '.join(variables)}, not {', '.join(file.vars)}")
        steps.append((_some(variables.pop("action"), index), variables))
    about = About(**{name: getattr(file.meta, name) for name in About.__struct_fields__})
    if file.loop is not None and not 0 <= file.loop < len(steps):
        raise ItfError(f"it comes back to state {file.loop}, and has states 0 to {len(steps) - 1}")
    return Scanned(about, tuple(steps), file.loop)


def _some(action: Json, index: int) -> Json:
    """What is in the option; None if it is empty, as it has to be in the first state and there only."""
    if action == NONE and index == 0:
        return None
    if isinstance(action, dict) and action.keys() == {"tag", "value"} and action["tag"] == "Some" and index > 0:
        return action["value"]
    raise ItfError(f"state {index}: {text_of(action)[:60]} is no {'action' if index else 'start: nothing led to it'}")


def parse(data: bytes, state_type: Any, action_type: Any) -> Trace[Any, Any]:  # Any: of the types given as values
    """Read a trace of states and actions of these types. Raises ItfError where it is not."""
    scanned = scan(data)
    action_codec = member_codec_of(action_type)
    steps = []
    for index, (action, variables) in enumerate(scanned.steps):
        try:
            decoded = None if action is None else action_codec.decode(action)
            steps.append(Step(decoded, _decode_state(variables, state_type)))
        except ItfError as error:
            raise ItfError(f"state {index}: {error}") from None
    return Trace(scanned.about, tuple(steps), scanned.loop)


def _decode_state(variables: dict[str, Json], state_type: Any) -> object:  # Any: a type hint
    if variables.keys() == {"state"}:
        return codec_of(state_type).decode(variables["state"])
    return record_codec_of(state_type, tagged=False).decode(dict(variables))


def normal(value: Json) -> Json:
    """The same value as we would write it: other tools write every integer as #bigint, and sets in any order."""
    if isinstance(value, list):
        return [normal(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"#bigint"}:
        return codec_of(int).encode(codec_of(int).decode(value))
    parts = {name: normal(item) for name, item in value.items()}
    for mark in ("#set", "#map"):
        if isinstance(items := parts.get(mark), list):
            parts[mark] = sorted(items, key=text_of)
    return parts
