"""Credit notes: corrections of finalized invoices.

On an open invoice a note lowers the remaining amount (`pre_payment`). On a paid one it is returned as refund, as customer
balance or outside Stripe, and the three must add up to its total (`post_payment`). A note by `amount` alone has no tax: it
is one custom line. A note by lines has the share of tax of each line.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.amounts import decimal_text, line_amount, share
from counterfoil.twins.stripe.catalog import filters, tax_rates
from counterfoil.twins.stripe.currencies import check_amount
from counterfoil.twins.stripe.customer_balance import credit
from counterfoil.twins.stripe.errors import Obj, invalid, missing_parameter, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.invoices import settle
from counterfoil.twins.stripe.lines import exemption, split_tax, sum_taxes, tax_of
from counterfoil.twins.stripe.listing import CURSORS, inline, page
from counterfoil.twins.stripe.payments import lower_intent
from counterfoil.twins.stripe.refunds import refund

CREATE: Shape = {
    "invoice!": "str", "amount": "amount", "credit_amount": "uint", "refund_amount": "uint", "refund": "str",
    "out_of_band_amount": "uint", "memo": "str", "metadata": "meta", "effective_at": "time",
    "reason": ("duplicate", "fraudulent", "order_change", "product_unsatisfactory"),
    "lines": [{
        "type!": ("custom_line_item", "invoice_line_item"), "amount": "uint", "description": "str",
        "invoice_line_item": "str", "quantity": "uint", "tax_rates": ["str"], "unit_amount": "int",
        "unit_amount_decimal": "dec",
    }],
}  # fmt: skip
PREVIEW_LINES: Shape = {**CREATE, **CURSORS}
UPDATE: Shape = {"memo": "str", "metadata": "meta"}
LIST: Shape = {**CURSORS, "customer": "str", "invoice": "str"}


def view(account: StripeAccount, note: Obj) -> Obj:
    if "lines" in note:
        return note
    url = f"/v1/credit_notes/{note['id']}/lines"
    return {**note, "lines": inline(account, "credit_note_line_item", note["id"], url)}


def create(account: StripeAccount, params: Obj) -> Obj:
    invoice = account.get("invoice", params["invoice"], "invoice")
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise refusal(
            f"The invoice {invoice['id']} is {invoice['status']}. You can only create credit notes on "
            "finalized invoices that are not void.",
            "invoice",
        )
    lines = _lines(account, invoice, params)
    amount = sum(line["amount"] + _outside(line) for line in lines)
    if params.get("amount") is not None and params["amount"] != amount:
        message = f"The credit note amount ({params['amount']}) must equal the total of its lines ({amount})."
        raise refusal(message, "amount")
    if amount < 1:
        raise refusal("The credit note total must be greater than zero.", "amount")
    check_amount(amount, invoice["currency"], "amount")
    for name in ("credit_amount", "refund_amount", "out_of_band_amount"):
        check_amount(params.get(name), invoice["currency"], name)
    before_invoice = account.view(invoice)
    note = _write(account, invoice, params, lines, amount)
    if invoice["status"] == "paid":
        _return_amount(account, invoice, note, params)
    else:
        _lower_remaining(account, invoice, note, params)
    account.publish("credit_note.created", note)
    account.publish("invoice.updated", invoice, before_invoice)
    if invoice["status"] == "open" and invoice["amount_remaining"] == 0:
        settle(account, invoice)
    return note


def _write(account: StripeAccount, invoice: Obj, params: Obj, lines: list[Obj], amount: int) -> Obj:
    invoice["_notes"] = invoice.get("_notes", 0) + 1
    subtotal, net = sum(line["amount"] for line in lines), sum(line["amount_excluding_tax"] for line in lines)
    number = f"{invoice['number']}-CN-{invoice['_notes']:02d}"
    note = account.create("credit_note", {
        "amount": amount, "amount_shipping": 0, "currency": invoice["currency"], "customer": invoice["customer"],
        "customer_balance_transaction": None, "discount_amount": 0, "discount_amounts": [],
        "effective_at": params.get("effective_at") or account.now, "invoice": invoice["id"],
        "memo": params.get("memo"), "metadata": merge({}, params.get("metadata") or {}), "number": number,
        "out_of_band_amount": None, "pdf": f"https://invoice.twin.invalid/{number}/pdf",
        "reason": params.get("reason"), "refund": None, "shipping_cost": None, "status": "issued",
        "subtotal": subtotal, "subtotal_excluding_tax": net, "tax_amounts": sum_taxes(lines), "total": amount,
        "total_excluding_tax": net, "type": "post_payment" if invoice["status"] == "paid" else "pre_payment",
        "voided_at": None,
    }, parent=invoice["id"])  # fmt: skip
    for line in lines:
        account.create("credit_note_line_item", line, parent=note["id"])
    return note


def _lower_remaining(account: StripeAccount, invoice: Obj, note: Obj, params: Obj) -> None:
    """Lower the remaining amount of an unpaid invoice; no money is returned."""
    if params.get("credit_amount") or params.get("refund_amount") or params.get("refund") or params.get(
            "out_of_band_amount"):  # fmt: skip
        raise refusal(
            "You can only specify `credit_amount`, `refund_amount`, `refund` or `out_of_band_amount` when the "
            "invoice is paid.",
            "invoice",
        )
    if note["amount"] > invoice["amount_remaining"]:
        raise refusal(
            f"The credit note total ({note['amount']}) is greater than the amount remaining on the invoice "
            f"({invoice['amount_remaining']}).",
            "amount",
        )
    invoice["amount_due"] -= note["amount"]
    invoice["amount_remaining"] -= note["amount"]
    invoice["pre_payment_credit_notes_amount"] += note["amount"]
    if invoice["payment_intent"]:
        lower_intent(account, invoice["payment_intent"], invoice["amount_remaining"])


def _return_amount(account: StripeAccount, invoice: Obj, note: Obj, params: Obj) -> None:
    amount = note["amount"]
    credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    creditable = invoice["total"] - credited
    if amount > creditable:
        raise refusal(
            f"The credit note total ({amount}) is greater than the creditable amount of the invoice ({creditable}).",
            "amount",
        )
    refund_object = None
    if params.get("refund"):
        refund_object = account.get("refund", params["refund"], "refund")
        if refund_object["charge"] != invoice["charge"] or refund_object.get("_note"):
            message = "The refund does not belong to this invoice, or another credit note has it."
            raise refusal(message, "refund")
        if params.get("refund_amount"):
            raise refusal("You may only specify one of `refund` or `refund_amount`.", "refund")
    balance, outside = params.get("credit_amount") or 0, params.get("out_of_band_amount") or 0
    returned = refund_object["amount"] if refund_object else params.get("refund_amount") or 0
    if balance + outside + returned != amount:
        raise refusal(
            f"The sum of credit amount, refund amount and out of band amount ({balance + outside + returned}) "
            f"must equal the credit note amount ({amount}).",
            "amount",
        )
    if returned and refund_object is None:
        if invoice["charge"] is None:
            raise refusal("You cannot refund an invoice that has no charge.", "refund_amount")
        charge = account.get("charge", invoice["charge"])
        refund_object = refund(account, charge, returned, "requested_by_customer")
    if refund_object:
        note["refund"] = refund_object["id"]
        account.save({**refund_object, "_note": note["id"]})
    if balance:
        note["customer_balance_transaction"] = credit(account, invoice, note, balance)["id"]
    note["out_of_band_amount"] = outside or None
    invoice["post_payment_credit_notes_amount"] += amount


def _lines(account: StripeAccount, invoice: Obj, params: Obj) -> list[Obj]:
    line_params = params.get("lines")
    if not line_params:
        if params.get("amount") is None:
            message = "You must specify one of `amount`, `lines`, or `shipping_cost`."
            raise invalid(message, "amount", "parameter_missing")
        return [_line(params["amount"], 1, Decimal(params["amount"]), None, [], (params["amount"], []))]
    note_lines: list[Obj] = []
    for position, line in enumerate(line_params):
        name = f"lines[{position}]"
        if line["type"] == "invoice_line_item":
            note_lines.append(_of_invoice(account, invoice, line, name, note_lines))
        else:
            note_lines.append(_free(account, invoice, line, name))
    return note_lines


def _line(
    amount: int, quantity: int | None, unit: Decimal | None, description: str | None, rates: list[Obj],
    split: tuple[int, list[Obj]],
) -> Obj:  # fmt: skip
    """Return a line. `split`: the amount without inclusive tax, and the tax of each rate."""
    net, tax_amounts = split
    net_unit = (Decimal(net) / (quantity or 1)).quantize(Decimal("0.000000000001"))
    return {
        "amount": amount, "amount_excluding_tax": net, "description": description, "discount_amount": 0,
        "discount_amounts": [], "quantity": quantity, "tax_amounts": tax_amounts, "tax_rates": rates, "type": "custom_line_item",
        "unit_amount": int(unit) if unit is not None and unit == int(unit) else None,
        "unit_amount_decimal": None if unit is None else decimal_text(unit), "unit_amount_excluding_tax": None if unit is None else decimal_text(net_unit),
    }  # fmt: skip


def _free(account: StripeAccount, invoice: Obj, params: Obj, name: str) -> Obj:
    unit = params.get("unit_amount_decimal")
    unit = params.get("unit_amount") if unit is None else unit
    if unit is None or not params.get("description"):
        message = "A custom line item needs `description` and `unit_amount` or `unit_amount_decimal`."
        raise invalid(message, f"{name}[unit_amount]", "parameter_missing")
    quantity = 1 if params.get("quantity") is None else params["quantity"]
    amount = line_amount(str(unit), quantity)
    rates = tax_rates(account, params.get("tax_rates"), f"{name}[tax_rates]")
    split = tax_of(amount, rates, exemption(invoice))
    return _line(amount, quantity, Decimal(unit), params["description"], rates, split)


def _of_invoice(account: StripeAccount, invoice: Obj, params: Obj, name: str, note_lines: list[Obj]) -> Obj:
    """Return a part of an invoice line. The last part takes the rounding difference, so parts add up to the line."""
    if not params.get("invoice_line_item"):
        raise missing_parameter(f"{name}[invoice_line_item]")
    line = account.get("line_item", params["invoice_line_item"], f"{name}[invoice_line_item]")
    position = account.store.place(line["id"])
    if position is None or position[1] != invoice["id"]:
        message = f"The line item {line['id']} is not on invoice {invoice['id']}."
        raise refusal(message, f"{name}[invoice_line_item]")
    quantity: int | None = params.get("quantity")
    amount: int | None = params.get("amount")
    if (quantity is None) == (amount is None):
        message = "You must specify one of `quantity` or `amount`."
        raise invalid(message, f"{name}[quantity]", "parameter_missing")
    if quantity is not None:
        if quantity > (line["quantity"] or 1):
            message = "The quantity is greater than the quantity of the invoice line item."
            raise refusal(message, f"{name}[quantity]")
        amount = share(line["amount"], quantity, line["quantity"] or 1)
    assert amount is not None
    parts = [*_credited_lines(account, invoice), *note_lines]
    credited = [part for part in parts if part.get("invoice_line_item") == line["id"]]
    before = sum(part["amount"] for part in credited)
    if amount > line["amount"] - before:
        raise refusal(
            f"The amount ({amount}) is greater than what is left to credit on the line item "
            f"({line['amount'] - before}).",
            f"{name}[amount]",
        )
    tax_figures = []
    for number, tax in enumerate(line["tax_amounts"]):
        if before + amount == line["amount"]:
            former = sum(part["tax_amounts"][number]["amount"] for part in credited)
            tax_figures.append(tax["amount"] - former)
        else:
            tax_figures.append(share(tax["amount"], amount, line["amount"]))
    rates = [account.get("tax_rate", tax["tax_rate"]) for tax in line["tax_amounts"]]
    priced = quantity is not None and line["price"] is not None
    unit = Decimal(line["price"]["unit_amount_decimal"]) if priced else None
    split = split_tax(amount, tax_figures, rates, exemption(invoice))
    part = _line(amount, quantity, unit, line["description"], rates, split)
    return {**part, "type": "invoice_line_item", "invoice_line_item": line["id"]}


def _credited_lines(account: StripeAccount, invoice: Obj) -> list[Obj]:
    return [
        line
        for note in account.of("credit_note", invoice["id"]) if note["status"] == "issued"
        for line in account.of("credit_note_line_item", note["id"])
    ]  # fmt: skip


def _outside(line: Obj) -> int:
    return sum(int(tax["amount"]) for tax in line["tax_amounts"] if not tax["inclusive"])


class _DiscardPreview(Exception):
    """End a transaction without its writes."""


def _previewed(account: StripeAccount, params: Obj, read: Callable[[Obj], Obj]) -> Obj:
    """Return what `read` finds of the note that `create` would create, without creating it."""
    result: Obj = {}
    try:
        with account.transaction():
            result = read(create(account, params))
            raise _DiscardPreview
    except _DiscardPreview:
        return result


def preview(account: StripeAccount, params: Obj) -> Obj:
    return _previewed(account, params, account.view)


def preview_lines(account: StripeAccount, params: Obj) -> Obj:
    paging = {name: params.pop(name) for name in PREVIEW_LINES.keys() - CREATE.keys() if name in params}

    def read(note: Obj) -> Obj:
        url, condition = "/v1/credit_notes/preview/lines", ["parent = ?"]
        return page(account, "credit_note_line_item", paging, url, condition, [note["id"]], oldest_first=True)

    return _previewed(account, params, read)


def list_all(account: StripeAccount, params: Obj) -> Obj:
    conditions, values = filters(params, "customer")
    if params.get("invoice"):
        conditions.append("parent = ?")
        values.append(params["invoice"])
    return page(account, "credit_note", params, "/v1/credit_notes", conditions, values)


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    note = account.get("credit_note", id)
    before = dict(note)
    if "memo" in params:
        note["memo"] = params["memo"]
    if "metadata" in params:
        note["metadata"] = merge(note["metadata"], params["metadata"])
    account.publish("credit_note.updated", note, before)
    return note


def void(account: StripeAccount, params: Obj, id: str) -> Obj:
    """Void a note, only while its invoice is open: later, money has moved."""
    note = account.get("credit_note", id)
    if note["status"] == "void":
        raise refusal("This credit note has already been voided.", code="credit_note_already_voided")
    invoice = account.get("invoice", note["invoice"])
    if note["type"] != "pre_payment" or invoice["status"] != "open":
        raise refusal("You can only void a credit note whose invoice is open.", "id")
    before_invoice, before_note = account.view(invoice), dict(note)
    note.update(status="void", voided_at=account.now)
    account.publish("credit_note.voided", note, before_note)
    invoice["amount_due"] += note["amount"]
    invoice["amount_remaining"] += note["amount"]
    invoice["pre_payment_credit_notes_amount"] -= note["amount"]
    account.save(invoice)
    if invoice["payment_intent"]:
        lower_intent(account, invoice["payment_intent"], invoice["amount_remaining"])
    account.emit("invoice.updated", invoice, before_invoice)
    return note
