"""Headers of an operation call: idempotency key, version, wait and correlation; and the rate limit in the response."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from typing import NamedTuple

from litestar.datastructures import Headers

from counterfoil.contracts import versions
from counterfoil.core.call import CallRate, RateAllowance
from counterfoil.flow.gateway.placement import UNKNOWN
from counterfoil.web.http.problems import Problem

VERSION = "counterfoil-version"
CORRELATION = "x-correlation-id"
MAX_KEY_CHARS = 200
_NAME = re.compile(r"[a-z][a-z0-9_]*([.-][a-z0-9_]+){0,20}")
_BARE = re.compile(r"[A-Za-z0-9._~:+/=@-]+")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_CORRELATION = re.compile(r"[A-Za-z0-9._~:+/=@-]{1,128}")
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.I)
_ASYNC = re.compile(r"(?:^|[,;])\s*respond-async\s*(?=$|[,;])", re.I)
_ACCEPT = re.compile(r"application/json\s*;[^,]*\bversion\s*=\s*\"?(\d{1,6})\"?", re.I)


def idempotency_key(headers: Headers) -> str:
    """Return the idempotency key: a structured string (`"abc"`) or bare text. Raises Problem 400."""
    values = headers.getall("idempotency-key", [])
    if not values or not values[0].strip():
        raise Problem(
            400,
            "Send `Idempotency-Key` with a new value for each call, such as a UUID. "
            "A repeated key returns the first response.",
            kind="idempotency-key",
            title="Idempotency key missing",
        )
    text = values[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    valid = bool(quoted) or _BARE.fullmatch(text) is not None
    if len(values) > 1 or not valid or not key.strip() or len(key) > MAX_KEY_CHARS:
        raise Problem(
            400,
            f"Send one Idempotency-Key of 1 to {MAX_KEY_CHARS} visible characters. Put it in quotes if it has others "
            "than letters, digits and ._~:+/=@-.",
            kind="idempotency-key",
            title="Idempotency key invalid",
        )
    return key


def versioned_name(name: str, headers: Mapping[str, str]) -> str:
    """Return the operation's name with the requested version.

    A caller requests a version by `.v2` at the end of the name, `Counterfoil-Version: 2`, or
    `Accept: application/json; version=2`. Raises Problem 400 if they differ or are no number, 404 for an invalid name.
    """
    if not _NAME.fullmatch(name):
        raise Problem(404, UNKNOWN)
    base, own = versions.split(name)
    requested: set[int] = {own} if base != name else set()
    text = headers.get(VERSION, "").strip()
    if text:
        if not re.fullmatch(r"[1-9]\d{0,5}", text):
            raise Problem(
                400,
                f"Counterfoil-Version is {text[:40]!r}. Send a whole number, 1 or higher.",
                kind="version",
            )
        requested.add(int(text))
    accepted = _ACCEPT.search(headers.get("accept", ""))
    if accepted:
        requested.add(int(accepted[1]))
    if len(requested) > 1:
        raise Problem(
            400, f"The request names several versions: {sorted(requested)}. Name one.", kind="version"
        )
    return versions.operation(base, requested.pop()) if requested else base


class Correlation(NamedTuple):
    """Correlation id of a call, and the trace headers to store with the request."""

    id: str
    headers: dict[str, str]


def correlation(headers: Mapping[str, str]) -> Correlation:
    """Return `X-Correlation-ID`, else the trace id of a W3C `traceparent`, else a new id.

    Raises Problem 400 for an invalid id. An invalid `traceparent` is ignored, as its standard requires.
    """
    own, parent = headers.get(CORRELATION, "").strip(), headers.get("traceparent", "").strip()
    trace = _TRACE.fullmatch(parent)
    stored = {"traceparent": parent} if trace else {}
    if own and not _CORRELATION.fullmatch(own):
        raise Problem(
            400,
            "X-Correlation-ID is invalid. Send 1 to 128 letters, digits and ._~:+/=@-.",
            kind="correlation",
        )
    id_ = own or (trace[1] if trace else f"cor_{secrets.token_hex(16)}")
    return Correlation(id_, stored | {CORRELATION: id_})


def wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of `Prefer: wait=N`, 0 for `respond-async`, or None for neither."""
    prefer = headers.get("prefer", "")
    match = _WAIT.search(prefer)
    if match:
        return float(match[1])
    return 0.0 if _ASYNC.search(prefer) else None


def rate_headers(rate: CallRate | None, left: RateAllowance | None) -> dict[str, str]:
    """Return `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers)."""
    if rate is None or left is None:
        return {}
    window = math.ceil(rate.every * rate.burst / rate.at_most)
    return {
        "ratelimit-policy": f'"consumer";q={rate.burst};w={max(1, window)}',
        "ratelimit": f'"consumer";r={left.calls};t={math.ceil(left.wait or left.reset)}',
    }
