"""Edge cases of functions: rejected arguments, and the laws of their results."""

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.money import Money
from counterfoil.expr import EvaluationError, compile


def run(text, **bindings):
    return compile(text)(bindings)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'aXbX'.replace('X', '')", "ab"),
        ("'aaa'.replace('a', 'b', 2)", "bba"),
        ("'aaa'.replace('a', 'b', 0)", "aaa"),
        ("'abc'.split('')", ["a", "b", "c"]),
        ("'abc'.split('', 2)", ["a", "bc"]),
        ("'a,b,c'.split(',', 2)", ["a", "b,c"]),
        ("'a,b'.split(',', 0)", []),
        ("'a,b'.split(',', -1)", ["a", "b"]),
        ("''.split(',')", [""]),
        ("'abc'.substring(1)", "bc"),
        ("'abc'.substring(3)", ""),
        ("'abc'.charAt(3)", ""),
        ("'ÄÖß'.lowerAscii() + 'äé'.upperAscii()", "ÄÖßäé"),
        ("[].join()", ""),
        ("['a'].join(',')", "a"),
        ("matches('abc', 'b')", True),
        ("find_all('Ré INV-7/INV-12, INV-x', 'INV-[0-9]+')", ["INV-7", "INV-12"]),
        ("'aaa'.find_all('aa')", ["aa"]),
        ("'abab'.find_all('^ab|b')", ["ab", "b"]),
        ("'éab éb'.find_all('é(a|b)')", ["éa", "éb"]),
        ("'abc'.find_all('x*')", []),
        ("''.find_all('a')", []),
        ("{'a': 1}.size() + b'ab'.size() + [1].size()", 4),
        ("int('-5') + int(7.0) + int('+1')", 3),
        ("int(timestamp('1970-01-01T00:01:00.900Z'))", 60),
        ("decimal('-0.10')", Decimal("-0.10")),
        ("string(1.50) + string(1e3)", "1.501000"),
        ("string(-0.0)", "0.0"),
        ("string(true) + string(b'x') + string('y')", "truexy"),
        ("string(timestamp('2026-01-31T23:30:00.5+02:00'))", "2026-01-31T21:30:00.500000Z"),
        ("string(duration('-1.5s'))", "-1.5s"),
        ("string(date('2026-01-31'))", "2026-01-31"),
        ("bool('f') || bool('TRUE')", True),
        (
            "duration('1h1m1s1ms1us')",
            timedelta(hours=1, minutes=1, seconds=1, milliseconds=1, microseconds=1),
        ),
        ("duration('-P1DT2H') == -duration('26h')", True),
        ("duration('P2W') == days(14)", True),
        ("duration('-90m').getHours()", -1),
        ("timestamp('2026-06-30T22:00:00Z').getMonth('Europe/Berlin')", 6),
        ("timestamp('2026-01-01T00:00:00Z').getFullYear('America/New_York')", 2025),
        ("timestamp('2026-01-01T00:30:00Z').getMinutes('-00:45')", 45),
        ("period_of(timestamp('2026-01-31T23:30:00Z'), 'Europe/Berlin')", "2026-02"),
        ("date(1769900400, 'Europe/Berlin')", date(2026, 2, 1)),
        ("date(date('2026-01-31'))", date(2026, 1, 31)),
        ("minor('1200', 'USD') == minor(1200.0, 'USD')", True),
        ("price('1.5', 'JPY')", Decimal("1.5")),
        ("price(-0.00004, 'USD')", Decimal("-0.0000004")),
        ("abs(-1.5) + abs(-2)", Decimal("3.5")),
        ("abs(duration('-1s'))", timedelta(seconds=1)),
        ("max('a', 'b')", "b"),
        ("sum([1, 2.5])", Decimal("3.5")),
        ("sum([duration('1s'), duration('2s')])", timedelta(seconds=3)),
    ],
)
def test_edges(text, value):
    result = run(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("'abc'.substring(4)", "not between 0 and 3"),
        ("'abc'.substring(2, 1)", "before the start"),
        ("x.contains('a')", "expected a string, found an int"),
        ("[1].join(',')", "expected a string"),
        ("'a'.join(',')", "takes a list"),
        ("'a'.matches(p)", "bad pattern"),
        ("'a'.find_all(p)", "bad pattern"),
        ("size(x)", "an int has no size"),
        ("int('1.5')", "not a 64-bit integer"),
        ("int('٣')", "not a 64-bit integer"),
        ("int('99999999999999999999')", "not a 64-bit integer"),
        ("int('9223372036854775808')", "does not fit 64 bits"),
        ("int(1.5)", "is not a whole number; round it first"),
        ("int(null)", "cannot convert a null to int"),
        ("int('')", "not a 64-bit integer"),
        ("decimal('NaN')", "not a number"),
        ("decimal('1_000')", "not a number"),
        ("decimal(' 1')", "not a number"),
        ("decimal('1e9999')", "not a number"),
        ("string([1])", "cannot convert a list to string"),
        ("string(b'\\xff')", "not UTF-8"),
        ("bool('yes')", "to bool"),
        ("timestamp('2026-01-31')", "not an RFC 3339"),
        ("timestamp('2026-02-30T00:00:00Z')", "not an existing time"),
        ("timestamp('2026-01-31T12:00:00')", "not an RFC 3339"),
        ("timestamp('2026-01-31T12:00:60Z')", "not an existing time"),
        ("timestamp('2026-01-31T12:00:00.1234567Z')", "microsecond precision"),
        ("timestamp(99999999999999)", "outside the years"),
        ("timestamp(d)", r"write timestamp\(date, zone\)"),
        ("timestamp(0, 'UTC')", "only a date is converted with a zone"),
        ("timestamp(date('0001-01-01'), '+01:00')", "outside the years"),
        ("date('2026-1-31')", "not a date such as"),
        ("date('2026-02-30')", "not an existing day"),
        ("date(timestamp('2026-01-31T12:00:00Z'), 'Mars/Base')", "not a time zone"),
        ("date(timestamp('2026-01-31T12:00:00Z'), '../../etc/passwd')", "not a time zone"),
        ("date(timestamp('2026-01-31T12:00:00Z'), '')", "not a time zone"),
        ("date(timestamp('2026-01-31T12:00:00Z'), '+99:00')", "not an offset"),
        ("timestamp('9999-12-31T23:59:59Z').getDate('+01:00')", "outside the years"),
        ("duration('1y')", "not a duration"),
        ("duration('P1M')", "not a duration"),
        ("duration('P')", "not a duration"),
        ("duration('1ns')", "microsecond precision"),
        ("duration('999999999999d')", "too long"),
        ("period_of(timestamp('2026-01-31T12:00:00Z'))", "depends on the zone"),
        ("days_between(timestamp(0), timestamp(0))", r"use date\(timestamp, zone\)"),
        ("minor(1.5, 'USD')", "use price"),
        ("minor(1, 'usd')", "ISO 4217"),
        ("minor(1, x)", "a currency must be a string"),
        ("money(0.005, 'USD')", "name a rounding rule"),
        ("major(1)", "takes money"),
        ("allocate(minor(1, 'USD'), [0])", "all zero"),
        ("allocate(minor(1, 'USD'), [])", "no weights"),
        ("allocate(minor(1, 'USD'), [1, minor(1, 'USD')])", "weight must be"),
        ("allocate(minor(1, 'USD'), [minor(1, 'USD'), minor(1, 'EUR')])", "one currency"),
        ("sum(x)", "takes a list"),
        ("min([null])", "the operator < does not apply to null and null"),
        ("abs('a')", "takes a number"),
        ("coterm([], date('2026-01-01'), 'monthly')", "does not support the basis"),
        ("coterm([{}], date('2026-01-01'), 'daily')", "no such key: 'amount'"),
        ("coterm([{'amount': minor(1, 'USD'), 'start': d, 'end': d}], d, 'daily')", "cannot end"),
        ("split_by_period(minor(1, 'USD'), {'start': d, 'end': d})", "window is empty"),
        ("split_by_period(minor(1, 'USD'), {'start': d})", "no such key: 'ends_at'"),
        ("split_by_period(minor(1, 'USD'), {'start': d, 'end': timestamp(0)})", "a window needs"),
    ],
)
def test_refusals(text, match):
    with pytest.raises(EvaluationError, match=match):
        run(text, x=5, p="(", d=date(2026, 1, 1))


