"""Money: exactness, refusals, and the laws of rounding and allocation."""

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.money import (
    EXPONENTS,
    INT64_MAX,
    INT64_MIN,
    CurrencyMismatch,
    Inexact,
    Money,
    MoneyError,
    OutOfRange,
    Rounding,
    allocate,
    exponent,
    round_decimal,
    split,
)

currencies = st.sampled_from(["USD", "JPY", "KWD", "CLF", "EUR"])
minors = st.integers(-(10**15), 10**15)
moneys = st.builds(Money, minors, currencies)
weights = st.lists(
    st.one_of(st.integers(0, 10**9), st.decimals(0, 10**6, places=4)), min_size=1, max_size=20
).filter(lambda ws: any(ws))


def test_codes_have_their_number_of_decimals():
    assert [exponent(c) for c in ("JPY", "USD", "KWD", "CLF", "UYW", "XAF", "BHD", "XCG")] == [
        0,
        2,
        3,
        4,
        4,
        0,
        3,
        2,
    ]
    assert all(len(code) == 3 and code.isupper() for code in EXPONENTS)
    assert len(EXPONENTS) > 160


@pytest.mark.parametrize("code", ["usd", "XXX", "XAU", "", "US", "USDX", None])
def test_unknown_currency_is_refused(code):
    with pytest.raises(MoneyError, match="ISO 4217"):
        Money(1, code)


@pytest.mark.parametrize("minor", [True, 1.0, "1", None, Decimal(1)])
def test_minor_units_must_be_an_int(minor):
    with pytest.raises(MoneyError, match="must be an int"):
        Money(minor, "USD")


def test_two_currencies_never_meet():
    a, b = Money(1, "USD"), Money(1, "EUR")
    for act in (lambda: a + b, lambda: a - b, lambda: a < b, lambda: a <= b, lambda: a > b, lambda: a >= b):
        with pytest.raises(CurrencyMismatch, match="USD and EUR"):
            act()
    assert a != b


@pytest.mark.parametrize("factor", [Decimal("1.5"), 1.5, True, "2"])
def test_multiplication_takes_only_an_int(factor):
    with pytest.raises(TypeError):
        Money(100, "USD") * factor


def test_adding_a_bare_number_is_refused():
    with pytest.raises(TypeError):
        Money(100, "USD") + 1


def test_bounds_are_64_bits():
    assert Money(INT64_MAX, "USD").minor == INT64_MAX
    for act in (
        lambda: Money(INT64_MAX, "USD") + Money(1, "USD"),
        lambda: Money(INT64_MIN, "USD") - Money(1, "USD"),
        lambda: -Money(INT64_MIN, "USD"),
        lambda: abs(Money(INT64_MIN, "USD")),
        lambda: Money(INT64_MAX, "USD") * 2,
        lambda: Money.from_major(Decimal("1E+999999"), "USD"),
        lambda: Money(1, "USD").times(Decimal("1E+999999"), Rounding.DOWN),
    ):
        with pytest.raises(OutOfRange):
            act()


def test_inexact_major_needs_a_rule():
    with pytest.raises(Inexact, match="name a rounding rule"):
        Money.from_major(Decimal("0.005"), "USD")
    with pytest.raises(Inexact):
        Money.from_major(Decimal("1E-999999"), "USD")
    assert Money.from_major(Decimal("0.005"), "USD", Rounding.HALF_EVEN) == Money(0, "USD")
    assert Money.from_major(Decimal("0.005"), "USD", Rounding.HALF_UP) == Money(1, "USD")
    assert Money.from_major(12, "JPY") == Money(12, "JPY")
    assert Money.from_major(Decimal("1.2340"), "KWD") == Money(1234, "KWD")


