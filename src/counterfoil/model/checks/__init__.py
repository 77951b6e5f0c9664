"""Whole-model checks: each a function whose docstring explains its rule, all run together."""

from counterfoil.core.finding import Finding
from counterfoil.model.checks import (
    approvals,
    contracts,
    foils,
    formulas,
    ownership,
    references,
    safety,
    steps,
)
from counterfoil.model.checks.registry import RULES, Rule
from counterfoil.model.model import Model

__all__ = [
    "RULES",
    "Rule",
    "approvals",
    "check",
    "contracts",
    "foils",
    "formulas",
    "ownership",
    "references",
    "safety",
    "steps",
]


def check(model: Model) -> list[Finding]:
    """Everything that is wrong with a Model as a whole, sorted by place."""
    return sorted(
        {finding for check_ in dict.fromkeys(r.check for r in RULES.values()) for finding in check_(model)}
    )
