"""Balance of a customer: its transactions, and their effect on invoices.

A negative balance is credit that the next finalized invoice uses; a positive one is debt that it adds. The balance is in
the currency of the customer, which the first document sets. Transactions are immutable, except for description and
metadata.
"""

from __future__ import annotations

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.currencies import check_amount, currency, minimum, payable
from counterfoil.twins.stripe.errors import Obj, invalid, missing, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import CURSORS, page

CREATE: Shape = {"amount!": "int", "currency!": "str", "description": "str", "metadata": "meta"}
UPDATE: Shape = {"description": "str", "metadata": "meta"}
LIST: Shape = CURSORS
MAX_DESCRIPTION_CHARACTERS = 350


def same_currency(account: StripeAccount, customer: Obj, code: str) -> None:
    """Set the currency of the customer with its first document; reject any other afterwards."""
    if customer["currency"] is None:
        customer["currency"] = code
        account.save(customer)
    elif customer["currency"] != code:
        raise refusal(
            "You cannot combine currencies on a single customer. This customer has had documents in "
            f"{customer['currency']}.",
            "currency",
        )


def move_balance(
    account: StripeAccount, customer: Obj, amount: int, type: str, description: str | None = None,
    invoice: str | None = None, credit_note: str | None = None, metadata: dict[str, str] | None = None,
) -> Obj:  # fmt: skip
    """Change the balance by `amount` minor units and create its transaction."""
    customer["balance"] += amount
    account.save(customer)
    return account.create("customer_balance_transaction", {
        "amount": amount, "credit_note": credit_note, "currency": customer["currency"] or "usd",
        "customer": customer["id"], "description": description, "ending_balance": customer["balance"],
        "invoice": invoice, "metadata": metadata or {}, "type": type,
    }, parent=customer["id"])  # fmt: skip


def amount_due(total: int, balance: int, code: str) -> int:
    """Return what an invoice collects: nothing below the minimum amount of the currency, else its rounded amount."""
    due = payable(max(0, total + balance), code)
    return due if due >= minimum(code) else 0


def apply_to_invoice(account: StripeAccount, invoice: Obj, customer: Obj) -> None:
    """Set the amount due of a totalled draft, and move the balance by the rest of its total.

    An amount below the minimum is not collected: it becomes debt (`invoice_too_small`) after the credit is used up.
    """
    start, code = customer["balance"], invoice["currency"]
    due = amount_due(invoice["total"], start, code)
    invoice.update(starting_balance=start, ending_balance=invoice["total"] + start - due)
    change = invoice["ending_balance"] - start
    parts = [(change, "applied_to_invoice")]
    if due == 0 and change > 0 and invoice["ending_balance"] > 0:
        used = max(0, -start)
        parts = [(used, "applied_to_invoice"), (change - used, "invoice_too_small")]
    before = account.view(customer)
    for amount, type in parts:
        if amount:
            move_balance(account, customer, amount, type, invoice=invoice["id"])
    if change:
        account.emit("customer.updated", customer, before)
    invoice.update(amount_due=due, amount_remaining=due)


def return_from_invoice(account: StripeAccount, invoice: Obj) -> None:
    """Give back to the customer what a voided invoice used of the balance."""
    used = invoice["ending_balance"] - invoice["starting_balance"]
    if not used:
        return
    customer = account.get("customer", invoice["customer"])
    before = account.view(customer)
    move_balance(account, customer, -used, "unapplied_from_invoice", invoice=invoice["id"])
    account.emit("customer.updated", customer, before)


def credit(account: StripeAccount, invoice: Obj, note: Obj, amount: int) -> Obj:
    """Credit `amount` of a credit note to the customer, and return the transaction."""
    customer = account.get("customer", invoice["customer"])
    before = account.view(customer)
    entry = move_balance(account, customer, -amount, "credit_note", None, invoice["id"], note["id"])
    account.emit("customer.updated", customer, before)
    return entry


def _check_description(text: str | None) -> str | None:
    if text is not None and len(text) > MAX_DESCRIPTION_CHARACTERS:
        message = f"Invalid string: {text[:20]}...; must be at most {MAX_DESCRIPTION_CHARACTERS} characters"
        raise invalid(message, "description")
    return text


def create(account: StripeAccount, params: Obj, id: str) -> Obj:
    customer = account.get("customer", id)
    before = account.view(customer)
    if params["amount"] == 0:
        raise invalid("Amount must be non-zero.", "amount", "parameter_invalid_integer")
    code = currency(params["currency"])
    check_amount(params["amount"], code, "amount")
    description = _check_description(params.get("description"))
    same_currency(account, customer, code)
    metadata = merge({}, params.get("metadata") or {})
    entry = move_balance(account, customer, params["amount"], "adjustment", description, metadata=metadata)
    account.emit("customer.updated", customer, before)
    return entry


def update(account: StripeAccount, params: Obj, id: str, transaction: str) -> Obj:
    entry = get(account, {}, id, transaction)
    if "metadata" in params:
        entry["metadata"] = merge(entry["metadata"], params["metadata"])
    if "description" in params:
        entry["description"] = _check_description(params["description"])
    return account.save(entry)


def get(account: StripeAccount, params: Obj, id: str, transaction: str) -> Obj:
    entry = account.get("customer_balance_transaction", transaction)
    if entry["customer"] != id:
        raise missing("customer_balance_transaction", transaction)
    return entry


def list_all(account: StripeAccount, params: Obj, id: str) -> Obj:
    account.get("customer", id)
    url = f"/v1/customers/{id}/balance_transactions"
    return page(account, "customer_balance_transaction", params, url, ["parent = ?"], [id])
