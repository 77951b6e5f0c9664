"""Derived ids: the same business fact gives the same id, so a repeat is harmless.

An id is a prefix for its kind and 26 characters of a SHA-256 over length-prefixed parts.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _CROCKFORD for b in _CROCKFORD]
"""Two characters for each ten bits."""
_SHIFTS = range(120, -1, -10)


def _text(digest: bytes) -> str:
    """Return the first 130 bits in Crockford's base32, lower case."""
    bits = int.from_bytes(digest[:17], "big") >> 6
    return "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])


def derive(prefix: str, *parts: str | int) -> str:
    """Return `prefix_` and a digest of the parts. Parts are length-prefixed: ("a", "bc") differs from ("ab", "c")."""
    framed = b""
    for part in parts:
        raw = str(part).encode()
        framed += len(raw).to_bytes(4, "big") + raw
    return f"{prefix}_{_text(hashlib.sha256(framed).digest())}"


@lru_cache(maxsize=1024)
def run_id(workflow: str, key: str, generation: int) -> str:
    """Return the id of a Run. Cached: a replay derives the same id for both of its models."""
    return derive("run", workflow, key, generation)


def effect_id(run: str, path: str, item: str, generation: int) -> str:
    """Return the id of an effect: also the idempotency key and external id that the outside system sees."""
    return derive("eff", run, path, item, generation)


def event_id(system: str, object_: str, key: str, version: str, type_: str) -> str:
    """Return the id of a canonical event. It ignores content, so that a fact from a webhook and from a poll is one event."""
    return derive("evt", system, object_, key, version, type_)


def canonical_id(object_: str, system: str, account: str, ext_id: str) -> str:
    """Return the id of an object, derived from its external id in the system of record. No look-up is needed."""
    return derive(object_[:4], object_, system, account, ext_id)
