"""Checks over a whole model; the docstring of each check explains its rule."""

from counterfoil.core.finding import Finding
from counterfoil.model.checks import (  # noqa: F401 - each module registers its rules
    amounts,
    approvals,
    casts,
    contracts,
    controls,
    execution,
    exposed,
    foils,
    formulas,
    legal_entities,
    order,
    ownership,
    permissions,
    references,
    safety,
    stand_ins,
    steps,
    table_calls,
    tests,
    versions,
)
from counterfoil.model.checks.registry import FORM, RULES, CheckRule
from counterfoil.model.model import Model

__all__ = ["EXPLANATIONS", "RULES", "CheckRule", "check"]

EXPLANATIONS: dict[str, str] = FORM | {name: entry.explanation for name, entry in RULES.items()}
"""Explanation of each rule by its name in findings."""


def check(model: Model) -> list[Finding]:
    """Return the findings about a Model as a whole, sorted by place."""
    checks = dict.fromkeys(entry.check for entry in RULES.values())
    return sorted({finding for run in checks for finding in run(model)})
