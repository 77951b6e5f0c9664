"""Every scheme's own vectors, and the ways in which a signature can be wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil.connectors.signature import SCHEMES, SignatureRefused, adyen_signature, sign, verify
from counterfoil.core.errors import CounterfoilError, ErrorClass, Misconfigured

SUITE = Path(__file__).parents[3] / "../shared/suites/webhook_signatures.jsonl"
DIFFERENCES: dict[str, str] = {
    "stripe:future timestamp (SDK has no upper bound)": "a timestamp ahead of our clock by more than the tolerance",
}
"""Vectors whose verdict is not ours, by case id, with the row of docs/reference/signatures.md that says why."""

NOW = 1_700_000_000
BODY = b'{"id":"evt_1","amount":12000}'
SECRETS = {
    "standard-webhooks-v1": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "svix": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "stripe-v1": "whsec_test_secret",
    "slack-v0": "8f742231b10e8888abcd99yyyzzz85a5",
    "github-sha256": "It's a Secret to Everybody",
    "shopify": "hush",
    "zendesk": "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
}
OTHERS = dict.fromkeys(SECRETS, "c29tZWJvZHkgZWxzZSdzIHNlY3JldA==")
DATED = sorted(SECRETS.keys() - {"github-sha256", "shopify"})
header_schemes = pytest.mark.parametrize("scheme", sorted(SECRETS))


def reason(
    scheme: str,
    headers: Mapping[str, str],
    body: bytes = BODY,
    *,
    now: datetime | int = NOW,
    tolerance: int | None = 300,
    secret: str | Sequence[str] | None = None,
) -> str:
    """Why it is refused, or "" when it is not."""
    try:
        verify(scheme, SECRETS[scheme] if secret is None else secret, headers, body, now, tolerance)
    except SignatureRefused as refused:
        return refused.reason if refused.error_class is ErrorClass.UNAUTHORIZED else "another class"
    return ""


def vectors() -> list[dict[str, Any]]:
    return [json.loads(line) for line in SUITE.read_text().splitlines()] if SUITE.exists() else []


@pytest.mark.skipif(not SUITE.exists(), reason="the shared conformance suites are not beside this checkout")
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["case_id"])
def test_vector_has_its_verdict(vector: dict[str, Any]) -> None:
    try:
        verify(
            vector["scheme"],
            vector["secret"],
            vector["headers"],
            vector["body"].encode(),
            vector["now"],
            vector["tolerance_s"],
        )
        accepted = True
    except CounterfoilError:
        accepted = False
    assert accepted is (vector["expect_valid"] ^ (vector["case_id"] in DIFFERENCES))


@pytest.mark.parametrize(
    ("scheme", "secret", "headers", "body", "now"),
    [
        (
            "standard-webhooks-v1",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
            b'{"test": 2432232314}',
            1614265330,
        ),
        (
            "github-sha256",
            "It's a Secret to Everybody",
            {
                "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
            },
            b"Hello, World!",
            0,
        ),
    ],
)
def test_published_example_is_accepted(
    scheme: str, secret: str, headers: dict[str, str], body: bytes, now: int
) -> None:
    verify(scheme, secret, headers, body, now)


def test_standards_own_library_agrees_with_what_we_sign() -> None:
    from standardwebhooks.webhooks import Webhook

    now = datetime.now(UTC)
    headers = sign("standard-webhooks-v1", SECRETS["standard-webhooks-v1"], BODY, now, id="msg_9")
    assert Webhook(SECRETS["standard-webhooks-v1"]).verify(BODY, headers) == json.loads(BODY)


@header_schemes
def test_signed_message_is_accepted_and_any_change_is_a_mismatch(scheme: str) -> None:
    headers = sign(scheme, SECRETS[scheme], BODY, NOW)
    assert reason(scheme, headers) == ""
    assert reason(scheme, {name.upper(): value for name, value in headers.items()}) == ""
    assert reason(scheme, headers, now=datetime.fromtimestamp(NOW, UTC)) == ""
    assert reason(scheme, headers, BODY + b" ") == "mismatch"
    assert reason(scheme, headers, BODY.replace(b"12000", b"12001")) == "mismatch"
    assert reason(scheme, headers, secret=OTHERS[scheme]) == "mismatch"


@header_schemes
def test_body_that_is_no_text_is_signed_like_any_other(scheme: str) -> None:
    body = b"\xff\x00\xfe"
    assert reason(scheme, sign(scheme, SECRETS[scheme], body, NOW), body) == ""
    assert reason(scheme, sign(scheme, SECRETS[scheme], b"", NOW), b"") == ""


@header_schemes
def test_every_header_is_needed_and_must_hold_something(scheme: str) -> None:
    headers = sign(scheme, SECRETS[scheme], BODY, NOW)
    for name in headers:
        assert reason(scheme, {k: v for k, v in headers.items() if k != name}) == "missing"
        assert reason(scheme, headers | {name: ""}) == "missing"
        assert reason(scheme, headers | {name: "♥" + headers[name]}) == "malformed"
        assert reason(scheme, headers | {name.upper(): "another"}) == "malformed"


@header_schemes
def test_either_secret_is_good_during_a_rotation(scheme: str) -> None:
    old, new = OTHERS[scheme], SECRETS[scheme]
    for signer in (old, new, [new, old]):
        assert reason(scheme, sign(scheme, signer, BODY, NOW), secret=[old, new]) == ""
    assert reason(scheme, sign(scheme, "dGhpcmQ=", BODY, NOW), secret=[old, new]) == "mismatch"


@pytest.mark.parametrize("scheme", ["standard-webhooks-v1", "svix", "stripe-v1"])
def test_sender_that_rotates_sends_a_signature_per_secret(scheme: str) -> None:
    headers = sign(scheme, [OTHERS[scheme], SECRETS[scheme]], BODY, NOW)
    assert reason(scheme, headers) == ""
    assert reason(scheme, headers, secret=OTHERS[scheme]) == ""


@header_schemes
@pytest.mark.parametrize("secret", ["", "  ", [], [""], ["", "x"]], ids=repr)
def test_empty_secret_accepts_nothing(scheme: str, secret: str | list[str]) -> None:
    headers = sign(scheme, SECRETS[scheme], BODY, NOW)
    with pytest.raises(Misconfigured):
        verify(scheme, secret, headers, BODY, NOW)
    with pytest.raises(Misconfigured):
        sign(scheme, secret, BODY, NOW)


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        ("standard-webhooks-v1", "whsec_"),
        ("standard-webhooks-v1", "whsec_!!!!"),
        ("standard-webhooks-v1", "whsec_é"),
        ("svix", "A"),
        ("adyen-hmac-in-payload", "not hex"),
        ("adyen-hmac-in-payload", "abc"),
        ("none", "a secret"),
        ("sha1", "x"),
        ("", "x"),
    ],
)
def test_scheme_or_secret_that_cannot_work_is_misconfigured(scheme: str, secret: str) -> None:
    with pytest.raises(Misconfigured):
        verify(scheme, secret, {}, BODY, NOW)


def test_negative_tolerance_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="tolerance"):
        verify("stripe-v1", "x", {}, BODY, NOW, -1)


@pytest.mark.parametrize("scheme", DATED)
def test_old_message_is_refused_beyond_the_tolerance_only(scheme: str) -> None:
    headers = sign(scheme, SECRETS[scheme], BODY, NOW)
    assert reason(scheme, headers, now=NOW + 300) == ""
    assert reason(scheme, headers, now=NOW + 301) == "expired"
    assert reason(scheme, headers, now=NOW + 11, tolerance=10) == "expired"
    assert reason(scheme, headers, now=NOW + 10**9, tolerance=None) == ""
    assert reason(scheme, headers, b"forged", now=NOW + 10**9) == "mismatch"


@pytest.mark.parametrize("scheme", DATED)
def test_message_from_the_future_is_refused_beyond_the_tolerance(scheme: str) -> None:
    headers = sign(scheme, SECRETS[scheme], BODY, NOW)
    assert reason(scheme, headers, now=NOW - 300) == ""
    assert reason(scheme, headers, now=NOW - 301) == "future"
    ten_years = 315_360_000
    assert reason(scheme, headers, now=NOW - ten_years) == "future"


@pytest.mark.parametrize("scheme", DATED)
def test_tolerance_of_zero_allows_no_age_except_where_it_switches_the_check_off(scheme: str) -> None:
    headers = sign(scheme, SECRETS[scheme], BODY, NOW)
    assert reason(scheme, headers, tolerance=0) == ""
    assert reason(scheme, headers, now=NOW + 1, tolerance=0) == ("" if scheme == "stripe-v1" else "expired")


@pytest.mark.parametrize("scheme", ["standard-webhooks-v1", "svix", "slack-v0", "zendesk"])
@pytest.mark.parametrize("timestamp", ["hello", "nan", "inf", "0x10", "1e9", "", "2023-11-14T22:13:20"])
def test_timestamp_that_is_none_is_malformed(scheme: str, timestamp: str) -> None:
    headers = sign(scheme, SECRETS[scheme], BODY, NOW)
    [name] = [name for name in headers if "timestamp" in name]
    assert reason(scheme, headers | {name: timestamp}) in ("malformed", "missing")


def test_another_timestamp_than_the_signed_one_is_a_mismatch() -> None:
    for scheme in ("standard-webhooks-v1", "svix", "slack-v0"):
        headers = sign(scheme, SECRETS[scheme], BODY, NOW)
        [name] = [name for name in headers if "timestamp" in name]
        assert reason(scheme, headers | {name: str(NOW + 1)}) == "mismatch"
    headers = sign("zendesk", SECRETS["zendesk"], BODY, NOW)
    assert (
        reason("zendesk", headers | {"x-zendesk-webhook-signature-timestamp": "2023-11-14T22:13:21Z"})
        == "mismatch"
    )


def test_fraction_of_a_second_counts_for_age_but_is_not_signed() -> None:
    headers = sign("standard-webhooks-v1", SECRETS["standard-webhooks-v1"], BODY, NOW)
    headers["webhook-timestamp"] = f"{NOW}.5"
    assert reason("standard-webhooks-v1", headers) == ""
    assert reason("standard-webhooks-v1", headers, now=NOW - 300) == "future"


def test_id_is_part_of_what_is_signed() -> None:
    headers = sign("svix", SECRETS["svix"], BODY, NOW, id="msg_a")
    assert reason("svix", headers | {"svix-id": "msg_b"}) == "mismatch"


def test_svix_takes_the_standards_headers_and_the_standard_not_svixs() -> None:
    standard = sign("standard-webhooks-v1", SECRETS["svix"], BODY, NOW)
    assert reason("svix", standard) == ""
    assert reason("standard-webhooks-v1", sign("svix", SECRETS["svix"], BODY, NOW)) == "missing"


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ("v1a,AAAA v2,{} {}", ""),
        ("v1,AAAA {}", ""),
        ("{} v1,???", ""),
        ("{} nothing", ""),
        ("{} ", ""),
        ("v1,AAAAA {}", "malformed"),
        ("v1,AAA {}", "malformed"),
        ("nothing {}", "malformed"),
        ("v1,a,b {}", "malformed"),
        (" {}", "malformed"),
        ("v1,AAAA  {}", "malformed"),
    ],
)
def test_entries_are_read_from_the_left_until_one_is_right(around: str, expected: str) -> None:
    headers = sign("svix", SECRETS["svix"], BODY, NOW)
    good = headers["svix-signature"]
    around = around.replace("v2,{}", f"v2,{good[3:]}")
    assert reason("svix", headers | {"svix-signature": around.format(good)}) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda good: good[3:], "malformed"),
        (lambda good: "v1" + good[3:], "malformed"),
        (lambda good: good + ",x", "malformed"),
        (lambda good: good.rstrip("="), "malformed"),
        (lambda good: "v1, " + good[3:], "malformed"),
        (lambda good: ",", "mismatch"),
        (lambda good: " ", "malformed"),
        (lambda good: "V1" + good[2:], "mismatch"),
        (lambda good: "v1a" + good[2:], "mismatch"),
        (lambda good: good + "=", "mismatch"),
        (lambda good: good[:10] + "-" + good[10:], "mismatch"),
        (lambda good: "v1,", "mismatch"),
    ],
)
def test_standard_signature_in_another_form_is_refused(change: Any, expected: str) -> None:
    headers = sign("standard-webhooks-v1", SECRETS["standard-webhooks-v1"], BODY, NOW)
    headers["webhook-signature"] = change(headers["webhook-signature"])
    assert reason("standard-webhooks-v1", headers) == expected


@pytest.mark.parametrize("secret", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwBr", "c2hvcnQ", " whsec_c2hvcnQ=\n"])
def test_secret_may_be_short_unpadded_or_end_with_its_files_newline(secret: str) -> None:
    headers = sign("standard-webhooks-v1", secret, BODY, NOW)
    assert reason("standard-webhooks-v1", headers, secret=secret.strip()) == ""


def stripe_header(change: Any) -> str:
    good = sign("stripe-v1", SECRETS["stripe-v1"], BODY, NOW)["stripe-signature"]
    return reason("stripe-v1", {"Stripe-Signature": change(good)})


@pytest.mark.parametrize(
    "change",
    [
        lambda good: good + ",v1=bad,v0=old,unknown",
        lambda good: "v1=bad," + good,
        lambda good: good + ",t=1",
        lambda good: good.replace("t=", "t=+"),
    ],
)
def test_stripe_header_with_more_in_it_is_accepted(change: Any) -> None:
    assert stripe_header(change) == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda good: "t=1," + good, "mismatch"),
        (lambda good: good.replace("v1=", "v0="), "mismatch"),
        (lambda good: good.replace(",v1", ", v1"), "mismatch"),
        (lambda good: good.upper().replace("T=", "t=").replace("V1=", "v1="), "mismatch"),
        (lambda good: f"t={NOW}", "mismatch"),
        (lambda good: f"t={NOW},v1", "malformed"),
        (lambda good: good + ",v1", "malformed"),
        (lambda good: good.partition(",")[2], "malformed"),
        (lambda good: "t," + good.partition(",")[2], "malformed"),
        (lambda good: good.replace("t=", "t=x"), "malformed"),
        (lambda good: good.replace(f"{NOW}", f"{NOW}.0"), "malformed"),
        (lambda good: "t=" + "9" * 5000, "malformed"),
        (lambda good: "nonsense", "malformed"),
        (lambda good: ",", "malformed"),
    ],
)
def test_stripe_header_in_another_form_is_refused(change: Any, expected: str) -> None:
    assert stripe_header(change) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda good: good.removeprefix("sha256="),
        lambda good: good.replace("sha256", "sha1"),
        lambda good: good.replace("sha256", "SHA256"),
        lambda good: "sha256=" + good.removeprefix("sha256=").upper(),
        lambda good: good + " ",
        lambda good: good[:-1],
        lambda good: "sha256=",
    ],
)
def test_github_signature_in_another_form_is_a_mismatch(change: Any) -> None:
    headers = sign("github-sha256", SECRETS["github-sha256"], BODY, NOW)
    assert (
        reason("github-sha256", {"x-hub-signature-256": change(headers["x-hub-signature-256"])}) == "mismatch"
    )


ADYEN_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
ADYEN_ITEM = {
    "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
    "amount": {"value": 1130, "currency": "EUR"},
    "pspReference": "7914073381342284",
    "eventCode": "AUTHORISATION",
    "merchantAccountCode": "TestMerchant",
    "merchantReference": "TestPayment-1407325143704",
    "success": "true",
}


def adyen(*items: Any) -> str:
    body = json.dumps({"notificationItems": [{"NotificationRequestItem": item} for item in items]}).encode()
    return reason("adyen-hmac-in-payload", {}, body, secret=ADYEN_KEY)


def test_adyen_signature_covers_every_item() -> None:
    assert adyen_signature(ADYEN_KEY, ADYEN_ITEM) == "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="
    assert adyen(ADYEN_ITEM) == ""
    assert adyen(ADYEN_ITEM, ADYEN_ITEM) == ""
    assert adyen(ADYEN_ITEM, ADYEN_ITEM | {"success": "false"}) == "mismatch"
    assert adyen(ADYEN_ITEM | {"originalReference": None}) == ""
    assert adyen(ADYEN_ITEM | {"success": True}) == ""
    assert adyen(ADYEN_ITEM | {"originalReference": "1"}) == "mismatch"


def test_adyen_rotation_accepts_either_key() -> None:
    body = json.dumps({"notificationItems": [{"NotificationRequestItem": ADYEN_ITEM}]}).encode()
    assert reason("adyen-hmac-in-payload", {}, body, secret=["00ff", ADYEN_KEY]) == ""
    assert reason("adyen-hmac-in-payload", {}, body, secret=["00ff"]) == "mismatch"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (None, "missing"),
        ({}, "missing"),
        (ADYEN_ITEM | {"additionalData": None}, "missing"),
        (ADYEN_ITEM | {"additionalData": {"hmacSignature": ""}}, "missing"),
        (ADYEN_ITEM | {"additionalData": {"hmacSignature": 5}}, "missing"),
        (ADYEN_ITEM | {"additionalData": {"hmacSignature": "♥"}}, "malformed"),
        (ADYEN_ITEM | {"amount": "1130"}, "malformed"),
        (ADYEN_ITEM | {"pspReference": ["7914073381342284"]}, "malformed"),
    ],
)
def test_adyen_item_without_a_usable_signature_is_refused(item: Any, expected: str) -> None:
    assert adyen(ADYEN_ITEM, item) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "malformed"),
        (b"[1]", "missing"),
        (b"{}", "missing"),
        (b'{"notificationItems":[]}', "missing"),
        (b'{"notificationItems":[1]}', "missing"),
        (b'{"notificationItems":{},"notificationItems":[]}', "malformed"),
    ],
)
def test_adyen_body_without_items_is_refused(body: bytes, expected: str) -> None:
    assert reason("adyen-hmac-in-payload", {}, body, secret=ADYEN_KEY) == expected


def test_adyen_signs_in_the_body_and_not_in_headers() -> None:
    with pytest.raises(Misconfigured, match="inside the body"):
        sign("adyen-hmac-in-payload", ADYEN_KEY, BODY, NOW)


def test_scheme_none_accepts_all_when_it_is_written_down() -> None:
    verify("none", "", {}, BODY, NOW)
    assert sign("none", "", BODY, NOW) == {}


def test_every_scheme_is_documented_with_its_rules() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/signatures.md").read_text()
    assert not [scheme for scheme in SCHEMES if f"| `{scheme}` |" not in page]
    assert set(SECRETS) | {"none", "adyen-hmac-in-payload"} == SCHEMES


def test_refusal_never_shows_a_secret_or_the_right_signature() -> None:
    headers = sign("stripe-v1", "topsecret", BODY, NOW)
    right = headers["stripe-signature"].rpartition("=")[2]
    with pytest.raises(SignatureRefused) as refused:
        verify("stripe-v1", "topsecret", {"stripe-signature": f"t={NOW},v1=00"}, BODY, NOW)
    assert "topsecret" not in str(refused.value)
    assert right not in str(refused.value)
