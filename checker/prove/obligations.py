"""What has to be proved, and from what.

Three groups, in this order, each resting on those before:

1. the laws of the kernel (`spec.laws`), some by induction over a finite set;
2. the library lemmas of the protocol (`lib_…`), for any sets of versions of any state in which the invariants hold;
3. the protocol: `init` states satisfy every invariant; every action, from a state in which its guard and all invariants
   hold, leads to a state in which they hold, by way of its lemmas.

A claim that is a conjunction is proved part by part. A part that reads only what an action leaves alone is the same
formula before and after: it is its own proof.

Each obligation comes with *named facts*: a proof uses few of them, and which is recorded (`facts.json`), for a
solver that is given all gets lost. Predicates that are mostly passed along are *opaque*, that is, a symbol whose
definition is one more named fact: `supersedes`; `stored`, one for each (store, seen), so that what an action leaves
alone stays the same symbol; the quorums, of which the proofs need only what the laws say: a set that contains a quorum
is one, a write quorum has a member, and one of two or more has another besides.
"""

from __future__ import annotations

import ast
import functools
import itertools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from checker.prove import facade as z
from checker.prove.facade import Term
from checker.prove.subset import (
    BOOL,
    INT,
    Function,
    OutsideSubset,
    RecordType,
    Type,
    fields_of,
    functions_of,
    source_of,
)
from checker.prove.translate import Opaque, Translator
from checker.prove.values import EmptySet, Inserted, Record, Scalar, SetValue, Value
from spec.clock import Actor
from spec.quorum import is_quorum
from spec.siblings import Version, supersedes


@dataclass
class Context:
    """What is known while some obligations are proved: assumptions made throughout, and facts to choose from."""

    translator: Translator
    facts: dict[str, list[Term]] = field(default_factory=dict)


@dataclass(frozen=True)
class Obligation:
    """One thing to prove."""

    subject: str
    """A law, a library lemma, `init`, or an action."""
    claim: str
    """What is claimed of it: an invariant, a lemma; `base` or `step` of an induction; `promise` of a construction."""
    part: int
    goal: Term
    context: Context
    usable: tuple[str, ...]
    """Names of the facts that the proof may use."""
    known: tuple[Term, ...] | None = None
    """What is assumed throughout, if not all that is known of the values of the context."""
    note: str = ""
    """What a reader should know of it if it fails."""
    trivial: bool = False
    """Whether the action leaves alone all that the claim reads."""

    @property
    def background(self) -> Sequence[Term]:
        """What is assumed throughout."""
        return self.context.translator.facts if self.known is None else self.known

    @property
    def key(self) -> str:
        """Its name in `facts.json`."""
        return f"{self.subject}/{self.claim}.{self.part}"


Wanted: TypeAlias = Callable[[str], bool]
"""Which subjects to translate: that takes longer than to prove most of what is said of one."""


def everything(_subject: str) -> bool:
    """All of them."""
    return True


# Opaque predicates.

VERSION = RecordType(Version)
PER_STATE = ("stored", "is_loyal")
"""Predicates of a state of the protocol that its invariants pass along; the second parameter of the first is a node."""


def opaque_supersedes(t: Translator, arguments: Sequence[Value]) -> Value:
    """A relation between versions."""
    version = t.sort(VERSION)
    return Scalar(t.apply("supersedes", [version, version], z.bool_sort(), [t.term(a) for a in arguments]), BOOL)


def definition_of_supersedes(t: Translator) -> Term:
    """What the relation stands for."""
    u, v = (Scalar(z.constant(name, t.sort(VERSION)), VERSION) for name in ("u!", "v!"))
    symbol = t.term(opaque_supersedes(t, [u, v]))
    return z.forall([u.term, v.term], z.equal(symbol, t.term(t.unfold(supersedes, [u, v]))), [symbol])


def opaque_quorum(node: Type) -> Opaque:
    """Whether a set contains one of a family of sets of nodes: all that monotony says of quorums of a size."""

    def interpret(t: Translator, arguments: Sequence[Value]) -> Value:
        nodes, size = arguments
        assert isinstance(nodes, SetValue)
        family, nodes_sort = z.open_sort("quorum"), t.sort(node)
        q, n = z.constant("q!", family), z.constant("n!", nodes_sort)
        is_one = t.apply("is quorum", [family, t.sort(INT)], z.bool_sort(), [q, t.term(size)])
        inside = t.apply("in quorum", [family, nodes_sort], z.bool_sort(), [q, n])
        return Scalar(z.exists([q], z.conj([is_one, z.forall([n], z.entails(inside, nodes.has(n)), [inside])])), BOOL)

    return interpret


