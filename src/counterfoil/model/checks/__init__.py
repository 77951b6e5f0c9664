"""Whole-model checks: each a function whose docstring explains its rule, all run together."""

from counterfoil.core.finding import Finding
from counterfoil.model.checks import contracts, ownership, references, steps
from counterfoil.model.checks.registry import RULES, Rule
from counterfoil.model.model import Model

__all__ = ["RULES", "Rule", "check", "contracts", "ownership", "references", "steps"]


def check(model: Model) -> list[Finding]:
    """Everything that is wrong with a Model as a whole, sorted by place."""
    return sorted({finding for found in RULES.values() for finding in found.check(model)})
