"""A canonical event as it is kept, and an object's head: what we hold of the thing that events speak of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly what a system sent. Never changed."""

    system: str
    ext_id: str
    type: str
    identity: str
    """SHA-256 of the source's identity fields: tells a repeat from a clash."""
    sha256: str
    """Of the raw bytes."""
    door: str
    """`webhook`, `poll`, `events`, `fetch`, `file`, `operation`."""
    headers: dict[str, str]
    body: bytes
    received_at: datetime
    no: int = 0
    """Given by the store."""


class CanonicalEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One fact, typed and versioned, e.g. `invoice.finalized.v1`."""

    id: str
    type: str
    system: str
    object: str
    key: str
    version: int
    """Orders the facts of one object key: the vendor's version or time in microseconds."""
    data: dict[str, Any]
    """Values as expressions see them: Money, Decimal, date, datetime."""
    legal_entity: str = ""
    occurred_at: datetime
    effective_at: datetime
    received_at: datetime
    receipt: int | None = None
    cause: str = ""
    """Id of the event or effect that led to it."""
    correlation: str = ""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """An object as we hold it. `state` gives values as expressions see them."""

    object: str
    key: str
    version: int
    state: dict[str, Any]
    system: str
    effective_at: datetime
    recorded_at: datetime
    event: str = ""
    versions: dict[str, int] = {}
    """The newest version of each system that asserts parts of it: each orders its own facts. As `system/field`, that of
    the fact which gave a field its value, where newer ones of the system said nothing of it."""