def quorums_inhabited(t: Translator, node: Type) -> Term:
    """A quorum that is to have a member has one: `law_quorum_inhabited`, as a fact of the opaque quorums."""
    family, node_sort, int_sort = z.open_sort("quorum"), t.sort(node), t.sort(INT)
    q, size = z.constant("q!", family), z.constant("size!", int_sort)
    is_one = t.apply("is quorum", [family, int_sort], z.bool_sort(), [q, size])
    member = t.apply("member of quorum", [family], node_sort, [q])
    inside = t.apply("in quorum", [family, node_sort], z.bool_sort(), [q, member])
    return z.forall([q, size], z.entails(z.conj([is_one, z.arithmetic(">=", size, z.number(1))]), inside), [is_one])


def quorums_of_two(t: Translator, node: Type) -> Term:
    """A quorum of two or more has a member besides any one: `law_quorum_of_two`, as such a fact."""
    family, node_sort, int_sort = z.open_sort("quorum"), t.sort(node), t.sort(INT)
    q, size, n = z.constant("q!", family), z.constant("size!", int_sort), z.constant("n!", node_sort)
    is_one = t.apply("is quorum", [family, int_sort], z.bool_sort(), [q, size])

    def inside(element: Term) -> Term:
        return t.apply("in quorum", [family, node_sort], z.bool_sort(), [q, element])

    other = t.apply("other member", [family, node_sort], node_sort, [q, n])
    premise = z.conj([is_one, z.arithmetic(">=", size, z.number(2))])
    found = z.conj([inside(other), z.neg(z.equal(other, n))])
    return z.forall([q, size, n], z.entails(premise, found), [is_one, inside(n)])


def quorums_meet(t: Translator, node: Type, elements: SetValue, size: Term) -> Term:
    """Quorums of a set that has fewer elements than both together meet: `law_quorums_intersect`, as such a fact."""
    family, node_sort, int_sort = z.open_sort("quorum"), t.sort(node), t.sort(INT)
    p, q = z.constant("p!", family), z.constant("q!", family)
    m, n = z.constant("m!", int_sort), z.constant("n!", int_sort)
    x = z.constant("x!", node_sort)

    def is_one(quorum: Term, least: Term) -> Term:
        return t.apply("is quorum", [family, int_sort], z.bool_sort(), [quorum, least])

    def inside(quorum: Term, element: Term) -> Term:
        return t.apply("in quorum", [family, node_sort], z.bool_sort(), [quorum, element])

    def part(quorum: Term) -> Term:
        return z.forall([x], z.entails(inside(quorum, x), elements.has(x)), [inside(quorum, x)])

    shared = t.apply("member of both", [family, family], node_sort, [p, q])
    premise = z.conj([is_one(p, m), is_one(q, n), part(p), part(q), z.arithmetic(">", z.arithmetic("+", m, n), size)])
    return z.forall(
        [p, q, m, n], z.entails(premise, z.conj([inside(p, shared), inside(q, shared)])), [is_one(p, m), is_one(q, n)]
    )


class PerState:
    """A predicate of a state and more, opaque: one symbol for each value of the fields of the state that it reads."""

    def __init__(self, function: Function, reads: Sequence[str]) -> None:
        self.function, self.reads = function, tuple(reads)
        self.symbols: dict[tuple[int, ...], tuple[str, Value]] = {}

    def fork(self) -> PerState:
        """The same, to go on apart."""
        fork = PerState(self.function, self.reads)
        fork.symbols = dict(self.symbols)
        return fork

    def __call__(self, t: Translator, arguments: Sequence[Value]) -> Value:
        """The symbol of a state, applied."""
        state, *rest = arguments
        assert isinstance(state, Record)
        key = tuple(id(state.fields[name]) for name in self.reads)
        if key not in self.symbols:
            when = "before" if not self.symbols else "after" if len(self.symbols) == 1 else f"{len(self.symbols)}"
            self.symbols[key] = (f"{self.function.__name__} {when}", state)
        over = [t.sort(a.type) for a in rest]
        return Scalar(t.apply(self.symbols[key][0], over, z.bool_sort(), [t.term(a) for a in rest]), BOOL)

    def definitions(self, t: Translator) -> Iterator[tuple[str, Term]]:
        """What each symbol stands for."""
        types_ = list(source_of(self.function).parameters().values())[1:]
        for name, state in list(self.symbols.values()):
            rest = [Scalar(z.constant(f"{i}!", t.sort(type_)), type_) for i, type_ in enumerate(types_)]
            symbol = t.term(self(t, [state, *rest]))
            meaning = t.term(t.unfold(self.function, [state, *rest]))
            yield name, z.forall([r.term for r in rest], z.equal(symbol, meaning), [symbol])


