"""Quotes: offers that become an invoice, a subscription or a subscription schedule when they are accepted.

A quote without recurring prices becomes a draft invoice. One that takes effect later becomes a schedule. Quotes that are
not accepted in time are canceled. Source: docs.stripe.com/quotes/overview.
"""

from __future__ import annotations

from counterfoil.twins.stripe import invoices, schedules, subscriptions
from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.catalog import filters, tax_rates
from counterfoil.twins.stripe.errors import Obj, invalid, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.lines import create_item
from counterfoil.twins.stripe.listing import CURSORS, page
from counterfoil.twins.stripe.quote_items import LINE, NEW_LINE, as_lines, computed, replace_lines

UPDATE: Shape = {
    "collection_method": invoices.COLLECTION, "customer": "str", "default_tax_rates": ["str"], "description": "str",
    "expires_at": "time", "footer": "str", "header": "str", "invoice_settings": {"days_until_due": "uint"},
    "line_items": [LINE], "metadata": "meta",
    "subscription_data": {"description": "str", "effective_date": "any", "trial_period_days": "uint"},
}  # fmt: skip
CREATE: Shape = {
    **UPDATE, "line_items": [NEW_LINE], "from_quote": {"quote!": "str", "is_revision": "bool"},
}  # fmt: skip
FINALIZE: Shape = {"expires_at": "time"}
LIST: Shape = {**CURSORS, "customer": "str", "status": ("accepted", "canceled", "draft", "open")}
VALID_SECONDS = 30 * DAY_SECONDS
_TEXTS = ("description", "footer", "header")
_TERMS = ("collection_method", "customer", "expires_at")
"""Fields that cannot be unset."""


def view(account: StripeAccount, quote: Obj) -> Obj:
    amounts = computed(account.of("item", quote["id"]), quote["subscription_data"]["trial_period_days"])
    return {**quote, **amounts["upfront"], "computed": amounts}


def create(account: StripeAccount, params: Obj) -> Obj:
    if params.get("from_quote"):
        if set(params) - {"from_quote", "expires_at"}:
            raise invalid("You cannot set other parameters together with `from_quote`.", "from_quote")
        return _clone(account, params)
    quote = _new(account, params.get("expires_at"), None)
    _apply(account, quote, {"line_items": [], **params})
    account.publish("quote.created", quote)
    return quote


def _new(account: StripeAccount, expires_at: int | None, source: Obj | None) -> Obj:
    return account.create("quote", {
        "application": None, "application_fee_amount": None, "application_fee_percent": None,
        "automatic_tax": {"enabled": False, "status": None}, "collection_method": "charge_automatically",
        "currency": None, "customer": None, "default_tax_rates": [], "description": None, "discounts": [],
        "expires_at": expires_at or account.now + VALID_SECONDS, "footer": None, "from_quote": source,
        "header": None, "invoice": None, "invoice_settings": {"days_until_due": None}, "metadata": {},
        "number": None, "on_behalf_of": None, "status": "draft",
        "status_transitions": dict.fromkeys(("accepted_at", "canceled_at", "finalized_at")), "subscription": None,
        "subscription_data": dict.fromkeys(("description", "effective_date", "trial_period_days")),
        "subscription_schedule": None, "test_clock": None, "transfer_data": None,
    })  # fmt: skip


def _clone(account: StripeAccount, params: Obj) -> Obj:
    source = account.get("quote", params["from_quote"]["quote"], "from_quote[quote]")
    revision = bool(params["from_quote"].get("is_revision"))
    if revision and source["number"] is None:
        raise refusal("You can only revise a quote that has been finalized.", "from_quote[quote]")
    quote = _new(account, params.get("expires_at"), {"is_revision": revision, "quote": source["id"]})
    for name in ("collection_method", "customer", "default_tax_rates", "description", "footer", "header",
                 "invoice_settings", "metadata", "subscription_data"):  # fmt: skip
        quote[name] = source[name]
    replace_lines(account, quote, as_lines(account.of("item", source["id"])))
    account.publish("quote.created", quote)
    return quote


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    quote = account.get("quote", id)
    if quote["status"] != "draft" and (quote["status"] != "open" or set(params) - {"expires_at"}):
        raise refusal("Only the expiration of an open quote, and no ended quote, can be changed.", "id")
    _apply(account, quote, params)
    return account.save(quote)


