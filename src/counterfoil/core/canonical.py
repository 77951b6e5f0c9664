"""Receipts, canonical events and heads: what systems sent, the facts in it, and the resulting state of each object."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Exact copy of one delivery from a system. Never changed."""

    system: str
    ext_id: str
    type: str
    identity: str
    """SHA-256 of the source's identity fields: separates a repeat from a clash."""
    sha256: str
    """Of the raw bytes."""
    door: str
    """`webhook`, `poll`, `events`, `fetch`, `file`, `operation`."""
    headers: dict[str, str]
    body: bytes
    received_at: datetime
    no: int = 0
    """Number assigned by the store."""


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
    """Id of the event or effect that caused it."""
    correlation: str = ""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Current state of an object in Counterfoil. `state` holds values as expressions see them."""

    object: str
    key: str
    version: int
    state: dict[str, Any]
    system: str
    effective_at: datetime
    recorded_at: datetime
    event: str = ""
    versions: dict[str, int] = {}
    """Newest version of each system that sends parts of the object: each system orders its own facts. The key
    `system/field` holds the version of the fact that set the field, if newer facts of the system left it out."""
