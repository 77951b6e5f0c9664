"""Delivers notices over channels and mails them to persons: claimed, sent, and ended by the answer.

The intent is committed before the call. A worker that dies in between leaves a lease; then the same id and bytes are sent
again, which a receiver of Standard Webhooks drops. A mail has the id in its `Message-ID`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeAlias

from counterfoil.connectors.mail_sender import MailRefused, MailServer, send_mail
from counterfoil.connectors.webhook_sender import WebhookRefused, send_webhook
from counterfoil.core import ids
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.delivery import UNDELIVERED, NoticeDelivery, retry_at
from counterfoil.core.errors import Misconfigured, TryAgain, Uncertain
from counterfoil.flow.worker.notice_mails import mail_to
from counterfoil.model import Model
from counterfoil.model.kinds import MailTarget, NoticeChannel
from counterfoil.store.port.deliveries import ClaimDeliveries, DeliveryEnd, EndDelivery
from counterfoil.store.port.store import Store

log = logging.getLogger("counterfoil.notices")
MAX_SENDS = 20
"""Deliveries that one worker sends at once."""
Send: TypeAlias = Callable[[NoticeChannel, NoticeDelivery, datetime], Awaitable[None]]
"""Sends one delivery. Raises _Obsolete, WebhookRefused, MailRefused, TryAgain, Uncertain and Misconfigured."""


class _Obsolete(Exception):
    """The person of a mail may not read it any more, or has no address."""


class _ChannelChanged(Exception):
    """The active Release has no such channel, or it sends in another way."""


class NoticeSender:
    """Sends deliveries by the way of their channel."""

    def __init__(self, store: Store, model: Model, public_url: str = "") -> None:
        self._store, self._model, self._public_url = store, model, public_url

    async def __call__(self, channel: NoticeChannel, delivery: NoticeDelivery, now: datetime) -> None:
        if delivery.person and channel.mail is not None:
            await self._mail(channel.mail, delivery)
        elif not delivery.person and (target := channel.webhook) is not None:
            await send_webhook(target.url, target.secret, target.private, delivery.id, delivery.body, now)
        else:
            raise _ChannelChanged("the channel sends in another way since the last Release")

    async def _mail(self, target: MailTarget, delivery: NoticeDelivery) -> None:
        person = await self._store.person(delivery.person)
        if person is None:
            raise _Obsolete
        wishes = await self._store.notice_preferences(person.id)
        zone = person.zone if wishes is None else wishes.zone
        mail = mail_to(self._model, person, zone, delivery, self._public_url)
        if mail is None:
            raise _Obsolete
        server = MailServer(
            host=target.host, port=target.port, tls=target.tls, sender=target.sender, user=target.user,
            password=target.password, private=target.private,
        )  # fmt: skip
        try:
            await send_mail(server, mail)
        except MailRefused as refused:
            raise MailRefused(f"{refused}; it was for {person.id}") from None


async def deliver_notices(
    store: Store, model: Model, now: datetime, public_url: str = "", send: Send | None = None
) -> int:
    """Send deliveries that are due; return how many were claimed. Mails link to pages below the public URL."""
    sender = send or NoticeSender(store, model, public_url)
    deliveries = await store.apply(ClaimDeliveries(at=now, limit=MAX_SENDS))
    await asyncio.gather(*(_deliver(store, model, delivery, now, sender) for delivery in deliveries))
    return len(deliveries)


async def _deliver(store: Store, model: Model, delivery: NoticeDelivery, now: datetime, send: Send) -> None:
    channel = model.channels.get(delivery.channel)
    error, is_final, is_obsolete = "", False, False
    try:
        if channel is None:
            raise _ChannelChanged("the active Release has no such channel")
        await send(channel, delivery, now)
    except _Obsolete:
        is_obsolete = True
    except (WebhookRefused, MailRefused, _ChannelChanged) as refused:
        error, is_final = str(refused), True
    except (TryAgain, Uncertain, Misconfigured) as failure:
        error = str(failure)
    except Exception as defect:
        # Its text may hold the address. The kind alone is recorded, and the attempts are counted as for any failure.
        error = f"the attempt failed with {type(defect).__name__}"
    at = await store.now()
    later = None if is_final else retry_at(delivery, at)
    success: DeliveryEnd = "obsolete" if is_obsolete else "sent"
    end = EndDelivery(id=delivery.id, attempts=delivery.attempts, end=success, at=at, next_at=at)
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
