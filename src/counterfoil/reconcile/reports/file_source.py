"""One export as a system of the connector `files`: the settings, the event and the mapping by which its rows are read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from counterfoil.reconcile.entries import NO_CURRENCY, Book
from counterfoil.reconcile.exports.table import is_empty
from counterfoil.reconcile.guess import Roles
from counterfoil.reconcile.keys import KeyGuess

BOOK = "documents"
ASSUMED_CURRENCY = "EUR"
_DATE_FORMS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y")
_ENCODINGS = {"utf-8": "", "utf-8-sig": "", "utf-16": ""}
"""Those that the connector finds out by itself."""
_PLAIN = re.compile(r"=?[a-zA-Z][\w.]*", re.ASCII)
_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_NOT_A_NUMBER = re.compile(r"[^\W\d_]|[€$£¥₹]")


@dataclass(frozen=True, slots=True)
class FileSource:
    """A text file whose rows the connector `files` reads as the comparison did."""

    name: str
    """Name of the system."""
    event: str
    path: Path
    book: Book
    roles: Roles
    keys: tuple[str, ...]
    is_loose: bool
    sign: int

    def settings(self) -> str:
        """Return the settings of the book as lines of YAML, below `documents:`."""
        form = self.book.table.form
        columns = dict.fromkeys(self.roles.amount.columns, "decimal")
        day = self._date_form()
        if day is not None:
            columns[self.roles.date] = "date"
        identity = self._identity()
        settings = {
            "files": f"*{self.path.suffix}",
            "lists": "all",
            "id": identity,
            "header": self.book.table.columns[0] if form.has_titles else "",
            "trailer": form.trailer,
            "separator": form.separator,
            "encoding": _ENCODINGS.get(form.encoding, form.encoding),
            "decimal": self.roles.amount.forms[0].decimal,
            "date": day if day != "%Y-%m-%d" else "",
            "columns": columns,
        }
        return "".join(f"      {key}: {_flow(value)}\n" for key, value in settings.items() if value)

    def mapping(self) -> str:
        """Return the mapping from a row to the event."""
        day = f"\n    day: =date({_cell(self.roles.date)})" if self._date_form() is not None else ""
        identity = self._identity()
        document = _cell(identity) if identity else "body.row_id"
        return f"""\
kind: mapping
name: {self.name}-{BOOK}
from: {{system: {self.name}, type: {BOOK}}}
emit:
  when: {_text(" || ".join(f"{_cell(column)} != null" for column in self.roles.amount.columns))}
  type: {self.event}
  key: {_text(f"={document}")}
  data:
    {self.object}_id: {_text(f"={document}")}
    key: {_text(f"={self._key()}")}{day}
    total: {_text(f"=money({self._amount()}, {self._currency()})")}
"""

    @property
    def currency(self) -> str:
        """The currency of all rows; an assumed one if the file names none."""
        named = self.book.entries[0].currency
        return ASSUMED_CURRENCY if named == NO_CURRENCY else named

    @property
    def object(self) -> str:
        return f"{self.name.replace('-', '_')}_row"

    def fields(self) -> str:
        """Return the data of the event."""
        day = ", day: date" if self._date_form() is not None else ""
        return f"{self.object}_id: id, key: string{day}, total: money"

    @property
    def has_day(self) -> bool:
        return self._date_form() is not None

    def _identity(self) -> str:
        """Return the column whose value is another one in each row; empty without one."""
        if len(self.keys) > 1:
            return ""
        values = self.book.table.column(self.keys[0])
        unique = len({str(value) for value in values}) == len(values)
        return self.keys[0] if unique and not any(map(is_empty, values)) else ""

    def _key(self) -> str:
        parts = []
        for column in self.keys:
            text = f"string({_cell(column)}).lowerAscii()"
            parts.append(
                f"{text}.find_all('[\\\\p{{L}}]+|[1-9][0-9]*').join('-')"
                if self.is_loose
                else f"{text}.trim()"
            )
        return " + '/' + ".join(parts)

    def _amount(self) -> str:
        cells = [_cell(column) for column in self.roles.amount.columns]
        amount = f"decimal({cells[0]})"
        if len(cells) == 2:
            debit, credit = (f"decimal(first({cell}, '0'))" for cell in cells)
            amount = f"{debit} - {credit}"
        return amount if self.sign == 1 else f"-({amount})"

    def _currency(self) -> str:
        if self.roles.currency:
            return f"string({_cell(self.roles.currency)}).trim().upperAscii()"
        return f"'{self.currency}'"

    def _date_form(self) -> str | None:
        """Return the form that all dates of the column have; None without one."""
        if not self.roles.date:
            return None
        cells = self.book.table.column(self.roles.date)
        if any(not isinstance(cell, str) or is_empty(cell) for cell in cells):
            return None
        days = [self.roles.date_form.read(cell) for cell in cells]
        return next((form for form in _DATE_FORMS if [_read(cell, form) for cell in cells] == days), None)


def file_source(
    place: str,
    name: str,
    event: str,
    book: Book,
    roles: Roles,
    key: KeyGuess | None,
    keys: Sequence[str],
    sign: int,
) -> FileSource | None:
    """Return the source of one side; None if the connector would not read it as the comparison did."""
    path, form = Path(place), book.table.form
    if key is None or key.reading == "inside" or not path.is_file() or book.table.name != path.name:
        return None
    if (
        not form.separator
        or not form.names_as_written
        or book.unreadable
        or book.elsewhere
        or not book.entries
    ):
        return None
    amounts = [book.table.column(column) for column in roles.amount.columns]
    if any(isinstance(cell, str) and _NOT_A_NUMBER.search(cell) for cells in amounts for cell in cells):
        return None
    if roles.amount.forms[0].mixed or len({form.decimal for form in roles.amount.forms}) > 1:
        return None
    return FileSource(name, event, path, book, roles, tuple(keys), key.reading == "loose", sign)


def _read(cell: str, form: str) -> object:
    try:
        return datetime.strptime(cell.strip(), form).date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None


def _cell(column: str) -> str:
    """Return the formula of a cell of the row."""
    return (
        f"body.{column}"
        if re.fullmatch(r"[a-zA-Z_]\w*", column, re.ASCII)
        else f"body[{json.dumps(column, ensure_ascii=False)}]"
    )


def _text(value: str) -> str:
    """Return a text as YAML: in quotes unless it is a plain word or path."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _YAML_WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {form}" for key, form in value.items()) + "}"
    return _text(str(value))
