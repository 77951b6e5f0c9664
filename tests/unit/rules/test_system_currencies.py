"""Amounts of a system whose minor units are not those of ISO 4217: in, out, and refused."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.connectors.stripe.currencies import CURRENCIES, PRESENTMENT, THREE_DECIMAL
from counterfoil.core import wire
from counterfoil.core.minor_units import MinorUnit, MinorUnits
from counterfoil.core.money import EXPONENTS, Money, MoneyError
from counterfoil.model import Model
from counterfoil.model import read as read_model
from counterfoil.rules import mapping
from counterfoil.rules.mapping import MappedAnswer, MappedEvents, MappingFailed
from counterfoil.twins.stripe import currencies as twin
from tests.companies.base import write
from tests.unit.rules import acme

NOW = datetime(2026, 11, 30, tzinfo=UTC)
COMPANY = """
{{kind: system, name: shop, role: billing, connector: {connector}, currencies: {declared}}}
---
kind: operation
name: shop.pay
system: shop
repeat: key
input: {{amount: money}}
output: {{total: money}}
---
kind: event
name: sold.v1
data: {{id: string, amount: money, same: bool, unit: decimal}}
---
kind: mapping
name: sales
from: {{system: shop, type: sale}}
let: {{c: body.currency.upperAscii()}}
emit:
  type: sold.v1
  key: body.id
  version: "1"
  data:
    id: =body.id
    amount: "=minor(body.amount, c)"
    same: "=minor(minor(body.amount, c).minor, c) == minor(body.amount, c)"
    unit: "=price(body.unit, c)"
