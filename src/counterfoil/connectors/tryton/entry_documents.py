"""Invoices and memos that entries pay: their open lines, and the checks before a payment.

A person may write the state of a document by hand, and the open amount of the ERP follows the state. So both are read from
the lines: a document is paid if all its own lines are reconciled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from counterfoil.connectors.http import Deadline
from counterfoil.core.errors import ErrorClass, Refused

from .document_body import MODEL
from .moves import LedgerMoves, nominal, open_lines, total
from .rest import Record, Rest, day

_FIELDS = (
    "number", "reference", "state", "type", "invoice_date", "currency.code", "party", "account.code", "reconciled", "cancel_move",
    "move", "lines_to_pay", "payment_lines",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PaidDocument:
    """Invoice or memo with its open lines, those of its payments included."""

    record: Record
    lines: Sequence[Record]

    @property
    def open(self) -> Decimal:
        """Open amount in the currency of the document: negative for a memo."""
        return sum(map(nominal, self.lines), Decimal(0))

    @property
    def functional(self) -> Decimal:
        """Open amount in the currency of the company."""
        return total(self.lines)

    @property
    def state(self) -> str:
        """State by its lines: `paid`, `posted`, `cancelled`, or that of a document without an entry."""
        record = self.record
        if not record["move"] or (record["state"] == "cancelled" and record["cancel_move"]):
            return str(record["state"])
        return "paid" if record["reconciled"] else "posted"

    @property
    def name(self) -> str:
        """Its reference, or its number if it has none."""
        return str(self.record["reference"] or self.record["number"])

    def body(self) -> Record:
        """Return the document as a part of the result of an entry."""
        return {
            "id": self.record["id"],
            "number": self.record["number"],
            "reference": self.record["reference"],
            "open": self.open if self.state == "posted" else Decimal(0),
            "state": self.state,
        }

    def check(self, amount: Decimal, party: int | None, account: str, currency: str) -> None:
        """Raise Refused unless the open amount covers a payment: `amount` is debit less credit of its lines."""
        record = self.record
        name = record["number"] or f"document {record['id']}"
        if record["type"] != "out" or self.state not in ("posted", "paid"):
            raise Refused(f"{name} is {self.state}", ErrorClass.INVALID, "not_posted")
        for field, ours, theirs in (
            ("account", account, record["account"]["code"]),
            ("party", party, record["party"]),
            ("currency", currency, record["currency"]["code"]),
        ):
            if ours != theirs:
                message = f"{name} has {field} {theirs}, not {ours}"
                raise Refused(message, ErrorClass.INVALID, f"other_{field}")
        if self.open * amount > 0 or abs(amount) > abs(self.open):
            message = f"{name} has {self.open} open, not {-amount}"
            raise Refused(message, ErrorClass.CONFLICT, "amount_exceeds_open")
        if self.state != record["state"]:
            message = (
                f"{name} has the state {record['state']}, but its lines are {self.state}: correct its state"
            )
            raise Refused(message, ErrorClass.CONFLICT, "state_by_hand")


class PaidDocuments:
    """Documents of one company."""

    def __init__(self, rest: Rest, moves: LedgerMoves, company: int) -> None:
        self._rest = rest
        self._moves = moves
        self._company = company

    async def read(self, numbers: Sequence[int], by: Deadline) -> dict[int, PaidDocument]:
        """Return documents by their ids. Raises Refused(NOT_FOUND) for one of another company, or TryAgain."""
        if not numbers:
            return {}
        domain = [["id", "in", list(numbers)], ["company", "=", self._company]]
        records = {record["id"]: record for record in await self._rest.search_all(MODEL, domain, _FIELDS, by)}
        if absent := [str(number) for number in numbers if number not in records]:
            message = f"no document of this company has the id {', '.join(absent)}"
            raise Refused(message, ErrorClass.NOT_FOUND, "unknown_document")
        of_documents = [
            line
            for record in records.values()
            for line in (*record["lines_to_pay"], *record["payment_lines"])
        ]
        lines = await self._moves.lines(of_documents, by)
        return {
            number: PaidDocument(records[number], open_lines(records[number], lines)) for number in numbers
        }

    async def open_credits(self, party: int, currency: str, by: Deadline) -> list[Record]:
        """Return the credit memos of a party with an open amount, oldest first. Raises Refused or TryAgain.

        Their open amounts are positive.
        """
        domain = [
            ["company", "=", self._company],
            ["type", "=", "out"],
            ["party", "=", party],
            ["currency.code", "=", currency],
            ["state", "=", "posted"],
            ["move", "!=", None],
        ]
        numbers = [row["id"] for row in await self._rest.search_all(MODEL, domain, ["number"], by)]
        documents = [d for d in (await self.read(numbers, by)).values() if d.state == "posted" and d.open < 0]
        documents.sort(key=lambda document: (document.record["invoice_date"], document.record["id"]))
        return [
            {
                **{name: document.record[name] for name in ("id", "number", "reference")},
                "invoice_date": day(document.record["invoice_date"]),
                "currency": currency,
                "open": -document.open,
                "place": place,
            }
            for place, document in enumerate(documents)
        ]
