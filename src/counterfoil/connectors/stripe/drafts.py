"""Draft invoices: lines that lower one by a credit, and holding one back from its automatic finalization.

The lines of a credit carry the key of the request and the credit's id in their metadata; all are added in one call. A hold
is a metadata field of the invoice with the key of its request, so several credits can hold one draft. The vendor finalizes
a draft, and collects an open invoice, only while `auto_advance` is true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import (
    Absent,
    Confirmed,
    EarlyOutcome,
    Finding,
    Json,
    Outcome,
    Rejected,
    Request,
)
from counterfoil.connectors.stripe.client import StripeClient
from counterfoil.connectors.stripe.credit_lines import InvoiceLine, spread, tax_share
from counterfoil.connectors.stripe.documents import KEY, AnyInput, Input, read_input
from counterfoil.core.errors import ErrorClass, Refused, TryAgain

ADJUST, RESTORE = "billing.invoice.adjust", "billing.invoice.restore"
HOLD, RELEASE = "billing.invoice.hold", "billing.invoice.release"
WRITES: Mapping[str, str] = {
    ADJUST: (
        "{invoice, credit, amount, currency, taxed?, description?} -> {invoice, credit, lines, amount, tax, currency}. "
        "Adds lines below zero to a draft. `amount` includes tax; `taxed` spreads it over the lines of the draft with their "
        "tax rates; otherwise it has no tax. Refused unless it is a draft that is at least as large, without automatic tax."
    ),
    RESTORE: "{invoice, credit} -> {invoice, credit}. Removes the lines of a credit while the invoice is a draft.",
    HOLD: (
        "{invoice, credit} -> {invoice, credit, holds}. Sets `auto_advance` of a draft to false. `holds` is false for a draft "
        "that a person finalizes anyway."
    ),
    RELEASE: (
        "{invoice, credit} -> {invoice, credit, advances}. Ends the hold of a credit. After the last one the vendor finalizes "
        "the draft, or collects the invoice if a person finalized it meanwhile."
    ),
}
_CREDIT, _LINE = "counterfoil_credit", "counterfoil_line"
"""Metadata fields of a line of ours: the credit, and the line of the invoice that it lowers."""
_HOLD = "counterfoil_hold_"
_UNTAXED = ("customer_exempt", "reverse_charge")
_RATE_UNITS = 1_000_000
"""100 % in the unit of rates. The vendor's percentages have four decimals."""


class AdjustInvoice(Input, frozen=True, forbid_unknown_fields=True):
    invoice: str
    credit: str
    amount: int
    currency: str
    taxed: bool = False
    description: str | None = None


class CreditOnInvoice(Input, frozen=True, forbid_unknown_fields=True):
    invoice: str
    credit: str


async def send(client: StripeClient, request: Request, by: Deadline) -> Outcome:
    """Do one of WRITES. Raises EarlyOutcome or Misconfigured."""
    if request.operation == ADJUST:
        return await _adjust(client, request, by)
    target = _input(request, CreditOnInvoice)
    invoice = await client.get_first(f"/v1/invoices/{target.invoice}", "invoice", by)
    if request.operation == RESTORE:
        return await _restore(client, request, target, invoice, by)
    if request.operation == HOLD:
        return await _hold(client, request, target, invoice, by)
    return await _release(client, request, target, invoice, by)


async def find(client: StripeClient, request: Request, by: Deadline) -> Finding:
    """Look one of WRITES up by its key, or by what it leaves behind. Raises EarlyOutcome or CounterfoilError."""
    if request.operation == ADJUST:
        adjusted = _input(request, AdjustInvoice)
        invoice = await client.get(f"/v1/invoices/{adjusted.invoice}", "invoice", {}, by)
        own = [line for line in await _lines(client, invoice, by) if _metadata(line).get(KEY) == request.key]
        return _adjusted(adjusted, invoice, own) if own else Absent()
    target = _input(request, CreditOnInvoice)
    invoice = await client.get(f"/v1/invoices/{target.invoice}", "invoice", {}, by)
    field = _metadata(invoice).get(_hold_field(target.credit))
    if request.operation == HOLD:
        return _confirmed(target, holds=True) if field == request.key else Absent()
    if request.operation == RELEASE:
        return Absent() if field else _confirmed(target, advances=bool(invoice.get("auto_advance")))
    lines = await _lines(client, invoice, by)
    return Absent() if _of_credit(lines, target.credit) else _confirmed(target)


# Adjusting.


