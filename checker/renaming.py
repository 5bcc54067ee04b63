"""Renaming what a cluster is made of: nodes and clients that differ in nothing but their names.

A value of the specification is renamed by putting other names in the place of names, wherever they stand, and sets and
maps back into order. Names are a node's, its disk's and a client's, and the values that clients put, which name their
requests. Configuration and ring are not renamed: they are the same for all states of a scenario.

Which renamings a scenario allows is decided here, and tested by the audit of symmetry:

* nodes, where all of them own the key, among those whom clients may ask and among the others, and likewise among those
  who may suspect, or lose their disks: who comes first on the walk then matters to nobody. Where some node does not own
  the key, requests are forwarded to the first owner, and no renaming is allowed;
* clients that run the same program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import permutations, product
from typing import Any, TypeAlias, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from checker.symmetry import Renaming
from spec import network as net
from spec.cluster import initial
from spec.maps import Counts, FMap, FSet, SetMap
from spec.ring import Ring
from spec.types import Config, NodeId, RequestId
from spec.world import Scenario, State, client_id

T = TypeVar("T")
Text: TypeAlias = str | bytes


class Names(Struct, frozen=True):
    """A renaming: new names for old ones, and, of clients, new places for old ones."""

    nodes: tuple[int, ...]
    """For each node, by its place in the order of names, whose name it is given."""
    clients: tuple[int, ...]
    """For each client, whose place."""
    texts: Mapping[Text, Text]
    known: dict[Struct, Struct]
    """What was renamed before."""

    def of(self, value: T) -> T:
        """A renamed value, in which no client has a place."""
        return cast(T, _renamed(value, self.texts, self.known))

    def of_state(self, state: State) -> State:
        """A renamed state."""
        clients = list(state.clients)
        for place, client in zip(self.clients, state.clients, strict=True):
            clients[place] = self.of(client)
        in_flight = tuple(sorted(map(self.of, state.network.in_flight), key=net.rank))
        network = replace(state.network, in_flight=in_flight, cut_off=self.of(state.network.cut_off))
        return State(self.of(state.servers), tuple(clients), network, state.faults, self.of(state.history))


# Any: a value of the specification is made of values of any type, and what comes out has the type that went in.
def _renamed(value: Any, texts: Mapping[Text, Text], known: dict[Struct, Struct]) -> Any:
    if isinstance(value, (str, bytes)):
        return texts.get(value, value)
    if isinstance(value, tuple):
        return tuple([_renamed(element, texts, known) for element in value])
    if not isinstance(value, Struct) or isinstance(value, (Config, Ring)):
        return value
    found = known.get(value)
    if found is None:
        found = known[value] = _rebuilt(value, texts, known)
    return found


def _rebuilt(value: Struct, texts: Mapping[Text, Text], known: dict[Struct, Struct]) -> Struct:
    """A Struct from its renamed fields, in order where it keeps an order."""
    if isinstance(value, FSet):
        return FSet(tuple(sorted(_renamed(value.items, texts, known))))
    if isinstance(value, (FMap, Counts, SetMap)):
        return type(value)(tuple(sorted(_renamed(value.entries, texts, known), key=lambda entry: entry[0])))
    return replace(value, **{f: _renamed(getattr(value, f), texts, known) for f in value.__struct_fields__})


def renamings_of(scenario: Scenario) -> list[Names]:
    """All renamings that a scenario allows, the one that renames nothing first."""
    names = sorted(member.name for member in scenario.members)
    disks = {name: server.disk.about for name, server in initial(scenario).servers.items()}
    incarnations = [disk.incarnation for name in names if (disk := disks[name]) is not None]
    nodes: Iterable[tuple[int, ...]] = [tuple(range(len(names)))]
    if len(names) == scenario.config.n:
        alike = scenario.contacts, scenario.suspicious, scenario.losing
        nodes = [p for p in permutations(range(len(names))) if all(_keeps(p, names, some) for some in alike)]
    programs = scenario.programs
    everyone = range(len(programs))
    clients = [p for p in permutations(everyone) if all(programs[i] == programs[p[i]] for i in everyone)]
    found = []
    for p, q in product(nodes, clients):
        texts: dict[Text, Text] = {names[i]: names[p[i]] for i in range(len(names))}
        texts |= {incarnations[i]: incarnations[p[i]] for i in range(len(names))}
        for i in everyone:
            texts[client_id(i)] = client_id(q[i])
            for number in range(1, len(programs[i]) + 1):
                old, new = RequestId(client_id(i), number), RequestId(client_id(q[i]), number)
                texts[str(old).encode()] = str(new).encode()
        found.append(Names(p, q, texts, {}))
    return found


def _keeps(p: tuple[int, ...], names: list[NodeId], some: tuple[NodeId, ...]) -> bool:
    """Whether those of whom something is said are given each other's names."""
    return all((names[i] in some) == (names[p[i]] in some) for i in range(len(names)))


def generators_of(scenario: Scenario) -> list[Renaming[State]]:
    """Those renamings that exchange two names and leave all others."""
    names, found = sorted(member.name for member in scenario.members), list[Renaming[State]]()
    for renaming in renamings_of(scenario):
        moved: list[str] = [name for name, i, j in zip(names, range(len(names)), renaming.nodes, strict=True) if i != j]
        moved += [client_id(i) for i, j in enumerate(renaming.clients) if i != j]
        if len(moved) == 2:
            found.append(Renaming(f"exchanges {moved[0]} and {moved[1]}", renaming.of_state))
    return found
