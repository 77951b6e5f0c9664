"""Credit notes: corrections of finalized invoices.

On an open invoice a note lowers what remains due (`pre_payment`); on a paid one it is given back as refund,
as customer balance or outside, and the three must add up to its total (`post_payment`).
A note by `amount` alone carries no tax: it is one free line. A note by lines carries each line's share of tax.
"""

from __future__ import annotations

from decimal import Decimal

from counterfoil.twins.stripe.account import Account
from counterfoil.twins.stripe.amounts import decimal_text, priced, share, taxes
from counterfoil.twins.stripe.catalog import filters, tax_rates
from counterfoil.twins.stripe.customers import move_balance
from counterfoil.twins.stripe.forms import Shape, merged
from counterfoil.twins.stripe.invoices import settle
from counterfoil.twins.stripe.listing import PAGING, inline, page
from counterfoil.twins.stripe.payments import lower_intent, refund
from counterfoil.twins.stripe.refusal import Obj, bad, bad_parameter

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
UPDATE: Shape = {"memo": "str", "metadata": "meta"}
LIST: Shape = {**PAGING, "customer": "str", "invoice": "str"}


def view(account: Account, note: Obj) -> Obj:
    if "lines" in note:
        return note
    url = f"/v1/credit_notes/{note['id']}/lines"
    return {**note, "lines": inline(account, "credit_note_line_item", note["id"], url)}


def create(account: Account, given: Obj) -> Obj:
    invoice = account.get("invoice", given["invoice"], "invoice")
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise bad(
            f"The invoice {invoice['id']} is {invoice['status']}. You can only create credit notes on "
            "finalized invoices that are not void.",
            param="invoice",
        )
    lines = _lines(account, invoice, given)
    amount = sum(line["amount"] + _outside(line) for line in lines)
    if given.get("amount") is not None and given["amount"] != amount:
        raise bad(
            f"The credit note amount ({given['amount']}) must equal the total of its lines ({amount}).",
            param="amount",
        )
    if amount < 1:
        raise bad("The credit note total must be greater than zero.", param="amount")
    was = account.view(invoice)
    note = _write(account, invoice, given, lines, amount)
    if invoice["status"] == "paid":
        _give_back(account, invoice, note, given)
    else:
        _lower(account, invoice, note, given)
    account.save(note)
    account.emit("credit_note.created", note)
    account.save(invoice)
    account.emit("invoice.updated", invoice, was)
    if invoice["status"] == "open" and invoice["amount_remaining"] == 0:
        settle(account, invoice)
    return note


def _write(account: Account, invoice: Obj, given: Obj, lines: list[Obj], amount: int) -> Obj:
    invoice["_notes"] = invoice.get("_notes", 0) + 1
    summed: dict[str, Obj] = {}
    for line in lines:
        for tax in line["tax_amounts"]:
            into = summed.setdefault(tax["tax_rate"], {**tax, "amount": 0, "taxable_amount": 0})
            into["amount"] += tax["amount"]
            into["taxable_amount"] += tax["taxable_amount"]
    subtotal, net = sum(line["amount"] for line in lines), sum(line["amount_excluding_tax"] for line in lines)
    number = f"{invoice['number']}-CN-{invoice['_notes']:02d}"
    note = account.create("credit_note", {
        "amount": amount, "amount_shipping": 0, "currency": invoice["currency"], "customer": invoice["customer"],
        "customer_balance_transaction": None, "discount_amount": 0, "discount_amounts": [],
        "effective_at": given.get("effective_at") or account.now, "invoice": invoice["id"],
        "memo": given.get("memo"), "metadata": merged({}, given.get("metadata") or {}), "number": number,
        "out_of_band_amount": None, "pdf": f"https://invoice.twin.invalid/{number}/pdf",
        "reason": given.get("reason"), "refund": None, "shipping_cost": None, "status": "issued",
        "subtotal": subtotal, "subtotal_excluding_tax": net, "tax_amounts": list(summed.values()), "total": amount,
        "total_excluding_tax": net, "type": "post_payment" if invoice["status"] == "paid" else "pre_payment",
        "voided_at": None,
    }, parent=invoice["id"])  # fmt: skip
    for line in lines:
        account.create("credit_note_line_item", line, parent=note["id"])
    return note


def _lower(account: Account, invoice: Obj, note: Obj, given: Obj) -> None:
    """On an unpaid invoice the note takes from what remains; nothing is given back."""
    if given.get("credit_amount") or given.get("refund_amount") or given.get("refund") or given.get(
            "out_of_band_amount"):  # fmt: skip
        raise bad(
            "You can only specify `credit_amount`, `refund_amount`, `refund` or `out_of_band_amount` when the "
            "invoice is paid.",
            param="invoice",
        )
    if note["amount"] > invoice["amount_remaining"]:
        raise bad(
            f"The credit note total ({note['amount']}) is greater than the amount remaining on the invoice "
            f"({invoice['amount_remaining']}).",
            param="amount",
        )
    invoice["amount_due"] -= note["amount"]
    invoice["amount_remaining"] -= note["amount"]
    invoice["pre_payment_credit_notes_amount"] += note["amount"]
    if invoice["payment_intent"]:
        lower_intent(account, invoice["payment_intent"], invoice["amount_remaining"])


