"""Phases of subscription schedules: their dates, items, and the change that they make to a subscription."""

from __future__ import annotations

from typing import Any

from counterfoil.twins.stripe import subscriptions
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.catalog import PRICE_DATA, RECURRING_DATA, price_of, tax_rates
from counterfoil.twins.stripe.errors import Obj, invalid, missing_parameter, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.invoices import COLLECTION
from counterfoil.twins.stripe.lines import create_item
from counterfoil.twins.stripe.subscription_items import (
    PRORATION,
    change_item,
    interval,
    quantity_of,
    recurring_price,
)

_ONCE: Shape = {"price": "str", "price_data": PRICE_DATA, "quantity": "uint", "tax_rates": ["str"]}
_PHASE: Shape = {
    "items!": [{**_ONCE, "price_data": RECURRING_DATA, "metadata": "meta"}], "add_invoice_items": [_ONCE], "collection_method": COLLECTION,
    "default_payment_method": "str", "default_tax_rates": ["str"], "description": "str",
    "end_date": "any", "iterations": "amount", "invoice_settings": {"days_until_due": "uint"},
    "metadata": "meta", "proration_behavior": PRORATION, "trial": "bool", "trial_end": "time",
    "billing_cycle_anchor": ("automatic", "phase_start"),
}  # fmt: skip
NEW_PHASE: Shape = {**_PHASE, "currency": "str"}
PHASE: Shape = {**_PHASE, "start_date": "any"}


def build(account: StripeAccount, phases: list[Obj], start: int, settings: Obj) -> list[Obj]:
    """Return the phases one after another from `start`, in UTC seconds."""
    results: list[Obj] = []
    for position, params in enumerate(phases):
        name = f"phases[{position}]"
        begin = results[-1]["end_date"] if results else start
        if position and params.get("start_date") not in (None, "", str(begin)):
            message = "The start date of a phase must be the end date of the phase before."
            raise refusal(message, f"{name}[start_date]")
        results.append(_phase(account, params, begin, name, settings))
    if len({phase["currency"] for phase in results}) > 1:
        raise refusal("All phases of a schedule must have the same currency.", "phases")
    return results


def _phase(account: StripeAccount, params: Obj, start: int, name: str, settings: Obj) -> Obj:
    if not params["items"]:
        raise missing_parameter(f"{name}[items]")
    prices = [recurring_price(account, item, place) for place, item in enumerate(params["items"])]
    if len({(price["currency"], *interval(price)) for price in prices}) > 1:
        message = "All prices of a phase must have the same currency and interval."
        raise refusal(message, f"{name}[items]")
    if params.get("currency") not in (None, prices[0]["currency"]):
        raise refusal("The currency of a phase must be that of its prices.", f"{name}[currency]")
    end = _end(account, params, start, prices[0], name)
    terms = params.get("invoice_settings") or settings["invoice_settings"]
    if params.get("collection_method") == "send_invoice" and (terms or {}).get("days_until_due") is None:
        message = "You must pass `days_until_due` when `collection_method` is `send_invoice`."
        raise invalid(message, f"{name}[invoice_settings][days_until_due]", "parameter_missing")
    return {
        "add_invoice_items": [
            _once(account, item, f"{name}[add_invoice_items][{place}]")
            for place, item in enumerate(params.get("add_invoice_items") or [])],
        "application_fee_percent": None, "automatic_tax": {"enabled": False},
        "billing_cycle_anchor": params.get("billing_cycle_anchor"), "billing_thresholds": None,
        "collection_method": params.get("collection_method"), "coupon": None, "currency": prices[0]["currency"],
        "default_payment_method": params.get("default_payment_method"),
        "default_tax_rates": tax_rates(account, params.get("default_tax_rates"), f"{name}[default_tax_rates]"),
        "description": params.get("description"), "end_date": end,
        "invoice_settings": terms if params.get("collection_method") else params.get("invoice_settings"),
        "items": [_item(account, item, price, f"{name}[items]")
                  for item, price in zip(params["items"], prices, strict=True)],
        "metadata": merge({}, params.get("metadata") or {}), "on_behalf_of": None,
        "proration_behavior": params.get("proration_behavior") or "create_prorations", "start_date": start,
        "transfer_data": None, "trial_end": end if params.get("trial") else params.get("trial_end"),
    }  # fmt: skip


