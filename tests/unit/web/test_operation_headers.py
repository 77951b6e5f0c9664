"""Headers of an operation call: keys, versions, correlation, waits, and rate limits."""

from __future__ import annotations

import re

import pytest
from litestar.datastructures import Headers

from counterfoil.core.call import CallRate, RateAllowance
from counterfoil.web.api import operation_headers
from counterfoil.web.http.problems import Problem

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def key_of(*values: str) -> str:
    return operation_headers.idempotency_key(
        Headers([(b"idempotency-key", value.encode("latin-1")) for value in values])
    )


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        (" abc ", "abc"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ('"two words"', "two words"),
        (r'"a \"b\" \\c"', 'a "b" \\c'),
        ('"a, b"', "a, b"),
        ("a" * 200, "a" * 200),
        ('"' + "a" * 200 + '"', "a" * 200),
    ],
)
def test_a_key_is_quoted_or_bare_text(header: str, key: str) -> None:
    assert key_of(header) == key


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        '""',
        '" "',
        "a" * 201,
        "two words",
        'half"',
        "k\u00e9y",
        "a,b",
        '"a" "b"',
        '"a\\b"',
        "a;b",
        '"a";x=1',
    ],
)
def test_an_invalid_key_is_refused(header: str) -> None:
    with pytest.raises(Problem) as refused:
        key_of(header)
    assert (refused.value.status, refused.value.kind) == (400, "idempotency-key")


def test_a_missing_and_a_repeated_key_are_refused() -> None:
    for values in ((), ("a", "a")):
        with pytest.raises(Problem):
            key_of(*values)


@pytest.mark.parametrize(
    ("name", "headers", "expected"),
    [
        ("erp.x.get", {}, "erp.x.get"),
        ("erp.x.get", {"counterfoil-version": "1"}, "erp.x.get"),
        ("erp.x.get", {"counterfoil-version": "2"}, "erp.x.get.v2"),
        ("erp.x.get.v2", {"counterfoil-version": "2"}, "erp.x.get.v2"),
        ("erp.x.get.v1", {}, "erp.x.get"),
        ("erp.x.get", {"accept": "text/html, application/json; version=3"}, "erp.x.get.v3"),
        ("erp.x.get", {"accept": 'application/json;q=1;version="3"'}, "erp.x.get.v3"),
        ("erp.x.get", {"accept": "application/json, text/html; version=3"}, "erp.x.get"),
        ("erp.x.get", {"accept": "*/*"}, "erp.x.get"),
    ],
)
def test_a_version_is_requested_in_one_of_three_ways(
    name: str, headers: dict[str, str], expected: str
) -> None:
    assert operation_headers.versioned_name(name, headers) == expected


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("erp.x.get", {"counterfoil-version": "0"}),
        ("erp.x.get", {"counterfoil-version": "two"}),
        ("erp.x.get.v2", {"counterfoil-version": "3"}),
        ("erp.x.get", {"counterfoil-version": "2", "accept": "application/json; version=3"}),
    ],
)
def test_versions_that_differ_are_refused(name: str, headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as refused:
        operation_headers.versioned_name(name, headers)
    assert (refused.value.status, refused.value.kind) == (400, "version")


def test_a_correlation_id_is_sent_or_from_the_trace_or_new() -> None:
    sent = operation_headers.correlation({"x-correlation-id": "order-7/a", "traceparent": PARENT})
    assert sent == ("order-7/a", {"traceparent": PARENT, "x-correlation-id": "order-7/a"})
    from_trace = operation_headers.correlation({"traceparent": PARENT})
    assert from_trace.id == "4bf92f3577b34da6a3ce929d0e0e4736"
    for wrong in (
        "",
        "00-" + "0" * 32 + PARENT[35:],
        PARENT[:36] + "0" * 16 + "-01",
        "ff" + PARENT[2:],
        "no",
    ):
        new = operation_headers.correlation({"traceparent": wrong})
        assert re.fullmatch(r"cor_[0-9a-f]{32}", new.id)
        assert "traceparent" not in new.headers


@pytest.mark.parametrize("wrong", ["a" * 129, "a b", "<script>", "\u00e9"])
def test_an_invalid_correlation_id_is_refused(wrong: str) -> None:
    with pytest.raises(Problem) as refused:
        operation_headers.correlation({"x-correlation-id": wrong})
    assert refused.value.kind == "correlation"


@pytest.mark.parametrize(
    ("prefer", "wait"),
    [
        ("", None),
        ("wait=5", 5.0),
        ("respond-async", 0.0),
        ("respond-async, wait=10", 10.0),
        ("handling=lenient; wait=100", 100.0),
        ("wait=-1", None),
        ("wait=5x", None),
        ("await=5", None),
    ],
)
def test_a_preference_to_wait_is_read(prefer: str, wait: float | None) -> None:
    assert operation_headers.wait({"prefer": prefer}) == wait


def test_a_rate_is_stated_with_its_window() -> None:
    rate = CallRate(at_most=120, every=60, burst=20)
    assert operation_headers.rate_headers(rate, RateAllowance(calls=3, reset=8.2)) == {
        "ratelimit-policy": '"consumer";q=20;w=10',
        "ratelimit": '"consumer";r=3;t=9',
    }
    assert (
        operation_headers.rate_headers(rate, RateAllowance(calls=0, reset=10, wait=0.4))["ratelimit"]
        == '"consumer";r=0;t=1'
    )
    assert operation_headers.rate_headers(None, None) == {}
