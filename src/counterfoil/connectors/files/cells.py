"""Numbers and dates in cells: read by the stated form, or by the only one that fits every cell of the file."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from counterfoil.connectors.files.settings import BookFiles
from counterfoil.connectors.row_deliveries import RowRefused

Mark: TypeAlias = Literal[".", ","]
MARKS: tuple[Mark, Mark] = (".", ",")
_EXAMPLES = {".": "1,234.50", ",": "1.234,50"}


def _pattern(mark: Mark) -> re.Pattern[str]:
    group = "," if mark == "." else "."
    # No group of thousands begins with a zero: 0.123 is less than one.
    whole = rf"(?:[1-9]\d{{0,2}}(?P<group>[{group}'’\u00a0\u202f ])\d{{3}}(?:(?P=group)\d{{3}})*|\d+)"
    return re.compile(rf"(?P<whole>{whole})?(?:[{mark}](?P<rest>\d+))?", re.ASCII)


_PATTERNS = {mark: _pattern(mark) for mark in MARKS}
_SIGNS = {"-": "-", "\u2212": "-", "+": ""}


def decimal_text(text: str, mark: Mark) -> str | None:
    """Return a number of an export as plain decimal text: `1.234,50-` with the mark `,` is `-1234.50`. None if it is none."""
    body, sign = text.strip(), ""
    if body.startswith("(") and body.endswith(")"):
        body, sign = body[1:-1].strip(), "-"
    elif body[:1] in _SIGNS:
        body, sign = body[1:].strip(), _SIGNS[body[0]]
    elif body[-1:] in _SIGNS:
        body, sign = body[:-1].strip(), _SIGNS[body[-1]]
    match = _PATTERNS[mark].fullmatch(body)
    if match is None or not body:
        return None
    whole = re.sub(r"\D", "", match["whole"] or "0")
    return sign + whole + (f".{match['rest']}" if match["rest"] else "")


class MarkSearch:
    """Search for the decimal mark of one file, by which every number of it can be read."""

    def __init__(self, book: BookFiles) -> None:
        self._marks: list[Mark] = list(MARKS)
        self._columns = [name for name, form in book.forms.items() if form == "decimal"]
        self._excluded: dict[Mark, str] = {}
        self._ambiguous = ""

    def add(self, row: dict[str, Any], where: str) -> None:
        """Take the numbers of a row into account. Raises RowRefused for one that no mark fits."""
        for column in self._columns:
            cell = row.get(column)
            if not isinstance(cell, str) or not cell.strip():
                continue
            texts = {mark: decimal_text(cell, mark) for mark in MARKS}
            for mark in [mark for mark in self._marks if texts[mark] is None]:
                self._marks.remove(mark)
                self._excluded[mark] = f"`{cell}` in {where}"
            if not self._marks:
                raise RowRefused(self._contradiction(column, cell))
            if not self._ambiguous and None not in texts.values() and texts["."] != texts[","]:
                self._ambiguous = f"`{cell}` in {where}"

    def _contradiction(self, column: str, cell: str) -> str:
        elsewhere = sorted({text for text in self._excluded.values() if f"`{cell}`" not in text})
        if not elsewhere:
            return f"`{cell}` in the column `{column}` is no number"
        return f"`{cell}` in the column `{column}` has another decimal mark than {elsewhere[0]}"

    def mark(self) -> Mark:
        """Return the mark. Raises RowRefused if two of them fit and give different numbers."""
        if len(self._marks) > 1 and self._ambiguous:
            raise RowRefused(f'{self._ambiguous} has two readings; state `decimal: "."` or `decimal: ","`')
        return self._marks[0]


def typed_row(row: dict[str, Any], book: BookFiles, mark: Mark) -> dict[str, Any]:
    """Return a row with the cells of stated columns as decimal and ISO date texts, null if empty. Raises RowRefused."""
    if not book.forms:
        return row
    typed = dict(row)
    for column, form in book.forms.items():
        cell = typed.get(column)
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            typed[column] = None
        elif form == "decimal":
            typed[column] = _number(column, cell, mark)
        elif form == "date":
            typed[column] = _date(column, cell, book.date)
        else:
            typed[column] = cell if isinstance(cell, str) else str(cell)
    return typed


def _number(column: str, cell: Any, mark: Mark) -> str:
    if isinstance(cell, int | Decimal) and not isinstance(cell, bool):
        return format(cell, "f") if isinstance(cell, Decimal) else str(cell)
    # A typed file and JSON write a number with a point, whatever the texts beside it.
    number = decimal_text(cell, mark) if isinstance(cell, str) else None
    if number is None:
        raise RowRefused(f"`{cell}` in the column `{column}` is no number such as {_EXAMPLES[mark]}")
    return number


def _date(column: str, cell: Any, form: str | None) -> str:
    try:
        text = str(cell).strip()
        if form is None:
            return (
                datetime.fromisoformat(text).date() if "T" in text else date.fromisoformat(text)
            ).isoformat()
        if re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00", text):  # a date of a typed file
            return text[:10]
        return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        example = date(2026, 3, 28).strftime(form or "%Y-%m-%d")
        fix = "" if form else "; state `date`, such as `%d.%m.%Y`"
        raise RowRefused(f"`{cell}` in the column `{column}` is no date such as {example}{fix}") from None
