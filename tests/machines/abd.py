"""The linearizable register of Attiya, Bar-Noy and Dolev, "Sharing memory robustly in message-passing systems" (1995).

Source: Stateright, `examples/linearizable-register.rs`: 2 clients and 2 servers on an unordered network that does not
duplicate have 544 states.

A server serves one request at a time. It asks the others what they hold and under which sequence number; once a
majority has answered, itself included, it has all record the latest value, or the one to be put under the next number,
and answers once a majority has recorded it.
"""

from msgspec import Struct
from msgspec.structs import replace

from tests.machines.register import NO_VALUE, Get, GetOk, Handled, Put, PutOk, RegisterSystem

Sequence = tuple[int, int]
"""A count and the server that gave it."""


class Query(Struct, frozen=True, cache_hash=True, tag=True):
    """What do you hold?"""

    request: int


class AckQuery(Struct, frozen=True, cache_hash=True, tag=True):
    """This."""

    request: int
    sequence: Sequence
    value: str


class Record(Struct, frozen=True, cache_hash=True, tag=True):
    """Hold this."""

    request: int
    sequence: Sequence
    value: str


class AckRecord(Struct, frozen=True, cache_hash=True, tag=True):
    """It is held."""

    request: int


class Asking(Struct, frozen=True, cache_hash=True, tag=True):
    """The first phase: who answered what, in the order of their numbers."""

    request: int
    requester: int
    write: str | None
    answers: tuple[tuple[int, Sequence, str], ...]


class Recording(Struct, frozen=True, cache_hash=True, tag=True):
    """The second: who has recorded it."""

    request: int
    requester: int
    read: str | None
    acks: frozenset[int]


class Server(Struct, frozen=True, cache_hash=True):
    """What it holds, and the request that it serves."""

    sequence: Sequence
    value: str
    phase: Asking | Recording | None = None


class Abd(RegisterSystem[Server]):
    """The register on `servers` servers."""

    def __init__(self, clients: int = 2, servers: int = 2) -> None:
        """As many as you like of each."""
        super().__init__(f"abd-{clients}-{servers}", clients, servers)
        self.majority = servers // 2 + 1

    def server(self, number: int) -> Server:
        """Nothing is held."""
        return Server((0, number), NO_VALUE)

    def receive(self, number: int, server: Server, source: int, message: Struct) -> Handled[Server] | None:
        """The example's on_msg, one case each."""
        phase = server.phase
        match message:
            case Put(request) | Get(request) if phase is None:
                write = message.value if isinstance(message, Put) else None
                asking = Asking(request, source, write, ((number, server.sequence, server.value),))
                return replace(server, phase=asking), self.to_others(number, Query(request))
            case Query(request):
                return server, [(source, AckQuery(request, server.sequence, server.value))]
            case AckQuery(request, sequence, value) if isinstance(phase, Asking) and phase.request == request:
                others = [answer for answer in phase.answers if answer[0] != source]
                answers = tuple(sorted([*others, (source, sequence, value)]))
                if len(answers) == self.majority:
                    return self.record(number, server, replace(phase, answers=answers))
                return replace(server, phase=replace(phase, answers=answers)), []
            case Record(request, sequence, value):
                newer = sequence > server.sequence
                held = replace(server, sequence=sequence, value=value) if newer else server
                return held, [(source, AckRecord(request))]
            case AckRecord(request) if isinstance(phase, Recording) and phase.request == request:
                if source in phase.acks:
                    return None
                acks = phase.acks | {source}
                if len(acks) < self.majority:
                    return replace(server, phase=replace(phase, acks=acks)), []
                answer = PutOk(request) if phase.read is None else GetOk(request, phase.read)
                return replace(server, phase=None), [(phase.requester, answer)]
            case _:
                return None

    def record(self, number: int, server: Server, asked: Asking) -> Handled[Server]:
        """A majority has answered."""
        _, sequence, value = max(asked.answers, key=lambda answer: answer[1])
        read = None if asked.write is not None else value
        if asked.write is not None:
            sequence, value = (sequence[0] + 1, number), asked.write
        recording = Recording(asked.request, asked.requester, read, frozenset([number]))
        if sequence > server.sequence:
            server = replace(server, sequence=sequence, value=value)
        return replace(server, phase=recording), self.to_others(number, Record(asked.request, sequence, value))

    def to_others(self, number: int, message: Struct) -> list[tuple[int, Struct]]:
        """The same to all other servers."""
        return [(other, message) for other in range(self.n_servers) if other != number]