# Laws.


def law_obligations(laws: types.ModuleType, wanted: Wanted = everything) -> Iterator[Obligation]:
    """Each law that is wanted, once with supersession opaque: unfolding it is one of the facts."""
    for name, law in functions_of(laws, "law_").items():
        check_uses(laws, name)
        if not wanted(name):
            continue
        parameter = laws.BY_INDUCTION.get(name)
        if parameter is None:
            t = Translator({supersedes: opaque_supersedes})
            arguments = t.parameters(law)
            yield from law_parts(laws, name, "law", t, t.formula(law, list(arguments.values())), arguments, [])
        else:
            yield from induction(laws, name, law, parameter)


def induction(laws: types.ModuleType, name: str, law: Function, parameter: str) -> Iterator[Obligation]:
    """A law for the empty set, and for a set with one more element if it holds without."""
    t = Translator({supersedes: opaque_supersedes})
    arguments = t.parameters(law)
    whole = arguments[parameter]
    assert isinstance(whole, SetValue)
    empty = SetValue(whole.type, lambda _: z.truth(False), EmptySet())
    base = {**arguments, parameter: empty}
    yield from law_parts(laws, name, "base", t, t.formula(law, list(base.values())), base, [])

    t = Translator({supersedes: opaque_supersedes})
    arguments = t.parameters(law)
    rest = arguments[parameter]
    assert isinstance(rest, SetValue)
    assert rest.type.element is not None
    last = t.fresh(rest.type.element, "last")
    assert isinstance(last, Scalar)
    one, old = last, rest
    more = SetValue(rest.type, lambda x: z.disj([old.has(x), z.equal(x, one.term)]), Inserted(rest, last))
    hypothesis = [t.formula(law, list(arguments.values())), z.neg(rest.has(last.term))]
    step = {**arguments, parameter: more}
    goal = t.formula(law, list(step.values()))
    yield from law_parts(laws, name, "step", t, goal, {**step, "last": last}, hypothesis)


def law_parts(
    laws: types.ModuleType,
    name: str,
    claim: str,
    t: Translator,
    goal: Term,
    arguments: Mapping[str, Value],
    hypothesis: list[Term],
) -> Iterator[Obligation]:
    """The parts of a law, and what its constructions promise."""
    helper = functions_of(laws).get(name.replace("law_", "uses_", 1))
    facts = {"hypothesis": hypothesis}
    if helper is not None:
        facts["uses"] = [t.formula(helper, [arguments[p] for p in source_of(helper).parameters()])]
    facts["size"] = size_facts(t, [a for a in arguments.values() if isinstance(a, Scalar)])
    facts["supersedes"] = [definition_of_supersedes(t)]
    context = Context(t, facts)
    usable = tuple(fact for fact in facts if facts[fact])
    for i, part in enumerate(z.conjuncts(goal)):
        yield Obligation(name, claim, i, part, context, usable)
    for i, promise in enumerate(t.promises):
        yield Obligation(name, f"promise of {claim}", i, promise.owed, context, usable, promise.known, promise.what)


def size_facts(t: Translator, elements: Sequence[Scalar]) -> list[Term]:
    """What `len` means, for the sets that were measured: zero for the empty set, one more for one more element."""
    facts: list[Term] = []
    for a, size in t.cardinalities:
        assert a.type.element is not None
        e = z.constant("e!size", t.sort(a.type.element))
        facts.append(z.arithmetic(">=", size, z.number(0)))
        facts.append(z.equal(z.equal(size, z.number(0)), z.forall([e], z.neg(a.has(e)))))
        for b, other in t.cardinalities:
            if b is a:
                continue
            facts.append(z.entails(z.forall([e], z.equal(a.has(e), b.has(e))), z.equal(size, other)))
            for x in elements:
                if x.type == a.type.element:
                    grown = z.forall([e], z.equal(b.has(e), z.disj([a.has(e), z.equal(e, x.term)])))
                    larger = z.arithmetic("+", size, z.choose(a.has(x.term), z.number(0), z.number(1)))
                    facts.append(z.entails(grown, z.equal(other, larger)))
    return facts


