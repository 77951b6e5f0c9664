"""Invoices: draft, open, paid, void, uncollectible, and the transitions between them.

A credit note or the balance of the customer lowers the amount due; an invoice with nothing due is paid.
"""

from __future__ import annotations

from counterfoil.twins.stripe import subscription_status
from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.catalog import filters, tax_rates
from counterfoil.twins.stripe.charges import HARD_DECLINES, decline_error
from counterfoil.twins.stripe.currencies import currency
from counterfoil.twins.stripe.customer_balance import apply_to_invoice, return_from_invoice, same_currency
from counterfoil.twins.stripe.customers import payable_with
from counterfoil.twins.stripe.errors import Obj, StripeError, invalid, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.lines import draft_only, pending, place_item, tax_line, total
from counterfoil.twins.stripe.listing import PAGING, inline, page
from counterfoil.twins.stripe.payments import cancel_intent, open_intent, pay_intent

COLLECTION = ("charge_automatically", "send_invoice")
UPDATE: Shape = {
    "auto_advance": "bool", "collection_method": COLLECTION, "days_until_due": "uint", "due_date": "time",
    "default_payment_method": "str", "default_tax_rates": ["str"], "description": "str", "effective_at": "time",
    "footer": "str", "metadata": "meta", "statement_descriptor": "str",
}  # fmt: skip
CREATE: Shape = {
    **UPDATE, "customer!": "str", "currency": "str", "subscription": "str",
    "pending_invoice_items_behavior": ("exclude", "include"),
}  # fmt: skip
PAY: Shape = {"paid_out_of_band": "bool", "payment_method": "str", "forgive": "bool", "off_session": "bool"}
FINALIZE: Shape = {"auto_advance": "bool"}
LIST: Shape = {
    **PAGING, "customer": "str", "subscription": "str", "collection_method": COLLECTION, "due_date": "range",
    "status": ("draft", "open", "paid", "uncollectible", "void"),
}  # fmt: skip
EDITABLE_AFTER_FINALIZATION = {"metadata", "description", "default_payment_method", "auto_advance"}
"""Fields that may still change after finalization."""
HOUR_SECONDS = 3600
RETRY_DELAYS_DAYS = (3, 5, 7)
"""Days between attempts to charge an open invoice."""


def view(account: StripeAccount, invoice: Obj) -> Obj:
    url = f"/v1/invoices/{invoice['id']}/lines"
    return {**invoice, "lines": inline(account, "line_item", invoice["id"], url)}


def create(account: StripeAccount, params: Obj) -> Obj:
    customer = account.get("customer", params["customer"], "customer")
    subscription = params.get("subscription")
    code = customer["currency"]
    if subscription:
        code = account.get("subscription", subscription, "subscription")["currency"]
    code = currency(params.get("currency") or code or "usd")
    items = []
    if params.get("pending_invoice_items_behavior") == "include":
        items = pending(account, customer["id"], code, subscription)
    values = {**params, "auto_advance": params.get("auto_advance", False)}
    invoice = begin(account, customer, code, "manual", values)
    for item in items:
        place_item(account, invoice, item)
    total(account, invoice)
    account.emit("invoice.created", invoice)
    return invoice


