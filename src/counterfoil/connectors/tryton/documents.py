"""Invoices, credit memos and debit memos: all are customer (`out`) invoices of Tryton, told apart by their sign.

A document is found by its reference, which is our canonical id; Tryton does not keep references unique, so one
orchestrator per company posts, and a reference that several documents carry is a matter for a person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from counterfoil.connectors.sdk import Absent, Confirmed, Finding, Rejected, Unknown
from counterfoil.core.errors import ErrorClass, Refused, TryAgain, Uncertain
from counterfoil.core.wire import Json

from .codec import Number
from .inputs import DocumentInput, LineInput
from .names import Names
from .refusals import WARNINGS
from .rest import Deadline, Rest, day, version
from .settings import TrytonSettings

MODEL = "account.invoice"
UNPOSTED = ("draft", "validated")
POSTED = ("posted", "paid", "cancelled")

FIELDS = (
    "number",
    "reference",
    "description",
    "state",
    "type",
    "currency.code",
    "untaxed_amount",
    "tax_amount",
    "total_amount",
    "amount_to_pay",
    "invoice_date",
    "move.number",
    "move.date",
    "move.period.name",
    "party.code",
    "last_modified_at",
    "payment_lines.debit",
    "payment_lines.credit",
    "payment_lines.amount_second_currency",
    "payment_lines.second_currency.code",
    "payment_lines.move.number",
    "payment_lines.move.description",
)


def document_of(record: dict[str, Json]) -> dict[str, Json]:
    """A document as this connector tells it; amounts carry the document's sign, a credit memo's are negative."""
    move = record["move"] or {}
    total = record["total_amount"]
    open_amount = record["amount_to_pay"] if record["state"] == "posted" else Decimal(0)
    return {
        "id": record["id"],
        "type": "credit_memo" if total < 0 else "invoice",
        "number": record["number"],
        "reference": record["reference"],
        "description": record["description"],
        "state": record["state"],
        "currency": record["currency"]["code"],
        "untaxed": record["untaxed_amount"],
        "tax": record["tax_amount"],
        "total": total,
        "amount_to_pay": open_amount,
        "applied": total - open_amount if record["state"] in ("posted", "paid") else Decimal(0),
        "invoice_date": day(record["invoice_date"]),
        "posting_date": day(move.get("date")),
        "period": (move.get("period") or {}).get("name"),
        "party": record["party"]["id"],
        "party_code": record["party"]["code"],
        "move": move.get("number"),
        "allocations": [_allocation(line) for line in record["payment_lines"]],
        "version": version(record),
    }


def _allocation(line: dict[str, Json]) -> dict[str, Json]:
    """A payment or an applied credit: `amount` reduces an invoice when positive, a credit memo when negative."""
    if line["second_currency"]:
        amount = -line["amount_second_currency"]
    else:
        amount = line["credit"] - line["debit"]
    return {"move": line["move"]["number"], "text": line["move"]["description"], "amount": amount}


class ErpDocuments:
    """Posts and finds the documents of one company."""

    def __init__(self, rest: Rest, names: Names, settings: TrytonSettings) -> None:
        self._rest = rest
        self._names = names
        self._settings = settings

    async def post(self, document: DocumentInput, negative: bool, by: Deadline) -> dict[str, Json]:
        """Create the draft, or bring ours up to date, then post it. Raises Refused, TryAgain or Uncertain.

        A refused posting takes its draft away again, so that nothing half-done stays in the books' way.
        """
        check(document, negative)
        draft = draft_of(document, await self._by_reference(document.reference, by))
        values = await self.values(document, by)
        if draft is None:
            number = await self._rest.create(MODEL, values, by)
        else:
            number = int(draft["id"])
            await self._bring_up_to_date(draft, values, by)
        return await self.finish(number, document, values, by)

    async def finish(
        self, number: int, document: DocumentInput, values: dict[str, Any], by: Deadline
    ) -> dict[str, Json]:
        """Post a draft that `values` describe, or take it away when that is refused. Raises as `post` does."""
        try:
            await self._press_post(number, document.accept_warnings, by)
        except Refused as error:
            if error.error_class is not ErrorClass.ALREADY_DONE:
                await self._take_away(number, by)
            if error.error_class is ErrorClass.UNAUTHORIZED:
                await self._check_journal(values, by)
            raise
        try:
            return document_of(await self._rest.get(MODEL, number, FIELDS, by))
        except (TryAgain, Refused) as error:
            raise Uncertain(f"{document.reference} is posted but could not be read back: {error}") from error

    async def find(self, document: DocumentInput, by: Deadline) -> Finding:
        """What became of a document, by its reference. Raises TryAgain or Refused when it could not ask."""
        there = await self._by_reference(document.reference, by)
        if not there:
            return Absent()
        if len(there) > 1:
            return Unknown(_several(document, there))
        if there[0]["state"] in UNPOSTED:
            return Rejected(
                ErrorClass.TRANSIENT, f"{document.reference} is a draft: begun and not posted", "draft"
            )
        return Confirmed(document_of(there[0]))

    async def get(self, number: int | None, reference: str | None, by: Deadline) -> dict[str, Json]:
        """A document by its ERP id or its reference. Raises Refused(NOT_FOUND, CONFLICT) or TryAgain."""
        if number is not None:
            return document_of(await self._rest.get(MODEL, number, FIELDS, by))
        there = await self._by_reference(reference or "", by)
        if len(there) > 1:
            raise Refused(
                f"{len(there)} documents carry {reference!r}", ErrorClass.CONFLICT, "duplicate_reference"
            )
        if not there:
            raise Refused(f"no document carries {reference!r}", ErrorClass.NOT_FOUND)
        return document_of(there[0])

    async def _by_reference(self, reference: str, by: Deadline) -> list[dict[str, Json]]:
        return await self._search(["reference", "=", reference], by, limit=10)

    async def by_references(
        self, references: Sequence[str], by: Deadline
    ) -> dict[str, list[dict[str, Json]]] | None:
        """All documents of each reference; None when they are too many for one look. Raises TryAgain or Refused."""
        found: dict[str, list[dict[str, Json]]] = {reference: [] for reference in references}
        limit = 10 * len(found)
        there = await self._search(["reference", "in", list(found)], by, limit)
        if len(there) >= limit:
            return None
        for each in there:
            # Compared as the ERP compares, it may show more than was asked for.
            if each["reference"] in found:
                found[each["reference"]].append(each)
        return found

    async def _search(self, references: list[Any], by: Deadline, limit: int) -> list[dict[str, Json]]:
        domain = [
            references,
            ["type", "=", "out"],
            ["company", "=", self._settings.company],
            # A draft that somebody threw away was never a document.
            ["OR", ["state", "!=", "cancelled"], ["move", "!=", None]],
        ]
        return await self._rest.search(MODEL, domain, FIELDS, by, limit=limit)

    async def values(self, document: DocumentInput, by: Deadline) -> dict[str, Any]:
        """What the ERP is to keep of a document. Raises Refused or TryAgain."""
        currency = await self._names.id_of("currency", document.currency, by)
        address = await self._rest.search(
            "party.address", [["party", "=", document.party]], ["sequence"], by, limit=1
        )
        if not address:
            said = f"the ERP has no party {document.party} with an address"
            raise Refused(said, ErrorClass.INVALID, "unknown_party")
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
        taxes = [
            {
                "manual": True,
                "account": await self._names.id_of("account", tax.account, by),
                "base": tax.base,
                "amount": tax.amount,
                "description": tax.description,
            }
            for tax in document.manual_taxes
        ]
        values["taxes"] = [["create", taxes]] if taxes else []
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
        if line.product is not None:
            product = await self._names.record("product", line.product, by)
            values |= {"product": product["id"], "unit": product["template"]["default_uom"]}
        taxes = []
        for tax in line.taxes:
            if (tax.id is None) == (tax.code is None):
                raise Refused("a tax needs a code or an id, one of them", ErrorClass.INVALID, "input")
            taxes.append(tax.id if tax.code is None else await self._names.id_of("tax", tax.code, by))
        if taxes:
            values["taxes"] = [["add", taxes]]
        return values

    async def _bring_up_to_date(self, draft: dict[str, Json], values: dict[str, Any], by: Deadline) -> None:
        """Our draft may be of an earlier request with other dates or amounts: replace all of it at once."""
        number = int(draft["id"])
        if draft["state"] == "validated":
            await self._rest.act(MODEL, number, "draft", by)
        rows = await self._rest.get(MODEL, number, ["lines", "taxes"], by)
        await self._rest.write(
            MODEL,
            number,
            values
            | {
                name: [*([["delete", rows[name]]] if rows[name] else []), *values[name]]
                for name in ("lines", "taxes")
            },
            by,
        )

    async def _press_post(self, number: int, accepted: tuple[str, ...], by: Deadline) -> None:
        """Post; a warning that the request accepts is answered for this document alone, as a person would."""
        answered: set[str] = set()
        while True:
            try:
                return await self._rest.act(MODEL, number, "post", by)
            except Refused as error:
                if error.error_class is not ErrorClass.WARNING or error.code not in accepted:
                    raise
                if error.code in answered:
                    raise Refused(f"the ERP warns again: {error}", ErrorClass.WARNING, error.code) from error
                answered.add(error.code)
                key = warning_key(error.code, number)
            await self._rest.call("res.user.warning", "skip", {"name": key}, by)

    async def _check_journal(self, values: dict[str, Any], by: Deadline) -> None:
        """Raise Refused(PERIOD_CLOSED) when the journal is closed in the period of the posting.

        Posting into it is answered 403 like a missing right. Closing a period closes its journals, and reopening
        the period leaves them closed, until each is reopened.
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
            return  # what the posting was answered stays the best that is known
        if closed:
            name = closed[0]["period"]["name"]
            said = f"journal {self._settings.journal} is closed in period {name}"
            raise Refused(said, ErrorClass.PERIOD_CLOSED, name)

    async def _take_away(self, number: int, by: Deadline) -> None:
        try:
            await self._rest.delete(MODEL, number, by)
        except (Refused, TryAgain, Uncertain):
            # It stays a draft under our reference: the next send brings it up to date and posts it.
            return


