"""The command `checkpoint`: both sides of a reconciliation counted twice at a cut-off, and the second person's signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.operate import EntityOption
from counterfoil.cli.output import Format, FormatOption, say, write_json, write_table
from counterfoil.cli.reconcile import say_sweeps, swept
from counterfoil.core.plural import counted


def checkpoint(
    name: Annotated[str, typer.Argument(help="The reconciliation.")],
    at: Annotated[
        str, typer.Option(help="The cut-off: the last document date that counts, such as 2026-11-30.")
    ],
    entity: EntityOption = None,
    sign: Annotated[
        bool, typer.Option("--sign", help="Sign what another person prepared at this cut-off.")
    ] = False,
    note: Annotated[str, typer.Option(help="What is kept with the signature.")] = "",
    sweep: Annotated[
        bool,
        typer.Option("--sweep/--no-sweep", help="First read the whole books of both systems (default)."),
    ] = True,
    format: FormatOption = Format.TEXT,
) -> None:
    """Count both sides of a reconciliation twice at a cut-off, and sign the result.

    A checkpoint is prepared for each legal entity: our documents and the systems' own books, counted up to the cut-off.
    With --sign, another person signs what was prepared. Exit code 1: one cannot be signed, or a sweep failed.
    """
    place = f"/v1/reconciliations/{quote(name, safe='')}"
    with Server() as server:
        if sign:
            sweeps, rows = [], _signed(server, f"{place}/checkpoints", at, entity, note)
        else:
            sweeps = swept(server, place, format) if sweep else []
            body = {"at": at} | ({} if entity is None else {"entity": entity})
            rows = server.post(f"{place}/checkpoints", body)["checkpoints"]
    if format is Format.JSON:
        write_json({"checkpoints": rows} | ({"sweeps": sweeps} if sweeps else {}))
    else:
        if sweeps:
            say_sweeps(sweeps)
        for row in rows:
            _say(row)
        if not rows:
            say(f"No document of {name} up to {at}.")
    if any(row["obstacles"] for row in rows) or any(s["state"] == "failed" for s in sweeps):
        raise typer.Exit(1)


def _signed(server: Server, place: str, at: str, entity: str | None, note: str) -> list[dict[str, Any]]:
    """Sign the prepared checkpoints of a cut-off. Raises CommandFailed if there is none."""
    prepared = [
        row
        for row in server.get(place)["checkpoints"]
        if row["state"] == "prepared" and row["at"] == at and entity in (None, row["entity"])
    ]
    if not prepared:
        raise CommandFailed(
            f"nothing is prepared at {at}. One person runs the command without --sign, another one signs."
        )
    return [
        server.post(f"/v1/checkpoints/{row['id']}", {"decision": "sign", "note": note}) for row in prepared
    ]


def _say(row: dict[str, Any]) -> None:
    of_entity = f", {row['entity']}" if row["entity"] else ""
    since = f"from {row['since']} " if row["since"] else ""
    say(f"\n{row['reconciliation']}{of_entity}: {since}up to {row['at']}, as known at {row['known_at']}")
    lines = row["lines"]
    names = ("opening", "asserted", "observed", "closing")
    write_table(
        ["", *(f"{line['currency']}>" for line in lines)],
        [
            *([name, *(line[name]["amount"] for line in lines)] for name in names),
            *([f"  {item}", *(line["items"][item]["amount"] for line in lines)] for item in _items(lines)),
            *(
                [f"{_system(lines, side)} {text}", *(_amount(line[side][which]) for line in lines)]
                for side in ("left", "right")
                for which, text in (("ours", "by our documents"), ("book", "by its own book"))
            ),
        ],
        "No document.",
    )
    for line in lines:
        for d in line["differences"]:
            say(
                f"  {d['document']} ({line[d['side']]['system']}): {_amount(d['ours'])} by our documents, "
                f"{_amount(d['book'])} by its own book"
            )
    _say_tables(row)
    if taken_over := sum(line["taken_over"] for line in lines):
        documents = counted(taken_over, "document counts", "documents count")
        say(f"{documents} in the books as in ours: changed while a book was read, or in no book")
    if row["dismissed"]:
        records = counted(row["dismissed"], "listed record counts", "listed records count")
        say(f"{records} nowhere, because a person dismissed the Case")
    for obstacle in row["obstacles"]:
        say(f"Cannot be signed: {obstacle}")
    if any(not account["agrees"] for account in row["controls"]) and row["state"] == "prepared":
        say("An account has something beyond the documents: the signature needs a --note that explains it")
    if row["state"] == "signed":
        say(f"Signed by {row['signed_by']}, prepared by {row['prepared_by']}: {row['id']}")
        say(f"The audit log has the digest of its content: {row['digest']}")
    else:
        say(f"Prepared by {row['prepared_by']}; another person signs: {row['id']}")


def _say_tables(row: dict[str, Any]) -> None:
    """Print base and tax of each code, the control accounts and the series of numbers, where there are any."""
    if row["parts"]:
        write_table(
            ["PART", "ASSERTED>", "OBSERVED>", "DIFFERENCE>", "CURRENCY"],
            (
                [
                    f"{p['part']} {p['amount']}",
                    *(p[n]["amount"] for n in ("asserted", "observed", "difference")),
                    p["asserted"]["currency"],
                ]
                for p in row["parts"]
            ),
            "",
        )
    names = ("balance", "documents", "difference")
    if row["controls"]:
        write_table(
            ["ACCOUNT", "BALANCE>", "DOCUMENTS>", "DIFFERENCE>", "CURRENCY"],
            (
                [a["account"], *(a[n]["amount"] for n in names), a["balance"]["currency"]]
                for a in row["controls"]
            ),
            "",
        )
    if row["series"]:
        write_table(
            ["NUMBERS", "SYSTEM", "FIRST", "LAST", "DOCUMENTS>", "MISSING", "DOUBLE"],
            (
                [
                    s["series"],
                    s["system"],
                    s["first"],
                    s["last"],
                    str(s["documents"]),
                    ", ".join(s["gaps"]) or "none",
                    ", ".join(s["doubles"]) or "none",
                ]
                for s in row["series"]
            ),
            "",
        )


def _items(lines: list[dict[str, Any]]) -> list[str]:
    """Return the kinds of items that some line has."""
    return [
        item
        for item in (lines[0]["items"] if lines else ())
        if any(line["items"][item]["minor"] for line in lines)
    ]


def _system(lines: list[dict[str, Any]], side: str) -> str:
    return str(lines[0][side]["system"]) if lines else side


def _amount(value: dict[str, Any] | None) -> str:
    return "-" if value is None else str(value["amount"])


COMMANDS: list[Callable[..., None]] = [checkpoint]
