"""Output of the commands: tables for people, JSON for programs. Errors go to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from counterfoil.core.finding import Finding

if TYPE_CHECKING:
    from rich.console import Console


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


MIN_TEXT_COLUMNS = 24
"""Width to which a column of longer texts may shrink."""
GAP_COLUMNS = 2
"""Blanks between two columns."""
FormatOption = Annotated[Format, typer.Option("--format", help="Output format: text or json.")]
_TONES = {
    "matched": "green", "confirmed": "green", "done": "green", "granted": "green", "resolved": "green",
    "broken": "red", "refused": "red", "rejected": "red", "over": "red", "expired": "red", "error": "red",
    "open": "yellow", "partly": "yellow", "unknown": "yellow", "waiting": "yellow", "ready": "yellow",
    "warning": "yellow", "sending": "yellow", "provisional": "yellow",
}  # fmt: skip


def console(least_columns: int = 0) -> Console:
    """Return the console for standard output; wide if it is not a terminal, so that no cell is cut.

    A terminal with fewer columns than `least_columns` wraps the lines itself.
    """
    from rich.console import Console  # read only where something is printed with it

    terminal = Console(highlight=False, soft_wrap=False)
    width = max(terminal.width if terminal.is_terminal else 200, least_columns)
    return Console(highlight=False, soft_wrap=False, width=width)


def write_json(value: Any) -> None:
    say(json.dumps(value, indent=2, ensure_ascii=False, default=_exact))


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """Print a table, or the text `empty` without rows. A column whose name ends in `>` is right-aligned."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = [["" if value is None else str(value) for value in row] for row in rows]
    if not cells:
        console().print(Text(empty))
        return
    names = [column.rstrip(">") for column in columns]
    by_column = [[name, *texts] for name, *texts in zip(names, *cells, strict=True)]
    least = [_least_width(texts) for texts in by_column]
    natural = [max(map(cell_len, texts)) for texts in by_column]
    terminal = console(sum(least) + GAP_COLUMNS * len(least))
    spare = terminal.width - sum(least) - GAP_COLUMNS * len(least)
    lacking = max(sum(natural) - sum(least), 1)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, name, narrow, wide in zip(columns, names, least, natural, strict=True):
        width = min(wide, narrow + spare * (wide - narrow) // lacking)
        justify: Literal["left", "right"] = "right" if column.endswith(">") else "left"
        table.add_column(name, justify=justify, overflow="fold", width=width)
    for row in cells:
        table.add_row(*(Text(text, style=_TONES.get(text, "")) for text in row))
    terminal.print(table)


def _least_width(texts: Sequence[str]) -> int:
    """Return the width to which a column may shrink. People copy ids, so no word is broken."""
    from rich.cells import cell_len

    words = max((cell_len(word) for text in texts for word in text.split()), default=0)
    return max(words, min(MIN_TEXT_COLUMNS, max(map(cell_len, texts))))


def write_rows(
    rows: Sequence[dict[str, Any]],
    format: Format,
    columns: Sequence[str],
    cells: Callable[[dict[str, Any]], Sequence[Any]],
    empty: str,
) -> None:
    """Print rows as JSON, or as a table with the cells of each row."""
    if format is Format.JSON:
        write_json(rows)
    else:
        write_table(columns, map(cells, rows), empty)


def write_findings(findings: Iterable[Finding]) -> None:
    """Print findings as JSON."""
    names = ("file", "line", "column", "rule", "severity", "message", "fix")
    write_json([{name: getattr(finding, name) for name in names} for finding in findings])


def format_money(amounts: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{Decimal(a['amount']):,f} {a['currency']}" for a in amounts)


def format_legs(legs: Mapping[str, Any]) -> str:
    """Return the amounts of a document: money of one leg alone, else each with its name."""
    texts = {name: format_money([v]) if isinstance(v, dict) else str(v) for name, v in legs.items()}
    return ", ".join(text if len(texts) == 1 else f"{name} {text}" for name, text in texts.items())


def format_minute(moment: str | None) -> str:
    """Return an ISO time to the minute, in UTC; empty without a time."""
    return moment[:16].replace("T", " ") if moment else ""


def say(text: str) -> None:
    sys.stdout.write(_printable(text) + "\n")


def complain(text: str) -> None:
    sys.stderr.write(_printable(text) + "\n")


def _printable(text: str) -> str:
    """Return the text with an escape for each lone surrogate: a file name may have bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
