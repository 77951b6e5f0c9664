"""The expression language of governance files: CEL syntax, exact numbers, money, look-ups answered by the caller.

Pure: no clock, no randomness, no I/O. See docs/reference/expressions.md for the language itself.
"""

from counterfoil.expr.compile import DEFAULT_BUDGET, Expression, Lookup, compile
from counterfoil.expr.errors import (
    BudgetExceeded,
    EvaluationError,
    ExpressionError,
    ExpressionFinding,
    LookupNeeded,
    caret,
)
from counterfoil.expr.functions import FUNCTIONS
from counterfoil.expr.tree import conjuncts, walk
from counterfoil.expr.types import JsonSchema

__all__ = [
    "DEFAULT_BUDGET",
    "FUNCTIONS",
    "BudgetExceeded",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "ExpressionFinding",
    "JsonSchema",
    "Lookup",
    "LookupNeeded",
    "caret",
    "compile",
    "conjuncts",
    "walk",
]