async def _adjust(client: StripeClient, request: Request, by: Deadline) -> Outcome:
    target = _input(request, AdjustInvoice)
    path = f"/v1/invoices/{target.invoice}"
    invoice = await client.get_first(path, "invoice", by)
    try:
        lines = await _lines(client, invoice, by)
        if own := [line for line in lines if _metadata(line).get(KEY) == request.key]:
            return _adjusted(target, invoice, own)
        if (refusal := _refusal(target, invoice)) is not None:
            return refusal
        parts = await _parts(client, target, lines, by)
    except (TryAgain, Refused) as error:
        raise EarlyOutcome.of_read(error) from error
    except (KeyError, TypeError) as error:
        message = f"the lines of invoice {target.invoice} do not have the documented form: {error!r}"
        return Rejected(ErrorClass.INVALID, message, "shape")
    if isinstance(parts, Rejected):
        return parts
    marks = {KEY: request.key, _CREDIT: target.credit}
    added = [
        {
            "amount": -amount,
            "description": target.description,
            "discountable": False,
            "metadata": marks | ({_LINE: line} if line else {}),
            "tax_rates": rates or None,
        }
        for line, amount, rates in parts
    ]
    invoice = await client.post(f"{path}/add_lines", "invoice", {"lines": added}, request.key, by)
    lines = await _lines(client, invoice, by)
    return _adjusted(target, invoice, [line for line in lines if _metadata(line).get(KEY) == request.key])


def _refusal(target: AdjustInvoice, invoice: Mapping[str, Any]) -> Rejected | None:
    """Return the reason why a credit cannot be a line of this invoice."""
    if invoice["currency"] != target.currency.lower():
        message = (
            f"invoice {target.invoice} is in {invoice['currency']}, but the credit is in {target.currency}"
        )
        return Rejected(ErrorClass.INVALID, message, "currency_mismatch")
    if invoice["status"] != "draft":
        return _not_draft(invoice)
    # The vendor takes no amount below zero into a draft whose tax it computes itself.
    if (invoice.get("automatic_tax") or {}).get("enabled"):
        return Rejected(ErrorClass.REFUSED, f"draft {target.invoice} has automatic tax", "automatic_tax")
    if not target.taxed and invoice.get("default_tax_rates"):
        message = f"draft {target.invoice} has default tax rates, which would tax the credit"
        return Rejected(ErrorClass.REFUSED, message, "default_tax_rates")
    if invoice["total"] < target.amount:
        message = f"draft {target.invoice} has a total of {invoice['total']}, less than {target.amount}"
        return Rejected(ErrorClass.REFUSED, message, "amount_exceeds_total")
    return None


async def _parts(
    client: StripeClient, target: AdjustInvoice, lines: Sequence[Mapping[str, Any]], by: Deadline
) -> list[tuple[str, int, list[str]]] | Rejected:
    """Return the lines to add: the line of the draft that each one lowers, its amount and its tax rates."""
    if not target.taxed:
        return [("", target.amount, [])]
    rates: dict[str, list[str]] = {}
    figures: dict[str, int] = {}
    creditable = []
    for line in lines:
        taxes = _taxes(line)
        if len({inclusive for _, inclusive, _ in taxes}) > 1:
            message = f"line {line['id']} has included and added taxes, which only the vendor can split"
            return Rejected(ErrorClass.REFUSED, message, "mixed_tax")
        for rate, _, _ in taxes:
            if rate not in figures:
                read = await client.get(f"/v1/tax_rates/{rate}", "tax_rate", {}, by)
                figures[rate] = int(Decimal(str(read["percentage"])) * _RATE_UNITS // 100)
        rates[line["id"]] = [rate for rate, _, _ in taxes]
        added = [0 if exempt else figures[rate] for rate, inclusive, exempt in taxes if not inclusive]
        creditable.append(_creditable(line, lines, added))
    parts = spread(target.amount, creditable)
    if isinstance(parts, Rejected):
        return parts
    return [(line, amount, rates[line]) for line, amount in parts]


def _creditable(
    line: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], rates: Sequence[int]
) -> InvoiceLine:
    """Return a line with what its discounts and earlier credits leave. A line below zero has nothing left.

    The vendor computes the tax of each line of a draft by its rates, so the rates stand for the taxes of a whole.
    """
    earlier = sum(other["amount"] for other in lines if _metadata(other).get(_LINE) == line["id"])
    discounts = sum(discount["amount"] for discount in line.get("discount_amounts") or ())
    left = max(0, line["amount"] + earlier - discounts)
    left_taxes = tuple(tax_share(rate, left, _RATE_UNITS) for rate in rates)
    return InvoiceLine(line["id"], _RATE_UNITS, tuple(rates), left, left_taxes)


def _taxes(line: Mapping[str, Any]) -> list[tuple[str, bool, bool]]:
    """Return rate, whether the price includes it, and whether the customer is exempt from it, of each tax of a line."""
    if (amounts := line.get("tax_amounts")) is not None:
        return [
            (str(tax["tax_rate"]), bool(tax["inclusive"]), tax.get("taxability_reason") in _UNTAXED)
            for tax in amounts
        ]
    return [
        (
            str(tax["tax_rate_details"]["tax_rate"]),
            tax["tax_behavior"] == "inclusive",
            tax.get("taxability_reason") in _UNTAXED,
        )
        for tax in line.get("taxes") or ()
    ]


