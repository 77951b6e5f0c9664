"""Disputes of charges: inquiries, chargebacks over all or part of a charge, evidence, and how they end.

A chargeback withdraws its amount and a fee at once; a won one brings both back, or only the amount. An inquiry moves no money.
Disputes of one charge may follow each other. A dispute of a bank debit is lost from its beginning.
"""

from __future__ import annotations

from counterfoil.twins.stripe import balance
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.currencies import step
from counterfoil.twins.stripe.errors import Obj, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import PAGING

EVIDENCE: Shape = dict.fromkeys((
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
    "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation",
    "duplicate_charge_explanation", "duplicate_charge_id", "product_description", "receipt", "refund_policy",
    "refund_policy_disclosure", "refund_refusal_explanation", "service_date", "service_documentation",
    "shipping_address", "shipping_carrier", "shipping_date", "shipping_documentation",
    "shipping_tracking_number", "uncategorized_file", "uncategorized_text",
), "str")  # fmt: skip
UPDATE: Shape = {"evidence": EVIDENCE, "metadata": "meta", "submit": "bool"}
LIST: Shape = {**PAGING, "charge": "str", "payment_intent": "str"}
REASONS = (
    "bank_cannot_process", "check_returned", "credit_not_processed", "customer_initiated", "debit_not_authorized",
    "duplicate", "fraudulent", "general", "incorrect_account_details", "insufficient_funds",
    "product_not_received", "product_unacceptable", "subscription_canceled", "unrecognized",
)  # fmt: skip
DEFAULT_REASON = "fraudulent"
FEE_MINOR_UNITS = 1500
FEE_POLICIES = ("returned", "kept")
"""Fates of the fee when a dispute is won. Since June 2025 the vendor keeps it in most countries."""
RESPONSE_DAYS = 14
"""Time limit for evidence. The vendor's depends on the card network."""
NEXT_STATUSES = {
    "warning_needs_response": ("needs_response", "warning_under_review", "warning_closed"),
    "warning_under_review": ("needs_response", "warning_closed"),
    "needs_response": ("under_review", "won", "lost"),
    "under_review": ("won", "lost"),
}
WITHOUT_MONEY = ("won", "warning_closed", "charge_refunded")
"""Last statuses of disputes that withdraw nothing: their amount can be disputed again."""
TEST_EVIDENCE = {
    "winning_evidence": "won",
    "losing_evidence": "lost",
    "escalate_inquiry_evidence": "needs_response",
}
"""Texts in `evidence[uncategorized_text]` that decide a test dispute. Source: docs.stripe.com/testing."""


def create(
    account: StripeAccount, charge: Obj, *, amount: int | None = None, reason: str = DEFAULT_REASON,
    inquiry: bool = False,
) -> Obj:  # fmt: skip
    """Open a dispute over a paid charge. Raises ValueError for an unusable charge, amount or reason."""
    amount = charge["amount"] if amount is None else amount
    _check(account, charge, amount)
    if reason not in REASONS:
        raise ValueError(f"reason must be one of {', '.join(REASONS)}")
    final = charge["payment_method_details"]["type"] != "card"
    if final and inquiry:
        raise ValueError("a bank debit has no inquiries")
    status = "lost" if final else "warning_needs_response" if inquiry else "needs_response"
    dispute = account.create("dispute", {
        "amount": amount, "balance_transactions": [], "charge": charge["id"], "currency": charge["currency"],
        "evidence": dict.fromkeys(EVIDENCE),
        "evidence_details": {
            "due_by": None if final else _deadline(account), "has_evidence": False, "past_due": False, "submission_count": 0},
        "is_charge_refundable": inquiry, "metadata": {}, "payment_intent": charge["payment_intent"],
        "reason": reason, "status": status,
    }, parent=charge["id"])  # fmt: skip
    charge["disputed"] = True
    account.save(charge)
    if not inquiry:
        _move_money(account, dispute, -1)
    account.emit("charge.dispute.created", dispute)
    if not inquiry:
        account.emit("charge.dispute.funds_withdrawn", dispute)
    if final:
        account.emit("charge.dispute.closed", dispute)
    return dispute


def _check(account: StripeAccount, charge: Obj, amount: int) -> None:
    """Reject an amount that is not paid, that another dispute is about, or that is no multiple of the step."""
    if charge["status"] != "succeeded" or not 1 <= amount <= disputable(account, charge):
        raise ValueError(f"{amount} of charge {charge['id']} cannot be disputed")
    if amount % (multiple := step(charge["currency"])):
        raise ValueError(f"amount in {charge['currency']} must be a multiple of {multiple}")


def disputable(account: StripeAccount, charge: Obj) -> int:
    """Return the part of a charge that no other dispute is about, in minor units."""
    disputed = sum(
        int(dispute["amount"])
        for dispute in account.of("dispute", charge["id"])
        if dispute["status"] not in WITHOUT_MONEY
    )
    return int(charge["amount"]) - disputed


def _deadline(account: StripeAccount) -> int:
    return balance.midnight(account.now, RESPONSE_DAYS + 1) - 1


