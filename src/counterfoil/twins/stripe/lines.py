"""Invoice items and invoice lines: what a draft is built from, with the tax of each line."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from counterfoil.twins.stripe.account import Account
from counterfoil.twins.stripe.amounts import decimal_text, priced, taxes
from counterfoil.twins.stripe.catalog import currency, filters, tax_rates
from counterfoil.twins.stripe.customers import same_currency
from counterfoil.twins.stripe.forms import Shape, merged
from counterfoil.twins.stripe.listing import PAGING, page
from counterfoil.twins.stripe.refusal import Obj, bad, bad_parameter

PERIOD: Shape = {"start!": "time", "end!": "time"}
ITEM: Shape = {
    "customer!": "str", "amount": "int", "currency": "str", "description": "str", "discountable": "bool",
    "invoice": "str", "metadata": "meta", "period": PERIOD, "price": "str", "quantity": "uint",
    "subscription": "str", "tax_rates": ["str"], "unit_amount": "int", "unit_amount_decimal": "dec",
}  # fmt: skip
ITEM_UPDATE: Shape = {
    name: kind
    for name, kind in ITEM.items()
    if name not in ("customer!", "currency", "invoice", "subscription")
}
LIST_ITEMS: Shape = {**PAGING, "customer": "str", "invoice": "str", "pending": "bool"}
ADD_LINES: Shape = {
    "invoice_metadata": "meta",
    "lines!": [{
        "amount": "int", "description": "str", "discountable": "bool", "invoice_item": "str", "metadata": "meta",
        "period": PERIOD, "price": "str", "quantity": "uint", "tax_rates": ["str"],
    }],
}  # fmt: skip
PAGE: Shape = {name: kind for name, kind in PAGING.items() if name != "created"}


def draft_only(invoice: Obj) -> None:
    if invoice["status"] != "draft":
        raise bad("This invoice is no longer editable", code="invoice_not_editable")


def _worth(account: Account, given: Obj, fallback: str | None) -> Obj:
    """Amount, unit amount, quantity, price and currency of an item, however they were given."""
    ways = [
        name
        for name in ("amount", "price", "unit_amount", "unit_amount_decimal")
        if given.get(name) is not None
    ]
    if len(ways) != 1:
        raise bad_parameter(
            "You must specify exactly one of `amount`, `price`, `unit_amount` or `unit_amount_decimal`.",
            "parameter_missing",
            "amount",
        )
    quantity = 1 if given.get("quantity") is None else given["quantity"]
    price: Obj | None = None
    if ways == ["amount"]:
        if given.get("quantity") not in (None, 1):
            raise bad_parameter(
                "You may not specify `quantity` together with `amount`.", "parameter_invalid", "quantity"
            )
        exact = Decimal(given["amount"])
        code = currency(given.get("currency") or fallback)
    elif ways == ["price"]:
        price = account.get("price", given["price"], "price")
        if price["type"] != "one_time":
            raise bad(
                "The price specified is set to `type=recurring` but this field only accepts prices with "
                "`type=one_time`.",
                param="price",
            )
        exact, code = Decimal(price["unit_amount_decimal"]), price["currency"]
    else:
        exact = Decimal(given[ways[0]])
        code = currency(given.get("currency") or fallback)
    return {
        "amount": priced(str(exact), quantity), "currency": code, "price": price, "quantity": quantity,
        "unit_amount": int(exact) if exact == int(exact) else None, "unit_amount_decimal": decimal_text(exact),
    }  # fmt: skip


def create_item(account: Account, given: Obj) -> Obj:
    customer = account.get("customer", given["customer"], "customer")
    invoice = None
    if given.get("invoice"):
        invoice = account.get("invoice", given["invoice"], "invoice")
        draft_only(invoice)
        if invoice["customer"] != customer["id"]:
            raise bad("The invoice does not belong to this customer.", param="invoice")
    worth = _worth(account, given, invoice["currency"] if invoice else customer["currency"])
    if invoice and worth["currency"] != invoice["currency"]:
        raise bad("The currency of the invoice item does not match that of the invoice.", param="currency")
    same_currency(account, customer, worth["currency"])
    period = given.get("period") or {"start": account.now, "end": account.now}
    item = account.create("invoiceitem", {
        **worth, "customer": customer["id"], "date": account.now, "description": given.get("description"),
        "discountable": given.get("discountable", True), "discounts": [], "invoice": None,
        "metadata": merged({}, given.get("metadata") or {}), "period": period, "proration": False,
        "subscription": given.get("subscription"), "tax_rates": tax_rates(account, given.get("tax_rates"),
                                                                          "tax_rates"), "test_clock": None,
    })  # fmt: skip
    account.emit("invoiceitem.created", item)
    if invoice:
        place_item(account, invoice, item)
        total(account, invoice)
    return item


def update_item(account: Account, given: Obj, id: str) -> Obj:
    item = account.get("invoiceitem", id)
    invoice = account.get("invoice", item["invoice"]) if item["invoice"] else None
    if invoice:
        draft_only(invoice)
    before = dict(item)
    if {"amount", "price", "unit_amount", "unit_amount_decimal", "quantity"} & given.keys():
        wanted = {"currency": item["currency"], **given}
        if wanted.keys().isdisjoint({"amount", "price", "unit_amount", "unit_amount_decimal"}):
            wanted["unit_amount_decimal"] = Decimal(item["unit_amount_decimal"])
        item.update(_worth(account, wanted, item["currency"]))
    for name in ("description", "discountable", "period"):
        if name in given:
            item[name] = given[name]
    if "metadata" in given:
        item["metadata"] = merged(item["metadata"], given["metadata"])
    if "tax_rates" in given:
        item["tax_rates"] = tax_rates(account, given["tax_rates"], "tax_rates")
    account.save(item)
    account.emit("invoiceitem.updated", item, before)
    if invoice:
        line = next(line for line in account.of("line_item", invoice["id"]) if line.get("invoice_item") == id)
        line.update(_from_item(item))
        account.save(tax_line(invoice, line))
        total(account, invoice)
    return item


def delete_item(account: Account, given: Obj, id: str) -> Obj:
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


def get_item(account: Account, given: Obj, id: str) -> Obj:
    return account.get("invoiceitem", id)


def list_items(account: Account, given: Obj) -> Obj:
    conditions, values = filters(given, "customer", "invoice")
    if given.get("pending") is not None:
        conditions.append(f"json_extract(body, '$.invoice') is {'' if given['pending'] else 'not '}null")
    return page(account, "invoiceitem", given, "/v1/invoiceitems", conditions, values)


def pending(account: Account, customer: str, code: str, subscription: str | None = None) -> list[Obj]:
    """Items that wait for the customer's next invoice in this currency."""
    return account.where(
        "invoiceitem",
        "customer = ? and json_extract(body, '$.invoice') is null and json_extract(body, '$.currency') = ? "
        "and (json_extract(body, '$.subscription') is null or json_extract(body, '$.subscription') = ?)",
        (customer, code, subscription),
    )


