"""Random runs of any store against a simple model of what it promises.

`StoreMachine` is a Hypothesis state machine: it puts and gets at random nodes while messages are delivered, lost and
repeated, the network is cut, nodes crash and timers fire, and after every rule it compares what clients were told and
what disks hold with `Promises`. A failure is shrunk to the shortest run that Hypothesis can find.

The store is known only as a `Harness`. The same machine therefore drives the specification, nodes in one process and
real processes; a harness whose network moves by itself shows no messages and no timers, and the rules about them rest.

`Promises` knows neither clocks nor siblings nor replicas. Every put writes a value of its own, so that a value names
its write, and it is enough to remember what each writer had been shown:

* a get returns values that were put under its key, each once, none of which the writer of another one had seen;
* it returns every put acknowledged before it began, or one whose writer had seen it, directly or through others;
* what was turned down never appears;
* at any moment at least W disks know every acknowledged put, in the same sense; only owners of a key hold it;
* once the network is whole and everything was read, all owners hold the same.

Where others stand in for owners that are suspected, two of these are promised only in peace, when everything has been
handed over: that a get returns every acknowledged put, and that only owners hold a key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import ClassVar, Protocol

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, invariant, multiple, precondition, rule
from msgspec import Struct

# What a client is told.


class Stored(Struct, frozen=True):
    """The put succeeded."""


class Read(Struct, frozen=True):
    """The get succeeded."""

    values: tuple[bytes, ...]
    """One for each sibling."""
    context: object
    """Opaque here: handed back as it is with a later put of the same key."""


class Unknown(Struct, frozen=True):
    """The put may have happened or may yet happen; or the get brought nothing."""

    reason: str


class TurnedDown(Struct, frozen=True):
    """The operation had no effect and never will."""

    reason: str


Outcome = Stored | Read | Unknown | TurnedDown


class Harness(Protocol):
    """A running store, as the machine sees it: commands, and named observations; no other way in."""

    def put(self, node: str, key: bytes, value: bytes, context: object | None) -> int:
        """Ask a node that is up for a put, blind if the context is None; returns the ticket of its outcome."""

    def get(self, node: str, key: bytes) -> int:
        """Ask a node that is up for a get; returns the ticket of its outcome."""

    def outcome(self, ticket: int) -> Outcome | None:
        """What the client was told; None while it waits."""

    def in_flight(self) -> Sequence[str]:
        """The messages that can be delivered, dropped or duplicated by their place here, in words."""

    def deliver(self, which: int) -> None:
        """Deliver one message in flight."""

    def drop(self, which: int) -> None:
        """Lose one message in flight."""

    def duplicate(self, which: int) -> None:
        """Repeat one message in flight."""

    def timers(self) -> Sequence[str]:
        """The timers that can be made to fire by their place here, in words."""

    def fire(self, which: int) -> None:
        """Let one timer fire now."""

    def cut(self, side: frozenset[str]) -> None:
        """Separate these nodes from the others."""

    def heal(self) -> None:
        """Mend the cut, if there is one."""

    def is_up(self, node: str) -> bool:
        """Whether a node runs."""

    def crash(self, node: str) -> None:
        """Kill a node that is up; its disk stays."""

    def crash_in_next_step(self, node: str, released: frozenset[int]) -> None:
        """Kill a node in its next step, after the commit, when only what it says at these places has left it."""

    def restart(self, node: str) -> None:
        """Start a node that is down, on its disk."""

    def settle(self) -> None:
        """Heal, restart whatever is down, and let everything run until nothing is in flight and nobody waits."""

    def owners(self, key: bytes) -> Collection[str]:
        """The nodes that are to hold a key."""

    def disks(self) -> Mapping[str, Mapping[bytes, Collection[bytes]]]:
        """What each node, up or down, durably holds: the values of each key that it has ever stored."""

    def stop(self) -> None:
        """Let go of whatever the harness holds."""


class SuspiciousHarness(Harness, Protocol):
    """One that can also be told whom a node takes to be down."""

    def suspect(self, node: str, about: str, suspected: bool) -> None:
        """Let a node that is up come to suspect another, rightly or wrongly, or to trust it again."""

    def hand_over(self, node: str, owner: str) -> None:
        """Let a node that is up hand over what it owes another."""


# What the store promises.


class Write(Struct):
    """A put, as its client knows it."""

    key: bytes
    past: frozenset[bytes]
    """The values that its writer had been shown, and what their writers had, and so on."""
    told: Outcome | None = None


class Look(Struct):
    """A get that has been asked for."""

    key: bytes
    owed: frozenset[bytes]
    """The values acknowledged before."""


class Promises:
    """What clients did and were told, and what follows from it."""

    def __init__(self, w: int, *, reads_meet_writes: bool) -> None:
        """`w`: disks that know an acknowledged put; `reads_meet_writes`: whether R + W > N."""
        self.w, self.reads_meet_writes = w, reads_meet_writes
        self.writes: dict[bytes, Write] = {}

    def known_by(self, values: Iterable[bytes]) -> frozenset[bytes]:
        """The writes that whoever was shown these values has seen."""
        return frozenset().union(*({value} | self.writes[value].past for value in values))

    def acknowledged(self, key: bytes) -> frozenset[bytes]:
        """The values under a key whose clients were told that they are stored."""
        return frozenset(v for v, write in self.writes.items() if write.key == key and write.told == Stored())

    def asked_to_put(self, key: bytes, value: bytes, shown: Iterable[bytes]) -> None:
        """A client asks for a put, having been shown these values."""
        self.writes[value] = Write(key, self.known_by(shown))

    def asked_to_get(self, key: bytes) -> Look:
        """A client asks for a get."""
        return Look(key, self.acknowledged(key))

    def check_values(self, where: str, key: bytes, values: Collection[bytes]) -> None:
        """Whether these may be the siblings of a key."""
        for value in values:
            assert value in self.writes, f"{where}: nobody wrote {value!r}"
            write = self.writes[value]
            assert write.key == key, f"{where}: {value!r} was written to {write.key!r}, not to {key!r}"
            assert not isinstance(write.told, TurnedDown), f"{where}: {value!r} was turned down: {write.told}"
            newer = [u for u in values if value in self.writes[u].past]
            assert not newer, f"{where}: {value!r} beside {newer[0]!r}, whose writer had seen it"
        assert len(set(values)) == len(values), f"{where}: the same write twice in {sorted(values)}"

    def check_read(self, look: Look, read: Read) -> None:
        """Whether a get may return this."""
        where = f"a get of {look.key!r}"
        self.check_values(where, look.key, read.values)
        if self.reads_meet_writes:
            missed = sorted(look.owed - self.known_by(read.values))
            assert not missed, f"{where} returned {sorted(read.values)}: it misses {missed}, acknowledged before"

    def check_disks(self, disks: Mapping[str, Mapping[bytes, Collection[bytes]]]) -> None:
        """Whether this may be what disks hold."""
        for node, table in disks.items():
            for key, values in table.items():
                self.check_values(f"the disk of {node}", key, values)
        for value, write in self.writes.items():
            if write.told == Stored():
                knowing = [n for n, table in disks.items() if value in self.known_by(table.get(write.key, ()))]
                assert len(knowing) >= self.w, f"{value!r} was acknowledged, and only {knowing} know it"


# The machine.

some_node = st.runner().flatmap(lambda machine: st.sampled_from(machine.nodes))
some_key = st.runner().flatmap(lambda machine: st.sampled_from(machine.keys))
some_side = st.runner().flatmap(lambda machine: st.frozensets(st.sampled_from(machine.nodes), min_size=1, max_size=2))
places = st.integers(0, 7)
seen: Bundle[tuple[bytes, Read]] = Bundle("seen")


class StoreMachine(RuleBasedStateMachine):
    """Random runs of the store that `begin` starts. Subclasses say which nodes there are, and N, R and W."""

    nodes: ClassVar[tuple[str, ...]] = ("a", "b", "c", "d")
    keys: ClassVar[tuple[bytes, ...]] = (b"k", b"l")
    n: ClassVar[int] = 3
    r: ClassVar[int] = 2
    w: ClassVar[int] = 2
    sloppy: ClassVar[bool] = False
    """Whether others stand in for owners."""

    def begin(self) -> Harness:
        """Start a store on new disks."""
        raise NotImplementedError(f"{type(self).__name__}.begin")

    def __init__(self) -> None:
        """Start, with nothing written."""
        super().__init__()
        self.harness = self.begin()
        self.promises = Promises(self.w, reads_meet_writes=self.quorums_meet and not self.sloppy)
        self.puts: dict[int, bytes] = {}
        """Tickets of puts without an outcome, and what they write."""
        self.looks: dict[int, Look] = {}
        """Tickets of gets without an outcome."""
        self.reads: list[tuple[bytes, Read]] = []
        """Gets that succeeded and that no rule has picked up yet."""
        self.is_cut = False

    @property
    def quorums_meet(self) -> bool:
        """Whether R + W > N."""
        return self.r + self.w > self.n

    def teardown(self) -> None:
        """Stop the store."""
        self.harness.stop()

    # How rules ask.

    def start_put(self, node: str, key: bytes, shown: Read | None) -> None:
        """Ask for a put over what was shown, if the node is up."""
        if not self.harness.is_up(node):
            return
        value = b"%d" % (len(self.promises.writes) + 1)
        self.promises.asked_to_put(key, value, () if shown is None else shown.values)
        self.puts[self.harness.put(node, key, value, None if shown is None else shown.context)] = value

    def start_get(self, node: str, key: bytes) -> None:
        """Ask for a get, if the node is up."""
        if self.harness.is_up(node):
            look = self.promises.asked_to_get(key)
            self.looks[self.harness.get(node, key)] = look

    # Clients.

    @rule(node=some_node, key=some_key)
    def put_blind(self, node: str, key: bytes) -> None:
        """Write without having read."""
        self.start_put(node, key, None)

    @rule(node=some_node, read=seen)
    def put_over(self, node: str, read: tuple[bytes, Read]) -> None:
        """Write over what some get showed, however long ago."""
        self.start_put(node, read[0], read[1])

    @rule(node=some_node, key=some_key)
    def get(self, node: str, key: bytes) -> None:
        """Ask for a key."""
        self.start_get(node, key)

    @precondition(lambda self: self.reads)
    @rule(target=seen)
    def pick_up(self) -> MultipleResults[tuple[bytes, Read]]:
        """Take the contexts of gets that succeeded."""
        picked, self.reads = self.reads, []
        return multiple(*picked)

    # The network.

    @precondition(lambda self: self.harness.in_flight())
    @rule(which=places)
    def deliver(self, which: int) -> None:
        """One message arrives."""
        messages = self.harness.in_flight()
        note(f"delivers {messages[which % len(messages)]}")
        self.harness.deliver(which % len(messages))

    @precondition(lambda self: self.harness.in_flight())
    @rule()
    def deliver_all(self) -> None:
        """Everything that can arrive does, and what comes of it."""
        for _ in range(1_000):
            if not self.harness.in_flight():
                return
            self.harness.deliver(0)
        raise AssertionError("messages go round in circles")

    @precondition(lambda self: self.harness.in_flight())
    @rule(which=places)
    def drop(self, which: int) -> None:
        """One message is lost."""
        messages = self.harness.in_flight()
        note(f"drops {messages[which % len(messages)]}")
        self.harness.drop(which % len(messages))

    @precondition(lambda self: self.harness.in_flight())
    @rule(which=places)
    def duplicate(self, which: int) -> None:
        """One message is repeated."""
        messages = self.harness.in_flight()
        note(f"repeats {messages[which % len(messages)]}")
        self.harness.duplicate(which % len(messages))

    @precondition(lambda self: not self.is_cut)
    @rule(side=some_side)
    def cut(self, side: frozenset[str]) -> None:
        """Separate a few nodes."""
        self.is_cut = True
        self.harness.cut(side)

    @precondition(lambda self: self.is_cut)
    @rule()
    def heal(self) -> None:
        """Mend the cut."""
        self.is_cut = False
        self.harness.heal()

    # The nodes.

    @rule(node=some_node)
    def crash(self, node: str) -> None:
        """Kill a node between two steps."""
        if self.harness.is_up(node):
            self.harness.crash(node)

    @rule(node=some_node, released=st.frozensets(st.integers(0, 3), max_size=2))
    def crash_in_next_step(self, node: str, released: frozenset[int]) -> None:
        """Kill a node between a commit and what it has to say."""
        if self.harness.is_up(node):
            self.harness.crash_in_next_step(node, released)

    @precondition(lambda self: not all(map(self.harness.is_up, self.nodes)))
    @rule()
    def restart(self) -> None:
        """Start the nodes that are down."""
        for node in self.nodes:
            if not self.harness.is_up(node):
                self.harness.restart(node)

    @precondition(lambda self: self.harness.timers())
    @rule(which=places)
    def fire(self, which: int) -> None:
        """One timer fires."""
        timers = self.harness.timers()
        note(f"fires {timers[which % len(timers)]}")
        self.harness.fire(which % len(timers))

    # What must hold.

    @rule()
    def settle_and_read_everything(self) -> None:
        """Peace returns, every key is read once, and all its owners hold the same."""
        self.is_cut = False
        self.harness.settle()
        self.collect()
        assert not self.puts, "a client still waits for a put"
        assert not self.looks, "a client still waits for a get"
        for key in self.keys:
            self.start_get(self.nodes[0], key)
        self.harness.settle()
        before = len(self.reads)
        self.promises.reads_meet_writes = self.quorums_meet
        self.collect()
        self.promises.reads_meet_writes = self.quorums_meet and not self.sloppy
        assert len(self.reads) == before + len(self.keys), "a get failed in peace"
        disks = self.harness.disks()
        self.check_placement(disks)
        for key in self.keys:
            held = {node: sorted(disks[node].get(key, ())) for node in self.harness.owners(key)}
            assert len({tuple(values) for values in held.values()}) == 1, f"{key!r} was read and not repaired: {held}"

    def collect(self) -> None:
        """Hear what clients were told."""
        for ticket in list(self.puts):
            told = self.harness.outcome(ticket)
            if told is not None:
                assert not isinstance(told, Read), "a put was answered as a get"
                self.promises.writes[self.puts.pop(ticket)].told = told
        for ticket in list(self.looks):
            told = self.harness.outcome(ticket)
            if told is not None:
                assert not isinstance(told, Stored), "a get was answered as a put"
                look = self.looks.pop(ticket)
                if isinstance(told, Read):
                    self.promises.check_read(look, told)
                    self.reads.append((look.key, told))

    @invariant()
    def promises_are_kept(self) -> None:
        """What clients were told and what disks hold agree with what was promised."""
        self.collect()
        disks = self.harness.disks()
        self.promises.check_disks(disks)
        if not self.sloppy:
            self.check_placement(disks)

    def check_placement(self, disks: Mapping[str, Mapping[bytes, Collection[bytes]]]) -> None:
        """Whether only owners hold anything."""
        for node, table in disks.items():
            for key in table:
                assert node in self.harness.owners(key), f"{node} holds {key!r}, which it does not own"


class SloppyMachine(StoreMachine):
    """The same over a store whose nodes suspect whom they are told to suspect, and hand over when they are told to."""

    harness: SuspiciousHarness
    sloppy = True

    @rule(node=some_node, about=some_node, suspected=st.booleans())
    def suspect(self, node: str, about: str, suspected: bool) -> None:
        """A node changes its mind about another."""
        if node != about and self.harness.is_up(node):
            self.harness.suspect(node, about, suspected)

    @rule(node=some_node, owner=some_node)
    def hand_over(self, node: str, owner: str) -> None:
        """A node hands over what it owes another."""
        if node != owner and self.harness.is_up(node):
            self.harness.hand_over(node, owner)
