"""The command `search`: what a text names on a running server, in groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.output import Format, FormatOption, format_money, say, write_json, write_table

_TITLES = {
    "customers": "CUSTOMERS",
    "cases": "CASES",
    "approvals": "APPROVALS",
    "foils": "COUNTERFOILS",
    "items": "UNMATCHED ITEMS",
    "runs": "RUNS",
}


def search(
    text: Annotated[
        list[str],
        typer.Argument(help="A name or its beginning, a document number, an amount, or an id of any system."),
    ],
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Search everything by a name, number, amount or id."""
    with Server() as server:
        answer = server.get("/v1/search", q=" ".join(text))
    if json or format is Format.JSON:
        write_json(answer)
        return
    if not answer["groups"]:
        near = f" Did you mean {answer['suggestion']}?" if answer["suggestion"] else ""
        say(f"Nothing matches {answer['query']}.{near}")
    for place, group in enumerate(answer["groups"]):
        if place:
            say("")
        _print(group)


def _print(group: dict[str, Any]) -> None:
    rows = [
        (hit["customer"], hit["name"] if group["kind"] != "customers" else "", format_money(hit["amounts"]),
         hit["state"], hit["detail"], hit["id"])
        for hit in group["hits"]
    ]  # fmt: skip
    write_table([_TITLES[group["kind"]], "DOCUMENT", "AMOUNT>", "STATE", "DETAIL", "ID"], rows, "")
    if group["more"]:
        say("There are more: add a word or an amount.")


COMMANDS: list[Callable[..., None]] = [search]
