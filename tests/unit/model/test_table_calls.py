"""Look-ups of tables in formulas have a value for each column of the key, and perhaps a date."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.companies.clean import COMPANY, findings_of

TABLE = """---
kind: table
name: by-two
owner: finance
key: [entity, reason]
value: account
rows: [{entity: a, reason: b, account: "1"}]
---
kind: policy
name: uses-it
approval:
  negative: false
  currency: USD
  requesters: [agent]
  requester: "table('by-two', %s)"
  matrix: [{roles: [finance]}]
"""


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ("'a'", 1),
        ("'a', 'b', date('2026-01-01'), 'c'", 4),
        ("'a', 'b'", 0),
        ("'a', 'b', date('2026-01-01')", 0),
    ],
)
def test_the_number_of_values_is_that_of_the_key(tmp_path: Path, arguments: str, count: int) -> None:
    _, findings = findings_of(tmp_path, COMPANY + TABLE % arguments)
    messages = [f.message for f in findings if f.rule == "table-key"]
    assert messages == (
        [f"the key of the table `by-two` is entity, reason, and the formula gives {count} values"]
        if count
        else []
    )
