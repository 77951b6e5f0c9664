"""Reading untrusted JSON within bounds, and the canonical stored form."""

from __future__ import annotations

import hashlib
import tracemalloc
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.money import Money
from counterfoil.core.wire import Limits, WireRefused, digest, dumps, loads, read_json, write_json


def refusal(data: bytes, limits: Limits | None = None) -> WireRefused:
    with pytest.raises(WireRefused) as caught:
        read_json(data, limits or Limits())
    return caught.value


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"0", 0),
        (b"-0", 0),
        (b" [1, 2]\n", [1, 2]),
        (b'{"a":{"b":[]}}', {"a": {"b": []}}),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b'"\\ud83d\\ude00 \\u0041 \\" \\\\"', '😀 A " \\'),
        ('{"ключ":"♥"}'.encode(), {"ключ": "♥"}),
        (b'{"a:b":"c:d","e\\":":"[{"}', {"a:b": "c:d", 'e":': "[{"}),
        (b'{"\\\\":1,"\\\\\\"":2}', {"\\": 1, '\\"': 2}),
        (b"9" * 100, int("9" * 100)),
        (b"null", None),
    ],
)
def test_json_is_read_as_written(data: bytes, value: object) -> None:
    assert read_json(data) == value


@pytest.mark.parametrize("text", ["1.0", "1.10", "-0.0", "1e2", "12.5E-7", "0.1", "1e400", "1e-400"])
def test_a_number_with_point_or_exponent_is_an_exact_decimal(text: str) -> None:
    value = read_json(text.encode())
    assert type(value) is Decimal
    assert value.as_tuple() == Decimal(text).as_tuple()


def test_no_number_becomes_a_float() -> None:
    assert [type(n) for n in read_json(b"[1, 1.5, 1e3, 18446744073709551616]")] == [
        int,
        Decimal,
        Decimal,
        int,
    ]


@pytest.mark.parametrize(
    ("data", "says", "where"),
    [
        (b"", "ends before", "byte 0"),
        (b'{"a":', "ends before", "byte 5"),
        (b"[1,]", "trailing comma", "byte 3"),
        (b"1 2", "trailing characters", "byte 3"),
        (b"[1]\x00", "trailing", "byte 4"),
        (b"NaN", "not JSON", "byte 0"),
        (b"[-Infinity]", "not JSON", "byte 2"),
        (b"01", "invalid number", "byte 1"),
        (b"1.", "invalid number", "byte 2"),
        (b"/*c*/1", "not JSON", "byte 0"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark", "byte 0"),
        (b'{"a":"\xff"}', "not UTF-8", "byte 6"),
        (b'"\xed\xa0\x80"', "not UTF-8", "byte 1"),
        (b'"\xc0\xaf"', "not UTF-8", "byte 1"),
        ('{"a":1}'.encode("utf-16-le"), "not JSON", "byte 1"),
        (b'"a\x01"', "not JSON", "byte 2"),
        (b'"\\ud800"', "lone surrogate", "byte 8"),
        (b'["\\ud800x"]', "lone surrogate", ""),
        (b'["\\udc00"]', "lone surrogate", ""),
        (b'{"\\ud800\\ud800":1}', "lone surrogate", ""),
        (b'{"a":1,"a":1}', "'a' appears twice", "$"),
        (b'{"x":[0,{"b":{"a":1,"\\u0061":2}}]}', "'a' appears twice", "$.x[1].b"),
        (b'{"k":{"a":1,"a":2},"k":1}', "'k' appears twice", "$"),
        (b'{"":1,"":2}', "'' appears twice", "$"),
        (b'{"a":1e401}', "exponent", "byte 5"),
        (b'["1e999",-1E-401]', "exponent", "byte 9"),
        (b'["' + b"9" * 200 + b'", ' + b"9" * 101 + b"]", "longer than 100", "byte 205"),
        (b"0." + b"0" * 99, "longer than 100", "byte 0"),
        (b"1" * 5000, "longer than 100", "byte 0"),
        (b'{"a":"[[[\\"","b":' + b"[" * 64, "deeper than 64", "byte 80"),
    ],
)
def test_refusal_says_what_and_where(data: bytes, says: str, where: str) -> None:
    error = refusal(data)
    assert says in str(error)
    assert error.where == where or (not where and error.where.startswith("byte "))
    assert isinstance(error, Refused)
    assert error.error_class is ErrorClass.INVALID


def test_depth_counts_nested_containers_only() -> None:
    assert read_json(b"[" * 64 + b"]" * 64)
    assert read_json(b"[" + b"[],{}," * 500 + b'"[[[["]')
    assert refusal(b"[" * 65 + b"]" * 65).where == "byte 64"


def test_limits_can_be_narrowed_and_widened() -> None:
    assert "larger than 3" in str(refusal(b"[1]x", Limits(size=3)))
    assert refusal(b"[[1]]", Limits(depth=1)).where == "byte 1"
    assert "longer than 3" in str(refusal(b"1234", Limits(number=3)))
    assert "10^5" in str(refusal(b"1e6", Limits(exponent=5)))
    assert read_json(b"1e600", Limits(exponent=600)) == Decimal("1e600")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'"' + b"\\" * 2_000_001,
        b'"' + b'\\"' * 1_000_000,
        b"[" + b"9" * 5_000 + b"]",
        b"1e" + b"9" * 5_000,
        b"x" * (100 * 1024 * 1024),
        b'"' + b"[" * 4_000_000,
    ],
    ids=[
        "depth",
        "object-depth",
        "backslashes",
        "quotes",
        "digits",
        "exponent",
        "hundred-megabytes",
        "string",
    ],
)
def test_hostile_body_is_refused_within_bounded_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        refusal(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**99) + 1, 10**99) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(json_values)
def test_whatever_json_holds_is_read_back(value: Any) -> None:
    import json

    for ascii_only in (True, False):
        assert read_json(json.dumps(value, ensure_ascii=ascii_only).encode(), Limits(number=101)) == value


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text('[]{}",:\\u0dD8e1-.tn \n', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_and_never_crash(data: bytes) -> None:
    import json

    try:
        value = read_json(data)
    except WireRefused:
        return
    assert json.loads(data, parse_float=Decimal) == value


# The stored form


class Colour(StrEnum):
    RED = "red"


money = st.builds(Money, st.integers(-(2**63), 2**63 - 1), st.sampled_from(["USD", "JPY", "KWD"]))
decimals = st.decimals(allow_nan=False, allow_infinity=False) | st.decimals(-(10**9), 10**9, places=4)
times = st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=45))))
keys = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["minor", "currency", "date", "time", "duration", "map"]
)
stored_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**150), 10**150)
    | st.text(st.characters(codec="utf-8"))
    | money
    | decimals.filter(lambda d: len(str(d)) < 190 and abs(d.adjusted()) < 800)
    | st.dates()
    | times
    | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Decimal):
        return bool(left.as_tuple() == right.as_tuple())
    return bool(left == right)