def _move_money(account: StripeAccount, dispute: Obj, sign: int) -> None:
    """Withdraw (-1) or reinstate (1) the amount and the fee. A configured account keeps the fee of a won dispute."""
    withdrawn = None
    if sign > 0 and account.setting("dispute_fee") != "kept":
        withdrawn = account.get("balance_transaction", dispute["balance_transactions"][-1])
    category, word = ("dispute", "withdrawal") if sign < 0 else ("dispute_reversal", "reversal")
    transaction = balance.record(
        account, "adjustment", dispute, sign * dispute["amount"], f"Chargeback {word} for {dispute['charge']}",
        fee=FEE_MINOR_UNITS if sign < 0 else 0, fee_name="Dispute fee", category=category, reverses=withdrawn,
    )  # fmt: skip
    dispute["balance_transactions"].append(transaction["id"])
    account.save(dispute)


def view(account: StripeAccount, dispute: Obj) -> Obj:
    """Return the dispute with its balance transactions inline, as the vendor shows them."""
    ids = dispute["balance_transactions"]
    transactions = [balance.view(account, account.get("balance_transaction", id)) for id in ids]
    return {**dispute, "balance_transactions": transactions}


def blocks_refunds(account: StripeAccount, charge: Obj) -> bool:
    """Return whether a chargeback of the charge is open or lost."""
    return any(
        not dispute["is_charge_refundable"] and dispute["status"] != "won"
        for dispute in account.of("dispute", charge["id"])
    )


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    """Store evidence, and send it to the bank unless `submit` is false."""
    dispute = account.get("dispute", id)
    if dispute["status"] not in NEXT_STATUSES and params.get("evidence"):
        raise refusal("This dispute is already closed", code="dispute_closed")
    before = account.view(dispute)
    if "metadata" in params:
        dispute["metadata"] = merge(dispute["metadata"], params["metadata"])
    dispute["evidence"] = {**dispute["evidence"], **(params.get("evidence") or {})}
    details = dispute["evidence_details"]
    has_evidence = any(dispute["evidence"].values())
    submitted = has_evidence and params.get("evidence") is not None and params.get("submit", True)
    dispute["evidence_details"] = {
        **details, "has_evidence": has_evidence,
        "submission_count": details["submission_count"] + (1 if submitted else 0),
    }  # fmt: skip
    if submitted and dispute["status"] in ("needs_response", "warning_needs_response"):
        dispute["status"] = dispute["status"].replace("needs_response", "under_review")
    account.publish("charge.dispute.updated", dispute, before)
    if submitted:
        _decide(account, dispute)
    return dispute


def _decide(account: StripeAccount, dispute: Obj) -> None:
    """End or escalate a dispute whose evidence is one of the vendor's test texts."""
    status = TEST_EVIDENCE.get(dispute["evidence"]["uncategorized_text"] or "")
    if status == "lost" and dispute["status"].startswith("warning"):
        status = "warning_closed"
    if status in NEXT_STATUSES.get(dispute["status"], ()):
        conclude(account, dispute, status)


def close(account: StripeAccount, params: Obj, id: str) -> Obj:
    """Accept a dispute: a chargeback is lost, an inquiry is closed."""
    dispute = account.get("dispute", id)
    if dispute["status"] not in NEXT_STATUSES:
        raise refusal("This dispute is already closed", code="dispute_closed")
    return conclude(account, dispute, "warning_closed" if dispute["status"].startswith("warning") else "lost")


def conclude(account: StripeAccount, dispute: Obj, status: str) -> Obj:
    """Change the status as the bank would. Raises ValueError for a status that cannot follow."""
    if status not in NEXT_STATUSES.get(dispute["status"], ()):
        raise ValueError(f"a dispute that is {dispute['status']} cannot become {status}")
    return _change(account, dispute, status)


def end_inquiries(account: StripeAccount, charge_id: str) -> None:
    """End the open inquiries of a charge because it was refunded in full; they can no longer be escalated."""
    for dispute in account.of("dispute", charge_id):
        if dispute["status"] in ("warning_needs_response", "warning_under_review"):
            _change(account, dispute, "charge_refunded")


def _change(account: StripeAccount, dispute: Obj, status: str) -> Obj:
    before = account.view(dispute)
    dispute["status"] = status
    if status == "needs_response":
        dispute["is_charge_refundable"] = False
        dispute["evidence_details"] = {**dispute["evidence_details"], "due_by": _deadline(account)}
        _move_money(account, dispute, -1)
    elif status == "won":
        _move_money(account, dispute, 1)
    account.publish("charge.dispute.updated", dispute, before)
    if status == "needs_response":
        account.emit("charge.dispute.funds_withdrawn", dispute)
    if status == "won":
        account.emit("charge.dispute.funds_reinstated", dispute)
    if status not in NEXT_STATUSES:
        account.emit("charge.dispute.closed", dispute)
    return dispute


def due(dispute: Obj) -> int | None:
    """Return the moment after which evidence is late."""
    waits = dispute["status"] in ("needs_response", "warning_needs_response")
    return int(dispute["evidence_details"]["due_by"]) + 1 if waits else None


def advance(account: StripeAccount) -> bool:
    """Close the disputes that were not answered in time; return true if there was any."""
    disputes = account.where("dispute", "due <= ?", (account.now,), order="due, seq")
    for dispute in disputes:
        dispute["evidence_details"] = {**dispute["evidence_details"], "past_due": True}
        conclude(account, dispute, "warning_closed" if dispute["status"].startswith("warning") else "lost")
    return bool(disputes)
