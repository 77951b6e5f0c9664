"""Bank lines that pay invoices by their text: one wire over several, charges, short pay, a rest on account, and batches."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from counterfoil.core.event import Event
from counterfoil.flow.intake.receive import receive_events
from counterfoil.model import Model
from tests.companies.base import COMPLETE_POLICY, checked, documents, write
from tests.unit.rules.driver import MONDAY, Play

COMPANY = """
{kind: role, name: finance}
---
{kind: role, name: treasury}
---
{kind: system, name: bills, role: billing, connector: external, owner: finance}
---
{kind: system, name: house-bank, role: bank, connector: external, owner: treasury}
---
{kind: object, name: invoice, system: bills, fields: {id: id, total: money}}
---
{kind: object, name: bank_line, system: house-bank, extends: bank_line@1, fields: {}}
---
kind: event
name: invoice.sent.v1
object: invoice
key: id
produced: http
data: {id: id, customer: string, total: money}
---
{kind: event, name: bank.line_booked.v1, object: bank_line, key: bank_line_id, produced: http,
 extends: bank.line_booked@1}
---
kind: reconciliation
name: invoice-paid-by-wire
owner: finance
object: invoice
left: bills
right: house-bank
shape: n:m
rest: on_account
legs:
  gross: {total: true}
  charges: {tolerance: 2000, absorbed_by: treasury}
assert:
  - event: invoice.sent.v1
    document: event.data.id
    key: event.data.customer
    legs: {gross: event.data.total, charges: 'money(0, event.data.total.currency)'}
observe:
  - event: bank.line_booked.v1
    when: '!has(event.data.parts)'
    document: event.data.bank_line_id
    # A line that names no invoice is money on account, and not a payment of the oldest invoice.
    key: >-
      event.data.remittance.find_all('INV-[0-9]+') == []
      ? 'on account ' + event.data.counterparty_name : event.data.counterparty_name
    names: event.data.remittance.find_all('INV-[0-9]+')
    legs:
      gross: event.data.amount - event.data.charges
      charges: -event.data.charges
---
kind: reconciliation
name: invoice-paid-in-batch
owner: finance
object: invoice
left: bills
right: house-bank
shape: 1:n
legs: {gross: {total: true}}
assert:
  - event: invoice.sent.v1
    document: event.data.id
    key: event.data.id
    legs: {gross: event.data.total}
observe:
  - event: bank.line_booked.v1
    each: first(event.data.parts, [])
    document: event.data.bank_line_id + '/' + item.reference
    key: item.remittance.find_all('INV-[0-9]+')[0]
    legs: {gross: item.amount}
"""
WIRE, BATCH = "invoice-paid-by-wire", "invoice-paid-in-batch"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder: Path = tmp_path_factory.mktemp("wires")
    return checked(write(folder, documents(COMPLETE_POLICY, COMPANY)))


def usd(minor: int) -> dict[str, Any]:
    return {"minor": minor, "currency": "USD"}


async def send(play: Play, type_: str, name: str, **data: Any) -> None:
    source = "/bills" if type_.startswith("invoice") else "/house-bank"
    event = Event(
        id=name, source=source, type=type_, time=MONDAY + timedelta(hours=1), subject=name, data=data
    )
    await receive_events(play.store, play.model, [event], play.now)
    await play.settle()


async def send_line(play: Play, name: str, minor: int, text: str, charges: int = 0, **more: Any) -> None:
    await send(
        play, "bank.line_booked.v1", name, bank_line_id=name, statement="S-1", account="1000", amount=usd(minor),
        charges=usd(-charges), booked_on=date(2026, 3, 2).isoformat(), counterparty_name="Initech", remittance=text, **more,
    )  # fmt: skip


async def outcome(play: Play, rule: str) -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    dump = await play.store.dump()
    foils = {
        foil.document: (str(foil.state), foil.residual.get("gross", 0))
        for foil in dump.foils
        if foil.rule == rule
    }
    return foils, {item.document: str(item.state) for item in dump.observations if item.rule == rule}


def after(model: Model, *lines: dict[str, Any], rule: str = WIRE) -> tuple[Any, Any]:
    """Return the states of three invoices and of the lines that the bank booked."""

    async def run() -> tuple[Any, Any]:
        play = Play(model)
        for name, total in (("INV-1", 100_000), ("INV-2", 200_000), ("INV-3", 300_000)):
            await send(play, "invoice.sent.v1", name, id=name, customer="Initech", total=usd(total))
        for line in lines:
            await send_line(play, **line)
        return await outcome(play, rule)

    return asyncio.run(run())


TEXT = "Invoices INV-1, INV-2/INV-3"
PAID = ("matched", 0)
CASES: dict[str, tuple[list[dict[str, Any]], list[tuple[str, int]], str]] = {
    "exact": ([{"minor": 600_000, "text": TEXT}], [PAID, PAID, PAID], "paired"),
    "charges": ([{"minor": 598_500, "text": TEXT, "charges": 1500}], [PAID, PAID, PAID], "paired"),
    "charges over the tolerance": (
        [{"minor": 595_000, "text": TEXT, "charges": 5000}], [PAID, PAID, ("broken", 0)], "paired"),
    "short without a reason": ([{"minor": 598_500, "text": TEXT}], [PAID, PAID, ("partly", 1500)], "paired"),
    "overpaid": ([{"minor": 610_000, "text": TEXT}], [PAID, PAID, ("over", -10_000)], "paired"),
    "one of three": (
        [{"minor": 200_000, "text": "INV-2"}], [("open", 100_000), PAID, ("open", 300_000)], "paired"),
    "two lines": (
        [{"minor": 250_000, "text": "INV-1 INV-2"}, {"minor": 350_000, "text": "INV-3, rest of INV-2"}],
        [PAID, PAID, PAID], "paired"),
    "on account": (
        [{"minor": 12_345, "text": "thank you"}], [("open", 100_000), ("open", 200_000), ("open", 300_000)], "unmatched"),
    "rest of a named invoice": (
        [{"minor": 210_000, "text": "INV-2"}], [("open", 100_000), ("over", -10_000), ("open", 300_000)], "paired"),
}  # fmt: skip
"""Lines, and what they leave of the invoices of 1,000.00, 2,000.00 and 3,000.00. What is paid
beyond a named invoice is over, and goes to no other one."""


@pytest.mark.parametrize("case", CASES)
def test_a_wire_pays_the_invoices_that_its_text_names(model: Model, case: str) -> None:
    lines, expected, state = CASES[case]
    foils, items = after(model, *({**line, "name": f"L-{n}"} for n, line in enumerate(lines)))
    assert [foils[name] for name in ("INV-1", "INV-2", "INV-3")] == expected
    assert set(items.values()) == {state}


def test_each_part_of_a_batch_pays_the_invoice_of_its_text(model: Model) -> None:
    parts = [
        {
            "amount": usd(minor),
            "reference": f"P-{n}",
            "remittance": f"pays INV-{n}",
            "counterparty": "Initech",
        }
        for n, minor in ((1, 100_000), (3, 290_000))
    ]
    line = {"name": "L-1", "minor": 390_000, "text": "Collection", "parts": parts}
    foils, items = after(model, line, rule=BATCH)
    assert foils == {"INV-1": PAID, "INV-2": ("open", 200_000), "INV-3": ("partly", 10_000)}
    assert items == {"L-1/P-1": "paired", "L-1/P-3": "paired"}
