"""A consumer's call with a negative amount is refused before anything is stored, unless its operation allows it."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.core.money import Money
from counterfoil.flow.gateway.calls import CallRefused
from counterfoil.flow.gateway.placement import _check_signs, served_version
from counterfoil.model import Model
from tests.unit.rules import acme

DEBIT = "billing.debit_memo.issue"


def call(model: Model, minor: int) -> None:
    value: dict[str, Any] = {"credit_id": "cr1", "customer_id": "cus1", "amount": Money(minor, "USD")}
    _check_signs(model, served_version(model, DEBIT), value)


@pytest.mark.parametrize("minor", [-1, -100_000_000])
def test_a_negative_amount_is_refused_with_its_place(minor: int) -> None:
    with pytest.raises(CallRefused) as refused:
        call(acme.model(), minor)
    assert refused.value.kind == "contract"
    (fault,) = refused.value.faults
    assert (fault.pointer, fault.detail) == ("#/amount", f"{Money(minor, 'USD')} is negative")


@pytest.mark.parametrize("minor", [0, 1])
def test_zero_and_more_are_taken(minor: int) -> None:
    call(acme.model(), minor)
