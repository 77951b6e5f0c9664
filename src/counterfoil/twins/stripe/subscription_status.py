"""Effects of invoices on the status of their subscription."""

from __future__ import annotations

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.errors import Obj

MAX_ATTEMPTS = 4
AFTER_RETRIES = ("cancel", "past_due", "unpaid")
"""Choices for a subscription after the last failed attempt, as in the settings of the vendor's account."""


def invoice_paid(account: StripeAccount, invoice: Obj) -> None:
    """Set a subscription active that was incomplete or behind with payment."""
    subscription = account.find("subscription", invoice["subscription"])
    if subscription and subscription["status"] in ("incomplete", "past_due", "unpaid"):
        before = account.view(subscription)
        subscription["status"] = "active"
        account.publish("customer.subscription.updated", subscription, before)


def payment_failed(account: StripeAccount, invoice: Obj) -> None:
    """Set an active subscription past due. After the last failed attempt it is what the account has chosen."""
    subscription = account.find("subscription", invoice["subscription"])
    if subscription is None:
        return
    last = invoice["attempt_count"] >= MAX_ATTEMPTS and subscription["status"] == "past_due"
    if last and account.setting("after_retries") == "unpaid":
        before = account.view(subscription)
        subscription["status"] = "unpaid"
        account.publish("customer.subscription.updated", subscription, before)
    elif last and account.setting("after_retries") != "past_due":
        subscription["cancellation_details"] = {"comment": None, "feedback": None, "reason": "payment_failed"}
        cancel_now(account, subscription)
    elif subscription["status"] == "active":
        before = account.view(subscription)
        subscription["status"] = "past_due"
        account.publish("customer.subscription.updated", subscription, before)


def cancel_now(account: StripeAccount, subscription: Obj) -> Obj:
    now = account.now
    subscription.update(status="canceled", canceled_at=subscription["canceled_at"] or now, ended_at=now)
    account.publish("customer.subscription.deleted", subscription)
    end_schedule(account, subscription)
    return subscription


def end_schedule(account: StripeAccount, subscription: Obj) -> None:
    """Cancel the schedule of an ended subscription; it is aborted if payment failed."""
    schedule = account.find("subscription_schedule", subscription["schedule"] or "")
    if schedule is None or schedule["status"] != "active":
        return
    before = account.view(schedule)
    schedule.update(status="canceled", canceled_at=account.now, current_phase=None)
    failed = subscription["status"] == "incomplete_expired" or (
        subscription["cancellation_details"]["reason"] == "payment_failed"
    )
    account.publish(
        "subscription_schedule.aborted" if failed else "subscription_schedule.canceled", schedule, before
    )
