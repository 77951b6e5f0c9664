"""CloudEvents 1.0: reading from HTTP and JSON, and writing as structured JSON.

The bytes come from outside and are not trusted. This module checks the envelope; `rules` checks the data against its
contract. docs/reference/cloudevents.md lists what is refused, and why.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from counterfoil.core.http_headers import SEVERAL_VALUES
from counterfoil.core.wire import (
    DEFAULT_LIMITS,
    Json,
    Limits,
    WireRefused,
    read_json,
    time_text,
    write_json,
)

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

Extension = str | int | bool

_REQUIRED = ("id", "source", "type", "specversion")
_OPTIONAL = ("subject", "time", "datacontenttype", "dataschema")
_CORE = frozenset(_REQUIRED + _OPTIONAL)

_NAME = re.compile(r"[a-z0-9]+")
# The String type of the specification: no control characters, no noncharacters.
_NOT_TEXT = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.")
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+"  # noqa: S105 - the token of RFC 9110
_MEDIA_TYPE = re.compile(
    rf'({_TOKEN}/{_TOKEN})((?:[ \t]*;[ \t]*(?:{_TOKEN}=(?:{_TOKEN}|"(?:[^"\\]|\\.)*"))?)*)[ \t]*'
)
_CHARSET = re.compile(r';[ \t]*charset="?([^";]*)"?', re.IGNORECASE)
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))", re.ASCII
)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INT32_MAX = 2**31 - 1


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One CloudEvent. `time` is aware UTC to the microsecond; `data` is Json, or bytes if it was binary.

    Absent attributes are None. Absent data and JSON null are both None: the JSON format does not separate them.
    """

    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    data: Any = None
    extensions: dict[str, Extension] = {}


def parse(
    body: bytes, content_type: str, headers: Mapping[str, str] | None = None, limits: Limits = DEFAULT_LIMITS
) -> list[Event]:
    """Return the events of one HTTP message, in order: structured, batch or binary mode (HTTP protocol binding 1.0).

    `headers` matter in binary mode only; their names are not case-sensitive. Raises `WireRefused`. One bad event refuses
    its whole batch: the answer to a sender has no place for a part of it.
    """
    media, charset = _media(content_type) if content_type else ("", "")
    if media.startswith("application/cloudevents"):
        if charset not in ("", "utf-8", "us-ascii"):
            raise WireRefused(f"charset {charset!r}: JSON events are UTF-8", "content-type")
        if media == STRUCTURED:
            return [_from_json(read_json(body, limits), "$")]
        if media == BATCH:
            batch = read_json(body, limits)
            if type(batch) is not list:
                raise WireRefused("a batch is a JSON array of events", "$")
            return [_from_json(item, f"$[{index}]") for index, item in enumerate(batch)]
        raise WireRefused(f"event format {media!r} is not supported; send {STRUCTURED}", "content-type")
    return [from_attributes(_http_attributes(headers or {}), content_type or None, body, limits)]


def from_attributes(
    attributes: Mapping[str, str], content_type: str | None, body: bytes, limits: Limits = DEFAULT_LIMITS
) -> Event:
    """Return one event of binary mode, after its protocol's own decoding: attributes by name, data as the body.

    JSON content becomes Json and UTF-8 text becomes str, as in structured mode. Other content, and content without a
    type, stays bytes. Extensions are text: headers carry no types.
    """
    if "datacontenttype" in attributes:
        raise WireRefused("datacontenttype belongs in the content type only", "attribute datacontenttype")
    named: dict[str, Json] = dict(attributes)
    if content_type is not None:
        named["datacontenttype"] = content_type
    if "data" in named:
        raise WireRefused("no attribute may be called data", "attribute data")
    return _event(named, _content(content_type, body, limits), "attribute ")


def render(event: Event) -> bytes:
    """Return the event as canonical structured JSON: `parse(render(e), STRUCTURED) == [e]`."""
    named: dict[str, Json] = {"specversion": "1.0", **event.extensions}
    for name in ("id", "source", "type", "subject", "datacontenttype", "dataschema"):
        if (value := getattr(event, name)) is not None:
            named[name] = value
    if event.time is not None:
        named["time"] = time_text(event.time)
    if isinstance(event.data, bytes):
        named["data_base64"] = base64.b64encode(event.data).decode()
    elif event.data is not None:
        named["data"] = event.data
    return write_json(named)


def _from_json(value: Json, where: str) -> Event:
    if type(value) is not dict:
        raise WireRefused("an event is a JSON object", where)
    named: dict[str, Json] = {key: part for key, part in value.items() if part is not None}
    data = named.pop("data", None)
    encoded = named.pop("data_base64", None)
    if encoded is not None:
        if data is not None:
            raise WireRefused("an event has data or data_base64, not both", f"{where}.data_base64")
        data = _base64(encoded, f"{where}.data_base64")
    return _event(named, data, f"{where}.")


def _base64(value: Json, where: str) -> bytes:
    if type(value) is not str:
        raise WireRefused("data_base64 is a string", where)
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise WireRefused("data_base64 is not base64 (RFC 4648, padded)", where) from None


