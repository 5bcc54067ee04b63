"""The translator: what it says of a function is what Python computes, and what it cannot say it refuses."""

import importlib.util
import pkgutil
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from checker.prove.callgraph import proved_functions
from checker.prove.subset import Function, OutsideSubset, functions_of, source_of
from checker.prove.translate import Translator
from spec import laws, protocol
from spec.maps import Counts
from spec.protocol.state import State
from spec.types import Config
from tests.arbitrary import arguments, choices, walk
from tests.ground import Ground, world

KERNEL = proved_functions(protocol, laws)
LAWS = {f.__name__: f for prefix in ("law_", "control_", "is_", "are_") for f in functions_of(laws, prefix).values()}

# It says what Python computes.


@pytest.mark.parametrize("function", [*KERNEL.values(), *LAWS.values()], ids=[*KERNEL, *LAWS])
def test_kernel_and_laws_mean_what_python_computes(function: Function) -> None:
    @settings(max_examples=3 if function.__name__ in LAWS else 6)
    @given(arguments(function))
    def agrees(drawn: dict[str, object]) -> None:
        ordered = [drawn[name] for name in source_of(function).parameters()]
        assert world([(function, ordered)]) == []

    agrees()


def calls_at(s: State, rnd: random.Random) -> list[tuple[Function, tuple[object, ...]]]:
    """Everything that the protocol can say about a state: claims, and actions with guard and lemmas."""
    functions = functions_of(protocol)
    calls: list[tuple[Function, tuple[object, ...]]] = [
        (f, (s,)) for f in functions.values() if list(source_of(f).parameters()) == ["s"]
    ]
    for action in protocol.ACTIONS:
        name = action.__name__
        chosen = choices(s, name, 7, rnd)
        if chosen is not None:
            about = (name, f"{name}_ok", f"{name}_uses", *functions_of(protocol, f"{name}_lemma_"))
            calls += [(functions[part], (s, *chosen)) for part in about if part in functions]
    return calls