def _apply(account: StripeAccount, quote: Obj, params: Obj) -> None:
    for name in _TEXTS:
        if name in params:
            quote[name] = params[name]
    quote.update({name: params[name] for name in _TERMS if params.get(name) is not None})
    if quote["customer"]:
        account.get("customer", quote["customer"], "customer")
    if params.get("expires_at") is not None and params["expires_at"] <= account.now:
        raise refusal("The expiration of a quote must be in the future.", "expires_at")
    if "metadata" in params:
        quote["metadata"] = merge(quote["metadata"], params["metadata"])
    if "default_tax_rates" in params:
        rates = tax_rates(account, params["default_tax_rates"], "default_tax_rates")
        quote["default_tax_rates"] = [rate["id"] for rate in rates]
    if "invoice_settings" in params:
        quote["invoice_settings"] = {
            "days_until_due": (params["invoice_settings"] or {}).get("days_until_due")
        }
    if params.get("subscription_data"):
        quote["subscription_data"] = {**quote["subscription_data"], **_subscription_data(params)}
    if params.keys() & {"line_items", "default_tax_rates", "customer"}:
        old = as_lines(account.of("item", quote["id"]))
        replace_lines(account, quote, params.get("line_items", old) or [])


def _subscription_data(params: Obj) -> Obj:
    data: Obj = dict(params["subscription_data"])
    date = data.get("effective_date")
    if date and not (isinstance(date, str) and date.isdigit()):
        raise invalid("Invalid timestamp: effective_date.", "subscription_data[effective_date]")
    if "effective_date" in data:
        data["effective_date"] = int(date) if date else None
    return data


def finalize(account: StripeAccount, params: Obj, id: str) -> Obj:
    quote = account.get("quote", id)
    before = account.view(quote)
    if quote["status"] != "draft":
        raise refusal(f"This quote cannot be finalized because it is {quote['status']}.", "id")
    if not quote["customer"]:
        raise refusal("A customer is required to finalize a quote.", "customer")
    if not account.of("item", id):
        raise refusal("A quote needs line items to be finalized.", "line_items")
    if quote["collection_method"] == "send_invoice" and quote["invoice_settings"]["days_until_due"] is None:
        message = (
            "You must pass `invoice_settings[days_until_due]` when `collection_method` is `send_invoice`."
        )
        raise refusal(message, "invoice_settings[days_until_due]")
    _apply(account, quote, params)
    quote["number"] = _number(account, quote)
    _enter(account, quote, "open", "finalized_at")
    account.emit("quote.finalized", quote, before)
    return quote


def _number(account: StripeAccount, quote: Obj) -> str:
    """Return `QT-`, the customer's prefix, the sequence and the revision."""
    customer, source = account.get("customer", quote["customer"]), quote["from_quote"]
    if source and source["is_revision"]:
        first, _, last = account.get("quote", source["quote"])["number"].rpartition("-")
        return f"{first}-{int(last) + 1}"
    customer["_quotes"] = customer.get("_quotes", 0) + 1
    account.save(customer)
    return f"QT-{customer['invoice_prefix']}-{customer['_quotes']:04d}-1"


def _enter(account: StripeAccount, quote: Obj, status: str, stamp: str) -> None:
    quote.update(status=status, status_transitions={**quote["status_transitions"], stamp: account.now})
    account.save(quote)


def cancel(account: StripeAccount, params: Obj, id: str) -> Obj:
    quote = account.get("quote", id)
    before = account.view(quote)
    if quote["status"] not in ("draft", "open"):
        raise refusal(f"This quote cannot be canceled because it is {quote['status']}.", "id")
    _enter(account, quote, "canceled", "canceled_at")
    account.emit("quote.canceled", quote, before)
    return quote


