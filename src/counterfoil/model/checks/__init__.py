"""Whole-model checks: each a function whose docstring explains its rule, all run together."""

from counterfoil.core.finding import Finding
from counterfoil.model.checks import (
    approvals,
    casts,
    changes,
    contracts,
    controls,
    exposed,
    foils,
    formulas,
    ownership,
    references,
    safety,
    steps,
    versions,
)
from counterfoil.model.checks.form import FORM
from counterfoil.model.checks.registry import RULES, Rule
from counterfoil.model.model import Model

__all__ = [
    "EXPLANATIONS",
    "RULES",
    "Rule",
    "approvals",
    "casts",
    "changes",
    "check",
    "contracts",
    "controls",
    "exposed",
    "foils",
    "formulas",
    "ownership",
    "references",
    "safety",
    "steps",
    "versions",
]


EXPLANATIONS: dict[str, str] = FORM | {name: found.explanation for name, found in RULES.items()}
"""What each rule demands, by the name that its findings carry."""


def check(model: Model) -> list[Finding]:
    """Everything that is wrong with a Model as a whole, sorted by place."""
    found = dict.fromkeys(one.check for one in RULES.values())
    return sorted({finding for one in found for finding in one(model)})
