"""The common envelope of every event, completed when it is read: nothing of it is stored twice. Pure.

Stored names of an event (`json_values.event_names`) lack what follows from others: `sequence`, `schema_version`,
`business_txn_id`, `idempotency_key`, `payload_hash` and `region`. Formulas and the HTTP API read them here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.model.envelope import EnvelopeRules
from counterfoil.rules.json_values import event_names, plain

_VERSION = re.compile(r"\.v([1-9][0-9]*)$")


def complete(stored: Mapping[str, Any], rules: EnvelopeRules) -> dict[str, Any]:
    """Return the stored names of an event with the rest of its envelope.

    `payload_hash` is missing if no formula of the model reads it.
    """
    type_, occurred = stored.get("type", ""), stored.get("occurred_at")
    version = _VERSION.search(type_)
    entity = stored.get("legal_entity") or rules.default
    derived = {
        "sequence": stored.get("version", ""),
        "schema_version": version[1] if version else "1",
        "region": rules.region(entity, occurred.date()) if isinstance(occurred, datetime) else "",
        "business_txn_id": stored.get("correlation_id") or stored.get("key", ""),
        "idempotency_key": stored.get("id", ""),
        "senders": [],
    }
    if rules.hashes:
        derived["payload_hash"] = payload_hash(stored.get("data"))
    return {**derived, **stored, "legal_entity": entity}


def payload_hash(data: Any) -> str:
    """Return the SHA-256 of an event's data in hex.

    Of its JSON in UTF-8 with sorted keys and without spaces: money as {"currency", "minor"}, dates and times as ISO 8601
    text in UTC, decimals as numbers with their written scale.
    """
    return hashlib.sha256(wire.write_json(plain(data))).hexdigest()


def names_of_event(event: CanonicalEvent, rules: EnvelopeRules) -> dict[str, Any]:
    """Return the names of a formula about an event: `event`, and `entity` if its legal entity is declared."""
    names = {"event": complete(event_names(event), rules)}
    return with_entity(names, event.legal_entity, rules)


def with_entity(names: dict[str, Any], legal_entity: str, rules: EnvelopeRules) -> dict[str, Any]:
    """Return names with `entity`, if the legal entity is declared."""
    entity = rules.entity(legal_entity)
    return names if entity is None else {**names, "entity": entity}


def entity_of_start(names: Mapping[str, Any]) -> str:
    """Return the legal entity of the event, object or input that began a Run; empty if none names it."""
    event = names.get("event")
    if isinstance(event, dict):
        entity = event.get("legal_entity") or _entity_in(event.get("data"))
        if entity:
            return str(entity)
    return str(_entity_in(names.get("object")) or _entity_in(names.get("input")) or "")


def _entity_in(value: Any) -> Any:
    return value.get("legal_entity") if isinstance(value, dict) else None
