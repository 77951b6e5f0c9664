"""Reads of the books: periods with their state, and the trial balance."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from counterfoil.connectors.http import Deadline
from counterfoil.core.errors import ErrorClass, Refused

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

    async def account_balance(self, code: str, as_of: date | None, by: Deadline) -> Record:
        """Return the balances of an account by the currency of the documents, debit less credit, from posted entries.

        Entries in a foreign currency count in that currency; the rest of the ledger's own balance is in the currency of the
        company. Raises TryAgain or Refused, also for a code that no account has.
        """
        context: dict[str, Any] = {"company": self._company, "posted": True}
        posted: list[Any] = [["move.state", "=", "posted"], ["move.company", "=", self._company]]
        if as_of is not None:
            context["date"] = as_of
            posted.append(["move.date", "<=", as_of])
        domain = [["company", "=", self._company], ["code", "=", code]]
        fields = ["balance", "currency.code"]
        accounts = await self._rest.search("account.account", domain, fields, by, limit=2, context=context)
        if len(accounts) != 1:
            raise Refused(
                f"{len(accounts) or 'no'} accounts have the code {code!r}", ErrorClass.NOT_FOUND, "account"
            )
        account = accounts[0]
        own: Decimal = account["balance"]
        balances: dict[str, Decimal] = {}
        foreign = [*posted, ["account", "=", account["id"]], ["second_currency", "!=", None]]
        fields = ["debit", "credit", "amount_second_currency", "second_currency.code"]
        for line in await self._rest.search_all("account.move.line", foreign, fields, by):
            own -= line["debit"] - line["credit"]
            currency = line["second_currency"]["code"]
            balances[currency] = balances.get(currency, Decimal(0)) + line["amount_second_currency"]
        balances[account["currency"]["code"]] = own
        return {
            "account": code,
            "as_of": as_of.isoformat() if as_of is not None else None,
            "balances": [{"currency": name, "amount": amount} for name, amount in sorted(balances.items())],
        }
