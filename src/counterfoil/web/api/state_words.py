"""Finance's words for the states of counterfoils."""

from __future__ import annotations

FINANCE_WORDS = {
    "provisional": "expected entry",
    "open": "open item",
    "partly": "reconciling item",
    "matched": "matched",
    "over": "duplicate suspected",
    "broken": "break",
    "waived": "waived",
    "reversed": "reversed",
    "void": "void",
}
"""Finance's word for a counterfoil in each state."""
