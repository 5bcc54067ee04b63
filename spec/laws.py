"""What the kernel promises, for any number of nodes, versions and clocks.

A law is an ordinary predicate over the kernel's own functions that holds of all arguments. `ringspec prove` proves each
from the source of those functions; tests evaluate the same predicates on examples.

* `BY_INDUCTION` names the laws that are proved by induction over a finite set: for the empty set, and for a set with
  one more element, the last in order, if they hold without it. So recursion (`len`, `reduce`) gets its meaning.
* `uses_…` lists instances of earlier laws that the proof of a law may lean on; its parameters are the law's, by name.
* `control_…` is a statement that is false: what a law would say without one of its premises. The prover must find a
  counterexample to each, or it proves too much.

A set of versions is *causally closed* with respect to a history `seen` (version → everything its writer had seen) when
the clocks of its versions tell exactly that history. The protocol keeps all versions that were ever written closed
(`spec.protocol`), and only there is supersession an order.
"""

from __future__ import annotations

from spec.clock import Actor, Clock, covers, descends, join
from spec.maps import FSet, SetMap, implies
from spec.quorum import is_quorum
from spec.siblings import Siblings, Version, add, context_of, is_antichain, is_context, merge, supersedes
from spec.types import NodeId

BY_INDUCTION = {"law_context_of": "siblings", "law_inclusion_exclusion": "a"}

# Clocks: `descends` is a partial order, `join` its least upper bound.


def law_descends_reflexive(a: Clock) -> bool:
    """Every clock descends from itself."""
    return descends(a, a)


def law_descends_transitive(a: Clock, b: Clock, c: Clock) -> bool:
    """Descent passes on."""
    return implies(descends(a, b) and descends(b, c), descends(a, c))


def law_descends_antisymmetric(a: Clock, b: Clock) -> bool:
    """Two clocks that descend from each other are one."""
    return implies(descends(a, b) and descends(b, a), a == b)


def law_join_upper_bound(a: Clock, b: Clock) -> bool:
    """A join descends from both."""
    return descends(join(a, b), a) and descends(join(a, b), b)


def law_join_least(a: Clock, b: Clock, c: Clock) -> bool:
    """Whatever descends from both descends from their join."""
    return implies(descends(c, a) and descends(c, b), descends(c, join(a, b)))


def law_descends_covers(a: Clock, b: Clock, v: Version) -> bool:
    """A clock covers whatever a clock it descends from covers."""
    return implies(descends(a, b) and covers(b, v.dot), covers(a, v.dot))


# Versions: supersession is a strict partial order on causally closed sets.


def is_closed(seen: SetMap[Version, Version], versions: Siblings) -> bool:
    """Whether the clocks of these versions tell exactly the history `seen`, which is transitive and within the set."""
    return (
        all(supersedes(u, v) == (v in seen[u]) for u in versions for v in versions)
        and all(w in seen[u] for u in versions for v in seen[u] for w in seen[v])
        and all(v in versions for u in versions for v in seen[u])
        and all(not supersedes(v, v) for v in versions)
    )


def law_supersedes_irreflexive(seen: SetMap[Version, Version], versions: Siblings) -> bool:
    """No version supersedes itself."""
    return implies(is_closed(seen, versions), all(not supersedes(v, v) for v in versions))


def law_supersedes_transitive(seen: SetMap[Version, Version], versions: Siblings) -> bool:
    """Who saw a version saw what its writer saw."""
    return implies(
        is_closed(seen, versions),
        all(
            implies(supersedes(u, v) and supersedes(v, w), supersedes(u, w))
            for u in versions
            for v in versions
            for w in versions
        ),
    )


def control_supersedes_transitive_unclosed(versions: Siblings) -> bool:
    """False: clocks that tell no history need not be transitive."""
    return all(
        implies(supersedes(u, v) and supersedes(v, w), supersedes(u, w))
        for u in versions
        for v in versions
        for w in versions
    )


# Sibling sets: `merge` is a join that keeps exactly the maximal versions.


def are_siblings(seen: SetMap[Version, Version], written: Siblings, siblings: Siblings) -> bool:
    """Whether a set is one that a replica may hold: versions of a causally closed history, none superseding another."""
    return is_closed(seen, written) and siblings.issubset(written) and is_antichain(siblings)


def law_merge_commutative(a: Siblings, b: Siblings) -> bool:
    """It does not matter who merges whose set."""
    return merge(a, b) == merge(b, a)


def law_merge_idempotent(a: Siblings) -> bool:
    """Merging a set that is already there changes nothing."""
    return implies(is_antichain(a), merge(a, a) == a)


def law_merge_antichain(seen: SetMap[Version, Version], written: Siblings, a: Siblings, b: Siblings) -> bool:
    """Merging sibling sets gives a sibling set."""
    return implies(
        are_siblings(seen, written, a) and are_siblings(seen, written, b), are_siblings(seen, written, merge(a, b))
    )


def law_merge_maximal(seen: SetMap[Version, Version], written: Siblings, a: Siblings, b: Siblings) -> bool:
    """A merge keeps exactly the versions of both that no version of either supersedes."""
    return implies(
        are_siblings(seen, written, a) and are_siblings(seen, written, b),
        merge(a, b) == FSet.of(v for v in a | b if not any(supersedes(u, v) for u in a | b)),
    )


def law_merge_associative(
    seen: SetMap[Version, Version], written: Siblings, a: Siblings, b: Siblings, c: Siblings
) -> bool:
    """It does not matter in which order sets are merged."""
    return implies(
        are_siblings(seen, written, a) and are_siblings(seen, written, b) and are_siblings(seen, written, c),
        merge(merge(a, b), c) == merge(a, merge(b, c)),
    )