def test_coterm_of_mixed_currencies_is_refused():
    line = {"start": date(2026, 1, 1), "end": date(2027, 1, 1)}
    lines = [line | {"amount": Money(100, "USD")}, line | {"amount": Money(100, "EUR")}]
    with pytest.raises(EvaluationError, match="mix USD and EUR"):
        run("coterm(l, date('2026-07-01'), 'daily')", l=lines)


def test_coterm_keeps_a_line_as_it_is_but_for_its_end():
    line = {"sku": "a", "amount": Money(100, "USD"), "start": date(2026, 1, 1), "end": date(2027, 1, 1)}
    (result,) = run("coterm([l], l.end, 'daily')", l=line)
    assert result == line | {"days": 365, "term_days": 365}
    (longer,) = run("coterm([l], date('2028-01-01'), 'daily')", l=line)
    assert (longer["amount"], longer["days"]) == (Money(200, "USD"), 730)


@given(
    st.lists(
        st.tuples(st.integers(-(10**9), 10**9), st.integers(1, 800), st.integers(0, 800)),
        min_size=1,
        max_size=8,
    )
)
def test_cotermed_lines_sum_to_the_rounded_total(lines):
    end = date(2026, 7, 1)
    result = run(
        "coterm(l, e, 'daily')",
        e=end,
        l=[
            {
                "amount": Money(amount, "USD"),
                "start": end - timedelta(days=charged),
                "end": end + timedelta(days=whole - charged),
            }
            for amount, whole, charged in lines
        ],
    )
    exact = [Fraction(amount * charged, whole) for amount, whole, charged in lines]
    assert sum(line["amount"].minor for line in result) == round(sum(exact))
    assert all(abs(line["amount"].minor - share) < 1 for line, share in zip(result, exact, strict=True))


