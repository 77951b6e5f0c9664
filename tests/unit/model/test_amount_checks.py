"""Where `check` asks for the sign of an amount, and where it knows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.model import read
from tests.companies.base import write

COMPANY = """
{kind: role, name: lead}
---
{kind: system, name: shop, role: billing, connector: http}
---
{kind: event, name: sold.v1, data: {id: id, amount: money, open: money, lines: [any]}}
---
kind: operation
name: shop.pay
system: shop
repeat: key
irreversible: paid for good
input: {id: id, amount: FIELD}
OPERATION
---
kind: policy
name: big
approval: {currency: USD, matrix: [{up_to: 5, automatic: true}, {roles: [lead]}], APPROVAL}
---
kind: policy
name: cap
limit: {per: [id], currency: USD, LIMIT}
---
kind: workflow
name: pay
owner: lead
failure: careful
start: {event: sold.v1, key: event.data.id}
let: {rest: event.data.amount - event.data.open, open: event.data.open}
steps:
  - check: CHECK
  - {approve: big, amount: "AMOUNT", reserve: cap, covers: [event.data.amount, event.data.open, event.data.id]}
  - {call: shop.pay, with: {id: =event.data.id, amount: "=AMOUNT"}}
"""
SAYS = {"approval": "big", "limit": "cap", "input": "shop.pay"}


def asked(folder: Path, amount: str, check: str = "true", **says: str) -> set[str]:
    """Return the kinds of places that `check` asks to say the sign of an amount."""
    text = COMPANY.replace("AMOUNT", amount).replace("CHECK", check)
    for name, default in (
        ("FIELD", "money"),
        ("OPERATION", ""),
        ("APPROVAL", "expires: 1d"),
        ("LIMIT", "at_most: 9"),
    ):
        text = text.replace(name, says.get(name.lower(), default))
    _, findings = read(write(folder, text))
    wanted = [f for f in findings if f.rule == "negative-amount"]
    assert {f.severity for f in wanted} <= {"warning"}
    return {
        place
        for place, name in SAYS.items()
        for f in wanted
        if name in f.message or (place == "input" and "send" in f.message)
    }


ALL = {"approval", "limit", "input"}


@pytest.mark.parametrize(
    ("amount", "check", "places"),
    [
        ("event.data.amount", "true", ALL),
        ("event.data.amount", "event.data.amount.minor > 0", set()),
        ("event.data.amount", "event.data.amount.minor >= 0 && event.data.id != ''", set()),
        ("event.data.amount", "0 <= event.data.amount.minor", set()),
        ("event.data.amount", "event.data.amount >= minor(100, 'USD')", set()),
        ("event.data.amount", "event.data.amount.minor > -5", ALL),
        ("event.data.amount", "event.data.amount.minor > 0 || event.data.id == ''", ALL),
        ("event.data.amount", "event.data.amount.minor != 0", ALL),
        ("event.data.amount", "event.data.open.minor > 0", ALL),
        ("rest", "event.data.amount.minor > 0 && event.data.open.minor > 0", ALL),
        ("open", "event.data.open.minor > 0", set()),
        ("abs(rest)", "true", set()),
        ("-event.data.amount", "event.data.amount.minor > 0", ALL),
        ("max(rest, minor(0, 'USD'))", "true", set()),
        ("min(event.data.amount, event.data.open)", "event.data.open.minor > 0", ALL),
        ("min(event.data.amount, open)", "event.data.open.minor > 0 && event.data.amount.minor > 0", set()),
        ("minor(500, 'USD')", "true", set()),
        ("minor(-500, 'USD')", "true", ALL),
        ("event.data.amount + open", "event.data.amount.minor > 0 && event.data.open.minor >= 0", set()),
        ("(event.data.id == '' ? event.data.amount : open)", "event.data.open.minor > 0", ALL),
    ],
)  # fmt: skip
def test_check_asks_where_an_amount_may_be_negative(
    tmp_path: Path, amount: str, check: str, places: set[str]
) -> None:
    assert asked(tmp_path, amount, check) == places


@pytest.mark.parametrize("word", ["true", "false"])
def test_either_answer_ends_the_question(tmp_path: Path, word: str) -> None:
    amount = "event.data.amount"
    (tmp_path / "field").mkdir()
    (tmp_path / "operation").mkdir()
    policies = {"approval": f"negative: {word}", "limit": f"negative: {word}"}
    field = f"{{type: money, negative: {word}}}"
    assert asked(tmp_path / "field", amount, field=field, **policies) == set()
    assert asked(tmp_path / "operation", amount, operation=f"negative: {word}", **policies) == set()