@pytest.mark.first
def test_the_protocol_means_what_python_computes() -> None:
    """In states of walks, and in mixtures of two of them, in which invariants fail."""
    said: set[str] = set()
    false = 0
    for seed in (71, 189):  # walks after which every action can happen
        rnd = random.Random(seed)
        steps = [s for _, _, s in walk(seed, 120, Config(n=2, r=1, w=2))]
        late = max(steps, key=lambda s: sum(bool(getattr(s, name)) for name in s.__struct_fields__))
        early = steps[len(steps) // 3]
        mixed = replace(late, store=early.store, seen=early.seen, minted=early.minted, birth=early.birth)
        for state in (late, mixed):
            calls = calls_at(state, rnd)
            assert world(calls) == []
            said |= {function.__name__ for function, _ in calls}
            false += sum(f(*a) is False for f, a in calls if f.__name__.startswith("inv_"))
    assert {action.__name__ for action in protocol.ACTIONS} <= said
    assert false >= 2, "only true claims were compared"


def test_a_wrong_translation_would_be_noticed() -> None:
    """The comparison itself: a result that Python does not give is a disagreement."""
    a, b = (walk(seed, 120, Config(n=2, r=1, w=2))[-1][2] for seed in (1, 2))
    clock = a.minted
    types = list(source_of(KERNEL["spec.clock.join"]).parameters().values())
    known = [(types[0], clock), (types[1], b.minted)]
    ground = Ground(known)
    claim = ground.agreement(KERNEL["spec.clock.join"], [clock, b.minted], Counts())
    assert ground.disagreements({"join": claim}) == ["join"]


# It refuses the rest.

HEADER = """
from __future__ import annotations
import functools
from functools import reduce
from msgspec import Struct
from msgspec.structs import replace
from spec.clock import Actor, Clock, Dot, covers
from spec.maps import Counts, FMap, FSet, SetMap, implies
from spec.siblings import Version, merge
from spec.types import NodeId
LIMIT = 3.5
class Box(Struct, frozen=True):
    things: tuple[int, ...] = ()
class Pair(Struct, frozen=True):
    a: int
    b: int
"""

REFUSED = [
    # the body of `def f(x: int, s: FSet[NodeId], c: Clock, v: Version, m: FMap[NodeId, Dot]) -> …`, construct, advice
    ("for y in s:\n        pass\n    return x", "the statement `for y in s:`", "use all(), any() or a comprehension"),
    ("for y in s:\n        if x > 1:\n            return x\n    return x", "the statement `for y", "loop may only"),
    ("for y in s:\n        if x > 1:\n            return False\n    return x", "the statement `for y", "loop may only"),
    ("for x in s:\n        if x == x:\n            return True\n    return x", "`for x in s:", "assign each name once"),
    ("for y in s:\n        if y == y:\n            return True\n    return x", "a loop that returns one", "a Boolean"),
    ("while x:\n        pass\n    return x", "the statement `while x:`", "use all(), any()"),
    ("y = x\n    y = 2\n    return y", "`y = 2`", "assign each name once"),
    ("x = 2\n    return x", "`x = 2`", "assign each name once"),
    ("y = x\n    y += 2\n    return y", "the statement `y += 2`", "a name of its own"),
    ("assert x\n    return x", "the statement `assert x`", "premise"),
    ("raise ValueError", "the statement `raise ValueError`", "do not raise"),
    ("if x > 1:\n        return x", "a path that ends without a return", "end every branch"),
    ("print(x)\n    return x", "`print(x)`", "return it"),
    ("def g() -> int:\n        return 1\n    return g()", "the statement `def g() -> int:`", "top of the module"),
    ("return (lambda: x)()", "`lambda: x`", "top of the module"),
    ("return [y for y in s]", "`[y for y in s]`", "FSet.of"),
    ("return {y for y in s}", "`{y for y in s}`", "FSet.of"),
    ("return {x}", "`{x}`", "FSet.of([…])"),
    ("return (x, x)", "`(x, x)`", "use a Struct"),
    ("return x * x", "`x * x`", "use +, -, | and &"),
    ("return x // 2", "`x // 2`", "use +, -, | and &"),
    ("return ~x", "`~x`", "use `not` and `-`"),
    ("return 'a'", "`'a'`", "only integer and Boolean literals"),
    ("return 1.5", "`1.5`", "only integer and Boolean literals"),
    ("return LIMIT", "`LIMIT`", "use a parameter"),
    ("return x is None", "`None`", "only integer and Boolean literals"),
    ("return x or 1", "`x`", "only Booleans are true or false"),
    ("return x if s else 1", "`s`", "only Booleans are true or false"),
    ("return x == s", "`x == s`", "compare values of one type"),
    ("return s <= s", "`s <= s`", "a.issubset(b)"),
    ("return v < v", "`v`", "only integers are added and ordered"),
    ("return v + v", "`v`", "only integers are added and ordered"),
    ("return s + s", "`s + s`", "|, & or -"),
    ("return x & x", "`x & x`", "`and` and `or`"),
    ("return v.dot.size", "Dot.size", "its fields are actor, counter"),
    ("return x.real", "`x.real`", "only Structs have fields"),
    ("return s[0]", "`s[0]`", "only FMap, Counts and SetMap"),
    ("return s.items", "`s.items`", "only Structs have fields"),
    ("return m.remove(v.dot.actor.node)", "`m.remove(v.dot.actor.node)`", "of, keys, set and issubset"),
    ("return any(True for n in m)", "`m`", "an FSet of its keys"),
    ("return v.dot in m", "`m`", "an FSet of its keys"),
    ("return all(s)", "`all(s)`", "all(condition for x in elements)"),
    ("return any(a == b for a, b in s)", "`(a, b)`", "iterate over one name"),
    ("return len(c)", "`len(c)`", "only an FSet is counted"),
    ("return max(x, x, x)", "`max(x, x, x)`", "takes two integers"),
    ("return sum(y for y in s)", "`sum((y for y in s))`", "functions of the specification"),
    ("return functools.reduce(merge, s, s)", "`functools`", "use a parameter, a local name"),
    ("return reduce(max, s, x)", "`reduce(max, s, x)`", "fold by a function of the specification"),
    ("return covers(c, dot=v.dot)", "`covers(c, dot=v.dot)`", "by position"),
    ("return replace(v, dots=v.dot)", "replacing dots of Version", "its fields are dot, context, value"),
    ("return replace(v, dot=x)", "`replace(v, dot=x)`", "field dot of Version is declared otherwise"),
    ("return Dot(v.dot.actor)", "`Dot(v.dot.actor)`", "give every field once: actor, counter"),
    ("return Counts()", "`Counts()`", "write FSet.of(…), Counts.of(…)"),
    ("return Counts.of({a: 1 for a in c if True for b in c})", "`Counts.of(", "{k: value for k in keys}"),
    ("return FSet.of(s)", "`FSet.of(s)`", "FSet.of([…])"),
    ("return FSet.of([x, v])", "`FSet.of([x, v])`", "all of one type"),
    ("return c.set(v.dot.actor, v)", "`c.set(v.dot.actor, v)`", "of the map's type"),
    ("return any(c[Actor(n, n, 1)] == 1 for n in s)", "`Actor(n, n, 1)`", ""),
]


def load(directory: Path, text: str, name: str) -> Callable[..., object]:
    """The function `f` of a module with this source."""
    path = directory / f"{name}.py"
    path.write_text(HEADER + text)
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    function: Callable[..., object] = module.f
    return function


def translate(function: Function) -> None:
    t = Translator()
    t.call(function, list(t.parameters(function).values()))


@pytest.mark.parametrize(("body", "construct", "instead"), REFUSED, ids=[body for body, _, _ in REFUSED])
def test_what_cannot_be_proved_is_refused(tmp_path: Path, body: str, construct: str, instead: str) -> None:
    parameters = "x: int, s: FSet[NodeId], c: Clock, v: Version, m: FMap[NodeId, Dot]"
    name = f"refused_{random.Random(body).randrange(10**12)}"
    with pytest.raises(OutsideSubset) as caught:
        translate(load(tmp_path, f"def f({parameters}) -> object:\n    {body}\n", name))
    problem = caught.value
    assert problem.construct.startswith(construct), problem
    assert instead in problem.instead, problem
    line = HEADER.count("\n") + 2
    assert problem.place.split(" ")[0] in {f"{name}.py:{n}" for n in range(line - 1, line + 3)}, problem


@pytest.mark.parametrize(
    ("definition", "construct"),
    [
        ("@functools.cache\ndef f(x: int) -> int:\n    return x\n", "`functools.cache`"),
        ("def f(x: int = 1) -> int:\n    return x\n", "its parameter list"),
        ("def f(*x: int) -> int:\n    return 1\n", "its parameter list"),
        ("def f(x: float) -> int:\n    return 1\n", "the type <class 'float'>"),
        ("def f(x: tuple[int, ...]) -> int:\n    return 1\n", "the type tuple[int, ...]"),
        ("def f(x: Box) -> bool:\n    return x.things == x.things\n", "the type tuple[int, ...]"),
        ("f = lambda x: x\n", "`<lambda>`"),
        ("def f(x: int) -> int:\n    return x\ndef f(x: int) -> int:\n    return x + 1\n", "`f`"),
    ],
)
def test_definitions_that_cannot_be_proved_are_refused(tmp_path: Path, definition: str, construct: str) -> None:
    name = f"refused_{random.Random(definition).randrange(10**12)}"
    with pytest.raises(OutsideSubset) as caught:
        translate(load(tmp_path, definition, name).__dict__.get("__wrapped__", sys.modules[name].f))
    assert caught.value.construct == construct, caught.value
    assert f"{name}.py" in caught.value.place


def test_the_real_source_is_read_not_the_running_function(tmp_path: Path) -> None:
    function = load(tmp_path, "def f(x: int) -> bool:\n    return x + 1 > x\n", "read_from_file")
    t = Translator()
    (x,) = t.parameters(function).values()
    assert str(t.formula(function, [x])) == "x + 1 > x"


def test_nothing_of_a_package_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim in a file that nobody imports is to be proved like any other, and none hides another of its name."""
    inside = {part.name for part in pkgutil.iter_modules(protocol.__path__)}
    assert {f.__module__.removeprefix("spec.protocol.") for f in functions_of(protocol).values()} == inside
    package = tmp_path / "parted"
    package.mkdir()
    (package / "__init__.py").write_text("def inv_first(s: int) -> bool:\n    return s == 0\n")
    (package / "apart.py").write_text(
        "from parted import inv_first\ndef inv_more(s: int) -> bool:\n    return s == 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(functions_of(importlib.import_module("parted"), "inv_")) == ["inv_first", "inv_more"]
    (package / "twice.py").write_text("def inv_more(s: int) -> bool:\n    return s == 2\n")
    importlib.invalidate_caches()
    with pytest.raises(OutsideSubset, match=r"twice.py: a second `inv_more`"):
        functions_of(importlib.import_module("parted"), "inv_")
