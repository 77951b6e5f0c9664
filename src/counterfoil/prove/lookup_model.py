"""Answers to the look-ups of a proof: heads, Links, tables, guards and periods; and the values of its formulas.

Every answer is computed at once, so a decision is never repeated because of a look-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from counterfoil.core.money import Money, MoneyError
from counterfoil.expr import BudgetExceeded, EvaluationError, Expression, LookupNeeded, compile, conjuncts
from counterfoil.model import Model
from counterfoil.rules import lookup
from counterfoil.rules.lookup import (
    CanonicalIdRead,
    ExternalIdRead,
    GuardRead,
    HeadRead,
    HeadsRead,
    LinkAnswer,
    PersonRead,
    Question,
    RateRead,
    Read,
    TableRead,
)
from counterfoil.rules.templates import UnusableValue

FORMULA_ERRORS = (EvaluationError, BudgetExceeded, LookupNeeded, UnusableValue, MoneyError)
"""Errors of formulas. In a proof, an error is a result like any other value."""
BEGIN = datetime(2026, 1, 15, 9, tzinfo=UTC)
"""Start time of every proof. Only the order of times matters, not the dates."""
MONTHS = range(11)
"""Months with a period, counted from the month in which the proof starts."""
Heads = Mapping[str, Mapping[str, Any]]
"""State by object. Every key of an object has the same state, with its own id."""


class LookupModel(Mapping[Question, Any]):
    """Answers to look-ups.

    `used`: reserved amounts by scope and key. `closed`: the current period is locked. `rowless`: tables without a row for
    any key; of the others, a key without a row has the value of the first row.
    """

    def __init__(
        self,
        model: Model,
        heads: Heads,
        now: datetime,
        used: Mapping[tuple[str, str], int] | None = None,
        closed: bool = False,
        rowless: frozenset[str] = frozenset(),
    ) -> None:
        self._rowless = rowless
        self._model = model
        self._heads = heads
        self._now = now
        self._used = used or {}
        self._closed = closed

    def __contains__(self, question: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Question]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, question: Question) -> Any:
        match question:
            case "fx", (amount, *_) if not isinstance(amount, Money):
                return amount
            case "head", (_,):
                return None  # only a Run knows which object it means
        work = lookup.resolve(self._model, "", *lookup.qualified(*question, system=""))
        return lookup.run_sync(work, self._read)

    def ask(self, name: str, args: tuple[Any, ...]) -> Any:
        return self[name, args]

    def _read(self, read: Read[Any]) -> Any:
        match read:
            case HeadRead(object_, key):
                return head_of(self._heads, object_, key)
            case HeadsRead():
                return [self._period(n) for n in MONTHS]
            case ExternalIdRead(object_, canonical, _):
                return f"{object_}/{canonical}"
            case CanonicalIdRead(object_, ext_id):
                return LinkAnswer(f"{object_}/{ext_id}")
            case TableRead(table, keys):
                return self._table(table, list(keys))
            case RateRead():
                return 1
            case GuardRead(scope, key):
                return self._used.get((scope, key), 0)
            case PersonRead(_, name):
                return {"id": name, "roles": list(self._model.roles)}
        raise AssertionError(f"no answer to {read!r}")

    def _period(self, n: int) -> dict[str, Any]:
        """Return the period of the n-th month from the start of the proof. If `closed`, the current one is locked."""
        month = BEGIN.month + n
        start, end = date(BEGIN.year, month, 1), date(BEGIN.year, month + 1, 1) - timedelta(days=1)
        is_current = start <= self._now.date() <= end
        state = "closed" if (is_current and self._closed) or end < self._now.date() else "open"
        name = f"{start:%Y-%m}"
        return {"id": name, "name": name, "start": start, "end": end, "state": state}

    def _table(self, name: str, keys: list[Any]) -> Any:
        if name not in self._model.tables or name in self._rowless:
            return None
        value = self._model.lookup_table(name, keys, self._now.date())
        table = self._model.tables[name].table
        rows = table.rows or []
        return rows[0].get(table.value) if value is None and rows else value


def head_of(heads: Heads, object_: str, key: str) -> dict[str, Any] | None:
    state = heads.get(object_)
    if state is None:
        return None
    return {"version": 1, "effective_at": BEGIN, "recorded_at": BEGIN, **state, "id": key}


def evaluate(expression: Expression, names: Mapping[str, Any], lookups: LookupModel) -> Any:
    """Return a formula's value, or the error that it raises."""
    try:
        return expression(names, lookups.ask)
    except FORMULA_ERRORS as error:
        return error


@lru_cache(maxsize=4_096)
def conjuncts_of(expression: Expression) -> tuple[Expression, ...]:
    """Return the parts of a formula that are joined by `and`."""
    parts = conjuncts(expression.ast)
    return (
        tuple(compile(expression.text[p.start : p.end]) for p in parts) if len(parts) > 1 else (expression,)
    )
