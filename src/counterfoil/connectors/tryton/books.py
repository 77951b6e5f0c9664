"""Reads of the books: periods with their state, and the trial balance."""

from __future__ import annotations

from datetime import date
from typing import Any

from counterfoil.connectors.http import Deadline

from .rest import Record, Rest, day, version

PERIOD_FIELDS = ("name", "state", "start_date", "end_date", "fiscalyear.name", "last_modified_at")
_SUMS = ("debit", "credit", "balance")


def period_of(record: Record) -> Record:
    """Return a period as the result of operations. `state` is open, closed or locked; both dates are inclusive."""
    return {
        "id": record["id"],
        "name": record["name"],
        "start": day(record["start_date"]),
        "end": day(record["end_date"]),
        "state": record["state"],
        "fiscal_year": record["fiscalyear"]["name"],
        "version": version(record),
    }


class Books:
    def __init__(self, rest: Rest, company: int) -> None:
        self._rest = rest
        self._company = company

    async def periods(self, start: date | None, end: date | None, by: Deadline) -> list[Record]:
        """Return the periods that overlap the days from `start` to `end`, oldest first. Raises TryAgain or Refused."""
        domain: list[Any] = [["company", "=", self._company], ["type", "=", "standard"]]
        if start is not None:
            domain.append(["end_date", ">=", start])
        if end is not None:
            domain.append(["start_date", "<=", end])
        order = [["start_date", "ASC"], ["id", "ASC"]]
        periods = await self._rest.search("account.period", domain, PERIOD_FIELDS, by, order)
        return [period_of(record) for record in periods]

    async def trial_balance(self, as_of: date | None, by: Deadline) -> Record:
        """Return the balance of each account from entries posted up to `as_of` inclusive (None: all), in company currency.

        The ERP computes the sums: balance-sheet accounts over all time, income accounts over the open fiscal years.
        `balance` is debit minus credit; the sum of all balances is zero. Raises TryAgain or Refused.
        """
        context: dict[str, Any] = {"company": self._company, "posted": True}
        if as_of is not None:
            context["date"] = as_of
        domain = [["company", "=", self._company], ["type", "!=", None]]
        fields = ["code", "name", *_SUMS, "currency.code"]
        order = [["code", "ASC"], ["id", "ASC"]]
        accounts = await self._rest.search("account.account", domain, fields, by, order, 10_000, context)
        return {
            "as_of": as_of.isoformat() if as_of is not None else None,
            "currency": accounts[0]["currency"]["code"] if accounts else None,
            "accounts": [
                {"account": record["code"], **{name: record[name] for name in ("name", *_SUMS)}}
                for record in accounts
            ],
        }
