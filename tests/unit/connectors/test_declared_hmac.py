"""Signatures of vendors whose form is declared in settings: what is accepted, what is refused, and which forms cannot work."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import pytest

from counterfoil.connectors.declared_hmac import HmacForm, hmac_scheme
from counterfoil.connectors.signature import SignatureRefused, sign, verify
from counterfoil.core.errors import Misconfigured

NOW = 1_700_000_000
BODY = b'{"id":"evt_1","amount":12000}'
SECRET, OTHER = "it-is-a-secret", "it-is-another"

FORMS: dict[str, HmacForm] = {
    "plain hex": HmacForm("X-Signature"),
    "base64": HmacForm("X-Signature", encoding="base64"),
    "sha512": HmacForm("X-Signature", digest="sha512"),
    "sha1 prefix": HmacForm("X-Hub-Signature", digest="sha1", prefix="sha1="),
    "several": HmacForm("X-Signature", prefix="v1=", separator=","),
    "stamp in its own header": HmacForm("X-Sig", signed="{timestamp}.{body}", timestamp="X-Time"),
    "stamp in ms": HmacForm("X-Sig", signed="{timestamp}{body}", timestamp="X-Time", unit="milliseconds"),
    "stamp as ISO": HmacForm("X-Sig", signed="v0:{timestamp}:{body}", timestamp="X-Time", unit="iso"),
    "stamp in the same header": HmacForm(
        "X-Sig", prefix="h1=", separator=";", signed="{timestamp}:{body}", timestamp="X-Sig", timestamp_prefix="ts="
    ),
    "stamp after the body": HmacForm("X-Sig", signed="{body}|{timestamp}", timestamp="X-Time"),
    "other header": HmacForm("X-Sig", signed="{header:X-Id}.{body}"),
}  # fmt: skip
STAMPED = sorted(name for name, form in FORMS.items() if form.timestamp)
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


def reason(
    form: HmacForm,
    headers: dict[str, str],
    body: bytes = BODY,
    *,
    now: int = NOW,
    secret: str | Sequence[str] = SECRET,
    tolerance: int | None = 300,
) -> str:
    """Why it is refused, or "" if it is accepted."""
    try:
        verify(hmac_scheme(form), secret, headers, body, now, tolerance)
    except SignatureRefused as refused:
        return refused.reason
    return ""


@forms
def test_signed_message_is_accepted_and_any_change_is_refused(form: HmacForm) -> None:
    headers = sign(hmac_scheme(form), SECRET, BODY, NOW)
    assert reason(form, headers) == ""
    assert reason(form, {name.upper(): value for name, value in headers.items()}) == ""
    assert reason(form, headers, BODY + b" ") == "mismatch"
    assert reason(form, headers, secret=OTHER) == "mismatch"
    for name, value in headers.items():
        assert reason(form, {k: v for k, v in headers.items() if k != name}) == "missing"
        assert reason(form, headers | {name: ""}) == "missing"
        assert reason(form, headers | {name: "♥"}) == "malformed"
        assert reason(form, headers | {name: f"{value}\n{value}x"}) == "malformed"
        assert reason(form, headers | {name: value + "0"}) != ""


@forms
def test_secrets_are_rotated(form: HmacForm) -> None:
    for signer in (OTHER, SECRET):
        headers = sign(hmac_scheme(form), signer, BODY, NOW)
        assert reason(form, headers, secret=[OTHER, SECRET]) == ""
    with pytest.raises(Misconfigured):
        reason(form, headers, secret=["", SECRET])


@pytest.mark.parametrize("name", STAMPED)
@pytest.mark.parametrize(
    ("seconds", "expected"), [(300, ""), (301, "expired"), (-300, ""), (-301, "future"), (10**7, "expired")]
)
def test_tolerance_holds_both_ways(name: str, seconds: int, expected: str) -> None:
    headers = sign(hmac_scheme(FORMS[name]), SECRET, BODY, NOW)
    assert reason(FORMS[name], headers, now=NOW + seconds) == expected
    assert reason(FORMS[name], headers, now=NOW + seconds, tolerance=None) == ""


@pytest.mark.parametrize(
    ("unit", "stamp"),
    [
        ("seconds", "1700000000.5"),
        ("seconds", "-1700000000"),
        ("seconds", "1_700_000_000"),
        ("seconds", " 1700000000"),
        ("seconds", "9" * 400),
        ("milliseconds", "NaN"),
        ("iso", "2023-11-14T22:13:20"),
        ("iso", "yesterday"),
        ("iso", "0001-01-01T00:00:00+23:59"),
    ],
)
def test_unreadable_timestamp_is_refused(unit: Any, stamp: str) -> None:
    form = HmacForm("x-sig", signed="{timestamp}.{body}", timestamp="x-time", unit=unit)
    mac = hmac.digest(SECRET.encode(), stamp.encode() + b"." + BODY, "sha256").hex()
    assert reason(form, {"x-sig": mac, "x-time": stamp}) in ("malformed", "expired")


def test_seconds_under_milliseconds_are_refused() -> None:
    form = HmacForm("x-sig", signed="{timestamp}.{body}", timestamp="x-time", unit="milliseconds")
    mac = hmac.digest(SECRET.encode(), f"{NOW}.".encode() + BODY, "sha256").hex()
    assert reason(form, {"x-sig": mac, "x-time": str(NOW)}) == "expired"


def test_any_of_several_signatures_counts() -> None:
    good = hmac.digest(SECRET.encode(), BODY, "sha256").hex()
    form = FORMS["several"]
    assert reason(form, {"x-signature": f"v1={'0' * 64}, v1={good}"}) == ""
    assert reason(form, {"x-signature": f"v0={good},v1={'0' * 64}"}) == "mismatch"
    assert reason(form, {"x-signature": f"v0={good}"}) == "malformed"
    assert reason(form, {"x-signature": good}) == "malformed"


@pytest.mark.parametrize("key", ["text", "hex", "base64"])
def test_the_key_is_decoded_as_declared(key: Any) -> None:
    raw = b"0123456789abcdef"
    secret = {"text": raw.decode(), "hex": raw.hex(), "base64": base64.b64encode(raw).decode()}[key]
    mac = hmac.new(raw, BODY, hashlib.sha256).hexdigest()
    assert reason(HmacForm("x-sig", key=key), {"x-sig": mac}, secret=secret) == ""


@pytest.mark.parametrize(
    ("form", "key"),
    [
        (HmacForm("x-sig", signed="{timestamp}"), "signed"),
        (HmacForm("x-sig", signed="{body}{body}"), "signed"),
        (HmacForm("x-sig", signed="{url}{body}"), "signed"),
        (HmacForm("x-sig", signed="{header:}{body}"), "signed"),
        (HmacForm("x-sig", signed="{timestamp}.{body}"), "timestamp"),
        (HmacForm("x-sig", timestamp="x-time"), "timestamp"),
        (HmacForm("x-sig", signed="{timestamp}.{body}", timestamp="x sig"), "timestamp"),
        (
            HmacForm("x-sig", signed="{timestamp}.{body}", timestamp="x-sig", timestamp_prefix="t="),
            "timestamp_prefix",
        ),
        (
            HmacForm("x-sig", signed="{timestamp}.{body}", timestamp="X-Sig", separator=","),
            "timestamp_prefix",
        ),
        (HmacForm(""), "header"),
        (HmacForm("x-sig\n"), "header"),
    ],
)
def test_form_that_cannot_work_is_a_wrong_configuration(form: HmacForm, key: str) -> None:
    assert key in form.faults()
    with pytest.raises(Misconfigured, match=key):
        hmac_scheme(form)


def test_shopify_has_no_time() -> None:
    mac = base64.b64encode(hmac.digest(SECRET.encode(), BODY, "sha256")).decode()
    verify("shopify", SECRET, {"X-Shopify-Hmac-SHA256": mac}, BODY, NOW)
    with pytest.raises(SignatureRefused):
        verify("shopify", SECRET, {"X-Shopify-Hmac-SHA256": mac}, BODY + b" ", NOW)
