"""Table of routes: the function of each request and the parameters that it accepts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from counterfoil.twins.stripe import (
    accounts,
    balance,
    catalog,
    charges,
    credit_notes,
    customer_balance,
    customers,
    debits,
    disputes,
    events,
    intents,
    invoices,
    lines,
    meters,
    payouts,
    quotes,
    refunds,
    schedules,
    subscriptions,
    tax_ids,
)
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.catalog import filters
from counterfoil.twins.stripe.errors import Obj, StripeError
from counterfoil.twins.stripe.forms import Shape
from counterfoil.twins.stripe.listing import CURSORS, PAGING, SEARCHING, page, search

Answer = Callable[..., Obj]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    shape: Shape
    answer: Answer


def _get(kind: str) -> Answer:
    def answer(account: StripeAccount, params: Obj, id: str) -> Obj:
        return account.get(kind, id)

    return answer


def _list(kind: str, path: str, *fields: str) -> Answer:
    """Return the list function of a kind; the request may filter by `fields`."""

    def answer(account: StripeAccount, params: Obj) -> Obj:
        return page(account, kind, params, f"/v1/{path}", *filters(params, *fields))

    return answer


def _lines(kind: str, line_kind: str, path: str) -> Answer:
    def answer(account: StripeAccount, params: Obj, id: str) -> Obj:
        account.get(kind, id)
        message = f"/v1/{path}/{id}/lines"
        return page(account, line_kind, params, message, ["parent = ?"], [id], oldest_first=True)

    return answer


def _search(kind: str, path: str) -> Answer:
    def answer(account: StripeAccount, params: Obj) -> Obj:
        return search(account, kind, params, f"/v1/{path}/search")

    return answer


def _customer_subscriptions(account: StripeAccount, params: Obj, id: str) -> Obj:
    account.get("customer", id)
    return subscriptions.list_all(account, params, id)


def _customer_methods(account: StripeAccount, params: Obj, id: str) -> Obj:
    account.get("customer", id)
    return _LIST_METHODS(account, {**params, "customer": id})


_LIST_METHODS = _list("payment_method", "payment_methods", "customer")
_ITEMS: Shape = {**CURSORS, "subscription!": "str"}
_TABLE: list[tuple[str, str, Shape, Answer]] = [
    ("GET", "account", {}, accounts.retrieve),
    ("GET", "accounts", accounts.LIST, accounts.list_all),
    ("GET", "accounts/{}", {}, accounts.get),
    ("POST", "customers", customers.CUSTOMER, customers.create),
    ("GET", "customers", customers.LIST, customers.list_all),
    ("GET", "customers/search", SEARCHING, _search("customer", "customers")),
    ("GET", "customers/{}", {}, customers.retrieve),
    ("POST", "customers/{}", customers.CUSTOMER_UPDATE, customers.update),
    ("DELETE", "customers/{}", {}, customers.delete),
    ("POST", "customers/{}/balance_transactions", customer_balance.CREATE, customer_balance.create),
    ("GET", "customers/{}/balance_transactions", customer_balance.LIST, customer_balance.list_all),
    ("GET", "customers/{}/balance_transactions/{}", {}, customer_balance.get),
    ("POST", "customers/{}/balance_transactions/{}", customer_balance.UPDATE, customer_balance.update),
    ("POST", "customers/{}/tax_ids", tax_ids.CREATE, tax_ids.create),
    ("GET", "customers/{}/tax_ids", tax_ids.LIST, tax_ids.list_all),
    ("GET", "customers/{}/tax_ids/{}", {}, tax_ids.get),
    ("DELETE", "customers/{}/tax_ids/{}", {}, tax_ids.delete),
    ("GET", "customers/{}/subscriptions", CURSORS, _customer_subscriptions),
    ("GET", "customers/{}/payment_methods", {**CURSORS, "type": "str"}, _customer_methods),
    ("POST", "payment_methods", customers.PAYMENT_METHOD, customers.create_method),
    ("GET", "payment_methods", {**CURSORS, "customer!": "str", "type": "str"}, _LIST_METHODS),
    ("GET", "payment_methods/{}", {}, _get("payment_method")),
    ("POST", "payment_methods/{}/attach", {"customer!": "str"}, customers.attach),
    ("POST", "payment_methods/{}/detach", {}, customers.detach),
    ("POST", "products", catalog.PRODUCT, catalog.create_product),
    ("GET", "products", catalog.LIST, _list("product", "products", "active")),
    ("GET", "products/{}", {}, _get("product")),
    ("POST", "products/{}", catalog.PRODUCT_UPDATE, catalog.update_product),
    ("DELETE", "products/{}", {}, catalog.delete_product),
    ("POST", "prices", catalog.PRICE, catalog.create_price),
    ("GET", "prices", catalog.LIST_PRICES, catalog.list_prices),
    ("GET", "prices/{}", {}, _get("price")),
    ("POST", "prices/{}", catalog.PRICE_UPDATE, catalog.update_price),
    ("POST", "plans", catalog.PLAN, catalog.create_plan),
    ("GET", "plans/{}", {}, catalog.get_plan),
    ("POST", "tax_rates", catalog.TAX_RATE, catalog.create_tax_rate),
    ("GET", "tax_rates", catalog.LIST, _list("tax_rate", "tax_rates", "active")),
    ("GET", "tax_rates/{}", {}, _get("tax_rate")),
    ("POST", "tax_rates/{}", catalog.TAX_RATE_UPDATE, catalog.update_tax_rate),
    ("POST", "subscriptions", subscriptions.CREATE, subscriptions.create),
    ("GET", "subscriptions", subscriptions.LIST, subscriptions.list_all),
    ("GET", "subscriptions/search", SEARCHING, _search("subscription", "subscriptions")),
    ("GET", "subscriptions/{}", {}, _get("subscription")),
    ("POST", "subscriptions/{}", subscriptions.UPDATE, subscriptions.update),
    ("DELETE", "subscriptions/{}", subscriptions.CANCEL, subscriptions.cancel),
    ("GET", "subscription_items", _ITEMS, subscriptions.list_items),
    ("GET", "subscription_items/{}", {}, _get("subscription_item")),
    ("POST", "subscription_items/{}", subscriptions.UPDATE_ITEM, subscriptions.update_item),
    ("POST", "subscription_schedules", schedules.CREATE, schedules.create),
    ("GET", "subscription_schedules", schedules.LIST, schedules.list_all),
    ("GET", "subscription_schedules/{}", {}, _get("subscription_schedule")),
    ("POST", "subscription_schedules/{}", schedules.UPDATE, schedules.update),
    ("POST", "subscription_schedules/{}/cancel", schedules.CANCEL, schedules.cancel),
    ("POST", "subscription_schedules/{}/release", schedules.RELEASE, schedules.release),
    ("POST", "quotes", quotes.CREATE, quotes.create),
    ("GET", "quotes", quotes.LIST, quotes.list_all),
    ("GET", "quotes/{}", {}, _get("quote")),
    ("POST", "quotes/{}", quotes.UPDATE, quotes.update),
    ("POST", "quotes/{}/finalize", quotes.FINALIZE, quotes.finalize),
    ("POST", "quotes/{}/accept", {}, quotes.accept),
    ("POST", "quotes/{}/cancel", {}, quotes.cancel),
    ("GET", "quotes/{}/line_items", CURSORS, quotes.line_items),
    ("GET", "quotes/{}/computed_upfront_line_items", CURSORS, quotes.upfront_items),
    ("POST", "billing/meters", meters.METER, meters.create),
    ("GET", "billing/meters", meters.LIST, meters.list_all),
    ("GET", "billing/meters/{}", {}, _get("billing.meter")),
    ("POST", "billing/meters/{}", meters.METER_UPDATE, meters.update),
    ("POST", "billing/meters/{}/deactivate", {}, meters.deactivate),
    ("POST", "billing/meters/{}/reactivate", {}, meters.reactivate),
    ("GET", "billing/meters/{}/event_summaries", meters.SUMMARIES, meters.summaries),
    ("POST", "billing/meter_events", meters.EVENT, meters.record),
    ("POST", "billing/meter_event_adjustments", meters.ADJUSTMENT, meters.adjust),
    ("POST", "invoiceitems", lines.ITEM, lines.create_item),
    ("GET", "invoiceitems", lines.LIST_ITEMS, lines.list_items),
    ("GET", "invoiceitems/{}", {}, _get("invoiceitem")),
    ("POST", "invoiceitems/{}", lines.ITEM_UPDATE, lines.update_item),
    ("DELETE", "invoiceitems/{}", {}, lines.delete_item),
    ("POST", "invoices", invoices.CREATE, invoices.create),
    ("GET", "invoices", invoices.LIST, invoices.list_all),
    ("GET", "invoices/search", SEARCHING, _search("invoice", "invoices")),
    ("GET", "invoices/{}", {}, _get("invoice")),
    ("POST", "invoices/{}", invoices.UPDATE, invoices.update),
    ("DELETE", "invoices/{}", {}, invoices.delete),
    ("GET", "invoices/{}/lines", CURSORS, _lines("invoice", "line_item", "invoices")),
    ("POST", "invoices/{}/add_lines", lines.ADD_LINES, lines.add_lines),
    ("POST", "invoices/{}/remove_lines", lines.REMOVE_LINES, lines.remove_lines),
    ("POST", "invoices/{}/finalize", invoices.FINALIZE, invoices.finalize),
    ("POST", "invoices/{}/pay", invoices.PAY, invoices.pay),
    ("POST", "invoices/{}/void", {}, invoices.void),
    ("POST", "invoices/{}/mark_uncollectible", {}, invoices.mark_uncollectible),
    ("POST", "invoices/{}/send", {}, invoices.send),
    ("POST", "credit_notes", credit_notes.CREATE, credit_notes.create),
    ("GET", "credit_notes", credit_notes.LIST, credit_notes.list_all),
    ("GET", "credit_notes/preview", credit_notes.CREATE, credit_notes.preview),
    ("GET", "credit_notes/preview/lines", credit_notes.PREVIEW_LINES, credit_notes.preview_lines),
    ("GET", "credit_notes/{}", {}, _get("credit_note")),
    ("POST", "credit_notes/{}", credit_notes.UPDATE, credit_notes.update),
    ("GET", "credit_notes/{}/lines", CURSORS, _lines("credit_note", "credit_note_line_item", "credit_notes")),
    ("POST", "credit_notes/{}/void", {}, credit_notes.void),
    ("POST", "payment_intents", intents.CREATE, intents.create),
    ("GET", "payment_intents", intents.LIST, _list("payment_intent", "payment_intents", "customer")),
    ("GET", "payment_intents/{}", {}, _get("payment_intent")),
    ("POST", "payment_intents/{}", intents.UPDATE, intents.update),
    ("POST", "payment_intents/{}/confirm", intents.CONFIRM, intents.confirm),
    ("POST", "payment_intents/{}/cancel", intents.CANCEL, intents.cancel),
    ("GET", "charges", charges.LIST, _list("charge", "charges", "customer", "payment_intent")),
    ("GET", "charges/{}", {}, _get("charge")),
    ("POST", "charges/{}", charges.UPDATE, charges.update),
    ("POST", "refunds", refunds.CREATE, refunds.create),
    ("GET", "refunds", refunds.LIST, _list("refund", "refunds", "charge", "payment_intent")),
    ("GET", "refunds/{}", {}, _get("refund")),
    ("POST", "refunds/{}", {"metadata": "meta"}, refunds.update),
    ("GET", "disputes", disputes.LIST, _list("dispute", "disputes", "charge", "payment_intent")),
    ("GET", "disputes/{}", {}, _get("dispute")),
    ("POST", "disputes/{}", disputes.UPDATE, disputes.update),
    ("POST", "disputes/{}/close", {}, disputes.close),
    ("GET", "balance", {}, balance.retrieve),
    ("GET", "balance_transactions", balance.LIST, balance.list_all),
    ("GET", "balance_transactions/{}", {}, _get("balance_transaction")),
    ("POST", "payouts", payouts.CREATE, payouts.create),
    ("GET", "payouts", payouts.LIST, payouts.list_all),
    ("GET", "payouts/{}", {}, _get("payout")),
    ("POST", "payouts/{}", {"metadata": "meta"}, payouts.update),
    ("POST", "payouts/{}/cancel", {}, payouts.cancel),
    ("GET", "events", events.LIST, events.list_all),
    ("GET", "events/{}", {}, _get("event")),
    ("POST", "webhook_endpoints", events.ENDPOINT, events.create_endpoint),
    ("GET", "webhook_endpoints", PAGING, _list("webhook_endpoint", "webhook_endpoints")),
    ("GET", "webhook_endpoints/{}", {}, _get("webhook_endpoint")),
    ("POST", "webhook_endpoints/{}", events.ENDPOINT_UPDATE, events.update_endpoint),
    ("DELETE", "webhook_endpoints/{}", {}, events.delete_endpoint),
]  # fmt: skip
ROUTES = [
    Route(method, re.compile("/v1/" + path.replace("{}", r"([^/]+)") + r"/?\Z"), shape, answer)
    for method, path, shape, answer in _TABLE
]


def find(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    """Return the route of a request and the ids in its path. Literal path segments come before ids."""
    for route in ROUTES:
        if route.method == method and (match := route.pattern.match(path)):
            return route, match.groups()
    message = (
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can "
        "help at https://support.stripe.com/."
    )
    raise StripeError(404, message, replayable=False)


def views() -> dict[str, Any]:
    """Return the view function of each kind of object."""
    return {
        "billing.meter_event": meters.event_view, "quote": quotes.view,
        "invoice": invoices.view, "credit_note": credit_notes.view, "subscription": subscriptions.view,
        "event": events.view, "webhook_endpoint": events.endpoint_view, "balance_transaction": balance.view,
        "dispute": disputes.view,
    }  # fmt: skip


def dues() -> dict[str, Callable[[Obj], int | None]]:
    """Return the function that gives the next automatic work of each kind of object."""
    return {
        "tax_id": tax_ids.due, "subscription_schedule": schedules.due, "quote": quotes.due,
        "invoice": invoices.due, "subscription": subscriptions.due, "refund": refunds.due, "dispute": disputes.due,
        "payout": payouts.due, "balance_transaction": balance.due, "charge": debits.due,
    }  # fmt: skip
