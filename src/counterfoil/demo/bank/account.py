"""One account of the demonstration's bank: its balance, and its days, each of which ends with a statement in a folder.

The same movements give the same bytes. The statement appears whole, under its name, before the state moves on: a bank that
is killed in between writes the same file again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias

from counterfoil.core.money import exponent
from counterfoil.demo.bank.camt_file import camt_file
from counterfoil.demo.bank.csv_file import us_csv_file
from counterfoil.demo.bank.day import ClosedDay
from counterfoil.demo.bank.movements import BookedLine, Movement

StatementForm: TypeAlias = Literal["camt.053", "csv"]
_WRITERS: Mapping[StatementForm, tuple[str, Callable[[ClosedDay], bytes]]] = {
    "camt.053": ("xml", camt_file),
    "csv": ("csv", us_csv_file),
}


class DayClosed(Exception):
    """A day that the bank has closed, or one before it."""


@dataclass(frozen=True, slots=True)
class BankAccount:
    """An account. `number` is an IBAN in camt.053, and whatever the bank calls its accounts in a CSV file."""

    name: str
    """Name of the account in the names of files: `operating`."""
    number: str
    currency: str
    form: StatementForm
    opening: Decimal = Decimal(0)


class DemoBank:
    """Bank of one account. `home` has its state, and `folder` gets its statements."""

    def __init__(self, account: BankAccount, home: Path, folder: Path) -> None:
        self.account = account
        self._state_file = home / f"{account.name}.json"
        self._folder = folder
        home.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def balance(self) -> Decimal:
        return Decimal(self._state()["balance"])

    @property
    def last_day(self) -> date | None:
        """Return the last day that is closed."""
        day = self._state()["day"]
        return date.fromisoformat(day) if day else None

    def close_day(self, day: date, movements: Sequence[Movement]) -> Path:
        """Book the movements of a day in their order and write its statement; return its path.

        Raises DayClosed for a day that is not after the last one, ValueError for an amount with more digits than the currency has.
        """
        state = self._state()
        if state["day"] and day <= date.fromisoformat(state["day"]):
            raise DayClosed(
                f"the bank has closed {state['day']}; the movements of {day} belong to a later day"
            )
        balance, lines = Decimal(state["balance"]), list[BookedLine]()
        for number, movement in enumerate(movements, 1):
            for amount in (movement.amount, movement.charges, *(part.amount for part in movement.parts)):
                self._check_digits(amount)
            balance += movement.amount
            reference = f"{self.account.name.upper()[:4]}{day:%Y%m%d}{number:05d}"
            lines.append(BookedLine(movement, reference, balance, day))
        is_same_year = state["day"].startswith(f"{day.year}-")
        closed = ClosedDay(
            self.account.number,
            self.account.currency,
            exponent(self.account.currency),
            day,
            state["number"] + 1,
            state["of_year"] + 1 if is_same_year else 1,
            Decimal(state["balance"]),
            balance,
            tuple(lines),
        )
        suffix, write = _WRITERS[self.account.form]
        path = self._folder / f"{self.account.name}-{day}.{suffix}"
        _put(path, write(closed))
        after = {
            "balance": str(balance),
            "day": str(day),
            "number": closed.number,
            "of_year": closed.number_of_year,
        }
        _put(self._state_file, json.dumps(after).encode())
        return path

    def _state(self) -> dict[str, Any]:
        if self._state_file.exists():
            state: dict[str, Any] = json.loads(self._state_file.read_bytes())
            return state
        return {"balance": str(self.account.opening), "day": "", "number": 0, "of_year": 0}

    def _check_digits(self, amount: Decimal) -> None:
        if amount != round(amount, exponent(self.account.currency)):
            raise ValueError(f"{amount} has more digits than {self.account.currency}")


def _put(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole. Readers of the folder leave out hidden names."""
    draft = path.with_name(f".{path.name}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
