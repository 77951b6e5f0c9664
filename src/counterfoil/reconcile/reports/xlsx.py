"""The report as XLSX: totals, differences and guesses. Amounts are numbers, and no text is a formula."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterfoil.reconcile.reports.words import CAUSES, guess_lines, headline, warnings
from counterfoil.sheets.workbook import MAX_SHEET_ROWS, new_workbook

_COLUMNS = (
    "cause",
    "key",
    "left",
    "right",
    "difference",
    "currency",
    "rows on the left",
    "rows on the right",
    "why",
)


def write_xlsx(report: Mapping[str, Any], path: Path, title: str) -> None:
    """Write the report to a file."""
    with new_workbook(path, title) as book:
        bold = book.add_format({"bold": True})
        money = book.add_format({"num_format": "#,##0.00##"})
        totals = book.add_worksheet("totals")
        totals.write_row(0, 0, [title], bold)
        totals.write_row(1, 0, [headline(report)])
        totals.write_row(3, 0, ["currency", "left", "right", "difference"], bold)
        for row, currency in enumerate(report["totals"]["difference"], 4):
            totals.write_string(row, 0, currency)
            for column, side in enumerate(("left", "right", "difference"), 1):
                totals.write_number(row, column, float(report["totals"][side].get(currency, "0")), money)
        below = 5 + len(report["totals"]["difference"])
        for row, text in enumerate(warnings(report)[:MAX_SHEET_ROWS], below):
            totals.write_string(row, 0, text)
        sheet = book.add_worksheet("differences")
        sheet.write_row(0, 0, _COLUMNS, bold)
        sheet.set_column(0, 1, 22)
        sheet.freeze_panes(1, 0)
        for row, d in enumerate(report["differences"][:MAX_SHEET_ROWS], 1):
            sheet.write_string(row, 0, CAUSES[d["cause"]])
            sheet.write_string(row, 1, d["key"])
            for column, amount in ((2, d["left"]), (3, d["right"]), (4, d["amount"])):
                if amount is not None:
                    sheet.write_number(row, column, float(amount), money)
            sheet.write_string(row, 5, d["currency"])
            sheet.write_string(row, 6, ", ".join(map(str, d["left_rows"])))
            sheet.write_string(row, 7, ", ".join(map(str, d["right_rows"])))
            sheet.write_string(row, 8, d["why"])
        guesses = book.add_worksheet("guesses")
        guesses.write_row(0, 0, ("role", "left", "right", "confidence", "why"), bold)
        for row, line in enumerate(guess_lines(report), 1):
            for column, text in enumerate(line):
                guesses.write_string(row, column, text)
