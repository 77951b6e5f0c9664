"""Derived ids: the same business fact gives the same id, so a repeat is harmless.

An id is a prefix that says what it names and 26 characters of a SHA-256 over length-prefixed parts.
"""

from __future__ import annotations

import hashlib

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32, lower case


def _text(digest: bytes, length: int = 26) -> str:
    number = int.from_bytes(digest[:20], "big") >> (160 - 5 * length)
    return "".join(_ALPHABET[(number >> (5 * i)) & 31] for i in reversed(range(length)))


def derive(prefix: str, *parts: str | int) -> str:
    """`prefix_` and a digest of the parts; parts are length-prefixed, so ("a", "bc") differs from ("ab", "c")."""
    h = hashlib.sha256()
    for part in parts:
        raw = str(part).encode()
        h.update(len(raw).to_bytes(4, "big"))
        h.update(raw)
    return f"{prefix}_{_text(h.digest())}"


def run_id(workflow: str, key: str, generation: int) -> str:
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
