"""The models in which disks are lost, or replaced by earlier copies of themselves; they are among `checker.models`."""

from __future__ import annotations

from msgspec.structs import replace

from checker.worlds import (
    CRASH,
    FIRST,
    HINT_CLAIMS,
    OFF,
    OFF_PAIR,
    ONE_PUT_CLAIMS,
    OWNERS,
    PAIR,
    PUT_CLAIMS,
    RESTORE,
    SECOND,
    SHORT_MEMORY,
    WIPE,
    G,
    Model,
    P,
    S,
    V,
    both,
    world,
)
from spec.world import Faults

OF_LOST_DISKS: dict[str, Model] = {
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
        about="three puts, asked again, of a node that may crash, and then has to ask whether its disk is old",
        scenario=world(
            (P, P),
            (P,),
            nodes=2,
            n=2,
            r=1,
            contacts=PAIR[:1],
            losing=PAIR[:1],
            faults=CRASH,
            limits=SHORT_MEMORY,
            patience=1,
        ),
        claims=("dot-uniqueness", "no-lost-write", "one-dot-per-request"),
    ),
    "forward-repeated": Model(
        about="a put at a node that owns nothing: what it forwards is repeated, and owners may crash",
        scenario=world(
            (P,),
            n=2,
            r=1,
            contacts=(OFF_PAIR,),
            losing=tuple(OWNERS),
            strict=True,
            faults=Faults(crashes=1, duplicates=1),
        ),
        claims=("one-dot-per-request", "no-lost-write"),
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
}
