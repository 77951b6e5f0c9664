"""Held deliveries: each has an owner for its Case."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from counterfoil.core.canonical import Receipt
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
