"""Webhook signatures over the raw bytes: verification before any parsing, and signing of our own messages.

A scheme defines the headers, the signed bytes and the maximum age of a message. A signature proves the sender and, within
the tolerance, the time. It does not exclude repeats: the business key does. docs/reference/signatures.md has the rules of
each scheme and their sources.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from counterfoil.core.clock import from_micros, micros
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused
from counterfoil.core.http_headers import SEVERAL_VALUES
from counterfoil.core.wire import Json, WireRefused, read_json

Reason: TypeAlias = Literal["missing", "malformed", "expired", "future", "mismatch"]


class SignatureRefused(Refused):
    """The message has no valid proof of its sender. `reason` separates a forgery from a late delivery."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message, ErrorClass.UNAUTHORIZED, f"signature_{reason}")
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """SignedMessage as it came: header names in lower case, the raw body, the receiver's clock and the tolerance in seconds."""

    headers: Mapping[str, str]
    body: bytes
    now: datetime | int
    tolerance: int | None

    def header(self, name: str) -> str:
        value = self.headers.get(name, "")
        if not value:
            raise SignatureRefused(f"the header {name} is missing", "missing")
        if SEVERAL_VALUES in value:
            raise SignatureRefused(f"the header {name} appears twice with different values", "malformed")
        if not value.isascii():
            raise SignatureRefused(f"the header {name} has characters outside ASCII", "malformed")
        return value

    def check_age(self, sent: int, *, future: bool) -> None:
        """Raise SignatureRefused if the message is too old. `sent` is in microseconds since 1970.

        `future`: also refuse a message that is ahead of our clock by more than the tolerance. Called after the signature
        was found right, so "expired" means a late message, not a forged one.
        """
        if self.tolerance is None:
            return
        age = microseconds(self.now) - sent
        if age > self.tolerance * 1_000_000:
            message = f"signed {age // 1_000_000} s ago; the limit is {self.tolerance} s"
            raise SignatureRefused(message, "expired")
        if future and -age > self.tolerance * 1_000_000:
            message = f"signed {-age // 1_000_000} s ahead of our clock; the limit is {self.tolerance} s"
            raise SignatureRefused(message, "future")


@dataclass(frozen=True, slots=True)
class Scheme:
    """Rules of a scheme: reading of a secret, verification, and signing of our own messages."""

    key: Callable[[str], bytes]
    verify: Callable[[Sequence[bytes], SignedMessage], None]
    sign: Callable[[Sequence[bytes], bytes, datetime | int, str], dict[str, str]]


def verify(
    scheme: str | Scheme,
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime | int,
    tolerance: int | None = 300,
) -> None:
    """Return if `body` was signed with `secret`, or with one of several during a rotation. Raise otherwise.

    `scheme` is the name of one, or a declared one. `now` is an aware datetime or whole seconds since 1970. `tolerance` is in seconds, past and future; None means no check.
    Raises `SignatureRefused` for a fault of the message and `Misconfigured` for a scheme or secret that cannot work.
    The scheme `none` accepts everything and takes no secret: a file must state it explicitly.
    """
    if tolerance is not None and tolerance < 0:
        raise Misconfigured(f"a signature tolerance of {tolerance} s refuses every message")
    if _is_none(scheme):
        if secret:
            message = (
                "signature scheme none has a secret. Name the scheme of the secret, or remove the secret"
            )
            raise Misconfigured(message)
        return
    rules = _rules(scheme)
    rules.verify(_keys(rules, scheme, secret), SignedMessage(_lower(headers), body, now, tolerance))


def sign(
    scheme: str | Scheme, secret: str | Sequence[str], body: bytes, now: datetime | int, id: str = "msg_1"
) -> dict[str, str]:
    """Return headers with which `body` passes `verify`: one signature per secret if the scheme allows several.

    `id` is the message id, for schemes that sign one. Raises `Misconfigured` for schemes that sign inside the body.
    """
    if _is_none(scheme):
        return {}
    rules = _rules(scheme)
    return rules.sign(_keys(rules, scheme, secret), body, now, id)


def secrets_in_rotation(secrets: Mapping[str, str], name: str) -> list[str]:
    """Return the secret of this name and the one before it, `{name}_old`, as far as they are set."""
    return [secrets[key] for key in (name, f"{name}_old") if secrets.get(key)]