def check_uses(module: types.ModuleType, law: str) -> None:
    """Refuse a `uses_` function that leans on anything but laws (or library lemmas) defined before its own."""
    prefix = law.split("_")[0] + "_"
    helper = functions_of(module).get(law.replace(prefix, "uses_", 1))
    if helper is None:
        return
    names = list(functions_of(module))
    called = source_of(helper).tree
    for node in ast.walk(called):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            other = node.func.id
            if not other.startswith(prefix) or names.index(other) >= names.index(law):
                raise OutsideSubset(
                    source_of(helper).place(node), f"`{other}`", f"use only {prefix}… defined before {law}"
                )


# The protocol.


class Protocol:
    """The named parts of a protocol, a module or a package with `ACTIONS` and the functions that belong to them."""

    def __init__(self, module: types.ModuleType) -> None:
        self.functions = functions_of(module)
        self.invariants = self.named("inv_")
        self.libraries = self.named("lib_")
        self.opaque = [self.functions[name] for name in PER_STATE]
        (state,) = source_of(self.functions["init"]).parameters().values()
        assert isinstance(state, RecordType), "a state is a Struct"
        self.state = state
        self.node = list(source_of(self.opaque[0]).parameters().values())[1]
        self.kernel: dict[Function, Opaque] = {supersedes: opaque_supersedes, is_quorum: opaque_quorum(self.node)}
        self._states: dict[tuple[tuple[str, int], ...] | None, AnyState] = {}
        self.actions = {action.__name__: action for action in module.ACTIONS}
        for action in self.actions.values():
            if f"{action.__name__}_ok" not in self.functions:
                raise OutsideSubset(
                    source_of(action).place(source_of(action).tree), "an action without guard", "add it"
                )

    def lemmas(self, action: str) -> dict[str, Function]:
        """The lemmas of an action, in order."""
        return self.named(f"{action}_lemma_")

    def named(self, prefix: str) -> dict[str, Function]:
        """The functions whose name begins so, in order."""
        return {name: function for name, function in self.functions.items() if name.startswith(prefix)}

    def translator(self, scope: Mapping[str, int] | None = None) -> tuple[Translator, tuple[PerState, ...]]:
        """A translation with the opaque predicates; in a finite scope nothing is opaque."""
        if scope is not None:
            return Translator(scope=scope), ()
        per_state = tuple(PerState(function, self.reads(function)) for function in self.opaque)
        return Translator({**self.kernel, **{p.function: p for p in per_state}}), per_state

    @functools.cached_property
    def footprints(self) -> dict[str, tuple[str, ...]]:
        """What each invariant reads."""
        return {name: self.reads(invariant) for name, invariant in self.invariants.items()}

    def reads(self, function: Function) -> tuple[str, ...]:
        """The fields of the state that a predicate reads, itself or through others."""
        t = Translator(self.kernel)
        t.call(function, [t.fresh(self.state, "s"), *t.parameters(function, skip=1).values()])
        return tuple(name for name in fields_of(self.state.cls) if (self.state.cls, name) in t.fields_read)

    def any_state(self, scope: Mapping[str, int] | None = None) -> AnyState:
        """Any state, translated once for all actions."""
        key = None if scope is None else tuple(sorted(scope.items()))
        if key not in self._states:
            t, opaque = self.translator(scope)
            state = t.fresh(self.state, "s")
            holds = {name: t.formula(invariant, [state]) for name, invariant in self.invariants.items()}
            self._states[key] = AnyState(t, opaque, state, holds)
        known = self._states[key]
        t, opaque = known.translator.fork(), tuple(predicate.fork() for predicate in known.opaque)
        t.opaque.update({predicate.function: predicate for predicate in opaque})
        return AnyState(t, opaque, known.state, known.holds)

    def step(self, action: str, scope: Mapping[str, int] | None = None) -> Step:
        """An action from any state."""
        return Step(self, action, scope)


@functools.cache
def protocol_of(module: types.ModuleType) -> Protocol:
    """The parts of a module, found once: to look for counterexamples begins with what the proofs began with."""
    return Protocol(module)


@dataclass(frozen=True)
class AnyState:
    """Any state of the protocol, and what the invariants say of it."""

    translator: Translator
    opaque: tuple[PerState, ...]
    state: Value
    holds: dict[str, Term]

    def definitions(self, t: Translator) -> Iterator[tuple[str, Term]]:
        """What the opaque predicates of the states met so far stand for."""
        return itertools.chain.from_iterable([*predicate.definitions(t)] for predicate in self.opaque)


