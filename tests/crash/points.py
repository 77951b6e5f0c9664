"""The points of a credit at which the server is killed, by name, and the choice among them."""

from __future__ import annotations

import random

OPERATIONS = ("billing.credit_memo.issue", "erp.credit_memo.post", "erp.credit.apply", "support.ticket.reply")
"""The writes of a credit, in order."""
ADMITTED = ("support.credit_requested.v1+ticket.changed.v1", "erp.credit_posted.v1")
"""The facts that a Run of a credit begins and ends with. What else it leads to (billing's echo, the invoice's
new balance, the ticket) may be seen after its end: the campaign takes those from its dry run."""
SURE_TURNS = 6
"""A credit takes at least so many: its start, its approval, and the outcome of each write."""


def _around(name: str) -> list[str]:
    verb, rest = name.split(":", 1)
    return [f"{verb}:{when}:{rest}" for when in ("before", "after")]


ALWAYS = (
    "apply:after:Intent/billing.credit_memo.issue:1",
    "send:after:billing.credit_memo.issue:1",
    "apply:after:Intent/erp.credit_memo.post:1",
    "send:after:erp.credit_memo.post:1",
)
"""Between intent and sending, and between sending and conclusion, where a vendor dedupes and where none does."""
SURE = [
    point
    for name in (
        *(f"apply:Turn/support-credit-to-erp:{n}" for n in range(1, SURE_TURNS + 1)),
        *(f"apply:Intent/{operation}:1" for operation in OPERATIONS),
        *(f"send:{operation}:1" for operation in OPERATIONS),
        *(f"apply:Conclude/{operation}:1" for operation in OPERATIONS),
        *(f"apply:Admit/{events}:1" for events in ADMITTED),
        "apply:Receive/support.issue.created:1",
        "apply:Decide:1",
    )
    for point in _around(name)
]
"""Points that every credit passes."""
NOT_OF_A_CREDIT = (
    "Receive/nothing",
    "Admit/nothing",
    "Admit/period.",
    "Admit/customer.",
    "Admit/invoice.finalized",
)


def slice_of(seed: int, count: int) -> list[str]:
    """ALWAYS and, chosen by the seed, so many others."""
    others = [point for point in SURE if point not in ALWAYS]
    return [*ALWAYS, *random.Random(seed).sample(others, count)]


def of_a_credit(passed: list[str]) -> list[str]:
    """Of the points that a round without kills passed, those that its credit has to do with."""
    return [p for p in passed if not any(other in p for other in NOT_OF_A_CREDIT)]
