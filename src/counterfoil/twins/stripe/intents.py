"""API of payment intents: payments of their own, and those of invoices."""

from __future__ import annotations

from counterfoil.twins.stripe import charges, invoices, payments
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.currencies import check_charge, currency
from counterfoil.twins.stripe.customers import usable_method
from counterfoil.twins.stripe.errors import Obj, StripeError, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import PAGING

_METHODS: Shape = {"enabled": "bool", "allow_redirects": ("always", "never")}
UPDATE: Shape = {
    "amount": "amount", "currency": "str", "customer": "str", "description": "str", "metadata": "meta",
    "payment_method": "str", "receipt_email": "str",
}  # fmt: skip
CONFIRM: Shape = {
    "off_session": "any", "payment_method": "str", "receipt_email": "str", "return_url": "str",
    "error_on_requires_action": "bool",
}  # fmt: skip
CREATE: Shape = {
    **UPDATE, **CONFIRM, "amount!": "amount", "currency!": "str", "confirm": "bool",
    "automatic_payment_methods": _METHODS, "capture_method": ("automatic",), "payment_method_types": ["str"],
    "confirmation_method": ("automatic",),
}  # fmt: skip
CANCEL: Shape = {"cancellation_reason": ("abandoned", "duplicate", "fraudulent", "requested_by_customer")}
LIST: Shape = {**PAGING, "customer": "str"}
_OPEN = ("requires_payment_method", "requires_confirmation")


def create(account: StripeAccount, params: Obj) -> Obj:
    code = currency(params["currency"])
    check_charge(params["amount"], code)
    if params.get("customer"):
        account.get("customer", params["customer"], "customer")
    method = _method(account, params, params.get("customer"))
    intent = payments.open_intent(
        account, params["amount"], code, params.get("customer"), description=params.get("description"),
        method=method["id"] if method else None, metadata=merge({}, params.get("metadata") or {}),
        receipt_email=params.get("receipt_email"),
    )  # fmt: skip
    if (methods := params.get("automatic_payment_methods")) and methods.get("enabled"):
        redirects = methods.get("allow_redirects") or "always"
        intent["automatic_payment_methods"] = {"enabled": True, "allow_redirects": redirects}
    intent["client_secret"] = f"{intent['id']}_secret_twin"
    account.save(intent)
    return _pay(account, intent, method) if params.get("confirm") else intent


def _method(account: StripeAccount, params: Obj, customer: str | None) -> Obj | None:
    id = params.get("payment_method")
    return None if id is None else usable_method(account, customer, id)


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    intent = _open(account, id, "update")
    if intent["invoice"] and set(params) - {"metadata", "description", "payment_method", "receipt_email"}:
        raise refusal(
            "You cannot modify the amount, currency or customer of the PaymentIntent of an invoice."
        )
    code = currency(params.get("currency") or intent["currency"])
    if params.get("amount") is not None or code != intent["currency"]:
        check_charge(params.get("amount") or intent["amount"], code)
    if params.get("customer"):
        account.get("customer", params["customer"], "customer")
    method = _method(account, params, params.get("customer") or intent["customer"])
    for name in ("amount", "customer", "description", "receipt_email"):
        if params.get(name) is not None:
            intent[name] = params[name]
    intent["currency"] = code
    if "metadata" in params:
        intent["metadata"] = merge(intent["metadata"], params["metadata"])
    if method is not None:
        intent.update(payment_method=method["id"], status="requires_confirmation")
    return account.save(intent)


def confirm(account: StripeAccount, params: Obj, id: str) -> Obj:
    """Attempt the payment. A decline raises the vendor's 402 and leaves the intent without a payment method."""
    intent = _open(account, id, "confirm")
    if not intent["invoice"]:
        check_charge(intent["amount"], intent["currency"])
    method = _method(account, params, intent["customer"])
    if method is None and intent["payment_method"]:
        method = account.get("payment_method", intent["payment_method"])
    return _pay(account, intent, method)


def _pay(account: StripeAccount, intent: Obj, method: Obj | None) -> Obj:
    if method is None:
        message = (
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with one."
        )
        raise _unexpected(account, intent, message)
    if intent["invoice"]:
        failure = invoices.attempt(account, account.get("invoice", intent["invoice"]), method["id"])
        intent = account.get("payment_intent", intent["id"])
    else:
        charge = payments.pay_intent(account, intent, method, intent["amount"])
        failure = charges.decline_error(account, charge) if charge["status"] == "failed" else None
    if failure is not None:
        failure.error["payment_intent"] = account.view(intent)
        raise failure
    return intent


def cancel(account: StripeAccount, params: Obj, id: str) -> Obj:
    intent = _open(account, id, "cancel")
    if intent["invoice"]:
        raise refusal("You cannot cancel the PaymentIntent of an invoice. Void the invoice instead.")
    payments.cancel_intent(account, id, params.get("cancellation_reason"))
    return account.get("payment_intent", id)


def _open(account: StripeAccount, id: str, verb: str) -> Obj:
    intent = account.get("payment_intent", id)
    if intent["status"] not in _OPEN:
        message = f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}."
        raise _unexpected(account, intent, message)
    return intent


def _unexpected(account: StripeAccount, intent: Obj, message: str) -> StripeError:
    more = {"payment_intent": account.view(intent)}
    return StripeError(400, message, code="payment_intent_unexpected_state", more=more)
