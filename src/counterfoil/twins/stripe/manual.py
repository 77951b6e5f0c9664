"""Documentation of the faults, controls and test cards, as the help of the command and of `GET /_twin/help` show it."""

from __future__ import annotations

import textwrap

from counterfoil.twins.stripe.bank_accounts import ACCOUNTS
from counterfoil.twins.stripe.cards import CARDS
from counterfoil.twins.stripe.controls import CONTROLS
from counterfoil.twins.stripe.faults import EVENT_KINDS, MONEY_KINDS, REQUEST_KINDS

SECTIONS = {
    "Controls, below /_twin/": CONTROLS,
    "Faults of requests": REQUEST_KINDS,
    "Faults of events": EVENT_KINDS,
    "Faults of money": MONEY_KINDS,
    "Test cards, as pm_card_NAME, tok_NAME or number": {
        f"{name} ({card.number})": card.effect for name, card in CARDS.items()
    },
    "Test bank accounts, as pm_NAME or number": {
        f"{name} ({account.number})": account.effect for name, account in ACCOUNTS.items()
    },
}
"""Title of each section, with its names and their effects."""
_LINE_CHARACTERS = 100


def help_text() -> str:
    """Return all sections as plain text."""
    lines: list[str] = []
    for title, rows in SECTIONS.items():
        lines += [f"{title}:"]
        for name, effect in rows.items():
            lines += [f"  {name}", textwrap.indent(textwrap.fill(effect, _LINE_CHARACTERS - 6), "      ")]
        lines.append("")
    return "\n".join(lines).rstrip()