def control_merge_associative_unclosed(a: Siblings, b: Siblings, c: Siblings) -> bool:
    """False: without causal closure the order of merging shows."""
    return implies(
        is_antichain(a) and is_antichain(b) and is_antichain(c), merge(merge(a, b), c) == merge(a, merge(b, c))
    )


# Puts.


def law_add_exact(siblings: Siblings, version: Version) -> bool:
    """A put drops exactly the versions that its context covers, and its own version is there."""
    return version in add(siblings, version) and all(
        (v in add(siblings, version)) == (not covers(version.context, v.dot)) for v in siblings if v != version
    )


def law_add_brings_nothing_else(siblings: Siblings, version: Version) -> bool:
    """After a put there is what was there before, and the new version."""
    return add(siblings, version).issubset(siblings | FSet.of([version]))


def law_add_is_merge(siblings: Siblings, version: Version) -> bool:
    """A put of a version that nobody has seen is the merge with that version alone."""
    return implies(
        version not in siblings and all(not supersedes(v, version) for v in siblings),
        add(siblings, version) == merge(siblings, FSet.of([version])),
    )


# Contexts: what a reader is told covers exactly what is shown.


def law_context_of(siblings: Siblings) -> bool:
    """The context computed for a set is the least clock at or above every dot and context in it."""
    return is_context(context_of(siblings), siblings)


def law_context_least(clock: Clock, bound: Clock, siblings: Siblings) -> bool:
    """Every clock at or above all dots and contexts of a set descends from the context of the set."""
    return implies(
        is_context(clock, siblings) and all(covers(bound, v.dot) and descends(bound, v.context) for v in siblings),
        descends(bound, clock),
    )


def law_context_unique(a: Clock, b: Clock, siblings: Siblings) -> bool:
    """There is only one such clock."""
    return implies(is_context(a, siblings) and is_context(b, siblings), a == b)


def uses_context_unique(a: Clock, b: Clock, siblings: Siblings) -> bool:
    """Each descends from the other."""
    return law_context_least(a, b, siblings) and law_context_least(b, a, siblings) and law_descends_antisymmetric(a, b)


def control_context_covers_only_shown(siblings: Siblings, actor: Actor) -> bool:
    """False: a context also covers what the versions shown have superseded."""
    return context_of(siblings)[actor] == 0 or any(v.dot.actor == actor for v in siblings)


# Quorums.


def law_inclusion_exclusion(a: FSet[NodeId], b: FSet[NodeId]) -> bool:
    """How sizes of two sets, of their union and of their intersection hang together."""
    return len(a | b) + len(a & b) == len(a) + len(b)


def law_size_monotone(a: FSet[NodeId], b: FSet[NodeId]) -> bool:
    """A part is no larger than the whole."""
    return implies(a.issubset(b), len(a) <= len(b))


def uses_size_monotone(a: FSet[NodeId], b: FSet[NodeId]) -> bool:
    """The whole is the part and the rest."""
    return law_inclusion_exclusion(a, b - a)


def law_quorum_monotone(a: FSet[NodeId], b: FSet[NodeId], size: int) -> bool:
    """More owners than a quorum are a quorum."""
    return implies(a.issubset(b) and is_quorum(a, size), is_quorum(b, size))


def uses_quorum_monotone(a: FSet[NodeId], b: FSet[NodeId]) -> bool:
    """By size."""
    return law_size_monotone(a, b)


def law_quorum_inhabited(writers: FSet[NodeId], size: int) -> bool:
    """A quorum has a member, if it is to have any: what it acknowledged is somewhere."""
    return implies(size >= 1 and is_quorum(writers, size), any(node in writers for node in writers))


def law_quorum_without(writers: FSet[NodeId], one: NodeId, size: int) -> bool:
    """A quorum but for one node is one of a size less."""
    return implies(is_quorum(writers, size), is_quorum(writers - FSet.of([one]), size - 1))


def law_quorum_of_two(writers: FSet[NodeId], one: NodeId, size: int) -> bool:
    """A quorum of two or more has a member besides any one: what it acknowledged survives the loss of one disk."""
    return implies(size >= 2 and is_quorum(writers, size), any(node != one for node in writers))


def uses_quorum_of_two(writers: FSet[NodeId], one: NodeId, size: int) -> bool:
    """Without that one it is still inhabited."""
    return law_quorum_without(writers, one, size) and law_quorum_inhabited(writers - FSet.of([one]), size - 1)


def law_quorums_intersect(readers: FSet[NodeId], writers: FSet[NodeId], owners: FSet[NodeId], r: int, w: int) -> bool:
    """With R + W > N, whoever asks a read quorum asks somebody of every write quorum; so with PR + PW > N."""
    return implies(
        r + w > len(owners)
        and readers.issubset(owners)
        and writers.issubset(owners)
        and is_quorum(readers, r)
        and is_quorum(writers, w),
        any(node in writers for node in readers),
    )


def uses_quorums_intersect(readers: FSet[NodeId], writers: FSet[NodeId], owners: FSet[NodeId]) -> bool:
    """Together they are no more than the owners."""
    return law_inclusion_exclusion(readers, writers) and law_size_monotone(readers | writers, owners)


def control_quorums_intersect_without_overlap(
    readers: FSet[NodeId], writers: FSet[NodeId], owners: FSet[NodeId], r: int, w: int
) -> bool:
    """False: with R + W <= N a read may miss every copy."""
    return implies(
        r >= 1
        and w >= 1
        and readers.issubset(owners)
        and writers.issubset(owners)
        and is_quorum(readers, r)
        and is_quorum(writers, w),
        any(node in writers for node in readers),
    )
