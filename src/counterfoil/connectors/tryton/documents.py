"""Invoices, credit memos and debit memos: all are customer (`out`) invoices of Tryton, separated by their sign.

A look-up finds a document by its reference, which is our canonical id. Tryton does not keep references unique. So only one
Counterfoil per company may post, and a person must resolve a reference that several documents have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Absent, Confirmed, Finding, Rejected, Unknown
from counterfoil.core.errors import ErrorClass, Refused, TryAgain, Uncertain

from .codec import Number
from .document_body import FIELDS, MODEL, bodies_of
from .inputs import DocumentInput, LineInput, ManualTaxInput
from .names import Names
from .refusals import TOO_EARLY, WARNINGS
from .rest import Record, Rest
from .settings import TrytonSettings

UNPOSTED = ("draft", "validated")


class ErpDocuments:
    def __init__(self, rest: Rest, names: Names, settings: TrytonSettings) -> None:
        self._rest = rest
        self._names = names
        self._settings = settings

    async def post(self, document: DocumentInput, negative: bool, by: Deadline) -> Record:
        """Create the draft, or update our draft, then post it. Raises Refused, TryAgain or Uncertain.

        If the ERP refuses the posting, the draft is deleted, so that no unfinished document stays in the books.
        """
        check(document, negative)
        draft = draft_of(document, await self._by_reference(document.reference, by))
        values = await self.values(document, by)
        if draft is None:
            number = await self._rest.create(MODEL, values, by)
        else:
            number = int(draft["id"])
            await self._update(draft, values, by)
        return await self.finish(number, document, values, by)

    async def finish(
        self, number: int, document: DocumentInput, values: dict[str, Any], by: Deadline
    ) -> Record:
        """Post a draft with these `values`, or delete it if the ERP refuses. Raises as `post` does."""
        try:
            await self._press_post_late(number, document, values, by)
        except Refused as error:
            if error.error_class is not ErrorClass.ALREADY_DONE:
                await self._delete(number, by)
            if error.error_class is ErrorClass.UNAUTHORIZED:
                await self._check_journal(values, by)
            raise
        try:
            return await self.body_of(await self._rest.get(MODEL, number, FIELDS, by), by)
        except (TryAgain, Refused) as error:
            raise Uncertain(f"{document.reference} is posted but could not be read back: {error}") from error

    async def find(self, reference: str, by: Deadline) -> Finding:
        """Return the outcome of a document, by its reference. Raises TryAgain or Refused if the look-up fails."""
        records = await self._by_reference(reference, by)
        if not records:
            return Absent()
        if len(records) > 1:
            return Unknown(_several(reference, records))
        if records[0]["state"] in UNPOSTED:
            message = f"{reference} is a draft: created but not posted"
            return Rejected(ErrorClass.TRANSIENT, message, "draft")
        return Confirmed(await self.body_of(records[0], by))

    async def get(self, number: int | None, reference: str | None, by: Deadline) -> Record:
        """Return a document by its ERP id or its reference. Raises Refused(NOT_FOUND, CONFLICT) or TryAgain."""
        if number is not None:
            record = await self._rest.get(MODEL, number, FIELDS, by)
            if record["company"]["id"] != self._settings.company:
                # A user of several companies sees the documents of all; this system is one of them.
                raise Refused(f"no document of this company has the id {number}", ErrorClass.NOT_FOUND)
            return await self.body_of(record, by)
        records = await self._by_reference(reference or "", by)
        if len(records) > 1:
            message = f"{len(records)} documents have the reference {reference!r}"
            raise Refused(message, ErrorClass.CONFLICT, "duplicate_reference")
        if not records:
            raise Refused(f"no document has the reference {reference!r}", ErrorClass.NOT_FOUND)
        return await self.body_of(records[0], by)

    async def body_of(self, record: Record, by: Deadline) -> Record:
        """Return a document as the result of operations. Raises TryAgain or Refused."""
        (body,) = await bodies_of(self._rest, self._settings.company, [record], by)
        return body

    async def _by_reference(self, reference: str, by: Deadline) -> list[Record]:
        return await self._search(["reference", "=", reference], by, limit=10)

    async def by_references(self, references: Sequence[str], by: Deadline) -> dict[str, list[Record]] | None:
        """Return all documents by reference; None if there are too many for one search. Raises TryAgain or Refused."""
        documents: dict[str, list[Record]] = {reference: [] for reference in references}
        limit = 10 * len(documents)
        records = await self._search(["reference", "in", list(documents)], by, limit)
        if len(records) >= limit:
            return None
        for record in records:
            # The ERP compares texts in its own way and may return other references as well.
            if record["reference"] in documents:
                documents[record["reference"]].append(record)
        return documents

    async def _search(self, references: list[Any], by: Deadline, limit: int) -> list[Record]:
        domain = [
            references,
            ["type", "=", "out"],
            ["company", "=", self._settings.company],
            # A draft that a person cancelled was never a document.
            ["OR", ["state", "!=", "cancelled"], ["move", "!=", None]],
        ]
        return await self._rest.search(MODEL, domain, FIELDS, by, limit=limit)

    async def values(self, document: DocumentInput, by: Deadline) -> dict[str, Any]:
        """Return the values of a document for the ERP. Raises Refused or TryAgain."""
        currency = await self._names.id_of("currency", document.currency, by)
        of_party = [["party", "=", document.party]]
        address = await self._rest.search("party.address", of_party, ["sequence"], by, limit=1)
        if not address:
            message = f"the ERP has no party {document.party} with an address"
            raise Refused(message, ErrorClass.INVALID, "unknown_party")
        settings = self._settings
        values: dict[str, Any] = {
            "type": "out",
            "company": settings.company,
            "party": document.party,
            "invoice_address": address[0]["id"],
            "journal": await self._names.id_of("journal", settings.journal, by),
            "account": await self._names.id_of("account", settings.receivable, by),
            "payment_term": await self._names.id_of("payment term", settings.payment_term, by),
            "currency": currency,
            "reference": document.reference,
            "description": document.description,
            "invoice_date": document.invoice_date,
            "accounting_date": document.accounting_date,
            "source_total_amount": document.total,
            "lines": [["create", [await self._line(line, currency, by) for line in document.lines]]],
        }
        taxes = [await self._manual_tax(tax, by) for tax in document.manual_taxes]
        values["taxes"] = [["create", taxes]] if taxes else []
        return values

    async def _manual_tax(self, tax: ManualTaxInput, by: Deadline) -> dict[str, Any]:
        values: dict[str, Any] = {
            "manual": True,
            "account": await self._names.id_of("account", tax.account, by),
            "base": tax.base,
            "amount": tax.amount,
            "description": tax.description,
        }
        if tax.code is not None:
            values["tax"] = await self._names.id_of("tax", tax.code, by)
        return values

    async def _line(self, line: LineInput, currency: int, by: Deadline) -> dict[str, Any]:
        values: dict[str, Any] = {
            "type": "line",
            "currency": currency,
            "account": await self._names.id_of("account", line.account, by),
            "description": line.description,
            "quantity": Number(line.quantity),
            "unit_price": line.unit_price,
        }
        if line.takes_back is not None:
            values["origin"] = f"account.invoice.line,{line.takes_back}"
        if line.product is not None:
            product = await self._names.record("product", line.product, by)
            values |= {"product": product["id"], "unit": product["template"]["default_uom"]}
        taxes = []
        for tax in line.taxes:
            if (tax.id is None) == (tax.code is None):
                raise Refused("a tax needs either a code or an id", ErrorClass.INVALID, "input")
            taxes.append(tax.id if tax.code is None else await self._names.id_of("tax", tax.code, by))
        if taxes:
            values["taxes"] = [["add", taxes]]
        return values

    async def _update(self, draft: Record, values: dict[str, Any], by: Deadline) -> None:
        """Replace all values of our draft at once: an earlier request may have had other dates or amounts."""
        number = int(draft["id"])
        if draft["state"] == "validated":
            await self._rest.act(MODEL, number, "draft", by)
        rows = await self._rest.get(MODEL, number, ["lines", "taxes"], by)
        for name in ("lines", "taxes"):
            if rows[name]:
                values = {**values, name: [["delete", rows[name]], *values[name]]}
        await self._rest.write(MODEL, number, values, by)

    async def _press_post_late(
        self, number: int, document: DocumentInput, values: dict[str, Any], by: Deadline
    ) -> None:
        """Post, once more with the date of the last number if the document comes after later ones."""
        try:
            await self._press_post(number, document.accept_warnings, by)
        except Refused as error:
            if error.code != TOO_EARLY or not await self._date_as_last_number(number, values, by):
                raise
            await self._press_post(number, document.accept_warnings, by)

    async def _press_post(self, number: int, accept_warnings: tuple[str, ...], by: Deadline) -> None:
        """Post, and confirm the warnings that the request accepts, for this document only, as a person would."""
        answered: set[str] = set()
        while True:
            try:
                return await self._rest.act(MODEL, number, "post", by)
            except Refused as error:
                if error.error_class is not ErrorClass.WARNING or error.code not in accept_warnings:
                    raise
                if error.code in answered:
                    raise Refused(f"the ERP warns again: {error}", ErrorClass.WARNING, error.code) from error
                answered.add(error.code)
                key = warning_key(error.code, number)
            await self._rest.call("res.user.warning", "skip", {"name": key}, by)

    async def _date_as_last_number(self, number: int, values: dict[str, Any], by: Deadline) -> bool:
        """Give a draft the date of the last number of its kind, if the company's policy says so; it is booked on its own day.

        Not in a foreign currency: the ERP would take the rate of the other day.
        """
        draft = await self._rest.get(MODEL, number, ["currency", "company.currency", "total_amount"], by)
        if (
            self._settings.late_documents != "last_number"
            or draft["currency"] != draft["company"]["currency"]
        ):
            return False
        later = [
            ["type", "=", "out"],
            ["company", "=", self._settings.company],
            ["number", "!=", None],
            ["invoice_date", ">", values["invoice_date"]],
            # Invoices and credit memos have numbers of their own.
            ["total_amount", "<" if draft["total_amount"] < 0 else ">=", 0],
        ]
        newest = [["invoice_date", "DESC"]]
        last = await self._rest.search(MODEL, later, ["invoice_date"], by, order=newest, limit=1)
        if not last:
            return False
        booked_on = values["accounting_date"] or values["invoice_date"]
        await self._rest.write(
            MODEL, number, {"invoice_date": last[0]["invoice_date"], "accounting_date": booked_on}, by
        )
        return True

    async def _check_journal(self, values: dict[str, Any], by: Deadline) -> None:
        """Raise Refused(PERIOD_CLOSED) if the journal is closed in the period of the posting.

        The ERP answers such a posting with 403, as for a missing right. Closing a period closes its journals. After
        the period is reopened, each journal must be reopened as well.
        """
        on = values["accounting_date"] or values["invoice_date"]
        domain = [
            ["journal", "=", values["journal"]],
            ["state", "=", "closed"],
            ["period.company", "=", values["company"]],
            ["period.start_date", "<=", on],
            ["period.end_date", ">=", on],
        ]
        try:
            closed = await self._rest.search("account.journal.period", domain, ["period.name"], by, limit=1)
        except (Refused, TryAgain):
            return  # the answer to the posting stays the best information
        if closed:
            name = closed[0]["period"]["name"]
            message = f"journal {self._settings.journal} is closed in period {name}"
            raise Refused(message, ErrorClass.PERIOD_CLOSED, name)

    async def _delete(self, number: int, by: Deadline) -> None:
        try:
            await self._rest.delete(MODEL, number, by)
        except (Refused, TryAgain, Uncertain):
            # The draft stays under our reference: the next attempt updates and posts it.
            return


def warning_key(code: str, number: int, model: str = MODEL) -> str:
    """Return the name under which Tryton stores a person's answer to a warning about one record."""
    return f"{hashlib.md5(f'{model},{number}'.encode(), usedforsecurity=False).hexdigest()}.{code}"


