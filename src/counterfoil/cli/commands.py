"""The commands by name: the module that has each, and its line in the list of commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer

from counterfoil import __version__
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import complain, say

COMMANDS: Final = {
    "up": ("processes", "Run the server and worker until Ctrl-C."),
    "worker": ("processes", "Run one more worker on PostgreSQL."),
    "demo": ("processes", "Run the demonstration company on real systems."),
    "twin": ("processes", "Run a twin of a vendor's API."),
    "check": ("govern", "Check a governance folder."),
    "prove": ("govern", "Prove a workflow under faults."),
    "test": ("tests", "Execute the tests of a governance folder."),
    "controls": ("govern", "List controls and their enforcement."),
    "init": ("new_folder", "Create a small governance folder."),
    "fmt": ("govern", "Format governance files."),
    "schema": ("govern", "Write the JSON Schemas of the kinds, for editors."),
    "explain": ("govern", "Evaluate an expression on a sample."),
    "observe": ("observe", "Compare two exports: what matches, and each difference with its cause."),
    "match": ("match", "Judge a history of documents: the state of each, with its reason."),
    "whoami": ("operate", "Show the person whose token the commands of this folder use."),
    "runs": ("operate", "List Runs with state and exposure."),
    "trace": ("operate", "Show the full history of one Run, or the graph of its transaction."),
    "cases": ("cases", "List Cases with owner and deadline, or grouped by cause."),
    "case": ("cases", "Show one Case, or take, assign, comment on, tag or snooze it."),
    "approvals": ("operate", "List approvals with amount, roles and expiry."),
    "approve": ("operate", "Vote for what an approval covers now."),
    "reject": ("operate", "Vote against an approval."),
    "delegate": ("delegations", "Let another person decide your approvals for a time."),
    "delegations": (
        "delegations",
        "List who decides for you and for whom you decide, or end a delegation.",
    ),
    "resolve": ("cases", "Resolve a Case with one of its choices, or all Cases of one cause."),
    "send": ("operate", "Send a webhook body to the server."),
    "foils": ("matches", "List counterfoils with state and amount, or show one with both sides."),
    "unmatched": ("matches", "List documents that one system shows and no counterfoil accounts for."),
    "preferences": ("preferences", "Print what of your notices is mailed to you, or choose it."),
    "notices": ("notices", "List your notices, or mark them as read."),
    "search": ("search", "Search everything by a name, number, amount or id."),
    "customer": (
        "customer",
        "Show one customer across systems: documents, Runs that wait, open Cases, unmatched money.",
    ),
    "suggest": ("matches", "List the counterfoils that an unmatched item may answer, the likeliest first."),
    "pair": ("matches", "Pair unmatched items with counterfoils, whatever their keys."),
    "unpair": ("matches", "End a pair that a person made."),
    "pairings": ("pairings", "List the keys that persons paired, and draft them as rows of tables."),
    "waive": ("matches", "Accept exactly the difference that a counterfoil has now."),
    "reconcile": (
        "reconcile",
        "Show what two systems differ by, and of which items the difference consists.",
    ),
    "checkpoint": (
        "checkpoint",
        "Count both sides of a reconciliation twice at a cut-off, and sign the result.",
    ),
    "doctor": ("systems", "Diagnose the installation."),
    "plan": ("change", "Show what a folder would change."),
    "apply": ("change", "Apply a plan."),
    "migrate": ("change", "Show or migrate Runs of other Releases."),
    "canon": ("canon", "The canonical library of order-to-cash."),
    "connectors": ("systems", "Installed connectors and their conformance suite."),
    "contracts": ("contracts", "Contracts: JSON Schema, OpenAPI and AsyncAPI."),
    "releases": ("change", "The history of Releases."),
    "people": ("people", "Persons who may sign in."),
}
"""Module below `counterfoil.cli` and summary of each command, in the order of the list."""


_COMPLETION = "_COUNTERFOIL_COMPLETE"
"""Set by a shell that completes a line: it asks for the options of any command."""


def app_with(names: Collection[str]) -> typer.Typer:
    """Return the command line with these commands. The others are in its list, but cannot be called."""
    app = typer.Typer(
        name="counterfoil",
        help="Governed orchestration between SaaS platforms and the ERP: both halves of every transaction.\n\n"
        "Commands on a server call the one that `up` started in the current folder. COUNTERFOIL_URL names another "
        "one, and COUNTERFOIL_TOKEN the person.",
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(invoke_without_command=True)(_root)
    for name, (module, summary) in COMMANDS.items():
        command: Any = _listed
        if name in names:
            command = getattr(import_module(f"counterfoil.cli.{module}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, help=summary if command is _listed else None)(command)
    return app


def run(words: Sequence[str]) -> None:
    """Run the command that the words of the command line name."""
    try:
        app_with(COMMANDS if _COMPLETION in os.environ else COMMANDS.keys() & words)(prog_name="counterfoil")
    except CommandFailed as failed:
        complain(f"counterfoil: {failed}")
        sys.exit(2)
    except UnicodeEncodeError:
        complain(
            "counterfoil: an argument has bytes that are not UTF-8 text, and cannot be sent to the server."
        )
        sys.exit(2)


def _listed() -> None:
    """Stand in the list of commands."""


def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        say(__version__)
    elif context.invoked_subcommand is None:
        say(context.get_help())
