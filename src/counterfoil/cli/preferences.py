"""The command `preferences`: what the person wants by mail, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.output import Format, FormatOption, say, write_json
from counterfoil.core.notice_preferences import SendMode

_WORDS = {SendMode.AT_ONCE: "at once", SendMode.DIGEST: "in the daily digest", SendMode.NEVER: "not by mail"}


def preferences(
    approvals: Annotated[SendMode | None, typer.Option(help="Approvals that wait for you.")] = None,
    cases: Annotated[SendMode | None, typer.Option(help="New Cases, and Cases given to you.")] = None,
    deadlines: Annotated[SendMode | None, typer.Option(help="Deadlines that come near.")] = None,
    digest_at: Annotated[str | None, typer.Option(help="Time of the daily digest, such as 08:00.")] = None,
    quiet: Annotated[
        str | None, typer.Option(help="Quiet hours, such as 22:00-07:00; `none` ends them.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Time zone of the times, such as Europe/Berlin.")] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Print what of your notices is mailed to you, or choose it."""
    begin, _, end = (None, "", None) if quiet is None else ("" if quiet == "none" else quiet).partition("-")
    wishes = {
        "approvals": approvals, "cases": cases, "deadlines": deadlines, "digest_at": digest_at,
        "quiet_from": begin, "quiet_until": end, "zone": zone,
    }  # fmt: skip
    change = {name: value for name, value in wishes.items() if value is not None}
    with Server() as server:
        path = "/v1/notices/preferences"
        row = server.post(path, change) if change else server.get(path)
    if format is Format.JSON:
        write_json(row)
        return
    for topic in ("approvals", "cases", "deadlines"):
        say(f"{topic.title()}: {_WORDS[SendMode(row[topic])]}.")
    hours = f"from {row['quiet_from']} to {row['quiet_until']}" if row["quiet_from"] else "none"
    say(f"Daily digest at {row['digest_at']}, quiet hours {hours}, times in {row['zone']}.")
    if not row["mailed"]:
        say("No channel mails notices of your roles, so nothing is sent at present.")


COMMANDS: list[Callable[..., None]] = [preferences]