def draft_of(document: DocumentInput, records: Sequence[Record]) -> Record | None:
    """Return our draft among the documents with the reference, or None. Raises Refused if there is nothing to post."""
    if len(records) > 1:
        raise Refused(_several(document.reference, records), ErrorClass.CONFLICT, "duplicate_reference")
    if records and records[0]["state"] not in UNPOSTED:
        message = f"{document.reference} is {records[0]['number']}, in state {records[0]['state']}"
        raise Refused(message, ErrorClass.ALREADY_DONE, "posted")
    return records[0] if records else None


def check(document: DocumentInput, negative: bool) -> None:
    """Raise Refused(INVALID) for a document that no ERP could accept."""
    if not document.lines:
        raise Refused("a document needs at least one line", ErrorClass.INVALID, "input")
    if unknown := set(document.accept_warnings) - set(WARNINGS):
        message = f"unknown warnings: {', '.join(sorted(unknown))}. Known warnings: {', '.join(WARNINGS)}"
        raise Refused(message, ErrorClass.INVALID, "input")
    net = sum((line.quantity * line.unit_price for line in document.lines), Decimal(0))
    if (net < 0) != negative:
        allowed = "below zero" if negative else "zero or more"
        raise Refused(f"the sum of the lines is {net}; it must be {allowed}", ErrorClass.INVALID, "sign")


def _several(reference: str, records: Sequence[Record]) -> str:
    numbers = ", ".join(str(record["number"] or f"draft {record['id']}") for record in records)
    return f"several documents have the reference {reference!r}: {numbers}"
