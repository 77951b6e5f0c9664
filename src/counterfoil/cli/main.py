"""`counterfoil`: the command line. Exit codes: 0 success, 1 findings or changes, 2 wrong usage or error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from counterfoil import __version__
from counterfoil.cli import change, contracts, govern, match, matches, operate, processes, systems
from counterfoil.cli.client import CommandFailed
from counterfoil.cli.output import complain, say

app = typer.Typer(
    name="counterfoil",
    help="Governed orchestration between SaaS platforms and the ERP: both halves of every transaction.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS: list[Callable[..., None]] = [
    *processes.COMMANDS,
    *govern.COMMANDS,
    *match.COMMANDS,
    *operate.COMMANDS,
    *matches.COMMANDS,
    *systems.COMMANDS,
    *change.COMMANDS,
]
for command in COMMANDS:
    app.command()(command)
app.add_typer(systems.connectors, name="connectors")
app.add_typer(contracts.contracts, name="contracts")
app.add_typer(change.releases, name="releases")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        say(__version__)
    elif context.invoked_subcommand is None:
        say(context.get_help())


def main() -> None:
    """Run the command line; the entry point of the installed script."""
    try:
        app(prog_name="counterfoil")
    except CommandFailed as failed:
        complain(f"counterfoil: {failed}")
        sys.exit(2)


if __name__ == "__main__":
    main()
