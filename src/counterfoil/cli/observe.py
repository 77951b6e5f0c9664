"""`counterfoil observe`: two exports side by side, without configuration and without a server."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, FormatOption, complain, say, write_json, write_table

MAX_TEXT_ROWS = 50
Pair = tuple[str, str]
_COLUMN = "as LEFT=RIGHT, or one name for both sides"


def observe(
    left: Annotated[
        str,
        typer.Argument(help="A file (CSV, JSON, JSON lines, Parquet, XLSX) or `sqlite:FILE: select ...`."),
    ] = "",
    right: Annotated[
        str, typer.Argument(help="The other one, or `postgresql://HOST/NAME: select ...`.")
    ] = "",
    keys: Annotated[
        list[str] | None, typer.Option("--keys", "--key", help=f"Key columns, {_COLUMN}; comma-separated.")
    ] = None,
    amount: Annotated[str, typer.Option(help=f"Amount columns, {_COLUMN}; `Debit - Credit` names two.")] = "",
    date: Annotated[str, typer.Option(help=f"Date columns, {_COLUMN}.")] = "",
    currency: Annotated[str, typer.Option(help="Currency columns, or a code such as EUR for all rows.")] = "",
    entity: Annotated[str, typer.Option(help=f"Legal entity columns, {_COLUMN}.")] = "",
    fee: Annotated[str, typer.Option(help=f"Fee columns, {_COLUMN}; one side may be empty.")] = "",
    tax: Annotated[str, typer.Option(help=f"Tax columns, {_COLUMN}; one side may be empty.")] = "",
    sign: Annotated[str, typer.Option(help="same or opposite: how the right side writes the sign.")] = "",
    engine: Annotated[
        str,
        typer.Option(help="Address of a database: LEFT and RIGHT are tables of it, compared inside of it."),
    ] = "",
    xlsx: Annotated[Path | None, typer.Option(help="Write the report to this XLSX file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report to this HTML page.")] = None,
    write: Annotated[Path | None, typer.Option(help="Draft the reconciliation in this folder.")] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Write two sample exports to this folder, and stop.")
    ] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Compare two exports: what matches, and each difference with its cause.

    Nothing is configured: columns are guessed, and the guess is shown. Exit code 1: something differs.
    """
    from counterfoil.reconcile.exports.table import ExportRefused
    from counterfoil.reconcile.guess import Stated
    from counterfoil.reconcile.observe import observe as observed_of

    if samples is not None:
        _write_samples(samples)
        return
    if not left or not right:
        raise CommandFailed(
            "observe needs two exports: counterfoil observe LEFT RIGHT. --samples DIR writes two to try."
        )
    if sign not in ("", "same", "opposite"):
        raise CommandFailed(f"--sign is same or opposite, not {sign}.")
    stated = Stated(
        keys=tuple(_pair(part) for text in keys or () for part in text.split(",") if part.strip()),
        amount=_optional(amount),
        date=_optional(date),
        currency=_optional(currency),
        entity=_optional(entity),
        fee=_optional(fee),
        tax=_optional(tax),
        sign=0 if not sign else 1 if sign == "same" else -1,
    )
    try:
        observed = observed_of(left, right, stated, engine=engine)
    except ExportRefused as error:
        raise CommandFailed(str(error)) from None
    report = observed.data()
    title = f"{_file_name(left)} and {_file_name(right)}"
    _write_files(observed, (left, right), report, title, xlsx, html, write)
    if format is Format.JSON:
        write_json(report)
    else:
        _print(report)
    if not observed.agrees:
        raise typer.Exit(1)


def _write_samples(folder: Path) -> None:
    """Write the sample exports of the package, and print the command that compares them."""
    names = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sample in sorted(
            files("counterfoil.reconcile").joinpath("samples").iterdir(), key=lambda f: f.name
        ):
            (folder / sample.name).write_bytes(sample.read_bytes())
            names.append(str(folder / sample.name))
    except OSError as error:
        raise CommandFailed(f"{error.filename} cannot be written: {error.strerror}.") from error
    say(f"Written: {', '.join(names)}. Next: counterfoil observe {' '.join(names)}")


