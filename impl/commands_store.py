"""`ringspec put` and `ringspec get`: values in and out, as they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from impl.console import (
    as_bytes,
    as_key,
    hex_option,
    json_option,
    node_option,
    print_json,
    say,
    shown,
    size_option,
    timeout_option,
    with_client,
    write_out,
)

if TYPE_CHECKING:
    from impl.client import Client, Values
    from spec.messages import Condition
    from spec.quorum import Size


@click.command()
@click.argument("key")
@click.argument("value", required=False)
@click.option("--file", "file", type=click.Path(path_type=Path, allow_dash=True), help="Take the value from a file.")
@click.option("--context", metavar="TOKEN", help="From a get: supersede exactly what that get showed.")
@click.option("--if-none-match", is_flag=True, help="Only if nothing is there, as far as one node knows.")
@click.option(
    "--if-context-unchanged",
    is_flag=True,
    help="Only if what is there has exactly the context given, as far as one node knows.",
)
@size_option("-w", "How many owners have to hold it durably:")
@size_option("--pw", "How many of them have to be primaries:")
@click.option("--show", is_flag=True, help="Then print what there is, as `get` does, but as one node knows it.")
@hex_option
@json_option
@timeout_option
@node_option
def put(
    key: str,
    value: str | None,
    file: Path | None,
    context: str | None,
    if_none_match: bool,
    if_context_unchanged: bool,
    w: Size | None,
    pw: Size | None,
    show: bool,
    hex_key: bool,
    as_json: bool,
    timeout: float | None,
    nodes: tuple[str, ...],
) -> None:
    """Store VALUE, the content of --file, or standard input, under KEY.

    The exit status is 75 where the node has too much to do: nothing was stored, and later it may be. A condition is
    decided by the one node that coordinates the put; it is no compare-and-swap: through two nodes two may be stored.
    """
    if value is not None and file is not None:
        raise click.UsageError("give VALUE or --file, not both")
    from spec.quorum import PutWishes

    condition = condition_of(context, if_none_match, if_context_unchanged)
    name = as_key(key, hex_key)
    content = as_bytes(value) if value is not None else read_value(file)
    wishes = PutWishes(w, pw)

    async def use(client: Client) -> int:
        if show:
            print_values(
                name, await client.put_and_show(name, content, context, wishes=wishes, condition=condition), as_json
            )
            return 0
        stored = await client.put(name, content, context, wishes=wishes, condition=condition)
        if as_json:
            print_json({"stored": stored.dot})
        else:
            say(f"stored as {stored.dot}")
        return 0

    with_client(nodes, timeout, use)


def condition_of(context: str | None, none_match: bool, unchanged: bool) -> Condition | None:
    """The condition that the options name. Raises UsageError."""
    if none_match and unchanged:
        raise click.UsageError("give --if-none-match or --if-context-unchanged, not both")
    if unchanged and context is None:
        raise click.UsageError("--if-context-unchanged needs the --context that is to be unchanged")
    return "none-match" if none_match else "context-unchanged" if unchanged else None


def read_value(file: Path | None) -> bytes:
    """The content of a file, or of standard input."""
    if file is None or str(file) == "-":
        if sys.stdin is None:
            raise click.UsageError("standard input is closed")
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None


@click.command()
@click.argument("key")
@size_option("-r", "How many nodes have to answer:")
@size_option("--pr", "How many of them have to be primaries:")
@click.option(
    "--notfound-ok/--no-notfound-ok", default=None, help="Whether a node that holds nothing has answered. [the store's]"
)
@click.option(
    "--basic-quorum/--no-basic-quorum",
    default=None,
    help="Whether, if it has not, more than half of them are enough to say that nothing is stored. [the store's]",
)
@hex_option
@json_option
@timeout_option
@node_option
def get(
    key: str,
    r: Size | None,
    pr: Size | None,
    notfound_ok: bool | None,
    basic_quorum: bool | None,
    hex_key: bool,
    as_json: bool,
    timeout: float | None,
    nodes: tuple[str, ...],
) -> None:
    """Print the value of KEY as it is; several, each on a line of its own, where puts were concurrent.

    What the value's name is, and the context for the next put, is printed on standard error. The exit status is 1
    where nothing is stored, and 75 where the node has too much to do.
    """
    from spec.quorum import GetWishes

    name, wishes = as_key(key, hex_key), GetWishes(r, pr, notfound_ok, basic_quorum)

    async def use(client: Client) -> int:
        values = await client.get(name, wishes=wishes)
        print_values(name, values, as_json)
        return 0 if values.siblings else 1

    with_client(nodes, timeout, use)


def print_values(key: bytes, values: Values, as_json: bool) -> None:
    """Values as they were asked for."""
    if not as_json:
        show_values(key, values)
        return
    siblings = [{"version": str(version), "value": version.value} for version in values.siblings]
    print_json({"siblings": siblings, "context": values.context})


def show_values(key: bytes, values: Values) -> None:
    """Values on standard output, what is known of them on standard error."""
    found = len(values.siblings)
    if not found:
        say(f"nothing is stored under {shown(key)}")
    elif found > 1:
        say(f"{found} siblings: values that were put without knowing of each other; put one with the context to settle")
    for version in values.siblings:
        say(f"version {version}, {len(version.value)} bytes")
    say(f"context {values.context}")
    write_out(b"".join(version.value + (b"\n" if found > 1 else b"") for version in values.siblings))
