"""Payment intents, charges and refunds, as far as paying and crediting invoices needs them."""

from __future__ import annotations

from counterfoil.twins.stripe.account import Account
from counterfoil.twins.stripe.catalog import filters
from counterfoil.twins.stripe.customers import ADDRESS
from counterfoil.twins.stripe.forms import Shape, merged
from counterfoil.twins.stripe.listing import PAGING, page
from counterfoil.twins.stripe.refusal import Obj, Refusal, bad, bad_parameter

REFUND: Shape = {
    "charge": "str", "payment_intent": "str", "amount": "amount", "metadata": "meta",
    "reason": ("duplicate", "fraudulent", "requested_by_customer"),
}  # fmt: skip
LIST_REFUNDS: Shape = {**PAGING, "charge": "str", "payment_intent": "str"}
LIST_CHARGES: Shape = {**PAGING, "customer": "str", "payment_intent": "str"}
LIST_INTENTS: Shape = {**PAGING, "customer": "str"}


def open_intent(account: Account, invoice: Obj) -> Obj:
    """The intent by which a finalized invoice waits for its money."""
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


def lower_intent(account: Account, id: str, amount: int) -> None:
    """What is still to be collected changed; nothing left cancels the intent."""
    intent = account.get("payment_intent", id)
    if amount == 0:
        cancel_intent(account, id, "void_invoice")
        return
    intent["amount"] = amount
    account.save(intent)


def cancel_intent(account: Account, id: str, reason: str) -> None:
    intent = account.get("payment_intent", id)
    if intent["status"] == "succeeded":
        return
    intent.update(status="canceled", canceled_at=account.now, cancellation_reason=reason)
    account.save(intent)
    account.emit("payment_intent.canceled", intent)


def charge(account: Account, invoice: Obj, method: Obj) -> Obj:
    """Charge what remains of an invoice. The charge's `status` tells whether it went through."""
    intent = account.get("payment_intent", invoice["payment_intent"])
    decline = method.get("_declines")
    made = account.create("charge", {
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
    intent["latest_charge"] = made["id"]
    if decline:
        intent["last_payment_error"] = declined(made, decline).error
    else:
        intent.update(
            status="succeeded",
            amount_received=made["amount"],
            payment_method=method["id"],
            last_payment_error=None,
        )
    account.save(intent)
    outcome = "failed" if decline else "succeeded"
    account.emit(f"charge.{outcome}", made)
    account.emit("payment_intent.payment_failed" if decline else "payment_intent.succeeded", intent)
    return made


def declined(made: Obj, code: str) -> Refusal:
    """402 as the vendor words it."""
    return Refusal(
        402,
        "Your card was declined.",
        type="card_error",
        code="card_declined",
        commit=True,
        more={"charge": made["id"], "decline_code": code},
    )


def refund(
    account: Account, made: Obj, amount: int, reason: str | None, metadata: dict[str, str] | None = None
) -> Obj:
    """Give back part of a charge; more than is left is refused."""
    left = made["amount_captured"] - made["amount_refunded"]
    if left == 0:
        raise bad(f"Charge {made['id']} has already been refunded.", code="charge_already_refunded")
    if amount > left:
        raise bad(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount"
        )
    before = account.view(made)
    made["amount_refunded"] += amount
    made["refunded"] = made["amount_refunded"] == made["amount"]
    account.save(made)
    back = account.create("refund", {
        "amount": amount, "balance_transaction": None, "charge": made["id"], "currency": made["currency"],
        "metadata": metadata or {}, "payment_intent": made["payment_intent"], "reason": reason,
        "receipt_number": None, "source_transfer_reversal": None, "status": "succeeded",
        "transfer_reversal": None,
    }, parent=made["id"])  # fmt: skip
    account.emit("charge.refunded", made, before)
    return back


def create_refund(account: Account, given: Obj) -> Obj:
    id = given.get("charge")
    if id is None:
        if not given.get("payment_intent"):
            raise bad_parameter(
                "One of the following params should be provided for this request: payment_intent or charge.",
                "parameter_missing",
                "charge",
            )
        intent = account.get("payment_intent", given["payment_intent"], "payment_intent")
        id = intent["latest_charge"]
        if id is None or intent["status"] != "succeeded":
            raise bad(
                "This PaymentIntent does not have a successful charge to refund.", param="payment_intent"
            )
    made = account.get("charge", id, "charge")
    if made["status"] != "succeeded":
        raise bad(f"Charge {id} is not in a state that can be refunded.", param="charge")
    amount = given.get("amount") or made["amount_captured"] - made["amount_refunded"]
    return refund(account, made, amount, given.get("reason"), merged({}, given.get("metadata") or {}))


def update_refund(account: Account, given: Obj, id: str) -> Obj:
    back = account.get("refund", id)
    if "metadata" in given:
        back["metadata"] = merged(back["metadata"], given["metadata"])
    account.save(back)
    account.emit("charge.refund.updated", back)
    return back


def get_refund(account: Account, given: Obj, id: str) -> Obj:
    return account.get("refund", id)


def list_refunds(account: Account, given: Obj) -> Obj:
    return page(account, "refund", given, "/v1/refunds", *filters(given, "charge", "payment_intent"))


def get_charge(account: Account, given: Obj, id: str) -> Obj:
    return account.get("charge", id)


def list_charges(account: Account, given: Obj) -> Obj:
    return page(account, "charge", given, "/v1/charges", *filters(given, "customer", "payment_intent"))


def get_intent(account: Account, given: Obj, id: str) -> Obj:
    return account.get("payment_intent", id)


def list_intents(account: Account, given: Obj) -> Obj:
    return page(account, "payment_intent", given, "/v1/payment_intents", *filters(given, "customer"))
