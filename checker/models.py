"""The named worlds that `ringspec check` knows.

A model is a scenario and the claims made of it. Those marked *must fail* are controls: configurations in which a claim
is false, which the checker has to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from msgspec import Struct
from msgspec.structs import replace

from checker.cluster_machine import ClusterMachine
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


MODELS: dict[str, Model] = {
    "puts-get": Model(
        about="two concurrent puts, then a get by one of the two clients",
        scenario=world((P, G), (P,)),
        claims=ALL_CLAIMS,
    ),
    "puts-get-drop": Model(
        about="the same, and any one message is lost", scenario=world((P, G), (P,), faults=DROP), claims=ALL_CLAIMS
    ),
    "puts-get-duplicate": Model(
        about="the same, and any one message is repeated",
        scenario=world((P, G), (P,), faults=DUPLICATE),
        claims=ALL_CLAIMS,
    ),
    "puts-get-crash": Model(
        about="the same, and any one node crashes, at any moment, and comes back",
        scenario=world((P, G), (P,), faults=CRASH),
        claims=ALL_CLAIMS,
    ),
    "puts-get-cut": Model(
        about="the same, and the network is cut in two, in any way, and heals",
        scenario=world((P, G), (P,), faults=CUT),
        claims=ALL_CLAIMS,
    ),
    "puts": Model(about="two concurrent puts", scenario=world((P,), (P,)), claims=PUT_CLAIMS),
    "puts-crash": Model(
        about="two concurrent puts and a crash", scenario=world((P,), (P,), faults=CRASH), claims=PUT_CLAIMS
    ),
    "put-get-drop": Model(
        about="a put, a get, a lost message", scenario=world((P, G), faults=DROP), claims=ONE_PUT_CLAIMS
    ),
    "put-get-duplicate": Model(
        about="a put, a get, a repeated message", scenario=world((P, G), faults=DUPLICATE), claims=ONE_PUT_CLAIMS
    ),
    "put-get-crash": Model(
        about="a put, a get, a crash and restart", scenario=world((P, G), faults=CRASH), claims=ONE_PUT_CLAIMS
    ),
    "put-get-cut": Model(
        about="a put, a get, a cut that heals", scenario=world((P, G), faults=CUT), claims=ONE_PUT_CLAIMS
    ),
    "reconcile": Model(
        about="a client reads and writes back what it saw, while another writes blindly",
        scenario=world((G, S), (P,)),
        claims=ALL_CLAIMS,
    ),
    "forward": Model(
        about="four nodes; one client asks a node that does not own the key",
        scenario=world((P, G), (P,), nodes=4, contacts=(OFF,)),
        claims=ALL_CLAIMS,
    ),
    "forward-duplicate": Model(
        about="a put and a get through a node that does not own the key, and a repeated message",
        scenario=world((P, G), nodes=4, contacts=(OFF,), faults=DUPLICATE),
        claims=ONE_PUT_CLAIMS,
    ),
    "refuse": Model(
        about="nodes serve one request at a time; a client at an owner, or at a node that forwards; a repeated message",
        scenario=world((P,), (P,), nodes=4, contacts=(FIRST, OFF), faults=DUPLICATE, limits=ONE_AT_A_TIME),
        claims=("refusal-is-final", "one-dot-per-request"),
    ),
    "ask-again": Model(
        about="clients that do not know what came of a put ask again, of a row that remembers one request",
        scenario=world((P,), (P,), contacts=(FIRST,), limits=SHORT_MEMORY, patience=1),
        claims=PUT_CLAIMS,
    ),
    "ask-again-crash": Model(
        about="a client that does not know what came of a put asks again, and its node may crash",
        scenario=world((P,), contacts=(FIRST,), limits=SHORT_MEMORY, patience=2, faults=CRASH),
        claims=("one-dot-per-request", "no-lost-write"),
    ),
    "refuse-again": Model(
        about="clients that do not know what came of a put ask again, of a node that serves one request at a time",
        scenario=world((P,), (P,), contacts=(FIRST,), limits=ONE_AT_A_TIME, patience=1),
        claims=("refusal-is-final", "one-dot-per-request"),
    ),
    "show": Model(
        about="a client is shown what its put left, and writes over it, while another writes blindly",
        scenario=world((V, S), (P,), contacts=(FIRST,)),
        claims=(*PUT_CLAIMS, "context-honesty"),
    ),
    "sloppy-put-put": Model(
        about="three nodes, two puts of one client; whoever is late is owed them",
        scenario=world((P, P), contacts=(FIRST,), suspicious=()),
        claims=("no-lost-write", "quorum-meaning-put", "hint-conservation"),
    ),
    "sloppy-ask-again": Model(
        about="a put through a node that owns nothing of the key, asked for again; whoever is late is owed it",
        scenario=world((P,), nodes=4, contacts=(OFF,), suspicious=(), patience=1),
        claims=("no-lost-write", "one-dot-per-request", "quorum-meaning-put", "hint-conservation"),
    ),
    "sloppy-ask-elsewhere": Model(
        about="two replicas; a put through a node that owns nothing, which may suspect whom it asked and ask another",
        scenario=world(
            (P,),
            nodes=4,
            n=2,
            contacts=(OFF_TWO,),
            suspicious=(OFF_TWO,),
            faults=Faults(suspicions=1),
            patience=1,
        ),
        claims=HINT_CLAIMS,
    ),
    "stand-in-ask-again": Model(
        about="one replica; the other node asks its owner to coordinate a put, or stands in for it, and is asked again",
        scenario=world(
            (P,),
            nodes=2,
            n=1,
            r=1,
            w=1,
            contacts=(STAND_IN,),
            suspicious=(STAND_IN,),
            faults=Faults(suspicions=2),
            patience=2,
        ),
        claims=("one-dot-per-request", "placement", "hint-conservation"),
    ),
    "sloppy-puts": Model(
        about="two puts, one of them through the node that owns nothing of the key; one suspicion",
        scenario=world(
            (P,), (P,), nodes=4, contacts=(FIRST, OFF), suspicious=(FIRST, OFF), faults=Faults(suspicions=1)
        ),
        claims=HINT_CLAIMS,
    ),
    "show-two": Model(
        about="a client is shown what its put left and writes over it, while another writes; through two nodes",
        scenario=world((V, S), (P,), contacts=(FIRST, SECOND)),
        claims=("exact-discard", "context-honesty"),
    ),
    "stand-in-again": Model(
        about="one replica; the other node stands in for its owner, hands over what it wrote, and is asked again",
        scenario=world(
            (P,),
            (P,),
            nodes=2,
            n=1,
            r=1,
            w=1,
            contacts=(STAND_IN,),
            suspicious=(STAND_IN,),
            faults=Faults(suspicions=2),
        ),
        claims=("dot-uniqueness", "one-dot-per-request", "placement", "hint-conservation"),
    ),
    "no-room-for-hints": Model(
        about="two replicas on three nodes that keep one hint each; two puts at the owners, who may suspect each other",
        scenario=world(
            (P, P), n=2, contacts=tuple(OWNERS), suspicious=tuple(OWNERS), limits=ONE_HINT, faults=Faults(suspicions=2)
        ),
        claims=(*HINT_CLAIMS, "hint-limit"),
    ),
    "no-room-to-stand-in": Model(
        about="two replicas on three nodes that keep one hint each; two puts at the one who stands in for the owners",
        scenario=world(
            (P, P), n=2, contacts=(OFF_PAIR,), suspicious=(OFF_PAIR,), limits=ONE_HINT, faults=Faults(suspicions=2)
        ),
        claims=(*HINT_CLAIMS, "hint-limit", "refusal-is-final"),
    ),
    "no-room-for-the-late": Model(
        about="the same, W = 1, and whoever cannot be waited for is owed a put at once: as many as there is room for",
        scenario=world(
            (P, P),
            n=2,
            r=1,
            w=1,
            contacts=(OFF_PAIR,),
            suspicious=(OFF_PAIR,),
            limits=replace(ONE_HINT, lingering_requests=1),
            faults=Faults(suspicions=2),
        ),
        claims=(*HINT_CLAIMS[1:], "hint-limit"),
    ),
    "wipe": Model(
        about="a put and a get; the first owner comes back with an empty disk, at any moment",
        scenario=world((P, G), contacts=(FIRST, SECOND), losing=(FIRST,), faults=WIPE),
        claims=(*ONE_PUT_CLAIMS, "catches-up"),
    ),
    "wipe-puts": Model(
        about="two puts of one client at the first owner, which comes back with an empty disk, at any moment",
        scenario=world((P, P), contacts=(FIRST,), losing=(FIRST,), faults=WIPE),
        claims=(*PUT_CLAIMS, "catches-up"),
    ),
    "wipe-of-four": Model(
        about="four nodes, strict placement: a put, and the first owner comes back with an empty disk, at any moment",
        scenario=world((P,), nodes=4, contacts=(FIRST,), losing=(FIRST,), strict=True, faults=WIPE),
        claims=("no-lost-write", "one-dot-per-request", "quorum-meaning-put", "catches-up"),
    ),
    "wipe-crash": Model(
        about="a put; the first owner comes back with an empty disk, and any one node crashes, at any moment",
        scenario=world((P,), contacts=(FIRST,), losing=(FIRST,), faults=Faults(wipes=1, crashes=1)),
        claims=("no-lost-write", "one-dot-per-request", "quorum-meaning-put", "catches-up"),
    ),
    "sloppy-put-wipe": Model(
        about="four nodes, a put, a suspicion; the node that owns nothing loses its disk, and with it what it owed",
        scenario=world(
            (P,),
            nodes=4,
            contacts=(FIRST,),
            suspicious=(FIRST,),
            losing=(OFF,),
            faults=Faults(suspicions=1, wipes=1),
        ),
        claims=HINT_CLAIMS,
    ),
    "wipe-again": Model(
        about="a put of a client that asks again for what it does not know, of a node that may lose its disk",
        scenario=world((P,), contacts=(FIRST,), losing=(FIRST,), faults=WIPE, patience=2),
        claims=("no-lost-write", "one-dot-per-request"),
    ),
    "restart-again": Model(
        about="two puts, asked again, of a node that may crash, and then has to ask whether its disk is from the past",
        scenario=world((P,), (P,), nodes=2, n=2, r=1, contacts=PAIR[:1], losing=PAIR[:1], faults=CRASH, patience=1),
        claims=("dot-uniqueness", "no-lost-write", "one-dot-per-request"),
    ),
    "wipe-show": Model(
        about="a client writes over what its put left, at the first owner, which comes back with an empty disk",
        scenario=world((V, S), contacts=(FIRST,), losing=(FIRST,), faults=WIPE),
        claims=("exact-discard", "only-maximal", "context-honesty", "catches-up"),
    ),
    "restore": Model(
        about="a put and a get; the first owner comes back with an earlier copy of its disk",
        scenario=world((P, G), contacts=(FIRST, SECOND), losing=(FIRST,), faults=RESTORE),
        claims=(*ONE_PUT_CLAIMS, "catches-up"),
    ),
    "restore-puts": Model(
        about="two puts of one client at the first owner, which comes back with an earlier copy of its disk",
        scenario=world((P, P), contacts=(FIRST,), losing=(FIRST,), faults=RESTORE),
        claims=(*PUT_CLAIMS, "catches-up"),
    ),
    "wipe-both": Model(
        about="two replicas, W = 2, R = 1: a put and a get; disks are lost twice, one of them at a time",
        scenario=world((P, G), nodes=2, n=2, r=1, contacts=PAIR[:1], losing=PAIR, faults=Faults(wipes=2)),
        claims=(*ONE_PUT_CLAIMS, "catches-up"),
    ),
    "wipe-restore": Model(
        about="two replicas: two puts at one; either comes back with an empty disk, or an earlier copy of its own",
        scenario=world((P, P), nodes=2, n=2, r=1, contacts=PAIR[:1], losing=PAIR, faults=both(WIPE, RESTORE)),
        claims=("dot-uniqueness", "no-lost-write", "one-dot-per-request"),
    ),
    "wipe-restore-three": Model(
        about="W = 3: two puts at the first owner; it comes back with a copy, the second with an empty disk",
        scenario=world((P, P), r=1, w=3, contacts=(FIRST,), losing=(FIRST, SECOND), faults=both(WIPE, RESTORE)),
        claims=("dot-uniqueness", "no-lost-write", "one-dot-per-request"),
    ),
    "restore-two": Model(
        about="W = 3: two puts at the first owner; it and the second come back with copies of theirs, even at once",
        scenario=world(
            (P, P), r=1, w=3, contacts=(FIRST,), losing=(FIRST, SECOND), faults=Faults(backups=2, restores=2)
        ),
        claims=("dot-uniqueness", "no-lost-write", "one-dot-per-request"),
    ),
    "restore-stranger": Model(
        about="four nodes, strict placement: two puts; the first owner and who owns nothing come back with copies",
        scenario=world(
            (P, P), nodes=4, contacts=(FIRST,), losing=(FIRST, OFF), strict=True, faults=Faults(backups=2, restores=2)
        ),
        claims=("dot-uniqueness", "no-lost-write", "one-dot-per-request"),
    ),
    "young-copy": Model(
        about="two puts; a copy of the disk comes back that is no older than the last mark that others saw of it",
        scenario=replace(world((P, P), contacts=(FIRST,), losing=(FIRST,), faults=RESTORE), young_copies=True),
        claims=("dot-uniqueness",),
        must_fail="dot-uniqueness",
    ),
    "strict-suspect": Model(
        about="four nodes, strict placement: a put, a get, and a suspicion that must not matter",
        scenario=world(
            (P, G),
            nodes=4,
            contacts=(FIRST, SECOND),
            suspicious=(FIRST,),
            strict=True,
            faults=Faults(suspicions=1),
        ),
        claims=ONE_PUT_CLAIMS,
    ),
    "write-all": Model(
        about="W = 3, R = 1: a put waits for every owner, a get for one",
        scenario=world((P, G), (P,), r=1, w=3),
        claims=ALL_CLAIMS,
    ),
    "write-all-duplicate": Model(
        about="W = 3 and a repeated message: an acknowledgement must not count twice",
        scenario=world((P, G), r=1, w=3, faults=DUPLICATE),
        claims=ONE_PUT_CLAIMS,
    ),
    "put-all-get-one": Model(
        about="a put that wishes all owners to hold it, then a get that wishes to hear one",
        scenario=world((PUT_ALL, GET_ONE)),
        claims=WISH_CLAIMS,
    ),
    "put-one-get-all": Model(
        about="a put that wishes one owner to hold it, then a get that wishes to hear all",
        scenario=world((PUT_ONE, GET_ALL)),
        claims=("quorum-meaning-get",),
    ),
    "primaries": Model(
        about="four nodes, a put and a get that wish for two primaries each, and a suspicion",
        scenario=world(
            (PUT_TWO, GET_TWO),
            nodes=4,
            contacts=(FIRST, SECOND),
            suspicious=(FIRST,),
            faults=Faults(suspicions=1),
        ),
        claims=WISH_CLAIMS,
    ),
    "primaries-refused": Model(
        about="four nodes, a put that wishes for all primaries, and a suspicion",
        scenario=world(
            (BlindPut(PutWishes(pw="all")),),
            nodes=4,
            contacts=(FIRST,),
            suspicious=(FIRST,),
            faults=Faults(suspicions=1),
        ),
        claims=("refusal-is-final", "quorum-meaning-put"),
    ),
    "notfound": Model(
        about="a put that one owner is to hold, then a get of one owner who holds something",
        scenario=world((PUT_ONE, GET_ANY)),
        claims=("quorum-meaning-get",),
    ),
    "basic-quorum": Model(
        about="a put that two owners hold, then a get of one who holds something, unless more than half hold nothing",
        scenario=world((P, GET_MOST)),
        claims=WISH_CLAIMS,
    ),
    "blocking": Model(
        about="a put, and a client that reads twice; what a get shows is held by W owners before it does",
        scenario=blocking(world((G, G), (P,), contacts=(FIRST, SECOND))),
        claims=("quorum-meaning-get", "read-repair"),
    ),
    "conditional": Model(
        about="two clients that put only if nothing is there, both at the same node",
        scenario=world((IF_NONE,), (IF_NONE,), contacts=(FIRST,)),
        claims=CONDITION_CLAIMS,
    ),
    "conditional-seen": Model(
        about="two clients that put, are shown what is there, and write over it only if it is unchanged",
        scenario=world((V, IF_SAME), (V, IF_SAME), contacts=(FIRST,)),
        claims=CONDITION_CLAIMS,
    ),
    "conditional-again": Model(
        about="two clients that put only if nothing is there, and ask again if they do not know what came of it",
        scenario=world((IF_NONE,), (IF_NONE,), contacts=(FIRST,), limits=SHORT_MEMORY, patience=1),
        claims=CONDITION_CLAIMS,
    ),
    "no-compare-and-swap": Model(
        about="two clients that put only if nothing is there, at two nodes: both may be taken",
        scenario=world((IF_NONE,), (IF_NONE,), contacts=(FIRST, SECOND)),
        claims=("conditional-put", "compare-and-swap"),
        must_fail="compare-and-swap",
    ),
    "weak": Model(
        about="R = W = 1: quorums need not meet, and a get may miss an acknowledged put",
        scenario=world((P, G), r=1, w=1),
        claims=ALL_CLAIMS,
        must_fail="quorum-meaning-get",
    ),
}


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


MODELS |= {f"preset-{n}{w}{r}": preset(n, w, r) for n, w, r in ((3, 2, 2), (3, 3, 1), (3, 1, 1))}
MODELS["sloppy-put"] = standing_in("a put", (V,))
MODELS |= {f"sloppy-put-{name}": standing_in(f"a put; {about}", (V,), faults=f) for name, (about, f) in FAULTS.items()}
MODELS["updates"] = updates("nothing fails")
MODELS |= {f"updates-{name}": updates(about, faults) for name, (about, faults) in FAULTS.items()}
for (_one, (_about, _a)), (_other, (_and, _b)) in combinations(FAULTS.items(), 2):
    MODELS[f"updates-{_one}-{_other}"] = updates(f"{_about}, and {_and}", both(_a, _b))
MODELS["updates-anything"] = updates(
    "messages are lost and repeated without limit, and any one node crashes and comes back", CRASH, repeating=True
)


SLOPPY_CLAIMS = tuple(name for name in (*ALL_CLAIMS, "hint-conservation") if name != "quorum-meaning-get")
MODELS["sloppy-anything"] = Model(
    about="four nodes, two clients that read and write at three of them, suspicions, and each fault once",
    scenario=world(
        (V, G, S),
        (G, S),
        nodes=4,
        contacts=(FIRST, SECOND, OFF),
        suspicious=(FIRST, SECOND, OFF),
        faults=Faults(suspicions=3, drops=1, duplicates=1, crashes=1, cuts=1),
    ),
    claims=SLOPPY_CLAIMS,
    endless=True,
)
MODELS["amnesia-anything"] = Model(
    about="the same, and disks are lost and replaced by copies; no message is repeated",
    scenario=replace(
        MODELS["sloppy-anything"].scenario,
        losing=(FIRST, SECOND, OFF),
        faults=Faults(suspicions=3, drops=1, crashes=1, cuts=1, wipes=2, backups=2, restores=2),
    ),
    claims=SLOPPY_CLAIMS,
    endless=True,
)

MODELS["amnesia-of-two"] = Model(
    about="three nodes, W = 3: disks of two of them are lost and replaced by copies, even at once, and each fault once",
    scenario=world(
        (V, G, S),
        (G, S),
        r=1,
        w=3,
        contacts=(FIRST, SECOND),
        losing=(FIRST, SECOND),
        faults=Faults(drops=1, crashes=1, cuts=1, wipes=2, backups=2, restores=2),
    ),
    claims=(*ALL_CLAIMS, "catches-up"),
    endless=True,
)


def machine_of(name: str, only: Sequence[str] = ()) -> ClusterMachine:
    """The machine of a named model, with all its claims or only these."""
    model = MODELS[name]
    assert set(only) <= set(model.claims), f"{name} does not claim all of {', '.join(only)}"
    return ClusterMachine(name, model.scenario, only or model.claims)
