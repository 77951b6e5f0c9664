"""What a consumer says in the head of a call: key, version, wait, correlation; and what is told back in heads."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from typing import NamedTuple

from litestar.datastructures import Headers

from counterfoil.contracts import versions
from counterfoil.core.call import Left, Rate
from counterfoil.flow.gateway.gateway import UNKNOWN
from counterfoil.web.http.problems import Problem

VERSION = "counterfoil-version"
CORRELATION = "x-correlation-id"
LONGEST_KEY = 200
_NAME = re.compile(r"[a-z][a-z0-9_]*([.-][a-z0-9_]+){0,20}")
_BARE = re.compile(r"[A-Za-z0-9._~:+/=@-]+")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_CORRELATION = re.compile(r"[A-Za-z0-9._~:+/=@-]{1,128}")
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.I)
_ASYNC = re.compile(r"(?:^|[,;])\s*respond-async\s*(?=$|[,;])", re.I)
_ACCEPT = re.compile(r"application/json\s*;[^,]*\bversion\s*=\s*\"?(\d{1,6})\"?", re.I)


def idempotency_key(headers: Headers) -> str:
    """The key, written as a structured string (`"abc"`) or bare. Raises Problem 400."""
    found = headers.getall("idempotency-key", [])
    if not found or not found[0].strip():
        raise Problem(
            400,
            "Send `Idempotency-Key` with a text of your own that is new for each call, such as a UUID: whoever repeats "
            "it is given the first answer.",
            kind="idempotency-key",
            title="A call has a key",
        )
    text = found[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    good = bool(quoted) or _BARE.fullmatch(text) is not None
    if len(found) > 1 or not good or not key.strip() or len(key) > LONGEST_KEY:
        raise Problem(
            400,
            f"Idempotency-Key is one text of 1 to {LONGEST_KEY} visible characters, in quotes where it is not of letters, "
            "digits and ._~:+/=@- alone.",
            kind="idempotency-key",
            title="A call has a key",
        )
    return key


def named(name: str, headers: Mapping[str, str]) -> str:
    """The operation with the version that is named with it: `.v2` at its end, `Counterfoil-Version: 2`, or
    `Accept: application/json; version=2`. Raises Problem 400 where they do not agree or are no number, 404 for what is no
    name."""
    if not _NAME.fullmatch(name):
        raise Problem(404, UNKNOWN)
    base, own = versions.split(name)
    said: set[int] = {own} if base != name else set()
    text = headers.get(VERSION, "").strip()
    if text:
        if not re.fullmatch(r"[1-9]\d{0,5}", text):
            raise Problem(
                400, f"Counterfoil-Version is a whole number from 1 on, not {text[:40]!r}.", kind="version"
            )
        said.add(int(text))
    accepted = _ACCEPT.search(headers.get("accept", ""))
    if accepted:
        said.add(int(accepted[1]))
    if len(said) > 1:
        raise Problem(400, f"One version is meant, and these are named: {sorted(said)}.", kind="version")
    return versions.operation(base, said.pop()) if said else base


class Trace(NamedTuple):
    """Under which name a call is followed, here and by whoever called."""

    correlation: str
    kept: dict[str, str]
    """Heads to keep with the request."""


def trace(headers: Mapping[str, str]) -> Trace:
    """`X-Correlation-ID`, else the trace id of a W3C `traceparent`, else a new one. Raises Problem 400 for an id that is
    no id; a `traceparent` that is none is left out, as its standard says."""
    given, parent = headers.get(CORRELATION, "").strip(), headers.get("traceparent", "").strip()
    followed = _TRACE.fullmatch(parent)
    kept = {"traceparent": parent} if followed else {}
    if given and not _CORRELATION.fullmatch(given):
        raise Problem(
            400,
            "X-Correlation-ID has 1 to 128 letters, digits and ._~:+/=@- alone.",
            kind="correlation",
        )
    correlation = given or (followed[1] if followed else f"cor_{secrets.token_hex(16)}")
    return Trace(correlation, kept | {CORRELATION: correlation})


def wait(headers: Mapping[str, str]) -> float | None:
    """Seconds of `Prefer: wait=N`; 0 for `respond-async`; None where nothing is said."""
    prefer = headers.get("prefer", "")
    found = _WAIT.search(prefer)
    if found:
        return float(found[1])
    return 0.0 if _ASYNC.search(prefer) else None


def rate_headers(rate: Rate | None, left: Left | None) -> dict[str, str]:
    """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers)."""
    if rate is None or left is None:
        return {}
    window = math.ceil(rate.every * rate.burst / rate.at_most)
    return {
        "ratelimit-policy": f'"consumer";q={rate.burst};w={max(1, window)}',
        "ratelimit": f'"consumer";r={left.calls};t={math.ceil(left.wait or left.reset)}',
    }
