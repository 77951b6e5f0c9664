"""The command `pairings`: keys that persons paired, and rows drafted from them for the tables of a governance folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, FormatOption, complain, say, write_rows
from counterfoil.model import kinds, read
from counterfoil.model.document import Document
from counterfoil.model.tables import key_text, read_csv


def pairings(
    name: Annotated[str | None, typer.Argument(help="The reconciliation; absent: all.")] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Add rows to the tables of this governance folder, for `plan`."),
    ] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """List the keys that persons paired, and draft them as rows of tables.

    Exit code 1: with `--write`, a key that persons paired in several ways was left out.
    """
    with Server() as server:
        answer = server.get("/v1/pairings", rule=name)
    rows = answer["pairings"]
    write_rows(
        rows,
        format,
        ["RECONCILIATION", "RIGHT KEY", "LEFT KEY", "PAIRS>", "PERSONS", "CONFLICT", "TABLE"],
        lambda p: [
            p["reconciliation"], p["right_key"], p["left_key"], str(p["count"]), ", ".join(p["persons"]),
            "yes" if p["conflict"] else "", p["table"],
        ],
        "No pair that a person made joins two keys.",
    )  # fmt: skip
    if write is not None and not draft(
        write, rows, answer["as_of"][:10], say if format is Format.TEXT else _ignore
    ):
        raise typer.Exit(1)


def _ignore(text: str) -> None:
    """Leave standard output to the JSON answer."""


def draft(folder: Path, rows: Iterable[Mapping[str, Any]], day: str, tell: Callable[[str], None]) -> bool:
    """Add rows to the tables of a folder. Return whether no key was left out for a conflict.

    A key that the table has with another value is a conflict as well: its row is a person's to change.
    """
    model, _ = read(folder)
    tables = {document.name: (document, table) for document, table in model.documents_of(kinds.Table)}
    by_table: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["table"]:
            by_table.setdefault(row["table"], []).append(row)
    is_complete = True
    for name, pairs in sorted(by_table.items()):
        document, table = tables.get(name, (None, None))
        file = None if document is None else _file_of(document)
        if table is None or file is None or len(table.key) != 1:
            raise CommandFailed(f"{folder} has no table {name} with one key column and a file.")
        values = _values(table)
        new: dict[str, str] = {}
        for pair in pairs:
            key, value = pair["right_key"], pair["left_key"]
            other = values.get(key, value)
            if pair["conflict"] or other != value:
                is_complete = False
                reason = (
                    "persons paired it in several ways" if pair["conflict"] else f"the table says {other}"
                )
                complain(f"{name}: {key} -> {value} is not written: {reason}.")
            elif key not in values:
                new[key] = value
        if new:
            _append(file, table, new, day)
        tell(
            f"{file.name}: {len(new)} {'row' if len(new) == 1 else 'rows'} added. Next: counterfoil plan {folder}"
        )
    return is_complete


def _file_of(document: Document) -> Path | None:
    """Return the CSV file of a table; None for one whose rows stand in its document."""
    source = document.source
    name = source.data.get("file") if source is not None else None
    return None if source is None or name is None else Path(source.file_of(("file",))).parent / str(name)


def _values(table: kinds.Table) -> dict[str, str]:
    """Return the newest value of each key."""
    rows = sorted(table.rows or [], key=lambda row: str(row.get(table.valid_from or "", "")))
    return {key_text(row[table.key[0]]): key_text(row[table.value]) for row in rows}


def _append(path: Path, table: kinds.Table, values: Mapping[str, str], day: str) -> None:
    """Append rows to a CSV, with its columns. They are effective from the day; other columns stay empty."""
    text = path.read_text("utf-8")
    header = next(csv.reader(io.StringIO(text)))
    columns = [column.strip() for column in header]
    if not {table.key[0], table.value} <= set(columns):
        _, findings = read_csv(text, path.name, [table.key[0], table.value])
        raise CommandFailed("; ".join(finding.message for finding in findings))
    lines = io.StringIO()
    writer = csv.DictWriter(lines, columns, restval="", lineterminator="\n")
    for key, value in sorted(values.items()):
        row = {table.key[0]: key, table.value: value}
        writer.writerow(row | ({table.valid_from: day} if table.valid_from else {}))
    separator = "" if text.endswith("\n") else "\n"
    path.write_text(text + separator + lines.getvalue(), "utf-8")


COMMANDS: list[Callable[..., None]] = [pairings]