def _from_item(item: Obj) -> Obj:
    return {name: item[name] for name in (
        "amount", "currency", "description", "discountable", "metadata", "period", "price", "proration", "quantity",
        "subscription", "tax_rates",
    )}  # fmt: skip


def place_item(account: Account, invoice: Obj, item: Obj) -> Obj:
    item["invoice"] = invoice["id"]
    account.save(item)
    return place_line(
        account, invoice, {**_from_item(item), "invoice_item": item["id"], "type": "invoiceitem"}
    )


def place_line(account: Account, invoice: Obj, fields: Obj) -> Obj:
    """Put a line at the end of a draft; `total` must follow."""
    line = account.create("line_item", {
        "currency": invoice["currency"], "discount_amounts": [], "discountable": True, "discounts": [],
        "metadata": {}, "price": None, "proration": False, "proration_details": {"credited_items": None},
        "subscription": None, "tax_rates": [], **fields,
    }, parent=invoice["id"])  # fmt: skip
    return account.save(tax_line(invoice, line))


def tax_line(invoice: Obj, line: Obj) -> Obj:
    """Compute one line's tax from its own rates, or else the document's default rates."""
    rates = line["tax_rates"] or invoice["default_tax_rates"]
    exempt = {"exempt": "customer_exempt", "reverse": "reverse_charge"}.get(
        invoice["customer_tax_exempt"] or ""
    )
    figures = taxes(line["amount"], [(Decimal(0) if exempt else Decimal(str(rate["percentage"])), rate["inclusive"])
                                     for rate in rates])  # fmt: skip
    inside = sum(figure for figure, rate in zip(figures, rates, strict=True) if rate["inclusive"])
    line["amount_excluding_tax"] = line["amount"] - inside
    line["tax_amounts"] = [
        {"amount": figure, "inclusive": rate["inclusive"], "tax_rate": rate["id"], "taxability_reason": exempt,
         "taxable_amount": line["amount"] - inside}
        for figure, rate in zip(figures, rates, strict=True)
    ]  # fmt: skip
    quantity = line["quantity"] or 1
    line["unit_amount_excluding_tax"] = decimal_text(
        (Decimal(line["amount_excluding_tax"]) / quantity).quantize(Decimal("0.000000000001"))
    )
    return line


