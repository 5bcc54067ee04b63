"""Arbitrary small values of any type that spec functions take, drawn by type; and walks of the abstract protocol."""

import random
from collections.abc import Callable

from hypothesis import strategies as st
from msgspec import Struct

from checker.prove.subset import (
    BoolType,
    Function,
    IdType,
    IntType,
    MapType,
    RecordType,
    SetType,
    Type,
    field_type,
    fields_of,
    functions_of,
    source_of,
)
from spec import protocol
from spec.clock import NOTHING
from spec.maps import Counts, FMap, FSet, SetMap
from spec.protocol import gets, hints, puts
from spec.protocol.state import BLIND, Due, Handed, Reading, State
from spec.quorum import ReadQuorum, WriteQuorum
from spec.rows import Disk
from spec.siblings import Version, context_of
from spec.trust import is_asked
from spec.types import ClientId, Config, NodeId, RequestId, Value

NODES = [NodeId("A"), NodeId("B")]
CONFIGS = [Config(n=n, r=r, w=w) for n in (1, 2) for r in range(1, n + 1) for w in range(1, n + 1)]

# By type.


def values(type_: Type) -> st.SearchStrategy[object]:
    """Small values of a type: two names, numbers up to three, sets and maps of up to two."""
    match type_:
        case BoolType():
            return st.booleans()
        case IntType(least):
            return st.integers(0 if least is None else least, 3)
        case IdType(name, base):
            names = ["A", "B"] if name == "NodeId" else [f"{name.lower()}1"]
            return st.sampled_from([n if base is str else n.encode() for n in names])
        case SetType(element):
            assert element is not None
            return st.lists(values(element), max_size=2).map(FSet.of)
        case MapType(key, value):
            return maps(key, value)
        case RecordType(cls):
            return records(cls)


def maps(key: Type, value: Type) -> st.SearchStrategy[object]:
    """Counts, SetMap, or an FMap, which has an entry for each node: it is total where it is used."""
    if isinstance(value, IntType):
        return st.dictionaries(values(key), st.integers(0, 3), max_size=2).map(Counts.of)
    if isinstance(value, SetType):
        assert value.element is not None
        sets = st.lists(values(value.element), max_size=2).map(FSet.of)
        return st.dictionaries(values(key), sets, max_size=2).map(SetMap.of)
    return st.fixed_dictionaries({node: values(value) for node in NODES}).map(FMap.of)


def records(cls: type[Struct]) -> st.SearchStrategy[object]:
    """Structs of arbitrary fields; of configurations, a few that are valid."""
    if cls is Config:
        return st.sampled_from(CONFIGS)
    return st.builds(cls, **{name: values(field_type(cls, name, "")) for name in fields_of(cls)})


def arguments(function: Function) -> st.SearchStrategy[dict[str, object]]:
    """Arguments for a spec function."""
    return st.fixed_dictionaries({name: values(type_) for name, type_ in source_of(function).parameters().items()})


# Walks of the protocol.

FREQUENT: dict[str, float] = {"put": 3, "send": 9, "receive": 12, "count": 12, "acknowledge": 12, "push": 4, "mend": 4}
FREQUENT |= {"ask": 4, "answer": 8, "collect": 12, "reply": 9, "lose_told": 3}
FREQUENT |= {"lose": 0.6, "doubt": 0.3, "give": 6, "take_back": 15, "regain": 24, "again": 3}
FREQUENT |= {"agree": 6, "press": 2, "confirm": 6, "vouch": 6}
HINTS = {"hint": 6, "hand": 6, "take": 12, "release": 24, "drop": 24}
"""Of every other walk; the others have none."""
MOST_VERSIONS, MOST_MESSAGES = 5, 6


def beginning(config: Config) -> State:
    """A state in which nothing has happened."""
    nodes = FSet.of(NodeId(name) for name in "ABCDE"[: config.n + 1])
    disks = FMap.of({node: Disk(f"disk of {node}", births=0) for node in nodes})
    empty: FSet[object] = FSet()
    parts = dict.fromkeys(State.__struct_fields__, empty)
    return State(
        **{
            **parts,
            "nodes": nodes,
            "owners": FSet(nodes.items[: config.n]),
            "disks": disks,
            **{name: Counts() for name in ("birth", "counter", "minted")},
            **{name: SetMap() for name in ("store", "owed", "heard", "gathered", "seen", "lost", "unpaid")},
        }  # type: ignore[arg-type]  # one dictionary for fields of many types
    )


