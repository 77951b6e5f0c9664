"""Charges of payment intents: their outcome, their fee and balance transaction, and the vendor's error of a decline."""

from __future__ import annotations

from counterfoil.twins.stripe import balance, cards, disputes
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.currencies import step, whole
from counterfoil.twins.stripe.errors import Obj, StripeError
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import PAGING

LIST: Shape = {**PAGING, "customer": "str", "payment_intent": "str"}
UPDATE: Shape = {"description": "str", "metadata": "meta", "receipt_email": "str"}
HARD_DECLINES = frozenset({
    "authentication_required", "highest_risk_level", "incorrect_number", "lost_card", "pickup_card",
    "revocation_of_all_authorizations", "revocation_of_authorization", "stolen_card", "transaction_not_allowed",
})  # fmt: skip
"""Decline codes after which the vendor charges an invoice again only with another payment method.

Source: docs.stripe.com/billing/revenue-recovery/smart-retries.
"""
DECLINE_CODES = (
    "approve_with_id", "authentication_not_handled", "authentication_required", "call_issuer", "card_not_supported",
    "card_velocity_exceeded", "currency_not_supported", "do_not_honor", "do_not_try_again", "duplicate_transaction",
    "expired_card", "fraudulent", "generic_decline", "highest_risk_level", "incorrect_address", "incorrect_cvc",
    "incorrect_number", "incorrect_pin", "incorrect_zip", "insufficient_funds", "invalid_account", "invalid_amount",
    "invalid_cvc", "invalid_expiry_month", "invalid_expiry_year", "invalid_number", "invalid_pin",
    "issuer_not_available", "lost_card", "merchant_blacklist", "mobile_device_authentication_required",
    "new_account_information_available", "no_action_taken", "not_permitted", "offline_pin_required",
    "online_or_offline_pin_required", "pickup_card", "pin_try_exceeded", "processing_error", "reenter_transaction",
    "restricted_card", "revocation_of_all_authorizations", "revocation_of_authorization", "security_violation",
    "service_not_allowed", "stolen_card", "stop_payment_order", "testmode_decline", "transaction_not_allowed",
    "try_again_later", "withdrawal_count_limit_exceeded",
)  # fmt: skip
"""Decline codes that the vendor documents. Sources: docs.stripe.com/declines/codes and HARD_DECLINES."""
_DECLINED = "Your card was declined."
_ERRORS = {
    "insufficient_funds": ("card_declined", "Your card has insufficient funds."),
    "expired_card": ("expired_card", "Your card has expired."),
    "incorrect_cvc": ("incorrect_cvc", "Your card's security code is incorrect."),
    "incorrect_number": ("incorrect_number", "Your card number is incorrect."),
    "processing_error": (
        "processing_error", "An error occurred while processing your card. Try again in a little bit."),
    "authentication_required": (
        "authentication_required", "Your card was declined. This transaction requires authentication."),
}  # fmt: skip
"""Error code and message of the decline codes that have their own; all others are `card_declined`."""


