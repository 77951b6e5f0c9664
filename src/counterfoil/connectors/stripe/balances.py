"""Balance of an account at a time: available, pending, and in payouts that have not arrived, for each currency.

The vendor shows only the present balance. An earlier one is the present one without what happened since, so the whole history
need not be read.

The vendor's balance has a bank debit from its submission, days before the bank answers. Until it succeeds it is no payment, so
its money is shown apart. That of a debit that failed is no money either, between its submission and its return.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import Json
from counterfoil.connectors.stripe.client import StripeClient
from counterfoil.core.errors import ErrorClass, Refused, TryAgain

SETTLEMENT_SECONDS = 90 * 86_400
"""Maximum time for which money is pending, or a payout in transit. Older movements are not read."""
_ATTEMPTS = 3
_DEBIT_TYPES = ("payment", "payment_failure_refund")
"""Types of the transactions of bank debits: their submission, and their return where they fail."""


def cut_off(arguments: Mapping[str, Json], zone: ZoneInfo) -> int | None:
    """Return the last second of `as_of` since 1970; None for the present. Raises Refused."""
    value = arguments.get("as_of")
    if set(arguments) - {"as_of"}:
        raise Refused("the only argument is as_of", ErrorClass.INVALID, "arguments")
    if value is None:
        return None
    try:
        if len(str(value)) == len("2026-01-31"):
            day = date.fromisoformat(str(value)) + timedelta(days=1)
            return int(datetime.combine(day, time(), zone).timestamp()) - 1
        at = datetime.fromisoformat(str(value))
    except ValueError as error:
        message = f"as_of must be a date, or a time with its offset, not {value!r}"
        raise Refused(message, ErrorClass.INVALID, "as_of") from error
    if at.tzinfo is None:
        raise Refused(f"the time {value!r} has no offset", ErrorClass.INVALID, "as_of")
    return int(at.astimezone(UTC).timestamp())


async def read(client: StripeClient, at: int | None, by: Deadline) -> dict[str, Json]:
    """Return the balances at a second since 1970. Raises TryAgain if the balance changes again and again meanwhile."""
    for _ in range(_ATTEMPTS):
        before = await client.get("/v1/balance", "balance", {}, by)
        if at is None:
            moved = _amounts(before, "available"), _amounts(before, "pending")
        else:
            moved = await _earlier(client, _amounts(before, "available", "pending"), at, by)
        transit = await _in_transit(client, at, by)
        processing = await _processing(client, at, by)
        if await client.get("/v1/balance", "balance", {}, by) == before:
            return {"balances": _rows(*moved, transit, *processing)}
    raise TryAgain("the balance changed while it was read")


def _rows(
    available: Counter[str],
    pending: Counter[str],
    transit: Counter[str],
    processing: Counter[str],
    processing_later: Counter[str],
) -> list[Json]:
    rows: list[Json] = []
    for code in sorted({*available, *pending, *transit}):
        now, later = available[code] - processing[code], pending[code] - processing_later[code]
        rows.append({
            "currency": code, "available": now, "pending": later, "in_transit": transit[code],
            "processing": processing[code] + processing_later[code], "total": now + later + transit[code],
        })  # fmt: skip
    return rows


def _amounts(balance: Mapping[str, Json], *names: str) -> Counter[str]:
    sums: Counter[str] = Counter()
    for name in names:
        for row in balance[name]:
            sums[row["currency"]] += row["amount"]
    return sums


async def _earlier(
    client: StripeClient, present: Counter[str], at: int, by: Deadline
) -> tuple[Counter[str], Counter[str]]:
    """Return what was available and pending at a time, from the sum of both at present."""
    available, pending = Counter(present), Counter[str]()
    query = {"created[gt]": str(at - SETTLEMENT_SECONDS)}
    async for row in client.rows("/v1/balance_transactions", query, by):
        code, net = row["currency"], row["net"]
        if row["created"] > at:
            available[code] -= net
        elif row["available_on"] > at:
            available[code] -= net
            pending[code] += net
    return available, pending


async def _processing(
    client: StripeClient, at: int | None, by: Deadline
) -> tuple[Counter[str], Counter[str]]:
    """Return what debits without success have in the available and in the pending amount.

    A debit that succeeded after `at` is not among them: its payment has the date of the submission.
    """
    available, pending = Counter[str](), Counter[str]()
    for kind in _DEBIT_TYPES:
        query, oldest = {"type": kind, "expand[]": "data.source"}, None
        async for row in client.rows("/v1/balance_transactions", query, by):
            oldest = oldest or (row["created"] if at is None else at) - SETTLEMENT_SECONDS
            if row["created"] <= oldest:
                break
            if row["source"]["status"] == "succeeded" or (at is not None and row["created"] > at):
                continue
            late = row["status"] == "pending" if at is None else row["available_on"] > at
            (pending if late else available)[row["currency"]] += row["net"]
    return available, pending


async def _in_transit(client: StripeClient, at: int | None, by: Deadline) -> Counter[str]:
    """Return what was in payouts that had left the balance and had not reached the bank, nor come back."""
    sums: Counter[str] = Counter()
    if at is None:
        # By id: between the two lists, a payout can become `in_transit`.
        payouts = {
            payout["id"]: payout
            for status in ("pending", "in_transit")
            async for payout in client.rows("/v1/payouts", {"status": status}, by)
        }
        for payout in payouts.values():
            sums[payout["currency"]] += payout["amount"]
        return sums
    query = {"created[gt]": str(at - SETTLEMENT_SECONDS), "expand[]": "data.failure_balance_transaction"}
    async for payout in client.rows("/v1/payouts", query, by):
        if payout["created"] <= at and not _ended(payout, at):
            sums[payout["currency"]] += payout["amount"]
    return sums


def _ended(payout: Mapping[str, Json], at: int) -> bool:
    """Return whether a payout had arrived or come back. One that failed after its day of arrival had arrived before."""
    returned = payout["failure_balance_transaction"]
    if returned and returned["created"] <= at:
        return True
    return payout["status"] in ("paid", "failed") and bool(payout["arrival_date"] <= at)
