"""Refunds of charges. A card or a fault can leave a refund pending, or let it fail after it has succeeded.

A failed refund gives the money back to the balance and to the refundable amount of its charge. A full refund ends the
inquiries of its charge.
"""

from __future__ import annotations

from counterfoil.twins.stripe import balance, cards, disputes
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.currencies import check_amount
from counterfoil.twins.stripe.errors import Obj, invalid, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import PAGING

CREATE: Shape = {
    "charge": "str", "payment_intent": "str", "amount": "amount", "metadata": "meta",
    "reason": ("duplicate", "fraudulent", "requested_by_customer"),
}  # fmt: skip
LIST: Shape = {**PAGING, "charge": "str", "payment_intent": "str"}
OUTCOME_SECONDS = 3600
"""Twin time until a refund that is not final gets its last status."""
FAILURE_REASONS = (
    "charge_for_pending_refund_disputed", "declined", "expired_or_canceled_card", "insufficient_funds",
    "lost_or_stolen_card", "merchant_request", "unknown",
)  # fmt: skip
DEFAULT_REASON = "expired_or_canceled_card"


def refund(
    account: StripeAccount, charge: Obj, amount: int, reason: str | None, metadata: Obj | None = None
) -> Obj:
    """Refund part of a charge; rejects more than the refundable amount, and a charge that was charged back."""
    _check(account, charge, amount)
    before = account.view(charge)
    _move_refunded(account, charge, amount)
    status, outcome = _course(account, charge)
    refund_object = account.create("refund", {
        "amount": amount, "balance_transaction": None, "charge": charge["id"], "currency": charge["currency"],
        "metadata": metadata or {}, "payment_intent": charge["payment_intent"], "reason": reason,
        "receipt_number": None, "source_transfer_reversal": None, "status": status, "transfer_reversal": None,
        "_outcome": outcome,
    }, parent=charge["id"])  # fmt: skip
    paid = account.get("balance_transaction", charge["balance_transaction"])
    transaction = balance.record(
        account, "refund" if charge["_card"] else "payment_refund", refund_object, -amount, f"REFUND FOR CHARGE ({charge['description'] or charge['id']})",
        available_on=paid["available_on"],
    )  # fmt: skip
    refund_object["balance_transaction"] = transaction["id"]
    account.save(refund_object)
    account.emit("charge.refunded", charge, before)
    account.emit("refund.created", refund_object)
    _end_inquiries(account, charge["id"])
    return refund_object


def _check(account: StripeAccount, charge: Obj, amount: int) -> None:
    refundable = charge["amount_captured"] - charge["amount_refunded"]
    if disputes.blocks_refunds(account, charge):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise refusal(message, code="charge_disputed")
    if refundable == 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise refusal(message, code="charge_already_refunded")
    if amount > refundable:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({refundable})"
        raise refusal(message, "amount")


def _move_refunded(account: StripeAccount, charge: Obj, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    account.save(charge)


def _course(account: StripeAccount, charge: Obj) -> tuple[str, Obj | None]:
    """Return the first status of a refund, and the status that follows later, if one does."""
    behavior = cards.behavior(charge["_card"])
    facts = {"customer": charge["customer"] or "", "currency": charge["currency"]}
    wait, failure = account.fault("pend_refund", facts), account.fault("fail_refund", facts)
    status = "pending" if wait or behavior.refund == "pending" else "succeeded"
    fails = failure is not None or behavior.refund == "succeeded"
    if status == "succeeded" and not fails:
        return status, None
    seconds = int((failure or wait or {}).get("seconds", OUTCOME_SECONDS))
    reason = str((failure or {}).get("failure_reason", DEFAULT_REASON)) if fails else None
    return status, {
        "at": account.now + seconds,
        "status": "failed" if fails else "succeeded",
        "reason": reason,
    }


def due(refund_object: Obj) -> int | None:
    outcome = refund_object.get("_outcome")
    return outcome and int(outcome["at"])


def advance(account: StripeAccount) -> bool:
    """Give every refund its last status whose time has come; return true if there was any."""
    refunds = account.where("refund", "due <= ?", (account.now,), order="due, seq")
    for refund_object in refunds:
        outcome = refund_object["_outcome"]
        conclude(account, refund_object, outcome["status"], outcome["reason"])
    return bool(refunds)


def conclude(account: StripeAccount, refund_object: Obj, status: str, reason: str | None = None) -> Obj:
    """Change a refund to `succeeded` or `failed`. Raises ValueError for a status that cannot follow."""
    allowed = {"pending": ("succeeded", "failed"), "succeeded": ("failed",)}.get(refund_object["status"], ())
    if status not in allowed:
        raise ValueError(f"a refund that is {refund_object['status']} cannot become {status}")
    if status == "failed" and (reason := reason or DEFAULT_REASON) not in FAILURE_REASONS:
        raise ValueError(f"failure_reason must be one of {', '.join(FAILURE_REASONS)}")
    before = {**refund_object, "failure_reason": None, "failure_balance_transaction": None}
    refund_object.update(status=status, _outcome=None)
    if status == "failed":
        charge = account.get("charge", refund_object["charge"])
        paid = account.get("balance_transaction", refund_object["balance_transaction"])
        transaction = balance.record(
            account, "refund_failure", refund_object, refund_object["amount"],
            f"REFUND FAILURE ({charge['description'] or charge['id']})", available_on=paid["available_on"],
        )  # fmt: skip
        refund_object.update(failure_reason=reason, failure_balance_transaction=transaction["id"])
        _move_refunded(account, charge, -refund_object["amount"])
    _publish_update(account, refund_object, before)
    _end_inquiries(account, refund_object["charge"])
    return refund_object


def _end_inquiries(account: StripeAccount, charge_id: str) -> None:
    """End the inquiries of a charge that is refunded in full by refunds of which none is pending."""
    pending = any(one["status"] == "pending" for one in account.of("refund", charge_id))
    if account.get("charge", charge_id)["refunded"] and not pending:
        disputes.end_inquiries(account, charge_id)


def _publish_update(account: StripeAccount, refund_object: Obj, before: Obj) -> None:
    account.publish("charge.refund.updated", refund_object, before)
    account.emit("refund.updated", refund_object, before)


def create(account: StripeAccount, params: Obj) -> Obj:
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
    charge = account.get("charge", id, "charge")
    if charge["status"] != "succeeded":
        raise refusal(f"Charge {id} is not in a state that can be refunded.", "charge")
    check_amount(params.get("amount"), charge["currency"], "amount")
    amount = params.get("amount") or charge["amount_captured"] - charge["amount_refunded"]
    return refund(account, charge, amount, params.get("reason"), merge({}, params.get("metadata") or {}))


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    refund_object = account.get("refund", id)
    before = dict(refund_object)
    if "metadata" in params:
        refund_object["metadata"] = merge(refund_object["metadata"], params["metadata"])
    _publish_update(account, refund_object, before)
    return refund_object
