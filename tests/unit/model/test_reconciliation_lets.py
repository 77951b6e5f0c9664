"""Named formulas of a reconciliation are written out in the entries of both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.core.finding import Finding
from counterfoil.model import Model, read
from counterfoil.model.kinds.lets import MAX_LENGTH, expand, written_out
from tests.companies.base import write

COMPANY = """
{kind: role, name: lead}
---
{kind: system, name: shop, role: billing, connector: http, owner: lead}
---
{kind: system, name: ledger, role: erp, connector: http, owner: lead}
---
{kind: event, name: order.sold.v1, produced: http, data: {id: id, amount: money, parts: {type: list, items: {fields: {amount: money}}}}}
---
{kind: object, name: sale, system: shop, fields: {amount: money}}
---
kind: reconciliation
name: orders
owner: lead
object: sale
left: shop
right: ledger
key: event.data.id
assert: [{event: order.sold.v1, document: event.data.id, legs: {gross: event.data.amount}}]
observe: [{event: order.sold.v1, document: event.data.id, legs: {gross: event.data.amount}}]
---
kind: reconciliation
name: sales
owner: lead
object: sale
left: shop
right: ledger
key: event.data.id
let: LETS
assert:
  - event: order.sold.v1
    document: event.data.id
    when: amount.minor > 0
    legs: {gross: LEG}
    within: [{reconciliation: orders, key: id}]
observe: [{event: order.sold.v1, document: event.data.id, legs: {gross: event.data.amount}}]
"""
LETS = "{amount: event.data.amount, id: event.data.id}"


def found(folder: Path, lets: str = LETS, leg: str = "amount") -> tuple[Model, list[Finding]]:
    model, findings = read(write(folder, COMPANY.replace("LETS", lets).replace("LEG", leg)))
    return model, [f for f in findings if f.severity == "error"]


def test_entries_have_the_formulas_that_they_name(tmp_path: Path) -> None:
    model, errors = found(tmp_path)
    assert errors == []
    (_, entry), *_ = model.reconciliations["sales"].assertions
    assert entry.formulas == {
        "document": "event.data.id",
        "when": "(event.data.amount).minor > 0",
        "legs.gross": "(event.data.amount)",
        "within.0.key": "(event.data.id)",
    }


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("a * 2", "(1 + 1) * 2"),
        ("=a * 2", "(1 + 1) * 2"),
        ("b - a", "((1 + 1) * 3) - (1 + 1)"),
        ("[2].map(a, a)", "[2].map(a, a)"),
        ("[a].map(x, x + a)", "[(1 + 1)].map(x, x + (1 + 1))"),
        ("event.a", "event.a"),
        ("has(event.a) ? 'a' : event['a']", "has(event.a) ? 'a' : event['a']"),
        ("{'a': a}", "{'a': (1 + 1)}"),
        ("a(", "a("),
        ("aa + c", "aa + c"),
    ],
)
def test_only_free_names_are_written_out(formula: str, text: str) -> None:
    assert expand(formula, written_out({"b": "a * 3", "a": "1 + 1"})) == text


def test_a_formula_that_would_be_too_long_keeps_its_name() -> None:
    assert expand("a", {"a": "1" * MAX_LENGTH}) == "a"


@pytest.mark.parametrize(
    ("lets", "leg", "rule", "says"),
    [
        ("{amount: event.data.amount, id: event.data.id}", "other", "unknown-name", "other"),
        (
            "{amount: event.data.amount, id: event.data.id, x: nobody.knows}",
            "amount",
            "unknown-name",
            "nobody",
        ),
        ("{amount: other, other: amount, id: event.data.id}", "event.data.amount", "unknown-name", "amount"),
        ("{amount: event.data.amount, id: event.data.id, event: run.id}", "amount", "foil-form", "event"),
        ("{amount: 'event.data.amount +', id: event.data.id}", "event.data.amount", "formula", ""),
        ("{amount: event.data.sum, id: event.data.id}", "amount", "unknown-name", "sum"),
    ],
)
def test_check_names_what_no_formula_can_mean(
    tmp_path: Path, lets: str, leg: str, rule: str, says: str
) -> None:
    _, errors = found(tmp_path, lets, leg)
    assert [f for f in errors if f.rule == rule and says in f.message], errors
