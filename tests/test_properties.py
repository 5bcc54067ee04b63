"""Each promise fails on a state or step made wrong by hand and says which clause; good runs meet every witness."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from checker.memory import remembering
from spec.actions import Action, Arrive, Ask, Heal
from spec.clock import NOTHING, Actor, Clock, Dot
from spec.cluster import apply, initial, transitions
from spec.history import Created, History, known_by, record
from spec.maps import Counts, FMap, FSet, SetMap
from spec.messages import Answer, Forwarded, Found, Handoff, Message, Put, Read, Repair, Write
from spec.network import Envelope, Network
from spec.properties import EXPLORED_CLAIMS, WITNESSES, Claim
from spec.quorum import PutWishes, ReadQuorum
from spec.ring import Member, build_ring, owners_of
from spec.rows import Row
from spec.siblings import NO_VERSIONS, Siblings, Version
from spec.spent import DRIVER
from spec.state import GetInFlight
from spec.types import NO_REQUEST, Config, Limits, NodeId, RequestId, Value
from spec.world import BlindPut, Client, Faults, Look, Scenario, SeenPut, State, Task, client_id
from tests.small import KEY, request, small_config

A, B, C, D = (NodeId(name) for name in "abcd")
R_2 = ReadQuorum(2, 0, notfound_ok=True, basic_quorum=False)
PUT, SEEN, GET = BlindPut(), SeenPut(), Look()


def world(*programs: tuple[Task, ...], names: str = "abc", config: Config | None = None, **faults: int) -> Scenario:
    return Scenario(
        config=small_config() if config is None else config,
        members=tuple(Member(NodeId(name)) for name in names),
        key=KEY,
        programs=programs,
        contacts=(A, B),
        faults=Faults(**faults),
    )


EMPTY = initial(world((PUT,), (GET,)))


def actor(name: str) -> Actor:
    return Actor(NodeId(name), f"disk-{name}", 1)


def version(name: str, counter: int = 1, context: Clock = NOTHING, value: bytes = b"v") -> Version:
    return Version(Dot(actor(name), counter), context, Value(value))


def seen_one(name: str, counter: int = 1) -> Clock:
    return Counts.of({actor(name): counter})


def holding(state: State, **held: Siblings) -> State:
    """The state with these sets on the disks of these nodes."""
    servers = state.servers
    for name, siblings in held.items():
        server = servers[NodeId(name)]
        disk = replace(server.disk, table=server.disk.table.set(KEY, Row(siblings)))
        servers = servers.set(NodeId(name), replace(server, disk=disk))
    return replace(state, servers=servers)


def owing(state: State, holder: NodeId, *owners: NodeId) -> State:
    """The state in which a node owes these owners what it holds."""
    server = state.servers[holder]
    row = replace(server.disk.row(KEY), owed=FSet.of(owners))
    disk = replace(server.disk, table=server.disk.table.set(KEY, row))
    return replace(state, servers=state.servers.set(holder, replace(server, disk=disk)))


def sending(state: State, message: Message) -> State:
    return replace(state, network=Network((Envelope(A, B, message),)))


def recorded(state: State, *created: Created, acknowledged: tuple[Dot, ...] = ()) -> State:
    return replace(state, history=History(created=FSet.of(created), acknowledged=FSet.of(acknowledged)))


def made(v: Version, about: RequestId | None = None, seen: tuple[Dot, ...] = ()) -> Created:
    return Created(v, request() if about is None else about, FSet.of(seen))


def sets(*versions: Version) -> Siblings:
    return FSet.of(versions)


# A write, its successor, and one beside them; what a writer really saw is in `made`, not in the clock.
OLD = version("a", 1)
NEW = version("b", 1, seen_one("a"))
SIDE = version("c", 1)
NEXT = version("a", 2, seen_one("a"))
BAD_PAIR = sets(OLD, NEW)
STEP: Action = Heal()

WRONG_STATES: list[tuple[str, State, str]] = [
    (
        "dot-uniqueness",
        recorded(EMPTY, made(OLD), made(version("a", 1, value=b"w"))),
        "the dot a:1 names two versions: a:1 after [] = b'v' and a:1 after [] = b'w'",
    ),
    (
        "dot-uniqueness",
        recorded(EMPTY, made(version("b", 1)), made(NEW)),
        "the dot b:1 names two versions: b:1 after [] = b'v' and b:1 after [a:1] = b'v'",
    ),
    (
        "no-lost-write",
        recorded(EMPTY, made(OLD), acknowledged=(OLD.dot,)),
        "a:1 was acknowledged; no disk holds it or a version whose writer had seen it",
    ),
    (  # the clock of what is held covers it, but its writer was not shown it: clocks do not decide
        "no-lost-write",
        holding(recorded(EMPTY, made(OLD), made(NEW), acknowledged=(OLD.dot,)), a=sets(NEW)),
        "a:1 was acknowledged; no disk holds it or a version whose writer had seen it",
    ),
    (
        "hint-limit",
        owing(holding(initial(world(config=small_config(limits=Limits(hints=1)))), a=sets(OLD)), A, B, C),
        "a keeps 2 hints, and may keep 1",
    ),
    (
        "only-maximal",
        holding(EMPTY, b=BAD_PAIR),
        "b holds {a:1 after [], b:1 after [a:1]}: b:1 after [a:1] supersedes a:1 after []",
    ),
    ("only-maximal", sending(EMPTY, Write(request(), KEY, BAD_PAIR)), "a message from a for b carries {a:1 after [], "),
    ("only-maximal", sending(EMPTY, Answer(request(), BAD_PAIR)), "a message from a for b carries {a:1 after [], "),
    ("only-maximal", sending(EMPTY, Handoff(KEY, BAD_PAIR)), "a message from a for b carries {a:1 after [], "),
    ("only-maximal", sending(EMPTY, Repair(KEY, BAD_PAIR)), "a message from a for b carries {a:1 after [], "),
    (
        "only-maximal",
        sending(EMPTY, Forwarded(request(), Found(BAD_PAIR, NOTHING))),
        "a result from a for b carries {a:1 after [], ",
    ),
    (
        "only-maximal",
        replace(
            EMPTY,
            servers=EMPTY.servers.set(
                A,
                replace(
                    EMPTY.servers[A],
                    requests=FMap.of(
                        {
                            request(): GetInFlight(
                                request(), KEY, None, R_2, FMap.of({B: B}), FMap.of({B: BAD_PAIR}), answered=False
                            )
                        }
                    ),
                ),
            ),
        ),
        "an answer from b for a carries {a:1 after [], ",
    ),
    ("one-dot-per-request", recorded(EMPTY, made(OLD, NO_REQUEST)), "a:1 after [] came to be without a put"),
    (
        "one-dot-per-request",
        recorded(EMPTY, made(OLD), made(version("a", 2))),
        "two dots for c#1: a:1 after [] and a:2 after []",
    ),
    (
        "quorum-meaning-put",
        holding(recorded(EMPTY, made(OLD), acknowledged=(OLD.dot,)), a=sets(OLD)),
        "a:1 was acknowledged, W = 2, but it is durably known for a only",
    ),
    (
        "quorum-meaning-put",
        recorded(EMPTY, made(OLD), acknowledged=(OLD.dot,)),
        "a:1 was acknowledged, W = 2, but it is durably known for nobody only",
    ),
    (
        "quorum-meaning-put",
        holding(
            recorded(EMPTY, replace(made(OLD), wishes=PutWishes("all")), acknowledged=(OLD.dot,)),
            a=sets(OLD),
            b=sets(OLD),
        ),
        "a:1 was acknowledged, W = 3, but it is durably known for a, b only",
    ),
    (
        "compare-and-swap",
        recorded(EMPTY, *(replace(made(v), condition="none-match") for v in (OLD, SIDE))),
        "a:1 after [] and c:1 after [] were both taken, on the condition none-match",
    ),
    (
        "quorum-meaning-get",
        replace(EMPTY, clients=(Client(), Client(done=1, missed=FSet.of([OLD.dot])))),
        "the get of client2 did not return a:1, acknowledged before it began, or a successor",
    ),
    (
        "context-honesty",
        replace(recorded(EMPTY, made(OLD)), clients=(Client(context=seen_one("a")), Client())),
        "client1 holds the context [a:1], which covers a:1, which it was not shown",
    ),
    (
        "context-honesty",
        replace(recorded(EMPTY, made(OLD)), clients=(Client(seen=FSet.of([OLD.dot])), Client())),
        "client1 holds the context [], which does not cover a:1, which it was shown",
    ),
    (
        "context-honesty",
        replace(EMPTY, clients=(Client(context=seen_one("a")), Client())),
        "client1 holds the context [a:1], which goes up to a:1, a write that has not happened",
    ),
    ("merge-is-join", holding(EMPTY, a=BAD_PAIR), "merging {a:1 after [], b:1 after [a:1]} with itself gives {b:1"),
    (  # sets that are no antichains together: what is kept depends on the grouping
        "merge-is-join",
        holding(
            EMPTY,
            a=sets(OLD),
            b=sets(version("b", 1, seen_one("a"))),
            c=sets(version("c", 1, seen_one("b"))),
        ),
        "depends on the grouping",
    ),
]

FOUR = initial(world((PUT,), names="abcd"))
STRANGER = next(n for n in FOUR.servers if n not in owners_of(FOUR.servers[A].node.ring, KEY, 3))
WRONG_STATES.append(
    ("placement", holding(FOUR, **{STRANGER: sets(OLD)}), f"{STRANGER} holds a key, and owes it to none of its owners ")
)
SAME = replace(
    EMPTY.servers[A], node=replace(EMPTY.servers[A].node, ring=replace(EMPTY.servers[A].node.ring, walks=((A, A, B),)))
)
WRONG_STATES.append(
    (
        "placement",
        holding(replace(EMPTY, servers=EMPTY.servers.set(A, SAME)), a=sets(OLD)),
        "the preference list a, a, b does not name 3 distinct nodes",
    )
)

WRONG_STATES.append(
    (
        "refusal-is-final",
        replace(EMPTY, history=History(created=FSet.of([made(OLD)]), refused=FSet.of([request()]))),
        "c#1 was refused, and a:1 after [] was written for it",
    )
)

BOTH = version("a", 2, Counts.of({actor("a"): 1, actor("c"): 1}))

OWNERS = FMap.of({n: n for n in (A, B, C)})
READING = GetInFlight(request(), KEY, None, R_2, OWNERS, FMap.of({A: sets(OLD)}), answered=False)
ANSWERED: Action = Arrive(Envelope(B, A, Answer(request(), sets(SIDE))))


def reading(*answers: GetInFlight) -> State:
    """A state in which these gets are in flight at `a`, and `a` and `b` hold a version each."""
    held = holding(EMPTY, a=sets(OLD), b=sets(SIDE))
    server = replace(held.servers[A], requests=FMap.of({get.request: get for get in answers}))
    return replace(held, servers=held.servers.set(A, server))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (reading(READING), "a answered {a:1 after []} to a get that knows {a:1 after [], c:1 after []}"),
        (reading(), "a stopped listening to the owners of c#1 after 2 of 3"),
    ],
)
def test_a_get_that_repairs_nothing_is_told(after: State, said: str) -> None:
    check = claim("read-repair").step_check
    assert check is not None
    assert said in (check(reading(READING), ANSWERED, after) or "")


def losing(state: State, name: NodeId, *dots: Dot) -> State:
    """A state in which a node lacks these, which its lost disk knew."""
    return replace(state, history=replace(state.history, lost=SetMap.of({name: FSet.of(dots)})))


WRONG_STEPS: list[tuple[str, State, State, str]] = [
    (  # its writer was shown a:1 only, and c:1 went too
        "exact-discard",
        holding(EMPTY, a=sets(OLD, SIDE)),
        holding(recorded(EMPTY, made(BOTH, seen=(OLD.dot,))), a=sets(BOTH)),
        "a put a:2 after [a:1, c:1] onto {a:1 after [], c:1 after []} and kept {}; its writer had been shown a:1",
    ),
    (  # its writer was shown a:1, and it stayed
        "exact-discard",
        holding(EMPTY, a=sets(OLD)),
        holding(recorded(EMPTY, made(version("a", 2), seen=(OLD.dot,))), a=sets(OLD, version("a", 2))),
        "a put a:2 after [] onto {a:1 after []} and kept {a:1 after []}; its writer had been shown a:1",
    ),
    (
        "exact-discard",
        holding(EMPTY, a=sets(OLD)),
        holding(recorded(EMPTY, made(version("a", 2, seen_one("a")))), a=sets(version("a", 2, seen_one("a")))),
        "kept {}; its writer had been shown nothing",
    ),
    (
        "conditional-put",
        holding(recorded(EMPTY, made(OLD)), a=sets(OLD)),
        holding(
            recorded(EMPTY, made(OLD), replace(made(version("a", 2), request(2)), condition="none-match")),
            a=sets(OLD, version("a", 2)),
        ),
        "a held {a:1 after []}, and took a:2 after [] on the condition none-match",
    ),
    (  # it held more than the writer was shown
        "conditional-put",
        holding(recorded(EMPTY, made(OLD), made(SIDE)), a=sets(OLD, SIDE)),
        holding(
            recorded(
                EMPTY,
                made(OLD),
                made(SIDE),
                replace(made(NEXT, request(2), (OLD.dot,)), condition="context-unchanged"),
            ),
            a=sets(NEXT, SIDE),
        ),
        "on the condition context-unchanged",
    ),
    (  # the owner of the hint has a successor of one version only
        "hint-conservation",
        owing(holding(recorded(EMPTY, made(OLD), made(SIDE)), a=sets(OLD, SIDE), b=sets(OLD)), A, B),
        holding(recorded(EMPTY, made(OLD), made(SIDE)), a=sets(OLD, SIDE), b=sets(OLD)),
        "a owed b c:1, which b does not hold, and lets go",
    ),
    (
        "catches-up",
        losing(recorded(EMPTY, made(OLD), made(SIDE), acknowledged=(OLD.dot,)), A, OLD.dot, SIDE.dot),
        recorded(EMPTY, made(OLD), made(SIDE), acknowledged=(OLD.dot,)),
        "a takes itself to be whole, and lacks a:1",
    ),
]


def test_a_node_that_answers_while_it_lacks_something_is_told() -> None:
    check = claim("catches-up").step_check
    assert check is not None
    asked: Action = Arrive(Envelope(B, A, Read(request(), KEY)))
    said = Network((Envelope(A, B, Answer(request(), sets())),))
    before = losing(recorded(EMPTY, made(OLD), acknowledged=(OLD.dot,)), A, OLD.dot)
    assert check(before, asked, before) is None
    assert check(before, asked, replace(before, network=said)) == "a answers, and lacks a:1"
    again = losing(recorded(holding(EMPTY, a=sets(OLD)), made(OLD), acknowledged=(OLD.dot,)), A, OLD.dot)
    assert check(again, asked, replace(again, network=said)) is None
    unacknowledged = losing(recorded(EMPTY, made(OLD)), A, OLD.dot)
    assert check(unacknowledged, asked, replace(unacknowledged, network=said)) is None


def claim(name: str) -> Claim:
    return next(c for c in EXPLORED_CLAIMS if c.name == name)


@pytest.mark.parametrize(("name", "state", "said"), WRONG_STATES)
def test_a_wrong_state_is_told(name: str, state: State, said: str) -> None:
    check = claim(name).check
    assert check is not None
    complaint = check(state)
    assert complaint is not None
    assert said in complaint
    assert "\n" not in complaint


@pytest.mark.parametrize(("name", "before", "after", "said"), WRONG_STEPS)
def test_a_wrong_step_is_told(name: str, before: State, after: State, said: str) -> None:
    check = claim(name).step_check
    assert check is not None
    complaint = check(before, STEP, after)
    assert complaint is not None
    assert said in complaint


def test_every_claim_has_been_seen_to_fail() -> None:
    assert {c.name for c in EXPLORED_CLAIMS} == {name for name, *_ in (*WRONG_STATES, *WRONG_STEPS)} | {
        "read-repair"  # by the test of its own above
    }


def test_every_claim_is_one_check_and_one_witness() -> None:
    for c in EXPLORED_CLAIMS:
        assert (c.check is None) != (c.step_check is None)
        assert (c.witness is None) != (c.step_witness is None)
    assert len({c.name for c in EXPLORED_CLAIMS}) == len(EXPLORED_CLAIMS)
    assert {of for _, _, of in WITNESSES} <= {c.name for c in EXPLORED_CLAIMS}


# Good runs.

IF_NONE = BlindPut(condition="none-match")
ONE_HINT = small_config(n=2, r=1, limits=Limits(hints=1), sloppy=True)
(STAND_IN,) = {A, B, C} - {*owners_of(build_ring(world().members, ONE_HINT), KEY, 2)}
MOST_STATES = 4_500
"""All that there are, of all but the last."""
RUNS = [
    world((PUT, GET), config=small_config(n=2), names="ab"),
    world((PUT,), (PUT,), (GET,), config=small_config(n=2), names="ab"),
    world((PUT,), (GET,)),
    world((PUT,), (PUT,), config=small_config(n=2, limits=Limits(requests_in_flight=1)), names="ab"),
    replace(world((PUT,), config=small_config(n=2, sloppy=True), suspicions=1), suspicious=(A,)),
    replace(world((IF_NONE,), (IF_NONE,), config=small_config(n=2), names="ab"), contacts=(A,)),
    replace(world((PUT,), config=small_config(n=2), names="ab"), losing=(A,), faults=Faults(wipes=1)),
    replace(world((PUT, PUT), config=ONE_HINT, suspicions=2), suspicious=(STAND_IN,), contacts=(STAND_IN,)),
]


@pytest.fixture(scope="module")
def good_runs() -> list[list[tuple[State, Action, State]]]:
    """All steps of a few small worlds."""
    found = []
    for scenario in RUNS:
        driver = remembering(DRIVER)
        first = initial(scenario, driver)
        seen, queue, steps = {first}, deque([first]), list[tuple[State, Action, State]]()
        while queue and len(seen) < MOST_STATES:
            before = queue.popleft()
            for action, after in transitions(scenario, before, driver):
                steps.append((before, action, after))
                if after not in seen:
                    seen.add(after)
                    queue.append(after)
        found.append(steps)
    return found


Steps = list[list[tuple[State, Action, State]]]


@pytest.mark.parametrize("c", EXPLORED_CLAIMS, ids=lambda c: str(c.name))
def test_good_runs_keep_every_promise_and_meet_its_witness(c: Claim, good_runs: Steps) -> None:
    first = initial(RUNS[0])
    met = c.witness is not None and c.witness(first)
    assert not met, "a witness that is met from the start shows nothing"
    for steps in good_runs:
        for state in {after for _, _, after in steps}:
            assert c.check is None or c.check(state) is None
        for before, action, after in steps:
            assert c.step_check is None or c.step_check(before, action, after) is None
            met = met or (c.witness is not None and c.witness(after))
            met = met or (c.step_witness is not None and c.step_witness(before, action, after))
    assert met


@pytest.mark.parametrize(("name", "witness"), [(name, witness) for name, witness, _ in WITNESSES])
def test_good_runs_meet_the_further_witnesses(
    name: str, witness: Callable[[State, Action, State], bool], good_runs: Steps
) -> None:
    assert any(witness(*step) for steps in good_runs for step in steps), name


# What witnesses must not take for what they say.


def indefinite(before: State, after: State) -> bool:
    return next(w for name, w, _ in WITNESSES if name == "a put is indefinite")(before, STEP, after)


def test_a_put_is_indefinite_only_if_it_was_a_put_that_happened_and_was_not_acknowledged() -> None:
    about = RequestId(client_id(0), 1)
    waiting, idle = Client(waits_for=A), Client(done=1)
    before = replace(recorded(EMPTY, made(OLD, about)), clients=(waiting, waiting))
    assert indefinite(before, replace(before, clients=(idle, waiting)))
    assert not indefinite(before, before)
    assert not indefinite(before, replace(before, clients=(waiting, idle))), "the get of another client ended"
    told = replace(recorded(EMPTY, made(OLD, about), acknowledged=(OLD.dot,)), clients=(idle, waiting))
    assert not indefinite(before, told)


# The ghost.


def test_history_knows_what_writers_were_shown() -> None:
    history = History(shown=SetMap.of({request(2): FSet.of([OLD.dot])}))
    history = record(history, request(1), None, sets(OLD))
    history = record(history, request(2), None, sets(NEW))
    assert record(history, request(3), None, sets(OLD, NEW)) is history, "nothing new"
    assert known_by(history, NO_VERSIONS) == FSet()
    assert known_by(history, sets(OLD)) == FSet.of([OLD.dot])
    assert known_by(history, sets(NEW)) == FSet.of([OLD.dot, NEW.dot])


def test_history_cannot_be_seen_by_nodes() -> None:
    """The same step, whatever really happened."""
    scenario = world((PUT,))
    first = initial(scenario)
    other = recorded(first, made(OLD), acknowledged=(OLD.dot,))
    (ask, *_) = (a for a, _ in transitions(scenario, first) if isinstance(a, Ask))
    one, two = apply(scenario, first, ask), apply(scenario, other, ask)
    assert one.servers == two.servers
    assert one.network == two.network
    assert isinstance(ask.operation, Put)
