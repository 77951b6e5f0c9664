"""The words that lint goes by: how names are written, and which of them promise money, a moment, or a person."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

Convention: TypeAlias = Literal["snake_case", "camelCase", "PascalCase", "kebab-case", "UPPER_CASE"]

CONVENTIONS: dict[Convention, re.Pattern[str]] = {
    "snake_case": re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*"),
    "camelCase": re.compile(r"[a-z][a-z0-9]*([A-Z][a-z0-9]*)*"),
    "PascalCase": re.compile(r"([A-Z][a-z0-9]*)+"),
    "kebab-case": re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*"),
    "UPPER_CASE": re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*"),
}
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

MONEY = frozenset(
    [
        "amount",
        "price",
        "total",
        "subtotal",
        "fee",
        "fees",
        "net",
        "gross",
        "balance",
        "cost",
        "tax",
        "vat",
        "discount",
        "refund",
        "revenue",
    ]
)
"""The last word of a name that says how much."""
MOMENTS: dict[str, Literal["timestamp", "date"]] = {
    "at": "timestamp", "timestamp": "timestamp", "datetime": "timestamp", "on": "date", "date": "date",
}  # fmt: skip
"""The last word of a name that says when, and how exactly."""

PERSONAL: tuple[tuple[str, ...], ...] = tuple(
    tuple(phrase.split())
    for phrase in [
        "email",
        "phone",
        "mobile",
        "fax",
        "first name",
        "last name",
        "full name",
        "given name",
        "family name",
        "middle name",
        "maiden name",
        "birth date",
        "birth day",
        "birthday",
        "date of birth",
        "dob",
        "ssn",
        "social security",
        "passport",
        "national id",
        "iban",
        "bank account",
        "account holder",
        "card number",
        "street",
        "address line",
        "line1",
        "line2",
        "ip address",
        "gender",
        "salary",
        "religion",
        "signature image",
    ]
)
"""Words, one after the other, of a name that tells of a person."""

ENVELOPE = frozenset(
    [
        "id",
        "source",
        "type",
        "subject",
        "time",
        "specversion",
        "datacontenttype",
        "dataschema",
        "sequence",
        "legal_entity",
        "region",
        "schema_version",
        "occurred_at",
        "effective_at",
        "received_at",
        "correlation_id",
        "causation_id",
        "business_txn_id",
        "idempotency_key",
        "payload_hash",
    ]
)
"""What the envelope of every Event carries, beside its data."""
REQUIRED_ENVELOPE = ("id", "source", "specversion", "type")
"""What CloudEvents 1.0 demands of every event."""

IMPERSONAL = frozenset(["type", "kind", "status", "state", "count", "id", "code", "limit", "verified"])
"""Last words of a name that tells about such data, not the data itself: `account_holder_type`."""
IRREGULAR = frozenset(
    [
        "paid",
        "sent",
        "won",
        "lost",
        "made",
        "met",
        "held",
        "read",
        "set",
        "put",
        "cut",
        "begun",
        "withdrawn",
        "written",
        "built",
        "done",
        "late",
        "due",
        "overdue",
        "ready",
        "left",
        "kept",
        "told",
        "sold",
        "bought",
        "brought",
        "taken",
        "given",
        "shown",
        "known",
        "run",
        "reset",
        "split",
        "born",
    ]
)
"""Last words of an event's name that say what has happened or is so, without ending in `ed`."""
VERBS = frozenset(
    [
        "get",
        "list",
        "fetch",
        "create",
        "add",
        "update",
        "set",
        "edit",
        "delete",
        "remove",
        "post",
        "put",
        "do",
        "make",
        "send",
    ]
)
"""First words of a path that say what its method already says."""
VERSION = re.compile(r"v?\d+(\.\d+)*([.+-][0-9A-Za-z.+-]*)?|\d{4}-\d{2}(-\d{2})?([.-].*)?")
"""A semantic version or a dated one."""


def words(name: str) -> list[str]:
    """The words of a name, in lower case, however it is written."""
    return [word.lower() for word in _WORDS.findall(name)]


def written(name: str) -> set[Convention]:
    """The conventions that a name keeps; `amount` keeps three of them."""
    return {convention for convention, form in CONVENTIONS.items() if form.fullmatch(name)}


def personal(name: str) -> str:
    """The words of a name that tell of a person; empty where none does."""
    parts = words(name)
    if parts and parts[-1] in IMPERSONAL:
        return ""
    for phrase in PERSONAL:
        if any(tuple(parts[at : at + len(phrase)]) == phrase for at in range(len(parts))):
            return " ".join(phrase)
    return ""
