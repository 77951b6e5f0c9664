"""Which values `check` lets a leg have, by its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.model import read
from tests.companies.base import write

COMPANY = """
{kind: role, name: lead}
---
{kind: system, name: shop, role: billing, connector: http, owner: lead}
---
{kind: system, name: ledger, role: erp, connector: http, owner: lead}
---
{kind: event, name: sold.v1, produced: http, data: {id: id, amount: money, seats: int, code: string, paid: bool, day: date}}
---
{kind: object, name: sale, system: shop, fields: {amount: money}}
---
kind: reconciliation
name: sales
owner: lead
object: sale
left: shop
right: ledger
key: event.data.id
legs: {LEGS}
assert: [{event: sold.v1, document: event.data.id, legs: {leg: event.data.VALUE}}]
observe: [{event: sold.v1, document: event.data.id, legs: {leg: event.data.VALUE}}]
"""
FITS = {
    "unnamed": {"amount", "seats"},
    "sum": {"amount", "seats"},
    "equal": {"amount", "seats", "code"},
    "at_least": {"seats"},
}


@pytest.mark.parametrize("value", ["amount", "seats", "code", "paid", "day"])
@pytest.mark.parametrize("kind", FITS)
def test_a_leg_has_a_type_that_its_kind_can_compare(kind: str, value: str, tmp_path: Path) -> None:
    legs = "" if kind == "unnamed" else f"leg: {{kind: {kind}}}"
    text = COMPANY.replace("{LEGS}", f"{{{legs}}}").replace("VALUE", value)
    _, findings = read(write(tmp_path, text))
    misfits = [f.message for f in findings if f.rule == "formula"]
    assert (not misfits) == (value in FITS[kind]), misfits
