"""What a subscription's invoices do to its status."""

from __future__ import annotations

from counterfoil.twins.stripe.account import Account
from counterfoil.twins.stripe.refusal import Obj

LAST_ATTEMPT = 4


def paid(account: Account, invoice: Obj) -> None:
    """An invoice was paid: a subscription that waited for it, or was behind, is active."""
    subscription = account.find("subscription", invoice["subscription"])
    if subscription and subscription["status"] in ("incomplete", "past_due", "unpaid"):
        before = account.view(subscription)
        subscription["status"] = "active"
        account.save(subscription)
        account.emit("customer.subscription.updated", subscription, before)


def unpaid(account: Account, invoice: Obj) -> None:
    """An attempt failed: active becomes past due, and the last failed attempt ends the subscription."""
    subscription = account.find("subscription", invoice["subscription"])
    if subscription is None:
        return
    if invoice["attempt_count"] >= LAST_ATTEMPT and subscription["status"] == "past_due":
        subscription["cancellation_details"] = {"comment": None, "feedback": None, "reason": "payment_failed"}
        end(account, subscription)
    elif subscription["status"] == "active":
        before = account.view(subscription)
        subscription["status"] = "past_due"
        account.save(subscription)
        account.emit("customer.subscription.updated", subscription, before)


def end(account: Account, subscription: Obj) -> Obj:
    now = account.now
    subscription.update(status="canceled", canceled_at=subscription["canceled_at"] or now, ended_at=now)
    account.save(subscription)
    account.emit("customer.subscription.deleted", subscription)
    return subscription