def _name(scheme: str) -> str:
    """Return the name of a scheme without the remark that may follow it in brackets."""
    return scheme.partition(" (")[0].strip()


def _is_none(scheme: str | Scheme) -> bool:
    return isinstance(scheme, str) and _name(scheme) == "none"


def _rules(scheme: str | Scheme) -> Scheme:
    if isinstance(scheme, Scheme):
        return scheme
    rules = _SCHEMES.get(_name(scheme))
    if rules is None:
        raise Misconfigured(f"there is no signature scheme {scheme!r}. Schemes: {', '.join(sorted(SCHEMES))}")
    return rules


def _keys(rules: Scheme, scheme: str | Scheme, secret: str | Sequence[str]) -> list[bytes]:
    secrets = [secret] if isinstance(secret, str) else list(secret)
    keys = [rules.key(text) if text.strip() else b"" for text in secrets]
    if not keys or not all(keys):
        # With an empty key, any sender could make valid signatures.
        name = _name(scheme) if isinstance(scheme, str) else "hmac"
        raise Misconfigured(f"the secret for signature scheme {name} is empty")
    return keys


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    lower: dict[str, str] = {}
    for name, value in headers.items():
        if lower.setdefault(name.lower(), value) != value:
            message = f"the header {name.lower()} appears twice with different values"
            raise SignatureRefused(message, "malformed")
    return lower


def microseconds(now: datetime | int) -> int:
    """Return microseconds since 1970, of a datetime or of whole seconds."""
    return micros(now) if isinstance(now, datetime) else int(now * 1_000_000)


def _seconds(now: datetime | int) -> int:
    return microseconds(now) // 1_000_000


def _whole_seconds(text: str) -> int:
    try:
        return int(text) if len(text) <= 20 else int("too long")
    except ValueError:
        message = "the signature's timestamp is not a whole number of seconds"
        raise SignatureRefused(message, "malformed") from None


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, hashlib.sha256)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")


def require_match(expected: Sequence[str], received: Sequence[str]) -> None:
    """Raise SignatureRefused unless one received signature equals an expected one. Compares in constant time."""
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in received]
    if not any(matches):
        raise SignatureRefused("no signature matches this body and secret", "mismatch")


# Keys


def text_key(secret: str) -> bytes:
    """Return the key of a secret that is used as text."""
    return secret.encode("utf-8")


def base64_key(secret: str) -> bytes:
    """Return the key of a base64 secret, padded or not. Raises Misconfigured."""
    encoded = secret.strip().removeprefix("whsec_").rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Misconfigured("the secret is not base64, with or without whsec_ before it") from None


def hex_key(secret: str) -> bytes:
    """Return the key of a hexadecimal secret. Raises Misconfigured."""
    try:
        return binascii.a2b_hex(secret.strip())
    except (binascii.Error, ValueError):
        raise Misconfigured("the secret is not hexadecimal") from None


# Standard Webhooks, and Svix, its origin: "{id}.{timestamp}.{body}", base64, several signatures.

_STANDARD_TIME = re.compile(r"[ \t]*(\d{1,12}(?:\.\d{1,9})?)[ \t]*", re.ASCII)


def _standard(prefixes: Sequence[str]) -> Scheme:
    def check(keys: Sequence[bytes], message: SignedMessage) -> None:
        # Svix sends its own header names and expects receivers to accept the standard's as well.
        headers = message.headers
        complete = (p for p in prefixes if all(headers.get(f"{p}-{part}") for part in _STANDARD_PARTS))
        prefix = next(complete, prefixes[0])
        message_id, timestamp, signatures = (message.header(f"{prefix}-{part}") for part in _STANDARD_PARTS)
        match = _STANDARD_TIME.fullmatch(timestamp)
        if match is None:
            raise SignatureRefused("the signature's timestamp is not seconds since 1970", "malformed")
        sent = Decimal(match[1])
        signed = f"{message_id}.{int(sent)}.".encode() + message.body
        _match_entries([_base64(_mac(key, signed)) for key in keys], signatures)
        message.check_age(int(sent * 1_000_000), future=True)

    def make(keys: Sequence[bytes], body: bytes, now: datetime | int, message_id: str) -> dict[str, str]:
        signed = f"{message_id}.{_seconds(now)}.".encode() + body
        signatures = " ".join(f"v1,{_base64(_mac(key, signed))}" for key in keys)
        values = (message_id, str(_seconds(now)), signatures)
        return {f"{prefixes[0]}-{part}": value for part, value in zip(_STANDARD_PARTS, values, strict=True)}

    return Scheme(base64_key, check, make)