def _event(named: dict[str, Json], data: Json, prefix: str) -> Event:
    for name in _REQUIRED:
        if name not in named:
            raise WireRefused(f"an event must have {name}", f"{prefix}{name}")
    for name, value in named.items():
        if not _NAME.fullmatch(name):
            raise WireRefused("attribute names are lower-case letters and digits", f"{prefix}{name[:80]}")
        _check_type(name, value, f"{prefix}{name}")
    if named["specversion"] != "1.0":
        message = f"specversion {named['specversion'][:20]!r} is not supported; use 1.0"
        raise WireRefused(message, f"{prefix}specversion")
    for name in (*_REQUIRED, "subject", "datacontenttype", "dataschema"):
        if named.get(name) == "":
            raise WireRefused(f"{name} must not be empty", f"{prefix}{name}")
    if not _URI_REFERENCE.fullmatch(named["source"]):
        raise WireRefused("source is not a URI reference (RFC 3986)", f"{prefix}source")
    schema = named.get("dataschema")
    if schema is not None and not (_URI_REFERENCE.fullmatch(schema) and _SCHEME.match(schema)):
        raise WireRefused("dataschema is not an absolute URI (RFC 3986)", f"{prefix}dataschema")
    content_type = named.get("datacontenttype")
    if content_type is not None and not _MEDIA_TYPE.fullmatch(content_type):
        raise WireRefused("datacontenttype is not a media type (RFC 2046)", f"{prefix}datacontenttype")
    time = named.get("time")
    return Event(
        id=named["id"],
        source=named["source"],
        type=named["type"],
        subject=named.get("subject"),
        time=None if time is None else read_time(time, f"{prefix}time"),
        datacontenttype=content_type,
        dataschema=schema,
        data=data,
        extensions={name: value for name, value in named.items() if name not in _CORE},
    )


def _check_type(name: str, value: Json, where: str) -> None:
    if type(value) is str:
        # Printable ASCII, the usual case, needs no search.
        if not (value.isascii() and value.isprintable()) and (bad := _NOT_TEXT.search(value)):
            raise WireRefused(f"character U+{ord(bad[0]):04X} is not allowed in an attribute", where)
    elif name in _CORE:
        raise WireRefused(f"{name} must be a string", where)
    elif type(value) is int:
        if not -_INT32_MAX - 1 <= value <= _INT32_MAX:
            raise WireRefused("an integer attribute must fit 32 bits", where)
    elif type(value) is not bool:
        raise WireRefused("an attribute is a string, an integer or a boolean", where)


def read_time(text: str, where: str) -> datetime:
    """Return an RFC 3339 timestamp as aware UTC, without digits past the microsecond. Raises `WireRefused`."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise WireRefused("time is not an RFC 3339 timestamp with an offset", where)
    day, clock, fraction, offset = match.groups()
    try:
        local = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '')[:6]:0<6}{offset or '+00:00'}")
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        message = "time is outside the years 1 to 9999, or has a leap second, which is not supported"
        raise WireRefused(message, where) from None


def _media(content_type: str) -> tuple[str, str]:
    match = _MEDIA_TYPE.fullmatch(content_type.strip(" \t"))
    if match is None:
        raise WireRefused("not a media type (RFC 2046)", "content-type")
    charset = _CHARSET.search(match[2])
    return match[1].lower(), charset[1].strip().lower() if charset else ""


def _content(content_type: str | None, body: bytes, limits: Limits) -> Json:
    if len(body) > limits.size:
        raise WireRefused(f"body of {len(body)} bytes is larger than {limits.size}", "byte 0")
    if not body:
        return None
    if content_type is None:
        return body
    media, charset = _media(content_type)
    utf8 = charset in ("", "utf-8", "us-ascii")
    subtype = media.partition("/")[2]
    if subtype == "json" or subtype.endswith("+json"):
        if not utf8:
            raise WireRefused(f"charset {charset!r}: JSON is UTF-8", "content-type")
        return read_json(body, limits)
    if utf8 and (media.startswith("text/") or subtype == "xml" or subtype.endswith("+xml")):
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError:
            return body
    return body


def _http_attributes(headers: Mapping[str, str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for header, value in headers.items():
        lower = header.lower()
        if not lower.startswith("ce-"):
            continue
        name = lower[3:]
        if name in attributes or SEVERAL_VALUES in value:
            raise WireRefused("the header appears twice", lower[:80])
        attributes[name] = _header_text(value, lower[:80])
    if not attributes:
        raise WireRefused(f"no CloudEvent: neither {STRUCTURED} nor ce- headers", "content-type")
    return attributes


def _header_text(value: str, where: str) -> str:
    value = value.strip(" \t")
    if not value.isascii():
        raise WireRefused("characters outside ASCII must be percent-encoded", where)
    # Quotes come from senders of older versions of the binding, which did not percent-encode spaces.
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if _BROKEN_ESCAPE.search(value):
        raise WireRefused("a % without two hexadecimal digits must be percent-encoded", where)
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError:
        raise WireRefused("percent-encoded bytes are not UTF-8", where) from None
