"""The JSON shape of a canonical event, with the whole common envelope."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.model.envelope import EnvelopeRules
from counterfoil.rules.envelope import complete, payload_hash
from counterfoil.rules.json_values import event_names
from counterfoil.web.api.shapes import copy_to, plain


class EventShape(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its common envelope. What is not stored is derived from the rest."""

    id: str
    type: str
    system: str
    object: str
    key: str
    version: int
    data: Any
    legal_entity: str
    occurred_at: datetime
    effective_at: datetime
    received_at: datetime
    receipt: int | None
    cause: str
    correlation: str
    senders: list[str]
    source: str
    subject: str
    time: datetime
    sequence: str
    region: str
    schema_version: str
    correlation_id: str
    causation_id: str
    business_txn_id: str
    idempotency_key: str
    payload_hash: str


def event_shape(event: CanonicalEvent, rules: EnvelopeRules) -> EventShape:
    names = complete(event_names(event), rules)
    envelope = {name: names[name] for name in _ENVELOPE}
    return copy_to(
        EventShape,
        event,
        data=plain(event.data),
        payload_hash=payload_hash(event.data),
        legal_entity=event.legal_entity or rules.default,
        **envelope,
    )


_ENVELOPE = (
    "source", "subject", "time", "sequence", "region", "schema_version", "correlation_id", "causation_id",
    "business_txn_id", "idempotency_key",
)  # fmt: skip
