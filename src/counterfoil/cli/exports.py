"""Lists of a running server as files: CSV and XLSX with their statement, to a file or to standard output."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, say

EXPORT_SECONDS = 3600.0
"""Time until the first bytes of a file: a large XLSX file is complete on the server before it is sent."""


class ListFormat(StrEnum):
    """Output formats of a list."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    XLSX = "xlsx"

    @property
    def printed(self) -> Format:
        return Format.JSON if self is ListFormat.JSON else Format.TEXT


ListFormatOption = Annotated[
    ListFormat,
    typer.Option("--format", help="Output format: text, json, csv or xlsx; a file has all rows that fit."),
]
ExportOption = Annotated[
    Path | None,
    typer.Option("--export", metavar="FILE", help="Write all rows that fit to a .csv or .xlsx file."),
]


def is_exported(name: str, format: ListFormat, target: Path | None, **query: Any) -> bool:
    """Write a list to a file or to standard output if that is what the options ask for; else return False.

    Raises CommandFailed for options that contradict each other, and for a file that cannot be written.
    """
    kind = _kind(format, target)
    if kind is None:
        return False
    if target is None and kind is ListFormat.XLSX and sys.stdout.isatty():
        raise CommandFailed("An XLSX file is no text for a terminal: name a file with --export FILE.")
    part = None if target is None else target.with_name(f".{target.name}.part")
    try:
        with Server(EXPORT_SECONDS) as server:
            if part is None or target is None:
                server.save(f"/v1/exports/{name}", sys.stdout.buffer, format=str(kind), **query)
                sys.stdout.buffer.flush()
                return True
            with part.open("wb") as file:
                server.save(f"/v1/exports/{name}", file, format=str(kind), **query)
        part.replace(target)
    except OSError as error:
        raise CommandFailed(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    say(f"written: {target}")
    return True


def _kind(format: ListFormat, target: Path | None) -> ListFormat | None:
    """Return the format of the file; None if the list is printed."""
    is_file = format in (ListFormat.CSV, ListFormat.XLSX)
    if target is None:
        return format if is_file else None
    ending = target.suffix.lower().removeprefix(".")
    if is_file:
        return format
    if format is ListFormat.JSON or ending not in (ListFormat.CSV, ListFormat.XLSX):
        raise CommandFailed(f"--export {target} is neither a .csv nor an .xlsx file; --format names another.")
    return ListFormat(ending)
