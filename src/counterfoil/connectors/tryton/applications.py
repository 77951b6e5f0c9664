"""Application of a posted credit memo to a posted invoice, in full or in part, by a clearing entry.

The entry credits the receivable account for the invoice and debits it for the credit memo, with the same amount and
party. Both open amounts shrink. Tryton creates the entry and both links in one transaction. A document with no open amount is
reconciled, which makes it `paid`.

In a foreign currency each document is settled at its own amount in the currency of the company. What both differ by, because
their dates have two rates, is a realised gain or loss, and a line of the same entry.

A link of the credit memo's own line to the invoice would work for full memos only, and would leave the memo open. A
look-up finds the entry by its origin (the invoice) and by our key at the end of its description. A reference of both documents
begins it, so the feed of entries has it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Absent, Confirmed, Finding, Rejected
from counterfoil.core.errors import ErrorClass, Refused, TryAgain, Uncertain

from .document_body import MODEL
from .entry_amounts import BookedAmount, sides
from .entry_body import described, exchange_account
from .inputs import ApplicationInput
from .moves import MOVE, LedgerMoves, is_settled, nominal, open_lines, total
from .names import Names
from .rest import Record, Rest, day
from .settings import TrytonSettings

_DOCUMENT = (
    "number", "reference", "state", "type", "total_amount", "amount_to_pay", "currency.code", "company.currency", "party",
    "account", "lines_to_pay", "payment_lines",
)  # fmt: skip
_ENTRY = ("number", "state", "date", "description")


class Applications:
    def __init__(self, rest: Rest, names: Names, settings: TrytonSettings) -> None:
        self._rest = rest
        self._names = names
        self._settings = settings
        self._moves = LedgerMoves(rest, settings.company)

    async def apply(self, application: ApplicationInput, key: str, by: Deadline) -> Record:
        """Enter, post and reconcile an application, or finish that of an earlier attempt.

        Raises Refused, TryAgain or Uncertain.
        """
        entry = await self._entry(application, key, by)
        if entry is None:
            if application.amount <= 0:
                raise Refused("the amount must be above zero", ErrorClass.INVALID, "input")
            invoice, credit = await self._both(application, by)
            values = await self._values(application, key, invoice, credit, by)
            number = await self._rest.create(MOVE, values, by)
        else:
            number = int(entry["id"])
            if await self._is_finished(entry, application, by):
                message = f"the credit memo is applied already, by move {entry['number']}"
                raise Refused(message, ErrorClass.ALREADY_DONE, "applied")
        # From here on the application is in the books: after a failure only a look-up shows its state. A refused
        # posting is the exception: it deletes the entry.
        if entry is None or entry["state"] == "draft":
            try:
                await self._moves.post(number, by)
            except TryAgain as error:
                raise Uncertain(f"the application is entered but not posted: {error}") from error
        try:
            for document in await self._both(application, by):
                await self._reconcile(document, by)
            done = await self._rest.get(MOVE, number, _ENTRY, by)
            return await self._result(application, done, by)
        except (TryAgain, Refused) as error:
            raise Uncertain(f"the application is posted, but not known to be complete: {error}") from error

    async def find(self, application: ApplicationInput, key: str, by: Deadline) -> Finding:
        """Return the outcome of an application. Raises TryAgain or Refused if the look-up fails."""
        entry = await self._entry(application, key, by)
        if entry is None:
            return Absent()
        if not await self._is_finished(entry, application, by):
            message = f"the application is entered as move {entry['id']} but not finished"
            return Rejected(ErrorClass.TRANSIENT, message, "unfinished")
        return Confirmed(await self._result(application, entry, by))

    async def _entry(self, application: ApplicationInput, key: str, by: Deadline) -> Record | None:
        domain = [["origin", "=", f"{MODEL},{application.invoice}"], ["company", "=", self._settings.company]]
        entries = await self._rest.search(MOVE, domain, _ENTRY, by)
        ours = [entry for entry in entries if (entry["description"] or "").endswith(_mark(key))]
        return ours[0] if ours else None

    async def _both(self, application: ApplicationInput, by: Deadline) -> tuple[Record, Record]:
        message = f"invoice {application.invoice} or credit memo {application.credit} does not exist"
        unknown = Refused(message, ErrorClass.NOT_FOUND, "unknown_document")
        try:
            invoice = await self._rest.get(MODEL, application.invoice, _DOCUMENT, by)
            credit = await self._rest.get(MODEL, application.credit, _DOCUMENT, by)
        except Refused as error:
            if error.error_class is ErrorClass.NOT_FOUND:
                raise unknown from error
            raise
        if {invoice["company"]["id"], credit["company"]["id"]} != {self._settings.company}:
            raise unknown
        return invoice, credit

    async def _values(
        self, application: ApplicationInput, key: str, invoice: Record, credit: Record, by: Deadline
    ) -> dict[str, Any]:
        _check(application, invoice, credit)
        shared = {"account": invoice["account"], "party": invoice["party"]}
        lines = []
        for document, amount in ((invoice, -application.amount), (credit, application.amount)):
            line = {**shared, "invoice_payment": document["id"], "description": _name(document)}
            if _is_foreign(document):
                line |= {"second_currency": document["currency"]["id"], "amount_second_currency": amount}
                amount = await self._settled(document, amount, by)
            lines.append(line | sides(amount))
        if difference := sum((line["credit"] - line["debit"] for line in lines), Decimal(0)):
            account = await exchange_account(self._rest, difference, by)
            lines.append({"account": account, **sides(difference)})
        return {
            "company": self._settings.company,
            "journal": await self._names.id_of("journal", self._settings.applications_journal, by),
            "period": await self._moves.period(application.date, by),
            "date": application.date,
            "origin": f"{MODEL},{invoice['id']}",
            "description": described(
                f"{_name(credit)}/application/{_name(invoice)}",
                f"{credit['number']} applied to {invoice['number']} {_mark(key)}",
            ),
            "lines": [["create", lines]],
        }

    async def _settled(self, document: Record, amount: Decimal, by: Deadline) -> Decimal:
        """Return in the currency of the company what `amount` settles of a document. The last part takes the rest."""
        lines = await self._open_lines(document, by)
        company = await self._names.record("company", self._settings.company, by)
        booked = BookedAmount(sum(map(nominal, lines), Decimal(0)), total(lines))
        return booked.part(amount, company["currency"]["rounding"])

    async def _reconcile(self, document: Record, by: Deadline) -> None:
        lines = await self._open_lines(document, by)
        if is_settled(lines):
            await self._moves.reconcile(lines, by)

    async def _open_lines(self, document: Record, by: Deadline) -> list[Record]:
        numbers = [*document["lines_to_pay"], *document["payment_lines"]]
        return open_lines(document, await self._moves.lines(numbers, by))

    async def _is_finished(self, entry: Record, application: ApplicationInput, by: Deadline) -> bool:
        """Return whether the entry is posted and each document without an open amount is reconciled."""
        if entry["state"] != "posted":
            return False
        for document in await self._both(application, by):
            if is_settled(await self._open_lines(document, by)):
                return False
        return True

    async def _result(self, application: ApplicationInput, entry: Record, by: Deadline) -> Record:
        """Return the result. `amount_to_pay_before` is the open amount of the invoice without this application."""
        invoice, credit = await self._both(application, by)
        return {
            "invoice": application.invoice,
            "credit": application.credit,
            "applied": application.amount,
            "currency": invoice["currency"]["code"],
            "amount_to_pay_before": invoice["amount_to_pay"] + application.amount,
            "amount_to_pay_after": invoice["amount_to_pay"],
            "credit_open": credit["amount_to_pay"],
            "invoice_state": invoice["state"],
            "credit_state": credit["state"],
            "move": entry["number"],
            "exchange_difference": await self._exchange_difference(entry, invoice, by),
            "posting_date": day(entry["date"]),
        }

    async def _exchange_difference(self, entry: Record, invoice: Record, by: Deadline) -> Decimal:
        """Return the realised loss of an application, in the currency of the company; a gain is negative."""
        if not _is_foreign(invoice):
            return Decimal(0)
        lines = await self._moves.lines_of([entry["id"]], by)
        return total(line for line in lines if not line["party"])


def _is_foreign(document: Record) -> bool:
    return bool(document["currency"]["id"] != document["company"]["currency"])


def _name(document: Record) -> str:
    """Return the reference of a document, or its number if it has none."""
    return str(document["reference"] or document["number"])


def _mark(key: str) -> str:
    return f"[{key}]"


def _check(application: ApplicationInput, invoice: Record, credit: Record) -> None:
    """Raise Refused unless the credit memo may be applied to the invoice. The ERP would link any two lines of an account."""
    for document, sign, kind in ((invoice, 1, "invoice"), (credit, -1, "credit memo")):
        if document["type"] != "out" or document["total_amount"] * sign <= 0:
            message = f"document {document['id']} is not of type {kind}"
            raise Refused(message, ErrorClass.INVALID, f"no_{kind.replace(' ', '_')}")
        if document["state"] in ("draft", "validated", "cancelled"):
            raise Refused(f"{kind} {document['id']} is {document['state']}", ErrorClass.INVALID, "not_posted")
        if document["amount_to_pay"] * sign < application.amount:
            message = (
                f"{kind} {document['number']} has {document['amount_to_pay']} open, not {application.amount}"
            )
            raise Refused(message, ErrorClass.CONFLICT, "amount_exceeds_open")
    for field in ("party", "account"):
        if invoice[field] != credit[field]:
            message = f"{invoice['number']} and {credit['number']} differ in {field}"
            raise Refused(message, ErrorClass.INVALID, f"other_{field}")
    if invoice["currency"]["id"] != credit["currency"]["id"]:
        message = f"{invoice['number']} and {credit['number']} differ in currency"
        raise Refused(message, ErrorClass.INVALID, "other_currency")
