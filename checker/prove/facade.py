"""The one place that talks to Z3, and the types that Z3's Python binding lacks.

Terms, sorts and symbols are opaque to everybody else: they are made and taken apart by the functions below. A solver
answers "proved" (the facts and the negated goal contradict each other), "refuted" (they have a model) or "unknown"
(time is up, or the solver gave up); nothing here takes unknown for an answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NewType, TypeAlias

import z3

# Any, in this file: the binding carries no types. Nothing outside sees an untyped value.
Term = NewType("Term", object)
Sort = NewType("Sort", object)
Symbol: TypeAlias = Callable[..., Term]
Verdict: TypeAlias = Literal["proved", "refuted", "unknown"]
Options: TypeAlias = Mapping[str, bool | int]


def _raw(value: object) -> Any:
    return value


# Sorts and symbols.


def int_sort() -> Sort:
    """The integers."""
    sort: Sort = z3.IntSort()
    return sort


def bool_sort() -> Sort:
    """True and False."""
    sort: Sort = z3.BoolSort()
    return sort


def open_sort(name: str) -> Sort:
    """A sort of which only equality is known: any number of elements, at least one."""
    sort: Sort = z3.DeclareSort(name)
    return sort


def finite_sort(name: str, size: int) -> tuple[Sort, tuple[Term, ...]]:
    """A sort of exactly `size` elements, and these; the name must be new to the process."""
    sort, elements = z3.EnumSort(name, [f"{name}!{i}" for i in range(size)])
    return sort, tuple(elements)


def constant(name: str, sort: Sort) -> Term:
    """The constant of this name and sort."""
    term: Term = z3.Const(name, _raw(sort))
    return term


def symbol(name: str, arguments: Sequence[Sort], result: Sort) -> Symbol:
    """The function of this name; a constant if it takes nothing."""
    if not arguments:
        value = constant(name, result)
        return lambda: value
    function: Symbol = z3.Function(name, *map(_raw, arguments), _raw(result))
    return function


# Terms.


def number(value: int) -> Term:
    """An integer literal."""
    term: Term = z3.IntVal(value)
    return term


def truth(value: bool) -> Term:
    """True or False."""
    term: Term = z3.BoolVal(value)
    return term


def conj(parts: Iterable[Term]) -> Term:
    """All of them."""
    kept = [p for p in parts if not is_true(p)]
    term: Term = kept[0] if len(kept) == 1 else z3.And(kept) if kept else z3.BoolVal(True)
    return term


def disj(parts: Iterable[Term]) -> Term:
    """Any of them."""
    kept = [p for p in parts if not is_false(p)]
    term: Term = kept[0] if len(kept) == 1 else z3.Or(kept) if kept else z3.BoolVal(False)
    return term


def neg(term: Term) -> Term:
    """Not."""
    result: Term = z3.Not(_raw(term))
    return result


def entails(premise: Term, conclusion: Term) -> Term:
    """Material implication."""
    result: Term = conclusion if is_true(premise) else z3.Implies(_raw(premise), _raw(conclusion))
    return result


def equal(a: Term, b: Term) -> Term:
    """Equality within one sort."""
    result: Term = z3.BoolVal(True) if _raw(a).eq(_raw(b)) else _raw(a) == _raw(b)
    return result


def choose(condition: Term, then: Term, otherwise: Term) -> Term:
    """The value of a conditional."""
    result: Term = z3.If(_raw(condition), _raw(then), _raw(otherwise))
    return result


ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def arithmetic(operator: str, a: Term, b: Term) -> Term:
    """Sum, difference or comparison of two integers; `operator` is a key of ARITHMETIC."""
    result: Term = ARITHMETIC[operator](a, b)
    return result


def total(terms: Sequence[Term]) -> Term:
    """The sum of integers."""
    result: Term = z3.Sum([_raw(t) for t in terms])
    return result


def forall(variables: Sequence[Term], body: Term, pattern: Sequence[Term] = ()) -> Term:
    """For all values of these constants; `pattern` says which terms make the solver think of it."""
    patterns = [z3.MultiPattern(*pattern)] if pattern else []
    result: Term = z3.ForAll(list(variables), _raw(body), patterns=patterns) if variables else body
    return result


def exists(variables: Sequence[Term], body: Term) -> Term:
    """For some values of these constants."""
    result: Term = z3.Exists(list(variables), _raw(body)) if variables else body
    return result


def substitute(term: Term, *pairs: tuple[Term, Term]) -> Term:
    """The term with constants replaced, all at once."""
    result: Term = z3.substitute(_raw(term), *pairs)
    return result


def is_true(term: Term) -> bool:
    """Whether it is the literal True."""
    return bool(literal(term) == z3.Z3_L_TRUE)


def is_false(term: Term) -> bool:
    """Whether it is the literal False."""
    return bool(literal(term) == z3.Z3_L_FALSE)


def literal(term: Term) -> int:
    """Which literal it is, if any: one call of the solver, where its own binding makes ten."""
    raw = _raw(term)
    return int(z3.Z3_get_bool_value(raw.ctx_ref(), raw.as_ast()))


def same(a: Term, b: Term) -> bool:
    """Whether two terms are written the same."""
    return bool(_raw(a).eq(_raw(b)))


def identity(term: Term) -> int:
    """A number that equal terms share for as long as one of them is alive."""
    return int(_raw(term).get_id())


def integer(term: Term) -> int:
    """The value of an integer literal."""
    return int(_raw(term).as_long())


def conjuncts(term: Term) -> list[Term]:
    """The parts of a conjunction, nested ones too, and of what one quantifier says of all its variables."""
    if z3.is_and(_raw(term)):
        return [part for child in _raw(term).children() for part in conjuncts(child)]
    return [term]


def in_scope(term: Term, universe: Mapping[str, tuple[Term, ...]], done: dict[int, tuple[Term, Term]]) -> Term:
    """The term with every quantifier written out over finite sorts (by name); `done` is shared between calls."""
    raw = _raw(term)
    key = identity(term)
    if key in done:
        return done[key][0]
    result: Any = raw
    if z3.is_quantifier(raw):
        choices = [universe[raw.var_sort(i).name()] for i in range(raw.num_vars())]
        instances = [
            in_scope(z3.substitute_vars(raw.body(), *reversed(chosen)), universe, done)
            for chosen in itertools.product(*choices)
        ]
        result = conj(instances) if raw.is_forall() else disj(instances)
    elif z3.is_app(raw) and raw.num_args():
        parts, function = raw.children(), raw.decl()
        children = [in_scope(part, universe, done) for part in parts]
        if function.kind() == z3.Z3_OP_AND:
            result = conj(children)
        elif function.kind() == z3.Z3_OP_OR:
            result = disj(children)
        elif not all(same(a, b) for a, b in zip(children, parts, strict=True)):
            result = function(*children)
    done[key] = (result, term)
    return done[key][0]


# Solving.


class Model:
    """Values for everything that a solver was asked about."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def value(self, term: Term) -> Term:
        """The literal that the term stands for."""
        result: Term = self._raw.eval(_raw(term), model_completion=True)
        return result