def begin(account: StripeAccount, customer: Obj, code: str, reason: str, params: Obj) -> Obj:
    """Create an empty draft. The caller adds lines and totals and emits the event."""
    same_currency(account, customer, code)
    method = params.get("collection_method") or "charge_automatically"
    if method == "send_invoice":
        if params.get("days_until_due") is None and params.get("due_date") is None:
            message = (
                "If invoice collection method is `send_invoice`, you must specify `due_date` or "
                "`days_until_due`."
            )
            raise invalid(message, "days_until_due", "parameter_missing")
    elif params.get("days_until_due") is not None or params.get("due_date") is not None:
        raise refusal(
            "You can only specify `days_until_due` or `due_date` if the invoice's collection_method is "
            "`send_invoice`.",
            "days_until_due",
        )
    now = account.now
    due = params.get("due_date")
    if due is None and method == "send_invoice":
        due = now + params["days_until_due"] * DAY_SECONDS
    return account.create("invoice", {
        "account_country": "US", "account_name": "Twin", "account_tax_ids": None, "amount_due": 0, "amount_paid": 0,
        "amount_remaining": 0, "amount_shipping": 0, "application": None, "application_fee_amount": None,
        "attempt_count": 0, "attempted": False, "auto_advance": params.get("auto_advance", True),
        "automatic_tax": {"enabled": False, "status": None}, "billing_reason": reason, "charge": None,
        "collection_method": method, "currency": code, "custom_fields": None, "customer": customer["id"],
        "customer_address": customer["address"], "customer_email": customer["email"],
        "customer_name": customer["name"], "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"], "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [], "default_payment_method": params.get("default_payment_method"),
        "default_source": None, "default_tax_rates": params.get("_rates") or tax_rates(
            account, params.get("default_tax_rates"), "default_tax_rates"),
        "description": params.get("description"), "discount": None, "discounts": [], "due_date": due,
        "effective_at": params.get("effective_at"), "ending_balance": None, "footer": params.get("footer"),
        "from_invoice": None, "hosted_invoice_url": None, "invoice_pdf": None, "last_finalization_error": None,
        "latest_revision": None, "metadata": merge({}, params.get("metadata") or {}),
        "next_payment_attempt": now + HOUR_SECONDS if method == "charge_automatically" and params.get("auto_advance", True)
        else None,
        "number": None, "on_behalf_of": None, "paid": False, "paid_out_of_band": False, "payment_intent": None,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": now, "period_start": now, "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0, "quote": None, "receipt_number": None, "rendering_options": None,
        "shipping_cost": None, "shipping_details": None, "starting_balance": 0,
        "statement_descriptor": params.get("statement_descriptor"), "status": "draft",
        "status_transitions": dict.fromkeys(("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")),
        "subscription": params.get("subscription"), "subscription_details": {"metadata": None}, "subtotal": 0,
        "subtotal_excluding_tax": 0, "tax": None, "test_clock": None, "total": 0, "total_discount_amounts": [],
        "total_excluding_tax": 0, "total_tax_amounts": [], "transfer_data": None, "webhooks_delivered_at": None,
    }, parent=params.get("subscription"))  # fmt: skip


def list_all(account: StripeAccount, params: Obj) -> Obj:
    conditions, values = filters(params, "collection_method", "status")
    for name, column in (("customer", "customer"), ("subscription", "parent")):
        if params.get(name):
            conditions.append(f"{column} = ?")
            values.append(params[name])
    for word, at in (params.get("due_date") or {}).items():
        sign = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}[word]
        conditions.append(f"json_extract(body, '$.due_date') {sign} ?")
        values.append(at)
    return page(account, "invoice", params, "/v1/invoices", conditions, values)


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    invoice = account.get("invoice", id)
    before = dict(invoice)
    if set(params) - EDITABLE_AFTER_FINALIZATION:
        draft_only(invoice)
    for name, value in params.items():
        if name == "metadata":
            invoice["metadata"] = merge(invoice["metadata"], value)
        elif name == "default_tax_rates":
            invoice["default_tax_rates"] = tax_rates(account, value, "default_tax_rates")
            for line in account.of("line_item", id):
                account.save(tax_line(invoice, line))
        elif name == "auto_advance":
            _set_advance(account, invoice, value)
        elif name == "days_until_due":
            invoice["due_date"] = None if value is None else account.now + value * DAY_SECONDS
        else:
            invoice[name] = value
    total(account, invoice) if invoice["status"] == "draft" else account.save(invoice)
    account.emit("invoice.updated", invoice, before)
    return invoice


def _set_advance(account: StripeAccount, invoice: Obj, value: bool) -> None:
    """Turn the automatic work on a draft or open invoice on or off. Collection begins again an hour later."""
    if invoice["status"] not in ("draft", "open") or bool(value) == invoice["auto_advance"]:
        return
    invoice["auto_advance"] = bool(value)
    charged = invoice["collection_method"] == "charge_automatically"
    invoice["next_payment_attempt"] = account.now + HOUR_SECONDS if value and charged else None


def delete(account: StripeAccount, params: Obj, id: str) -> Obj:
    invoice = account.get("invoice", id)
    if invoice["status"] != "draft" or invoice["subscription"]:
        message = "You can only delete one-off invoices in the draft state; void or credit this one instead."
        raise refusal(message, code="invoice_not_editable")
    for line in account.of("line_item", id):
        item = account.find("invoiceitem", line.get("invoice_item", ""))
        if item:
            account.save({**item, "invoice": None})
        account.remove(line["id"])
    account.remove(id)
    account.emit("invoice.deleted", invoice)
    return {"id": id, "object": "invoice", "deleted": True}


def finalize(account: StripeAccount, params: Obj, id: str) -> Obj:
    invoice = account.get("invoice", id)
    if invoice["status"] != "draft":
        message = "This invoice is already finalized, you can't re-finalize a non-draft invoice."
        raise refusal(message, code="invoice_not_editable")
    if params.get("auto_advance") is not None:
        invoice["auto_advance"] = params["auto_advance"]
    return close_draft(account, invoice)