instants = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(
    st.integers(-(10**12), 10**12),
    instants,
    st.timedeltas(timedelta(microseconds=1), timedelta(days=400)),
    st.sampled_from(["UTC", "America/New_York", "Pacific/Auckland", "+05:30"]),
)
def test_a_split_window_sums_to_its_amount_and_covers_it(amount, start, length, zone):
    window = {"starts_at": start, "ends_at": start + length}
    parts = run("split_by_period(m, w, z)", m=Money(amount, "USD"), w=window, z=zone)
    assert sum(part["amount"].minor for part in parts) == amount
    assert [part["period"] for part in parts] == sorted({part["period"] for part in parts})
    assert parts[0]["start"] == run("date(t, z)", t=start, z=zone)
    assert parts[-1]["end"] == run("date(t, z)", t=start + length - timedelta(microseconds=1), z=zone)
    for part in parts:
        assert part["period"] == f"{part['start']:%Y-%m}" == f"{part['end']:%Y-%m}"
        assert part["next_start"].day == 1
        assert part["end"] < part["next_start"]
    for one, following in itertools.pairwise(parts):
        assert one["next_start"] == following["start"] == one["end"] + timedelta(days=1)
    window_with_zone = window | {"ledger_zone": zone}
    assert run("split_by_period(m, w)", m=Money(amount, "USD"), w=window_with_zone) == parts


def test_months_whose_midnight_does_not_exist_are_split_where_they_start():
    # Clocks in Paraguay went from 2017-10-01 00:00 to 01:00.
    window = {
        "starts_at": datetime(2017, 9, 30, 4, tzinfo=UTC),
        "ends_at": datetime(2017, 10, 2, 3, tzinfo=UTC),
    }
    parts = run("split_by_period(m, w, 'America/Asuncion')", m=Money(4_700, "USD"), w=window)
    assert [(p["period"], p["amount"].minor) for p in parts] == [("2017-09", 2_400), ("2017-10", 2_300)]
    assert [p["start"] for p in parts] == [date(2017, 9, 30), date(2017, 10, 1)]


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 1000), min_size=1, max_size=10).filter(any))
def test_allocation_by_money_is_allocation_by_its_units(amount, weights):
    total = Money(amount, "USD")
    parts = run("allocate(m, w)", m=total, w=weights)
    assert run("sum(allocate(m, w)) == m", m=total, w=weights) is True
    assert run("allocate(m, w)", m=total, w=[Money(weight, "EUR") for weight in weights]) == parts
