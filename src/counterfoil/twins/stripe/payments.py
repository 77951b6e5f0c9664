"""Payment intents, charges and refunds, as far as paying and crediting invoices needs them."""

from __future__ import annotations

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.currencies import check_amount
from counterfoil.twins.stripe.customers import ADDRESS
from counterfoil.twins.stripe.errors import Obj, StripeError, invalid, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import PAGING

REFUND: Shape = {
    "charge": "str", "payment_intent": "str", "amount": "amount", "metadata": "meta",
    "reason": ("duplicate", "fraudulent", "requested_by_customer"),
}  # fmt: skip
LIST_REFUNDS: Shape = {**PAGING, "charge": "str", "payment_intent": "str"}
LIST_CHARGES: Shape = {**PAGING, "customer": "str", "payment_intent": "str"}
LIST_INTENTS: Shape = {**PAGING, "customer": "str"}


def open_intent(account: StripeAccount, invoice: Obj) -> Obj:
    intent = account.create("payment_intent", {
        "amount": invoice["amount_remaining"], "amount_capturable": 0, "amount_details": {"tip": {}},
        "amount_received": 0, "application": None, "application_fee_amount": None,
        "automatic_payment_methods": None, "canceled_at": None, "cancellation_reason": None,
        "capture_method": "automatic", "client_secret": None, "confirmation_method": "automatic",
        "currency": invoice["currency"], "customer": invoice["customer"], "description": "Payment for Invoice",
        "invoice": invoice["id"], "last_payment_error": None, "latest_charge": None, "metadata": {},
        "next_action": None, "on_behalf_of": None, "payment_method": None, "payment_method_options": {},
        "payment_method_types": ["card"], "processing": None, "receipt_email": None, "review": None,
        "setup_future_usage": None, "shipping": None, "statement_descriptor": None,
        "statement_descriptor_suffix": None, "status": "requires_payment_method", "transfer_data": None,
        "transfer_group": None,
    })  # fmt: skip
    account.emit("payment_intent.created", intent)
    return intent


def lower_intent(account: StripeAccount, id: str, amount: int) -> None:
    """Change the amount to collect; zero cancels the intent."""
    intent = account.get("payment_intent", id)
    if amount == 0:
        cancel_intent(account, id, "void_invoice")
        return
    intent["amount"] = amount
    account.save(intent)


def cancel_intent(account: StripeAccount, id: str, reason: str) -> None:
    intent = account.get("payment_intent", id)
    if intent["status"] == "succeeded":
        return
    intent.update(status="canceled", canceled_at=account.now, cancellation_reason=reason)
    account.publish("payment_intent.canceled", intent)


def charge(account: StripeAccount, invoice: Obj, method: Obj) -> Obj:
    """Charge the remaining amount of an invoice. The `status` of the charge is the result."""
    intent = account.get("payment_intent", invoice["payment_intent"])
    decline = method.get("_declines")
    charge_object = account.create("charge", {
        "amount": invoice["amount_remaining"], "amount_captured": 0 if decline else invoice["amount_remaining"],
        "amount_refunded": 0, "application": None, "application_fee": None, "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": {"address": dict.fromkeys(ADDRESS), "email": None, "name": None, "phone": None},
        "calculated_statement_descriptor": None, "captured": not decline, "currency": invoice["currency"],
        "customer": invoice["customer"], "description": "Payment for Invoice", "disputed": False,
        "failure_balance_transaction": None, "failure_code": "card_declined" if decline else None,
        "failure_message": "Your card was declined." if decline else None, "fraud_details": {},
        "invoice": invoice["id"], "metadata": {}, "on_behalf_of": None, "outcome": None, "paid": not decline,
        "payment_intent": intent["id"], "payment_method": method["id"], "payment_method_details": None,
        "radar_options": {}, "receipt_email": None, "receipt_number": None, "receipt_url": None,
        "refunded": False, "review": None, "shipping": None, "source_transfer": None,
        "statement_descriptor": None, "statement_descriptor_suffix": None,
        "status": "failed" if decline else "succeeded", "transfer_data": None, "transfer_group": None,
    }, parent=intent["id"])  # fmt: skip
    intent["latest_charge"] = charge_object["id"]
    if decline:
        intent["last_payment_error"] = decline_error(charge_object, decline).error
    else:
        intent.update(status="succeeded", amount_received=charge_object["amount"])
        intent.update(payment_method=method["id"], last_payment_error=None)
    account.save(intent)
    outcome = "failed" if decline else "succeeded"
    account.emit(f"charge.{outcome}", charge_object)
    account.emit("payment_intent.payment_failed" if decline else "payment_intent.succeeded", intent)
    return charge_object


def decline_error(charge_object: Obj, code: str) -> StripeError:
    """Return the vendor's 402 error."""
    return StripeError(
        402, "Your card was declined.", type="card_error", code="card_declined", commit=True,
        more={"charge": charge_object["id"], "decline_code": code},
    )  # fmt: skip


def refund(
    account: StripeAccount, charge_object: Obj, amount: int, reason: str | None, metadata: Obj | None = None
) -> Obj:
    """Refund part of a charge; rejects more than the refundable amount."""
    refundable = charge_object["amount_captured"] - charge_object["amount_refunded"]
    if refundable == 0:
        message = f"Charge {charge_object['id']} has already been refunded."
        raise refusal(message, code="charge_already_refunded")
    if amount > refundable:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({refundable})"
        raise refusal(message, "amount")
    before = account.view(charge_object)
    charge_object["amount_refunded"] += amount
    charge_object["refunded"] = charge_object["amount_refunded"] == charge_object["amount"]
    account.save(charge_object)
    refund_object = account.create("refund", {
        "amount": amount, "balance_transaction": None, "charge": charge_object["id"], "currency": charge_object["currency"],
        "metadata": metadata or {}, "payment_intent": charge_object["payment_intent"], "reason": reason,
        "receipt_number": None, "source_transfer_reversal": None, "status": "succeeded",
        "transfer_reversal": None,
    }, parent=charge_object["id"])  # fmt: skip
    account.emit("charge.refunded", charge_object, before)
    return refund_object


def create_refund(account: StripeAccount, params: Obj) -> Obj:
    id = params.get("charge")
    if id is None:
        if not params.get("payment_intent"):
            raise invalid(
                "One of the following params should be provided for this request: payment_intent or charge.",
                "charge",
                "parameter_missing",
            )
        intent = account.get("payment_intent", params["payment_intent"], "payment_intent")
        id = intent["latest_charge"]
        if id is None or intent["status"] != "succeeded":
            raise refusal("This PaymentIntent does not have a successful charge to refund.", "payment_intent")
    charge_object = account.get("charge", id, "charge")
    if charge_object["status"] != "succeeded":
        raise refusal(f"Charge {id} is not in a state that can be refunded.", "charge")
    check_amount(params.get("amount"), charge_object["currency"], "amount")
    amount = params.get("amount") or charge_object["amount_captured"] - charge_object["amount_refunded"]
    metadata = merge({}, params.get("metadata") or {})
    return refund(account, charge_object, amount, params.get("reason"), metadata)


def update_refund(account: StripeAccount, params: Obj, id: str) -> Obj:
    refund_object = account.get("refund", id)
    if "metadata" in params:
        refund_object["metadata"] = merge(refund_object["metadata"], params["metadata"])
    account.publish("charge.refund.updated", refund_object)
    return refund_object
