"""Invoice items and invoice lines: the content of a draft, with the tax of each line."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from counterfoil.twins.stripe import tax_ids
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.amounts import decimal_text, line_amount, taxes
from counterfoil.twins.stripe.catalog import PRICE_DATA, TAX_BEHAVIORS, filters, price_of, tax_rates
from counterfoil.twins.stripe.currencies import check_amount, currency
from counterfoil.twins.stripe.customer_balance import amount_due, same_currency
from counterfoil.twins.stripe.errors import Obj, invalid, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import PAGING, page
from counterfoil.twins.stripe.meters import update_usage

PERIOD: Shape = {"start!": "time", "end!": "time"}
ITEM: Shape = {
    "customer!": "str", "amount": "int", "currency": "str", "description": "str", "discountable": "bool",
    "invoice": "str", "metadata": "meta", "period": PERIOD, "price": "str", "quantity": "uint",
    "subscription": "str", "tax_rates": ["str"], "unit_amount": "int", "unit_amount_decimal": "dec",
    "price_data": PRICE_DATA, "tax_behavior": TAX_BEHAVIORS,
}  # fmt: skip
_FIXED = ("customer!", "currency", "invoice", "subscription")
ITEM_UPDATE: Shape = {name: kind for name, kind in ITEM.items() if name not in _FIXED}
LIST_ITEMS: Shape = {**PAGING, "customer": "str", "invoice": "str", "pending": "bool"}
ADD_LINES: Shape = {
    "invoice_metadata": "meta",
    "lines!": [{
        "amount": "int", "description": "str", "discountable": "bool", "invoice_item": "str", "metadata": "meta",
        "period": PERIOD, "price": "str", "price_data": PRICE_DATA, "quantity": "uint", "tax_rates": ["str"],
    }],
}  # fmt: skip
REMOVE_LINES: Shape = {
    "invoice_metadata": "meta", "lines!": [{"id!": "str", "behavior!": ("delete", "unassign")}],
}  # fmt: skip
_AMOUNTS = ("amount", "price", "price_data", "unit_amount", "unit_amount_decimal")
_EXEMPTIONS = {"exempt": "customer_exempt", "reverse": "reverse_charge"}
"""Reason that a tax is zero for the `tax_exempt` of a customer. The vendor gives none for its manual rates otherwise."""


def draft_only(invoice: Obj) -> None:
    if invoice["status"] != "draft":
        raise refusal("This invoice is no longer editable", code="invoice_not_editable")


def _item_amounts(account: StripeAccount, params: Obj, fallback: str | None) -> Obj:
    """Return amount, unit amount, quantity, price and currency of an item, from any of the accepted parameters."""
    amount_keys = [name for name in _AMOUNTS if params.get(name) is not None]
    if len(amount_keys) != 1:
        message = "You must specify exactly one of `amount`, `price`, `price_data`, `unit_amount` or `unit_amount_decimal`."
        raise invalid(message, "amount", "parameter_missing")
    quantity = 1 if params.get("quantity") is None else params["quantity"]
    price: Obj | None = None
    if amount_keys == ["amount"]:
        if params.get("quantity") not in (None, 1):
            raise invalid("You may not specify `quantity` together with `amount`.", "quantity")
        exact = Decimal(params["amount"])
        code = currency(params.get("currency") or fallback)
        check_amount(params["amount"], code, "amount")
    elif amount_keys[0].startswith("price"):
        price = price_of(account, params, "price")
        if price["type"] != "one_time":
            raise refusal(
                "The price specified is set to `type=recurring` but this field only accepts prices with "
                "`type=one_time`.",
                "price",
            )
        exact, code = Decimal(price["unit_amount_decimal"]), price["currency"]
    else:
        exact = Decimal(params[amount_keys[0]])
        code = currency(params.get("currency") or fallback)
        check_amount(params.get("unit_amount"), code, "unit_amount")
    return {
        "amount": line_amount(str(exact), quantity), "currency": code, "price": price, "quantity": quantity,
        "unit_amount": int(exact) if exact == int(exact) else None, "unit_amount_decimal": decimal_text(exact),
    }  # fmt: skip


def create_item(account: StripeAccount, params: Obj) -> Obj:
    customer = account.get("customer", params["customer"], "customer")
    invoice = None
    if params.get("invoice"):
        invoice = account.get("invoice", params["invoice"], "invoice")
        draft_only(invoice)
        if invoice["customer"] != customer["id"]:
            raise refusal("The invoice does not belong to this customer.", "invoice")
    item_amounts = _item_amounts(account, params, invoice["currency"] if invoice else customer["currency"])
    if invoice and item_amounts["currency"] != invoice["currency"]:
        raise refusal("The currency of the invoice item does not match that of the invoice.", "currency")
    same_currency(account, customer, item_amounts["currency"])
    period = params.get("period") or {"start": account.now, "end": account.now}
    item = account.create("invoiceitem", {
        **item_amounts, "customer": customer["id"], "date": account.now, "description": params.get("description"),
        "discountable": params.get("discountable", True), "discounts": [], "invoice": None,
        "metadata": merge({}, params.get("metadata") or {}), "period": period, "proration": False,
        "subscription": params.get("subscription"), "tax_rates": tax_rates(account, params.get("tax_rates"),
                                                                          "tax_rates"), "test_clock": None,
    })  # fmt: skip
    account.emit("invoiceitem.created", item)
    if invoice:
        place_item(account, invoice, item)
        total(account, invoice)
    return item


def update_item(account: StripeAccount, params: Obj, id: str) -> Obj:
    item = account.get("invoiceitem", id)
    invoice = account.get("invoice", item["invoice"]) if item["invoice"] else None
    if invoice:
        draft_only(invoice)
    before = dict(item)
    if {*_AMOUNTS, "quantity"} & params.keys():
        item_params = {"currency": item["currency"], **params}
        if item_params.keys().isdisjoint(_AMOUNTS):
            item_params["unit_amount_decimal"] = Decimal(item["unit_amount_decimal"])
        item.update(_item_amounts(account, item_params, item["currency"]))
    for name in ("description", "discountable", "period"):
        if name in params:
            item[name] = params[name]
    if "metadata" in params:
        item["metadata"] = merge(item["metadata"], params["metadata"])
    if "tax_rates" in params:
        item["tax_rates"] = tax_rates(account, params["tax_rates"], "tax_rates")
    account.publish("invoiceitem.updated", item, before)
    if invoice:
        line = next(line for line in account.of("line_item", invoice["id"]) if line.get("invoice_item") == id)
        line.update(_from_item(item))
        account.save(tax_line(invoice, line))
        total(account, invoice)
    return item


def delete_item(account: StripeAccount, params: Obj, id: str) -> Obj:
    item = account.get("invoiceitem", id)
    if item["invoice"]:
        invoice = account.get("invoice", item["invoice"])
        draft_only(invoice)
        for line in account.of("line_item", invoice["id"]):
            if line.get("invoice_item") == id:
                account.remove(line["id"])
        total(account, invoice)
    account.remove(id)
    account.emit("invoiceitem.deleted", item)
    return {"id": id, "object": "invoiceitem", "deleted": True}


def list_items(account: StripeAccount, params: Obj) -> Obj:
    conditions, values = filters(params, "customer", "invoice")
    if params.get("pending") is not None:
        conditions.append(f"json_extract(body, '$.invoice') is {'' if params['pending'] else 'not '}null")
    return page(account, "invoiceitem", params, "/v1/invoiceitems", conditions, values)


def pending(account: StripeAccount, customer: str, code: str, subscription: str | None = None) -> list[Obj]:
    """Return the items for the next invoice of the customer in this currency."""
    message = (
        "customer = ? and json_extract(body, '$.invoice') is null and json_extract(body, '$.currency') = ? "
        "and (json_extract(body, '$.subscription') is null or json_extract(body, '$.subscription') = ?)"
    )
    return account.where("invoiceitem", message, (customer, code, subscription))


def _from_item(item: Obj) -> Obj:
    return {name: item[name] for name in (
        "amount", "currency", "description", "discountable", "metadata", "period", "price", "proration", "quantity",
        "subscription", "tax_rates",
    )}  # fmt: skip


def place_item(account: StripeAccount, invoice: Obj, item: Obj) -> Obj:
    item["invoice"] = invoice["id"]
    account.save(item)
    values = {**_from_item(item), "invoice_item": item["id"], "type": "invoiceitem"}
    return place_line(account, invoice, values)


def place_line(account: StripeAccount, invoice: Obj, fields: Obj) -> Obj:
    """Append a line to a draft; the caller must call `total` afterwards."""
    line = account.create("line_item", {
        "currency": invoice["currency"], "discount_amounts": [], "discountable": True, "discounts": [],
        "metadata": {}, "price": None, "proration": False, "proration_details": {"credited_items": None},
        "subscription": None, "tax_rates": [], **fields,
    }, parent=invoice["id"])  # fmt: skip
    return account.save(tax_line(invoice, line))


def tax_line(invoice: Obj, line: Obj) -> Obj:
    """Compute the tax of one line from its own rates, or else from the default rates of the document."""
    rates = line["tax_rates"] or invoice["default_tax_rates"]
    net, line["tax_amounts"] = tax_of(line["amount"], rates, exemption(invoice))
    line["amount_excluding_tax"] = net
    unit = (Decimal(net) / (line["quantity"] or 1)).quantize(Decimal("0.000000000001"))
    line["unit_amount_excluding_tax"] = decimal_text(unit)
    return line


def exemption(invoice: Obj) -> str | None:
    """Return the reason that the customer of a document pays no tax."""
    return _EXEMPTIONS.get(invoice["customer_tax_exempt"] or "")


def tax_of(amount: int, rates: list[Obj], exempt: str | None) -> tuple[int, list[Obj]]:
    """Return the amount without inclusive tax, and the tax of each rate. An exempt customer pays the whole amount."""
    percentages = [Decimal(0) if exempt else Decimal(str(rate["percentage"])) for rate in rates]
    inclusive = [rate["inclusive"] for rate in rates]
    tax_figures = taxes(amount, list(zip(percentages, inclusive, strict=True)))
    return split_tax(amount, tax_figures, rates, exempt)


def split_tax(
    amount: int, tax_figures: list[int], rates: list[Obj], exempt: str | None
) -> tuple[int, list[Obj]]:
    """Return the amount without inclusive tax, and the tax of each rate as documents show it."""
    pairs = list(zip(tax_figures, rates, strict=True))
    net = amount - sum(figure for figure, rate in pairs if rate["inclusive"])
    return net, [
        {"amount": figure, "inclusive": rate["inclusive"], "tax_rate": rate["id"], "taxability_reason": exempt,
         "taxable_amount": net}
        for figure, rate in pairs
    ]  # fmt: skip


def sum_taxes(document_lines: list[Obj]) -> list[Obj]:
    """Return the tax of a document by rate."""
    totals: dict[str, Obj] = {}
    for tax in (tax for line in document_lines for tax in line["tax_amounts"]):
        rate_total = totals.setdefault(tax["tax_rate"], {**tax, "amount": 0, "taxable_amount": 0})
        rate_total["amount"] += tax["amount"]
        rate_total["taxable_amount"] += tax["taxable_amount"]
    return list(totals.values())


def total(account: StripeAccount, invoice: Obj) -> Obj:
    """Add up the lines of a draft, by the present usage, tax status and balance of its customer."""
    customer = account.get("customer", invoice["customer"])
    invoice_lines = account.of("line_item", invoice["id"])
    status_changed = invoice["customer_tax_exempt"] != customer["tax_exempt"]
    invoice["customer_tax_exempt"] = customer["tax_exempt"]
    for line in invoice_lines:
        if update_usage(account, customer["id"], line) or status_changed:
            account.save(tax_line(invoice, line))
    subtotal = sum(line["amount"] for line in invoice_lines)
    net = sum(line["amount_excluding_tax"] for line in invoice_lines)
    tax_totals = sum_taxes(invoice_lines)
    exclusive_tax = sum(tax["amount"] for tax in tax_totals if not tax["inclusive"])
    due = amount_due(subtotal + exclusive_tax, customer["balance"], invoice["currency"])
    invoice.update({
        "customer_tax_ids": tax_ids.of_customer(account, customer["id"]),
        "subtotal": subtotal, "subtotal_excluding_tax": net, "total": subtotal + exclusive_tax,
        "total_excluding_tax": net, "total_tax_amounts": tax_totals,
        "tax": sum(tax["amount"] for tax in tax_totals) if tax_totals else None,
        "starting_balance": customer["balance"], "amount_due": due, "amount_remaining": due,
    })  # fmt: skip
    return account.save(invoice)


def add_lines(account: StripeAccount, params: Obj, id: str) -> Obj:
    invoice = account.get("invoice", id)
    draft_only(invoice)
    before = dict(invoice)
    for position, line_params in enumerate(params["lines"]):
        if line_params.get("invoice_item"):
            item = account.get("invoiceitem", line_params["invoice_item"], f"lines[{position}][invoice_item]")
            if item["invoice"] or item["customer"] != invoice["customer"]:
                raise refusal("The invoice item is already on an invoice, or of another customer.", "lines")
        else:
            values = {"currency": invoice["currency"], **line_params, "customer": invoice["customer"]}
            item = create_item(account, values)
        place_item(account, invoice, item)
    if "invoice_metadata" in params:
        invoice["metadata"] = merge(invoice["metadata"], params["invoice_metadata"])
    total(account, invoice)
    account.emit("invoice.updated", invoice, before)
    return invoice


def remove_lines(account: StripeAccount, params: Obj, id: str) -> Obj:
    """Delete lines of a draft together with their invoice items, or only take the items off the draft."""
    invoice = account.get("invoice", id)
    draft_only(invoice)
    before = dict(invoice)
    own_lines = {line["id"]: line for line in account.of("line_item", id)}
    for position, line_params in enumerate(params["lines"]):
        line = own_lines.pop(line_params["id"], None)
        if line is None:
            param = f"lines[{position}][id]"
            raise invalid(f"No such line on this invoice: '{line_params['id']}'", param, "resource_missing")
        account.remove(line["id"])
        item = account.find("invoiceitem", line.get("invoice_item", ""))
        if item and line_params["behavior"] == "unassign":
            account.save({**item, "invoice": None})
        elif item:
            account.remove(item["id"])
            account.emit("invoiceitem.deleted", item)
    if "invoice_metadata" in params:
        invoice["metadata"] = merge(invoice["metadata"], params["invoice_metadata"])
    total(account, invoice)
    account.emit("invoice.updated", invoice, before)
    return invoice


def line_arguments(price: Obj, quantity: int) -> dict[str, Any]:
    amount = line_amount(price["unit_amount_decimal"], quantity)
    return {"amount": amount, "price": price, "quantity": quantity}
