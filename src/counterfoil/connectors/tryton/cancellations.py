"""Cancellation of a posted invoice that nothing has paid: in place, or by a credit memo with a number of its own.

In place the ERP posts the opposite entry and issues no document; the company must allow it. The memo copies lines, accounts and
taxes of the invoice, and each of its lines names the line that it takes back.
"""

from __future__ import annotations

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Absent, Confirmed, Finding, Unknown
from counterfoil.core.errors import ErrorClass, Refused, TryAgain, Uncertain

from .document_body import FIELDS, MODEL
from .documents import ErpDocuments
from .inputs import CancellationInput, DocumentInput, LineInput, ManualTaxInput, TaxInput, VoidInput
from .rest import Record, Rest

LINE, _TAX = "account.invoice.line", "account.invoice.tax"
_MAX_LINES = 10_000


class Cancellations:
    def __init__(self, rest: Rest, documents: ErpDocuments, company: int) -> None:
        self._rest = rest
        self._documents = documents
        self._company = company

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
        domain = [["invoice", "=", target.invoice], ["company", "=", self._company]]
        fields = ["account.code", "description", "quantity", "unit_price", "taxes"]
        rows = await self._rest.search(LINE, [*domain, ["type", "=", "line"]], fields, by, limit=_MAX_LINES)
        of_invoice = [["invoice", "=", target.invoice], ["manual", "=", True]]
        names = ["tax.name", "account.code", "base", "amount", "description"]
        taxes = await self._rest.search(_TAX, of_invoice, names, by, limit=_MAX_LINES)
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


def _check(original: Record, target: VoidInput | CancellationInput) -> None:
    """Raise Refused unless the invoice is posted over this total, and no payment or credit is applied to it."""
    number = original["number"]
    if original["total_amount"] != target.total or target.total <= 0:
        message = f"invoice {number} is over {original['total_amount']}, not {target.total}"
        raise Refused(message, ErrorClass.REFUSED, "amount_changed")
    if original["state"] != "posted":
        raise Refused(f"invoice {number} is {original['state']}", ErrorClass.REFUSED, "not_open")
    # What was applied and taken back stays among its payment lines.
    if original["amount_to_pay"] != original["total_amount"]:
        message = f"payments or credits are applied to invoice {number}; take them back first"
        raise Refused(message, ErrorClass.REFUSED, "applied")