def create(account: StripeAccount, intent: Obj, method: Obj, amount: int) -> Obj:
    """Charge a payment method. The `status` of the charge is the result; a decline raises nothing."""
    behavior = cards.behavior(method["_card"])
    facts = {"customer": intent["customer"] or "", "currency": intent["currency"]}
    decline = behavior.decline
    if decline is None and (fault := account.fault("decline_charge", facts)):
        decline = str(fault.get("decline_code", "generic_decline"))
    code, message = _ERRORS.get(decline, ("card_declined", _DECLINED)) if decline else (None, None)
    charge = account.create("charge", {
        "amount": amount, "amount_captured": 0 if decline else amount, "amount_refunded": 0, "application": None,
        "application_fee": None, "application_fee_amount": None, "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": None if decline else "TWIN", "captured": not decline,
        "currency": intent["currency"], "customer": intent["customer"], "description": intent["description"],
        "disputed": False, "failure_balance_transaction": None, "failure_code": code, "failure_message": message,
        "fraud_details": {}, "invoice": intent["invoice"], "metadata": dict(intent["metadata"]),
        "on_behalf_of": None, "outcome": _outcome(decline), "paid": not decline, "payment_intent": intent["id"],
        "payment_method": method["id"], "payment_method_details": _details(method), "radar_options": {},
        "receipt_email": intent["receipt_email"], "receipt_number": None, "receipt_url": None, "refunded": False,
        "review": None, "shipping": None, "source_transfer": None, "statement_descriptor": None,
        "statement_descriptor_suffix": None, "status": "failed" if decline else "succeeded",
        "transfer_data": None, "transfer_group": None, "_card": method["_card"], "_decline": decline,
    }, parent=intent["id"])  # fmt: skip
    if decline is None:
        _receive(account, charge, at_once=behavior.available)
    account.emit("charge.failed" if decline else "charge.succeeded", charge)
    return charge


def _receive(account: StripeAccount, charge: Obj, *, at_once: bool) -> None:
    settlement = None if at_once else balance.midnight(account.now, balance.SETTLEMENT_DAYS)
    transaction = balance.record(
        account, "charge", charge, charge["amount"], charge["description"],
        fee=balance.processing_fee(charge["amount"], charge["currency"]), fee_name="Stripe processing fees", available_on=settlement,
    )  # fmt: skip
    charge["balance_transaction"] = transaction["id"]
    account.save(charge)


def dispute_if_requested(account: StripeAccount, charge: Obj) -> None:
    """Open the dispute that the card of a paid charge, or a fault, requests."""
    behavior = cards.behavior(charge["_card"])
    if behavior.dispute:
        disputes.create(account, charge, reason=behavior.dispute, inquiry=behavior.inquiry)
        return
    facts = {"customer": charge["customer"] or "", "currency": charge["currency"]}
    if fault := account.fault("dispute_charge", facts):
        amount = _disputed(charge, int(fault.get("amount") or charge["amount"]))
        reason = str(fault.get("reason", disputes.DEFAULT_REASON))
        disputes.create(account, charge, amount=amount, reason=reason, inquiry=bool(fault.get("inquiry")))


def _disputed(charge: Obj, amount: int) -> int:
    """Return the amount of a requested dispute that is possible for the charge."""
    code = charge["currency"]
    return min(max(whole(amount, step(code)), step(code)), int(charge["amount"]))


def _outcome(decline: str | None) -> Obj:
    return {
        "network_status": "declined_by_network" if decline else "approved_by_network", "reason": decline,
        "risk_level": "normal", "risk_score": 0,
        "seller_message": f"The bank returned the decline code `{decline}`." if decline else "Payment complete.",
        "type": "issuer_declined" if decline else "authorized",
    }  # fmt: skip


def _details(method: Obj) -> Obj:
    card = method["card"]
    names = (
        "brand",
        "checks",
        "country",
        "exp_month",
        "exp_year",
        "fingerprint",
        "funding",
        "last4",
        "wallet",
    )
    more: Obj = {"installments": None, "mandate": None, "network": card["brand"], "three_d_secure": None}
    return {"type": "card", "card": {**{name: card[name] for name in names}, **more}}


def decline_error(account: StripeAccount, charge: Obj) -> StripeError:
    """Return the vendor's 402 error of a failed charge."""
    method = account.get("payment_method", charge["payment_method"])
    return StripeError(
        402, charge["failure_message"], type="card_error", code=charge["failure_code"], commit=True,
        more={"charge": charge["id"], "decline_code": charge["_decline"], "payment_method": account.view(method)},
    )  # fmt: skip


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    charge = account.get("charge", id)
    before = dict(charge)
    for name, value in params.items():
        charge[name] = merge(charge["metadata"], value) if name == "metadata" else value
    account.publish("charge.updated", charge, before)
    return charge
