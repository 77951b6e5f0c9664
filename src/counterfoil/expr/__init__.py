"""Expression language of governance files: CEL syntax, exact numbers, money, and look-ups that the caller answers.

Pure: no clock, no randomness, no I/O. docs/reference/expressions.md describes the language.
"""

from counterfoil.expr.compile import DEFAULT_BUDGET_STEPS, Expression, Lookup, compile
from counterfoil.expr.errors import (
    BudgetExceeded,
    EvaluationError,
    ExpressionError,
    ExpressionFinding,
    LookupNeeded,
    caret,
)
from counterfoil.expr.functions import FUNCTIONS
from counterfoil.expr.table_rows import ROW_LOOKUPS, decides, deciding_nodes, missing_row
from counterfoil.expr.tree import conjuncts, walk
from counterfoil.expr.types import JsonSchema

__all__ = [
    "DEFAULT_BUDGET_STEPS", "FUNCTIONS", "ROW_LOOKUPS", "BudgetExceeded", "EvaluationError", "Expression",
    "ExpressionError", "ExpressionFinding", "JsonSchema", "Lookup", "LookupNeeded", "caret", "compile", "conjuncts",
    "decides", "deciding_nodes", "missing_row", "walk",
]  # fmt: skip
