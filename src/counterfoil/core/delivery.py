"""Deliveries of notices over channels: planned with the notice, sent with one id however often, ended by an outcome.

Pure. A receiver of Standard Webhooks drops a repeated `webhook-id`, so an unknown outcome is sent again with the same id and
the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.case_reasons import reason_row
from counterfoil.core.notice import COMPANY, Notice, NoticeKind

CHANNEL_PREFIX = "channel:"
"""Before the name of a channel, where a notice has a person."""
UNDELIVERED = "undelivered"
"""Reason of the Case of a failed delivery. No channel delivers its notice: it would fail again."""
GATHER = timedelta(seconds=10)
"""Time from a notice to its delivery, in which further Cases of its cause are counted in it."""
SEND_LEASE = timedelta(seconds=60)
"""Time after which a delivery that was being sent is sent again."""
MAX_ATTEMPTS = 8
FIRST_BACKOFF = timedelta(seconds=30)
DELIVERY_WINDOW = timedelta(hours=24)
"""Time from a notice to the last attempt to deliver it."""


class DeliveryState(StrEnum):
    PLANNED = "planned"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


class NoticeDelivery(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """Also the `webhook-id`."""
    channel: str
    notice: str
    round: int
    state: DeliveryState = DeliveryState.PLANNED
    attempts: int = 0
    next_at: datetime
    """When it is sent next; of one that is being sent, when its lease ends."""
    send_by: datetime
    created_at: datetime
    ended_at: datetime | None = None
    body: bytes = b""
    """Exactly what is sent, from the first attempt on."""
    error: str = ""
    """The latest failure, without addresses and secrets."""


def delivery_of(notice: Notice, at: datetime) -> NoticeDelivery | None:
    """Return the delivery of a round of a channel's notice; None for a notice of a person."""
    if not notice.person.startswith(CHANNEL_PREFIX):
        return None
    return NoticeDelivery(
        id=ids.derive("delivery", notice.id, notice.round), channel=notice.person.removeprefix(CHANNEL_PREFIX),
        notice=notice.id, round=notice.round, next_at=at + GATHER, send_by=at + DELIVERY_WINDOW, created_at=at,
    )  # fmt: skip


def retry_at(delivery: NoticeDelivery, at: datetime) -> datetime | None:
    """Return when a failed delivery is sent again; None: it was the last attempt."""
    later = at + FIRST_BACKOFF * 2 ** (delivery.attempts - 1)
    return None if delivery.attempts >= MAX_ATTEMPTS or later > delivery.send_by else later


def message_of(notice: Notice) -> bytes:
    """Return what a channel receives: words, document numbers and amounts, and no name of a person or customer."""
    is_approval = notice.kind is NoticeKind.APPROVAL
    data: Mapping[str, Any] = {
        "title": "An approval waits" if is_approval else reason_row(notice.reason).title,
        "kind": str(notice.kind),
        "count": notice.count,
        "document": notice.document,
        "amounts": [{"amount": str(m.major()), "currency": m.currency} for m in notice.amounts],
        "due": notice.due,
        "subject": notice.subject,
        "legal_entity": None if notice.entity == COMPANY else notice.entity,
    }
    body = {"type": f"notice.{notice.kind}", "timestamp": notice.at, "data": data}
    return msgspec.json.encode(body)


def claimed(delivery: NoticeDelivery, notice: Notice, at: datetime) -> NoticeDelivery:
    """Return a delivery that is being sent. Its bytes are those of the first attempt."""
    return replace(
        delivery, state=DeliveryState.SENDING, attempts=delivery.attempts + 1, next_at=at + SEND_LEASE,
        body=delivery.body or message_of(notice),
    )  # fmt: skip


def ended(delivery: NoticeDelivery, end: str, at: datetime, next_at: datetime, error: str) -> NoticeDelivery:
    """Return a delivery after an attempt that was `sent`, is repeated `later`, or `failed` for good."""
    if end == "later":
        return replace(delivery, state=DeliveryState.PLANNED, next_at=next_at, error=error)
    state = DeliveryState.SENT if end == "sent" else DeliveryState.FAILED
    return replace(delivery, state=state, ended_at=at, error=error)


def claimed_body(delivery: NoticeDelivery) -> dict[str, Any]:
    """Return the body of the leaf of an attempt: the digest of what is sent, and no address."""
    return {"channel": delivery.channel, "attempt": delivery.attempts, "digest": wire.digest(delivery.body)}


def ended_body(delivery: NoticeDelivery) -> dict[str, Any]:
    return {"channel": delivery.channel, "attempt": delivery.attempts, "error": delivery.error}
