"""Collection of invoices: attempts to charge them, restrictions of subscriptions, and giving an invoice up.

A charge carries the key of the request: the payment intent of the invoice gets it first, and Stripe copies the metadata of
an intent to each of its charges. A restriction carries its key in the metadata of the subscription, under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    Unknown,
)
from counterfoil.connectors.stripe.client import StripeClient
from counterfoil.connectors.stripe.documents import KEY, AnyInput, Input, is_id, read_input
from counterfoil.core.errors import CounterfoilError, ErrorClass, Refused

COLLECT = "billing.invoice.collect"
GIVE_UP = "billing.invoice.mark_uncollectible"
_SERVICE = "service"
"""Metadata field of a subscription with its restriction; absent without one."""
_LEVELS = {
    "billing.subscription.restrict": "restricted",
    "billing.subscription.suspend": "suspended",
    "billing.subscription.resume": "",
}
"""Operations on the service of a subscription, with the value of its metadata field."""
_OVER = ("won", "lost", "warning_closed", "charge_refunded")
"""Last statuses of disputes and inquiries."""

WRITES: Mapping[str, str] = {
    COLLECT: (
        "{invoice, payment_method} -> {invoice, charge, status}. Charges all that is open; `status` is `paid`, or "
        "`processing` for a bank debit on its way. A decline is refused, and its code is the code of the refusal."
    ),
    GIVE_UP: (
        "{invoice, amount, currency} -> {id, status}. Refused unless exactly `amount` is open; the vendor collects the "
        "invoice no more."
    ),
    "billing.subscription.restrict": (
        "{subscription} -> {subscription, service}. Sets the metadata field `service`, by which the product restricts."
    ),
    "billing.subscription.suspend": (
        "{subscription} -> {subscription, service}. As restrict, and new invoices stay drafts until it is resumed."
    ),
    "billing.subscription.resume": (
        "{subscription} -> {subscription, service}. Ends a restriction or suspension; `service` is then `active`."
    ),
}
READS: Mapping[str, str] = {
    "billing.attempt.get": "{id} -> the vendor's invoice with the object `charge`: its latest attempt, or null.",
    "billing.collection.get": (
        "{invoice} -> {invoice, customer, status, open, currency, attempts, retry_planned, method, declines: [{method, code}], "
        "paid, charged, disputes: [{id, amount, due_by}], others_overdue}. `status` is the vendor's, or `processing` while a bank debit is on its way. `method` is what the "
        "vendor would charge, or null. `declines` has the payment methods whose latest charge for it was declined. `paid` is what counts as "
        "paid, `charged` what its charges collected. `disputes` are those that are not over; `due_by` is the time for evidence."
    ),
}


class CollectInvoice(Input, frozen=True, forbid_unknown_fields=True):
    invoice: str
    payment_method: str


class GiveUpInvoice(Input, frozen=True, forbid_unknown_fields=True):
    invoice: str
    amount: int
    currency: str


class ServiceInput(Input, frozen=True, forbid_unknown_fields=True):
    subscription: str


async def send(client: StripeClient, request: Request, by: Deadline) -> Outcome:
    """Do one of WRITES. Raises EarlyOutcome or Misconfigured."""
    if request.operation == COLLECT:
        return await _collect(client, request, by)
    if request.operation == GIVE_UP:
        return await _give_up(client, request, by)
    return await _change_service(client, request, by)


async def find(client: StripeClient, request: Request, by: Deadline) -> Finding:
    """Look one of WRITES up by its key. Raises EarlyOutcome or CounterfoilError."""
    if request.operation == COLLECT:
        return await _find_charge(client, request, by)
    if request.operation == GIVE_UP:
        id = _input(request, GiveUpInvoice).invoice
        invoice = await client.get(f"/v1/invoices/{id}", "invoice", {}, by)
        return _given_up(invoice) if invoice.get("status") == "uncollectible" else Absent()
    id = _input(request, ServiceInput).subscription
    subscription = await client.get(f"/v1/subscriptions/{id}", "subscription", {}, by)
    level = _LEVELS[request.operation]
    changed = (subscription.get("metadata") or {}).get(_key_field(level)) == request.key
    return Confirmed(_service(id, level)) if changed else Absent()


async def read(client: StripeClient, operation: str, arguments: Mapping[str, Json], by: Deadline) -> Json:
    """Return the result of one of READS. Raises TryAgain, Refused or Misconfigured."""
    name = "id" if operation == "billing.attempt.get" else "invoice"
    id = arguments.get(name)
    if not is_id(id) or set(arguments) != {name}:
        message = f"the only argument must be the id {name}, not {dict(arguments)!r}"
        raise Refused(message, ErrorClass.INVALID, name)
    try:
        if operation == "billing.attempt.get":
            return await client.get(f"/v1/invoices/{id}", "invoice", {"expand[0]": "charge"}, by)
        return await _collection(client, str(id), by)
    except (KeyError, TypeError) as error:
        message = f"the answer to {operation} does not have the documented form: {error!r}"
        raise Refused(message, ErrorClass.INVALID, "shape") from error


# Charging an invoice.


async def _collect(client: StripeClient, request: Request, by: Deadline) -> Outcome:
    target = _input(request, CollectInvoice)
    path = f"/v1/invoices/{target.invoice}"
    invoice = await client.get_first(path, "invoice", by)
    if invoice.get("status") != "open" or not invoice.get("payment_intent"):
        return await _charged_before(client, request, invoice, by)
    mark = {"metadata": {KEY: request.key}}
    intent = f"/v1/payment_intents/{invoice['payment_intent']}"
    await client.post(intent, "payment_intent", mark, f"{request.key}-mark", by)
    form = {"payment_method": target.payment_method, "off_session": True}
    paid = await client.post(f"{path}/pay", "invoice", form, request.key, by)
    return _collected(
        paid["id"], paid.get("charge"), "paid" if paid.get("status") == "paid" else "processing"
    )


async def _charged_before(
    client: StripeClient, request: Request, invoice: Mapping[str, Json], by: Deadline
) -> Outcome:
    """Return the charge of a repeated request, or the refusal of an invoice that is not open."""
    try:
        earlier = await _find_charge(client, request, by)
    except CounterfoilError as error:
        return Unknown(f"the look-up of an earlier charge failed: {error}")
    if not isinstance(earlier, Absent):
        return earlier
    paid = invoice.get("status") == "paid"
    error_class = ErrorClass.ALREADY_DONE if paid else ErrorClass.REFUSED
    message = f"invoice {invoice['id']} cannot be charged: it is {invoice.get('status')}"
    return Rejected(error_class, message, "paid" if paid else "not_open")


async def _find_charge(client: StripeClient, request: Request, by: Deadline) -> Finding:
    """Return the charge that carries the key. A declined one proves that the attempt was made and refused.

    An intent that has the key without such a charge is ready to be charged by the same request.
    """
    id = _input(request, CollectInvoice).invoice
    invoice = await client.get(f"/v1/invoices/{id}", "invoice", {"expand[0]": "payment_intent"}, by)
    intent = invoice.get("payment_intent")
    if not intent:
        return Absent()
    async for charge in client.rows("/v1/charges", {"payment_intent": intent["id"]}, by):
        if (charge.get("metadata") or {}).get(KEY) != request.key:
            continue
        if charge.get("status") == "failed":
            return Rejected(ErrorClass.REFUSED, str(charge.get("failure_message")), _decline_code(charge))
        return _collected(id, charge["id"], "paid" if charge.get("status") == "succeeded" else "processing")
    if (intent.get("metadata") or {}).get(KEY) == request.key and invoice.get("status") == "open":
        return Rejected(
            ErrorClass.TRANSIENT, f"invoice {id} is ready to be charged, but not charged", "unfinished"
        )
    return Absent()


def _collected(invoice: Json, charge: Json, status: str) -> Confirmed | Unknown:
    if not isinstance(charge, str):
        return Unknown(f"invoice {invoice} is {status}, but shows no charge")
    return Confirmed({"invoice": invoice, "charge": charge, "status": status})


# Giving an invoice up.


async def _give_up(client: StripeClient, request: Request, by: Deadline) -> Outcome:
    target = _input(request, GiveUpInvoice)
    path = f"/v1/invoices/{target.invoice}"
    invoice = await client.get_first(path, "invoice", by)
    open_part = (invoice.get("amount_remaining"), invoice.get("currency"))
    if open_part != (target.amount, target.currency.lower()):
        message = f"invoice {target.invoice} has {open_part[0]} {open_part[1]} open, not {target.amount} {target.currency}"
        return Rejected(ErrorClass.REFUSED, message, "amount_changed")
    before = invoice.get("status")
    try:
        invoice = await client.post(f"{path}/mark_uncollectible", "invoice", {}, request.key, by)
    except EarlyOutcome as early:
        refused = isinstance(early.outcome, Rejected) and early.outcome.error_class is ErrorClass.REFUSED
        if refused and before == "uncollectible":
            message = f"invoice {target.invoice} is given up already"
            return Rejected(ErrorClass.ALREADY_DONE, message, "uncollectible")
        raise
    if invoice.get("status") != "uncollectible":
        return Unknown(f"{path} answered with the status {invoice.get('status')!r}")
    return _given_up(invoice)


def _given_up(invoice: Mapping[str, Json]) -> Confirmed:
    return Confirmed({"id": invoice["id"], "status": invoice["status"]})


# Restricting a subscription.


async def _change_service(client: StripeClient, request: Request, by: Deadline) -> Outcome:
    id = _input(request, ServiceInput).subscription
    level = _LEVELS[request.operation]
    form: dict[str, Any] = {"metadata": {_SERVICE: level, _key_field(level): request.key}}
    if level == "suspended":
        form["pause_collection"] = {"behavior": "keep_as_draft"}
    elif level == "":
        form["pause_collection"] = ""
    changed = await client.post(f"/v1/subscriptions/{id}", "subscription", form, request.key, by)
    metadata = changed.get("metadata") or {}
    if (metadata.get(_SERVICE) or "") != level:
        return Unknown(f"subscription {id} answered with the metadata {metadata!r}")
    return Confirmed(_service(id, level))


def _key_field(level: str) -> str:
    return f"{KEY}_{level or 'resumed'}"


def _service(id: str, level: str) -> dict[str, Json]:
    return {"subscription": id, _SERVICE: level or "active"}


# Reading.


async def _collection(client: StripeClient, id: str, by: Deadline) -> dict[str, Json]:
    invoice = await client.get(f"/v1/invoices/{id}", "invoice", {"expand[0]": "payment_intent"}, by)
    intent = invoice["payment_intent"]
    charges = [] if intent is None else await _charges(client, intent["id"], by)
    processing = invoice["status"] == "open" and intent is not None and intent["status"] == "processing"
    return {
        "invoice": id,
        "customer": invoice["customer"],
        "status": "processing" if processing else invoice["status"],
        "open": invoice["amount_remaining"],
        "currency": invoice["currency"],
        "attempts": invoice["attempt_count"],
        "retry_planned": invoice["next_payment_attempt"] is not None,
        "method": await _method(client, invoice, by),
        "declines": _declines(charges),
        "paid": invoice["amount_paid"],
        "charged": sum(charge["amount"] for charge in charges if charge["status"] == "succeeded"),
        "disputes": await _disputes(client, charges, by),
        "others_overdue": await _others_overdue(client, invoice, by),
    }


async def _method(client: StripeClient, invoice: Mapping[str, Json], by: Deadline) -> Json:
    """Return the payment method that the vendor charges: that of the invoice, else of its subscription, else of its customer."""
    if invoice.get("default_payment_method"):
        return invoice["default_payment_method"]
    if invoice.get("subscription"):
        path = f"/v1/subscriptions/{invoice['subscription']}"
        subscription = await client.get(path, "subscription", {}, by)
        if subscription.get("default_payment_method"):
            return subscription["default_payment_method"]
    customer = await client.get(f"/v1/customers/{invoice['customer']}", "customer", {}, by)
    return None if customer.get("deleted") else customer["invoice_settings"]["default_payment_method"]


async def _charges(client: StripeClient, intent: str, by: Deadline) -> list[dict[str, Any]]:
    return [charge async for charge in client.rows("/v1/charges", {"payment_intent": intent}, by)]


async def _disputes(client: StripeClient, charges: Sequence[Mapping[str, Any]], by: Deadline) -> list[Json]:
    """Return the disputes of these charges that are not over, with the time until which evidence is accepted."""
    return [
        {"id": row["id"], "amount": row["amount"], "due_by": row["evidence_details"]["due_by"]}
        for charge in charges
        if charge["disputed"]
        async for row in client.rows("/v1/disputes", {"charge": charge["id"]}, by)
        if row["status"] not in _OVER
    ]


def _declines(charges: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return the payment methods whose latest charge failed, with its code. The vendor lists the newest charge first."""
    latest: dict[str, Mapping[str, Any]] = {}
    for charge in charges:
        if charge.get("payment_method"):
            latest.setdefault(charge["payment_method"], charge)
    return [
        {"method": method, "code": _decline_code(charge)}
        for method, charge in latest.items()
        if charge["status"] == "failed"
    ]


def _decline_code(charge: Mapping[str, Json]) -> str:
    """Return the bank's code of a decline, else the vendor's own."""
    outcome = charge.get("outcome") or {}
    return str(outcome.get("reason") or charge.get("failure_code") or "none")


async def _others_overdue(client: StripeClient, invoice: Mapping[str, Json], by: Deadline) -> int:
    """Return the number of other open invoices of the subscription that the vendor tried to collect."""
    if not invoice.get("subscription"):
        return 0
    query = {"subscription": str(invoice["subscription"]), "status": "open"}
    return sum(
        [
            row["attempted"] and row["id"] != invoice["id"]
            async for row in client.rows("/v1/invoices", query, by)
        ]
    )


def _input(request: Request, kind: type[AnyInput]) -> AnyInput:
    value = read_input(request.body, kind)
    if isinstance(value, Rejected):
        raise EarlyOutcome(value)
    return value
