"""Number series: every missing number and every double is found, whatever the order and the shape of the numbers."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.number_series import number_series


@given(
    st.sampled_from(["", "INV-", "2026/", "A1-"]),
    st.sampled_from(["", "/US", "-x"]),
    st.integers(1, 6),
    st.sets(st.integers(1, 60), min_size=1),
    st.randoms(),
)
def test_gaps_and_doubles_are_those_that_were_planted(
    before: str, after: str, width: int, places: set[int], chance: Random
) -> None:
    numbers = [f"{before}{place:0{width}d}{after}" for place in sorted(places)]
    shuffled = list(numbers)
    chance.shuffle(shuffled)
    doubled = shuffled[: len(shuffled) // 3]
    (series,) = number_series([*shuffled, *doubled])
    missing = set(range(min(places), max(places))) - places
    assert (series.missing, series.documents) == (len(missing), len(numbers) + len(doubled))
    assert (series.first, series.last) == (numbers[0], numbers[-1])
    named = set()
    for gap in series.gaps:
        first, _, last = gap.partition(" - ")
        ends = [int(text.removeprefix(before).removesuffix(after)) for text in (first, last or first)]
        named |= set(range(ends[0], ends[1] + 1))
    assert named == missing
    assert series.doubles == tuple(sorted(set(doubled), key=numbers.index))


def test_numbers_of_other_shapes_are_other_series() -> None:
    first, second, third = number_series(["B-7", "A-1", "A-3", "draft", "draft"])
    assert (first.series, first.doubles, first.missing) == ("", ("draft",), 0)
    assert (second.series, second.gaps) == ("A-#", ("A-2",))
    assert third.is_complete


def test_the_same_place_in_two_ways_of_writing_is_a_double() -> None:
    (series,) = number_series(["INV-7", "INV-07"])
    assert series.double == 1