def choices(s: State, action: str, step: int, rnd: random.Random) -> tuple[object, ...] | None:
    """Parameters for an action, guided by what is there; None where nothing is."""

    def one(elements: object) -> object:
        assert isinstance(elements, FSet | SetMap)
        return rnd.choice(list(elements)) if len(elements) else None

    node = one(s.nodes) if len(s.owed) or rnd.random() < 0.2 else one(s.owners)
    owner, handed = one(s.owners), one(s.handed)
    fallbacks = [(target, owed) for target in s.nodes for owed in s.owed[target]]
    sent_to = rnd.choice(fallbacks) if fallbacks and rnd.random() < 0.3 else (owner, owner)
    spare = FSet.of(n for n in s.store if hints.drop_ok(s, n))
    if any(node == each for each in s.owners) and rnd.random() < 0.8:
        owner = node
    request, owed = RequestId(ClientId("c"), rnd.randint(1, 3)), one(s.due)
    if isinstance(owed, Due) and rnd.random() < 0.5:
        request = owed.request
    reading = Reading(NodeId(str(one(s.nodes))), request)
    heard = one(s.heard)
    gathered = s.gathered[heard] if isinstance(heard, Reading) else FSet[Version]()
    context = context_of(gathered)
    counted: list[tuple[object, ...]] = [(a.coordinator, a.version) for a in s.counted]
    n = len(s.owners)
    write = WriteQuorum(rnd.randint(1, n), rnd.randint(0, n))
    read = ReadQuorum(rnd.randint(1, n), rnd.randint(0, n), rnd.random() < 0.7, rnd.random() < 0.5)
    waiting = [(a.coordinator, a.version, write) for a in s.counted]
    enough = [put for put in waiting if puts.acknowledge_ok(s, *put)]
    births, all_but = rnd.randint(0, 2), s.nodes - FSet.of([NodeId(str(node))])
    lacked = asking(s)
    carried = [FSet[Version](), *(m.versions for m in s.sent), *(t.versions for t in s.told)]
    by_action: dict[str, tuple[object, ...]] = {
        "put": (
            sent_to[0],
            one(s.replies) if s.replies and rnd.random() < 0.7 else BLIND,
            Value(b"v%d" % step),
            sent_to[1],
        ),
        "again": (node, one(s.created), owner),
        "send": (node, one(s.created), *sent_to),
        "receive": (one(s.sent),),
        "lose_sent": (one(s.sent),),
        "count": (one(s.acks),),
        "lose_ack": (one(s.acks),),
        "acknowledge": rnd.choice(enough) if enough else (node, one(s.created), write),
        "finish": rnd.choice(counted) if counted else (None,),
        "hint": (node, owner),
        "hand": rnd.choice(fallbacks) if fallbacks else (None,),
        "take": (handed, context_of(handed.versions) if isinstance(handed, Handed) else NOTHING),
        "release": (one(s.taken),),
        "drop": (one(spare) or node,),
        "lose_handed": (handed,),
        "lose_taken": (one(s.taken),),
        "ask": (request, FSet.of(Due(request, a.version, a.quorum.pw) for a in s.acked)),
        "conclude": (request,),
        "answer": (reading, node),
        "collect": (one(s.told),),
        "lose_told": (one(s.told),),
        "reply": (heard, read, context),
        "show": (node, context_of(s.store[NodeId(str(node))])),
        "push": (heard, node),
        "agree": (one(FSet.of(t for t in s.told if gets.agree_ok(s, t))) or one(s.told),),
        "press": (heard, owner),
        "confirm": (heard, one(s.taken)),
        "vouch": (heard, one(gathered) or one(s.created), write),
        "relax": (heard,),
        "forget": (heard,),
        "mend": (one(s.pushed),),
        "lose_pushed": (one(s.pushed),),
        "crash": (node,),
        "lose": (node, Disk(f"disk {step}", births, lacking=all_but), rnd.choice(carried), FSet()),
        "rename": (node, Disk(f"disk {step}", births, lacking=s.disks[NodeId(str(node))].lacking)),
        "doubt": (node, rnd.choice([all_but, FSet[NodeId]()])),
        "give": rnd.choice(lacked) if lacked else (node, one(s.nodes), "an earlier disk"),
        "take_back": (
            one(FSet.of(g for g in s.given if is_asked(s.disks[g.target], g.source, g.incarnation))) or one(s.given),
        ),
        "lose_given": (one(s.given),),
        "regain": (one(s.lost.keys()) or node,),
        "lose_reply": (one(s.replies),),
        "elsewhere": (node,),
    }
    chosen = by_action[action]
    return None if None in chosen else chosen


def asking(s: State) -> list[tuple[NodeId, NodeId, str]]:
    """What nodes lack: of whom, who, and under which incarnation it asks for it."""
    return [(p, n, s.disks[n].incarnation) for n in s.nodes for p in s.disks[n].lacking]


def crowded(s: State, action: str) -> bool:
    """Whether an action would make a walk slow: enough of that is there."""
    full = {"put": len(s.created) >= MOST_VERSIONS, "send": len(s.sent) >= MOST_MESSAGES}
    full |= {
        "give": len(s.given) >= (MOST_MESSAGES if asking(s) else 1),
        "lose": len(s.lost) >= 1,
        "doubt": len(asking(s)) > 0,
    }
    full |= {
        "answer": len(s.told) >= MOST_MESSAGES,
        "push": len(s.pushed) >= MOST_MESSAGES,
        "hand": len(s.handed) >= 3,
        "press": len(s.handed) >= 3,
    }
    return full.get(action, False) or (action in ("reply", "show") and len(s.replies) >= MOST_MESSAGES)


def walk(seed: int, steps: int, config: Config) -> list[tuple[str, tuple[object, ...], State]]:
    """A random behaviour of the protocol: what happened, and the state after it."""
    rnd = random.Random(seed)
    frequent = FREQUENT | (HINTS if seed % 2 else dict.fromkeys(HINTS, 0))
    actions: dict[str, Callable[..., State]] = {action.__name__: action for action in protocol.ACTIONS}
    guards = functions_of(protocol)
    state = beginning(config)
    told: list[tuple[str, tuple[object, ...], State]] = []
    for step in range(steps):
        name = rnd.choices(list(actions), [frequent.get(a, 1) for a in actions])[0]
        chosen = choices(state, name, step, rnd)
        if chosen is None or crowded(state, name) or not guards[f"{name}_ok"](state, *chosen):
            continue
        after = actions[name](state, *chosen)
        if after != state:
            state = after
            told.append((name, chosen, state))
    return told
