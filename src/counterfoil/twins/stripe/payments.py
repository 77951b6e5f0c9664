"""Payment intents, below their API: opening, changing and cancelling them, and one attempt to pay."""

from __future__ import annotations

from counterfoil.twins.stripe import charges
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.errors import Obj


def open_intent(
    account: StripeAccount, amount: int, currency: str, customer: str | None, *, description: str | None = None,
    invoice: str | None = None, method: str | None = None, metadata: dict[str, str] | None = None,
    receipt_email: str | None = None,
) -> Obj:  # fmt: skip
    intent = account.create("payment_intent", {
        "amount": amount, "amount_capturable": 0, "amount_details": {"tip": {}}, "amount_received": 0,
        "application": None, "application_fee_amount": None, "automatic_payment_methods": None,
        "canceled_at": None, "cancellation_reason": None, "capture_method": "automatic", "client_secret": None,
        "confirmation_method": "automatic", "currency": currency, "customer": customer,
        "description": description, "invoice": invoice, "last_payment_error": None, "latest_charge": None,
        "metadata": metadata or {}, "next_action": None, "on_behalf_of": None, "payment_method": method,
        "payment_method_options": {}, "payment_method_types": ["card"], "processing": None,
        "receipt_email": receipt_email, "review": None, "setup_future_usage": None, "shipping": None,
        "statement_descriptor": None, "statement_descriptor_suffix": None,
        "status": "requires_confirmation" if method else "requires_payment_method", "transfer_data": None,
        "transfer_group": None,
    })  # fmt: skip
    account.emit("payment_intent.created", intent)
    return intent


def lower_intent(account: StripeAccount, id: str, amount: int) -> None:
    """Change the amount to collect; zero cancels the intent."""
    intent = account.get("payment_intent", id)
    if intent["status"] == "processing":
        return
    if amount == 0:
        cancel_intent(account, id, "void_invoice")
        return
    intent["amount"] = amount
    account.save(intent)


def cancel_intent(account: StripeAccount, id: str, reason: str | None) -> None:
    intent = account.get("payment_intent", id)
    if intent["status"] in ("succeeded", "processing"):
        return
    intent.update(status="canceled", canceled_at=account.now, cancellation_reason=reason)
    account.publish("payment_intent.canceled", intent)


def pay_intent(account: StripeAccount, intent: Obj, method: Obj, amount: int) -> Obj:
    """Charge an intent once and return the charge. A declined intent needs another payment method."""
    charge = charges.create(account, intent, method, amount)
    intent.update(
        latest_charge=charge["id"], payment_method=method["id"], payment_method_types=[method["type"]]
    )
    return follow_charge(account, intent, charge)


def follow_charge(account: StripeAccount, intent: Obj, charge: Obj) -> Obj:
    """Give an intent the status that follows from its charge, and return the charge."""
    if charge["status"] == "pending":
        intent.update(status="processing", last_payment_error=None)
        account.publish("payment_intent.processing", intent)
        return charge
    if charge["status"] == "failed":
        error = charges.decline_error(account, charge).error
        intent.update(status="requires_payment_method", payment_method=None, last_payment_error=error)
        account.publish("payment_intent.payment_failed", intent)
        return charge
    intent.update(status="succeeded", amount_received=charge["amount"], last_payment_error=None)
    account.publish("payment_intent.succeeded", intent)
    charges.dispute_if_requested(account, charge)
    return account.get("charge", charge["id"])
