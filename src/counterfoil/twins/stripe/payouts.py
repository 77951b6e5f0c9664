"""Payouts to the bank account: automatic ones each day at 00:00 UTC, manual ones by request, and how they end.

An automatic payout empties the available balance of a currency, in whole steps of the currency; a negative balance is
debited from the bank account. A payout that fails or is cancelled comes back as a transaction of its own, which the next
payout contains.
"""

from __future__ import annotations

from datetime import UTC, datetime

from counterfoil.twins.stripe import balance
from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.catalog import filters
from counterfoil.twins.stripe.currencies import check_payout, currency, payout_step, whole
from counterfoil.twins.stripe.errors import Obj, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import PAGING, page

CREATE: Shape = {
    "amount!": "amount", "currency!": "str", "description": "str", "metadata": "meta",
    "method": ("instant", "standard"), "source_type": ("card",), "statement_descriptor": "str",
}  # fmt: skip
LIST: Shape = {
    **PAGING, "arrival_date": "range", "destination": "str",
    "status": ("canceled", "failed", "in_transit", "paid", "pending"),
}  # fmt: skip
SCHEDULES = ("manual", "daily")
SUBMISSION_SECONDS = 3600
"""Twin time from the creation of a payout until the bank gets it."""
INSTANT_SECONDS = 1800
TRANSIT_DAYS = 2
"""Business days until a payout arrives."""
FAILURES = {
    "account_closed": "The bank account has been closed",
    "account_frozen": "The bank account has been frozen",
    "bank_account_restricted": "The bank account has restrictions on either the type or the number of payouts",
    "could_not_process": "The bank could not process this payout",
    "debit_not_authorized": "Debit transactions are not approved on the bank account",
    "declined": "The bank has declined this payout",
    "insufficient_funds": "The bank account has insufficient funds",
    "invalid_account_number": "The account number is not valid",
    "no_account": "The bank account could not be located",
}
"""Failure codes and messages. Source: docs.stripe.com/api/payouts/failures."""
NEXT_STATUSES = {
    "pending": ("in_transit", "paid", "failed", "canceled"),
    "in_transit": ("paid", "failed"),
    "paid": ("failed",),
}
_END_EVENTS = {"paid": "payout.paid", "failed": "payout.failed", "canceled": "payout.canceled"}
_DESCRIPTION = "STRIPE PAYOUT"


def create(account: StripeAccount, params: Obj) -> Obj:
    """Pay out part of the available balance, by request."""
    code = currency(params["currency"])
    check_payout(params["amount"], code)
    available = balance.sums(account)[0].get(code, 0)
    if params["amount"] > available:
        message = (
            "You have insufficient funds in your Stripe account for this transfer. Your card balance is too "
            f"low: {available} {code} of {params['amount']} {code} are available."
        )
        raise refusal(message, "amount", code="balance_insufficient")
    payout = _create(account, params["amount"], code, params)
    account.emit("payout.created", payout)
    return payout


def _create(account: StripeAccount, amount: int, code: str, params: Obj, *, automatic: bool = False) -> Obj:
    method = params.get("method") or "standard"
    arrival = account.now + INSTANT_SECONDS if method == "instant" else _arrival(account.now)
    payout = account.create("payout", {
        "amount": amount, "arrival_date": arrival, "automatic": automatic, "balance_transaction": None,
        "currency": code, "description": params.get("description") or _DESCRIPTION,
        "destination": "ba_" + account.setting("account").removeprefix("acct_"),
        "failure_balance_transaction": None, "failure_code": None, "failure_message": None,
        "metadata": merge({}, params.get("metadata") or {}), "method": method, "original_payout": None,
        "reconciliation_status": "in_progress" if automatic else "not_applicable", "reversed_by": None,
        "source_type": "card", "statement_descriptor": params.get("statement_descriptor"), "status": "pending",
        "type": "bank_account",
    })  # fmt: skip
    transaction = balance.record(account, "payout", payout, -amount, payout["description"])
    payout["balance_transaction"] = transaction["id"]
    return account.save(payout)


def _arrival(at: int) -> int:
    """Return 00:00 UTC of the day of arrival; Saturday and Sunday do not count."""
    day, left = balance.midnight(at), TRANSIT_DAYS
    while left:
        day += DAY_SECONDS
        left -= datetime.fromtimestamp(day, UTC).weekday() < 5
    return day