class Step:
    """An action, translated: any state and parameters, the next state, and every claim about them."""

    def __init__(self, protocol: Protocol, action: str, scope: Mapping[str, int] | None = None) -> None:
        self.protocol, self.action = protocol, action
        known = protocol.any_state(scope)
        self.t, self.state, self.before = known.translator, known.state, known.holds
        t, perform = self.t, protocol.actions[action]
        self.parameters = t.parameters(perform, skip=1)
        self.arguments = [self.state, *self.parameters.values()]
        self.guard = t.formula(protocol.functions[f"{action}_ok"], self.arguments)
        self.next = t.call(perform, self.arguments)
        self.lemmas = {name: t.formula(lemma, self.arguments) for name, lemma in protocol.lemmas(action).items()}
        self.after = {name: self.later(name) for name in protocol.invariants}
        self.facts = {"guard": [self.guard], **{name: [term] for name, term in (self.before | self.lemmas).items()}}
        uses = protocol.functions.get(f"{action}_uses")
        if uses is not None:
            check_library_uses(protocol, uses)
            self.facts["library"] = [t.formula(uses, self.arguments)]
        if scope is None:
            node = protocol.node
            self.facts["supersedes"] = [definition_of_supersedes(t)]
            self.facts["quorums"] = [quorums_inhabited(t, node), quorums_of_two(t, node)]
            self.facts["quorums meet"] = [
                quorums_meet(t, node, a, size) for a, size in t.cardinalities if a.type.element == node
            ]
            self.facts["same actor"] = [t.extensionality(RecordType(Actor))]
            for name, meaning in known.definitions(t):
                self.facts[name] = [meaning]

    def later(self, invariant: str) -> Term:
        """An invariant of the next state; the same as before, if it reads only what the action leaves alone."""
        before, after = self.state, self.next
        assert isinstance(before, Record)
        assert isinstance(after, Record)
        if all(after.fields[name] is before.fields[name] for name in self.protocol.footprints[invariant]):
            return self.before[invariant]
        return self.t.formula(self.protocol.invariants[invariant], [after])

    def obligations(self) -> Iterator[Obligation]:
        """Promises of its constructions, its lemmas one after the other, and every invariant after it."""
        context = Context(self.t, self.facts)
        lemmas = list(self.lemmas)
        general = tuple(name for name in self.facts if name not in lemmas)
        for i, promise in enumerate(self.t.promises):
            yield Obligation(self.action, "promise", i, promise.owed, context, general, promise.known, promise.what)
        for k, (name, term) in enumerate(self.lemmas.items()):
            for i, part in enumerate(z.conjuncts(term)):
                yield Obligation(self.action, name, i, part, context, (*general, *lemmas[:k]))
        for name, term in self.after.items():
            known = z.conjuncts(self.before[name])
            for i, part in enumerate(z.conjuncts(term)):
                trivial = any(z.same(part, other) for other in known)
                yield Obligation(self.action, name, i, part, context, (*general, *lemmas), trivial=trivial)


def check_library_uses(protocol: Protocol, uses: Function) -> None:
    """Refuse a `<action>_uses` function that claims anything but library lemmas."""
    for node in ast.walk(source_of(uses).tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in protocol.libraries:
            raise OutsideSubset(source_of(uses).place(node), f"`{node.func.id}`", "use only lib_… lemmas")


def protocol_obligations(module: types.ModuleType, wanted: Wanted = everything) -> Iterator[Obligation]:
    """The library lemmas, the base case, and every action, as far as they are wanted."""
    protocol = protocol_of(module)
    for name, lemma in protocol.libraries.items():
        check_uses(module, name)
        if not wanted(name):
            continue
        known = protocol.any_state()
        t = known.translator
        arguments = {"s": known.state, **t.parameters(lemma, skip=1)}
        facts = {inv: [term] for inv, term in known.holds.items()}
        goal = t.formula(lemma, list(arguments.values()))
        helper = protocol.functions.get(name.replace("lib_", "uses_", 1))
        if helper is not None:
            facts["uses"] = [t.formula(helper, [arguments[p] for p in source_of(helper).parameters()])]
        facts["supersedes"] = [definition_of_supersedes(t)]
        for symbol, meaning in known.definitions(t):
            facts[symbol] = [meaning]
        for i, part in enumerate(z.conjuncts(goal)):
            yield Obligation(name, "lemma", i, part, Context(t, facts), tuple(facts))
    if wanted("init"):
        known = protocol.any_state()
        t = known.translator
        facts = {"init": [t.formula(protocol.functions["init"], [known.state])]}
        for symbol, meaning in known.definitions(t):
            facts[symbol] = [meaning]
        for name, goal in known.holds.items():
            for i, part in enumerate(z.conjuncts(goal)):
                yield Obligation("init", name, i, part, Context(t, facts), tuple(facts))
    for action in protocol.actions:
        if wanted(action):
            yield from protocol.step(action).obligations()
