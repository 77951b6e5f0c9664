"""Amounts: minor units of systems, and where negative amounts may go."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.core.money import EXPONENTS
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.model import Model


@rule("system-currency")
def system_currency(model: Model) -> Iterator[Finding]:
    """The `currencies` of a system are codes of ISO 4217 with a minor unit."""
    for document, system in model.documents_of(kinds.System):
        for code in system.currencies:
            if code not in EXPONENTS:
                message = f"{code} is not a currency of ISO 4217"
                yield document.finding("system-currency", message, ("currencies", code), at_key=True)
