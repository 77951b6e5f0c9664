"""Entries of the general ledger: the steps that applications of credit memos and entries of payments share.

The ERP accepts a reconciliation of lines that are reconciled already, and breaks the earlier one. So the lines are read
immediately before, and only open ones are reconciled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from counterfoil.connectors.http import Deadline
from counterfoil.core.errors import ErrorClass, Refused, TryAgain, Uncertain

from .rest import Record, Rest

MOVE = "account.move"
LINE = "account.move.line"
RECONCILIATION = "account.move.reconciliation"

LINE_FIELDS = (
    "move", "account.code", "account.reconcile", "party", "debit", "credit", "amount_second_currency", "second_currency", "reconciliation",
    "invoice_payment", "date", "description",
)  # fmt: skip


def functional(line: Record) -> Decimal:
    """Return debit less credit of a line, in the currency of the company."""
    amount: Decimal = line["debit"] - line["credit"]
    return amount


def nominal(line: Record) -> Decimal:
    """Return debit less credit of a line, in the currency of its document."""
    amount: Decimal = line["amount_second_currency"] if line["second_currency"] else functional(line)
    return amount


def total(lines: Iterable[Record]) -> Decimal:
    """Return the sum of lines in the currency of the company."""
    return sum(map(functional, lines), Decimal(0))


class LedgerMoves:
    """Entries of one company and their lines."""

    def __init__(self, rest: Rest, company: int) -> None:
        self._rest = rest
        self._company = company

    async def period(self, on: date, by: Deadline) -> int:
        """Return the open period of a day. Raises Refused(PERIOD_CLOSED, INVALID) or TryAgain."""
        domain = [
            ["company", "=", self._company],
            ["start_date", "<=", on],
            ["end_date", ">=", on],
            ["type", "=", "standard"],
        ]
        periods = await self._rest.search("account.period", domain, ["name", "state"], by, limit=2)
        if not periods:
            raise Refused(f"there is no period for {on}", ErrorClass.INVALID, "no_period")
        period = periods[0]
        if period["state"] != "open":
            message = f"period {period['name']} is {period['state']}"
            raise Refused(message, ErrorClass.PERIOD_CLOSED, period["name"])
        return int(period["id"])

    async def post(self, number: int, by: Deadline) -> None:
        """Post an entry, or delete its draft if the ERP refuses. Raises Refused, TryAgain or Uncertain."""
        try:
            await self._rest.act(MOVE, number, "post", by)
        except Refused as error:
            if error.error_class is ErrorClass.ALREADY_DONE:
                return
            # An entry that cannot be posted must not reduce the open amounts.
            try:
                await self._rest.delete(MOVE, number, by)
            except (Refused, TryAgain) as failure:
                message = f"{error}; its draft entry {number} could not be deleted: {failure}"
                raise Uncertain(message) from error
            raise

    async def lines(self, numbers: Sequence[int], by: Deadline) -> list[Record]:
        """Return lines by their ids. Raises TryAgain or Refused."""
        return await self._lines(["id", "in", list(numbers)], by) if numbers else []

    async def lines_of(self, moves: Sequence[int], by: Deadline) -> list[Record]:
        """Return the lines of entries. Raises TryAgain or Refused."""
        return await self._lines(["move", "in", list(moves)], by) if moves else []

    async def reconcile(self, lines: Sequence[Record], by: Deadline) -> None:
        """Reconcile open lines with each other. Raises TryAgain, Refused or Uncertain."""
        values = {
            "company": self._company,
            "date": max(line["date"] for line in lines),
            "lines": [["add", [line["id"] for line in lines]]],
        }
        await self._rest.create(RECONCILIATION, values, by)

    async def _lines(self, condition: list[object], by: Deadline) -> list[Record]:
        domain = [condition, ["move.company", "=", self._company]]
        return await self._rest.search_all(LINE, domain, LINE_FIELDS, by)


def open_lines(document: Record, lines: Iterable[Record]) -> list[Record]:
    """Return the open ones of the lines of a document: its own and those of its payments."""
    of_document = {*document["lines_to_pay"], *document["payment_lines"]}
    return [line for line in lines if line["id"] in of_document and not line["reconciliation"]]


def is_settled(lines: Sequence[Record]) -> bool:
    """Return whether these open lines cancel out, so that they can be reconciled."""
    return bool(lines) and not total(lines)
