"""Held deliveries: each has an owner for its Case."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from counterfoil.core import wire
from counterfoil.core.canonical import Receipt
from counterfoil.core.money import Money
from counterfoil.rules import admission
from counterfoil.rules.admission import HeldDelivery
from tests.unit.rules.company import BASE
from tests.unit.rules.driver import model_of


@pytest.mark.parametrize("system", ["erp", "removed"])
def test_a_delivery_that_no_mapping_takes_is_held_with_an_owner(system: str) -> None:
    receipt = Receipt(
        system=system,
        ext_id="d1",
        identity="x",
        sha256="x",
        type="invoice.created",
        received_at=datetime(2026, 1, 5, tzinfo=UTC),
        door="webhook",
        headers={},
        body=b"{}",
    )
    with pytest.raises(HeldDelivery) as held:
        admission.accepting_mappings(model_of(BASE), receipt, {}, [])
    assert (held.value.reason, held.value.owner) == ("unrouted", "finance")


@pytest.mark.parametrize("left_out", ["", "amount", "minor"])
def test_an_event_has_money_in_each_form_of_the_api(left_out: str) -> None:
    shown = {"amount": "12.30", "currency": "USD", "minor": 1230}
    form = {name: part for name, part in shown.items() if name != left_out}
    event = admission.accept_declared(model_of(BASE), cloud_event(form))
    assert event.data["amount"] == Money(1230, "USD")


def test_an_event_whose_amounts_disagree_is_held_with_a_clear_reason() -> None:
    with pytest.raises(HeldDelivery, match="`amount` and `minor` differ") as held:
        admission.accept_declared(
            model_of(BASE), cloud_event({"amount": "12.30", "currency": "USD", "minor": 1})
        )
    assert held.value.reason == "contract"


def cloud_event(amount: object) -> Receipt:
    data = {"id": "a1", "amount": amount, "by": "ann", "invoice_id": "i1", "incident": "x1"}
    event = {"specversion": "1.0", "id": "e1", "source": "/erp", "type": "asked.v1", "data": data}
    return Receipt(
        system="erp",
        ext_id="e1",
        identity="x",
        sha256="x",
        type="asked.v1",
        received_at=datetime(2026, 1, 5, tzinfo=UTC),
        door="events",
        headers={},
        body=wire.write_json(event),
    )