def _give_back(account: Account, invoice: Obj, note: Obj, given: Obj) -> None:
    amount = note["amount"]
    left = (
        invoice["total"]
        - invoice["pre_payment_credit_notes_amount"]
        - invoice["post_payment_credit_notes_amount"]
    )
    if amount > left:
        raise bad(
            f"The credit note total ({amount}) is greater than the creditable amount of the invoice ({left}).",
            param="amount",
        )
    back = None
    if given.get("refund"):
        back = account.get("refund", given["refund"], "refund")
        if back["charge"] != invoice["charge"] or back.get("_note"):
            raise bad(
                "The refund does not belong to this invoice, or another credit note has it.", param="refund"
            )
        if given.get("refund_amount"):
            raise bad("You may only specify one of `refund` or `refund_amount`.", param="refund")
    credit, outside = given.get("credit_amount") or 0, given.get("out_of_band_amount") or 0
    returned = back["amount"] if back else given.get("refund_amount") or 0
    if credit + outside + returned != amount:
        raise bad(
            f"The sum of credit amount, refund amount and out of band amount ({credit + outside + returned}) "
            f"must equal the credit note amount ({amount}).",
            param="amount",
        )
    if returned and back is None:
        if invoice["charge"] is None:
            raise bad("You cannot refund an invoice that has no charge.", param="refund_amount")
        back = refund(account, account.get("charge", invoice["charge"]), returned, "requested_by_customer")
    if back:
        note["refund"] = back["id"]
        account.save({**back, "_note": note["id"]})
    if credit:
        customer = account.get("customer", invoice["customer"])
        was = account.view(customer)
        moved = move_balance(account, customer, -credit, "credit_note", None, invoice["id"], note["id"])
        note["customer_balance_transaction"] = moved["id"]
        account.emit("customer.updated", customer, was)
    note["out_of_band_amount"] = outside or None
    invoice["post_payment_credit_notes_amount"] += amount


def _lines(account: Account, invoice: Obj, given: Obj) -> list[Obj]:
    wanted = given.get("lines")
    if not wanted:
        if given.get("amount") is None:
            raise bad_parameter(
                "You must specify one of `amount`, `lines`, or `shipping_cost`.",
                "parameter_missing",
                "amount",
            )
        return [_line(given["amount"], 1, Decimal(given["amount"]), None, [], [])]
    made: list[Obj] = []
    for place, line in enumerate(wanted):
        name = f"lines[{place}]"
        if line["type"] == "invoice_line_item":
            made.append(_of_invoice(account, invoice, line, name, made))
        else:
            made.append(_free(account, line, name))
    return made


def _line(
    amount: int, quantity: int | None, unit: Decimal | None, description: str | None, rates: list[Obj],
    figures: list[int],
) -> Obj:  # fmt: skip
    inside = sum(figure for figure, rate in zip(figures, rates, strict=True) if rate["inclusive"])
    return {
        "amount": amount, "amount_excluding_tax": amount - inside, "description": description,
        "discount_amount": 0, "discount_amounts": [], "quantity": quantity,
        "tax_amounts": [
            {"amount": figure, "inclusive": rate["inclusive"], "tax_rate": rate["id"], "taxability_reason": None,
             "taxable_amount": amount - inside}
            for figure, rate in zip(figures, rates, strict=True)],
        "tax_rates": rates, "type": "custom_line_item",
        "unit_amount": int(unit) if unit is not None and unit == int(unit) else None,
        "unit_amount_decimal": None if unit is None else decimal_text(unit), "unit_amount_excluding_tax": None,
    }  # fmt: skip


def _free(account: Account, given: Obj, name: str) -> Obj:
    unit = given.get("unit_amount_decimal")
    unit = given.get("unit_amount") if unit is None else unit
    if unit is None or not given.get("description"):
        raise bad_parameter(
            "A custom line item needs `description` and `unit_amount` or `unit_amount_decimal`.",
            "parameter_missing",
            f"{name}[unit_amount]",
        )
    quantity = 1 if given.get("quantity") is None else given["quantity"]
    amount = priced(str(unit), quantity)
    rates = tax_rates(account, given.get("tax_rates"), f"{name}[tax_rates]")
    figures = taxes(amount, [(Decimal(str(rate["percentage"])), rate["inclusive"]) for rate in rates])
    return _line(amount, quantity, Decimal(unit), given["description"], rates, figures)


