"""The named worlds that `ringspec check` knows.

A model is a scenario and the claims made of it. Those marked *must fail* are controls: configurations in which a claim
is false, which the checker has to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from msgspec.structs import replace

from checker.cluster_machine import ClusterMachine
from checker.lost_disks import OF_LOST_DISKS
from checker.worlds import (
    ALL_CLAIMS,
    CONDITION_CLAIMS,
    CRASH,
    CUT,
    DROP,
    DUPLICATE,
    FAULTS,
    FIRST,
    GET_ALL,
    GET_ANY,
    GET_MOST,
    GET_ONE,
    GET_TWO,
    HINT_CLAIMS,
    IF_NONE,
    IF_SAME,
    OFF,
    OFF_PAIR,
    OFF_TWO,
    ONE_AT_A_TIME,
    ONE_HINT,
    ONE_PUT_CLAIMS,
    OWNERS,
    PUT_ALL,
    PUT_CLAIMS,
    PUT_ONE,
    PUT_TWO,
    SECOND,
    SHORT_MEMORY,
    SLOPPY_CLAIMS,
    STAND_IN,
    WISH_CLAIMS,
    G,
    Model,
    P,
    S,
    V,
    blocking,
    both,
    preset,
    standing_in,
    updates,
    world,
)
from spec.quorum import PutWishes
from spec.world import BlindPut, Faults

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
    **OF_LOST_DISKS,
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
    about="three nodes, W = 3: disks of two of them are lost or from the past, even at once: no write is lost",
    scenario=world(
        (V, G, S),
        (G, S),
        r=1,
        w=3,
        contacts=(FIRST, SECOND),
        losing=(FIRST, SECOND),
        faults=Faults(drops=1, crashes=1, cuts=1, wipes=2, backups=2, restores=2),
    ),
    claims=tuple(name for name in ALL_CLAIMS if not name.startswith("quorum-meaning")),
    endless=True,
)


def machine_of(name: str, only: Sequence[str] = ()) -> ClusterMachine:
    """The machine of a named model, with all its claims or only these."""
    model = MODELS[name]
    assert set(only) <= set(model.claims), f"{name} does not claim all of {', '.join(only)}"
    return ClusterMachine(name, model.scenario, only or model.claims)