def _match_entries(expected: Sequence[str], header: str) -> None:
    """Return at the first valid entry "version,signature", read from the left as in the standard's library. Raise otherwise."""
    for entry in header.split(" "):
        version, comma, signature = entry.partition(",")
        if not comma or "," in signature:
            raise SignatureRefused("a signature entry is not of the form version,signature", "malformed")
        if version != "v1":
            continue
        if any(hmac.compare_digest(ours, signature) for ours in expected):
            return
        try:
            base64.b64decode(signature)
        except binascii.Error:
            raise SignatureRefused("a v1 signature is not base64", "malformed") from None
    raise SignatureRefused("no signature matches this body and secret", "mismatch")


_STANDARD_PARTS = ("id", "timestamp", "signature")


# Stripe: header "t=...,v1=...", signed "{t}.{body}", hexadecimal, several signatures. The vendor's libraries have no bound
# on the future; a stamp ahead of our clock would keep a captured message valid for as long as it says.


def _verify_stripe(keys: Sequence[bytes], message: SignedMessage) -> None:
    items = [item.split("=") for item in message.header("stripe-signature").split(",")]
    times = [item[1] for item in items if item[0] == "t" and len(item) > 1]
    if not times or ["t"] in items or ["v1"] in items:
        raise SignatureRefused("the header stripe-signature is not of the form t=...,v1=...", "malformed")
    sent = _whole_seconds(times[0])
    signed = f"{sent}.".encode() + message.body
    signatures = [item[1] for item in items if item[0] == "v1" and len(item) > 1]
    require_match([_mac(key, signed).hex() for key in keys], signatures)
    # The vendor's libraries read a tolerance of 0 as no check.
    if message.tolerance != 0:
        message.check_age(sent * 1_000_000, future=True)


def _sign_stripe(keys: Sequence[bytes], body: bytes, now: datetime | int, message_id: str) -> dict[str, str]:
    signed = f"{_seconds(now)}.".encode() + body
    signatures = (f"v1={_mac(key, signed).hex()}" for key in keys)
    return {"stripe-signature": ",".join([f"t={_seconds(now)}", *signatures])}


# Slack: "v0:{timestamp}:{body}", hexadecimal.


def _verify_slack(keys: Sequence[bytes], message: SignedMessage) -> None:
    timestamp = message.header("x-slack-request-timestamp")
    signature = message.header("x-slack-signature")
    sent = _whole_seconds(timestamp)
    signed = f"v0:{timestamp}:".encode() + message.body
    require_match([f"v0={_mac(key, signed).hex()}" for key in keys], [signature])
    message.check_age(sent * 1_000_000, future=True)


def _sign_slack(keys: Sequence[bytes], body: bytes, now: datetime | int, message_id: str) -> dict[str, str]:
    signed = f"v0:{_seconds(now)}:".encode() + body
    signature = f"v0={_mac(keys[0], signed).hex()}"
    return {"x-slack-request-timestamp": str(_seconds(now)), "x-slack-signature": signature}


# GitHub and its imitators: "sha256=" and the HMAC of the body in hexadecimal, without a time.


def _verify_github(keys: Sequence[bytes], message: SignedMessage) -> None:
    signature = message.header("x-hub-signature-256")
    require_match([f"sha256={_mac(key, message.body).hex()}" for key in keys], [signature])


def _sign_github(keys: Sequence[bytes], body: bytes, now: datetime | int, message_id: str) -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={_mac(keys[0], body).hex()}"}


# Shopify: base64 of the HMAC of the body, without a time.
# https://shopify.dev/docs/apps/build/webhooks/subscribe/https


def _verify_shopify(keys: Sequence[bytes], message: SignedMessage) -> None:
    signature = message.header("x-shopify-hmac-sha256")
    require_match([_base64(_mac(key, message.body)) for key in keys], [signature])


def _sign_shopify(keys: Sequence[bytes], body: bytes, now: datetime | int, message_id: str) -> dict[str, str]:
    return {"x-shopify-hmac-sha256": _base64(_mac(keys[0], body))}