def close_draft(account: StripeAccount, invoice: Obj) -> Obj:
    """Number a draft, apply the balance of the customer, open it, and pay it if nothing is due."""
    before = dict(invoice)
    total(account, invoice)
    customer = account.get("customer", invoice["customer"])
    now = account.now
    apply_to_invoice(account, invoice, customer)
    url = f"https://invoice.twin.invalid/{account.setting('account')}/{invoice['id']}"
    invoice.update(
        status="open", attempted=False,
        number=f"{account.setting('prefix')}-{account.count('invoice_number'):04d}", hosted_invoice_url=url,
        invoice_pdf=url + "/pdf", effective_at=invoice["effective_at"] or now,
        status_transitions={**invoice["status_transitions"], "finalized_at": now},
    )  # fmt: skip
    if invoice["amount_due"]:
        intent = open_intent(
            account, invoice["amount_due"], invoice["currency"], invoice["customer"], description="Payment for Invoice",
            invoice=invoice["id"],
        )  # fmt: skip
        invoice["payment_intent"] = intent["id"]
        if invoice["collection_method"] == "charge_automatically" and invoice["auto_advance"]:
            invoice["next_payment_attempt"] = now + HOUR_SECONDS
    account.publish("invoice.finalized", invoice, before)
    if invoice["amount_due"] == 0:
        settle(account, invoice)
    return invoice


def settle(account: StripeAccount, invoice: Obj) -> Obj:
    """Mark the invoice paid."""
    before = dict(invoice)
    invoice.update(
        status="paid", paid=True, next_payment_attempt=None, auto_advance=False,
        status_transitions={**invoice["status_transitions"], "paid_at": account.now},
    )  # fmt: skip
    account.publish("invoice.updated", invoice, before)
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)
    if invoice["subscription"]:
        subscription_status.invoice_paid(account, invoice)
    return invoice


def pay(account: StripeAccount, params: Obj, id: str) -> Obj:
    invoice = account.get("invoice", id)
    if invoice["status"] == "paid":
        raise refusal("Invoice is already paid")
    if invoice["status"] == "void":
        raise refusal("You cannot pay an invoice that has been voided.")
    if invoice["status"] == "draft":
        close_draft(account, invoice)
        if invoice["status"] == "paid":
            return invoice
    if invoice["payment_intent"] and (
        account.get("payment_intent", invoice["payment_intent"])["status"] == "processing"
    ):
        raise refusal("You cannot pay an invoice while a payment of it is processing.")
    if params.get("paid_out_of_band"):
        paid = invoice["amount_paid"] + invoice["amount_remaining"]
        invoice.update(paid_out_of_band=True, amount_paid=paid, amount_remaining=0)
        cancel_intent(account, invoice["payment_intent"], "abandoned")
        return settle(account, invoice)
    failure = attempt(account, invoice, params.get("payment_method"))
    if failure is not None:
        raise failure
    return invoice


def attempt(
    account: StripeAccount, invoice: Obj, method: str | None, *, scheduled: bool = False
) -> StripeError | None:
    """Charge an open invoice now. Returns None if it is paid or a debit is on its way, else the error for the caller."""
    before = account.view(invoice)
    customer = account.get("customer", invoice["customer"])
    card = payable_with(account, customer, method or invoice["default_payment_method"])
    intent = account.get("payment_intent", invoice["payment_intent"])
    charge = pay_intent(account, intent, card, invoice["amount_remaining"])
    counts = _count_attempt(invoice, scheduled)
    invoice["charge"] = charge["id"]
    if charge["status"] == "pending":
        account.publish("invoice.updated", invoice, before)
        return None
    if charge["status"] == "succeeded":
        _receive(account, invoice, charge)
        return None
    if charge["_decline"] in HARD_DECLINES:
        invoice["_declined"] = [*invoice.get("_declined", []), _method_id(invoice, customer, method)]
    _fail(account, invoice, counts)
    return decline_error(account, charge)


def _receive(account: StripeAccount, invoice: Obj, charge: Obj) -> None:
    paid = invoice["amount_paid"] + charge["amount"]
    invoice.update(amount_paid=paid, amount_remaining=max(0, invoice["amount_remaining"] - charge["amount"]))
    settle(account, invoice)


def follow_debit(account: StripeAccount, invoice: Obj, charge: Obj) -> None:
    """Let an invoice follow the end of a debit. One that was voided or paid otherwise meanwhile stays as it is."""
    if invoice["status"] not in ("open", "uncollectible"):
        return
    if charge["status"] == "succeeded":
        _receive(account, invoice, charge)
    else:
        _fail(account, invoice, True)


