"""Line items of quotes, and what they add up to: upfront and per period."""

from __future__ import annotations

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.catalog import RECURRING_DATA, price_of, tax_rates
from counterfoil.twins.stripe.errors import Obj, refusal
from counterfoil.twins.stripe.forms import Shape
from counterfoil.twins.stripe.lines import exemption, line_arguments, tax_of
from counterfoil.twins.stripe.subscription_items import interval, product_name, quantity_of

NEW_LINE: Shape = {"price": "str", "price_data": RECURRING_DATA, "quantity": "uint", "tax_rates": ["str"]}
LINE: Shape = {**NEW_LINE, "id": "str"}


def replace_lines(account: StripeAccount, quote: Obj, lines: list[Obj]) -> None:
    """Replace the lines of a quote. A line with an id takes what it does not state from the line with that id."""
    old = {item["id"]: item for item in account.of("item", quote["id"])}
    new_lines = []
    for position, params in enumerate(lines):
        if params.get("id"):
            if params["id"] not in old:
                raise refusal(f"No such line item: '{params['id']}'", f"line_items[{position}][id]")
            params = {**as_lines([old[params["id"]]])[0], **params}
        new_lines.append((params, price_of(account, params, f"line_items[{position}][price]")))
    prices = [price for _, price in new_lines]
    if len({price["currency"] for price in prices}) > 1:
        raise refusal("All prices on a quote must have the same currency.", "line_items")
    if len({interval(price) for price in prices if price["recurring"]}) > 1:
        raise refusal("All recurring prices on a quote must have the same interval.", "line_items")
    quote["currency"] = prices[0]["currency"] if prices else None
    for id in old:
        account.remove(id)
    for params, price in new_lines:
        _add(account, quote, params, price)


def _add(account: StripeAccount, quote: Obj, params: Obj, price: Obj) -> None:
    if price["recurring"]:
        quantity = quantity_of(price, params).get("quantity")
    else:
        quantity = 1 if params.get("quantity") is None else params["quantity"]
    amount = line_arguments(price, quantity or 0)["amount"]
    customer = account.find("customer", quote["customer"] or "") or {"tax_exempt": "none"}
    rates = tax_rates(account, params.get("tax_rates"), "line_items[tax_rates]")
    own = rates or tax_rates(account, quote["default_tax_rates"], "default_tax_rates")
    _, taxes = tax_of(amount, own, exemption({"customer_tax_exempt": customer["tax_exempt"]}))
    account.create("item", {
        "amount_discount": 0, "amount_subtotal": amount, "amount_tax": sum(tax["amount"] for tax in taxes),
        "amount_total": amount + sum(tax["amount"] for tax in taxes if not tax["inclusive"]),
        "currency": price["currency"], "description": product_name(account, price), "discounts": [], "price": price,
        "quantity": quantity,
        "taxes": [
            {"amount": tax["amount"], "rate": rate, "taxability_reason": tax["taxability_reason"],
             "taxable_amount": tax["taxable_amount"]}
            for tax, rate in zip(taxes, own, strict=True)],
        "_rates": [rate["id"] for rate in rates],
    }, parent=quote["id"])  # fmt: skip


def as_lines(items: list[Obj]) -> list[Obj]:
    """Return stored items as parameters of a request."""
    return [
        {"price": item["price"]["id"], "quantity": item["quantity"], "tax_rates": item["_rates"]} for item in items
    ]  # fmt: skip


def sums(items: list[Obj]) -> tuple[int, int, Obj]:
    """Return subtotal, total and the details of the total, in minor units."""
    tax = sum(item["amount_tax"] for item in items)
    details = {"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax}
    return (
        sum(item["amount_subtotal"] for item in items),
        sum(item["amount_total"] for item in items),
        details,
    )


def computed(items: list[Obj], trial_days: int | None) -> Obj:
    """Return the sums of the first invoice, and of each period if the quote has recurring prices."""
    recurring = [item for item in items if item["price"]["recurring"]]
    upfront = [item for item in items if not trial_days or not item["price"]["recurring"]]
    result: Obj = {"recurring": None, "upfront": _totals(upfront)}
    if recurring:
        unit, count = interval(recurring[0]["price"])
        result["recurring"] = {**_totals(recurring), "interval": unit, "interval_count": count}
    return result


def _totals(items: list[Obj]) -> Obj:
    subtotal, total, details = sums(items)
    return {"amount_subtotal": subtotal, "amount_total": total, "total_details": details}
