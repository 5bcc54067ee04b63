"""Those promises of the store that its clients can see, judged by a history alone.

The claims are those of `spec.properties`, and what clients were shown and owed is worked out by the functions of
`spec.clients` that work it out in the explored machine; here, though, nobody knows what was written but never shown, or
what the writer of a version had really been shown: its context is taken at its word. What nodes hold, too, is judged by
`checker.judge`, which needs the logs of all nodes.

Calls are judged along real time: a get owes what was acknowledged before it began.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from checker.history import Call, had_no_effect
from checker.story import show
from spec.actions import Ask
from spec.clients import ask, tell
from spec.clock import Dot, covers
from spec.history import NOTHING_OWED, Created, History, having_read, promised_to
from spec.maps import FMap, FSet, SetMap
from spec.messages import Forwarded, Found, Get, Put, Stored
from spec.network import Envelope, Network
from spec.properties import CLAIMS, Claim
from spec.quorum import AS_CONFIGURED_PUT, PutWishes
from spec.siblings import Version
from spec.types import NO_REQUEST, Config, RequestId
from spec.world import Client, Faults, State, client_id

UNKNOWN = Config(sloppy=False)
"""What is taken for the configuration where nobody knows it: one that promises everything."""

SEEN_BY_CLIENTS = ("dot-uniqueness", "only-maximal", "quorum-meaning-get", "context-honesty")
"""The claims that say something of a history."""


class Broken(Struct, frozen=True):
    """A promise that a history breaks."""

    claim: str
    clause: str
    call: Call


class Verdict(Struct, frozen=True):
    """What became of the promises of one key."""

    judged: dict[str, int]
    """How often each claim was evaluated."""
    broken: tuple[Broken, ...]
    """For each claim, the first call that breaks it."""


def judge(calls: Sequence[Call], claims: Sequence[str] = SEEN_BY_CLIENTS, config: Config = UNKNOWN) -> Verdict:
    """Judge the calls of one key along real time."""
    stored = {call.result.dot for call in calls if isinstance(call.result, Stored)}
    shown = {v.dot for call in calls if isinstance(call.result, Found) for v in call.result.siblings}
    judging = _Judging([claim for claim in CLAIMS if claim.name in claims], FSet.of(stored | shown), config)
    moments = [(call.began, 0, call) for call in calls]
    moments += [(call.ended, 1, call) for call in calls if call.ended is not None]
    for _, ends, call in sorted(moments, key=lambda moment: moment[:2]):
        if ends:
            judging.end(call)
        else:
            judging.begin(call)
    return Verdict(dict(judging.judged), tuple(judging.broken.values()))


class _Judging:
    """The state that the claims speak of, as far as clients know it."""

    def __init__(self, claims: list[Claim], dots: FSet[Dot], config: Config) -> None:
        self.claims, self.config = claims, config
        self.wished: dict[Dot, PutWishes] = {}
        self.read: FSet[Dot] = FSet()
        self.dots = dots  # that clients ever hear of
        self.judged: Counter[str] = Counter()
        self.broken: dict[str, Broken] = {}
        self.acknowledged: FSet[Dot] = FSet()
        self.created: FSet[Created] = FSet()
        self.asking: dict[RequestId, Client] = {}

    def history(self) -> History:
        return History(SetMap(), self.created, self.acknowledged)

    def covered(self, version: Version) -> FSet[Dot]:
        """What its writer says to have been shown."""
        return FSet(tuple([dot for dot in self.dots if covers(version.context, dot)]))

    def begin(self, call: Call) -> None:
        """What the client is owed from now on."""
        state = State(FMap(), (Client(),), Network(), Faults(), self.history())
        owed, operation = NOTHING_OWED, call.operation
        if isinstance(operation, Get):
            owed = promised_to(operation.wishes, self.acknowledged, self.read, self.wished, self.config)
        self.asking[call.request] = ask(state, Ask(0, call.node, call.request, operation), owed).clients[0]

    def end(self, call: Call) -> None:
        """What the client is told, and whether it should have been."""
        result, asking = call.result, self.asking.pop(call.request)
        network = Network()
        if isinstance(result, Stored):
            self.acknowledged = self.acknowledged | FSet((result.dot,))
            if isinstance(call.operation, Put) and call.operation.wishes != AS_CONFIGURED_PUT:
                self.wished[result.dot] = call.operation.wishes
        elif isinstance(result, Found):
            known = {created.version for created in self.created}
            shown = [Created(v, NO_REQUEST, self.covered(v)) for v in result.siblings if v not in known]
            self.created = self.created | FSet.of(shown)
            network = Network((Envelope(call.node, call.node, Forwarded(call.request, result)),))
        assert result is not None, "what has ended has a result"
        assert not had_no_effect(result), "what had no effect is left out of a history"
        before = State(FMap(), (asking,), Network(), Faults(), self.history())
        told = tell(before, RequestId(client_id(0), asking.done + 1), result)
        if isinstance(result, Found) and self.config.blocking_repair:
            self.read = having_read(self.read, result.siblings, told.clients[0].seen)
        state = State(FMap(), told.clients, network, Faults(), self.history())
        for claim in self.claims:
            if claim.check is None:
                continue
            self.judged[claim.name] += 1
            clause = claim.check(state)
            if clause is not None and claim.name not in self.broken:
                clause = clause.replace(str(client_id(0)), show(call.request), 1)
                self.broken[claim.name] = Broken(claim.name, clause, call)