def _end(account: StripeAccount, params: Obj, start: int, price: Obj, name: str) -> int:
    """Return the end of a phase: its date, or its number of periods, which is one if it has neither."""
    value: Any = params.get("end_date")
    if value and params.get("iterations"):
        message = "You may only specify one of `end_date` and `iterations`."
        raise invalid(message, f"{name}[end_date]")
    if not value:
        return subscriptions.step(start, price, params.get("iterations") or 1)
    if value != "now" and not (isinstance(value, str) and value.isdigit()):
        raise invalid("Invalid end_date: must be a timestamp or `now`.", f"{name}[end_date]")
    end = account.now if value == "now" else int(value)
    if end <= start:
        raise refusal("The end date of a phase must be after its start date.", f"{name}[end_date]")
    return end


def _item(account: StripeAccount, params: Obj, price: Obj, name: str) -> Obj:
    return {
        "billing_thresholds": None, "metadata": merge({}, params.get("metadata") or {}), "price": price["id"],
        **quantity_of(price, params), "tax_rates": tax_rates(account, params.get("tax_rates"), f"{name}[tax_rates]"),
    }  # fmt: skip


def _once(account: StripeAccount, params: Obj, name: str) -> Obj:
    price = price_of(account, params, f"{name}[price]")
    if price["type"] != "one_time":
        raise refusal("Only prices with `type=one_time` can be added to an invoice.", f"{name}[price]")
    return {
        "price": price["id"], "quantity": 1 if params.get("quantity") is None else params["quantity"],
        "tax_rates": tax_rates(account, params.get("tax_rates"), f"{name}[tax_rates]"),
    }  # fmt: skip


def as_items(items: list[Obj]) -> list[Obj]:
    """Return items of a phase or of a subscription as parameters of a request."""
    return [
        {"price": item["price"]["id"] if isinstance(item["price"], dict) else item["price"],
         "quantity": item.get("quantity"), "_agreed": True, "metadata": item.get("metadata") or {},
         "tax_rates": [rate["id"] for rate in item["tax_rates"]]}
        for item in items
    ]  # fmt: skip


def change_subscription(account: StripeAccount, subscription: Obj, phase: Obj, behavior: str) -> None:
    """Give the subscription the items and terms of a phase. At the end of a period nothing is prorated."""
    before = account.view(subscription)
    at_end = subscription["current_period_end"] <= account.now
    old_items = account.of("subscription_item", subscription["id"])
    if phase["collection_method"]:
        subscription["collection_method"] = phase["collection_method"]
    if days := (phase["invoice_settings"] or {}).get("days_until_due"):
        subscription["days_until_due"] = days
    subscription.update(
        default_tax_rates=phase["default_tax_rates"], description=phase["description"],
        default_payment_method=phase["default_payment_method"] or subscription["default_payment_method"],
        metadata={**subscription["metadata"], **phase["metadata"]},
    )  # fmt: skip
    prices = {item["price"] for item in phase["items"]}
    if at_end:
        # Their usage of the ending period is still to be billed.
        subscription["_ended"] = [item for item in old_items if item["price"]["id"] not in prices]
    proration = {"proration_behavior": "none" if at_end else behavior}
    for position, changes in enumerate(_changes(old_items, phase)):
        change_item(account, subscription, changes, proration, position)
    for once in phase["add_invoice_items"]:
        line = {
            "customer": subscription["customer"],
            "subscription": subscription["id"],
            **as_items([once])[0],
        }
        create_item(account, line)
    price = account.get("price", phase["items"][0]["price"])
    if phase["billing_cycle_anchor"] == "phase_start" or interval(price) != interval(old_items[0]["price"]):
        now = account.now
        subscription.update(billing_cycle_anchor=now, _periods=0, current_period_end=now)
    account.save(subscription)
    account.emit("customer.subscription.updated", subscription, before)
    if proration["proration_behavior"] == "always_invoice":
        subscriptions.bill_now(account, subscription)


def _changes(old_items: list[Obj], phase: Obj) -> list[Obj]:
    """Return the changes from the items of a subscription to those of a phase; removals come last."""
    ids = {item["price"]["id"]: item["id"] for item in old_items}
    changes = []
    for params in as_items(phase["items"]):
        id = ids.pop(params["price"], None)
        changes.append(params if id is None else {**params, "id": id})
    return changes + [{"id": id, "deleted": True} for id in ids.values()]