@pytest.mark.parametrize("amount", [Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), 1.5, True])
def test_what_is_no_exact_number_is_refused(amount):
    with pytest.raises(MoneyError):
        Money.from_major(amount, "USD", Rounding.DOWN)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("half_even", [2, 2, -2, -2, 4]),
        ("half_up", [2, 3, -2, -3, 4]),
        ("half_down", [1, 2, -1, -2, 3]),
        ("up", [2, 3, -2, -3, 4]),
        ("down", [1, 2, -1, -2, 3]),
        ("ceiling", [2, 3, -1, -2, 4]),
        ("floor", [1, 2, -2, -3, 3]),
    ],
)
def test_rounding_rules_by_name(rule, expected):
    values = ["1.5", "2.5", "-1.5", "-2.5", "3.5"]
    assert [Money(1, "USD").times(Decimal(v), Rounding(rule)).minor for v in values] == expected
    assert [int(round_decimal(Decimal(v), 0, Rounding(rule))) for v in values] == expected


def test_text_form_shows_the_currency_decimals():
    assert [str(m) for m in (Money(-5, "USD"), Money(5, "JPY"), Money(1, "CLF"))] == [
        "-0.05 USD",
        "5 JPY",
        "0.0001 CLF",
    ]


def test_wire_form_is_checked_on_the_way_in():
    assert msgspec.json.decode(msgspec.json.encode(Money(5, "USD")), type=Money) == Money(5, "USD")
    with pytest.raises(msgspec.ValidationError, match="ISO 4217"):
        msgspec.json.decode(b'{"minor": 5, "currency": "ZZZ"}', type=Money)


@given(moneys)
def test_major_and_back_is_identity(money):
    assert Money.from_major(money.major(), money.currency) == money


@given(minors, minors, currencies)
def test_addition_agrees_with_integers(a, b, currency):
    assert (Money(a, currency) + Money(b, currency)).minor == a + b
    assert (Money(a, currency) - Money(b, currency)).minor == a - b
    assert (Money(a, currency) < Money(b, currency)) == (a < b)
    assert (Money(a, currency) >= Money(b, currency)) == (a >= b)
    assert hash(Money(a, currency)) == hash(Money(a, currency))


@given(moneys, st.decimals(-1000, 1000, places=6), st.sampled_from(Rounding))
def test_times_is_within_one_unit_of_the_exact_product(money, factor, rule):
    exact = Fraction(money.minor) * Fraction(factor)
    assert abs(money.times(factor, rule).minor - exact) < 1


@given(moneys, weights)
def test_allocation_sums_to_the_whole_and_stays_within_one_unit(total, ws):
    parts = allocate(total, ws)
    assert sum(p.minor for p in parts) == total.minor
    whole = sum(Fraction(w) for w in ws)
    for part, weight in zip(parts, ws, strict=True):
        assert abs(part.minor - total.minor * Fraction(weight) / whole) < 1
        assert weight or part.minor == 0
    assert allocate(-total, ws) == [-p for p in parts]


@given(moneys, st.integers(1, 400))
def test_split_is_even_and_whole(total, n):
    parts = [p.minor for p in split(total, n)]
    assert sum(parts) == total.minor
    assert max(parts) - min(parts) <= 1


def test_ties_go_to_the_earlier_position():
    assert [p.minor for p in allocate(Money(100, "USD"), [1, 1, 1])] == [34, 33, 33]
    assert [p.minor for p in allocate(Money(-100, "USD"), [1, 1, 1])] == [-34, -33, -33]
    assert [p.minor for p in allocate(Money(1, "USD"), [Decimal("0.1"), Decimal("0.7"), Decimal("0.2")])] == [
        0,
        1,
        0,
    ]


@pytest.mark.parametrize(
    "ws", [[], [0, 0], [Decimal(0)], [1, -1], [True], [1.5], [Decimal("NaN")], [Decimal("1E-200")]]
)
def test_weights_that_mean_nothing_are_refused(ws):
    with pytest.raises(MoneyError):
        allocate(Money(100, "USD"), ws)


def test_splitting_into_no_parts_is_refused():
    with pytest.raises(MoneyError):
        split(Money(1, "USD"), 0)
