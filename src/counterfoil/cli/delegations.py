"""Commands on delegations of a running server: who decides approvals for a person who is away."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import (
    Format,
    FormatOption,
    format_minute,
    format_money,
    say,
    write_json,
    write_rows,
)


def delegate(
    receiver: Annotated[str, typer.Argument(help="Id or e-mail address of the person who decides.")],
    until: Annotated[str, typer.Option(help="A time with offset, such as 2026-12-24T18:00Z.")],
    since: Annotated[
        str | None, typer.Option("--from", help="The beginning, with offset. Without it: now.")
    ] = None,
    up_to: Annotated[str, typer.Option(help="The largest amount, such as 5000.00 USD.")] = "",
    reason: Annotated[str, typer.Option(help="Kept with the delegation.")] = "",
    format: FormatOption = Format.TEXT,
) -> None:
    """Let another person decide your approvals for a time."""
    body = {"receiver": receiver, "until": _time(until, "--until"), "up_to": up_to, "reason": reason}
    if since is not None:
        body["since"] = _time(since, "--from")
    with Server() as server:
        row = server.post("/v1/delegations", body)
    if format is Format.JSON:
        write_json(row)
    else:
        say(
            f"{row['receiver_name']} decides for you until {format_minute(row['until'])} UTC, up to {_limit(row)}."
            f" End it with `counterfoil delegations --end {row['id']}`."
        )


def delegations(
    end: Annotated[str | None, typer.Option(help="The id of a delegation to end.")] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """List who decides for you and for whom you decide, or end a delegation."""
    with Server() as server:
        if end is not None:
            server.post(f"/v1/delegations/{quote(end, safe='')}/end", {})
        rows = server.get("/v1/delegations")["items"]
    write_rows(
        rows,
        format,
        ["DECIDES", "FOR", "FROM (UTC)", "UNTIL (UTC)", "UP TO>", "STATE", "REASON", "ID"],
        lambda d: [
            d["receiver_name"], d["giver_name"], format_minute(d["since"]), format_minute(d["until"]), _limit(d),
            d["state"], d["reason"], d["id"],
        ],
        "No delegation. `counterfoil delegate PERSON --until TIME` makes one.",
    )  # fmt: skip


def _limit(row: dict[str, Any]) -> str:
    return format_money([row["up_to"]]) if row["up_to"] else "any amount"


def _time(text: str, option: str) -> str:
    """Return a time as the server reads it. Raises CommandFailed."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(f"{option} {text} is no time; write 2026-12-24T18:00Z.") from None
    if at.tzinfo is None:
        raise CommandFailed(f"{option} {text} has no offset; write {text}Z for UTC.")
    return at.isoformat()
