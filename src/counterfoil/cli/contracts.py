"""`contracts`: what a contract is found to have, and what a change of it breaks."""

from __future__ import annotations

import typer

from counterfoil.cli.lint import lint

contracts = typer.Typer(help="Contracts: lint one.", no_args_is_help=True)
contracts.command("lint")(lint)
