"""The twin's own controls: movable clock, faults, outcomes that a bank decides, configuration, state and reset.

The clock does the work that becomes due on its way: periods, finalizations, collections, refunds, disputes and payouts.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from counterfoil.twins.stripe import (
    balance,
    charges,
    debits,
    disputes,
    invoices,
    payouts,
    quotes,
    refunds,
    schedules,
    subscription_status,
    subscriptions,
    tax_ids,
)
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.bank_accounts import ACCOUNTS
from counterfoil.twins.stripe.cards import CARDS
from counterfoil.twins.stripe.currencies import currency
from counterfoil.twins.stripe.errors import Obj, StripeError
from counterfoil.twins.stripe.faults import KINDS, Faults

CONFIG: dict[str, Any] = {
    "spread": 0.05,
    "repeated": 0.05,
    "rate": None,
    "retry_after": None,
    "payouts": "manual",
    "debit_balance": "submission",
    "dispute_fee": "returned",
    "fee_tax": 0,
    "after_retries": "cancel",
}
"""`spread`: seconds over which webhooks are shuffled; `repeated`: share sent twice; `rate`: requests per second, None for
no limit; `retry_after`: seconds in the header of a 429, None for no header; `payouts`: `manual`, or `daily` for automatic
ones; `debit_balance`: whether the balance has a bank debit from its `submission` or from its `success`; `dispute_fee`: whether
the fee of a won dispute is `returned` or `kept`; `fee_tax`: percent of tax on every fee;
`after_retries`: what a subscription is after the last failed attempt."""
_CHOICES = {
    "debit_balance": charges.DEBIT_BALANCES,
    "dispute_fee": disputes.FEE_POLICIES,
    "after_retries": subscription_status.AFTER_RETRIES,
}
ADVANCES = (
    tax_ids.advance, quotes.advance, invoices.advance, schedules.advance, subscriptions.advance, debits.advance,
    refunds.advance, disputes.advance, payouts.advance,
)  # fmt: skip
"""Automatic work of each kind of object, in the order in which it is done at one time."""
CONTROLS = {
    "GET state": "Clock, configuration, faults that wait, and counts of objects and deliveries.",
    "GET deliveries": "Every planned delivery of a webhook with its attempts.",
    "GET help": "The faults, controls, test cards and test bank accounts of this twin, each with its effect.",
    "POST faults": "Adds a fault: `kind`, `match`, `times` (1), `skip` (0) and the fields of its kind.",
    "DELETE faults": "Removes all faults that wait.",
    "POST release": "Lets late commits finish now.",
    "POST clock": "Stops the clock or lets it run (`stop`), and moves it forward (`set`, `advance`; seconds).",
    "POST disputes": "Opens a dispute of a `charge`: `amount` (all), `reason` (fraudulent), `inquiry` (false).",
    "POST movements": (
        "Moves the balance by `amount` of `currency` without an object: `type` is `adjustment`, `reserved_funds`, "
        "`stripe_fee` or `tax_fee`."
    ),
    "POST outcome": (
        "Decides now for a bank debit (its charge), refund, dispute or payout (`id`) what its bank would: `status`, and "
        "`failure_reason` of a refund or `failure_code` of a debit or payout."
    ),
    "POST config": (
        "Changes `spread`, `repeated`, `rate`, `retry_after`, `payouts` (`manual`, `daily`), `debit_balance` "
        "(`submission`, `success`), `dispute_fee` (`returned`, `kept`), `fee_tax` (percent) or `after_retries` (`cancel`, "
        "`past_due`, `unpaid`)."
    ),
    "POST reset": "Deletes everything except the identity of the account, and with `keep_endpoints` the endpoints.",
}
"""Requests below `/_twin/`, each with its effect. Bodies are JSON."""


class Controls:
    """Requests below `/_twin/`. `release` lets late commits finish at once."""

    def __init__(self, account: StripeAccount) -> None:
        self.account = account
        self.faults = Faults(account.store)
        self.release = asyncio.Event()

    def run(self, method: str, name: str, params: Any) -> Any:
        """Return the answer of a control. Raises LookupError for an unknown one, ValueError for bad parameters."""
        account = self.account
        if f"{method} {name}" not in CONTROLS:
            raise LookupError(name)
        match method, name:
            case "GET", "state":
                return self._state()
            case "GET", "deliveries":
                return account.store.delivery_log()
            case "GET", "help":
                cards = {name: {"number": card.number, "effect": card.effect} for name, card in CARDS.items()}
                accounts = {
                    name: {"number": one.number, "effect": one.effect} for name, one in ACCOUNTS.items()
                }
                return {"faults": KINDS, "controls": CONTROLS, "cards": cards, "bank_accounts": accounts}
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
            case "POST", "disputes" | "outcome" | "movements":
                return self._decide(name, params)
            case "POST", "config":
                self._configure(params)
            case "POST", "reset":
                self._reset(bool(params.get("keep_endpoints")))
            case _:
                raise LookupError(name)
        return self._state()

    def _decide(self, name: str, params: Obj) -> Obj:
        """Return the object whose bank decided. Raises ValueError if the decision is not possible."""
        account = self.account
        try:
            with account.transaction():
                account.request = {"id": None, "idempotency_key": None}
                return account.view(_DECISIONS[name](account, params))
        except StripeError as error:
            raise ValueError(str(error)) from error

    def _configure(self, params: Obj) -> None:
        if unknown := set(params) - CONFIG.keys():
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(CONFIG)}")
        for key, words in _CHOICES.items():
            if params.get(key, words[0]) not in words:
                raise ValueError(f"{key} must be one of {', '.join(words)}")
        if params.get("fee_tax", 0) not in range(101):
            raise ValueError("fee_tax must be a whole number of percent")
        with self.account.transaction():
            for key, value in params.items():
                if key == "payouts":
                    payouts.set_schedule(self.account, value)
                else:
                    self.account.set(key, value)

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


def _open_dispute(account: StripeAccount, params: Obj) -> Obj:
    charge = account.get("charge", str(params.get("charge")))
    amount = params.get("amount")
    if amount is not None and not isinstance(amount, int):
        raise ValueError("amount must be a whole number of minor units")
    reason, inquiry = str(params.get("reason", disputes.DEFAULT_REASON)), bool(params.get("inquiry"))
    return disputes.create(account, charge, amount=amount, reason=reason, inquiry=inquiry)


def _move(account: StripeAccount, params: Obj) -> Obj:
    amount, text = params.get("amount"), params.get("description")
    if not isinstance(amount, int):
        raise ValueError("amount must be a whole number of minor units")
    code = currency(str(params.get("currency")))
    return balance.move(account, str(params.get("type")), amount, code, None if text is None else str(text))


def _conclude(account: StripeAccount, params: Obj) -> Obj:
    body, status = account.any(str(params.get("id"))), str(params.get("status"))
    if body and body["object"] == "charge":
        return debits.conclude(account, body, status, params.get("failure_code"))
    if body and body["object"] == "refund":
        return refunds.conclude(account, body, status, params.get("failure_reason"))
    if body and body["object"] == "dispute":
        return disputes.conclude(account, body, status)
    if body and body["object"] == "payout":
        return payouts.conclude(account, body, status, params.get("failure_code"))
    raise ValueError(f"id must be that of a charge, refund, dispute or payout: {params.get('id')}")


_DECISIONS = {"disputes": _open_dispute, "movements": _move, "outcome": _conclude}
"""Controls that decide for a bank or the vendor."""


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
