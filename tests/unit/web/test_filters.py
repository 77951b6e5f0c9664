"""Template filters of the pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

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


def test_times_are_shown_in_utc() -> None:
    from zoneinfo import ZoneInfo

    local = datetime(2026, 7, 1, 9, 0, tzinfo=ZoneInfo("America/New_York"))
    assert "2026-07-01 13:00\u00a0UTC" in filters.when(local, NOW)


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
