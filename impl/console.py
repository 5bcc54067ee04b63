"""What the commands share: options, keys as the shell gives them, and where what is said goes.

Values go to standard output as they are; everything that is said about them goes to standard error.
"""

from __future__ import annotations

import sys
from math import isfinite
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from impl.client import Client
    from spec.quorum import Size

QUORUMS = {
    "-n": "Replicas of each key.",
    "-r": "Answers a get waits for.",
    "-w": "Acknowledgements a put waits for.",
    "--pr": "Answers of primaries a get waits for. [0]",
    "--pw": "Acknowledgements of primaries a put waits for. [0]",
}
"""The options that say how many; their names without dashes are those of `spec.types.Config`."""

DEFAULT_NODE = "127.0.0.1:7401"
NODES_VARIABLE = "RINGSPEC_NODES"


class Seconds(click.FloatRange):
    """A time to wait, which has an end."""

    name = "SECONDS"

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuses what is no number, and what has no end."""
        seconds = float(super().convert(value, param, ctx))
        return seconds if isfinite(seconds) else self.fail(f"{value!r} is no time to wait", param, ctx)


node_option = click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="HOST:PORT",
    envvar=NODES_VARIABLE,
    help=f"A node to ask; may be repeated, the first that answers is asked. [${NODES_VARIABLE}, or {DEFAULT_NODE}]",
)
timeout_option = click.option(
    "--timeout", type=Seconds(min=0, min_open=True), metavar="SECONDS", help="Give up after so long. [10]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON; keys and values are base64 in it.")
hex_option = click.option("--hex-key", is_flag=True, help="KEY is in hexadecimal, so that it can be any bytes.")


def quorum_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options -n, -r, -w, --pr and --pw, of a store."""
    for name, meaning in reversed(QUORUMS.items()):
        command = click.option(name, type=int, default=None, help=meaning)(command)
    return command


def quorum_names() -> list[str]:
    """What these options are called in the configuration."""
    return [name.lstrip("-") for name in QUORUMS]


class QuorumSize(click.ParamType["Size"]):
    """`one`, `quorum`, `all`, or a number."""

    name = "SIZE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Size:
        """What it says; which numbers are possible only a node knows."""
        if value in ("one", "quorum", "all") or isinstance(value, int):
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            return int(value)
        return self.fail(f"{value!r} is no size of a quorum; give one, quorum, all or a number", param, ctx)


def size_option(name: str, meaning: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option of one request: how many nodes it waits for."""
    return click.option(name, type=QuorumSize(), help=f"{meaning} one, quorum, all or a number. [the store's]")


def say(line: str) -> None:
    """Tell the user something that is not the result."""
    click.echo(printed(line), err=True)


def tell(line: str) -> None:
    """A line of the result, where that is text for people."""
    click.echo(printed(line))


def printed(line: str) -> str:
    """A line that can do nothing but be read."""
    from spec.text import printable  # no sooner: a command may put a bug into the specification first

    return printable(line)


def write_out(data: bytes) -> None:
    """Bytes to standard output, as they are. Raises OSError."""
    if sys.stdout is None:
        raise OSError("standard output is closed")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def print_json(value: object) -> None:
    """One JSON object on a line; bytes are base64."""
    import msgspec

    write_out(msgspec.json.encode(value) + b"\n")


def as_bytes(text: str) -> bytes:
    """An argument as the shell gave it."""
    import os

    return os.fsencode(text)


def as_key(text: str, hex_key: bool) -> bytes:
    """The key that an argument names. Raises UsageError."""
    if not hex_key:
        return as_bytes(text)
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is not hexadecimal; give two digits for each byte") from None


def shown(data: bytes) -> str:
    """Bytes for people: text as it is where it can be printed, else quoted and escaped, else hexadecimal."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"0x{data.hex()}"
    if text.isprintable() and text:
        return text
    return repr(text) if all(c.isprintable() or c in "\n\r\t" for c in text) else f"0x{data.hex()}"


def with_client(nodes: tuple[str, ...], timeout: float | None, use: Callable[[Client], Awaitable[int]]) -> NoReturn:
    """Connect to the first of these nodes that answers, use it, and exit with the status that this gives."""
    import asyncio

    from impl.client import TIMEOUT_SECONDS, Unreachable, connect

    async def run() -> int:
        try:
            async with asyncio.timeout(timeout):  # who gave none waits for each node in turn
                client = await connect(nodes or (DEFAULT_NODE,), timeout=timeout or TIMEOUT_SECONDS)
        except TimeoutError:
            raise Unreachable(f"no node could be reached in {timeout:g} s") from None
        async with client:
            return await use(client)

    raise SystemExit(asyncio.run(run()))