def _solver(timeout_ms: int, seed: int, options: Options) -> Any:
    solver = z3.Solver()
    solver.set("timeout", timeout_ms)
    solver.set("smt.random_seed", seed)
    for name, value in options.items():
        solver.set(name, value)
    return solver


def prove(facts: Iterable[Term], goal: Term, timeout_ms: int, seed: int, options: Options) -> Verdict:
    """Whether the goal follows from the facts."""
    solver = _solver(timeout_ms, seed, options)
    for fact in facts:
        solver.add(fact)
    solver.add(neg(goal))
    answer = solver.check()
    return "proved" if answer == z3.unsat else "refuted" if answer == z3.sat else "unknown"


def needed(
    background: Iterable[Term], facts: Mapping[str, Sequence[Term]], goal: Term, timeout_ms: int, options: Options
) -> frozenset[str] | None:
    """Names of facts that suffice for the goal, few but not always fewest; None if no proof was found."""
    solver = _solver(timeout_ms, 0, options)
    solver.set("smt.core.minimize", True)
    for fact in background:
        solver.add(fact)
    for name, terms in facts.items():
        for i, fact in enumerate(terms):
            solver.assert_and_track(fact, z3.Bool(f"{name}#{i}"))
    solver.add(neg(goal))
    if solver.check() != z3.unsat:
        return None
    return frozenset(str(tracked).split("#")[0] for tracked in solver.unsat_core())


def find_model(facts: Iterable[Term], timeout_ms: int, seed: int = 0) -> Model | Literal["unknown"] | None:
    """A model of the facts; None if there is none."""
    solver = _solver(timeout_ms, seed, {})
    for fact in facts:
        solver.add(fact)
    answer = solver.check()
    if answer == z3.sat:
        return Model(solver.model())
    return None if answer == z3.unsat else "unknown"


def version() -> str:
    """Which Z3 this is."""
    return str(z3.get_version_string())
