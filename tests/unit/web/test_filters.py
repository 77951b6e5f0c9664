"""Template filters of the pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from counterfoil.core.money import Money
from counterfoil.web.api import shapes
from counterfoil.web.pages import filters

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(123_456_789, "USD"), "1,234,567.89"),
        (Money(-500, "EUR"), "-5.00"),
        (Money(1_000_000, "JPY"), "1,000,000"),
        (Money(1, "KWD"), "0.001"),
    ],
)
def test_money_keeps_the_decimals_of_its_currency(money: Money, text: str) -> None:
    shown_money = filters.money(shapes.amount(money))
    assert text in shown_money
    assert money.currency in shown_money


@pytest.mark.parametrize(
    ("away", "hint"),
    [
        (timedelta(seconds=-5), "5 s ago"),
        (timedelta(minutes=-3), "3 min ago"),
        (timedelta(hours=-47), "47 h ago"),
        (timedelta(days=-9), "9 d ago"),
        (timedelta(hours=2), "in 2 h"),
    ],
)
def test_a_time_shows_its_distance_from_now(away: timedelta, hint: str) -> None:
    assert filters.ago(NOW + away, NOW) == hint


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "Thu 1 Jan, 02:30"),
        ("America/New_York", "Wed 31 Dec 2025, 21:30"),
        ("Asia/Kathmandu", "Thu 1 Jan, 08:15"),
        ("Pacific/Kiritimati", "Thu 1 Jan, 16:30"),
    ],
)
def test_times_are_shown_in_the_zone_of_the_reader_and_utc_on_hover(zone: str, text: str) -> None:
    moment = datetime(2026, 1, 1, 2, 30, tzinfo=UTC)
    shown = filters.when(moment, NOW, zone=ZoneInfo(zone))
    assert f">{text}</time>" in shown
    assert 'title="2026-01-01 02:30:00 UTC"' in shown
    assert 'datetime="2026-01-01T02:30:00+00:00"' in shown
    assert filters.day(moment, ZoneInfo(zone), year=False) == text.partition(",")[0].removesuffix(" 2025")


def test_an_exact_time_has_its_year_and_milliseconds() -> None:
    moment = datetime(2026, 7, 1, 13, 0, 5, 250_000, tzinfo=UTC)
    assert ">Wed 1 Jul 2026, 09:00:05.250</time>" in filters.when(
        moment, NOW, exact=True, zone=ZoneInfo("America/New_York")
    )


def test_a_state_is_never_only_a_color() -> None:
    assert ">broken<" in filters.chip("broken")
    assert "break" in filters.chip("broken", finance=True)


@pytest.mark.parametrize(
    "show", [filters.chip, filters.short, filters.pairs, lambda text: filters.pairs({text: [text]})]
)
def test_foreign_text_is_escaped(show: object) -> None:
    assert "<script" not in str(show("<script>alert(1)</script>"))  # type: ignore[operator]


def test_stored_values_lose_nothing_in_json() -> None:
    value = {
        "rate": Decimal("0.10"), "sum": Money(250, "USD"), "big": 2**60, "n": 7, "at": NOW, "day": NOW.date(),
        "wait": timedelta(hours=1), "all": [Decimal("1E+3"), None, True],
    }  # fmt: skip
    assert shapes.plain(value) == {
        "rate": "0.10", "sum": shapes.Amount("2.50", "USD", 250), "big": str(2**60), "n": 7,
        "at": "2026-03-04T12:00:00Z", "day": "2026-03-04", "wait": "1:00:00", "all": ["1000", None, True],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("approval by <b> until 2026-12-03 14:07 UTC", 'approval by &lt;b&gt; until <time datetime="2026-12-03T14:07:00+00:00" title="2026-12-03 14:07:00 UTC">Thu 3 Dec 2026, 09:07</time>'),
        ("no time", "no time"),
        ("2026-13-03 14:07 UTC, 2026-12-03 25:07 UTC", "2026-13-03 14:07 UTC, 2026-12-03 25:07 UTC"),
    ],
)  # fmt: skip
def test_times_in_a_sentence_are_in_the_zone_too(text: str, shown: str) -> None:
    assert filters.local_times(text, ZoneInfo("America/New_York")) == shown