def accept(account: StripeAccount, params: Obj, id: str) -> Obj:
    quote = account.get("quote", id)
    before = account.view(quote)
    if quote["status"] != "open":
        raise refusal(f"This quote cannot be accepted because it is {quote['status']}.", "id")
    items = account.of("item", id)
    recurring = as_lines([item for item in items if item["price"]["type"] == "recurring"])
    once = as_lines([item for item in items if item["price"]["type"] == "one_time"])
    date = quote["subscription_data"]["effective_date"]
    if not recurring:
        quote["invoice"] = _invoice(account, quote, once)["id"]
    elif date is not None and date > account.now:
        quote["subscription_schedule"] = _schedule(account, quote, recurring, once)["id"]
    else:
        quote["subscription"] = _subscription(account, quote, recurring, once)["id"]
    _enter(account, quote, "accepted", "accepted_at")
    account.emit("quote.accepted", quote, before)
    return quote


def _invoice(account: StripeAccount, quote: Obj, once: list[Obj]) -> Obj:
    """Create the draft; the user finalizes it."""
    customer = account.get("customer", quote["customer"])
    draft = invoices.begin(account, customer, quote["currency"], "manual", {
        "collection_method": quote["collection_method"], "auto_advance": False, "metadata": quote["metadata"],
        "days_until_due": quote["invoice_settings"]["days_until_due"], "description": quote["description"],
        "default_tax_rates": quote["default_tax_rates"], "footer": quote["footer"],
    })  # fmt: skip
    draft["quote"] = quote["id"]
    account.publish("invoice.created", draft)
    for line in once:
        create_item(account, {**line, "customer": customer["id"], "invoice": draft["id"]})
    return draft


def _terms(quote: Obj) -> Obj:
    return {
        "collection_method": quote["collection_method"], "default_tax_rates": quote["default_tax_rates"],
        "metadata": quote["metadata"], "description": quote["subscription_data"]["description"],
    }  # fmt: skip


def _subscription(account: StripeAccount, quote: Obj, recurring: list[Obj], once: list[Obj]) -> Obj:
    for line in once:
        create_item(account, {**line, "customer": quote["customer"]})
    days = quote["invoice_settings"]["days_until_due"]
    trial = quote["subscription_data"]["trial_period_days"]
    return subscriptions.create(account, {
        **_terms(quote), "customer": quote["customer"], "items": recurring, "days_until_due": days,
        "trial_period_days": trial,
    })  # fmt: skip


def _schedule(account: StripeAccount, quote: Obj, recurring: list[Obj], once: list[Obj]) -> Obj:
    data = quote["subscription_data"]
    phase = {
        **_terms(quote), "items": recurring, "add_invoice_items": once, "invoice_settings": quote["invoice_settings"],
    }  # fmt: skip
    if data["trial_period_days"]:
        phase["trial_end"] = data["effective_date"] + data["trial_period_days"] * DAY_SECONDS
    return schedules.create(account, {
        "customer": quote["customer"], "phases": [phase], "start_date": str(data["effective_date"]),
        "default_settings": {
            "collection_method": quote["collection_method"], "invoice_settings": quote["invoice_settings"]},
    })  # fmt: skip


def list_all(account: StripeAccount, params: Obj) -> Obj:
    return page(account, "quote", params, "/v1/quotes", *filters(params, "customer", "status"))


def _listed(account: StripeAccount, params: Obj, id: str, path: str, condition: str) -> Obj:
    account.get("quote", id)
    url = f"/v1/quotes/{id}/{path}"
    return page(account, "item", params, url, ["parent = ?", condition], [id], oldest_first=True)


def line_items(account: StripeAccount, params: Obj, id: str) -> Obj:
    return _listed(account, params, id, "line_items", "1")


def upfront_items(account: StripeAccount, params: Obj, id: str) -> Obj:
    """Return the lines of the first invoice; a trial has only those that are billed once."""
    trial = account.get("quote", id)["subscription_data"]["trial_period_days"]
    once = "json_extract(body, '$.price.type') = 'one_time'" if trial else "1"
    return _listed(account, params, id, "computed_upfront_line_items", once)


def due(quote: Obj) -> int | None:
    return int(quote["expires_at"]) if quote["status"] in ("draft", "open") else None


def advance(account: StripeAccount) -> bool:
    """Cancel the quotes that expired; return true if there were any."""
    due_quotes = account.where("quote", "due <= ?", (account.now,), order="due, seq")
    for quote in due_quotes:
        cancel(account, {}, quote["id"])
    return bool(due_quotes)
