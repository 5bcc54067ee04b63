"""Who uses whom in the specification, by its source: so that what is proved can be shown to be what runs.

A function *uses* every function whose name it mentions, in a call or to pass it on. The walk follows functions at the
top of modules of `spec`; what Structs and collections do by methods belongs to their types.
"""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Iterable

from checker.prove.subset import Function, functions_of, module_tree

VOCABULARY = frozenset({"spec.maps.implies", "spec.siblings.is_antichain"})
"""What claims are made of, and no node computes."""


def name_of(function: Function) -> str:
    """Module and name."""
    return f"{function.__module__}.{function.__name__}"


@functools.cache
def uses(function: Function) -> frozenset[Function]:
    """The functions of the specification that a function mentions."""
    assert isinstance(function, types.FunctionType)
    tree = next(
        node
        for node in module_tree(function.__module__).body
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__
    )
    mentioned: set[object] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            mentioned.add(function.__globals__.get(node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = function.__globals__.get(node.value.id)
            if isinstance(module, types.ModuleType):
                mentioned.add(getattr(module, node.attr, None))
    return frozenset(f for f in mentioned if isinstance(f, types.FunctionType) and is_of_spec(f))


def is_of_spec(function: types.FunctionType) -> bool:
    """Whether a function stands at the top of a module of the specification."""
    return function.__module__.split(".")[0] == "spec" and function.__qualname__ == function.__name__


def reachable(roots: Iterable[Function]) -> frozenset[Function]:
    """The roots, and all that they use, directly or not."""
    found: set[Function] = set()
    waiting = list(roots)
    while waiting:
        function = waiting.pop()
        if function not in found:
            found.add(function)
            waiting += uses(function)
    return frozenset(found)


def proved_functions(protocol: types.ModuleType, laws: types.ModuleType) -> dict[str, Function]:
    """The functions of the kernel that proofs are about: those that the laws, actions and guards use.

    Ghosts, invariants and lemmas of the protocol are claims, and so is their vocabulary.
    """
    claims = {**functions_of(protocol), **functions_of(laws)}
    roots: list[Function] = []
    for action in protocol.ACTIONS:
        roots += [action, claims[f"{action.__name__}_ok"]]
    roots += [f for name, f in claims.items() if name.startswith(("law_", "control_"))]
    kernel = {name_of(f): f for f in reachable(roots) - frozenset(claims.values())}
    return {name: kernel[name] for name in sorted(kernel) if name not in VOCABULARY}


def unreachable_from(root: Function, functions: dict[str, Function]) -> list[str]:
    """Names of functions that a root does not use, directly or not."""
    used = reachable([root])
    return [name for name, function in functions.items() if function not in used]
