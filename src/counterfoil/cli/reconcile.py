"""The command `reconcile`: what two systems differ by, after a reading of their whole books if that is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.matches import AsOfOption
from counterfoil.cli.operate import EntityOption
from counterfoil.cli.output import Format, FormatOption, say, write_json, write_table

SWEEP_LOOK_SECONDS = 0.5
"""Interval between looks at sweeps under way."""


def reconcile(
    name: Annotated[str, typer.Argument(help="The reconciliation.")],
    since: Annotated[str | None, typer.Option(help="First document date of the period.")] = None,
    until: Annotated[str | None, typer.Option(help="Last document date of the period: the cut-off.")] = None,
    as_of: AsOfOption = None,
    entity: EntityOption = None,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="First read the whole books of both systems, and wait for the end."),
    ] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Show what two systems differ by, and of which items the difference consists.

    Exit code 1: the two ways to the difference do not agree, a sweep failed, or what a book lists waits for a decision.
    """
    query = {"since": since, "until": until, "as_of": as_of, "entity": entity}
    place = f"/v1/reconciliations/{quote(name, safe='')}"
    with Server() as server:
        sweeps = swept(server, place, format) if sweep else []
        answer = server.get(f"{place}/roll-forward", **query)
    lines = answer["lines"]
    if format is Format.JSON:
        write_json(answer | {"sweeps": sweeps} if sweep else answer)
    else:
        if sweep:
            say_sweeps(sweeps)
        say(f"{answer['left']} asserts, {answer['right']} shows; as known at {answer['as_of']}")
        names = ("opening", "asserted", "observed", "closing")
        columns = [*names, *(lines[0]["items"] if lines else ())]
        write_table(
            ["ENTITY", *(f"{column.upper()}>" for column in columns), "CURRENCY"],
            (
                [line["entity"], *(line[n]["amount"] for n in names)]
                + [amount["amount"] for amount in line["items"].values()]
                + [line["currency"]]
                for line in lines
            ),
            "No document of either system yet.",
        )
        absorbed = [(line["entity"], part) for line in lines for part in line["absorbed_by"]]
        if absorbed:
            write_table(
                ["ENTITY", "ABSORBED IN", "BORNE BY", "AMOUNT>", "CURRENCY"],
                (
                    [entity, p["leg"], p["owner"], p["amount"]["amount"], p["amount"]["currency"]]
                    for entity, p in absorbed
                ),
                "",
            )
    if not all(line["balanced"] for line in lines) or any(map(is_incomplete, sweeps)):
        raise typer.Exit(1)


def is_incomplete(sweep: dict[str, Any]) -> bool:
    """Report whether something that a book lists counts nowhere yet."""
    return bool(sweep["state"] == "failed" or sweep["held_deliveries"])


def swept(server: Server, place: str, format: Format) -> list[dict[str, Any]]:
    """Have the books of a reconciliation read, and return their sweeps when all have ended."""
    ids = {sweep["id"] for sweep in server.post(f"{place}/sweeps", {})["sweeps"]}
    former = ""
    while True:
        sweeps = [s for s in server.get(f"{place}/sweeps")["sweeps"] if s["id"] in ids]
        reading = [s for s in sweeps if s["state"] == "reading"]
        if not reading:
            return sweeps
        text = ", ".join(
            f"{s['system']}.{s['book']}: {s['deliveries']} read" for s in reading if s["deliveries"]
        )
        if format is Format.TEXT and text and text != former:
            say(text)
            former = text
        time.sleep(SWEEP_LOOK_SECONDS)


def say_sweeps(sweeps: list[dict[str, Any]]) -> None:
    write_table(
        ["BOOK", "DELIVERIES>", "NEW DELIVERIES>", "UNLISTED DOCUMENTS>", "HELD>", "STATE", "ERROR"],
        (
            [
                f"{s['system']}.{s['book']}",
                str(s["deliveries"]),
                str(s["new_deliveries"]),
                str(s["unlisted_documents"]),
                str(s["held_deliveries"]),
                s["state"],
                s["error"],
            ]
            for s in sweeps
        ),
        "Neither system's connector lists its books.",
    )
    if waiting := sum(s["held_deliveries"] for s in sweeps):
        say(f"Deliveries that count nowhere until their Cases are decided: {waiting}. See counterfoil cases")


COMMANDS: list[Callable[..., None]] = [reconcile]
