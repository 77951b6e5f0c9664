"""The twin's own controls: movable clock, faults, configuration, state and reset.

The clock does the work that becomes due on its way: periods, finalizations, collections.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from counterfoil.twins.stripe import invoices, quotes, schedules, subscriptions, tax_ids
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.errors import Obj
from counterfoil.twins.stripe.faults import Faults

CONFIG: dict[str, Any] = {"spread": 0.05, "repeated": 0.05, "rate": None, "retry_after": None}
"""`spread`: seconds over which webhooks are shuffled; `repeated`: share sent twice; `rate`: requests per second, None for
no limit; `retry_after`: seconds in the header of a 429, None for no header."""

ADVANCES = (tax_ids.advance, quotes.advance, invoices.advance, schedules.advance, subscriptions.advance)
"""Automatic work of each kind of object, in the order in which it is done at one time."""


class Controls:
    """Requests below `/_twin/`. `release` lets late commits finish at once."""

    def __init__(self, account: StripeAccount) -> None:
        self.account = account
        self.faults = Faults(account.store)
        self.release = asyncio.Event()

    def run(self, method: str, name: str, params: Any) -> Any:
        """Return the answer of a control. Raises LookupError for an unknown one, ValueError for bad parameters."""
        account = self.account
        match method, name:
            case "GET", "state":
                return self._state()
            case "GET", "deliveries":
                return account.store.delivery_log()
            case "POST", "faults":
                return self.faults.add(params)
            case "DELETE", "faults":
                self.faults.clear()
            case "POST", "release":
                self.release.set()
                self.release = asyncio.Event()
            case "POST", "clock":
                if "stop" in params:
                    stop(account, bool(params["stop"]))
                if "set" in params or "advance" in params:
                    move(account, int(params["set"] if "set" in params else account.now + params["advance"]))
            case "POST", "config":
                if unknown := set(params) - CONFIG.keys():
                    raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(CONFIG)}")
                for key, value in params.items():
                    account.set(key, value)
            case "POST", "reset":
                self._reset(bool(params.get("keep_endpoints")))
            case _:
                raise LookupError(name)
        return self._state()

    def _state(self) -> Obj:
        account = self.account
        return {
            "account": account.setting("account"), "clock": account.now,
            "stopped": account.setting("stopped_at") is not None,
            "config": {name: account.setting(name) for name in CONFIG}, "faults": self.faults.waiting(),
            "objects": account.store.counts(),
            "deliveries": account.store.delivery_counts(),
        }  # fmt: skip

    def _reset(self, keep_endpoints: bool) -> None:
        """Delete everything except the identity of the account. Ids are never reused."""
        account = self.account
        with account.transaction():
            account.store.clear(keep_endpoints)
            account.set("invoice_number", 0)
            account.set("stopped_at", None)
            account.set("offset", 0)
            for name, value in CONFIG.items():
                account.set(name, value)
        self.faults.clear()


def tick(account: StripeAccount) -> bool:
    """Do all work that is due now; return true if there was any."""
    worked = False
    with account.transaction():
        account.request = {"id": None, "idempotency_key": None}
        while any(advance(account) for advance in ADVANCES):
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
