"""Notices of Cases and approvals: one row for each person and cause.

Pure. `store.port.notices` has the transitions that write notices; `flow.worker.notices` says who receives them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.money import Money

COMPANY = "*"
"""Entity of a notice about the company as a whole, which only a caller without bounds sees."""
ROUND_LENGTH = timedelta(days=1)
"""What a person has not read is delivered again no sooner than this, however often its cause comes back."""
MAX_AMOUNTS = 8
"""Currencies of one notice; further ones are left out of its sum."""


class NoticeKind(StrEnum):
    CASE = "case"  # a Case opened for one of the person's roles
    ASSIGNED = "assigned"  # another person gave a Case to the person
    DEADLINE = "deadline"  # the last quarter of a Case's time, at most a day, has begun
    APPROVAL = "approval"  # an approval waits for one of the person's roles


class NoticeSource(StrEnum):
    """The mark that a transition leaves behind and that a notice answers, once."""

    CASE = "case"
    DEADLINE = "deadline"
    APPROVAL = "approval"


class NewNotice(msgspec.Struct, frozen=True, kw_only=True):
    """One Case or approval, and the persons who receive a notice of it. Without persons, it is only marked."""

    kind: NoticeKind
    subject: str
    """The Case or approval."""
    cause: str
    """What notices share that become one: the cause of the Case; of an approval its id."""
    entity: str
    reason: str = ""
    """The reason of the Case; of an approval its policy."""
    document: str = ""
    """Business key of the Run; empty if there is none."""
    amounts: tuple[Money, ...] = ()
    due: datetime
    """The deadline, or when the approval expires."""
    persons: tuple[str, ...] = ()
    mail: str = ""
    """The channel that mails it to its persons. Empty: none."""

    @property
    def source(self) -> NoticeSource | None:
        """The mark that keeps it from being written twice. None: the transition that writes it is itself the mark."""
        return None if self.kind is NoticeKind.ASSIGNED else NoticeSource(str(self.kind))


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Notice of one cause to one person."""

    id: str
    person: str
    kind: NoticeKind
    cause: str
    entity: str
    subject: str
    """The newest Case or approval of the cause."""
    reason: str
    document: str
    amounts: tuple[Money, ...]
    """Sum of each currency."""
    count: int
    """Cases or approvals of the cause in this round."""
    due: datetime
    """The earliest of them."""
    at: datetime
    """When the newest came."""
    round: int
    """A read notice that comes back, or one that is a day old, begins the next round: it is delivered again."""
    round_at: datetime
    read_at: datetime | None = None


def notice_id(person: str, kind: NoticeKind, cause: str, entity: str) -> str:
    return ids.derive("notice", person, kind, cause, entity)


def notice_with(former: Notice | None, new: NewNotice, person: str, at: datetime) -> Notice:
    """Return a person's notice after one more Case or approval of its cause."""
    if former is None or former.read_at is not None:
        return Notice(
            id=notice_id(person, new.kind, new.cause, new.entity), person=person, kind=new.kind, cause=new.cause,
            entity=new.entity, subject=new.subject, reason=new.reason, document=new.document, amounts=new.amounts,
            count=1, due=new.due, at=at, round=1 if former is None else former.round + 1, round_at=at,
        )  # fmt: skip
    is_next = at - former.round_at >= ROUND_LENGTH
    return replace(
        former,
        subject=new.subject,
        document=new.document,
        amounts=_sum(former.amounts, new.amounts),
        count=former.count + 1,
        due=min(former.due, new.due),
        at=max(former.at, at),
        round=former.round + is_next,
        round_at=at if is_next else former.round_at,
    )


def is_fresh(former: Notice | None, notice: Notice) -> bool:
    """Report whether a notice began a round."""
    return former is None or former.round != notice.round


def _sum(*amounts: Iterable[Money]) -> tuple[Money, ...]:
    minor: dict[str, int] = {}
    for money in (money for some in amounts for money in some):
        minor[money.currency] = minor.get(money.currency, 0) + money.minor
    return tuple(Money(value, currency) for currency, value in sorted(minor.items())[:MAX_AMOUNTS])


def written_body(notice: Notice) -> bytes:
    """Return the body of the leaf of a written notice."""
    body: dict[str, Any] = {
        "person": notice.person, "kind": str(notice.kind), "cause": notice.cause, "subject": notice.subject,
        "count": notice.count, "round": notice.round,
    }  # fmt: skip
    return wire.dumps(body)
