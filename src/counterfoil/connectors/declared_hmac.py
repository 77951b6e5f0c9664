"""The signature scheme `hmac`: a vendor's form of HMAC, declared in settings instead of code.

The declaration names the header, the encoding, the signed bytes and the timestamp. docs/reference/signatures.md explains
each key.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from counterfoil.connectors.signature import (
    Scheme,
    SignatureRefused,
    SignedMessage,
    base64_key,
    hex_key,
    microseconds,
    require_match,
    text_key,
)
from counterfoil.core.errors import Misconfigured

Digest: TypeAlias = Literal["sha256", "sha512", "sha1"]
Encoding: TypeAlias = Literal["hex", "base64"]
KeyEncoding: TypeAlias = Literal["text", "hex", "base64"]
TimeUnit: TypeAlias = Literal["seconds", "milliseconds", "iso"]

_KEYS: dict[KeyEncoding, Callable[[str], bytes]] = {
    "text": text_key,
    "hex": hex_key,
    "base64": base64_key,
}
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_WHOLE = re.compile(r"[0-9]{1,17}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True, slots=True)
class HmacForm:
    """Form of a vendor's signature. A header is split at `separator`; entries without the prefix are skipped."""

    header: str
    digest: Digest = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    separator: str = ""
    signed: str = "{body}"
    """Template of the signed bytes, with `{body}`, `{timestamp}` and `{header:NAME}`."""
    timestamp: str = ""
    """Header of the timestamp; empty if the message has none."""
    timestamp_prefix: str = ""
    """Prefix of the timestamp's entry, if its header is split as well."""
    unit: TimeUnit = "seconds"
    key: KeyEncoding = "text"

    def faults(self) -> dict[str, str]:
        """Return what is wrong with the declaration, by key."""
        faults = {}
        names = _PLACEHOLDER.findall(self.signed)
        unknown = [n for n in names if n not in ("body", "timestamp") and not n.startswith("header:")]
        if unknown:
            faults["signed"] = f"`{{{unknown[0]}}}` is not {{body}}, {{timestamp}} or {{header:NAME}}"
        elif names.count("body") != 1:
            faults["signed"] = "the signature must cover {body}, once"
        elif ("timestamp" in names) != bool(self.timestamp):
            faults["timestamp"] = (
                "a timestamp counts only if `signed` has {timestamp}: declare both or neither"
            )
        shared = self.timestamp.lower() == self.header.lower()
        if self.timestamp_prefix and not (self.timestamp and self.separator):
            faults["timestamp_prefix"] = "needs `timestamp` and `separator`"
        elif shared and not self.timestamp_prefix:
            faults["timestamp_prefix"] = "is needed to find the timestamp in the header of the signature"
        if self.separator.isspace() and self.separator != " ":
            faults["separator"] = "must not be a control character"
        named = [("header", self.header), *(("signed", name) for name in self.signed_headers())]
        for key, name in [*named, ("timestamp", self.timestamp)]:
            if not _HEADER_NAME.fullmatch(name) and (name or key != "timestamp"):
                faults[key] = f"`{name}` is not a header name"
        return faults

    def signed_headers(self) -> list[str]:
        """Return the names in lower case of the headers that the signature covers."""
        names = _PLACEHOLDER.findall(self.signed)
        return [name.removeprefix("header:").lower() for name in names if name.startswith("header:")]


def hmac_scheme(form: HmacForm) -> Scheme:
    """Return the rules of a declared form. Raises Misconfigured if the declaration cannot work."""
    for key, fault in form.faults().items():
        raise Misconfigured(f"signature scheme hmac, {key}: {fault}")

    def check(keys: Sequence[bytes], message: SignedMessage) -> None:
        entries = _entries(form, message.header(form.header.lower()))
        received = [entry.removeprefix(form.prefix) for entry in entries if entry.startswith(form.prefix)]
        if not received:
            raise SignatureRefused(
                f"the header {form.header} has no signature of the declared form", "malformed"
            )
        stamp = _stamp(form, message)
        sent = _sent(form, stamp) if stamp else None
        signed = _signed(form, message.header, stamp, message.body)
        require_match([_encode(form, key, signed) for key in keys], received)
        if sent is not None:
            message.check_age(sent, future=True)

    def make(keys: Sequence[bytes], body: bytes, now: datetime | int, message_id: str) -> dict[str, str]:
        stamp = _render_stamp(form, microseconds(now)) if form.timestamp else ""
        headers = dict.fromkeys(form.signed_headers(), message_id)
        signed = _signed(form, headers.__getitem__, stamp, body)
        several = keys if form.separator else keys[:1]
        entries = [f"{form.prefix}{_encode(form, key, signed)}" for key in several]
        if form.timestamp:
            entry = f"{form.timestamp_prefix}{stamp}"
            if form.timestamp.lower() == form.header.lower():
                entries.insert(0, entry)
            else:
                headers[form.timestamp.lower()] = entry
        return headers | {form.header.lower(): form.separator.join(entries)}

    return Scheme(_KEYS[form.key], check, make)


def _entries(form: HmacForm, value: str) -> list[str]:
    return [entry.strip(" \t") for entry in value.split(form.separator)] if form.separator else [value]


def _stamp(form: HmacForm, message: SignedMessage) -> str:
    """Return the text of the timestamp; "" if none is declared. The first entry with the prefix counts."""
    if not form.timestamp:
        return ""
    value = message.header(form.timestamp.lower())
    entries = _entries(form, value) if form.timestamp_prefix else [value]
    for entry in entries:
        stamp = entry.removeprefix(form.timestamp_prefix)
        if entry.startswith(form.timestamp_prefix) and stamp:
            return stamp
    raise SignatureRefused(f"the header {form.timestamp} has no timestamp of the declared form", "malformed")


def _sent(form: HmacForm, stamp: str) -> int:
    """Return the timestamp in microseconds since 1970."""
    if form.unit == "iso":
        try:
            moment = datetime.fromisoformat(stamp)
            if moment.tzinfo is not None:
                return microseconds(moment)
        except (ValueError, OverflowError):
            pass
        raise SignatureRefused("the signature's timestamp is not ISO 8601 with a time zone", "malformed")
    if not _WHOLE.fullmatch(stamp):
        raise SignatureRefused(f"the signature's timestamp is not whole {form.unit} since 1970", "malformed")
    return int(stamp) * (1_000_000 if form.unit == "seconds" else 1_000)


def _render_stamp(form: HmacForm, now: int) -> str:
    match form.unit:
        case "seconds":
            return str(now // 1_000_000)
        case "milliseconds":
            return str(now // 1_000)
        case "iso":
            return f"{datetime.fromtimestamp(now // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _signed(form: HmacForm, header: Callable[[str], str], stamp: str, body: bytes) -> bytes:
    """Return the signed bytes. `header` returns the value of a header by its name in lower case."""
    before, _, after = form.signed.partition("{body}")

    def value(match: re.Match[str]) -> str:
        return stamp if match[1] == "timestamp" else header(match[1].removeprefix("header:").lower())

    return _PLACEHOLDER.sub(value, before).encode() + body + _PLACEHOLDER.sub(value, after).encode()


def _encode(form: HmacForm, key: bytes, signed: bytes) -> str:
    mac = hmac.digest(key, signed, form.digest)
    return mac.hex() if form.encoding == "hex" else base64.b64encode(mac).decode("ascii")
