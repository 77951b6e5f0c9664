"""The command `notices`: the notices of the person, and reading them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.operate import Limit
from counterfoil.cli.output import (
    Format,
    FormatOption,
    format_minute,
    format_money,
    say,
    write_json,
    write_rows,
)
from counterfoil.core.plural import counted


def notices(
    all: Annotated[bool, typer.Option("--all", help="Also those that you have read.")] = False,
    read: Annotated[
        list[str] | None, typer.Option(help="The id of a notice to mark as read; may be repeated.")
    ] = None,
    read_all: Annotated[bool, typer.Option("--read-all", help="Mark all as read.")] = False,
    limit: Limit = 200,
    format: FormatOption = Format.TEXT,
) -> None:
    """List your notices, or mark them as read."""
    with Server() as server:
        if read or read_all:
            until = datetime.now(UTC).isoformat()
            answer = server.post("/v1/notices/read", {"ids": None if read_all else read, "until": until})
            if format is Format.JSON:
                write_json(answer)
            else:
                say(f"{counted(answer['read'], 'notice')} marked as read; {answer['unread']} unread.")
            return
        rows = server.rows("/v1/notices", limit, state="all" if all else "unread")
    write_rows(
        rows,
        format,
        ["WHAT HAPPENED", "ABOUT", "EXPOSURE>", "DUE (UTC)", "SINCE (UTC)", "STATE", "ID"],
        lambda n: [
            n["title"], n["about"], format_money(n["exposure"]), format_minute(n["due"]), format_minute(n["at"]),
            "read" if n["read"] else "unread", n["id"],
        ],
        "No notices." if all else "No unread notices.",
    )  # fmt: skip


COMMANDS: list[Callable[..., None]] = [notices]