def warning_key(code: str, number: int) -> str:
    """The name under which Tryton keeps a person's answer to a warning about one invoice."""
    return f"{hashlib.md5(f'{MODEL},{number}'.encode(), usedforsecurity=False).hexdigest()}.{code}"


def draft_of(document: DocumentInput, there: Sequence[dict[str, Json]]) -> dict[str, Json] | None:
    """Ours that was begun, or None, of those that carry the reference. Raises Refused where there is nothing to do."""
    if len(there) > 1:
        raise Refused(_several(document, there), ErrorClass.CONFLICT, "duplicate_reference")
    if there and there[0]["state"] not in UNPOSTED:
        said = f"{document.reference} is {there[0]['number']} and {there[0]['state']}"
        raise Refused(said, ErrorClass.ALREADY_DONE, "posted")
    return there[0] if there else None


def check(document: DocumentInput, negative: bool) -> None:
    """Raises Refused(INVALID) for what no ERP needs to be asked about."""
    if not document.lines:
        raise Refused("a document needs a line", ErrorClass.INVALID, "input")
    if unknown := set(document.accept_warnings) - set(WARNINGS):
        said = f"there is no warning {', '.join(sorted(unknown))}; known are {', '.join(WARNINGS)}"
        raise Refused(said, ErrorClass.INVALID, "input")
    net = sum((line.quantity * line.unit_price for line in document.lines), Decimal(0))
    if (net < 0) != negative:
        wanted = "below zero" if negative else "zero or more"
        raise Refused(f"the lines come to {net}; they must come to {wanted}", ErrorClass.INVALID, "sign")


def _several(document: DocumentInput, there: Sequence[dict[str, Json]]) -> str:
    named = ", ".join(str(found["number"] or f"draft {found['id']}") for found in there)
    return f"several documents carry {document.reference!r}: {named}"
