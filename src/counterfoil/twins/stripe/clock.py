"""Movable clock, and the work that becomes due on the way: periods, finalizations, collections."""

from __future__ import annotations

import time

from counterfoil.twins.stripe import invoices, subscriptions
from counterfoil.twins.stripe.account import StripeAccount


def tick(account: StripeAccount) -> bool:
    """Do all work that is due now; return true if there was any."""
    worked = False
    with account.transaction():
        account.request = {"id": None, "idempotency_key": None}
        while invoices.advance(account) or subscriptions.advance(account):
            worked = True
    return worked


def move(account: StripeAccount, target: int) -> None:
    """Move the clock forward, and stop at everything that becomes due on the way.

    Dates come out as if time had passed. Raises ValueError for an earlier time.
    """
    if target < account.now:
        raise ValueError(f"the clock stands at {account.now} and only moves forward")
    stopped = account.setting("stopped_at") is not None
    with account.transaction():
        while True:
            due = account.store.next_due()
            if due is None or due > target:
                break
            account.set("stopped_at", max(due, account.now))
            if not tick(account):
                break
        account.set("stopped_at", target if stopped else None)
        if not stopped:
            account.set("offset", target - int(time.time()))


def stop(account: StripeAccount, still: bool) -> None:
    """Stop the clock, or let it run on from its current time."""
    now = account.now
    account.set("stopped_at", now if still else None)
    account.set("offset", now - int(time.time()))