def _adjusted(
    target: AdjustInvoice, invoice: Mapping[str, Json], own: Sequence[Mapping[str, Any]]
) -> Confirmed:
    """Return what the lines of a credit took from the draft, as the vendor computed it. Amounts are positive."""
    taxes = [(tax["amount"], bool(tax.get("inclusive", tax.get("tax_behavior") == "inclusive")))
             for line in own for tax in line.get("tax_amounts") or line.get("taxes") or ()]  # fmt: skip
    added = sum(amount for amount, inclusive in taxes if not inclusive)
    return Confirmed(
        {
            "invoice": target.invoice,
            "credit": target.credit,
            "lines": [line["id"] for line in own],
            "amount": -sum(line["amount"] for line in own) - added,
            "tax": -sum(amount for amount, _ in taxes),
            "currency": invoice["currency"],
        }
    )


async def _restore(
    client: StripeClient, request: Request, target: CreditOnInvoice, invoice: Mapping[str, Json], by: Deadline
) -> Outcome:
    try:
        own = _of_credit(await _lines(client, invoice, by), target.credit)
    except (TryAgain, Refused) as error:
        raise EarlyOutcome.of_read(error) from error
    if not own:
        return _confirmed(target)
    if invoice["status"] != "draft":
        return _not_draft(invoice)
    form = {"lines": [{"id": line["id"], "behavior": "delete"} for line in own]}
    await client.post(f"/v1/invoices/{target.invoice}/remove_lines", "invoice", form, request.key, by)
    return _confirmed(target)


# Holding.


async def _hold(
    client: StripeClient, request: Request, target: CreditOnInvoice, invoice: Mapping[str, Json], by: Deadline
) -> Outcome:
    if invoice["status"] != "draft":
        return _not_draft(invoice)
    field = _hold_field(target.credit)
    if _metadata(invoice).get(field):
        return _confirmed(target, holds=True)
    if not invoice.get("auto_advance") and not _holds(invoice):
        return _confirmed(target, holds=False)
    form = {"auto_advance": False, "metadata": {field: request.key}}
    await client.post(f"/v1/invoices/{target.invoice}", "invoice", form, request.key, by)
    return _confirmed(target, holds=True)


async def _release(
    client: StripeClient, request: Request, target: CreditOnInvoice, invoice: Mapping[str, Json], by: Deadline
) -> Outcome:
    field = _hold_field(target.credit)
    if field not in _holds(invoice):
        return _confirmed(target, advances=bool(invoice.get("auto_advance")))
    last = _holds(invoice) == {field} and invoice["status"] in ("draft", "open")
    form: dict[str, Any] = {"metadata": {field: ""}} | ({"auto_advance": True} if last else {})
    await client.post(f"/v1/invoices/{target.invoice}", "invoice", form, request.key, by)
    return _confirmed(target, advances=last)


def _hold_field(credit: str) -> str:
    """Return the metadata field of a hold. The vendor's names have at most 40 characters."""
    return _HOLD + sha256(credit.encode()).hexdigest()[:16]


def _holds(invoice: Mapping[str, Json]) -> set[str]:
    return {name for name, value in _metadata(invoice).items() if name.startswith(_HOLD) and value}


# Common.


async def _lines(client: StripeClient, invoice: Mapping[str, Any], by: Deadline) -> list[dict[str, Json]]:
    """Return all lines of an invoice, of which the object shows only the first ones."""
    if not invoice["lines"].get("has_more"):
        return list(invoice["lines"]["data"])
    return [row async for row in client.rows(f"/v1/invoices/{invoice['id']}/lines", {}, by)]


def _of_credit(lines: Sequence[dict[str, Json]], credit: str) -> list[dict[str, Json]]:
    return [line for line in lines if _metadata(line).get(_CREDIT) == credit]


def _metadata(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return document.get("metadata") or {}


def _not_draft(invoice: Mapping[str, Json]) -> Rejected:
    message = f"invoice {invoice['id']} is no draft any more: it is {invoice['status']}"
    return Rejected(ErrorClass.REFUSED, message, "not_draft")


def _confirmed(target: CreditOnInvoice, **more: Json) -> Confirmed:
    return Confirmed({"invoice": target.invoice, "credit": target.credit, **more})


def _input(request: Request, kind: type[AnyInput]) -> AnyInput:
    value = read_input(request.body, kind)
    if isinstance(value, Rejected):
        raise EarlyOutcome(value)
    return value
