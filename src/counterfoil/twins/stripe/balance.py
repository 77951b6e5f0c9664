"""Balance of the account: one transaction for each movement of money, in the currency of the payment.

The fee of a charge is 2.9 % and 30 minor units, that of a bank debit 0.8 % and at most 500 minor units, rounded to the step of
the currency. The money of a charge is available at 00:00 UTC two days later, that of a debit a day after the bank's answer, all
other money at once. The twin has a bank account in every currency, so it converts nothing.
"""

from __future__ import annotations

from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.amounts import share
from counterfoil.twins.stripe.catalog import filters
from counterfoil.twins.stripe.currencies import payable
from counterfoil.twins.stripe.errors import Obj, refusal
from counterfoil.twins.stripe.forms import Shape
from counterfoil.twins.stripe.listing import PAGING, page

LIST: Shape = {**PAGING, "currency": "str", "payout": "str", "source": "str", "type": "str"}
FIXED_FEE_MINOR_UNITS = 30
FEE_BASIS_POINTS = 290
DEBIT_FEE_BASIS_POINTS = 80
MAX_DEBIT_FEE_MINOR_UNITS = 500
_CATEGORIES = {
    "payout_failure": "payout_reversal", "payout_cancel": "payout_reversal", "payment": "charge",
    "payment_refund": "refund", "payment_failure_refund": "charge_failure", "adjustment": "other_adjustment",
    "stripe_fee": "fee", "tax_fee": "fee", "reserved_funds": "risk_reserved_funds",
}  # fmt: skip
"""`reporting_category` of the types that have another name there. Source: docs.stripe.com/reports/reporting-categories."""
MOVEMENTS = ("adjustment", "reserved_funds", "stripe_fee", "tax_fee")
"""Types of transactions that a control creates."""


def processing_fee(amount: int, currency: str) -> int:
    """Return the vendor's fee for a charge, in minor units, rounded to the step of the currency."""
    return payable(share(amount, FEE_BASIS_POINTS, 10_000) + FIXED_FEE_MINOR_UNITS, currency)


def debit_fee(amount: int, currency: str) -> int:
    """Return the vendor's fee for a bank debit, in minor units, rounded to the step of the currency."""
    fee = min(share(amount, DEBIT_FEE_BASIS_POINTS, 10_000), MAX_DEBIT_FEE_MINOR_UNITS)
    return payable(fee, currency)


def midnight(at: int, days: int = 0) -> int:
    """Return 00:00 UTC of the day of `at`, or of a day after it."""
    return at - at % DAY_SECONDS + days * DAY_SECONDS


def record(
    account: StripeAccount, type: str, source: Obj, amount: int, description: str | None, *, fee: int = 0,
    fee_name: str = "", category: str | None = None, available_on: int | None = None, reverses: Obj | None = None,
) -> Obj:  # fmt: skip
    """Create the transaction of a movement: positive amounts come in. It is available now without `available_on`.

    The fees of a transaction that it `reverses` come back.
    """
    now, code = account.now, source["currency"]
    if reverses is not None:
        fees = [{**part, "amount": -part["amount"]} for part in reverses["fee_details"]]
    else:
        fees = _fees(account, fee, fee_name, code)
    fee = sum(part["amount"] for part in fees)
    pending = available_on is not None and available_on > now
    return account.create("balance_transaction", {
        "amount": amount, "available_on": available_on if pending else now, "currency": code,
        "description": description, "exchange_rate": None, "fee": fee, "fee_details": fees,
        "net": amount - fee, "reporting_category": category or _CATEGORIES.get(type, type),
        "source": source.get("id"), "type": type, "_payout": None, "_pending": pending,
        "_due": available_on if pending else midnight(now, 1),
    }, parent=source.get("id"))  # fmt: skip


def _fees(account: StripeAccount, fee: int, name: str, code: str) -> list[Obj]:
    """Return a fee and its tax as details of a transaction."""
    tax = payable(share(fee, int(account.setting("fee_tax") or 0), 100), code)
    return [
        {"amount": amount, "application": None, "currency": code, "description": text, "type": type}
        for amount, text, type in ((fee, name, "stripe_fee"), (tax, "Tax on fees", "tax"))
        if amount
    ]


def move(account: StripeAccount, type: str, amount: int, code: str, description: str | None) -> Obj:
    """Create a transaction that belongs to no object. Raises ValueError for another type or a zero amount."""
    if type not in MOVEMENTS or amount == 0:
        raise ValueError(f"type must be one of {', '.join(MOVEMENTS)}, and amount not zero")
    return record(account, type, {"currency": code}, amount, description)


def view(account: StripeAccount, transaction: Obj) -> Obj:
    pending = transaction["available_on"] > account.now
    return {**transaction, "status": "pending" if pending else "available"}


def due(transaction: Obj) -> int | None:
    """Return the time at which the transaction becomes available, or can be part of an automatic payout."""
    result: int | None = transaction["_due"]
    return result


def sums(account: StripeAccount) -> tuple[dict[str, int], dict[str, int]]:
    """Return the available and the pending amount of each currency."""
    available: dict[str, int] = {}
    pending: dict[str, int] = {}
    now = account.now
    for transaction in account.where("balance_transaction"):
        code, late = transaction["currency"], transaction["available_on"] > now
        available[code] = available.get(code, 0) + (0 if late else transaction["net"])
        pending[code] = pending.get(code, 0) + (transaction["net"] if late else 0)
    return available, pending


def retrieve(account: StripeAccount, params: Obj) -> Obj:
    available, pending = sums(account)
    return {
        "object": "balance", "livemode": False, "available": _amounts(available or {"usd": 0}),
        "pending": _amounts(pending or {"usd": 0}),
    }  # fmt: skip


def _amounts(amounts: dict[str, int]) -> list[Obj]:
    return [
        {"amount": amount, "currency": code, "source_types": {"card": amount}}
        for code, amount in amounts.items()
    ]


def list_all(account: StripeAccount, params: Obj) -> Obj:
    conditions, values = filters(params, "currency", "type")
    if params.get("source"):
        conditions.append("parent = ?")
        values.append(params["source"])
    if params.get("payout"):
        if not account.get("payout", params["payout"], "payout")["automatic"]:
            message = "Balance transaction history can only be filtered on automatic transfers, not manual."
            raise refusal(message, "payout")
        conditions.append("json_extract(body, '$._payout') = ?")
        values.append(params["payout"])
    return page(account, "balance_transaction", params, "/v1/balance_transactions", conditions, values)


def unpaid(account: StripeAccount) -> list[Obj]:
    """Return the available transactions that no automatic payout contains, oldest first."""
    condition = "json_extract(body, '$._payout') is null and json_extract(body, '$.available_on') <= ?"
    return account.where("balance_transaction", condition, (account.now,))


def settle(account: StripeAccount) -> bool:
    """Release the pending money whose day has come. Return true if a transaction was due."""
    transactions = account.where("balance_transaction", "due <= ?", (account.now,))
    released = False
    for transaction in transactions:
        released = released or transaction["_pending"]
        transaction.update(_due=None, _pending=False)
        account.save(transaction)
    if released:
        account.emit("balance.available", retrieve(account, {}))
    return bool(transactions)
