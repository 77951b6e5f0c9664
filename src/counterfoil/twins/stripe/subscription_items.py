"""Items of subscriptions: their prices, quantities and prorations."""

from __future__ import annotations

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.amounts import line_amount, share
from counterfoil.twins.stripe.catalog import RECURRING_DATA, price_of, tax_rates
from counterfoil.twins.stripe.errors import Obj, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.meters import is_metered

PRORATION = ("always_invoice", "create_prorations", "none")
NEW_ITEM: Shape = {
    "price": "str", "plan": "str", "quantity": "uint", "metadata": "meta", "tax_rates": ["str"],
    "price_data": RECURRING_DATA,
}  # fmt: skip
ITEM: Shape = {**NEW_ITEM, "id": "str", "deleted": "bool"}


def recurring_price(account: StripeAccount, item: Obj, position: int) -> Obj:
    """Return the price of an item. It must be active, unless it is inline or `_agreed` by a schedule before."""
    price = price_of(
        account, {**item, "price": item.get("price") or item.get("plan")}, f"items[{position}][price]"
    )
    if price["type"] != "recurring":
        raise refusal(
            "The price specified is set to `type=one_time` but this field only accepts prices with "
            "`type=recurring`.",
            f"items[{position}][price]",
        )
    if not price["active"] and not price.get("_inline") and not item.get("_agreed"):
        message = "The price specified is inactive. This field only accepts active prices."
        raise refusal(message, f"items[{position}][price]")
    return price


def interval(price: Obj) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def quantity_of(price: Obj, params: Obj, current: int | None = None) -> Obj:
    """Return the quantity of an item; one of metered usage has none."""
    quantity = params.get("quantity")
    if not is_metered(price):
        return {"quantity": quantity if quantity is not None else 1 if current is None else current}
    if quantity is not None:
        raise refusal("Quantity should not be specified where usage_type is `metered`.", "items[quantity]")
    return {}


def add_item(account: StripeAccount, subscription: Obj, item: Obj, price: Obj) -> Obj:
    return account.create("subscription_item", {
        "billing_thresholds": None, "metadata": merge({}, item.get("metadata") or {}), "price": price,
        **quantity_of(price, item), "subscription": subscription["id"],
        "tax_rates": tax_rates(account, item.get("tax_rates"), "items[tax_rates]"),
    }, parent=subscription["id"])  # fmt: skip


def product_name(account: StripeAccount, price: Obj) -> str:
    product = account.find("product", price["product"])
    return str(product["name"]) if product else str(price["product"])


def change_item(
    account: StripeAccount, subscription: Obj, changes: Obj, params: Obj, position: int = 0
) -> None:
    if not changes.get("id"):
        price = recurring_price(account, changes, position)
        prorate(account, subscription, params, None, add_item(account, subscription, changes, price))
        return
    item = account.get("subscription_item", changes["id"], f"items[{position}][id]")
    if item["subscription"] != subscription["id"]:
        raise refusal("The subscription item is of another subscription.", f"items[{position}][id]")
    old = dict(item)
    if changes.get("deleted"):
        if len(account.of("subscription_item", subscription["id"])) == 1:
            raise refusal("A subscription must have at least one active plan.", f"items[{position}][deleted]")
        account.remove(item["id"])
        prorate(account, subscription, params, old, None)
        return
    if changes.get("price") or changes.get("price_data"):
        item["price"] = recurring_price(account, changes, position)
    item.update(quantity_of(item["price"], changes, item.pop("quantity", None)))
    if "metadata" in changes:
        item["metadata"] = merge(item["metadata"], changes["metadata"])
    if "tax_rates" in changes:
        item["tax_rates"] = tax_rates(account, changes["tax_rates"], "tax_rates")
    account.save(item)
    prorate(account, subscription, params, old, item)


def prorate(account: StripeAccount, subscription: Obj, params: Obj, old: Obj | None, new: Obj | None) -> None:
    """Credit the unused time of the old item and charge that of the new one, by the second, each rounded once."""
    if params.get("proration_behavior") == "none" or subscription["status"] == "trialing":
        return
    if old and new and (old["price"]["id"], old.get("quantity")) == (new["price"]["id"], new.get("quantity")):
        return
    start, finish = subscription["current_period_start"], subscription["current_period_end"]
    at = min(max(params.get("proration_date") or account.now, start), finish)
    for item, sign, word in ((old, -1, "Unused time on"), (new, 1, "Remaining time on")):
        if item is None or is_metered(item["price"]):
            continue
        full_amount = line_amount(item["price"]["unit_amount_decimal"], item["quantity"])
        amount = sign * share(full_amount, finish - at, finish - start)
        proration = account.create("invoiceitem", {
            "amount": amount, "currency": subscription["currency"], "customer": subscription["customer"],
            "date": account.now, "description": f"{word} {item['quantity']} × {product_name(account, item['price'])}",
            "discountable": False, "discounts": [], "invoice": None, "metadata": {},
            "period": {"start": at, "end": finish}, "price": item["price"], "proration": True,
            "quantity": item["quantity"], "subscription": subscription["id"], "subscription_item": item["id"],
            "tax_rates": item["tax_rates"], "test_clock": None, "unit_amount": item["price"]["unit_amount"],
            "unit_amount_decimal": item["price"]["unit_amount_decimal"],
        })  # fmt: skip
        account.emit("invoiceitem.created", proration)
