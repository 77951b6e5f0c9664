"""Subscriptions: periods that the clock turns into invoices, quantity changes with proration, and cancellation."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.catalog import filters, tax_rates
from counterfoil.twins.stripe.customer_balance import same_currency
from counterfoil.twins.stripe.customers import payable_with
from counterfoil.twins.stripe.errors import Obj, StripeError, invalid, missing_parameter, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.invoices import COLLECTION, attempt, begin, close_draft, void
from counterfoil.twins.stripe.lines import line_arguments, pending, place_item, place_line, total
from counterfoil.twins.stripe.listing import PAGING, page
from counterfoil.twins.stripe.meters import is_metered
from counterfoil.twins.stripe.subscription_items import (
    ITEM,
    NEW_ITEM,
    PRORATION,
    add_item,
    change_item,
    interval,
    product_name,
    prorate,
    recurring_price,
)
from counterfoil.twins.stripe.subscription_status import cancel_now, end_schedule

FIRST_PAYMENT_SECONDS = 23 * 3600
"""Time limit for the payment of the first invoice."""
TRIAL_WARNING_SECONDS = 3 * DAY_SECONDS
"""Time before the end of a trial at which the vendor warns; a shorter trial warns at once."""
PAUSE: Shape = {"behavior!": ("keep_as_draft",)}
"""Pause of collection: invoices stay drafts, also after its end."""
UPDATE: Shape = {
    "cancel_at_period_end": "bool", "cancel_at": "time", "collection_method": COLLECTION, "days_until_due": "uint",
    "default_payment_method": "str", "default_tax_rates": ["str"], "description": "str", "items": [ITEM],
    "metadata": "meta", "pause_collection": PAUSE, "proration_behavior": PRORATION, "proration_date": "time", "trial_end": "any",
    "payment_behavior": ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"),
}  # fmt: skip
CREATE: Shape = {
    **{name: kind for name, kind in UPDATE.items() if name not in ("items", "pause_collection", "proration_date")},
    "customer!": "str", "items!": [NEW_ITEM], "trial_period_days": "uint", "currency": "str",
    "billing_cycle_anchor": "time",
}  # fmt: skip
_DETAILS: Shape = {"comment": "str", "feedback": "str"}
CANCEL: Shape = {"invoice_now": "bool", "prorate": "bool", "cancellation_details": _DETAILS}
LIST: Shape = {
    **PAGING, "customer": "str", "price": "str", "collection_method": COLLECTION,
    "status": ("active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due", "trialing",
               "unpaid"),
}  # fmt: skip
UPDATE_ITEM: Shape = {
    "price": "str", "quantity": "uint", "metadata": "meta", "tax_rates": ["str"], "proration_behavior": PRORATION,
    "proration_date": "time",
}  # fmt: skip
_SCALARS = ("cancel_at", "collection_method", "days_until_due", "default_payment_method", "description")


def view(account: StripeAccount, subscription: Obj) -> Obj:
    url = f"/v1/subscription_items?subscription={subscription['id']}"
    items = [account.view(item) for item in account.of("subscription_item", subscription["id"])]
    return {**subscription, "items": {"object": "list", "data": items, "has_more": False, "url": url}}


def step(anchor: int, price: Obj, periods: int) -> int:
    """Return the end of a period: the day of the anchor, or the last day of the month if there is none. UTC seconds."""
    recurring = price["recurring"]
    count = recurring["interval_count"] * periods
    start = datetime.fromtimestamp(anchor, UTC)
    if recurring["interval"] in ("day", "week"):
        days = count * (7 if recurring["interval"] == "week" else 1)
        return int((start + timedelta(days=days)).timestamp())
    month = start.month - 1 + count * (12 if recurring["interval"] == "year" else 1)
    year, month = start.year + month // 12, month % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def create(account: StripeAccount, params: Obj) -> Obj:
    customer = account.get("customer", params["customer"], "customer")
    if not params["items"]:
        raise missing_parameter("items")
    prices = [recurring_price(account, item, position) for position, item in enumerate(params["items"])]
    if len({(price["currency"], *interval(price)) for price in prices}) > 1:
        raise refusal("All prices on a subscription must have the same currency and interval.", "items")
    method = params.get("collection_method") or "charge_automatically"
    if method == "send_invoice" and params.get("days_until_due") is None:
        message = "You must pass `days_until_due` when `collection_method` is `send_invoice`."
        raise invalid(message, "days_until_due", "parameter_missing")
    behavior = params.get("payment_behavior") or "allow_incomplete"
    same_currency(account, customer, prices[0]["currency"])
    trial = _trial(account, params)
    if method == "charge_automatically" and trial is None and behavior != "default_incomplete" and any(
            price["unit_amount_decimal"] != "0" and not is_metered(price) for price in prices):  # fmt: skip
        payable_with(account, customer, params.get("default_payment_method"))
    now = account.now
    anchor = trial or now
    until = trial or step(anchor, prices[0], 1)
    subscription = account.create("subscription", {
        "application": None, "application_fee_percent": None, "automatic_tax": {"enabled": False},
        "billing_cycle_anchor": anchor, "billing_thresholds": None, "cancel_at": params.get("cancel_at"),
        "cancel_at_period_end": params.get("cancel_at_period_end", False), "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None}, "collection_method": method,
        "currency": prices[0]["currency"], "current_period_end": until, "current_period_start": now,
        "customer": customer["id"], "days_until_due": params.get("days_until_due"),
        "default_payment_method": params.get("default_payment_method"), "default_source": None,
        "default_tax_rates": tax_rates(account, params.get("default_tax_rates"), "default_tax_rates"),
        "description": params.get("description"), "discount": None, "ended_at": None, "latest_invoice": None,
        "metadata": merge({}, params.get("metadata") or {}), "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None, "pause_collection": None, "payment_settings": {
            "payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off"},
        "pending_invoice_item_interval": None, "pending_setup_intent": None, "pending_update": None,
        "schedule": params.get("_schedule"), "start_date": now, "status": "trialing" if trial else "active", "test_clock": None,
        "transfer_data": None, "trial_end": trial, "trial_settings": None, "trial_start": now if trial else None,
        "_periods": 0 if trial else 1,
    })  # fmt: skip
    for item, price in zip(params["items"], prices, strict=True):
        add_item(account, subscription, item, price)
    if trial is None:
        invoice = bill(account, subscription, "subscription_create")
        if method == "charge_automatically":
            _first_payment(account, subscription, invoice, behavior)
    account.emit("customer.subscription.created", subscription)
    return subscription


def _trial(account: StripeAccount, params: Obj) -> int | None:
    if params.get("trial_period_days"):
        return account.now + int(params["trial_period_days"]) * DAY_SECONDS
    until = params.get("trial_end")
    return int(until) if isinstance(until, str) and until.isdigit() and int(until) > account.now else None


def _first_payment(account: StripeAccount, subscription: Obj, invoice: Obj, behavior: str) -> None:
    close_draft(account, invoice)
    if invoice["status"] == "open":
        subscription["status"] = "incomplete"
        account.save(subscription)
        if behavior != "default_incomplete":
            failure = attempt(account, invoice, None)
            if failure is not None and behavior == "error_if_incomplete":
                failure.commit = False
                raise failure
    subscription["status"] = account.get("subscription", subscription["id"])["status"]


def bill(
    account: StripeAccount, subscription: Obj, reason: str, cycle: bool = True, usage: Obj | None = None
) -> Obj:
    """Create a draft with the lines of the current period (unless `cycle` is false) and the pending items.

    `usage`: the period (start, end) whose metered usage the draft bills.
    """
    customer = account.get("customer", subscription["customer"])
    send = subscription["collection_method"] == "send_invoice"
    invoice = begin(account, customer, subscription["currency"], reason, {
        "collection_method": subscription["collection_method"], "subscription": subscription["id"],
        "days_until_due": subscription["days_until_due"] if send else None, "_rates":
        subscription["default_tax_rates"], "default_payment_method": subscription["default_payment_method"],
        "description": subscription["description"], "auto_advance": subscription["pause_collection"] is None,
    })  # fmt: skip
    invoice["subscription_details"] = {"metadata": subscription["metadata"]}
    for due_subscriptions in pending(account, customer["id"], subscription["currency"], subscription["id"]):
        place_item(account, invoice, due_subscriptions)
    current = {"start": subscription["current_period_start"], "end": subscription["current_period_end"]}
    for item in [*account.of("subscription_item", subscription["id"]), *_ended_usage(subscription)]:
        quantity, name = item.get("quantity"), product_name(account, item["price"])
        period = usage if quantity is None else current if cycle else None
        if period is None:
            continue
        place_line(account, invoice, {
            **line_arguments(item["price"], quantity or 0), "type": "subscription", "period": period,
            "description": name if quantity is None else f"{quantity} × {name}", "metadata": item["metadata"],
            "subscription": subscription["id"], "subscription_item": item["id"], "tax_rates": item["tax_rates"],
        })  # fmt: skip
    if reason == "subscription_cycle":
        invoice["period_start"], invoice["period_end"] = subscription["_was"], current["start"]
    elif usage:
        invoice["period_start"], invoice["period_end"] = usage["start"], usage["end"]
    total(account, invoice)
    account.emit("invoice.created", invoice)
    subscription["latest_invoice"] = invoice["id"]
    account.save(subscription)
    return invoice


def _ended_usage(subscription: Obj) -> list[Obj]:
    """Take the metered items that a phase removed at the end of the period that is billed."""
    return [item for item in subscription.pop("_ended", []) if is_metered(item["price"])]


def list_all(account: StripeAccount, params: Obj, customer: str | None = None) -> Obj:
    conditions, values = filters(params, "collection_method", "customer")
    if customer:
        conditions.append("customer = ?")
        values.append(customer)
    status = params.get("status")
    if status == "ended":
        conditions.append("json_extract(body, '$.status') in ('canceled', 'incomplete_expired')")
    elif status is None:
        conditions.append("json_extract(body, '$.status') not in ('canceled', 'incomplete_expired')")
    elif status != "all":
        conditions.append("json_extract(body, '$.status') = ?")
        values.append(status)
    if params.get("price"):
        conditions.append(
            "exists (select 1 from object i where i.parent = object.id and i.type = "
            "'subscription_item' and json_extract(i.body, '$.price.id') = ?)"
        )
        values.append(params["price"])
    return page(account, "subscription", params, "/v1/subscriptions", conditions, values)


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    subscription = account.get("subscription", id)
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise refusal("A canceled subscription can only update its cancellation_details and metadata.", "id")
    before = account.view(subscription)
    for name in _SCALARS:
        if name in params:
            subscription[name] = params[name]
    if subscription["collection_method"] == "send_invoice" and subscription["days_until_due"] is None:
        message = "You must pass `days_until_due` when `collection_method` is `send_invoice`."
        raise invalid(message, "days_until_due", "parameter_missing")
    if "metadata" in params:
        subscription["metadata"] = merge(subscription["metadata"], params["metadata"])
    if "pause_collection" in params:
        pause = params["pause_collection"]
        subscription["pause_collection"] = pause and {**pause, "resumes_at": None}
    if "default_tax_rates" in params:
        rates = tax_rates(account, params["default_tax_rates"], "default_tax_rates")
        subscription["default_tax_rates"] = rates
    if params.get("cancel_at_period_end") is not None:
        ending = params["cancel_at_period_end"]
        subscription.update(
            cancel_at_period_end=ending, canceled_at=account.now if ending else None,
            cancel_at=subscription["current_period_end"] if ending else None,
            cancellation_details={"comment": None, "feedback": None,
                                  "reason": "cancellation_requested" if ending else None},
        )  # fmt: skip
    account.save(subscription)
    for position, changes in enumerate(params.get("items") or []):
        change_item(account, subscription, changes, params, position)
    account.emit("customer.subscription.updated", subscription, before)
    if params.get("proration_behavior") == "always_invoice":
        bill_now(account, subscription)
    return subscription


def bill_now(account: StripeAccount, subscription: Obj, usage: Obj | None = None) -> None:
    """Bill pending prorations and metered usage at once. A declined card leaves the invoice open."""
    if usage is None and not pending(
        account, subscription["customer"], subscription["currency"], subscription["id"]
    ):
        return
    draft = bill(account, subscription, "subscription_update", cycle=False, usage=usage)
    invoice = close_draft(account, draft)
    if invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        attempt(account, invoice, None)


def cancel(account: StripeAccount, params: Obj, id: str) -> Obj:
    subscription = account.get("subscription", id)
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise StripeError(404, f"No such subscription: '{id}'", code="resource_missing", param="id")
    details = params.get("cancellation_details") or {}
    subscription["cancellation_details"] = {
        "comment": details.get("comment"), "feedback": details.get("feedback"), "reason": "cancellation_requested",
    }  # fmt: skip
    if params.get("prorate"):
        for item in account.of("subscription_item", id):
            prorate(account, subscription, {}, item, None)
    if params.get("invoice_now"):
        bill_now(account, subscription, _open_usage(account, subscription))
    return cancel_now(account, subscription)


def end(account: StripeAccount, subscription: Obj) -> None:
    """Cancel at the end of a period, with a draft for the metered usage."""
    if usage := _open_usage(account, subscription):
        bill(account, subscription, "subscription_update", cycle=False, usage=usage)
    cancel_now(account, subscription)


def _open_usage(account: StripeAccount, subscription: Obj) -> Obj | None:
    """Return the part of the current period whose metered usage is not billed, if anything is metered."""
    items = account.of("subscription_item", subscription["id"]) + subscription.get("_ended", [])
    if subscription["status"] == "trialing" or not any(is_metered(item["price"]) for item in items):
        return None
    until = min(account.now, subscription["current_period_end"])
    return {"start": subscription["current_period_start"], "end": until}


def list_items(account: StripeAccount, params: Obj) -> Obj:
    account.get("subscription", params["subscription"], "subscription")
    url = "/v1/subscription_items"
    message = "subscription_item"
    return page(account, message, params, url, ["parent = ?"], [params["subscription"]], oldest_first=True)


def update_item(account: StripeAccount, params: Obj, id: str) -> Obj:
    item = account.get("subscription_item", id)
    subscription = account.get("subscription", item["subscription"])
    before = account.view(subscription)
    changes = {name: value for name, value in params.items() if not name.startswith("proration")}
    change_item(account, subscription, {**changes, "id": id}, params)
    account.emit("customer.subscription.updated", subscription, before)
    if params.get("proration_behavior") == "always_invoice":
        bill_now(account, subscription)
    return account.get("subscription_item", id)


def _expire(account: StripeAccount, subscription: Obj) -> None:
    before = account.view(subscription)
    subscription.update(status="incomplete_expired", ended_at=account.now)
    account.save(subscription)
    if account.get("invoice", subscription["latest_invoice"])["status"] == "open":
        void(account, {}, subscription["latest_invoice"])
    account.emit("customer.subscription.updated", subscription, before)
    end_schedule(account, subscription)


def due(subscription: Obj) -> int | None:
    """Return the time of the next automatic work: end of the period, cancellation, or expiry of an incomplete start."""
    if subscription["status"] == "incomplete":
        return int(subscription["created"]) + FIRST_PAYMENT_SECONDS
    if subscription["status"] not in ("active", "past_due", "trialing"):
        return None
    edges = (subscription["current_period_end"], subscription["cancel_at"], _warning(subscription))
    return min(int(edge) for edge in edges if edge is not None)


def _warning(subscription: Obj) -> int | None:
    """Return the time of the warning before the end of a trial, if it is still to come."""
    if subscription["status"] != "trialing" or subscription.get("_warned"):
        return None
    return int(subscription["trial_end"]) - TRIAL_WARNING_SECONDS


def advance(account: StripeAccount) -> bool:
    """Start the next period of every subscription whose period is over: one period each. Return true if any."""
    due_subscriptions = account.where("subscription", "due <= ?", (account.now,), order="due, seq")
    for subscription in due_subscriptions:
        if subscription["status"] == "incomplete":
            _expire(account, subscription)
            continue
        warning = _warning(subscription)
        if warning is not None and warning <= account.now:
            subscription["_warned"] = True
            account.publish("customer.subscription.trial_will_end", subscription)
            continue
        if subscription["cancel_at"] is not None and subscription["cancel_at"] <= account.now:
            end(account, subscription)
            continue
        before = account.view(subscription)
        usage = _open_usage(account, subscription)
        item = next(iter(account.of("subscription_item", subscription["id"])))
        subscription["_was"] = subscription["current_period_start"]
        subscription["_periods"] += 1
        subscription["current_period_start"] = subscription["current_period_end"]
        anchor, periods = subscription["billing_cycle_anchor"], subscription["_periods"]
        subscription["current_period_end"] = step(anchor, item["price"], periods)
        if subscription["status"] == "trialing":
            subscription["status"] = "active"
        account.save(subscription)
        bill(account, subscription, "subscription_cycle", usage=usage)
        account.emit("customer.subscription.updated", subscription, before)
    return bool(due_subscriptions)
