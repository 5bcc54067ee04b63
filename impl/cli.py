"""The command line, and the composition root: the one module that may know both the runtime and the checker.

Everything but click is imported inside the command that needs it, so that the command line answers at once. Values go
to standard output as they are; everything that is said about them goes to standard error. A refusal is one line.

Exit status: 0 done · 1 not done (for `get`: nothing found) · 2 wrong usage · 3 a put that may have happened.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from impl.client import Client, Values
    from impl.wire import Status
    from spec.types import Config, NodeId

DEFAULT_NODE = "127.0.0.1:7401"
MAY_HAVE_HAPPENED = 3

node_option = click.option(
    "--node", "nodes", multiple=True, metavar="HOST:PORT", help=f"A node to ask; may be repeated. [{DEFAULT_NODE}]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def quorum_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options -n, -r and -w."""
    for name, meaning in (("w", "Acknowledgements a put waits for."), ("r", "Answers a get waits for.")):
        command = click.option(f"-{name}", name, type=int, default=None, help=meaning)(command)
    return click.option("-n", "n", type=int, default=None, help="Replicas of each key.")(command)


CHECKER_COMMANDS = ("check", "prove", "replay", "validate")


class Commands(click.Group):
    """Our commands, and the checker's, which are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the alphabet."""
        return sorted([*super().list_commands(ctx), *CHECKER_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in CHECKER_COMMANDS:
            return super().get_command(ctx, cmd_name)
        from checker.commands import COMMANDS

        return COMMANDS.get(cmd_name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ringspec", prog_name="ringspec")
def cli() -> None:
    """A Dynamo-style key-value store, written as one specification that is run, explored, proved and replayed."""


def say(line: str) -> None:
    """Tell the user something that is not the result."""
    click.echo(line, err=True)


# Nodes.


@cli.command()
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file of settings; options win over it.")
@click.option("--name", help="The node's name, unique in its cluster.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen.")
@click.option("--data", metavar="FILE", help="The data file; made if it is not there.")
@click.option("--peer", "peers", multiple=True, metavar="NAME=HOST:PORT[,zone=Z][,weight=K]", help="Another node.")
@click.option("--secret-file", metavar="FILE", help="16 to 64 random bytes that all nodes share.")
@click.option("--zone", help="The failure domain that the node is in.")
@click.option("--weight", type=int, help="The node's share of the keys, relative to the others'. [1]")
@click.option("--record", is_flag=True, default=None, help="Keep a log of every step in the data file.")
@click.option("--faults", is_flag=True, default=None, help="Obey requests to make the node's links faulty.")
@click.option("--until-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
@quorum_options
def node(config: Path | None, peers: tuple[str, ...], until_eof: bool, **options: str | int | bool | None) -> None:
    """Run a node until Ctrl-C or SIGTERM."""
    from impl.process import run_node
    from impl.settings import parse_peer, read_settings, read_toml

    table = read_toml(config) if config is not None else {}
    quorums = {name: options.pop(name) for name in ("n", "r", "w")}
    table.update({name: value for name, value in options.items() if value is not None})
    if any(value is not None for value in quorums.values()):
        table["store"] = table.get("store", {}) | {name: v for name, v in quorums.items() if v is not None}
    if peers:
        table["peer"] = [parse_peer(peer) for peer in peers]
    run_node(read_settings(table, str(config or "")), say, until_eof=until_eof)


@cli.command()
@click.option("--nodes", type=click.IntRange(1, 100), default=5, show_default=True, help="How many nodes.")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), required=True, help="New, or a cluster's that goes on."
)
@click.option("--record", is_flag=True, help="Keep a log of every step in the data files.")
@click.option("--faults", is_flag=True, help="Obey requests to make the nodes' links faulty.")
@quorum_options
def cluster(
    nodes: int, directory: Path, record: bool, faults: bool, n: int | None, r: int | None, w: int | None
) -> None:
    """Run a cluster of nodes on this machine until Ctrl-C."""
    import asyncio
    import signal

    from impl.local import describe, node_names, open_cluster
    from impl.runtime import check_members
    from spec.ring import Member
    from spec.types import NodeId

    config = make_config(n, r, w)
    check_members([Member(NodeId(name)) for name in node_names(nodes)], config)
    local = open_cluster(directory, nodes, config, record=record, faults=faults)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with local:
            for name in local.nodes:
                say(f"node {name} {local.address(name)}")
            say(f"{describe(local.description)}, in {directory}; try: ringspec get KEY --node {local.addresses()[0]}")
            waits = [asyncio.create_task(stop.wait()), *(asyncio.create_task(local.ended(x)) for x in local.nodes)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if not stop.is_set():
                fallen = [name for name in local.nodes if name not in local.running]
                raise click.ClickException("; ".join(f"node {x} ended: {local.last_words(x)}" for x in fallen))
            await local.stop()
            say("stopped")

    asyncio.run(run())


def make_config(n: int | None, r: int | None, w: int | None) -> Config:
    """The default configuration with other quorums."""
    from impl.errors import usage
    from spec.types import Config, ConfigError

    default = Config()
    try:
        return Config(n=default.n if n is None else n, r=default.r if r is None else r, w=default.w if w is None else w)
    except ConfigError as error:
        raise usage(str(error)) from None


# Clients.


def with_client(nodes: tuple[str, ...], use: Callable[[Client], Awaitable[int]]) -> NoReturn:
    """Connect to the first of these nodes that answers, use it, and exit with the status that this gives."""
    import asyncio

    from impl.client import connect

    async def run() -> int:
        async with await connect(nodes or (DEFAULT_NODE,)) as client:
            return await use(client)

    raise SystemExit(asyncio.run(run()))


def as_key(text: str) -> bytes:
    """A key as the shell gave it."""
    import os

    return os.fsencode(text)


@cli.command()
@click.argument("key")
@click.argument("value", required=False)
@click.option("--file", "file", type=click.Path(path_type=Path, allow_dash=True), help="Take the value from a file.")
@click.option("--context", metavar="TOKEN", help="From a get: supersede exactly what that get showed.")
@json_option
@node_option
def put(
    key: str, value: str | None, file: Path | None, context: str | None, as_json: bool, nodes: tuple[str, ...]
) -> None:
    """Store VALUE, the content of --file, or standard input, under KEY."""
    if value is not None and file is not None:
        raise click.UsageError("give VALUE or --file, not both")
    content = as_key(value) if value is not None else read_value(file)

    async def use(client: Client) -> int:
        stored = await client.put(as_key(key), content, context)
        if as_json:
            print_json({"stored": stored.dot})
        else:
            say(f"stored as {stored.dot}")
        return 0

    with_client(nodes, use)


def read_value(file: Path | None) -> bytes:
    """The content of a file, or of standard input."""
    if file is None or str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None


@cli.command()
@click.argument("key")
@json_option
@node_option
def get(key: str, as_json: bool, nodes: tuple[str, ...]) -> None:
    """Print the value of KEY as it is; several, each on a line of its own, where puts were concurrent.

    What the value's name is, and the context for the next put, is printed on standard error.
    """

    async def use(client: Client) -> int:
        values = await client.get(as_key(key))
        if as_json:
            print_json(
                {
                    "siblings": [{"version": str(version), "value": version.value} for version in values.siblings],
                    "context": values.context,
                }
            )
        else:
            show_values(key, values)
        return 0 if values.siblings else 1

    with_client(nodes, use)


def show_values(key: str, values: Values) -> None:
    """Values on standard output, what is known of them on standard error."""
    found = len(values.siblings)
    if not found:
        say(f"nothing is stored under {key}")
    elif found > 1:
        say(f"{found} siblings: values that were put without knowing of each other; put one with the context to settle")
    for version in values.siblings:
        say(f"version {version}, {len(version.value)} bytes")
    say(f"context {values.context}")
    for version in values.siblings:
        sys.stdout.buffer.write(version.value + (b"\n" if found > 1 else b""))
    sys.stdout.buffer.flush()


def print_json(value: object) -> None:
    """One JSON object on a line; bytes are base64."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def ask_status(nodes: tuple[str, ...], show: Callable[[Status], None]) -> NoReturn:
    """Show something of what a node says of itself."""

    async def use(client: Client) -> int:
        show(await client.status())
        return 0

    with_client(nodes, use)


@cli.command()
@json_option
@node_option
def status(as_json: bool, nodes: tuple[str, ...]) -> None:
    """Show how a node is."""
    ask_status(nodes, print_json if as_json else show_status)


def show_status(status: Status) -> None:
    """A node's status for people."""
    from rich.console import Console
    from rich.table import Table

    config = status.config
    console = Console(highlight=False)
    console.print(f"node {status.node} at {status.address}, run {status.epoch}", markup=False)
    console.print(
        f"{len(status.members)} nodes, n={config.n} r={config.r} w={config.w}, {config.partitions} partitions"
    )
    console.print(
        f"{status.requests} requests in flight, {status.waiting} events waiting, {status.steps} steps in "
        f"{status.batches} commits, recording {'on' if status.recorded else 'off'}"
    )
    table = Table("peer", "address", "link", "queued", "lost", box=None)
    for peer in status.peers:
        link = "up" if peer.connected else "down"
        table.add_row(peer.name, peer.address, link, str(peer.queued), str(peer.lost))
    if status.peers:
        console.print(table)


@cli.command()
@click.argument("key", required=False)
@json_option
@node_option
def ring(key: str | None, as_json: bool, nodes: tuple[str, ...]) -> None:
    """Show which node owns what share of the ring, or which nodes own KEY, in order."""
    from spec.ring import build_ring, owners_of
    from spec.types import Key

    def show(status: Status) -> None:
        built = build_ring(status.members, status.config)
        if key is not None:
            owners = owners_of(built, Key(as_key(key)), status.config.n)
            click.echo(" ".join(owners)) if not as_json else print_json({"owners": owners})
            return
        shares = ring_shares(built.walks, status.config.n)
        rows = [
            {"node": m.name, "zone": m.zone, "weight": m.weight, "first": shares[m.name][0], "owns": shares[m.name][1]}
            for m in built.members
        ]
        if as_json:
            print_json(rows)
        else:
            show_ring(rows, len(built.walks), status.config.n)

    ask_status(nodes, show)


def ring_shares(walks: tuple[tuple[NodeId, ...], ...], n: int) -> dict[NodeId, tuple[int, int]]:
    """For each node of how many partitions it is the first owner, and of how many an owner."""
    return {node: (sum(w[0] == node for w in walks), sum(node in w[:n] for w in walks)) for node in walks[0]}


def show_ring(rows: list[dict[str, Any]], partitions: int, n: int) -> None:  # Any: cells of a table
    """The shares of the nodes for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table("node", "zone", "weight", "first owner of", "owner of", "share", box=None)
    for row in rows:
        share = f"{row['owns'] / (partitions * n):.1%}"
        table.add_row(row["node"], row["zone"] or "-", str(row["weight"]), str(row["first"]), str(row["owns"]), share)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"of {partitions} partitions, each with {n} owner{'s'[: n > 1]}")


# Recordings.


@cli.command()
@click.argument("data", type=click.Path(path_type=Path))
def export(data: Path) -> None:
    """Print the recording in the data file of a node that is down, as lines of JSON."""
    from impl.recorder import export_log

    for line in export_log(data):
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


# Everything together.


@cli.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="New; kept. [a temporary one, removed]")
def demo(directory: Path | None) -> None:
    """Run, validate, explore and prove: the whole of ringspec on this machine, in about a minute."""
    from impl.demo import play

    raise SystemExit(play(directory, click.echo))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, by default with the arguments of the process; every refusal is one line."""
    from impl.errors import UserError

    try:
        status = cli.main(arguments, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "ringspec"
        say(f"{command}: {' '.join(error.format_message().split())}")
        status = error.exit_code
    except UserError as error:
        from impl.client import MayHaveHappened

        say(f"ringspec: {error}")
        status = MAY_HAVE_HAPPENED if isinstance(error, MayHaveHappened) else error.status
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except BrokenPipeError:
        sys.stderr.close()
        status = 141
    sys.exit(status)


if __name__ == "__main__":
    main()
