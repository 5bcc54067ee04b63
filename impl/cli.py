"""The command line, and the composition root: the one module that may know both the runtime and the checker.

A command's module is imported when the command is asked for, and what the command needs when it runs, so that the
command line answers at once. Every refusal is one line.

Exit status: 0 done · 1 not done (for `get`: nothing found) · 2 wrong usage · 3 a put that may have happened.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from impl.console import say

if TYPE_CHECKING:
    from collections.abc import Sequence

MAY_HAVE_HAPPENED = 3

COMMANDS = {
    "bugs": "checker",
    "check": "checker",
    "cluster": "node",
    "demo": "node",
    "export": "operate",
    "get": "store",
    "history": "checker",
    "inspect": "operate",
    "liveness": "checker",
    "node": "node",
    "prove": "checker",
    "put": "store",
    "replay": "checker",
    "ring": "operate",
    "simulate": "checker",
    "status": "operate",
    "swarm": "checker",
    "validate": "checker",
}
"""Every command, by the module that has it."""


class Commands(click.Group):
    """All commands, imported when they are asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names, in the order of the alphabet."""
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        match COMMANDS.get(cmd_name):
            case "checker":
                module = import_module("checker.commands")
            case None:
                return None
            case ours:
                module = import_module(f"impl.commands_{ours}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ringspec", prog_name="ringspec")
def cli() -> None:
    """A Dynamo-style key-value store, written as one specification that is run, explored, proved and replayed."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, by default with the arguments of the process; every refusal is one line."""
    from impl.errors import UserError, one_line

    try:
        status = cli.main(arguments, prog_name="ringspec", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "ringspec"
        say(f"{command}: {' '.join(error.format_message().split())}")
        status = error.exit_code
    except UserError as error:
        from impl.outcomes import MayHaveHappened

        say(f"ringspec: {error}")
        status = MAY_HAVE_HAPPENED if isinstance(error, MayHaveHappened) else error.status
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except BrokenPipeError:
        sys.stderr.close()
        status = 141
    except OSError as error:
        say(f"ringspec: {one_line(error)}")
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
