"""Number of rows that the filters of a list fit, and their money, as far as a page can wait for it."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from counterfoil.core.money import Money
from counterfoil.core.terms import total_money
from counterfoil.store.port import views
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Statement
from counterfoil.store.sql.views import LIST_FILTERS, filtered, where_clause

_DOCUMENT = "stands, legs, terms"


class _Summed(NamedTuple):
    columns: str
    """Empty for rows whose money no column has."""
    money: Callable[..., Iterable[Money]] | None = None
    always: str = ""


def _of_document(stands: Any, legs: Any, terms: Any) -> tuple[Money, ...]:
    columns = t.FOIL.columns
    return total_money(columns["terms"].load(terms), columns["legs"].load(legs)) if stands else ()


def _of_case(exposure: Any) -> tuple[Money, ...]:
    money: tuple[Money, ...] = t.CASE.columns["exposure"].load(exposure)
    return money


def _of_approval(amount: Any) -> tuple[Money, ...]:
    money = None if amount is None else t.APPROVAL.columns["amount"].load(amount)
    return () if money is None else (money,)


_TABLES: dict[views.SummedTable, _Summed] = {
    "run": _Summed(""),
    "foil": _Summed(_DOCUMENT, _of_document),
    "observation": _Summed(_DOCUMENT, _of_document, t.UNACCOUNTED),
    "case_": _Summed("exposure", _of_case),
    "approval": _Summed("amount", _of_approval),
}


async def list_sums(
    table: views.SummedTable, page: views.ListFilter | views.ItemFilter, max_rows: int, max_summed: int
) -> views.ListSums:
    summed = _TABLES[table]
    clauses, args = filtered(page, LIST_FILTERS[table])
    where = where_clause([*filter(None, (summed.always,)), *clauses])
    limit = f"limit ${len(args) + 1}"
    count = f"select count(*) from (select 1 from {table} {where} {limit}) as fitting"
    rows = (await Statement(count, (*args, max_rows + 1)))[0][0]
    if summed.money is None or rows > max_summed:
        return views.ListSums(rows=min(rows, max_rows), more=rows > max_rows)
    minor: dict[str, int] = {}
    for columns in await Statement(
        f"select {summed.columns} from {table} {where} {limit}", (*args, max_summed)
    ):
        for money in summed.money(*columns):
            minor[money.currency] = minor.get(money.currency, 0) + money.minor
    return views.ListSums(rows=rows, more=False, minor=minor)
