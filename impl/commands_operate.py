"""`ringspec status`, `ring`, `inspect` and `export`: how nodes are, and what their data files hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from impl.console import (
    as_key,
    hex_option,
    json_option,
    node_option,
    print_json,
    say,
    shown,
    tell,
    timeout_option,
    with_client,
    write_out,
)

if TYPE_CHECKING:
    from impl.client import Client


@click.command()
@json_option
@timeout_option
@node_option
def status(as_json: bool, timeout: float | None, nodes: tuple[str, ...]) -> None:
    """Show how a node is: what it owns, what it has done, what waits, and its links."""

    async def use(client: Client) -> int:
        from impl.show import show_status

        status = await client.status()
        if as_json:
            print_json(status)
        else:
            show_status(status)
        return 0

    with_client(nodes, timeout, use)


@click.command()
@click.argument("key", required=False)
@hex_option
@json_option
@timeout_option
@node_option
def ring(key: str | None, hex_key: bool, as_json: bool, timeout: float | None, nodes: tuple[str, ...]) -> None:
    """Show the ring, what each node owns of it and what it does; or print which nodes own KEY, in order."""
    name = None if key is None else as_key(key, hex_key)

    async def use(client: Client) -> int:
        from impl.show import ring_rows, show_ring
        from spec.ring import build_ring, owners_of, partition_of
        from spec.types import Key

        status = await client.status()
        built = build_ring(status.members, status.config)
        if name is not None:
            owners = owners_of(built, Key(name), status.config.n)
            where = partition_of(Key(name), status.config.partitions)
            if as_json:
                print_json({"owners": owners, "partition": where})
            else:
                say(f"{shown(name)} is in partition {where} of {status.config.partitions}")
                tell(" ".join(owners))
            return 0
        statuses = await client.statuses()
        rows = ring_rows(status, built, statuses)
        if as_json:
            print_json(rows)
        else:
            show_ring(status.config, built, rows)
        return 0

    with_client(nodes, timeout, use)


@click.command()
@click.argument("data", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--key", help="Only the row of this key.")
@hex_option
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="Rows to show; 0 shows all.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for the file, then one for each row.")
def inspect(data: Path, key: str | None, hex_key: bool, limit: int, as_json: bool) -> None:
    """Show what the data FILE of a node that is down holds: the node, its disk, and the siblings of each key.

    The file stays as it is.
    """
    from impl.inspection import inspect_file

    name = None if key is None else as_key(key, hex_key)
    with inspect_file(data) as inspected:
        inspected.show(name, limit or None, as_json=as_json)


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
def export(data: Path) -> None:
    """Print the recording in the data file of a node that is down, as lines of JSON."""
    from impl.recorder import export_log

    for line in export_log(data, say):
        write_out(line)
