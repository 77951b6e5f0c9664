"""Balances of bank accounts at the end of a day, as the statements of a folder state them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from counterfoil.connectors.files.amounts import BalanceCheck
from counterfoil.connectors.files.folder import FileStamp
from counterfoil.connectors.files.inspection import rows_of, unchanged
from counterfoil.connectors.files.settings import BookFiles
from counterfoil.connectors.files.statement_chain import StatementChain
from counterfoil.connectors.sdk import Json
from counterfoil.core.errors import ErrorClass, Refused

STATEMENT_BALANCE = "bank.statement.balance"
STATEMENT_BALANCE_DOC = (
    "{as_of} -> {balances: [{account, currency, day, amount}]}: the closing balance of the last statement of each account up "
    "to a date, positive if the bank owes it. Books with `closing` and a column `currency`, and statements of camt.053, have "
    "balances. The date must not be after the last statement of an account."
)


class ClosingBalance(NamedTuple):
    account: str
    currency: str
    day: date
    amount: Decimal


def cut_off(arguments: Mapping[str, Json]) -> date:
    """Return the date `as_of`. Raises Refused."""
    try:
        if set(arguments) == {"as_of"}:
            return date.fromisoformat(str(arguments["as_of"]))
    except ValueError:
        pass
    message = f"the only argument must be the date as_of, not {dict(arguments)!r}"
    raise Refused(message, ErrorClass.INVALID, "as_of")


def has_balances(book: BookFiles) -> bool:
    return book.is_statement or (book.closing is not None and "currency" in book.constants)


def closing_balances(
    name: str, book: BookFiles, files: Sequence[FileStamp], chain: StatementChain
) -> Iterable[ClosingBalance]:
    """Return the closing balance of each statement of a book. Raises FileRefused or TryAgain."""
    if not book.is_statement:
        return [_of_table(name, book, file) for file in files]
    for file in files:
        with unchanged(file):
            for _ in chain.read(file):
                pass
    chain.check(files)
    return [
        ClosingBalance(one.account, one.closing.currency, one.closing.day, one.closing.amount)
        for file in files
        for one in chain.statements(file)
    ]


def _of_table(name: str, book: BookFiles, file: FileStamp) -> ClosingBalance:
    mark = book.decimal or "."
    check = BalanceCheck(file.name, book, mark)
    with unchanged(file):
        for _ in rows_of(file.path, book, mark, check):
            pass
    day = _day(check.closing_cells, book.date)
    if day is None:
        message = (
            f"{file.name}: the line that begins with `{book.closing}` states no date, so its day is unknown"
        )
        raise Refused(message, ErrorClass.INVALID, "no_date")
    account = book.constants.get("account", name)
    return ClosingBalance(account, book.constants["currency"], day, check.closing_balance)


def _day(cells: Sequence[object], form: str | None) -> date | None:
    """Return the date in a line, alone in a cell or as a word of it."""
    for word in (word for cell in cells for word in str(cell).split()):
        try:
            return datetime.strptime(word, form or "%Y-%m-%d").date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            continue
    return None


def balances_at(at: date, every: Iterable[ClosingBalance]) -> list[Json]:
    """Return the last balance of each account up to a date. Raises Refused where later statements are still missing.

    An account of which each statement is later is not there yet.
    """
    latest: dict[tuple[str, str], ClosingBalance] = {}
    ends: dict[tuple[str, str], date] = {}
    for one in sorted(every, key=lambda one: one.day):
        key = one.account, one.currency
        ends[key] = one.day
        if one.day <= at:
            latest[key] = one
    for (account, _), end in sorted(ends.items()):
        if end < at:
            message = f"the last statement of account {account} is of {end}, so its balance on {at} is not stated yet"
            raise Refused(message, ErrorClass.NOT_FOUND, "no_statement")
    return [
        {
            "account": one.account,
            "currency": one.currency,
            "day": one.day.isoformat(),
            "amount": f"{one.amount:f}",
        }
        for _, one in sorted(latest.items())
    ]
