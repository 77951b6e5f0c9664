"""Money is accepted in every form in which the API shows it, and refused where its parts disagree."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from counterfoil.core.money import EXPONENTS, INT64_MAX, INT64_MIN, Money
from counterfoil.core.money_json import NOT_MONEY, read_money
from counterfoil.model.explain import explain
from counterfoil.model.fields import object_schema
from counterfoil.rules.contract import Contract, faults
from counterfoil.rules.json_values import has_money, typed, with_minor
from counterfoil.web.api import shapes

SCHEMA = object_schema({"total": "money", "parts?": ["money"], "on?": "date"})
AMOUNTS = st.builds(Money, st.integers(INT64_MIN, INT64_MAX), st.sampled_from(sorted(EXPONENTS)))


@given(AMOUNTS)
def test_money_of_the_api_is_read_back_in_each_of_its_forms(money: Money) -> None:
    shown = shapes.amount(money)
    full = {"amount": shown.amount, "currency": shown.currency, "minor": shown.minor}
    for left_out in ((), ("minor",), ("amount",)):
        form = {name: value for name, value in full.items() if name not in left_out}
        assert read_money(form) == money
        value = typed({"total": form, "parts": [form]}, SCHEMA)
        assert value == {"total": money, "parts": [money]}
        assert faults(value, SCHEMA) == []
        assert Contract(SCHEMA).violations(value) == []
        minor = {"minor": money.minor, "currency": money.currency}
        assert with_minor({"total": form, "on": "2026-01-01"}, SCHEMA) == {"total": minor, "on": "2026-01-01"}


@given(AMOUNTS, st.integers(INT64_MIN, INT64_MAX))
def test_parts_that_disagree_are_refused(money: Money, minor: int) -> None:
    form = {"amount": shapes.amount(money).amount, "currency": money.currency, "minor": minor}
    value = typed({"total": form}, SCHEMA)
    agrees = minor == money.minor
    assert (faults(value, SCHEMA) == []) is agrees
    assert (Contract(SCHEMA).violations(value) == []) is agrees


@pytest.mark.parametrize(
    ("form", "pointer", "detail"),
    [
        ({"amount": "12.30", "currency": "USD", "minor": 1231}, "", "is contradictory: `amount` and `minor` differ"),
        ({"amount": 12.3, "currency": "USD"}, "/amount", "must be decimal text"),
        ({"amount": 12, "currency": "USD"}, "/amount", "must be decimal text"),
        ({"amount": "1e3", "currency": "USD"}, "/amount", "must be decimal text"),
        ({"amount": "1,000.00", "currency": "USD"}, "/amount", "must be decimal text"),
        ({"amount": " 1", "currency": "USD"}, "/amount", "must be decimal text"),
        ({"amount": "1\n", "currency": "USD"}, "/amount", "must be decimal text"),
        ({"amount": "١", "currency": "USD"}, "/amount", "must be decimal text"),
        ({"amount": "NaN", "currency": "USD"}, "/amount", "must be decimal text"),
        ({"amount": "12.345", "currency": "USD"}, "/amount", "has more decimals than its currency"),
        ({"amount": "0.5", "currency": "JPY"}, "/amount", "has more decimals than its currency"),
        ({"amount": "92233720368547758.08", "currency": "USD"}, "/amount", "does not fit 64 bits"),
        ({"amount": "1", "currency": "usd"}, "", NOT_MONEY),
        ({"amount": "1"}, "/currency", "is missing"),
        ({"amount": "1", "currency": "USD", "minor": None}, "/minor", "must be a whole number"),
        ({"amount": "1", "currency": "USD", "minor": True}, "/minor", "must be a whole number"),
        ({"amount": "1", "currency": "USD", "unit": "x"}, "/unit", "is not part of money"),
        ({"minor": 1, "currency": "ZZZ"}, "", NOT_MONEY),
        ({"minor": 2**63, "currency": "USD"}, "", NOT_MONEY),
    ],
)  # fmt: skip
def test_a_refused_form_names_its_place_and_reason_only(
    form: dict[str, Any], pointer: str, detail: str
) -> None:
    assert read_money(form) is None
    value = typed({"total": form}, SCHEMA)
    (fault,) = faults(value, SCHEMA)
    assert fault.pointer == f"#/total{pointer}"
    assert fault.detail.startswith(detail)
    (violation,) = Contract(SCHEMA).violations(value)
    assert violation == f"total{pointer}: {fault.detail}"


@pytest.mark.parametrize("form", [{"minor": 1}, {"currency": "USD"}, {}, "1.00 USD", 5, None, [1, "USD"]])
def test_other_values_are_not_money(form: Any) -> None:
    assert read_money(form) is None
    assert faults(typed({"total": form}, SCHEMA), SCHEMA)


def test_twelve_yen_may_be_written_with_decimals_that_are_zero() -> None:
    assert read_money({"amount": "12.00", "currency": "JPY"}) == Money(12, "JPY")


def test_a_schema_without_money_has_none() -> None:
    assert has_money(SCHEMA)
    assert not has_money(object_schema({"minor": "int", "currency": "string"}))


def test_a_sample_may_hold_money_as_the_api_shows_it() -> None:
    sample = {"total": {"amount": "12.30", "currency": "USD", "minor": 1230}}
    assert explain("total.minor", sample).value == 1230