def _of_invoice(account: Account, invoice: Obj, given: Obj, name: str, made: list[Obj]) -> Obj:
    """A part of an invoice's line. The last part takes what rounding left, so parts add up to the line."""
    if not given.get("invoice_line_item"):
        raise bad_parameter(
            f"Missing required param: {name}[invoice_line_item].",
            "parameter_missing",
            f"{name}[invoice_line_item]",
        )
    line = account.get("line_item", given["invoice_line_item"], f"{name}[invoice_line_item]")
    place = account.store.place(line["id"])
    if place is None or place[1] != invoice["id"]:
        raise bad(
            f"The line item {line['id']} is not on invoice {invoice['id']}.",
            param=f"{name}[invoice_line_item]",
        )
    quantity: int | None = given.get("quantity")
    amount: int | None = given.get("amount")
    if (quantity is None) == (amount is None):
        raise bad_parameter(
            "You must specify one of `quantity` or `amount`.", "parameter_missing", f"{name}[quantity]"
        )
    if quantity is not None:
        if quantity > (line["quantity"] or 1):
            raise bad(
                "The quantity is greater than the quantity of the invoice line item.",
                param=f"{name}[quantity]",
            )
        amount = share(line["amount"], quantity, line["quantity"] or 1)
    assert amount is not None
    credited = [
        *(part for part in _credited(account, invoice) if part.get("invoice_line_item") == line["id"]),
        *(part for part in made if part.get("invoice_line_item") == line["id"]),
    ]
    before = sum(part["amount"] for part in credited)
    if amount > line["amount"] - before:
        raise bad(
            f"The amount ({amount}) is greater than what is left to credit on the line item "
            f"({line['amount'] - before}).",
            param=f"{name}[amount]",
        )
    figures = []
    for number, tax in enumerate(line["tax_amounts"]):
        if before + amount == line["amount"]:
            figures.append(tax["amount"] - sum(part["tax_amounts"][number]["amount"] for part in credited))
        else:
            figures.append(share(tax["amount"], amount, line["amount"]))
    rates = [account.get("tax_rate", tax["tax_rate"]) for tax in line["tax_amounts"]]
    unit = (
        None if quantity is None or line["price"] is None else Decimal(line["price"]["unit_amount_decimal"])
    )
    part = _line(amount, quantity, unit, line["description"], rates, figures)
    return {**part, "type": "invoice_line_item", "invoice_line_item": line["id"]}


def _credited(account: Account, invoice: Obj) -> list[Obj]:
    return [
        line
        for note in account.of("credit_note", invoice["id"]) if note["status"] == "issued"
        for line in account.of("credit_note_line_item", note["id"])
    ]  # fmt: skip


def _outside(line: Obj) -> int:
    return sum(int(tax["amount"]) for tax in line["tax_amounts"] if not tax["inclusive"])


def preview(account: Account, given: Obj) -> Obj:
    """The note that `create` would make, without making it."""

    class Enough(Exception):
        pass

    shown: Obj = {}
    try:
        with account.transaction():
            shown = account.view(create(account, given))
            raise Enough
    except Enough:
        return shown


def get(account: Account, given: Obj, id: str) -> Obj:
    return account.get("credit_note", id)


def list_all(account: Account, given: Obj) -> Obj:
    conditions, values = filters(given, "customer")
    if given.get("invoice"):
        conditions.append("parent = ?")
        values.append(given["invoice"])
    return page(account, "credit_note", given, "/v1/credit_notes", conditions, values)


def list_lines(account: Account, given: Obj, id: str) -> Obj:
    account.get("credit_note", id)
    url = f"/v1/credit_notes/{id}/lines"
    return page(account, "credit_note_line_item", given, url, ["parent = ?"], [id], oldest_first=True)


def update(account: Account, given: Obj, id: str) -> Obj:
    note = account.get("credit_note", id)
    before = dict(note)
    if "memo" in given:
        note["memo"] = given["memo"]
    if "metadata" in given:
        note["metadata"] = merged(note["metadata"], given["metadata"])
    account.save(note)
    account.emit("credit_note.updated", note, before)
    return note


def void(account: Account, given: Obj, id: str) -> Obj:
    """Take a note back. Only while its invoice is still open: afterwards money has moved."""
    note = account.get("credit_note", id)
    if note["status"] == "void":
        raise bad("This credit note has already been voided.", code="credit_note_already_voided")
    invoice = account.get("invoice", note["invoice"])
    if note["type"] != "pre_payment" or invoice["status"] != "open":
        raise bad("You can only void a credit note whose invoice is open.", param="id")
    was, before = account.view(invoice), dict(note)
    note.update(status="void", voided_at=account.now)
    account.save(note)
    account.emit("credit_note.voided", note, before)
    invoice["amount_due"] += note["amount"]
    invoice["amount_remaining"] += note["amount"]
    invoice["pre_payment_credit_notes_amount"] -= note["amount"]
    account.save(invoice)
    if invoice["payment_intent"]:
        lower_intent(account, invoice["payment_intent"], invoice["amount_remaining"])
    account.emit("invoice.updated", invoice, was)
    return note
