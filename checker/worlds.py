"""The vocabulary in which models are written: what a model is, what clients do, who they are, what may go wrong.

Worlds are small: a few nodes on a ring of one partition, one key, a task or two for each client. Nodes are named by
their place in the walk of that key, so that a model says whether its clients ask an owner of it or another node.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from spec.properties import EXPLORED_CLAIMS
from spec.quorum import GetWishes, PutWishes
from spec.ring import Member, build_ring, owners_of
from spec.types import Config, Key, Limits, NodeId
from spec.world import BlindPut, Faults, Look, Scenario, SeenPut, ShownPut, Task


class Model(Struct, frozen=True, kw_only=True):
    """A named world and what is claimed of it."""

    about: str
    scenario: Scenario
    claims: tuple[str, ...]
    must_fail: str = ""
    """The claim that is false here on purpose."""
    too_large: bool = False
    """Whether only what stands for its states can be searched to the end (`ringspec check --reduce`)."""
    endless: bool = False
    """Whether it is there to be walked over (`ringspec simulate`): no search comes to its end."""


P, G, S, V = BlindPut(), Look(), SeenPut(), ShownPut()
PUT_ONE, PUT_ALL, PUT_TWO = BlindPut(PutWishes(w="one")), BlindPut(PutWishes(w="all")), BlindPut(PutWishes(pw=2))
GET_ONE, GET_ALL, GET_TWO = Look(GetWishes(r="one")), Look(GetWishes(r="all")), Look(GetWishes(pr=2))
IF_NONE, IF_SAME = BlindPut(condition="none-match"), SeenPut(condition="context-unchanged")
GET_ANY = Look(GetWishes(r="one", notfound_ok=False))
GET_MOST = Look(GetWishes(r="one", notfound_ok=False, basic_quorum=True))
KEY = Key(b"cart")

PUT_CLAIMS = (
    "dot-uniqueness",
    "no-lost-write",
    "exact-discard",
    "only-maximal",
    "one-dot-per-request",
    "quorum-meaning-put",
    "placement",
    "merge-is-join",
)
# In most models there is no occasion.
ELSEWHERE = (
    "refusal-is-final",
    "hint-conservation",
    "hint-limit",
    "catches-up",
    "conditional-put",
    "compare-and-swap",
)
ALL_CLAIMS = tuple(claim.name for claim in EXPLORED_CLAIMS if claim.name not in ELSEWHERE)
HINT_CLAIMS = (
    "no-lost-write",
    "one-dot-per-request",
    "quorum-meaning-put",
    "placement",
    "hint-conservation",
)
SHOWN_HINT_CLAIMS = (*HINT_CLAIMS, "context-honesty")
ONE_PUT_CLAIMS = (
    "no-lost-write",
    "one-dot-per-request",
    "quorum-meaning-put",
    "quorum-meaning-get",
    "context-honesty",
    "read-repair",
)


CONDITION_CLAIMS = ("conditional-put", "one-dot-per-request", "refusal-is-final", "no-lost-write")
WISH_CLAIMS = ("no-lost-write", "quorum-meaning-put", "quorum-meaning-get")


def world(
    *programs: tuple[Task, ...],
    nodes: int = 3,
    n: int = 3,
    r: int = 2,
    w: int = 2,
    contacts: tuple[NodeId, ...] = (),
    faults: Faults = Faults(),  # noqa: B008 - immutable
    limits: Limits = Limits(),  # noqa: B008 - immutable
    patience: int = 0,
    suspicious: tuple[NodeId, ...] | None = None,
    strict: bool = False,
    losing: tuple[NodeId, ...] = (),
) -> Scenario:
    """A scenario of n replicas on a small ring; clients may ask any node unless told whom."""
    config = Config(n=n, r=r, w=w, partitions=1, tokens=1, sloppy=suspicious is not None and not strict, limits=limits)
    members = tuple(Member(NodeId(chr(ord("a") + i))) for i in range(nodes))
    everyone = tuple(member.name for member in members)
    return Scenario(
        config=config,
        members=members,
        key=KEY,
        programs=programs,
        contacts=contacts or everyone,
        faults=faults,
        suspicious=suspicious or (),
        losing=losing,
        patience=patience,
    )


def blocking(scenario: Scenario) -> Scenario:
    """The same, with repair before the reply."""
    return replace(scenario, config=replace(scenario.config, blocking_repair=True))


def walk(nodes: int, n: int = 3) -> tuple[NodeId, ...]:
    """All nodes of a world, in the order of the key's walk: its owners first."""
    scenario = world((), nodes=nodes, n=n, r=1, w=1)
    return owners_of(build_ring(scenario.members, scenario.config), KEY, nodes)


DROP, DUPLICATE, CRASH, CUT = Faults(drops=1), Faults(duplicates=1), Faults(crashes=1), Faults(cuts=1)
WIPE, RESTORE = Faults(wipes=1), Faults(backups=1, restores=1)
ONE_AT_A_TIME = Limits(requests_in_flight=1)
SHORT_MEMORY = Limits(remembered_requests=1)
ONE_HINT = Limits(hints=1)
FIRST, SECOND, *_, OFF = walk(4)
PAIR = walk(2, n=2)
*OWNERS, OFF_PAIR = walk(3, n=2)
*_, STAND_IN = walk(2, n=1)
*_, OFF_TWO = walk(4, n=2)


def both(a: Faults, b: Faults) -> Faults:
    """The budgets of two kinds of fault together."""
    return Faults(**{kind: getattr(a, kind) + getattr(b, kind) for kind in Faults.__struct_fields__})


def preset(n: int, w: int, r: int) -> Model:
    """A choice of quorums that everybody knows, in the same small world as the others."""
    return Model(
        about=f"(N, W, R) = ({n}, {w}, {r}): a put, a get, a lost message, a crash and restart",
        scenario=world((P, G), n=n, w=w, r=r, faults=Faults(drops=1, crashes=1)),
        claims=ONE_PUT_CLAIMS,
        must_fail="" if w + r > n else "quorum-meaning-get",
    )


FAULTS: dict[str, tuple[str, Faults]] = {
    "crash": ("any one node crashes, at any moment, and comes back", CRASH),
    "drop": ("any one message is lost", DROP),
    "duplicate": ("any one message is repeated", DUPLICATE),
    "cut": ("the network is cut in two, in any way, and heals", CUT),
}


def updates(about: str, faults: Faults = Faults(), *, repeating: bool = False) -> Model:  # noqa: B008 - immutable
    """Two clients, each of which reads and then writes back with the context of what it saw, under these faults."""
    scenario = replace(world((G, S), (G, S), faults=faults), repeating=repeating)
    return Model(
        about=f"two clients read and write back; {about}", scenario=scenario, claims=ALL_CLAIMS, too_large=True
    )


def standing_in(about: str, *programs: tuple[Task, ...], faults: Faults = Faults()) -> Model:  # noqa: B008 - immutable
    """Four nodes, three replicas: what clients do at the first owner, which may come to suspect any other, once."""
    scenario = world(
        *programs, nodes=4, contacts=(FIRST,), suspicious=(FIRST,), faults=both(Faults(suspicions=1), faults)
    )
    return Model(about=f"four nodes, a suspicion; {about}", scenario=scenario, claims=SHOWN_HINT_CLAIMS)


SLOPPY_CLAIMS = tuple(name for name in (*ALL_CLAIMS, "hint-conservation") if name != "quorum-meaning-get")