---
kind: mapping
name: payments
to: {{operation: shop.pay, system: shop}}
with: {{minor: =input.amount.minor, major: =major(input.amount)}}
returns: {{result: {{total: "=minor(result.total, result.currency)"}}}}
"""


@cache
def model(connector: str = "stripe", declared: str = "{}") -> Model:
    with tempfile.TemporaryDirectory() as folder:
        return read_model(
            write(Path(folder), COMPANY.format(connector=connector, declared=declared)), checks=False
        )[0]


def inbound(amount: Any, currency: str, unit: str = "1", of: Model | None = None) -> Any:
    (rule,) = (of or model()).inbound("shop", "sale")
    body = {"id": "x1", "amount": amount, "currency": currency.lower(), "unit": unit}
    return mapping.apply_inbound(rule, body, None, NOW, {})


def read(amount: Any, currency: str, of: Model | None = None) -> Money:
    mapped = inbound(amount, currency, of=of)
    assert isinstance(mapped, MappedEvents), mapped
    data = mapped.events[0].data
    assert data["same"] is True
    money = data["amount"]
    assert isinstance(money, Money)
    return money


def written(amount: Money, of: Model | None = None) -> Any:
    rule = (of or model()).outbound("shop.pay")
    body = mapping.render(rule, {"amount": amount}, {"posting": date(2026, 1, 2)}, {"id": "r"}, "eff_1", {})
    return wire.read_json(body) if isinstance(body, bytes) else body


@pytest.mark.parametrize("currency", sorted(PRESENTMENT))
def test_every_currency_of_the_vendor_comes_in_and_goes_out_as_the_same_number(currency: str) -> None:
    unit = CURRENCIES.get(currency, MinorUnit(2))
    for number in (
        0,
        unit.multiple_of,
        7 * unit.multiple_of,
        -1300 * unit.multiple_of,
        10**12 * unit.multiple_of,
    ):
        money = read(number, currency)
        assert money.major() == Decimal(number).scaleb(-unit.decimals), currency
        assert written(money) == {"minor": number, "major": money.major()}
    assert inbound(100, currency, "12.5").events[0].data["unit"] == Decimal("12.5").scaleb(-unit.decimals)


@pytest.mark.parametrize("currency", sorted(PRESENTMENT))
def test_the_connector_and_the_twin_agree_on_every_currency(currency: str) -> None:
    unit = CURRENCIES.get(currency, MinorUnit(EXPONENTS[currency]))
    code = currency.lower()
    assert unit.multiple_of == twin.step(code)
    assert (unit.decimals == 0) == (code in twin.ZERO_DECIMAL)


def test_the_connector_and_the_twin_have_the_same_currencies() -> None:
    assert {code.lower() for code in PRESENTMENT} == twin.SUPPORTED
    assert CURRENCIES.keys() <= PRESENTMENT
    units = MinorUnits("shop", "stripe")
    differing = {code for code in PRESENTMENT if units.of(code).decimals != EXPONENTS[code]}
    assert differing == {"UGX", "ISK", "MGA"}


@pytest.mark.parametrize(
    ("number", "currency", "amount"),
    [
        (500, "UGX", "5 UGX"),
        (500, "ISK", "5 ISK"),
        (500, "MGA", "500.00 MGA"),
        (500, "JPY", "500 JPY"),
        (5120, "KWD", "5.120 KWD"),
        (5124, "KWD", "5.124 KWD"),  # the vendor never sends it, but it is exact
        (500, "HUF", "5.00 HUF"),
        (500, "TWD", "5.00 TWD"),
        ("-1300", "UGX", "-13 UGX"),
    ],
)
def test_a_vendors_number_is_the_amount_that_it_means(number: Any, currency: str, amount: str) -> None:
    assert str(read(number, currency)) == amount


@pytest.mark.parametrize(
    ("number", "currency", "says"),
    [
        (550, "UGX", "550 minor units of shop are 5.50 UGX, but UGX has no decimals"),
        (1, "ISK", "0.01 ISK"),
        ("5.5", "MGA", "not a whole number"),
        (1, "CLQ", "not an ISO 4217 currency"),
    ],
)
def test_a_number_that_is_no_amount_is_refused(number: Any, currency: str, says: str) -> None:
    mapped = inbound(number, currency)
    assert isinstance(mapped, MappingFailed)
    assert says in mapped.message


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        (Money(100_50, "MGA"), "100.50 MGA cannot be sent: shop takes MGA with no decimals"),
        (Money(5_124, "KWD"), "5.124 KWD cannot be sent: shop takes KWD in multiples of 0.010"),
        (Money(-5_125, "BHD"), "multiples of 0.010"),
    ],
)
def test_an_amount_that_the_vendor_refuses_is_not_sent(amount: Money, says: str) -> None:
    body = written(amount)
    assert isinstance(body, MappingFailed)
    assert says in body.message


def test_an_answer_is_read_in_the_vendors_units() -> None:
    rule = model().outbound("shop.pay")
    answer = mapping.take_result(rule, {"amount": Money(5, "UGX")}, {"total": 500, "currency": "UGX"}, {})
    assert isinstance(answer, MappedAnswer)
    assert answer.result == {"total": Money(5, "UGX")}


def test_a_system_overrides_its_connector_and_leaves_its_other_currencies() -> None:
    own = model("stripe", "{UGX: {decimals: 0}, USD: {decimals: 4, multiple_of: 100}, KWD: {multiple_of: 1}}")
    assert read(500, "UGX", own) == Money(500, "UGX")
    assert read(500, "ISK", own) == Money(5, "ISK")
    assert written(Money(5_124, "KWD"), own)["minor"] == 5_124
    assert read(10_000, "USD", own) == Money(100, "USD")
    assert written(Money(101, "USD"), own) == {"minor": 10_100, "major": Decimal("1.0100")}


@pytest.mark.parametrize("connector", ["tryton", "external", "not-installed"])
def test_a_connector_without_exceptions_counts_as_iso_4217_does(connector: str) -> None:
    for currency, number in (("UGX", 500), ("MGA", 500), ("KWD", 5_124)):
        assert read(number, currency, model(connector)) == Money(number, currency)
        assert written(Money(number, currency), model(connector))["minor"] == number


@given(
    currency=st.sampled_from(sorted(EXPONENTS)),
    decimals=st.integers(0, 6),
    multiple=st.integers(1, 1000),
    minor=st.integers(-(10**12), 10**12),
)
def test_what_is_written_reads_back_or_is_refused(
    currency: str, decimals: int, multiple: int, minor: int
) -> None:
    units = MinorUnits("shop", "none", ((currency, MinorUnit(decimals, multiple)),))
    amount = Money(minor, currency)
    try:
        number = units.write(amount)
    except MoneyError:
        exact = amount.major().scaleb(decimals)
        assert exact != int(exact) or int(exact) % multiple
    else:
        assert number % multiple == 0
        assert units.read(Decimal(number), currency) == amount
        assert units.write(-amount) == -number


def test_three_decimal_currencies_go_out_in_tens() -> None:
    units = MinorUnits("shop", "stripe")
    for currency in THREE_DECIMAL:
        assert units.write(Money(5_120, currency)) == 5_120
        with pytest.raises(MoneyError, match="multiples of 0\\.010"):
            units.write(Money(5_121, currency))


def test_the_example_company_bills_and_books_a_currency_that_its_vendor_counts_otherwise() -> None:
    amount = Money(5, "UGX")
    value = {
        "credit_id": "cr1",
        "invoice_id": "inv1",
        "customer_id": "cus1",
        "amount": amount,
        "reason": "sla",
    }
    value |= {"to_open": amount, "to_balance": Money(0, "UGX")}
    answers = {("xref", ("invoice", "inv1", "billing")): "in_1", ("xref", ("customer", "cus1", "erp")): "7"}
    answers |= {
        ("table", ("gl_credit", "sla")): "4900",
        ("table", ("credit_treatments", "sla")): "compensation",
    }
    billing, erp = (
        acme.model().outbound(f"{name}.credit_memo.{verb}")
        for name, verb in (("billing", "issue"), ("erp", "post"))
    )
    days = {"document": date(2026, 1, 2), "posting": date(2026, 1, 2)}
    bodies = [mapping.render(m, value, days, {"id": "r"}, "eff_1", answers) for m in (billing, erp)]
    assert all(isinstance(body, bytes) for body in bodies), bodies
    sent, booked = (wire.read_json(body) for body in bodies if isinstance(body, bytes))
    assert (sent["amount"], sent["currency"]) == (500, "UGX")
    assert booked["lines"][0]["unit_price"] == 5
