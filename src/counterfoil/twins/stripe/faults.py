"""Faults on request, for the next matching requests, events or movements of money.

A fault is `{kind, match, times, skip, ...}`. The values of `match` are shell patterns: `method` and `path` of a request,
`type` of an event, `customer` and `currency` of a movement of money.
"""

from __future__ import annotations

import fnmatch
from typing import Any

from counterfoil.twins.stripe import bank_accounts, charges, disputes, payouts, refunds
from counterfoil.twins.stripe.errors import Obj
from counterfoil.twins.stripe.store import TwinStore

REQUEST_KINDS = {
    "drop_before_commit": "The connection closes; nothing is executed.",
    "drop_after_commit": "The request is executed; the connection closes without a response.",
    "late_commit": "No response; the request is executed after `seconds`, or when the control `release` is posted.",
    "error_body_200": "The response is 200 with an error body (`error`); nothing is executed.",
    "unreadable_200": "The request is executed; the response is cut in half.",
    "status": "The response is `status` (500); `commit` executes the request first. The idempotency key replays it.",
    "rate_limit": "The response is 429 with `reason` and `retry_after`.",
    "maintenance": "The response is 503.",
    "slow": "The response comes after `seconds`.",
}
EVENT_KINDS = {
    "duplicate_webhook": "The event is delivered `copies` times (2).",
    "lose_webhook": "The event is never delivered; the list of events has it.",
    "delay_webhook": "The event is delivered `seconds` of twin time later.",
}
MONEY_KINDS = {
    "decline_charge": "The charge is declined with `decline_code` (generic_decline), a code of the vendor; a later one succeeds.",
    "dispute_charge": "The paid charge is disputed: `amount` (all), `reason` (fraudulent), `inquiry` (false).",
    "fail_debit": "The bank debit fails after `seconds` (four days) of twin time with `failure_code` (insufficient_funds).",
    "return_debit": "The debit succeeds, and is returned `seconds` (14 days) later with `reason` (insufficient_funds): a lost dispute.",
    "pend_refund": "The refund starts `pending` and succeeds after `seconds` (3600) of twin time.",
    "fail_refund": "The refund fails after `seconds` (3600) of twin time with `failure_reason`; until then it counts as done.",
    "fail_payout": "The payout fails on its day of arrival with `failure_code`, and its money comes back.",
}
KINDS = {**REQUEST_KINDS, **EVENT_KINDS, **MONEY_KINDS}
"""Every fault with its effect; names in code spans are fields of the fault, with their default."""
_MATCHES = {"method", "path", "type", "customer", "currency"}
_WORDS = {
    ("decline_charge", "decline_code"): charges.DECLINE_CODES,
    ("dispute_charge", "reason"): disputes.REASONS,
    ("fail_debit", "failure_code"): tuple(bank_accounts.FAILURES),
    ("return_debit", "reason"): disputes.REASONS,
    ("fail_refund", "failure_reason"): refunds.FAILURE_REASONS,
    ("fail_payout", "failure_code"): tuple(payouts.FAILURES),
}
"""Words that a field of a fault accepts, by its kind."""


class Faults:
    """Requested faults, stored in the file of the account."""

    def __init__(self, store: TwinStore) -> None:
        self.store = store

    def add(self, fault: Any) -> Obj:
        """Store a fault. Raises ValueError if it is malformed."""
        if not isinstance(fault, dict) or fault.get("kind") not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}")
        times = fault.get("times", 1)
        if not isinstance(times, int) or times < 1:
            raise ValueError("times must be a whole number of at least 1")
        match = fault.get("match") or {}
        if not isinstance(match, dict) or set(match) - _MATCHES:
            raise ValueError(f"match may name {', '.join(sorted(_MATCHES))}")
        if fault["kind"] in MONEY_KINDS:
            _check_money(fault)
        body = {"skip": 0, **fault, "match": match}
        return {**body, "no": self.store.add_fault(body, times), "left": times}

    def waiting(self) -> list[Obj]:
        return self.store.faults()

    def clear(self) -> None:
        self.store.clear_faults()

    def for_request(self, method: str, path: str) -> Obj | None:
        return self._take(REQUEST_KINDS, {"method": method, "path": path})

    def for_event(self, type: str) -> Obj | None:
        return self._take(EVENT_KINDS, {"type": type})

    def for_money(self, kind: str, facts: dict[str, str]) -> Obj | None:
        return self._take({kind: ""}, facts)

    def _take(self, kinds: dict[str, str], facts: dict[str, str]) -> Obj | None:
        """Return the first matching fault and count one use; a fault with `skip` lets that many requests pass first."""
        for fault in self.waiting():
            match = fault["match"]
            if fault["kind"] not in kinds or not all(
                name in facts and fnmatch.fnmatchcase(facts[name], pattern) for name, pattern in match.items()
            ):
                continue
            if fault["skip"] > 0:
                self.store.save_fault(fault["no"], {**fault, "skip": fault["skip"] - 1}, fault["left"])
                continue
            self.store.save_fault(fault["no"], fault, fault["left"] - 1)
            return fault
        return None


def _check_money(fault: Obj) -> None:
    """Reject a field whose value would make the movement of money impossible."""
    for name in ("seconds", "amount"):
        value = fault.get(name)
        if value is not None and (not isinstance(value, int) or value < (1 if name == "amount" else 0)):
            raise ValueError(f"{name} must be a whole number that is not negative, and an amount not zero")
    for (kind, name), words in _WORDS.items():
        value = fault.get(name)
        if fault["kind"] == kind and value is not None and value not in words:
            raise ValueError(f"{name} must be one of {', '.join(words)}")
