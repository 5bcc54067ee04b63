"""Safety of replicas: who holds what, for whom, and what becomes of those who are late or have lost their disk."""

from __future__ import annotations

from msgspec.structs import replace

from spec.actions import Action, Arrive, Ask, Restore, Wipe
from spec.history import known_by
from spec.messages import Answer, Repair, Write
from spec.network import Envelope, crosses
from spec.placement import is_owner
from spec.reading import conclusion
from spec.repair import fold_answers
from spec.ring import owners_of
from spec.siblings import Siblings, merge
from spec.state import GetInFlight
from spec.types import NodeId
from spec.views import owners_served, replicas, show_set
from spec.world import Server, State

# placement.


def placement(state: State) -> str | None:
    """Only the N owners of a key, distinct nodes, hold it, and nodes that owe it to one of them."""
    for name, key, _ in replicas(state):
        node = state.servers[name].node
        owners = owners_of(node.ring, key, node.config.n)
        if len(set(owners)) != node.config.n:
            return f"the preference list {', '.join(owners)} does not name {node.config.n} distinct nodes"
        if not owners_served(state, name, key):
            return f"{name} holds a key, and owes it to none of its owners {', '.join(owners)}"
    return None


def every_owner_holds(state: State) -> bool:
    """All N owners hold something."""
    sets = list(replicas(state))
    return bool(sets) and len(sets) == state.servers[sets[0][0]].node.config.n


# hint-conservation.


def hint_conservation(before: State, action: Action, after: State) -> str | None:
    """A hint goes only once its owner durably holds, or supersedes, everything that was held for it; or with a disk."""
    for name, server in before.servers.items():
        if isinstance(action, Wipe | Restore) and action.node == name:
            continue
        for key, row in server.disk.table.items():
            for owner in row.owed - after.servers[name].disk.row(key).owed:
                held = known_by(after.history, after.servers[owner].disk.row(key).siblings)
                lost = known_by(after.history, row.siblings) - held - after.history.lost[owner]
                if lost:
                    return f"{name} owed {owner} {', '.join(map(str, lost))}, which {owner} does not hold, and lets go"
    return None


def a_hint_is_let_go(before: State, _action: Action, after: State) -> bool:
    """A node has handed over what it owed."""
    return any(
        len(row.owed - after.servers[name].disk.row(key).owed) > 0
        for name, server in before.servers.items()
        for key, row in server.disk.table.items()
    )


# hint-limit.


def hint_limit(state: State) -> str | None:
    """No node keeps more hints than it may."""
    for name, server in state.servers.items():
        hints, most = hints_of(server), server.node.config.limits.hints
        if hints > most:
            return f"{name} keeps {hints} hints, and may keep {most}"
    return None


def hints_of(server: Server) -> int:
    """How many hints a node keeps, counted on its disk."""
    return sum(1 for _, row in server.disk.table.items() for _ in row.owed)


def there_is_no_room_for_a_hint(before: State, action: Action, after: State) -> bool:
    """A node that keeps as many hints as it may turns a put down, or what it is sent to keep for another."""
    if not isinstance(action, Ask | Arrive):
        return False
    name = action.node if isinstance(action, Ask) else action.envelope.target
    server = before.servers[name]
    if hints_of(server) < server.node.config.limits.hints:
        return False
    if isinstance(action, Ask):
        return after.history.refused != before.history.refused
    sent = action.envelope.message
    return isinstance(sent, Write) and sent.owner is not None and sent.owner not in server.disk.row(sent.key).owed


# read-repair.


def read_repair(before: State, action: Action, after: State) -> str | None:
    """Whoever's answer was staler than what a get knows is sent all of that, late answers and the reader's own too."""
    if not isinstance(action, Arrive) or not isinstance(action.envelope.message, Answer):
        return None
    reader, source, message = action.envelope.target, action.envelope.source, action.envelope.message
    get = before.servers[reader].requests.get(message.request)
    if not isinstance(get, GetInFlight) or source in get.answers:
        return None
    answers, n = get.answers.set(source, message.siblings), before.servers[reader].node.config.n
    if len(answers) < n and message.request not in after.servers[reader].requests:
        return f"{reader} stopped listening to the owners of {message.request} after {len(answers)} of {n}"
    known = fold_answers(answers)
    if not (get.answered or get.settling) and conclusion(replace(get, answers=answers), known) is None:
        return None
    for owner, siblings in answers.items():
        if not is_owner(after.servers[reader].node, owner, get.key):
            continue
        row = after.servers[owner].disk.row(get.key)
        lost = crosses(Envelope(reader, owner, Repair(get.key, known)), after.network.cut_off)
        if siblings != known and merge(row.siblings, known) != row.siblings:
            if owner == reader or not (lost or is_repaired_with(after, reader, owner, known)):
                return (
                    f"{owner} answered {show_set(siblings)} to a get that knows {show_set(known)}, and is not repaired"
                )
    return None


def is_repaired_with(state: State, reader: NodeId, owner: NodeId, known: Siblings) -> bool:
    """Whether a reader has sent an owner a set."""
    return any(
        (e.source, e.target) == (reader, owner) and isinstance(e.message, Repair) and e.message.siblings == known
        for e in state.network.in_flight
    )


def a_stale_answer_is_repaired(before: State, _action: Action, after: State) -> bool:
    """A read repair is on its way."""
    return any(isinstance(e.message, Repair) for e in after.network.in_flight) and not any(
        isinstance(e.message, Repair) for e in before.network.in_flight
    )


# catches-up.


def catches_up(before: State, action: Action, after: State) -> str | None:
    """A node that lost what it knew answers nothing before it knows all of it again that was acknowledged."""
    for name, dots in before.history.lost.items():
        whole = name not in after.history.lost
        if not whole and not answers(name, before, action, after):
            continue
        for _, row in after.servers[name].disk.table.items():
            dots = dots - known_by(after.history, row.siblings)
        if dots & after.history.acknowledged:
            does = "takes itself to be whole" if whole else "answers"
            return f"{name} {does}, and lacks {', '.join(map(str, dots & after.history.acknowledged))}"
    return None


def answers(name: NodeId, before: State, action: Action, after: State) -> bool:
    """Whether a node tells another in this step what it holds."""
    if not isinstance(action, Arrive) or action.envelope.target != name:
        return False
    told = [e for e in after.network.in_flight if e.source == name and isinstance(e.message, Answer)]
    return any(e not in before.network.in_flight for e in told)


def a_node_has_caught_up(before: State, _action: Action, after: State) -> bool:
    """A node has everything again that was acknowledged and that its lost disk knew."""
    lost, history = before.history.lost, after.history
    return any(len(dots & history.acknowledged) > 0 and name not in history.lost for name, dots in lost.items())