def _method_id(invoice: Obj, customer: Obj, method: str | None = None) -> str | None:
    id: str | None = (
        method or invoice["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    )
    return id


def _count_attempt(invoice: Obj, scheduled: bool) -> bool:
    """Count an attempt. A manual one counts only if it is the first, and does not change the schedule of retries."""
    counts = scheduled or not invoice["attempted"]
    invoice["attempted"] = True
    if counts:
        invoice.update(attempt_count=invoice["attempt_count"] + 1, next_payment_attempt=None)
    return counts


def _fail(account: StripeAccount, invoice: Obj, counts: bool) -> None:
    if counts:
        plan_retry(account, invoice)
    account.publish("invoice.payment_failed", invoice)
    if invoice["subscription"] and counts:
        subscription_status.payment_failed(account, invoice)


def plan_retry(account: StripeAccount, invoice: Obj) -> None:
    """Plan the next automatic attempt, if any is left."""
    tries = invoice["attempt_count"]
    if invoice["auto_advance"] and 0 < tries <= len(RETRY_DELAYS_DAYS):
        invoice["next_payment_attempt"] = account.now + RETRY_DELAYS_DAYS[tries - 1] * DAY_SECONDS


def void(account: StripeAccount, params: Obj, id: str) -> Obj:
    invoice = account.get("invoice", id)
    if invoice["status"] not in ("open", "uncollectible"):
        message = "You can only pass in open or uncollectible invoices. This invoice isn't open."
        raise refusal(message, "invoice")
    before = dict(invoice)
    return_from_invoice(account, invoice)
    invoice.update(
        status="void", next_payment_attempt=None, auto_advance=False,
        status_transitions={**invoice["status_transitions"], "voided_at": account.now},
    )  # fmt: skip
    if invoice["payment_intent"]:
        cancel_intent(account, invoice["payment_intent"], "void_invoice")
    account.publish("invoice.voided", invoice, before)
    return invoice


def mark_uncollectible(account: StripeAccount, params: Obj, id: str) -> Obj:
    invoice = account.get("invoice", id)
    if invoice["status"] != "open":
        raise refusal("You can only mark open invoices as uncollectible. This invoice isn't open.", "invoice")
    before = dict(invoice)
    invoice.update(
        status="uncollectible", next_payment_attempt=None, auto_advance=False,
        status_transitions={**invoice["status_transitions"], "marked_uncollectible_at": account.now},
    )  # fmt: skip
    account.publish("invoice.marked_uncollectible", invoice, before)
    return invoice


def send(account: StripeAccount, params: Obj, id: str) -> Obj:
    invoice = account.get("invoice", id)
    if invoice["collection_method"] != "send_invoice":
        raise refusal("You can only send invoices whose collection_method is `send_invoice`.")
    if invoice["status"] == "draft":
        close_draft(account, invoice)
    account.emit("invoice.sent", invoice)
    return invoice


def due(invoice: Obj) -> int | None:
    """Return the time of the next automatic work: a draft is finalized after an hour, an open invoice is collected."""
    if invoice["status"] == "draft":
        return int(invoice["created"]) + HOUR_SECONDS if invoice["auto_advance"] else None
    return invoice["next_payment_attempt"] if invoice["status"] == "open" else None


def advance(account: StripeAccount) -> bool:
    """Do the automatic work of invoices that is due; return true if there was any.

    An invoice that is finalized automatically is charged in the same moment.
    """
    due_invoices = account.where("invoice", "due <= ?", (account.now,), order="due, seq")
    for invoice in due_invoices:
        if invoice["status"] == "open":
            collect(account, invoice)
            continue
        close_draft(account, invoice)
        if invoice["status"] == "open" and invoice["collection_method"] == "send_invoice":
            account.emit("invoice.sent", invoice)
        elif invoice["status"] == "open":
            collect(account, invoice)
    return bool(due_invoices)


def collect(account: StripeAccount, invoice: Obj) -> None:
    """Attempt an automatic payment; a customer without a payment method counts as a failed attempt.

    After a hard decline the schedule goes on, but only another payment method is charged.
    """
    customer = account.find("customer", invoice["customer"])
    if customer and _method_id(invoice, customer) in invoice.get("_declined", []):
        before = dict(invoice)
        _count_attempt(invoice, True)
        plan_retry(account, invoice)
        account.publish("invoice.updated", invoice, before)
        if invoice["subscription"]:
            subscription_status.payment_failed(account, invoice)
        return
    try:
        attempt(account, invoice, None, scheduled=True)
    except StripeError:
        _count_attempt(invoice, True)
        _fail(account, invoice, True)
