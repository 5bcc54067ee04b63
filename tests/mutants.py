"""Deliberate mistakes in the specification, each the smallest edit that makes it, and what has to notice it.

A mutant is an edit of `spec/`, carried as those of the museum are (`checker.bugs.edits`); the checker and the runtime
beside it stay as they are. `echo '[["check", …], …]' | python -m tests.mutants NAME` says what `ringspec check …` says
with the mutant of that name, and so on.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import msgspec
from msgspec import Struct

from checker.bugs.edits import Edit, carry


class Mutant(Struct, frozen=True, kw_only=True):
    """One mistake."""

    name: str
    file: str
    old: str
    new: str
    model: str = ""
    """The model whose check has to fail, if a check is to notice it."""
    claim: str = ""
    """The claim that has to fail there."""
    runs: bool = False
    """Whether it is a claim of whole runs."""
    unproved: str = ""
    """The law, or claim of an action, whose proof has to fail, if a proof is to notice it."""
    diverges: bool = False
    """Whether validating a recorded run against it has to fail."""


MUTANTS = (
    Mutant(
        name="a dot is covered only by a higher counter (>= becomes >)",
        file="clock.py",
        old="return clock[dot.actor] >= dot.counter",
        new="return clock[dot.actor] > dot.counter",
        model="put-get-drop",
        claim="context-honesty",
        unproved="put/inv_minted",
        diverges=True,
    ),
    Mutant(
        name="a replica acknowledges without writing",
        file="repair.py",
        old="        store(storage, message.key, message.siblings, owed),\n        (Send(source, Written",
        new="        (),\n        (Send(source, Written",
        model="put-get-drop",
        claim="quorum-meaning-put",
        diverges=True,
    ),
    Mutant(
        name="effects leave before the commit, and a crash takes the writes",
        file="cluster.py",
        old="            return replace(crash(stepped, event_of(action.during)[0]), faults=fewer)",
        new="            name = event_of(action.during)[0]\n"
        "            lost = replace(stepped.servers[name], disk=state.servers[name].disk)\n"
        "            dead = crash(replace(stepped, servers=stepped.servers.set(name, lost)), name)\n"
        "            return replace(dead, faults=fewer)",
        model="puts-crash",
        claim="dot-uniqueness",
    ),
    Mutant(
        name="a fallback forgets whom it stands in for",
        file="repair.py",
        old="store(storage, message.key, message.siblings, owed)",
        new="store(storage, message.key, message.siblings)",
        model="sloppy-put",
        claim="placement",
    ),
    Mutant(
        name="a hint goes as soon as it was handed over",
        file="handoff.py",
        old="    return Outcome(node, None, effects=tuple(sends))",
        new="    left = tuple(\n"
        "        WriteRow(key, replace(storage.row(key), owed=storage.row(key).owed - FSet.of([event.target])))\n"
        "        for key in event.keys\n"
        "    )\n"
        "    return Outcome(node, None, left, tuple(sends))",
        model="sloppy-put",
        claim="hint-conservation",
    ),
    Mutant(
        name="a hint goes when its owner has acknowledged an earlier set",
        file="handoff.py",
        old="not may_release(row.siblings, message.context)",
        new="False",
        model="sloppy-put-put",
        claim="hint-conservation",
    ),
    Mutant(
        name="a node stands in for others, whether or not it has room for the hint",
        file="hints.py",
        old="    return owner in storage.row(key).owed or storage.count_hints() < node.config.limits.hints",
        new="    return True",
        model="no-room-for-hints",
        claim="hint-limit",
    ),
    Mutant(
        name="whoever is late is owed it, whether or not there is room for the hint",
        file="hints.py",
        old="FSet(lacking.items[:room])",
        new="lacking",
        model="no-room-for-the-late",
        claim="hint-limit",
    ),
    Mutant(
        name="the hint that a step makes itself takes no room",
        file="hints.py",
        old="    made = len(row.owed) - len(storage.row(key).owed)",
        new="    made = 0",
        model="no-room-for-the-late",
        claim="hint-limit",
    ),
    Mutant(
        name="a node without room for a hint acknowledges what it does not store",
        file="repair.py",
        old="            return Outcome(node, request)\n        owed =",
        new="            told = Written(message.request, message.owner)\n"
        "            return Outcome(node, request, (), (Send(source, told),))\n        owed =",
        model="no-room-for-hints",
        claim="quorum-meaning-put",
    ),
    Mutant(
        name="a node without room for a hint coordinates for its owner all the same",
        file="writing.py",
        old="    if stands_for != node.name and not may_owe(",
        new="    if False and not may_owe(",
        model="no-room-to-stand-in",
        claim="quorum-meaning-put",
    ),
    Mutant(
        name="hints are never handed over",
        file="handoff.py",
        old="    if event.target in node.suspected:\n",
        new="    if True:\n",
        model="hints-drain",
        claim="hints-drain",
        runs=True,
    ),
    Mutant(
        name="a hint stays although its owner has acknowledged",
        file="handoff.py",
        old="    left = row.owed - FSet.of([source])",
        new="    left = row.owed",
        model="hints-drain",
        claim="hints-drain",
        runs=True,
    ),
    Mutant(
        name="whoever is suspected is suspected for ever",
        file="node.py",
        old="node.suspected | about if event.suspected else node.suspected - about",
        new="node.suspected | about if event.suspected else node.suspected",
        model="hints-drain",
        claim="hints-drain",
        runs=True,
    ),
    Mutant(
        name="whoever is late is owed nothing when time is up",
        file="coordinate.py",
        old="    if isinstance(request, PutInFlight) and node.config.sloppy:\n",
        new="    if False:\n",
        model="hints-drain",
        claim="convergence",
        runs=True,
    ),
    Mutant(
        name="a node that owns nothing of a key lets the first owner coordinate, suspected or not",
        file="placement.py",
        old="    if node.name in holders:\n        return node.name\n"
        "    owners = owners_of(node.ring, key, node.config.n)\n    if not node.config.sloppy:\n",
        new="    owners = owners_of(node.ring, key, node.config.n)\n"
        "    if node.name in owners:\n        return node.name\n    if True:\n",
        model="always-writable-three",
        claim="always-writable-client1#1",
        runs=True,
    ),
    Mutant(
        name="a put that is asked again is minted again where it was forgotten",
        file="writing.py",
        old="put.again and may_have_forgotten(row)",
        new="False",
        model="ask-again",
        claim="one-dot-per-request",
    ),
    Mutant(
        name="a put that is asked again is minted by who stands in for its first coordinator",
        file="writing.py",
        old="asked.origin is None and stands_for == node.name",
        new="asked.origin is None",
        model="stand-in-ask-again",
        claim="one-dot-per-request",
    ),
    Mutant(
        name="a put that is asked again is minted by another owner than its first coordinator",
        file="writing.py",
        old="asked.origin is None and stands_for == node.name",
        new="stands_for == node.name",
        model="sloppy-ask-elsewhere",
        claim="one-dot-per-request",
    ),
    Mutant(
        name="a put is refused that an earlier attempt wrote",
        file="requests.py",
        old="isinstance(operation, Put) and operation.again",
        new="False",
        model="refuse-again",
        claim="refusal-is-final",
    ),
    Mutant(
        name="a context goes one write beyond what is shown",
        file="siblings.py",
        old="max(known[version.dot.actor], version.dot.counter))",
        new="max(known[version.dot.actor], version.dot.counter) + 1)",
        model="put-get-drop",
        claim="context-honesty",
        unproved="law_context_of",
    ),
    Mutant(
        name="a put shows what its coordinator holds with the context that its client brought",
        file="writing.py",
        old="found(row.siblings) if request.show",
        new="replace(found(row.siblings), context=min((v.context for v in row.siblings if v.dot == request.dot))) "
        "if request.show",
        model="show",
        claim="context-honesty",
    ),
    Mutant(
        name="the context of a put is what the coordinator holds, not what its client saw",
        file="writing.py",
        old="Version(dot, put.context, put.value)",
        new="Version(dot, found(row.siblings).context, put.value)",
        model="puts",
        claim="exact-discard",
        diverges=True,
    ),
    Mutant(
        name="a coordinator sends the new version alone, not the whole set",
        file="writing.py",
        old="Write(request, put.key, kept.siblings, ",
        new="Write(request, put.key, FSet.of(v for v in kept.siblings if v.dot == dot), ",
        model="puts-get",
        claim="context-honesty",
        diverges=True,
    ),
    Mutant(
        name="a put is acknowledged one owner too early",
        file="quorum.py",
        old="return len(nodes) >= size",
        new="return len(nodes) >= size - 1",
        model="put-get-drop",
        claim="quorum-meaning-put",
        unproved="law_quorums_intersect",
        diverges=True,
    ),
    Mutant(
        name="an acknowledgement that arrives twice counts twice",
        file="writing.py",
        old="        if not is_written(",
        new="        twice = holder in request.acknowledged and len(counted.acknowledged) > 1\n"
        "        if not twice and not is_written(",
        model="write-all-duplicate",
        claim="quorum-meaning-put",
    ),
    Mutant(
        name="what a put wishes is not asked for",
        file="writing.py",
        old="write_quorum(put.wishes, ",
        new="write_quorum(type(put.wishes)(), ",
        model="put-all-get-one",
        claim="quorum-meaning-put",
    ),
    Mutant(
        name="what a get wishes is not asked for",
        file="reading.py",
        old="read_quorum(get.wishes, ",
        new="read_quorum(type(get.wishes)(), ",
        model="put-one-get-all",
        claim="quorum-meaning-get",
    ),
    Mutant(
        name="whoever stands in for a primary counts as one of a put",
        file="writing.py",
        old="primaries(counted.holders, counted.acknowledged), counted.quorum)",
        new="counted.acknowledged, counted.quorum)",
        model="primaries",
        claim="quorum-meaning-put",
    ),
    Mutant(
        name="whoever stands in for a primary counts as one of a get",
        file="reading.py",
        old="if is_read(told, primaries(request.holders, told), quorum)",
        new="if is_read(told, told, quorum)",
        model="primaries",
        claim="quorum-meaning-get",
    ),
    Mutant(
        name="who holds nothing has answered although that is to count for nothing",
        file="reading.py",
        old="    if request.quorum.notfound_ok:",
        new="    if True:",
        model="notfound",
        claim="quorum-meaning-get",
    ),
    Mutant(
        name="one owner who holds nothing is enough to say that nothing is there",
        file="reading.py",
        old="enough = majority(everybody) if",
        new="enough = 1 if",
        model="basic-quorum",
        claim="quorum-meaning-get",
    ),
    Mutant(
        name="a reader takes whomever it has heard to hold what there is",
        file="reading.py",
        old="fresh = FSet.of(name for name in said if heard.answers[name] == merged)",
        new="fresh = FSet.of(said)",
        model="blocking",
        claim="quorum-meaning-get",
    ),
    Mutant(
        name="a repair is acknowledged without writing",
        file="repair.py",
        old="return Outcome(node, request, writes, (Send(source, told),))",
        new="return Outcome(node, request, (), (Send(source, told),))",
        model="blocking",
        claim="quorum-meaning-get",
    ),
    Mutant(
        name="a put is taken although something is there",
        file="writing.py",
        old='if put.condition == "none-match" and held:',
        new='if put.condition == "none-match" and len(held) > 1:',
        model="conditional-again",
        claim="conditional-put",
    ),
    Mutant(
        name="a put is taken if its client has seen something of what is there",
        file="writing.py",
        old="context_of(held) != put.context",
        new="not any(covers(put.context, version.dot) for version in held)",
        model="conditional-seen",
        claim="conditional-put",
    ),
    Mutant(
        name="a repair overwrites instead of merging",
        file="repair.py",
        old="    merged = merge(row.siblings, siblings)\n",
        new="    merged = siblings\n",
        model="puts",
        claim="quorum-meaning-put",
    ),
    Mutant(
        name="a row forgets how far it has counted",
        file="writing.py",
        old="        counter=counter,\n        minted",
        new="        counter=0,\n        minted",
        model="puts",
        claim="dot-uniqueness",
        diverges=True,
    ),
    Mutant(
        name="merging keeps what the other side has superseded",
        file="siblings.py",
        old="    kept_b = FSet.of(v for v in b if not any(supersedes(u, v) for u in a))",
        new="    kept_b = b",
        model="reconcile",
        claim="merge-is-join",
        unproved="law_merge_antichain",
    ),
    Mutant(
        name="a request repeated by the network mints again",
        file="writing.py",
        old="    if dot is None:\n",
        new="    if dot is None or asked.origin is not None:\n",
        model="forward-duplicate",
        claim="one-dot-per-request",
    ),
    Mutant(
        name="a reader repairs the others and not itself",
        file="repair.py",
        old="    writes = store(storage, request.key, merged) if node.name in stale else ()\n",
        new="    writes: tuple[StorageWrite, ...] = ()\n",
        model="put-get-drop",
        claim="read-repair",
    ),
    Mutant(
        name="answers that come after the reply are not looked at",
        file="reading.py",
        old="    listening = len(after.answers.entries) < len(after.holders.entries) and",
        new="    listening = False and",
        model="put-get-drop",
        claim="read-repair",
    ),
    Mutant(
        name="a refusal that the network may undo is passed on as final",
        file="coordinate.py",
        old="    if request.is_put and isinstance(result, Refused):\n",
        new="    if False:\n",
        model="refuse",
        claim="refusal-is-final",
    ),
    Mutant(
        name="a node that lost its disk answers at once",
        file="trust.py",
        old="        return node.confirmed\n    return is_whole(",
        new="        return True\n    return True or is_whole(",
        model="wipe",
        claim="catches-up",
    ),
    Mutant(
        name="a node that lost its disk counts itself when it reads",
        file="reading.py",
        old="    if not may_answer(node, known_disk(storage), get.key):",
        new="    if False:",
        model="wipe",
        claim="quorum-meaning-get",
    ),
    Mutant(
        name="a node is whole when one other has given it everything",
        file="trust.py",
        old="lacking=disk.lacking - FSet.of([source])",
        new="lacking=disk.lacking - disk.lacking",
        model="wipe",
        claim="catches-up",
        unproved="take_back/inv_lost",
    ),
    Mutant(
        name="what an earlier disk was given counts for this one",
        file="trust.py",
        old="return disk.incarnation == incarnation and source in disk.lacking",
        new="return source in disk.lacking",
        model="wipe-both",
        claim="catches-up",
        unproved="take_back/inv_lost",
    ),
    Mutant(
        name="who gives to a node that lost its disk does not tell its mark again",
        file="comeback.py",
        old="max(disk.seen[source], message.mark)",
        new="disk.seen[source]",
        model="wipe-restore",
        claim="dot-uniqueness",
    ),
    Mutant(
        name="disks that may both be from the past confirm each other",
        file="trust.py",
        old="all(is_quorum(told & owners, node.config.w) for owners in concerned)",
        new="True",
        model="restore-two",
        claim="dot-uniqueness",
    ),
    Mutant(
        name="those who own nothing of a key say that its owner's disk is not from the past",
        file="trust.py",
        old="is_quorum(told & owners, node.config.w)",
        new="is_quorum(told, node.config.w)",
        model="restore-stranger",
        claim="dot-uniqueness",
    ),
    Mutant(
        name="a disk from the past is not noticed",
        file="trust.py",
        old="return disk.mark < mark",
        new="return False",
        model="restore-puts",
        claim="dot-uniqueness",
    ),
    Mutant(
        name="a node names writes before it is told that its disk is not from the past",
        file="trust.py",
        old="return disk if node.confirmed else renamed(disk, node.run)",
        new="return disk",
        model="restore-puts",
        claim="dot-uniqueness",
    ),
    Mutant(
        name="a node whose disk is from the past catches up under its old name",
        file="trust.py",
        old="lacking_all(renamed(disk, node.run), others(node))",
        new="lacking_all(disk, others(node))",
        model="restore-puts",
        claim="dot-uniqueness",
    ),
    Mutant(
        name="a node whose disk is from the past takes a new name and catches up on nothing",
        file="trust.py",
        old="lacking_all(renamed(disk, node.run), others(node))",
        new="renamed(disk, node.run)",
        model="restore",
        claim="catches-up",
    ),
    Mutant(
        name="a put that is asked again is minted again where a disk was lost",
        file="writing.py",
        old="    if lost:\n",
        new="    if False:\n",
        model="wipe-again",
        claim="one-dot-per-request",
    ),
    Mutant(
        name="a row that is named anew forgets for whom it minted under its other name",
        file="trust.py",
        old="minted=(), former=former)",
        new="minted=())",
        model="forward-repeated",
        claim="one-dot-per-request",
    ),
    Mutant(
        name="a row that is named anew forgets that it had another name",
        file="trust.py",
        old="any(a.node == node.name and a.incarnation != disk.incarnation for a in context_of(row.siblings))",
        new="0 < row.birth <= disk.since",
        model="restart-again",
        claim="one-dot-per-request",
    ),
    Mutant(
        name="as many disks may be lost as hold a write",
        file="enabled.py",
        old="    return len(lost & FSet.of(owners_asked(scenario, state))) < scenario.config.w",
        new="    return True",
        model="wipe-both",
        claim="no-lost-write",
    ),
    Mutant(
        name="the context of a get omits what was superseded",
        file="siblings.py",
        old="    known = join(clock, version.context)\n",
        new="    known = clock\n",
        unproved="law_context_of",
    ),
    Mutant(
        name="whoever stands in for owners counts as one of them when a put is acknowledged",
        file="quorum.py",
        old="is_quorum(owners, quorum.w) and is_quorum(primaries, quorum.pw)",
        new="is_quorum(owners, quorum.w) and is_quorum(owners, quorum.pw)",
        unproved="ask/inv_due",
    ),
    Mutant(
        name="an owner's acknowledgement covers whatever has come since",
        file="handoff.py",
        old="return all(covers(context, v.dot) for v in held)",
        new="return True",
        unproved="confirm/inv_confirmed",
    ),
    Mutant(
        name="an owner answers although it lacks what another holds",
        file="trust.py",
        old="return not any(owner in disk.lacking for owner in owners)",
        new="return True",
        model="wipe",
        claim="catches-up",
        unproved="answer/inv_due",
    ),
    Mutant(
        name="an owner's answer is dropped when the next one comes",
        file="protocol/gets.py",
        old="merged = merge(s.gathered[t.reading], t.versions)",
        new="merged = t.versions",
        unproved="collect/inv_due",
    ),
)


class Ended(Struct, frozen=True):
    """What became of a command."""

    status: int
    out: str
    err: str


def main(name: str, commands: list[list[str]]) -> list[Ended]:
    """`ringspec …` with a mutant, once for each command: in one process, for starting takes longer than most."""
    carry("", [next(Edit(m.file, m.old, m.new) for m in MUTANTS if m.name == name)])

    from impl.cli import main

    ended = list[Ended]()
    for command in commands:
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            status = 0
            try:
                main(command)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
        ended.append(Ended(status, out.getvalue(), err.getvalue()))
    return ended


if __name__ == "__main__":
    commands = msgspec.json.decode(sys.stdin.buffer.read(), type=list[list[str]])
    sys.stdout.buffer.write(msgspec.json.encode(main(sys.argv[1], commands)))
