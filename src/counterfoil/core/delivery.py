"""Deliveries of notices over channels: planned with the notice, sent with one id however often, ended by an outcome.

Pure. A receiver of Standard Webhooks drops a repeated `webhook-id`, so an unknown outcome is sent again with the same id and
the same bytes. A mail is a delivery to one person: of one notice, or of those of a day in a digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.case_reasons import reason_row
from counterfoil.core.notice import COMPANY, Notice, NoticeKind
from counterfoil.core.notice_preferences import NoticePreferences, SendMode, digest_days, quiet_end
from counterfoil.core.notice_text import notice_path, notice_title

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
    OBSOLETE = "obsolete"
    """The person has read all of it, wants none of it, or may not read it any more."""


class NoticeDelivery(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """Also the `webhook-id`; of a mail in its `Message-ID`."""
    channel: str
    notice: str
    """Empty for a digest."""
    round: int
    person: str = ""
    """Receiver of a mail; empty for a delivery to a channel."""
    notices: tuple[str, ...] = ()
    """Of a digest."""
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

    @property
    def about(self) -> tuple[str, ...]:
        """The notices to send."""
        return self.notices or (self.notice,)

    @property
    def is_open(self) -> bool:
        """Report whether a digest takes in further notices."""
        return self.state is DeliveryState.PLANNED and self.attempts == 0


def planned_deliveries(
    rounds: Iterable[tuple[Notice, str]],
    preferences: Mapping[str, NoticePreferences],
    digests: Mapping[str, NoticeDelivery],
    at: datetime,
) -> list[NoticeDelivery]:
    """Return the deliveries of fresh rounds, each with the mail channel of its person, or none; also digests that grew.

    `preferences` are those that persons chose, `digests` the rows of `digest_ids`.
    """
    rows: list[NoticeDelivery] = []
    open_digests = dict(digests)
    for notice, mail in rounds:
        if notice.person.startswith(CHANNEL_PREFIX):
            rows.append(_single(notice, notice.person.removeprefix(CHANNEL_PREFIX), "", at))
        elif mail:
            wishes = preferences.get(notice.person) or NoticePreferences(person=notice.person)
            mode = wishes.mode(notice.kind)
            if mode is SendMode.AT_ONCE:
                rows.append(_single(notice, mail, notice.person, at))
            elif mode is SendMode.DIGEST:
                digest = _digest_with(notice, mail, wishes, open_digests, at)
                open_digests[digest.id] = digest
    return rows + [row for id_, row in sorted(open_digests.items()) if digests.get(id_) != row]


def _single(notice: Notice, channel: str, person: str, at: datetime) -> NoticeDelivery:
    return NoticeDelivery(
        id=ids.derive("delivery", notice.id, notice.round), channel=channel, notice=notice.id, round=notice.round,
        person=person, next_at=at + GATHER, send_by=at + DELIVERY_WINDOW, created_at=at,
    )  # fmt: skip


def _digest_with(
    notice: Notice,
    channel: str,
    wishes: NoticePreferences,
    digests: Mapping[str, NoticeDelivery],
    at: datetime,
) -> NoticeDelivery:
    """Return the next digest of a person with a notice in it: tomorrow's once today's was sent."""
    days = digest_days(wishes, at)
    for day, due in days:
        former = digests.get(digest_id(wishes.person, day))
        if former is not None and former.is_open:
            return replace(former, notices=tuple(dict.fromkeys((*former.notices, notice.id))))
        if former is None:
            return NoticeDelivery(
                id=digest_id(wishes.person, day), channel=channel, notice="", round=0, person=wishes.person,
                notices=(notice.id,), next_at=due, send_by=due + DELIVERY_WINDOW, created_at=at,
            )  # fmt: skip
    # Both days are over where a person moved the time of the digest: a mail too many, and none lost.
    return _single(notice, channel, wishes.person, at)


def digest_id(person: str, day: date) -> str:
    """Return the id of the only digest of a person and day."""
    return ids.derive("digest", person, day.isoformat())


def digest_ids(preferences: Iterable[NoticePreferences], at: datetime) -> list[str]:
    """Return the ids of the digests that notices of a time may come into."""
    return sorted(digest_id(p.person, day) for p in preferences for day, _ in digest_days(p, at))


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


def mail_content(notices: Sequence[Notice]) -> bytes:
    """Return the content of a mail, one entry for each notice: words, document numbers and amounts, and no names."""
    entries = [
        {
            "kind": str(notice.kind),
            "title": notice_title(notice),
            "document": notice.document if notice.count == 1 or notice.kind is NoticeKind.APPROVAL else "",
            "amounts": [str(money) for money in notice.amounts],
            "due": notice.due,
            "entity": notice.entity,
            "path": notice_path(notice),
        }
        for notice in sorted(notices, key=lambda notice: (notice.due, notice.id))
    ]
    return msgspec.json.encode(entries)


def claimed(
    delivery: NoticeDelivery, notices: Sequence[Notice], wishes: NoticePreferences | None, at: datetime
) -> NoticeDelivery:
    """Return a due delivery as it is sent, or put off to the end of quiet hours, or obsolete.

    Its bytes are those of the first attempt. `wishes` are what the person of a mail chose; None: nothing.
    """
    if delivery.person:
        wishes = wishes or NoticePreferences(person=delivery.person)
        unread = [n for n in notices if n.read_at is None and wishes.mode(n.kind) is not SendMode.NEVER]
        if not unread:
            return replace(delivery, state=DeliveryState.OBSOLETE, ended_at=at)
        if (end := quiet_end(wishes, at)) is not None:
            send_by = delivery.send_by if delivery.attempts else max(delivery.send_by, end + DELIVERY_WINDOW)
            return replace(delivery, state=DeliveryState.PLANNED, next_at=end, send_by=send_by)
        content = delivery.body or mail_content(unread)
    else:
        content = delivery.body or message_of(notices[0])
    return replace(
        delivery, state=DeliveryState.SENDING, attempts=delivery.attempts + 1, next_at=at + SEND_LEASE,
        body=content,
    )  # fmt: skip


def ended(delivery: NoticeDelivery, end: str, at: datetime, next_at: datetime, error: str) -> NoticeDelivery:
    """Return a delivery after an attempt that was `sent`, is repeated `later`, or `failed` for good, or is `obsolete`."""
    if end == "later":
        return replace(delivery, state=DeliveryState.PLANNED, next_at=next_at, error=error)
    return replace(delivery, state=DeliveryState(end), ended_at=at, error=error)


def claimed_body(delivery: NoticeDelivery) -> dict[str, Any]:
    """Return the body of the leaf of a claim: the digest of what is sent, and no address."""
    body = {"channel": delivery.channel, "attempt": delivery.attempts, "digest": wire.digest(delivery.body)}
    return body | ({"person": delivery.person} if delivery.person else {})


def claim_leaf(delivery: NoticeDelivery) -> str:
    """Return the kind of the leaf of a claim, by the state after it."""
    return "delivery.postponed" if delivery.state is DeliveryState.PLANNED else f"delivery.{delivery.state}"


def ended_body(delivery: NoticeDelivery) -> dict[str, Any]:
    return {"channel": delivery.channel, "attempt": delivery.attempts, "error": delivery.error}