@settings(deadline=None)
@given(stored_values)
def test_a_stored_value_comes_back_with_its_types(value: Any) -> None:
    data = dumps(value)
    assert same(loads(data), value)
    assert dumps(loads(data)) == data


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (Money(12000, "USD"), b'{"currency":"USD","minor":12000}'),
        (date(2026, 2, 28), b'{"date":"2026-02-28"}'),
        (
            datetime(2026, 2, 28, 12, 0, tzinfo=timezone(timedelta(hours=1))),
            b'{"time":"2026-02-28T11:00:00Z"}',
        ),
        (datetime(2026, 2, 28, 12, 0, 0, 5, tzinfo=UTC), b'{"time":"2026-02-28T12:00:00.000005Z"}'),
        (timedelta(days=1, milliseconds=500), b'{"duration":"86400.5"}'),
        (-timedelta(milliseconds=500), b'{"duration":"-0.5"}'),
        (Decimal("1.50"), b"1.50"),
        (Decimal(3), b"3E0"),
        ({"b": 1, "a": [True, None, "é"]}, '{"a":[true,null,"é"],"b":1}'.encode()),
        ({"date": "2026-02-28"}, b'{"map":{"date":"2026-02-28"}}'),
        ({"minor": 1, "currency": "USD"}, b'{"map":{"currency":"USD","minor":1}}'),
        ({"map": {}}, b'{"map":{"map":{}}}'),
        ({"minor": 1}, b'{"minor":1}'),
    ],
)
def test_the_stored_form_is_fixed(value: Any, data: bytes) -> None:
    assert dumps(value) == data
    assert same(loads(data), value) or isinstance(value, datetime)


def test_a_map_that_looks_like_money_stays_a_map() -> None:
    value = read_json(b'{"minor":1,"currency":"USD"}')
    assert type(loads(dumps(value))) is dict
    assert dumps(value) != dumps(Money(1, "USD"))


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        b"x",
        (1,),
        {1: 2},
        {1},
        Colour.RED,
        datetime(2026, 1, 1),
        Decimal("NaN"),
        Decimal("1e5000"),
        10**200,
        "\ud800",
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_stored_form_has_no_word_for_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="stored"):
        dumps({"a": [value]})


def test_a_value_nested_without_end_is_a_type_error() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TypeError, match="nested"):
        dumps(value)


def test_everything_that_was_read_can_be_stored() -> None:
    value = read_json(b"[" + b"9" * 97 + b"e5, " + b"9" * 94 + b"E-400, 0e400]")
    assert same(loads(dumps(value)), value)


@pytest.mark.parametrize(
    "data",
    [
        b'{"date":1}',
        b'{"date":"yesterday"}',
        b'{"minor":"1","currency":"USD"}',
        b'{"minor":1,"currency":"X"}',
        b'{"duration":"x"}',
        b'{"map":1}',
        b"{",
        b"\xff",
        b'"\xff"',
        b"1e9999",
    ],
)
def test_bytes_that_were_never_stored_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        loads(data)


def test_digest_is_of_bytes_or_of_the_stored_form() -> None:
    assert digest(b"{}") == digest({}) == hashlib.sha256(b"{}").hexdigest()
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(Decimal(1)) != digest(1)


def test_plain_json_is_written_exactly_and_without_tags() -> None:
    value = {"date": "x", "b": [Decimal("1.50"), Decimal(3), 3, None, True]}
    assert write_json(value) == b'{"b":[1.50,3E0,3,null,true],"date":"x"}'
    assert same(read_json(write_json(value)), value)


@pytest.mark.parametrize(
    "value", [1.5, Money(1, "USD"), date(2026, 1, 1), {1: 2}, "\ud800", Decimal("Infinity")]
)
def test_plain_json_has_no_word_for_other_values(value: object) -> None:
    with pytest.raises(TypeError):
        write_json([value])
