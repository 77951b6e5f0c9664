"""Bank debits after their submission: the bank pays or refuses them days later, and can return what it paid.

Until the bank answers, the charge is `pending` and its payment intent `processing`. A returned debit is a dispute that is lost
from its beginning.
"""

from __future__ import annotations

from counterfoil.twins.stripe import bank_accounts, charges, disputes, invoices, payments
from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.errors import Obj

RETURN_SECONDS = 14 * DAY_SECONDS
"""Twin time from the success of a debit until its return, without another request."""


def conclude(account: StripeAccount, charge: Obj, status: str, code: str | None = None) -> Obj:
    """Let a pending debit end as `succeeded` or `failed`. Raises ValueError for another charge, status or code."""
    if charge["status"] != "pending" or status not in ("succeeded", "failed"):
        raise ValueError(f"a charge that is {charge['status']} cannot become {status}")
    code = code or "insufficient_funds"
    if code not in bank_accounts.FAILURES:
        raise ValueError(f"failure_code must be one of {', '.join(bank_accounts.FAILURES)}")
    if status == "succeeded":
        _succeed(account, charge)
    else:
        _fail(account, charge, code)
    account.publish("charge.succeeded" if status == "succeeded" else "charge.failed", charge)
    intent = account.get("payment_intent", charge["payment_intent"])
    payments.follow_charge(account, intent, charge)
    if intent["invoice"]:
        invoices.follow_debit(account, account.get("invoice", intent["invoice"]), charge)
    return account.get("charge", charge["id"])


def _succeed(account: StripeAccount, charge: Obj) -> None:
    charge.update(status="succeeded", paid=True, _outcome=None)
    if charge["balance_transaction"] is None:
        charges.receive(account, charge, available_at=account.now + DAY_SECONDS)
    facts = {"customer": charge["customer"] or "", "currency": charge["currency"]}
    if fault := account.fault("return_debit", facts):
        at = account.now + int(fault.get("seconds", RETURN_SECONDS))
        charge["_return"] = {"at": at, "reason": fault.get("reason", "insufficient_funds")}


def _fail(account: StripeAccount, charge: Obj, code: str) -> None:
    charge.update(
        status="failed", failure_code=code, failure_message=bank_accounts.FAILURES[code], amount_captured=0,
        captured=False, outcome=None, _outcome=None,
    )  # fmt: skip
    if charge["balance_transaction"] is not None:
        charges.take_back(account, charge)


def due(charge: Obj) -> int | None:
    """Return the time of the bank's answer, or of the return."""
    step = charge.get("_outcome") or charge.get("_return")
    return step and int(step["at"])


def advance(account: StripeAccount) -> bool:
    """Let the debits end or return whose time has come. Return true if there was any."""
    debits = account.where("charge", "due <= ?", (account.now,), order="due, seq")
    for charge in debits:
        if outcome := charge.get("_outcome"):
            conclude(account, charge, outcome["status"], outcome["code"])
        else:
            _return(account, charge)
    return bool(debits)


def _return(account: StripeAccount, charge: Obj) -> None:
    """Return what is not returned yet. The plan of the return ends in any case."""
    reason = charge["_return"]["reason"]
    charge["_return"] = None
    account.save(charge)
    if amount := disputes.disputable(account, charge):
        disputes.create(account, charge, amount=amount, reason=reason)
