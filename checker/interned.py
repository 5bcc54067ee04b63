"""The store as the explorer sees it when it is in a hurry: a machine over bytes.

What an action makes of the components that it is about is found out once, by `spec.cluster` itself (`checker.frames`);
every head that has them takes the answer from a table and adds its other components, and every state with that head
its other messages (`checker.heads`). Claims are judged likewise (`checker.verdicts`). Nothing is decided here: the
audits compare all of it with whole states.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import combinations
from operator import attrgetter

from checker.frames import Frames, small
from checker.heads import SPENT, Head, Heads, Local, Step
from checker.machine import Always, Property, SometimesStep, Transition
from checker.outcome import Violation
from checker.verdicts import Verdicts
from spec import cluster, enabled
from spec.actions import Action, Cut, HandOver
from spec.messages import Read
from spec.network import Network, crosses
from spec.world import State

CUT, HAND_OVER = Cut.__name__, HandOver.__name__
CLAIMS = "claims"
"""The one property of the reduced machine that stands for those of the real one that are judged step by step."""


class Interned(Heads):
    """A scenario's machine over bytes, reduced by its rules; `checker.reduce` says what it is used for."""

    longest = 4

    def __init__(
        self, name: str, frames: Frames, properties: Sequence[Property[State, Action]], kinds: Sequence[str]
    ) -> None:
        """`properties` are those of the real machine, `kinds` the kinds of action that the scenario allows."""
        super().__init__(frames)
        self.name = name
        self.action_kind = attrgetter("kind")  # of a step: that of its first real action
        self.action_kinds = [kind for kind in kinds if kind != "Restart" or not self.rules.restarts]
        self._verdicts = Verdicts(properties)
        self.properties = self._properties()
        self._quiet: dict[tuple[int, ...], list[Local]] = {}
        self._about: dict[tuple[int, ...], list[Local]] = {}
        self._answers: dict[tuple[int, int, int], int] = {}
        self._reads: dict[int, int] = {}
        self._orbits: dict[bytes, int] = {}

    def _properties(self) -> Sequence[Property[bytes, Step]]:
        """What is judged step by step as one property, each witness, and what has to be asked of whole states."""
        verdicts = self._verdicts
        claims = Transition[bytes, Step](CLAIMS, lambda _, step, __: step.failed or None)
        witnesses = [
            SometimesStep[bytes, Step](p.name, lambda _, __, ___, name=p.name: verdicts.met(name), CLAIMS)  # type: ignore[misc] # mypy infers no lambda with a default
            for p in verdicts.unmet
        ]
        whole = [Always[bytes](p.name, lambda state, p=p: p.violation(self.whole(state))) for p in verdicts.of_states]  # type: ignore[misc] # as above
        return [claims, *witnesses, *whole]

    # As a machine.

    def initial(self) -> Iterable[bytes]:
        """The one that the scenario starts in."""
        first = cluster.initial(self.scenario, self.frames.driver)
        self._verdicts.look_at(first)
        return [self.key(first)]

    def transitions(self, state: bytes) -> Iterator[tuple[Step, bytes]]:
        """Every step from a representative."""
        number, *bag = array("I", state)
        head, least = self._heads[number], self._least
        if not self.rules.of_messages and state not in self._orbits:
            self._orbits[state] = self._orbit_size(head, bag)
        if head.quiet is None:
            head.quiet = self._different(self._quiet_steps(head), [], ())
        for step in head.quiet:
            if step.kind == HAND_OVER and self._handing(step, bag):
                continue
            rest = self._uncut(step.after, bag) if step.kind == CUT else bag
            yield step, least(step.after, rest + step.left)
            if step.changed:
                yield from self._answered_first(head, step, rest)
        last = -1
        for at, message in enumerate(bag):
            if message == last:
                continue
            last, rest = message, bag[:at] + bag[at + 1 :]
            steps = head.about.get(message)
            if steps is None:
                steps = self._different(self._steps_about(head, message), head.quiet, (message,))
                head.about[message] = steps
            for step in steps:
                yield step, least(step.after, rest + step.left)
                if step.changed:
                    yield from self._answered_first(head, step, rest)

    def is_final(self, state: bytes) -> bool:
        """Whether every client has had its answers."""
        return enabled.is_final(self.scenario, self._heads[array("I", state)[0]].state)

    # As a reduction.

    @property
    def machine(self) -> Interned:
        """Itself."""
        return self

    def blamed(self, violation: Violation[bytes, Step]) -> str:
        """What failed in the last step, or was never met."""
        return violation.clause if violation.property == CLAIMS else violation.property

    def stands_for(self) -> int | None:
        """The sizes of all orbits, if nothing but symmetry was made use of."""
        return None if self.rules.of_messages else sum(self._orbits.values())

    # Steps.

    def _quiet_steps(self, head: Head) -> Iterator[Step]:
        """What can happen without a message, server by server."""
        common = head.parts[len(self._names) :]
        for place, name in enumerate(self._names):
            key = (place, head.parts[place], *common)
            if key not in self._quiet:
                found = self.frames.quiet(head.state, name)
                self._quiet[key] = [self._local(head, small(head.state), actions, (place,)) for actions in found]
            yield from [self._step(head, local) for local in self._quiet[key]]
        if common not in self._quiet:
            found = self.frames.quiet(head.state, None)
            self._quiet[common] = [self._local(head, small(head.state), actions, ()) for actions in found]
        yield from [self._step(head, local) for local in self._quiet[common]]

    def _steps_about(self, head: Head, message: int) -> Iterator[Step]:
        """What can happen with a message."""
        target, source = self._ends_of(message)
        key = (message, head.parts[target], head.parts[source], *head.parts[len(self._names) :])
        if key not in self._about:
            state = small(head.state, self._messages.values[message])
            found = self.frames.about(state, self._messages.values[message])
            self._about[key] = [self._local(head, state, actions, (target, source)) for actions in found]
        return (self._step(head, local) for local in self._about[key])

    def _different(self, steps: Iterable[Step], others: Sequence[Step], besides: tuple[int, ...]) -> list[Step]:
        """Those steps that fail or lead elsewhere than the others, which leave a message besides, and than each other.

        A crash just before a step leaves what a crash after it leaves, if the step changed nothing but memory.
        """
        if self._reopens or not self.rules.of_messages:
            return list(steps)
        ends, different = {self._end(step, besides) for step in others}, list[Step]()
        for step in steps:
            end = self._end(step, ())
            if end not in ends or step.failed:
                ends.add(end)
                different.append(step)
        return different

    def _end(self, step: Step, besides: tuple[int, ...]) -> Hashable:
        """Where a step leads while nothing else is in flight: if two lead to the same place then, they always do."""
        head, forms = step.after, list[int]()
        for message in (*step.left, *besides):
            if message not in head.tables[0]:
                head.tables[0][message] = self._form(head, head.renamings[0], message)
            forms.append(head.tables[0][message])
        return head.parts, tuple(sorted(form for form in forms if form != SPENT))

    def _local(self, head: Head, state: State, actions: tuple[Action, ...], places: tuple[int, ...]) -> Local:
        """Take actions, and keep what becomes of what they may touch: these servers, the clients, the rest."""
        taken = self.frames.take(state, actions)
        failed = next((name for _, after in taken if (name := self._verdicts.of_parts(after))), "")
        local = Local(type(actions[0]).__name__, failed)
        local.nets.append(state.network.in_flight)
        for action, after in taken:
            parts = self._parts(after)
            changes = [(i, new) for i, (old, new) in enumerate(zip(head.parts, parts, strict=True)) if old != new]
            assert all(i in places or i >= len(self._names) for i, _ in changes), "a server changed that was not meant"
            local.actions.append(action)
            local.changes.append(changes)
            local.nets.append(after.network.in_flight)
        local.left = [self._messages.number(envelope) for envelope in local.nets[-1]]
        return local

    def _step(self, before: Head, local: Local) -> Step:
        """What becomes of a head, judged on the way."""
        failed, here = local.failed, before
        for at, (action, changes) in enumerate(zip(local.actions, local.changes, strict=True)):
            parts = list(before.parts)
            for i, new in changes:
                parts[i] = new
            after = self._head(tuple(parts))
            failed = failed or self._failed(after)
            old, new_ = small(here.state, *local.nets[at]), small(after.state, *local.nets[at + 1])
            failed = failed or self._verdicts.of_step(old, action, new_)
            if self._verdicts.unmet:
                self._verdicts.look(old, action, new_)
            here = after
        changed = (
            ()
            if not self.rules.lazy
            else tuple(
                i for i, _ in local.changes[-1] if i < len(self._names) and self._disk(before, i) != self._disk(here, i)
            )
        )
        return Step(local, here, changed, failed)

    def _disk(self, head: Head, place: int) -> object:
        return self._servers.values[head.parts[place]].disk

    def _failed(self, head: Head) -> str:
        """The first claim about heads that fails: as of the least image, since claims are symmetric too."""
        least = self._heads[head.best]
        if least.failed is None:
            least.failed = self._verdicts.of_head(least.state)
        return least.failed

    def _answered_first(self, before: Head, step: Step, rest: list[int]) -> Iterator[tuple[Step, bytes]]:
        """The step after some of the reads were answered for which it is too late then."""
        late = [message for message in dict.fromkeys(rest) if self._read_at(message) in step.changed]
        for size in range(1, len(late) + 1):
            for reads in combinations(late, size):
                bag = rest + step.left
                for read in reads:
                    if not self.scenario.repeating:
                        bag.remove(read)
                    answer = self._answer(before, read)
                    if answer != SPENT:
                        bag.append(answer)
                yield step, self._least(step.after, bag)

    def _read_at(self, message: int) -> int:
        """The place of the server that a message reads; -1 for other messages."""
        if message not in self._reads:
            reads = isinstance(self._messages.values[message].message, Read)
            self._reads[message] = self._ends_of(message)[0] if reads else -1
        return self._reads[message]

    def _answer(self, head: Head, read: int) -> int:
        """What a read would be answered; SPENT if that would be lost."""
        target, source = self._ends_of(read)
        key = (read, head.parts[target], head.parts[source])
        if key not in self._answers:
            envelope = self._messages.values[read]
            answer = self.frames.answer_to(small(head.state, envelope), envelope)
            self._answers[key] = SPENT if answer is None else self._messages.number(answer)
        return self._answers[key]

    def _handing(self, step: Step, bag: list[int]) -> bool:
        """Whether what a step hands over is under way: the one thing that is not about a message and asks for some."""
        assert isinstance(step.first, HandOver), "it says so"
        in_flight = tuple([self._messages.values[message] for message in bag])
        return enabled.handing(Network(in_flight), step.first.node, step.first.target)

    def _uncut(self, after: Head, bag: list[int]) -> list[int]:
        """What a cut leaves in flight."""
        side, values = after.state.network.cut_off, self._messages.values
        return [message for message in bag if not crosses(values[message], side)]
