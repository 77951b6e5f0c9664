"""Derived ids: the same business fact gives the same id, so a repeat is harmless.

An id is a prefix that says what it names and 26 characters of a SHA-256 over length-prefixed parts.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _CROCKFORD for b in _CROCKFORD]
"""Two characters for every ten bits."""
_SHIFTS = range(120, -1, -10)


def _text(digest: bytes) -> str:
    """The first 130 bits in Crockford's base32, in lower case."""
    bits = int.from_bytes(digest[:17], "big") >> 6
    return "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])


def derive(prefix: str, *parts: str | int) -> str:
    """`prefix_` and a digest of the parts; parts are length-prefixed, so ("a", "bc") differs from ("ab", "c")."""
    raw = [str(part).encode() for part in parts]
    framed = b"".join([len(part).to_bytes(4, "big") + part for part in raw])
    return f"{prefix}_{_text(hashlib.sha256(framed).digest())}"


@lru_cache(maxsize=1024)
def run_id(workflow: str, key: str, generation: int) -> str:
    """Asked for again at once: where both models of a replay begin a Run, and where one is known to be begun."""
    return derive("run", workflow, key, generation)


def effect_id(run: str, path: str, item: str, generation: int) -> str:
    """Also the idempotency key and external id that the outside system sees."""
    return derive("eff", run, path, item, generation)


def event_id(system: str, object_: str, key: str, version: str, type_: str) -> str:
    """Never of mapped content: the same fact through a webhook and a sweep collapses."""
    return derive("evt", system, object_, key, version, type_)


def canonical_id(object_: str, system: str, account: str, ext_id: str) -> str:
    """The id that the system of record's external id gives its object, minted without asking anybody."""
    return derive(object_[:4], object_, system, account, ext_id)
