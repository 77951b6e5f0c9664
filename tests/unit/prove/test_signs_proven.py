"""A proof tries negative amounts: none reaches a system unless the policies and the operation allow it."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.core.finding import errors
from counterfoil.model import read
from counterfoil.prove import prove
from tests.companies.base import documents, edited, write
from tests.companies.proven import COMPANY

FLOW = """
kind: workflow
name: credit
owner: finance
failure: careful
start: {event: credit.requested.v1, key: event.data.credit_id}
serial: {key: event.data.customer_id}
steps:
  - {approve: review, amount: event.data.amount, reserve: cap, covers: [event.data.amount, event.data.credit_id]}
  - {call: bills.memo.issue, with: {credit_id: =event.data.credit_id, amount: =event.data.amount}}
  - wait: {foils: all, until: +5d}
    outcomes: {timeout: park}
invariants:
  - name: nothing-negative
    never: "effects.exists(e, e.operation == 'bills.memo.issue' && e.input.amount.minor < 0)"
  - name: within-the-limit
    never: "effects.exists(e, e.operation == 'bills.memo.issue' && abs(e.input.amount).minor > 500000)"
"""
ISSUE = "name: bills.memo.issue\nsystem: bills\nexecutor: identity\n"


@pytest.mark.parametrize("allowed", [False, True])
def test_a_negative_amount_is_issued_only_where_it_is_allowed(tmp_path: Path, allowed: bool) -> None:
    text = documents(COMPANY, FLOW)
    if allowed:
        text = edited(
            text,
            (ISSUE, f"{ISSUE}negative: true\n"),
            ("approval:\n  currency: USD", "approval:\n  negative: true\n  currency: USD"),
            ("currency: USD, at_most: 5000", "currency: USD, negative: true, at_most: 5000"),
        )
    model, findings = read(write(tmp_path, text))
    assert errors(findings) == []
    broken = {example.invariant for example in prove(model, "credit", 1).broken}
    assert broken == ({"nothing-negative"} if allowed else set())
