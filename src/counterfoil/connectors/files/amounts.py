"""Amounts of tables that state the sign beside the number, and the balances that a table must tie to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from counterfoil.connectors.files.cells import Mark, decimal_text
from counterfoil.connectors.files.reader import FileRefused, OutsideLine
from counterfoil.connectors.files.settings import AMOUNT, AmountForm, BookFiles
from counterfoil.connectors.row_deliveries import RowRefused


def completed_row(row: dict[str, Any], book: BookFiles) -> dict[str, Any]:
    """Return a typed row with its signed `amount` and the constants of the settings. Raises RowRefused."""
    derived = {} if book.amount is None else {AMOUNT: _signed(row, book.amount)}
    for column in {*derived, *book.constants}:
        if column in row and column not in book.required:
            raise RowRefused(
                f"the file has a column `{column}` of its own; write the constant with another name"
            )
    return {**row, **derived, **book.constants}


def _signed(row: Mapping[str, Any], columns: AmountForm) -> str:
    if columns.column is None:
        return _of_two_columns(row, str(columns.debit), str(columns.credit))
    number = row[columns.column]
    if number is None:
        raise RowRefused(f"the column `{columns.column}` has no amount")
    if columns.sign is None:
        return str(number)
    word = str(row[columns.sign] or "").strip()
    if word not in (columns.minus, columns.plus):
        raise RowRefused(
            f"`{word}` in the column `{columns.sign}` is neither `{columns.plus}` nor `{columns.minus}`"
        )
    return _negative(columns.column, number) if word == columns.minus else _unsigned(columns.column, number)


def _of_two_columns(row: Mapping[str, Any], debit: str, credit: str) -> str:
    sides = [column for column in (debit, credit) if row[column] is not None and Decimal(row[column]) != 0]
    if len(sides) == 2 or (row[debit] is None and row[credit] is None):
        count = "both" if sides else "neither"
        raise RowRefused(
            f"an amount stands in one of the columns `{debit}` and `{credit}`, and here in {count}"
        )
    side = sides[0] if sides else (credit if row[credit] is not None else debit)
    return _negative(side, row[side]) if side == debit else _unsigned(side, row[side])


def _unsigned(column: str, number: str) -> str:
    if number.startswith("-"):
        raise RowRefused(
            f"`{number}` in the column `{column}` has a sign of its own beside the one of the settings"
        )
    return number


def _negative(column: str, number: str) -> str:
    text = _unsigned(column, number)
    return f"-{text}" if Decimal(text) else text


class BalanceCheck:
    """Balances that a file states outside of its table, and the sum of its rows."""

    def __init__(self, name: str, book: BookFiles, mark: Mark) -> None:
        self._name, self._book, self._mark = name, book, mark
        self._sum = Decimal(0)
        self._balances: dict[str, Decimal] = {}
        self.closing_cells: Sequence[Any] = ()
        """Cells of the line that states the closing balance."""

    @property
    def closing_balance(self) -> Decimal:
        """The closing balance of a file that was read to its end."""
        return self._balances[str(self._book.closing)]

    def add_row(self, row: Mapping[str, Any]) -> None:
        if self._book.opening is not None:
            self._sum += Decimal(row[AMOUNT])

    def add_line(self, line: OutsideLine) -> None:
        """Take a line outside of the table into account. Raises FileRefused for a second balance of one kind."""
        for label in (self._book.opening, self._book.closing):
            if label is None or not str(line.cells[0] if line.cells else "").strip().startswith(label):
                continue
            if label in self._balances:
                raise FileRefused(f"{self._name}, line {line.place}: a second line begins with `{label}`")
            self._balances[label] = self._balance(line)
            if label == self._book.closing:
                self.closing_cells = line.cells

    def _balance(self, line: OutsideLine) -> Decimal:
        cells = [cell for cell in line.cells[1:] if cell is not None]
        numbers = [number for cell in cells if (number := self._number(cell)) is not None]
        if len(numbers) != 1:
            raise FileRefused(
                f"{self._name}, line {line.place}: this line states one balance, and it has {len(numbers)} numbers"
            )
        amount = self._book.amount
        if amount is not None and amount.sign is not None:
            words = [word for cell in cells if (word := str(cell).strip()) in (amount.minus, amount.plus)]
            if len(words) != 1:
                raise FileRefused(
                    f"{self._name}, line {line.place}: the balance has no `{amount.plus}` or `{amount.minus}`"
                )
            return -Decimal(numbers[0]) if words[0] == amount.minus else Decimal(numbers[0])
        return Decimal(numbers[0])

    def _number(self, cell: Any) -> str | None:
        if isinstance(cell, int | float | Decimal):
            return f"{Decimal(str(cell)):f}"
        return decimal_text(cell, self._mark) if isinstance(cell, str) else None

    def close(self) -> None:
        """Raise FileRefused unless the rows lead from the opening to the closing balance."""
        if self._book.opening is None or self._book.closing is None:
            return
        for label in (self._book.opening, self._book.closing):
            if label not in self._balances:
                raise FileRefused(
                    f"{self._name}: no line outside of the rows begins with `{label}` and states a balance; export the "
                    "file again"
                )
        opening, closing = self._balances[self._book.opening], self._balances[self._book.closing]
        if opening + self._sum != closing:
            raise FileRefused(
                f"{self._name}: the opening balance {opening:f} and the rows over {self._sum:f} give {opening + self._sum:f}, and "
                f"the closing balance is {closing:f}; a row is missing or wrong, so export the file again"
            )