def total(account: Account, invoice: Obj) -> Obj:
    """Add up a draft's lines."""
    summed: dict[str, Obj] = {}
    subtotal = net = outside = 0
    for line in account.of("line_item", invoice["id"]):
        subtotal += line["amount"]
        net += line["amount_excluding_tax"]
        for tax in line["tax_amounts"]:
            outside += 0 if tax["inclusive"] else tax["amount"]
            into = summed.setdefault(tax["tax_rate"], {**tax, "amount": 0, "taxable_amount": 0})
            into["amount"] += tax["amount"]
            into["taxable_amount"] += tax["taxable_amount"]
    balance = account.get("customer", invoice["customer"])["balance"]
    due = max(0, subtotal + outside + balance)
    invoice.update({
        "subtotal": subtotal, "subtotal_excluding_tax": net, "total": subtotal + outside,
        "total_excluding_tax": net, "total_tax_amounts": list(summed.values()),
        "tax": sum(tax["amount"] for tax in summed.values()) if summed else None,
        "starting_balance": balance, "amount_due": due, "amount_remaining": due,
    })  # fmt: skip
    return account.save(invoice)


def add_lines(account: Account, given: Obj, id: str) -> Obj:
    invoice = account.get("invoice", id)
    draft_only(invoice)
    before = dict(invoice)
    for place, wanted in enumerate(given["lines"]):
        if wanted.get("invoice_item"):
            item = account.get("invoiceitem", wanted["invoice_item"], f"lines[{place}][invoice_item]")
            if item["invoice"] or item["customer"] != invoice["customer"]:
                raise bad("The invoice item is already on an invoice, or of another customer.", param="lines")
        else:
            item = create_item(
                account, {"currency": invoice["currency"], **wanted, "customer": invoice["customer"]}
            )
        place_item(account, invoice, item)
    if "invoice_metadata" in given:
        invoice["metadata"] = merged(invoice["metadata"], given["invoice_metadata"])
    total(account, invoice)
    account.emit("invoice.updated", invoice, before)
    return invoice


def list_lines(account: Account, given: Obj, id: str) -> Obj:
    account.get("invoice", id)
    return page(
        account, "line_item", given, f"/v1/invoices/{id}/lines", ["parent = ?"], [id], oldest_first=True
    )


def line_arguments(price: Obj, quantity: int) -> dict[str, Any]:
    """A subscription line's figures."""
    return {"amount": priced(price["unit_amount_decimal"], quantity), "price": price, "quantity": quantity}
