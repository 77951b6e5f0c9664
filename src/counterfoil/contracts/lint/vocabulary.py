"""Words of the lint rules: naming conventions, and names that indicate money, a time or a person."""

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
        "amount", "price", "total", "subtotal", "fee", "fees", "net", "gross", "balance", "cost", "tax", "vat",
        "discount", "refund", "revenue",
    ]
)  # fmt: skip
"""Last words of names of amounts."""
MOMENTS: dict[str, Literal["timestamp", "date"]] = {
    "at": "timestamp", "timestamp": "timestamp", "datetime": "timestamp", "on": "date", "date": "date",
}  # fmt: skip
"""Last words of names of times, and their precision."""

PERSONAL: tuple[tuple[str, ...], ...] = tuple(
    tuple(phrase.split())
    for phrase in [
        "email", "phone", "mobile", "fax", "first name", "last name", "full name", "given name", "family name",
        "middle name", "maiden name", "birth date", "birth day", "birthday", "date of birth", "dob", "ssn",
        "social security", "passport", "national id", "iban", "bank account", "account holder", "card number",
        "street", "address line", "line1", "line2", "ip address", "gender", "salary", "religion",
        "signature image",
    ]
)  # fmt: skip
"""Consecutive words in names of personal data."""

ENVELOPE = frozenset(
    [
        "id", "source", "type", "subject", "time", "specversion", "datacontenttype", "dataschema", "sequence",
        "legal_entity", "region", "schema_version", "occurred_at", "effective_at", "received_at",
        "correlation_id", "causation_id", "business_txn_id", "idempotency_key", "payload_hash",
    ]
)  # fmt: skip
"""Fields of the envelope of every event, apart from its data."""
REQUIRED_ENVELOPE = ("id", "source", "specversion", "type")
"""Fields that CloudEvents 1.0 requires."""

IMPERSONAL = frozenset(["type", "kind", "status", "state", "count", "id", "code", "limit", "verified"])
"""Last words of names that describe such data and are not the data: `account_holder_type`."""
IRREGULAR = frozenset(
    [
        "paid", "sent", "won", "lost", "made", "met", "held", "read", "set", "put", "cut", "begun", "withdrawn",
        "written", "built", "done", "late", "due", "overdue", "ready", "left", "kept", "told", "sold", "bought",
        "brought", "taken", "given", "shown", "known", "run", "reset", "split", "born",
    ]
)  # fmt: skip
"""Past participles and states at the end of event names that do not end in `ed`."""
VERBS = frozenset(
    [
        "get", "list", "fetch", "create", "add", "update", "set", "edit", "delete", "remove", "post", "put",
        "do", "make", "send",
    ]
)  # fmt: skip
"""Verbs at the start of a path segment, which repeat the HTTP method."""
VERSION = re.compile(r"v?\d+(\.\d+)*([.+-][0-9A-Za-z.+-]*)?|\d{4}-\d{2}(-\d{2})?([.-].*)?")
"""Semantic version or a date."""


def words(name: str) -> list[str]:
    """Return the words of a name in lower case, for any naming convention."""
    return [word.lower() for word in _WORDS.findall(name)]


def conventions_of(name: str) -> set[Convention]:
    """Return the naming conventions that a name follows; `amount` follows three."""
    return {convention for convention, form in CONVENTIONS.items() if form.fullmatch(name)}


def personal(name: str) -> str:
    """Return the words of a name that indicate personal data; empty if none do."""
    parts = words(name)
    if parts and parts[-1] in IMPERSONAL:
        return ""
    for phrase in PERSONAL:
        if any(tuple(parts[at : at + len(phrase)]) == phrase for at in range(len(parts))):
            return " ".join(phrase)
    return ""
