"""Evaluation of formulas in a proof: an error is a result like any other value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfoil.core.money import MoneyError
from counterfoil.expr import BudgetExceeded, EvaluationError, Expression, LookupNeeded, compile, conjuncts
from counterfoil.prove.lookup_model import LookupModel
from counterfoil.rules.templates import UnusableValue

FORMULA_ERRORS = (EvaluationError, BudgetExceeded, LookupNeeded, UnusableValue, MoneyError)


def evaluate(expression: Expression, names: Mapping[str, Any], lookups: LookupModel) -> Any:
    """Return a formula's value, or the error that it raises."""
    try:
        return expression(names, lookups.ask)
    except FORMULA_ERRORS as error:
        return error


def conjuncts_of(expression: Expression) -> list[Expression]:
    """Return the parts of a formula that are joined by `and`."""
    parts = conjuncts(expression.ast)
    return [compile(expression.text[p.start : p.end]) for p in parts] if len(parts) > 1 else [expression]
