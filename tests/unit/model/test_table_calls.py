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


GERMAN = """---
kind: overlay
name: german
of: {legal_entity: %s}
changes:
  - {kind: table, name: by-two, set: {rows: [{entity: %s, reason: b, account: "2"}]}}
"""


@pytest.mark.parametrize(
    ("formula", "missing", "fix"),
    [
        ("table('by-two', 'a', 'b')", "", ""),
        ("table('by-two', 'a', 'bb')", "entity `a`, reason `bb`", "did you mean `b`?"),
        ("table('by-two', 'a', 'bb', date('2026-01-01'))", "entity `a`, reason `bb`", "did you mean `b`?"),
        ("table('by-two', event.data.customer_id, 'x')", "reason `x`", "add the row"),
        ("table('by-two', event.data.customer_id, 'b')", "", ""),
        ("table('by-two', event.data.customer_id, event.data.reason)", "", ""),
        ("first(table('by-two', 'a', 'x'), 'agent')", "", ""),
        ("first(event.data.reason, table('by-two', 'a', 'x'))", "entity `a`, reason `x`", "add the row"),
        ("table('by-two', 'a', 'x') != null ? 'agent' : 'finance'", "", ""),
        ("null == table('by-two', 'a', 'x') ? 'agent' : 'finance'", "", ""),
        (
            "table('by-two', 'a', 'x') == 'void' ? 'agent' : 'finance'",
            "entity `a`, reason `x`",
            "add the row",
        ),
    ],
)
def test_a_look_up_of_constant_values_has_a_row(tmp_path: Path, formula: str, missing: str, fix: str) -> None:
    text = (TABLE % "").replace("table('by-two', )", formula)
    _, findings = findings_of(tmp_path, COMPANY + text)
    rows = [(f.severity, f.message, f.fix[: len(fix)]) for f in findings if f.rule == "unknown-row"]
    message = f"the table `by-two` has no row for {missing}, so the formula reads null"
    assert rows == ([("error", message, fix)] if missing else [])


def test_rows_of_an_overlay_count_at_its_place(tmp_path: Path) -> None:
    """The overlay replaces the row. The policy finds its row everywhere but in the legal entity of the overlay."""
    text = COMPANY + TABLE % "'a', 'b'" + GERMAN % ("de", "c") + EVENT_OF_ENTITY
    _, findings = findings_of(tmp_path, text)
    assert [(f.rule, f.severity, f.message) for f in findings if f.rule == "unknown-row"] == [
        (
            "unknown-row",
            "error",
            "the table `by-two` has no row for entity `a`, reason `b`, so the formula reads null (in legal entity de)",
        )
    ]


def test_a_row_that_only_an_overlay_has_is_a_warning_elsewhere(tmp_path: Path) -> None:
    text = COMPANY + TABLE % "'c', 'b'" + GERMAN % ("de", "c") + EVENT_OF_ENTITY
    _, findings = findings_of(tmp_path, text)
    assert [(f.severity, f.message) for f in findings if f.rule == "unknown-row"] == [
        ("warning", "the table `by-two` has no row for entity `c`, reason `b`, so the formula reads null")
    ]


EVENT_OF_ENTITY = """---
kind: event
name: entity.opened.v1
produced: http
data: {legal_entity: string}
"""
