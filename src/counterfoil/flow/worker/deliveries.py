"""Delivers notices over channels: claimed, sent, and ended by the answer.

The intent is committed before the call. A worker that dies in between leaves a lease; then the same id and bytes are sent
again, which a receiver of Standard Webhooks drops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeAlias

from counterfoil.connectors.webhook_sender import WebhookRefused, send_webhook
from counterfoil.core import ids
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.delivery import UNDELIVERED, NoticeDelivery, retry_at
from counterfoil.core.errors import Misconfigured, TryAgain, Uncertain
from counterfoil.model import Model
from counterfoil.model.kinds import NoticeChannel
from counterfoil.store.port.deliveries import ClaimDeliveries, EndDelivery
from counterfoil.store.port.store import Store

log = logging.getLogger("counterfoil.notices")
MAX_SENDS = 20
"""Deliveries that one worker sends at once."""
Send: TypeAlias = Callable[[NoticeChannel, NoticeDelivery, datetime], Awaitable[None]]
"""Sends one delivery. Raises WebhookRefused, TryAgain, Uncertain and Misconfigured."""


async def send_over(channel: NoticeChannel, delivery: NoticeDelivery, now: datetime) -> None:
    target = channel.webhook
    await send_webhook(target.url, target.secret, target.private, delivery.id, delivery.body, now)


async def deliver_notices(store: Store, model: Model, now: datetime, send: Send = send_over) -> int:
    """Send deliveries that are due; return how many were claimed."""
    deliveries = await store.apply(ClaimDeliveries(at=now, limit=MAX_SENDS))
    await asyncio.gather(*(_deliver(store, model, delivery, now, send) for delivery in deliveries))
    return len(deliveries)


async def _deliver(store: Store, model: Model, delivery: NoticeDelivery, now: datetime, send: Send) -> None:
    channel = model.channels.get(delivery.channel)
    error, is_final = "", False
    try:
        if channel is None:
            raise WebhookRefused("the active Release has no such channel")
        await send(channel, delivery, now)
    except WebhookRefused as refused:
        error, is_final = str(refused), True
    except (TryAgain, Uncertain, Misconfigured) as failure:
        error = str(failure)
    except Exception as defect:
        # Its text may hold the address. The kind alone is recorded, and the attempts are counted as for any failure.
        error = f"the attempt failed with {type(defect).__name__}"
    at = await store.now()
    later = None if is_final else retry_at(delivery, at)
    end = EndDelivery(id=delivery.id, attempts=delivery.attempts, end="sent", at=at, next_at=at)
    if error and later is not None:
        end = EndDelivery(
            id=delivery.id, attempts=delivery.attempts, end="later", at=at, next_at=later, error=error
        )
    elif error:
        log.warning("a notice over the channel %s failed for good: %s", delivery.channel, error)
        end = EndDelivery(
            id=delivery.id, attempts=delivery.attempts, end="failed", at=at, next_at=at, error=error,
            case=_case(channel, delivery, error, at),
        )  # fmt: skip
    await store.apply(end)


def _case(channel: NoticeChannel | None, delivery: NoticeDelivery, error: str, at: datetime) -> Case | None:
    """Return the Case of a failed delivery, at most one a day for each channel; None for a channel that is gone."""
    if channel is None:
        return None
    return open_case(
        UNDELIVERED,
        id=ids.derive("case", UNDELIVERED, channel.name, at.date().isoformat()),
        message=f"{channel.name}: {error}",
        owners=channel.roles,
        at=at,
        names={"channel": channel.name},
    )
