"""A row that a table lacks is named, whether a formula fails over it, is null without it, or reads a let without a value."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.money import Money
from counterfoil.expr import EvaluationError
from counterfoil.model import Model, read
from counterfoil.rules import mapping
from counterfoil.rules.mapping import MappedEvents, MappingFailed
from counterfoil.rules.matching import foil_of, owed
from counterfoil.rules.templates import UnusableValue
from tests.companies.base import edited, write
from tests.unit.rules.company import BASE, ask, company
from tests.unit.rules.driver import MONDAY, model_of
from tests.unit.rules.test_look_ahead import BOOK, calls

NOW = datetime(2026, 11, 20, tzinfo=UTC)
MAPPING = """\
kind: mapping
name: in
from: {system: bills, type: sale}
let: LETS
emit: {type: asked.v1, key: "KEY", version: 1, data: {id: "=first(table('who', body.by), body.id)", by: "BY"}}
"""
MISSES = {
    "operand": ("{}", "body.id", "=string(table('who', body.by))"),
    "operand of a let": ("{who: \"string(table('who', body.by))\"}", "body.id", "=who"),
    "let": ("{who: \"table('who', body.by)\"}", "body.id", "=who"),
    "let that is read as an operand": ("{who: \"table('who', body.by)\"}", "body.id", "=who + '!'"),
    "part of a let": ("{all: \"[body.by].map(b, {'who': table('who', b)})\"}", "body.id", "=all[0].who"),
    "key": ("{}", "table('who', body.by)", "=body.by"),
    "other branch than null": ("{}", "body.id", "=body.by == 'x' ? null : table('who', body.by)"),
    "last choice": ("{}", "body.id", "=first(null, table('who', body.by))"),
    "let behind a branch": ("{who: \"table('who', body.by)\"}", "body.id", "=body.by == 'x' ? null : who"),
}


@pytest.mark.parametrize("name", MISSES)
def test_a_mapping_that_lacks_a_row_names_it(name: str) -> None:
    failed = mapped(*MISSES[name])
    assert isinstance(failed, MappingFailed)
    assert "the table who has no row for ann" in failed.message


def mapped(lets: str, key: str, by: str) -> Any:
    text = MAPPING.replace("LETS", lets).replace("KEY", key).replace("BY", by)
    model = model_of(
        edited(BASE, ("kind: mapping\nname: ledger-partner", "kind: mapping\nname: former")), text
    )
    (rule,) = model.inbound("bills", "sale")
    body = {"id": "x1", "by": "ann"}
    return mapping.apply_inbound(rule, body, None, MONDAY, {("table", ("who", "ann")): None})


ALLOWED = [
    "=body.by == 'ann' ? null : table('who', body.by)",
    "=body.by == 'ann' ? null : who",
    "=who == null ? null : who",
    "=first(table('who', body.by), null)",
]


@pytest.mark.parametrize("by", ALLOWED)
def test_a_mapping_that_says_null_itself_leaves_the_field_empty(by: str) -> None:
    assert isinstance(mapped("{who: \"table('who', body.by)\"}", "body.id", by), MappedEvents)


# ------------------------------------------------------------------ counterfoils


COMPANY = """
{kind: role, name: lead}
---
{kind: system, name: shop, role: billing, connector: http, owner: lead}
---
{kind: system, name: ledger, role: erp, connector: http, owner: lead}
---
{kind: event, name: order.sold.v1, produced: http, data: {id: id, total: money}}
---
{kind: object, name: sale, system: shop, fields: {total: money}}
---
{kind: table, name: rates, owner: lead, key: [pair], value: rate, rows: [{pair: USD/EUR, rate: "0.9"}]}
---
kind: reconciliation
name: sales
owner: lead
object: sale
left: shop
right: ledger
key: KEY
legs: {gross: {total: true}, rate: {kind: equal}}
assert: [{event: order.sold.v1, document: event.data.id, effective: EFFECTIVE, legs: {gross: event.data.total, rate: RATE}}]
observe: [{event: order.sold.v1, document: event.data.id, legs: {gross: event.data.total, rate: "'1'"}}]
"""
FIELDS = {"KEY": "event.data.id", "EFFECTIVE": "\"'2026-01-01'\"", "RATE": "\"'1'\""}
ROW = "\"table('rates', 'JPY/' + 'EUR')\""
SAYS = {
    "RATE": "rate of sales: the table rates has no row for JPY/EUR",
    "EFFECTIVE": "effective of sales: the table rates has no row for JPY/EUR",
    "KEY": "the table rates has no row for JPY/EUR",
}


def sales(folder: Path, **fields: str) -> Model:
    text = COMPANY
    for name, formula in (FIELDS | fields).items():
        text = text.replace(name, formula)
    model, findings = read(write(folder, text))
    assert [f for f in findings if f.severity == "error"] == []
    return model


def sold(model: Model) -> Any:
    (rule,) = model.foils_by_event("order.sold.v1")
    event = CanonicalEvent(
        id="e-1", type="order.sold.v1", system="shop", object="sale", key="S-1", version=1,
        data={"id": "S-1", "total": Money(100, "JPY")}, occurred_at=NOW, effective_at=NOW, received_at=NOW,
    )  # fmt: skip
    (foil,) = owed(rule, event, lambda name, args: None)
    return foil


@pytest.mark.parametrize("name", SAYS)
def test_a_counterfoil_that_lacks_a_row_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnusableValue, match=SAYS[name]):
        sold(sales(tmp_path, **{name: ROW}))


def test_a_leg_that_needs_a_number_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="the table rates has no row for JPY/EUR"):
        sold(sales(tmp_path, RATE=f'"string({ROW[1:-1]})"'))


def test_a_leg_that_says_null_may_lack_its_row(tmp_path: Path) -> None:
    foil = sold(sales(tmp_path, RATE=f'"first({ROW[1:-1]}, null)"'))
    assert foil_of(foil, None).legs.keys() == {"gross"}


# ------------------------------------------------------------------ workflows


ROWLESS_LET = """\
let: {account: "table('accounts', event.data.incident)"}
steps:
  - check: account.startsWith('4')
  - {call: ledger.book, with: {id: =event.data.id, account: =account}}
"""


async def test_a_workflow_that_reads_a_let_without_a_row_names_it() -> None:
    play = company(
        ROWLESS_LET, BOOK, "kind: mapping\nname: ledger-book\nto: {operation: ledger.book}\nwith: {}\n"
    )
    await ask(play, incident="goodwill")
    assert "the table accounts has no row for goodwill" in play.case("invalid").message
    assert calls(play) == (0, 0)


async def test_an_amount_without_a_rate_names_the_row() -> None:
    rates = (
        "{kind: table, name: worth, owner: finance, key: [pair], value: rate, rows: [{pair: A/B, rate: '1'}]}"
    )
    policy = (
        "kind: policy\nname: worth-it\nowner: finance\n"
        "approval: {currency: EUR, rates: worth, requester: \"'system/bills'\", matrix: [{automatic: true}]}\n"
    )
    play = company(
        "steps: [{approve: worth-it, amount: event.data.amount, covers: [event.data.amount]}]", rates, policy
    )
    await ask(play)
    says = "No exchange rate from USD to EUR is on file: the table worth has no row for USD/EUR"
    assert says in play.case("invalid").message
