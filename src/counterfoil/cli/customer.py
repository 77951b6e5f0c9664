"""The command `customer`: one customer across systems on a running server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import (
    Format,
    FormatOption,
    format_legs,
    format_minute,
    format_money,
    say,
    write_json,
    write_table,
)


def customer(
    id: Annotated[str, typer.Argument(help="A customer's id or name.")], format: FormatOption = Format.TEXT
) -> None:
    """Show one customer across systems: documents, Runs that wait, open Cases, unmatched money."""
    with Server() as server:
        detail = server.get(f"/v1/customers/{quote(_id(server, id), safe='')}")
    if format is Format.JSON:
        write_json(detail)
        return
    say(f"{detail['name'] or detail['id']}  {detail['legal_entity']}  {detail['id']}".rstrip())
    for columns, rows in _tables(detail):
        if rows:
            say("")
            write_table(columns, rows, "")
    if detail["more"]:
        say("The customer has more rows: open documents come first, then the newest.")


def _id(server: Server, text: str) -> str:
    """Return the id of a customer by its id or name. Raises CommandFailed without one, or with several."""
    groups = {group["kind"]: group["hits"] for group in server.get("/v1/search", q=text)["groups"]}
    hits = groups.get("customers", [])
    exact = [hit for hit in hits if text in (hit["id"], hit["name"])]
    hits = exact or hits
    if len(hits) > 1:
        raise CommandFailed(
            f"several customers are named {text}: "
            + ", ".join(f"{hit['name']} ({hit['id']})" for hit in hits)
        )
    return str(hits[0]["id"]) if hits else text


def _tables(detail: dict[str, Any]) -> list[tuple[list[str], list[list[Any]]]]:
    """Return the parts that the caller may see, each with its columns and rows."""
    return [
        (
            ["LEGAL ENTITY", "STILL OWED>", "NOT YET IN THE OTHER SYSTEM>", "UNMATCHED>"],
            [
                [
                    m["legal_entity"], format_money([a for sums in m["owed"].values() for a in sums]),
                    format_money(m["breaks"]), format_money(m["unmatched"]),
                ]
                for m in detail["money"]
            ],
        ),
        (
            ["CASE", "DOCUMENT", "OWNER", "AMOUNT>", "DEADLINE (UTC)", "ID"],
            [
                [c["reason"], c["name"], c["owner"], format_money(c["exposure"]), format_minute(c["deadline"]), c["id"]]
                for c in detail["cases"] or ()
            ],
        ),
        (
            ["RUN", "WORKFLOW", "STATE", "WAITS FOR", "EXPOSURE>", "ID"],
            [
                [r["name"] or r["key"], r["workflow"], r["state"], r["waits_for"], format_money(r["exposure"]), r["id"]]
                for r in detail["runs"] or ()
            ],
        ),
        (
            ["COUNTERFOIL", "STATE", "RECONCILIATION", "RESIDUAL>", "ID"],
            [
                [f["name"] or f["document"], f["state"], f["rule"], format_legs(f["residual"]), f["id"]]
                for f in detail["foils"] or ()
            ],
        ),
        (
            ["UNMATCHED", "SYSTEM", "RECONCILIATION", "AMOUNT>", "ID"],
            [
                [i["name"] or i["document"], i["system"], i["reconciliation"], format_legs(i["amounts"]), i["id"]]
                for i in detail["items"] or ()
            ],
        ),
        (
            ["DOCUMENT", "OBJECT", "AMOUNT>", "OPEN>", "STATE", "SYSTEM", "LEGAL ENTITY"],
            [
                [
                    d["number"], d["object"], format_money(d["amounts"]), format_money(d["open"] or []), d["state"],
                    d["system"], d["legal_entity"],
                ]
                for d in detail["documents"]
            ],
        ),
        (
            ["SYSTEM", "ITS ID", "SINCE (UTC)"],
            [[li["system"], li["ext_id"], format_minute(li["valid_from"])] for li in detail["links"]],
        ),
    ]  # fmt: skip


COMMANDS: list[Callable[..., None]] = [customer]
