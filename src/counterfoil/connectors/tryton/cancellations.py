"""Cancellation of a posted invoice: in place, or by a credit memo with a number of its own.

In place is for an invoice that nothing has paid: the ERP posts the opposite entry and issues no document; the company must allow
it. The memo takes back what is open. It has lines, accounts and taxes of the invoice, less those of the credit memos that are
applied to it, and each of its lines names the line that it takes back.
"""

from __future__ import annotations

from decimal import Decimal

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Absent, Confirmed, Finding, Unknown
from counterfoil.core.errors import ErrorClass, Refused, TryAgain, Uncertain

from .document_body import FIELDS, MODEL
from .documents import ErpDocuments
from .inputs import CancellationInput, DocumentInput, LineInput, ManualTaxInput, TaxInput, VoidInput
from .moves import LedgerMoves, nominal
from .remainders import CreditPart, TaxedLine, TaxRow, remaining_nets, remaining_taxes
from .rest import Record, Rest

LINE, _TAX = "account.invoice.line", "account.invoice.tax"
_MAX_LINES = 10_000


class Cancellations:
    def __init__(self, rest: Rest, documents: ErpDocuments, company: int) -> None:
        self._rest = rest
        self._documents = documents
        self._company = company
        self._moves = LedgerMoves(rest, company)

    async def void(self, target: VoidInput, by: Deadline) -> Record:
        """Cancel an invoice in place. Raises Refused, TryAgain or Uncertain."""
        original = await self._original(target.invoice, by)
        if original["cancel_move"]:
            raise Refused(
                f"invoice {original['number']} is cancelled already", ErrorClass.ALREADY_DONE, "cancelled"
            )
        _check(original, target)
        await self._rest.act(MODEL, target.invoice, "cancel", by)
        try:
            return await self._documents.get(target.invoice, None, by)
        except (TryAgain, Refused) as error:
            message = f"invoice {original['number']} is cancelled but could not be read back: {error}"
            raise Uncertain(message) from error

    async def find_void(self, target: VoidInput, by: Deadline) -> Finding:
        """Return the outcome of a cancellation in place. Raises TryAgain or Refused if the look-up fails."""
        body = await self._documents.get(target.invoice, None, by)
        if body["cancel_move"]:
            return Confirmed(body)
        if body["state"] in ("posted", "paid"):
            return Absent()
        return Unknown(f"invoice {body['number']} is {body['state']} without a cancelling entry")

    async def post(self, target: CancellationInput, by: Deadline) -> Record:
        """Post the credit memo that takes an invoice back. It is applied to the invoice by `erp.credit.apply`."""
        original = await self._original(target.invoice, by)
        earlier = await self.find(target, by)
        if isinstance(earlier, Absent):
            _check(original, target)
        return await self._documents.post(await self._memo(target, original, by), True, by)

    async def find(self, target: CancellationInput, by: Deadline) -> Finding:
        """Return the outcome of a cancellation memo, by its reference. Raises TryAgain or Refused if the look-up fails."""
        return await self._documents.find(target.reference, by)

    async def _original(self, number: int, by: Deadline) -> Record:
        record = await self._rest.get(MODEL, number, (*FIELDS, "party", "company"), by)
        if record["company"]["id"] != self._company:
            raise Refused(f"no document of this company has the id {number}", ErrorClass.NOT_FOUND)
        return record

    async def _memo(self, target: CancellationInput, original: Record, by: Deadline) -> DocumentInput:
        rows, taxes = await self._rows_of([target.invoice], by)
        if target.total != original["total_amount"]:
            rows, taxes = await self._left(target, original, rows, taxes, by)
        return DocumentInput(
            reference=target.reference,
            party=original["party"]["id"],
            currency=original["currency"]["code"],
            invoice_date=target.invoice_date,
            accounting_date=target.accounting_date,
            description=target.description,
            lines=tuple(
                LineInput(
                    row["description"] or "Line",
                    -row["quantity"],
                    row["unit_price"],
                    row["account"]["code"],
                    taxes=tuple(TaxInput(id=tax) for tax in row["taxes"]),
                    takes_back=row["id"],
                )
                for row in rows
            ),
            manual_taxes=tuple(
                ManualTaxInput(
                    row["account"]["code"],
                    -row["base"],
                    -row["amount"],
                    row["description"] or "Tax",
                    (row["tax"] or {}).get("name"),
                )
                for row in taxes
            ),
            total=-target.total,
        )

    async def _rows_of(self, documents: list[int], by: Deadline) -> tuple[list[Record], list[Record]]:
        """Return the lines of documents, and their taxes with amounts of the billing system."""
        domain = [["invoice", "in", documents], ["company", "=", self._company], ["type", "=", "line"]]
        fields = ["invoice", "account.code", "description", "quantity", "unit_price", "amount", "taxes"]
        of_documents = [["invoice", "in", documents], ["manual", "=", True]]
        names = ["invoice", "tax.name", "account.code", "base", "amount", "description"]
        return (
            await self._rest.search(LINE, domain, fields, by, limit=_MAX_LINES),
            await self._rest.search(_TAX, of_documents, names, by, limit=_MAX_LINES),
        )

    async def _left(
        self,
        target: CancellationInput,
        original: Record,
        rows: list[Record],
        taxes: list[Record],
        by: Deadline,
    ) -> tuple[list[Record], list[Record]]:
        """Return lines and taxes of an invoice as its credit memos have left them."""
        rounding = original["currency"]["rounding"]
        credits = await self._credits(target, original, by)
        left = remaining_taxes([_tax_row(row, 1) for row in taxes], credits, rounding)
        net = target.total - sum((tax.amount for tax in left), Decimal(0))
        nets = remaining_nets([_taxed_line(row, 1) for row in rows], credits, net, rounding)
        return (
            [row | {"quantity": Decimal(1), "unit_price": n} for row, n in zip(rows, nets, strict=True) if n],
            [
                row | {"base": tax.base, "amount": tax.amount}
                for row, tax in zip(taxes, left, strict=True)
                if tax.base or tax.amount
            ],
        )

    async def _credits(self, target: CancellationInput, original: Record, by: Deadline) -> list[CreditPart]:
        """Return the credit memos that are applied to an invoice."""
        paying = await self._moves.lines([line["id"] for line in original["payment_lines"]], by)
        applied: dict[int, Decimal] = {}
        for line in await self._moves.lines_of(sorted({line["move"] for line in paying}), by):
            document = line["invoice_payment"]
            if document is not None and document != target.invoice:
                applied[document] = applied.get(document, Decimal(0)) + nominal(line)
        domain = [["id", "in", list(applied)], ["type", "=", "out"], ["company", "=", self._company]]
        documents = await self._rest.search(
            MODEL, domain, ["reference", "total_amount"], by, limit=_MAX_LINES
        )
        memos = {
            d["id"]: d for d in documents if d["total_amount"] < 0 and d["reference"] != target.reference
        }
        rows, taxes = await self._rows_of(list(memos), by)
        return [
            CreditPart(
                applied[number] / -memo["total_amount"],
                tuple(_taxed_line(row, -1) for row in rows if row["invoice"] == number),
                tuple(_tax_row(row, -1) for row in taxes if row["invoice"] == number),
            )
            for number, memo in memos.items()
        ]


def _taxed_line(row: Record, sign: int) -> TaxedLine:
    return TaxedLine(sign * row["amount"], tuple(sorted(row["taxes"])))


def _tax_row(row: Record, sign: int) -> TaxRow:
    return TaxRow((row["tax"] or {}).get("name"), sign * row["base"], sign * row["amount"])


def _check(original: Record, target: VoidInput | CancellationInput) -> None:
    """Raise Refused unless the invoice is posted and has this total open: all of it in place, any rest by a memo."""
    number, whole, open_ = original["number"], original["total_amount"], original["amount_to_pay"]
    if original["state"] != "posted":
        raise Refused(f"invoice {number} is {original['state']}", ErrorClass.REFUSED, "not_open")
    in_place = isinstance(target, VoidInput)
    if target.total == open_ and 0 < open_ <= whole and (open_ == whole or not in_place):
        return
    # What was applied and taken back stays among its payment lines.
    if open_ != whole:
        message = f"invoice {number} has {open_} of {whole} open, so that {target.total} cannot be cancelled"
        raise Refused(message, ErrorClass.REFUSED, "applied")
    message = f"invoice {number} is over {whole}, not {target.total}"
    raise Refused(message, ErrorClass.REFUSED, "amount_changed")
