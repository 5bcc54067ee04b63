"""Clients of a register, the network between them and its servers, and their history: Stateright's register harness.

Source: Stateright (github.com/stateright/stateright), `src/actor/register.rs`, `src/actor/model.rs` and
`src/semantics/linearizability.rs`. Servers have the numbers from 0, clients those after. Each client puts a value to
one server, and once that is answered gets from the next. The network is unordered and delivers each message once; a
message that its receiver ignores stays in it. The history is part of the state: of each call what was asked and
answered, and how many calls of each client had ended when it began. It is linearizable if the calls can be put in an
order that respects this, in which each get answers the latest put.
"""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from checker.machine import Always, Property, SimpleMachine, Sometimes

T = TypeVar("T")
NO_VALUE = ""


class Put(Struct, frozen=True, cache_hash=True, tag=True):
    """Write a value."""

    request: int
    value: str


class Get(Struct, frozen=True, cache_hash=True, tag=True):
    """Read the value."""

    request: int


class PutOk(Struct, frozen=True, cache_hash=True, tag=True):
    """It was written."""

    request: int


class GetOk(Struct, frozen=True, cache_hash=True, tag=True):
    """It was read."""

    request: int
    value: str


class Envelope(Struct, frozen=True, cache_hash=True, tag=True):
    """A message on its way; delivering it is the one kind of action."""

    source: int
    target: int
    message: Struct


class Client(Struct, frozen=True, cache_hash=True):
    """The request that it waits for, if any, and how many it has made."""

    awaiting: int | None
    asked: int


class Call(Struct, frozen=True, cache_hash=True):
    """A put of `value`, or a get that answered it; `after` says how many calls of each client had ended before."""

    put: bool
    value: str | None
    after: tuple[int, ...]


class State(Struct, Generic[T], frozen=True, cache_hash=True):
    """Everything there is; `ended` and `open` are the history, per client."""

    servers: tuple[T, ...]
    clients: tuple[Client, ...]
    network: frozenset[Envelope]
    ended: tuple[tuple[Call, ...], ...]
    open: tuple[Call | None, ...]


Handled = tuple[T, list[tuple[int, Struct]]]
"""What a server becomes, and what it sends to whom."""


class RegisterSystem(SimpleMachine[State[T], Envelope], Generic[T]):
    """`clients` clients and `servers` servers; a subclass says what a server is, and what it does with a message."""

    def __init__(self, name: str, clients: int, servers: int) -> None:
        """Any number of each."""
        self.name = name
        self.n_clients, self.n_servers = clients, servers
        self.properties: Sequence[Property[State[T], Envelope]] = (
            Always("linearizable", not_linearizable),
            Sometimes("value chosen", value_chosen, of="linearizable"),
        )

    def server(self, number: int) -> T:
        """How a server begins."""
        raise NotImplementedError

    def receive(self, number: int, server: T, source: int, message: Struct) -> Handled[T] | None:
        """What a server does with a message; None if it ignores it."""
        raise NotImplementedError

    def initial(self) -> list[State[T]]:
        """Every client has sent its put."""
        numbers = range(self.n_servers, self.n_servers + self.n_clients)
        values = [chr(ord("A") + i) for i in range(self.n_clients)]
        sent = [Envelope(n, n % self.n_servers, Put(n, value)) for n, value in zip(numbers, values, strict=True)]
        nothing = (0,) * self.n_clients
        return [
            State(
                tuple(map(self.server, range(self.n_servers))),
                tuple(Client(n, 1) for n in numbers),
                frozenset(sent),
                ((),) * self.n_clients,
                tuple(Call(True, value, nothing) for value in values),
            )
        ]

    def transitions(self, state: State[T]) -> list[tuple[Envelope, State[T]]]:
        """Every message delivered that its receiver does not ignore."""
        found = []
        for envelope in sorted(state.network, key=repr):
            if envelope.target < self.n_servers:
                after = self.at_server(state, envelope)
            else:
                after = self.at_client(state, envelope)
            if after is not None:
                found.append((envelope, after))
        return found

    def at_server(self, state: State[T], envelope: Envelope) -> State[T] | None:
        """A server receives."""
        number = envelope.target
        handled = self.receive(number, state.servers[number], envelope.source, envelope.message)
        if handled is None:
            return None
        server, said = handled
        sent = {Envelope(number, target, message) for target, message in said}
        assert not sent & state.network, "the network is a set, so nothing may be sent twice"
        servers = (*state.servers[:number], server, *state.servers[number + 1 :])
        return replace(state, servers=servers, network=state.network - {envelope} | sent)

    def at_client(self, state: State[T], envelope: Envelope) -> State[T] | None:
        """A client receives: its call has ended, and after a put comes a get."""
        message, index = envelope.message, envelope.target - self.n_servers
        client, call = state.clients[index], state.open[index]
        if not isinstance(message, PutOk | GetOk) or message.request != client.awaiting:
            return None
        assert call is not None, "it waits, so it has called"
        if isinstance(message, GetOk):
            call = replace(call, value=message.value)
        ended = _put(state.ended, index, (*state.ended[index], call))
        network, awaiting, opened = state.network - {envelope}, None, None
        if isinstance(message, PutOk):
            awaiting = (client.asked + 1) * envelope.target
            target = (envelope.target + client.asked) % self.n_servers
            network |= {Envelope(envelope.target, target, Get(awaiting))}
            opened = Call(False, None, tuple(len(calls) if i != index else 0 for i, calls in enumerate(ended)))
        clients = _put(state.clients, index, Client(awaiting, client.asked + 1))
        return State(state.servers, clients, network, ended, _put(state.open, index, opened))

    def is_final(self, state: State[T]) -> bool:
        """Every client has its answers."""
        return all(client.awaiting is None for client in state.clients)

    def describe_action(self, action: Envelope) -> str:
        """Who hears what."""
        return f"{action.source} → {action.target}: {action.message}"


U = TypeVar("U")


def _put(values: tuple[U, ...], index: int, value: U) -> tuple[U, ...]:
    return (*values[:index], value, *values[index + 1 :])


def value_chosen(state: State[T]) -> bool:
    """A get is being answered with something that was put."""
    return any(isinstance(e.message, GetOk) and e.message.value != NO_VALUE for e in state.network)


def not_linearizable(state: State[T]) -> str | None:
    """Some order of the calls explains all answers."""
    calls = [(*ended, call) if call else ended for ended, call in zip(state.ended, state.open, strict=True)]
    must = [len(ended) for ended in state.ended]
    if any(_orders(calls, must, (0,) * len(calls), NO_VALUE)):
        return None
    return "no order of the calls explains what the gets answered"


def _orders(calls: list[tuple[Call, ...]], must: list[int], taken: tuple[int, ...], value: str) -> Iterator[bool]:
    """True for each way to take the rest of the calls, of which those still open may be left out."""
    if all(n >= least for n, least in zip(taken, must, strict=True)):
        yield True
    for i, n in enumerate(taken):
        if n == len(calls[i]):
            continue
        call = calls[i][n]
        too_early = any(taken[j] < after for j, after in enumerate(call.after))
        if not too_early and (call.put or call.value in (None, value)):
            now = (call.value or NO_VALUE) if call.put else value
            yield from _orders(calls, must, _put(taken, i, n + 1), now)
