"""The rate of a consumer: never more than its burst at once, never more in the long run than it says, never starved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.call import CallRate, take

T0 = datetime(2026, 3, 1, tzinfo=UTC)


@given(
    st.integers(1, 20),
    st.integers(1, 3600),
    st.integers(1, 20),
    st.lists(st.floats(0, 30), min_size=1, max_size=60),
)
def test_no_window_sees_more_than_burst_and_what_was_earned(
    at_most: int, every: int, burst: int, gaps: list[float]
) -> None:
    rate = CallRate(at_most=at_most, every=every, burst=burst)
    spent, now, calls_made = 0, T0, []
    for gap in gaps:
        now += timedelta(seconds=gap)
        spent, left, may = take(rate, spent, now)
        assert may == (left.wait == 0)
        if may:
            calls_made.append(now)
        else:
            _, then, later = take(rate, spent, now + timedelta(seconds=left.wait))
            assert later, "who waits as long as it was told is let in"
            assert then.calls == 0
    for first in range(len(calls_made)):
        for last in range(first, len(calls_made)):
            earned = (calls_made[last] - calls_made[first]).total_seconds() * 1_000_000 / rate.step
            assert last - first + 1 <= burst + earned + 1e-6


def test_the_rest_of_the_limit_is_returned() -> None:
    rate = CallRate(at_most=60, every=60, burst=3)
    spent, left, _ = take(rate, 0, T0)
    assert (left.calls, left.reset) == (2, 1)
    spent, left, _ = take(rate, spent, T0)
    spent, left, may = take(rate, spent, T0)
    assert (left.calls, left.reset, may) == (0, 3, True)
    same, left, may = take(rate, spent, T0)
    assert (same, left.wait, may) == (spent, 1, False)