def _pair(text: str) -> Pair:
    left, equals, right = text.partition("=")
    return (left.strip(), right.strip()) if equals else (text.strip(), text.strip())


def _optional(text: str) -> Pair | None:
    return _pair(text) if text else None


def _file_name(text: str) -> str:
    """Return the name of an export without its folder, and without the address of a database."""
    return text.partition(": ")[0].rpartition("/")[2]


def _write_files(
    observed: Any,
    places: tuple[str, str],
    report: dict[str, Any],
    title: str,
    xlsx: Path | None,
    html: Path | None,
    write: Path | None,
) -> None:
    from counterfoil.reconcile.reports.draft import write_draft
    from counterfoil.reconcile.reports.page import page
    from counterfoil.reconcile.reports.xlsx import write_xlsx

    notes: list[str] = []
    try:
        if xlsx is not None:
            xlsx.touch()  # the writer's own error for a path that cannot be written is no OSError
            write_xlsx(report, xlsx, title)
        if html is not None:
            html.write_text(page(report, title), "utf-8")
        if write is not None:
            notes = write_draft(observed, places, write)
            write = write / "reconciliation.yaml"
    except FileExistsError as error:
        raise CommandFailed(f"{error.filename} exists already; name another folder.") from error
    except OSError as error:
        raise CommandFailed(f"{error.filename} cannot be written: {error.strerror}.") from error
    if written := [str(path) for path in (xlsx, html, write) if path is not None]:
        complain(" ".join(f"{text}." for text in (f"Written: {', '.join(written)}", *notes)))


def _print(report: dict[str, Any]) -> None:
    from counterfoil.reconcile.reports.words import (
        CAUSES,
        cause_rows,
        guess_lines,
        headline,
        money_text,
        shape_words,
    )

    say("Guessed:")
    write_table(("role", "left", "right", "sure>", "why"), list(guess_lines(report)), "")
    for note in report["notes"]:
        say(note)
    say("")
    totals = report["totals"]
    rows: Iterable[list[str]] = (
        [code, totals["left"].get(code, "0"), totals["right"].get(code, "0"), amount]
        for code, amount in totals["difference"].items()
    )
    write_table(("currency", "left>", "right>", "difference>"), list(rows), "")
    for text in report["stated_totals"]:
        say(text)
    for u in report["unreadable"][:MAX_TEXT_ROWS]:
        say(f"{u['side']}, {u['place']}: the amount {u['amount']!r} is no number; the row is left out.")
    say("")
    say(f"{headline(report)}." + (f" Matched {shape_words(report)}." if report["matched"] else ""))
    if not report["differences"]:
        return
    say("")
    write_table(
        ("cause", "differences>", "left less right>"),
        [(CAUSES[cause], str(count), money_text(sums)) for cause, count, sums in cause_rows(report)],
        "",
    )
    say("")
    write_table(
        ("cause", "key", "left>", "right>", "difference>", "rows", "why"),
        [
            (CAUSES[d["cause"]], d["key"], d["left"] or "", d["right"] or "", money_text(_present(d["amounts"])),
             _rows(d), d["why"])
            for d in report["differences"][:MAX_TEXT_ROWS]
        ],
        "",
    )  # fmt: skip
    more = len(report["differences"]) - MAX_TEXT_ROWS
    if more > 0:
        say(f"and {more} more: --format json, --xlsx or --html show all.")


def _present(amounts: dict[str, str]) -> dict[str, str]:
    """Return the amounts that are not zero."""
    return {currency: amount for currency, amount in amounts.items() if Decimal(amount)}


def _rows(d: dict[str, Any]) -> str:
    return " / ".join(", ".join(map(str, rows)) for rows in (d["left_rows"], d["right_rows"]) if rows)