# Zendesk: base64 over the text of the timestamp and the body, without a separator.

_ZENDESK = "x-zendesk-webhook-signature"


def _verify_zendesk(keys: Sequence[bytes], message: SignedMessage) -> None:
    signature = message.header(_ZENDESK)
    timestamp = message.header(f"{_ZENDESK}-timestamp")
    try:
        sent = datetime.fromisoformat(timestamp)
    except ValueError:
        raise SignatureRefused("the signature's timestamp is not ISO 8601", "malformed") from None
    if sent.tzinfo is None:
        raise SignatureRefused("the signature's timestamp has no time zone", "malformed")
    require_match([_base64(_mac(key, timestamp.encode() + message.body)) for key in keys], [signature])
    message.check_age(microseconds(sent), future=True)


def _sign_zendesk(keys: Sequence[bytes], body: bytes, now: datetime | int, message_id: str) -> dict[str, str]:
    timestamp = f"{from_micros(microseconds(now)):%Y-%m-%dT%H:%M:%SZ}"
    return {f"{_ZENDESK}-timestamp": timestamp, _ZENDESK: _base64(_mac(keys[0], timestamp.encode() + body))}


# Adyen: inside the body, one signature per item, over eight of its fields only.

_ADYEN_FIELDS = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")


def adyen_signature(secret: str, item: Mapping[str, Json]) -> str:
    """Return the `hmacSignature` of one NotificationRequestItem."""
    return _base64(_mac(hex_key(secret), _adyen_signed(item)))


def _adyen_signed(item: Mapping[str, Json]) -> bytes:
    amount = item.get("amount")
    if not isinstance(amount, dict):
        raise SignatureRefused("a notification item has no amount, which its signature covers", "malformed")
    fields = [item.get(name) for name in _ADYEN_FIELDS]
    fields += [amount.get("value"), amount.get("currency"), item.get("eventCode"), item.get("success")]
    return ":".join(map(_adyen_text, fields)).encode()


def _adyen_text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise SignatureRefused("a signed field of a notification item is not a plain value", "malformed")
    return "" if value is None else str(value)


def _verify_adyen(keys: Sequence[bytes], message: SignedMessage) -> None:
    try:
        body = read_json(message.body)
    except WireRefused as refused:
        text = f"the body that holds the signature cannot be read: {refused}"
        raise SignatureRefused(text, "malformed") from None
    items = body.get("notificationItems") if isinstance(body, dict) else None
    if not isinstance(items, list) or not items:
        raise SignatureRefused("the body has no notificationItems", "missing")
    for wrapped in items:
        item = wrapped.get("NotificationRequestItem") if isinstance(wrapped, dict) else None
        more = item.get("additionalData") if isinstance(item, dict) else None
        signature = more.get("hmacSignature") if isinstance(more, dict) else None
        if not isinstance(item, dict) or not isinstance(signature, str) or not signature:
            raise SignatureRefused("a notification item carries no hmacSignature", "missing")
        if not signature.isascii():
            raise SignatureRefused("an hmacSignature has characters outside ASCII", "malformed")
        signed = _adyen_signed(item)
        require_match([_base64(_mac(key, signed)) for key in keys], [signature])


def _sign_adyen(keys: Sequence[bytes], body: bytes, now: datetime | int, message_id: str) -> dict[str, str]:
    raise Misconfigured("this scheme signs inside the body: put adyen_signature() into every item")


_SCHEMES: dict[str, Scheme] = {
    "standard-webhooks-v1": _standard(["webhook"]),
    "svix": _standard(["svix", "webhook"]),
    "stripe-v1": Scheme(text_key, _verify_stripe, _sign_stripe),
    "slack-v0": Scheme(text_key, _verify_slack, _sign_slack),
    "github-sha256": Scheme(text_key, _verify_github, _sign_github),
    "shopify": Scheme(text_key, _verify_shopify, _sign_shopify),
    "zendesk": Scheme(text_key, _verify_zendesk, _sign_zendesk),
    "adyen-hmac-in-payload": Scheme(hex_key, _verify_adyen, _sign_adyen),
}

SCHEMES = frozenset(_SCHEMES) | {"none"}
"""Scheme names for governance files."""