def list_all(account: StripeAccount, params: Obj) -> Obj:
    conditions, values = filters(params, "destination", "status")
    for word, at in (params.get("arrival_date") or {}).items():
        sign = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}[word]
        conditions.append(f"json_extract(body, '$.arrival_date') {sign} ?")
        values.append(at)
    return page(account, "payout", params, "/v1/payouts", conditions, values)


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    payout = account.get("payout", id)
    before = dict(payout)
    if "metadata" in params:
        payout["metadata"] = merge(payout["metadata"], params["metadata"])
    account.publish("payout.updated", payout, before)
    return payout


def cancel(account: StripeAccount, params: Obj, id: str) -> Obj:
    payout = account.get("payout", id)
    if payout["status"] != "pending" or payout["automatic"]:
        raise refusal("You can only cancel a manual payout that is pending.", code="payout_not_allowed")
    return conclude(account, payout, "canceled")


def conclude(account: StripeAccount, payout: Obj, status: str, code: str | None = None) -> Obj:
    """Change the status as the bank would. Raises ValueError for a status or a code that is not possible."""
    if status not in NEXT_STATUSES.get(payout["status"], ()):
        raise ValueError(f"a payout that is {payout['status']} cannot become {status}")
    before = dict(payout)
    if status in ("failed", "canceled"):
        _bring_back(account, payout, status, code)
    if status == "paid":
        payout["arrival_date"] = min(payout["arrival_date"], account.now)
    payout["status"] = status
    account.publish("payout.updated", payout, before)
    if status != "in_transit":
        account.emit(_END_EVENTS[status], payout)
    if payout["reconciliation_status"] == "in_progress":
        payout["reconciliation_status"] = "completed"
        account.publish("payout.reconciliation_completed", payout)
    return payout


def _bring_back(account: StripeAccount, payout: Obj, status: str, code: str | None) -> None:
    if status == "failed":
        code = code or "could_not_process"
        if code not in FAILURES:
            raise ValueError(f"failure_code must be one of {', '.join(FAILURES)}")
        payout.update(failure_code=code, failure_message=FAILURES[code])
    transaction = balance.record(
        account, "payout_failure" if status == "failed" else "payout_cancel", payout, payout["amount"],
        f"REFUND FOR PAYOUT ({payout['description']})",
    )  # fmt: skip
    payout["failure_balance_transaction"] = transaction["id"]


def due(payout: Obj) -> int | None:
    """Return the time of the next automatic change."""
    if payout["status"] == "pending":
        return min(int(payout["created"]) + SUBMISSION_SECONDS, int(payout["arrival_date"]))
    return int(payout["arrival_date"]) if payout["status"] == "in_transit" else None


def advance(account: StripeAccount) -> bool:
    """Settle pending money, submit payouts, let them arrive, and create automatic ones. Return true if any was due."""
    payouts = account.where("payout", "due <= ?", (account.now,), order="due, seq")
    for payout in payouts:
        if payout["status"] == "pending":
            conclude(account, payout, "in_transit")
        elif fault := account.fault("fail_payout", {"currency": payout["currency"]}):
            conclude(account, payout, "failed", fault.get("failure_code"))
        else:
            conclude(account, payout, "paid")
    settled = balance.settle(account)
    if settled and account.setting("payouts") == "daily":
        _sweep(account)
    return bool(payouts) or settled


def _sweep(account: StripeAccount) -> None:
    """Create an automatic payout of everything available, one for each currency; it may be negative.

    Its amount is rounded towards zero to the step of the currency. The rest stays in the balance for a later payout.
    """
    groups: dict[str, list[Obj]] = {}
    for transaction in balance.unpaid(account):
        groups.setdefault(transaction["currency"], []).append(transaction)
    available = balance.sums(account)[0]
    for code, transactions in groups.items():
        if not (amount := whole(available[code], payout_step(code))):
            continue
        payout = _create(account, amount, code, {}, automatic=True)
        transactions.append(account.get("balance_transaction", payout["balance_transaction"]))
        for transaction in transactions:
            account.save({**transaction, "_payout": payout["id"], "_due": None})
        account.emit("payout.created", payout)


def set_schedule(account: StripeAccount, schedule: object) -> None:
    """Switch between manual and daily payouts. Raises ValueError for another schedule."""
    if schedule not in SCHEDULES:
        raise ValueError(f"payouts must be one of {', '.join(SCHEDULES)}")
    account.set("payouts", schedule)
    if schedule == "daily":
        for transaction in balance.unpaid(account):
            account.save({**transaction, "_due": balance.midnight(account.now, 1)})
