"""What clients ask for and are told, and the ghost history that judges it.

A client's request reaches the node, and the reply the client, within the node's step. What a get owes its client is
settled when it is asked, by `spec.history`; what it did not show is noted when it is told. Whoever says that a put is
stored has promised it, whether or not its client hears of it.
"""

from __future__ import annotations

from msgspec.structs import replace

from spec import network as net
from spec.actions import Ask
from spec.clock import NOTHING, Dot
from spec.events import Reply
from spec.history import NOTHING_OWED, Owed, claimed_to, having_read, known_by, wished
from spec.maps import FSet
from spec.messages import Forwarded, Found, Get, Indefinite, Put, Refused, Result, Stored, shown_by
from spec.network import Envelope
from spec.types import RequestId
from spec.world import Asked, Client, State, client_id


def ask(state: State, action: Ask, owed: Owed) -> State:
    """A client is about to put its next operation to a node, or the one before again; a get is owed this."""
    client, history = state.clients[action.client], state.history
    asking = Client(done=client.done, patience=client.patience, waits_for=action.node)
    if not isinstance(action.operation, Put):
        asking = replace(asking, owed=owed.known, undeniable=owed.undeniable)
    else:
        if client.patience:
            asking = replace(asking, asked=Asked(action.node, action.operation))
        if client.asked is None:
            seen = client.seen if action.operation.context != NOTHING else FSet[Dot]()
            history = replace(history, shown=history.shown.set(action.request, seen))
    clients = put_client(state.clients, action.client, asking)
    return State(state.servers, clients, state.network, state.faults, history)


def put_client(clients: tuple[Client, ...], index: int, client: Client) -> tuple[Client, ...]:
    """The clients with one replaced."""
    return (*clients[:index], client, *clients[index + 1 :])


def claims_of(state: State, action: Ask) -> Owed:
    """What the get that a client is about to ask is claimed to know; of a put, nothing."""
    acknowledged, read = state.history.acknowledged, state.history.read
    if not isinstance(action.operation, Get) or (not acknowledged and not read):
        return NOTHING_OWED
    config = state.servers[action.node].node.config
    return claimed_to(action.operation.wishes, acknowledged, read, wished(state.history.created), config)


def release(state: State, leaving: tuple[Envelope | Reply, ...]) -> State:
    """Let what a committed step says reach the network and the clients."""
    sent: list[Envelope] = []
    for said in leaving:
        state = promise(state, said)
        if isinstance(said, Reply):
            state = tell(state, said.request, said.result)
        else:
            sent.append(said)
    if not sent:
        return state
    return State(state.servers, state.clients, net.send(state.network, sent), state.faults, state.history)


def promise(state: State, said: Envelope | Reply) -> State:
    """Whoever says that a put is stored has promised it, whether or not the client hears of it; and so, where repair
    comes first, whoever says what there is."""
    message, history = said if isinstance(said, Reply) else said.message, state.history
    if not isinstance(message, (Reply, Forwarded)):
        return state
    if isinstance(message.result, Stored):
        acknowledged = history.acknowledged | FSet((message.result.dot,))
        return replace(state, history=replace(history, acknowledged=acknowledged))
    if isinstance(message.result, Found) and repairs_first(state):
        shown = message.result.siblings
        read = having_read(history.read, shown, known_by(history, shown))
        return replace(state, history=replace(history, read=read))
    return state


def tell(state: State, request: RequestId, result: Result) -> State:
    """A client learns what came of its request."""
    index = next(i for i in range(len(state.clients)) if client_id(i) == request.client)
    client, history = state.clients[index], state.history
    assert client.waits_for is not None, "a client is told once, and only what it asked"
    assert client.done + 1 == request.operation, "a client is told once, and only what it asked"
    if isinstance(result, Indefinite) and client.asked is not None:
        doubting = Client(done=client.done, patience=client.patience - 1, asked=client.asked)
        return replace(state, clients=put_client(state.clients, index, doubting))
    idle = Client(done=client.done + 1, patience=client.patience)
    shown = shown_by(result)
    if shown is not None:
        seen = known_by(history, shown.siblings)
        owed = client.owed if shown.siblings else client.owed | client.undeniable
        idle = replace(idle, context=shown.context, seen=seen, missed=owed - seen)
    elif isinstance(result, Refused):
        history = replace(history, refused=history.refused | FSet((request,)))
    return replace(state, clients=put_client(state.clients, index, idle), history=history)


def repairs_first(state: State) -> bool:
    """Whether what a get shows is held by W owners by then."""
    return any(server.node.config.blocking_repair for _, server in state.servers.entries[:1])
