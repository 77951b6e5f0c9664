"""A closed day of a bank account, as the writers of statements get it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from counterfoil.demo.bank.movements import BookedLine


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """Balances and lines of one day. `number` counts all statements of the account, `number_of_year` those of its year."""

    account: str
    currency: str
    digits: int
    """Decimal places of the currency."""
    day: date
    number: int
    number_of_year: int
    opening: Decimal
    closing: Decimal
    lines: tuple[BookedLine, ...]

    def text(self, amount: Decimal) -> str:
        """Return an amount without its sign, with the digits of the currency."""
        return f"{abs(amount):.{self.digits}f}"
