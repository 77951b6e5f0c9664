"""Text of a mail with notices, for one person: in their time zone, and without what they may not read any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from counterfoil.connectors.mail_sender import Mail, one_line
from counterfoil.core.delivery import NoticeDelivery
from counterfoil.core.notice import NoticeKind
from counterfoil.core.people import Person
from counterfoil.core.plural import counted
from counterfoil.core.zones import zone_names
from counterfoil.model import Model
from counterfoil.rules.notices import may_receive

MAX_MAIL_NOTICES = 100
"""Notices of one digest; the page has the others."""


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Notice in the content of a delivery, which `core.delivery.mail_content` wrote."""

    kind: NoticeKind
    title: str
    document: str
    amounts: list[str]
    due: datetime
    entity: str
    path: str


def mail_to(
    model: Model, person: Person, zone: str, delivery: NoticeDelivery, public_url: str
) -> Mail | None:
    """Return the mail of a delivery; None if the person may read nothing of it any more, or has no address.

    Without a public URL a mail names the paths of pages alone.
    """
    entries = msgspec.json.decode(delivery.body, type=list[_Entry])
    entries = [entry for entry in entries if may_receive(model, person, entry.kind, entry.entity)]
    if not entries or not person.active or not person.email.strip():
        return None
    first = entries[0]
    subject = f"{first.title}{': ' if first.document else ''}{first.document}"
    if not delivery.notice:
        subject = f"Digest: {counted(len(entries), 'notice')}"
    place = ZoneInfo(zone if zone in zone_names() else "UTC")
    parts = [_lines(entry, place, public_url) for entry in entries[:MAX_MAIL_NOTICES]]
    return Mail(
        id=delivery.id,
        to=person.email.strip(),
        subject=subject,
        text="\n\n".join([*parts, _foot(len(entries) - len(parts), public_url)]) + "\n",
        at=delivery.created_at,
    )


def _lines(entry: _Entry, place: ZoneInfo, public_url: str) -> str:
    """Return a notice as lines. Each value stays in its line, so a document number cannot add text of its own."""
    due = entry.due.astimezone(place).strftime("%Y-%m-%d %H:%M %Z")
    expires = "Expires" if entry.kind is NoticeKind.APPROVAL else "Deadline"
    about: Sequence[tuple[str, str]] = (
        ("Document", entry.document), ("Amount", ", ".join(entry.amounts)), (expires, due),
        ("Page", f"{public_url}{entry.path}"),
    )  # fmt: skip
    rows = [f"{name}: {one_line(value)}" for name, value in about if value]
    return "\n".join([one_line(entry.title), *rows])


def _foot(others: int, public_url: str) -> str:
    more = f"{counted(others, 'further notice')} on your page: {public_url}/notices\n" if others else ""
    return f"{more}Choose what is mailed to you, and when: {public_url}/notices/preferences"
