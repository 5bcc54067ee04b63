"""A register that each server keeps for itself: linearizable with one server, not with two.

Source: Stateright, `examples/single-copy-register.rs`: 2 clients and 1 server on an unordered network that does not
duplicate have 93 states.
"""

from msgspec import Struct

from tests.machines.register import NO_VALUE, Get, GetOk, Handled, Put, PutOk, RegisterSystem


class SingleCopy(RegisterSystem[str]):
    """A server is the value it holds."""

    def __init__(self, clients: int = 2, servers: int = 1) -> None:
        """As many as you like of each."""
        super().__init__(f"single-copy-{clients}-{servers}", clients, servers)

    def server(self, number: int) -> str:  # noqa: ARG002 - all begin alike
        """Nothing is held."""
        return NO_VALUE

    def receive(self, number: int, server: str, source: int, message: Struct) -> Handled[str] | None:  # noqa: ARG002
        """Write or read, and answer."""
        match message:
            case Put(request, value):
                return value, [(source, PutOk(request))]
            case Get(request):
                return server, [(source, GetOk(request, server))]
            case _:
                return None
