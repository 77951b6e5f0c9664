"""Exception that ends a write or look-up of several calls with an outcome."""

from __future__ import annotations

from counterfoil.connectors.sdk import Rejected, Unknown


class EarlyOutcome(Exception):
    """The operation has its outcome before its last step."""

    def __init__(self, outcome: Rejected | Unknown) -> None:
        super().__init__(outcome)
        self.outcome = outcome
