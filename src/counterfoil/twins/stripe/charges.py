"""Charges of payment intents: their outcome, their fee and balance transaction, and the vendor's error of a decline."""

from __future__ import annotations

from counterfoil.twins.stripe import balance, bank_accounts, cards, disputes
from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
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


DEBIT_DAYS = 4
"""Days until the bank answers a debit."""
DEBIT_BALANCES = ("submission", "success")
"""Times at which the balance transaction of a debit is created."""


def create(account: StripeAccount, intent: Obj, method: Obj, amount: int) -> Obj:
    """Charge a payment method. The `status` of the charge is the result; a decline raises nothing."""
    if method["type"] != "card":
        return _submit(account, intent, method, amount)
    behavior = cards.behavior(method["_card"])
    facts = {"customer": intent["customer"] or "", "currency": intent["currency"]}
    decline = behavior.decline
    if decline is None and (fault := account.fault("decline_charge", facts)):
        decline = str(fault.get("decline_code", "generic_decline"))
    code, message = _ERRORS.get(decline, ("card_declined", _DECLINED)) if decline else (None, None)
    charge = _create(account, intent, method, amount, {
        "amount_captured": 0 if decline else amount, "calculated_statement_descriptor": None if decline else "TWIN",
        "captured": not decline, "failure_code": code, "failure_message": message, "outcome": _outcome(decline),
        "paid": not decline, "status": "failed" if decline else "succeeded", "_card": method["_card"], "_decline": decline,
    })  # fmt: skip
    if decline is None:
        receive(account, charge, available_at=None if behavior.available else account.now + 2 * DAY_SECONDS)
    account.emit("charge.failed" if decline else "charge.succeeded", charge)
    return charge


def _submit(account: StripeAccount, intent: Obj, method: Obj, amount: int) -> Obj:
    """Submit a bank debit: the charge is pending until the bank answers."""
    behavior = bank_accounts.of_number(method["type"], method["_number"])
    facts = {"customer": intent["customer"] or "", "currency": intent["currency"]}
    fault, failure, seconds = account.fault("fail_debit", facts), behavior.failure, DEBIT_DAYS * DAY_SECONDS
    if fault:
        failure = str(fault.get("failure_code", "insufficient_funds"))
        seconds = int(fault.get("seconds", seconds))
    at = account.now + seconds
    charge = _create(account, intent, method, amount, {
        "amount_captured": amount, "calculated_statement_descriptor": "TWIN", "captured": True, "failure_code": None,
        "failure_message": None, "outcome": _outcome(None), "paid": False, "status": "pending", "_card": "",
        "_decline": None, "_dispute": behavior.dispute,
        "_outcome": {"at": at, "status": "failed" if failure else "succeeded", "code": failure},
    })  # fmt: skip
    if account.setting("debit_balance") != "success":
        receive(account, charge, available_at=at + DAY_SECONDS)
    account.emit("charge.pending", charge)
    return charge


def _create(account: StripeAccount, intent: Obj, method: Obj, amount: int, result: Obj) -> Obj:
    return account.create("charge", {
        "amount": amount, "amount_refunded": 0, "application": None,
        "application_fee": None, "application_fee_amount": None, "balance_transaction": None,
        "billing_details": method["billing_details"],
        "currency": intent["currency"], "customer": intent["customer"], "description": intent["description"],
        "disputed": False, "failure_balance_transaction": None,
        "fraud_details": {}, "invoice": intent["invoice"], "metadata": dict(intent["metadata"]),
        "on_behalf_of": None, "payment_intent": intent["id"],
        "payment_method": method["id"], "payment_method_details": _details(method), "radar_options": {},
        "receipt_email": intent["receipt_email"], "receipt_number": None, "receipt_url": None, "refunded": False,
        "review": None, "shipping": None, "source_transfer": None, "statement_descriptor": None,
        "statement_descriptor_suffix": None, "transfer_data": None, "transfer_group": None, **result,
    }, parent=intent["id"])  # fmt: skip


def receive(account: StripeAccount, charge: Obj, *, available_at: int | None) -> None:
    """Add the money of a charge to the balance, available from the midnight before `available_at`, or at once."""
    debit = charge["payment_method_details"]["type"] != "card"
    fee = (balance.debit_fee if debit else balance.processing_fee)(charge["amount"], charge["currency"])
    transaction = balance.record(
        account, "payment" if debit else "charge", charge, charge["amount"], charge["description"], fee=fee,
        fee_name="Stripe processing fees", available_on=None if available_at is None else balance.midnight(available_at),
    )  # fmt: skip
    charge["balance_transaction"] = transaction["id"]
    account.save(charge)


def take_back(account: StripeAccount, charge: Obj) -> None:
    """Take the money and the fee of a failed debit back from the balance."""
    paid = account.get("balance_transaction", charge["balance_transaction"])
    transaction = balance.record(
        account, "payment_failure_refund", charge, -charge["amount"], f"Payment failure ({charge['id']})",
        available_on=paid["available_on"], reverses=paid,
    )  # fmt: skip
    charge["failure_balance_transaction"] = transaction["id"]


def dispute_if_requested(account: StripeAccount, charge: Obj) -> None:
    """Open the dispute that the card or bank account of a paid charge, or a fault, requests."""
    if reason := charge.get("_dispute"):
        disputes.create(account, charge, reason=reason)
        return
    behavior = cards.behavior(charge["_card"])
    if behavior.dispute:
        disputes.create(account, charge, reason=behavior.dispute, inquiry=behavior.inquiry)
        return
    facts = {"customer": charge["customer"] or "", "currency": charge["currency"]}
    if fault := account.fault("dispute_charge", facts):
        amount = _disputed(charge, int(fault.get("amount") or charge["amount"]))
        reason = str(fault.get("reason", disputes.DEFAULT_REASON))
        inquiry = bool(fault.get("inquiry")) and charge["payment_method_details"]["type"] == "card"
        disputes.create(account, charge, amount=amount, reason=reason, inquiry=inquiry)


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
    if method["type"] != "card":
        behavior = bank_accounts.of_number(method["type"], method["_number"])
        more = {"mandate": None} if method["type"] == "sepa_debit" else {}
        return {"type": method["type"], method["type"]: {**bank_accounts.details(behavior), **more}}
    return _card_details(method["card"])


def _card_details(card: Obj) -> Obj:
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
    more = {"decline_code": charge["_decline"]} if charge["_decline"] else {}
    return StripeError(
        402, charge["failure_message"], type="card_error" if charge["_card"] else "invalid_request_error",
        code=charge["failure_code"], commit=True,
        more={"charge": charge["id"], "payment_method": account.view(method), **more},
    )  # fmt: skip


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    charge = account.get("charge", id)
    before = dict(charge)
    for name, value in params.items():
        charge[name] = merge(charge["metadata"], value) if name == "metadata" else value
    account.publish("charge.updated", charge, before)
    return charge
