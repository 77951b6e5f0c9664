"""Preferences of a person for notices by mail: each topic at once, in a daily digest or never, and quiet hours.

Pure. The bell and the page have every notice, whatever a person chose.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from counterfoil.core.notice import NoticeKind

DAY_MINUTES = 24 * 60
DIGEST_MINUTES = 8 * 60
"""Time of the digest of a person who chose none, in minutes after midnight."""


class SendMode(StrEnum):
    AT_ONCE = "at_once"
    DIGEST = "digest"
    NEVER = "never"


class NoticePreferences(msgspec.Struct, frozen=True, kw_only=True):
    """Choices of a person for mails. Minutes count from midnight in the zone."""

    person: str
    approvals: SendMode = SendMode.AT_ONCE
    cases: SendMode = SendMode.AT_ONCE
    """New Cases, and Cases that another person gave."""
    deadlines: SendMode = SendMode.AT_ONCE
    quiet_from: int = 0
    quiet_until: int = 0
    """No mail from `quiet_from` to before `quiet_until`, also over midnight. Equal: no quiet hours."""
    digest_at: int = DIGEST_MINUTES
    zone: str = "UTC"
    """IANA name."""
    revision: int = 0
    """Number of the change that wrote it. 0: the person has chosen nothing."""

    def mode(self, kind: NoticeKind) -> SendMode:
        if kind is NoticeKind.APPROVAL:
            return self.approvals
        return self.deadlines if kind is NoticeKind.DEADLINE else self.cases


def quiet_end(preferences: NoticePreferences, at: datetime) -> datetime | None:
    """Return the end of the quiet hours that contain a time; None outside of them."""
    begin, end = preferences.quiet_from, preferences.quiet_until
    local = at.astimezone(ZoneInfo(preferences.zone))
    minute = local.hour * 60 + local.minute
    over_midnight = begin > end
    if begin == end or not (minute >= begin or minute < end if over_midnight else begin <= minute < end):
        return None
    day = local.date() + timedelta(days=int(over_midnight and minute >= begin))
    first = _at(day, end, preferences.zone)
    # Where the clock is set back, an hour comes twice, and the second one is quiet as well.
    return first if first > at else _at(day, end, preferences.zone, fold=1)


def digest_days(preferences: NoticePreferences, at: datetime) -> list[tuple[date, datetime]]:
    """Return the days of the next two digests after a time, with their times."""
    today = at.astimezone(ZoneInfo(preferences.zone)).date()
    days = [today + timedelta(days=n) for n in range(3)]
    times = [(day, _at(day, preferences.digest_at, preferences.zone)) for day in days]
    return [(day, due) for day, due in times if due > at][:2]


def _at(day: date, minute: int, zone: str, fold: int = 0) -> datetime:
    local = datetime.combine(day, time(minute // 60, minute % 60, fold=fold), ZoneInfo(zone))
    return local.astimezone(UTC)
