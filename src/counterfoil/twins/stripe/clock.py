"""The movable clock, and the work that falls due on the way: periods, finalizations, collections."""

from __future__ import annotations

import time

from counterfoil.twins.stripe import invoices, subscriptions
from counterfoil.twins.stripe.account import Account


def tick(account: Account) -> bool:
    """Do what is due now. Whether there was anything."""
    worked = False
    with account.transaction():
        account.request = {"id": None, "idempotency_key": None}
        while invoices.advance(account) or subscriptions.advance(account):
            worked = True
    return worked


def move(account: Account, target: int) -> None:
    """Go to a later moment, stopping at everything that falls due before it, so that dates come out as if
    time had passed. Raises ValueError for an earlier moment."""
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


def stop(account: Account, still: bool) -> None:
    """Let the clock stand still, or run on from where it stands."""
    now = account.now
    account.set("stopped_at", now if still else None)
    account.set("offset", now - int(time.time()))
