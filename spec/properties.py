"""What the store promises, as named predicates over the explored machine.

Each claim has a *sometimes* twin that shows that the check has something to bite on: it must be met by some state or
transition of every model that claims the property. The predicates are in `spec.version_properties`,
`spec.client_properties` and `spec.replica_properties`.

Properties judge by `spec.history`, by what clients were really shown, never by the clocks they check.
"""

from __future__ import annotations

from msgspec import Struct

from spec.client_properties import (
    a_condition_is_unmet,
    a_get_owes,
    a_put_is_acknowledged,
    a_put_is_indefinite,
    a_request_is_refused,
    an_acknowledgement_is_counted,
    compare_and_swap,
    conditional_put,
    get_quorum,
    no_lost_write,
    put_quorum,
    refusal_is_final,
)
from spec.quorum import AS_CONFIGURED_GET, AS_CONFIGURED_PUT, must_meet, read_quorum, write_quorum
from spec.replica_properties import (
    a_hint_is_let_go,
    a_node_has_caught_up,
    a_stale_answer_is_repaired,
    catches_up,
    every_owner_holds,
    hint_conservation,
    hint_limit,
    placement,
    read_repair,
    there_is_no_room_for_a_hint,
)
from spec.types import Config
from spec.version_properties import (
    a_client_has_seen_something,
    a_put_leaves_a_sibling,
    a_put_minted,
    context_honesty,
    disks_differ,
    dot_uniqueness,
    exact_discard,
    merge_is_join,
    one_dot_per_request,
    only_maximal,
    siblings_exist,
    two_dots_exist,
)
from spec.views import StateCheck, StateWitness, TransitionCheck, TransitionWitness


class Claim(Struct, frozen=True):
    """A property and its *sometimes* twin."""

    name: str
    check: StateCheck | None = None
    """Of every state; exactly one of the two checks is given."""
    step_check: TransitionCheck | None = None
    """Of every transition."""
    witness: StateWitness | None = None
    """Of some state; exactly one of the two witnesses is given."""
    step_witness: TransitionWitness | None = None
    """Of some transition."""


CLAIMS: tuple[Claim, ...] = (
    Claim("dot-uniqueness", check=dot_uniqueness, witness=two_dots_exist),
    Claim("no-lost-write", check=no_lost_write, witness=a_put_is_acknowledged),
    Claim("exact-discard", step_check=exact_discard, step_witness=a_put_leaves_a_sibling),
    Claim("only-maximal", check=only_maximal, witness=siblings_exist),
    Claim("one-dot-per-request", check=one_dot_per_request, witness=a_put_minted),
    Claim("refusal-is-final", check=refusal_is_final, witness=a_request_is_refused),
    Claim("conditional-put", step_check=conditional_put, witness=a_condition_is_unmet),
    Claim("quorum-meaning-put", check=put_quorum, witness=an_acknowledgement_is_counted),
    Claim("quorum-meaning-get", check=get_quorum, step_witness=a_get_owes),
    Claim("context-honesty", check=context_honesty, witness=a_client_has_seen_something),
    Claim("placement", check=placement, witness=every_owner_holds),
    Claim("hint-conservation", step_check=hint_conservation, step_witness=a_hint_is_let_go),
    Claim("merge-is-join", check=merge_is_join, witness=disks_differ),
)


def is_promised(claim: Claim, config: Config, *, wishes: bool = False) -> bool:
    """Whether a store so configured promises what the claim says; with `wishes`, if some requests have their own.

    A get sees puts only where quorums have to meet, among owners: not where others may stand in for them.
    """
    if claim.name == "quorum-meaning-get":
        return wishes or must_meet(
            write_quorum(AS_CONFIGURED_PUT, config), read_quorum(AS_CONFIGURED_GET, config), config
        )
    return claim.name != "hint-conservation" or config.sloppy


EXPLORED_CLAIMS: tuple[Claim, ...] = (
    *CLAIMS,
    Claim("read-repair", step_check=read_repair, step_witness=a_stale_answer_is_repaired),
    Claim("compare-and-swap", check=compare_and_swap, witness=a_put_minted),
    Claim("hint-limit", check=hint_limit, step_witness=there_is_no_room_for_a_hint),
    Claim("catches-up", step_check=catches_up, step_witness=a_node_has_caught_up),
)
"""With those that speak of the network, or of all keys, which no state that is judged of a real run shows."""


WITNESSES: tuple[tuple[str, TransitionWitness, str], ...] = (
    ("a put is indefinite", a_put_is_indefinite, "no-lost-write"),
)
"""Further witnesses: name, witness, and the claim that it bears on."""
