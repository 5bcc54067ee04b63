"""`ringspec node`, `ringspec cluster` and `ringspec demo`: what runs nodes."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from impl.console import quorum_names, quorum_options, say

if TYPE_CHECKING:
    import asyncio

    from impl.local import LocalCluster
    from spec.types import Config

LOOK_SECONDS = 0.2
"""How often a cluster looks whether its nodes run."""


@click.command()
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
@click.option("--metrics", metavar="HOST:PORT", help="Serve Prometheus metrics there; loopback only.")
@click.option("--log", type=click.Choice(["text", "json"]), help="How to log, on standard error. [text]")
@click.option("--until-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
@quorum_options
def node(config: Path | None, peers: tuple[str, ...], until_eof: bool, **options: str | int | bool | None) -> None:
    """Run a node until Ctrl-C or SIGTERM."""
    from impl.process import run_node
    from impl.settings import parse_peer, read_settings, read_toml

    table = read_toml(config) if config is not None else {}
    quorums = {name: options.pop(name) for name in quorum_names()}
    table.update({name: value for name, value in options.items() if value is not None})
    given, store = {name: v for name, v in quorums.items() if v is not None}, table.get("store", {})
    if given and isinstance(store, dict):  # what is no table is refused with the rest
        table["store"] = store | given
    if peers:
        table["peer"] = [parse_peer(peer) for peer in peers]
    run_node(read_settings(table, str(config or "")), until_eof=until_eof)


@click.command()
@click.option("--nodes", type=click.IntRange(1, 100), default=5, show_default=True, help="How many nodes.")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), required=True, help="New, or a cluster's that goes on."
)
@click.option("--record", is_flag=True, help="Keep a log of every step in the data files.")
@click.option("--faults", is_flag=True, help="Obey requests to make the nodes' links faulty.")
@quorum_options
def cluster(nodes: int, directory: Path, record: bool, faults: bool, **quorums: int | None) -> None:
    """Run a cluster of nodes on this machine until Ctrl-C. It goes on when nodes are killed, until none is left."""
    import asyncio
    import signal

    from impl.local import describe, node_names, open_cluster
    from impl.runtime import check_members
    from spec.ring import Member
    from spec.types import NodeId

    config = make_config(quorums)
    check_members([Member(NodeId(name)) for name in node_names(nodes)], config)
    local = open_cluster(directory, nodes, config, record=record, faults=faults)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with local:
            for name in local.nodes:
                say(f"node {name} {local.address(name)}")
            for name in local.nodes:
                say(f"process {local.process(name)} is node {name}")
            say(f"{describe(local.description)}, in {directory}; try: ringspec get KEY --node {local.addresses()[0]}")
            await watch(local, stop)
            await local.stop()
            say("stopped")

    asyncio.run(run())


async def watch(local: LocalCluster, stop: asyncio.Event) -> None:
    """Say which nodes end, until it is to stop. Raises ClickException once none is left."""
    import asyncio

    before = local.running
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await stop.wait()
        running = local.running
        for name in before:
            if name not in running:
                again = shlex.quote(str(local.directory / f"{name}.toml"))
                say(f"node {name} {local.end_of(name)}; start it again: ringspec node --config {again}")
        if not running and not stop.is_set():
            raise click.ClickException("no node is left")
        before = running


def make_config(quorums: dict[str, int | None]) -> Config:
    """The default configuration with other quorums."""
    from msgspec.structs import replace

    from impl.errors import usage
    from spec.types import Config, ConfigError

    try:
        return replace(Config(), **{name: number for name, number in quorums.items() if number is not None})
    except ConfigError as error:
        raise usage(str(error)) from None


@click.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="New; kept. [a temporary one, removed]")
def demo(directory: Path | None) -> None:
    """Run, validate, explore and prove: the whole of ringspec on this machine, in about a minute."""
    from impl.demo import play

    raise SystemExit(play(directory, click.echo))
