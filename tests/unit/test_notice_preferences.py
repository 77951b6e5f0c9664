"""Quiet hours and digests by the clock of the person, where clocks are set forward and back as well."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from counterfoil.core.notice_preferences import NoticePreferences, digest_days, quiet_end


def quiet(begin: int, end: int, zone: str = "Europe/Berlin") -> NoticePreferences:
    return NoticePreferences(person="ann", quiet_from=begin, quiet_until=end, zone=zone)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("begin", "end", "now", "until"),
    [
        (22 * 60, 7 * 60, "2026-12-01T20:59", None),
        (22 * 60, 7 * 60, "2026-12-01T21:00", "2026-12-02T06:00"),
        (22 * 60, 7 * 60, "2026-12-02T05:59", "2026-12-02T06:00"),
        (22 * 60, 7 * 60, "2026-12-02T06:00", None),
        (12 * 60, 13 * 60, "2026-07-01T10:30", "2026-07-01T11:00"),
        (12 * 60, 13 * 60, "2026-07-01T11:00", None),
        (0, 0, "2026-07-01T11:00", None),
        # Set forward: 02:30 of 2026-03-29 does not exist.
        (60, 150, "2026-03-29T00:30", "2026-03-29T01:30"),
        # Set back: 02:15 of 2026-10-25 comes twice, and so does its end at 02:30.
        (60, 150, "2026-10-25T00:15", "2026-10-25T00:30"),
        (60, 150, "2026-10-25T01:15", "2026-10-25T01:30"),
    ],
)
def test_the_end_of_quiet_hours_is_by_the_clock_of_the_person(
    begin: int, end: int, now: str, until: str | None
) -> None:
    assert quiet_end(quiet(begin, end), at(now)) == (None if until is None else at(until))


def test_the_digest_of_a_day_comes_once_at_its_time() -> None:
    wishes = NoticePreferences(person="ann", digest_at=8 * 60, zone="Europe/Berlin")
    days = digest_days(wishes, at("2026-12-01T07:00"))
    assert [(str(day), due) for day, due in days] == [
        ("2026-12-02", at("2026-12-02T07:00")),
        ("2026-12-03", at("2026-12-03T07:00")),
    ]
    assert digest_days(wishes, at("2026-12-01T06:59"))[0][1] == at("2026-12-01T07:00")
