"""Work to judge one match of many documents: it grows with their number and not with its square."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pytest

from counterfoil.core.document import LedgerDocument, LegRule, MatchRules, Shape, Side
from counterfoil.core.matching import judge
from counterfoil.core.money import Money

NOW = datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
SMALL, FACTOR = 60, 10
MAX_RATIO = 20
"""The square would be 100."""


def documents(side: Side, amounts: Sequence[int], **more: Any) -> list[LedgerDocument]:
    return [
        LedgerDocument(
            side=side, id=f"{side}-{n}", key="K", version=1, legs={"gross": Money(minor, "EUR")}, entity="AT01",
            currency="EUR", effective=f"2026-{1 + n % 12:02}-{1 + n % 28:02}", known_from=NOW, since=NOW,
            due=NOW if side == "left" else None, **{name: value(n) for name, value in more.items()},
        )
        for n, minor in enumerate(amounts)
    ]  # fmt: skip


def equal(n: int) -> tuple[list[LedgerDocument], list[LedgerDocument]]:
    return documents("left", [999] * n), documents("right", [999] * n)


def distinct(n: int) -> tuple[list[LedgerDocument], list[LedgerDocument]]:
    return documents("left", range(1000, 1000 + 2 * n, 2)), documents("right", range(1001, 1001 + 2 * n, 2))


def opposite(n: int) -> tuple[list[LedgerDocument], list[LedgerDocument]]:
    return documents("left", range(1, n + 1)), documents("right", range(-n, 0))


def journal(n: int) -> tuple[list[LedgerDocument], list[LedgerDocument]]:
    return documents("left", [1000] * 2 * n), documents("right", [2000 * n - 4000])


def naming(n: int) -> tuple[list[LedgerDocument], list[LedgerDocument]]:
    return documents("left", [1000] * n), documents("right", [900] * n, names=lambda n: (f"left-{n}",))


def surplus(n: int) -> tuple[list[LedgerDocument], list[LedgerDocument]]:
    return documents("left", range(1, n // 2 + 1)), documents(
        "right", [1 + k // 3 for k in range(3 * n // 2)]
    )


def reversed_(n: int) -> tuple[list[LedgerDocument], list[LedgerDocument]]:
    rights = documents("right", range(1, n + 1))
    taken_back = documents("right", range(-1, -n - 1, -1), reverses=lambda k: f"right-{k}")
    return documents("left", range(1, n + 1)), rights + [
        LedgerDocument(**{name: getattr(d, name) for name in d.__struct_fields__} | {"id": f"back-{d.id}"})
        for d in taken_back
    ]


def calls(shape: Shape, window: int | None, sides: tuple[list[LedgerDocument], list[LedgerDocument]]) -> int:
    """Return the number of function calls: unlike time, it is the same on every machine."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    rules = MatchRules(legs={"gross": LegRule(total=True, tolerance=1)}, shape=shape, window=window)
    sys.setprofile(profile)
    try:
        judge(rules, *sides, NOW)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("shape", ["1:1", "n:1", "n:m"])
@pytest.mark.parametrize(
    "sides",
    [equal, distinct, opposite, journal, naming, surplus, reversed_],
    ids=lambda sides: sides.__name__,
)
def test_ten_times_the_documents_take_about_ten_times_the_work(
    sides: Any, shape: Shape, window: int | None
) -> None:
    assert calls(shape, window, sides(SMALL * FACTOR)) < MAX_RATIO * calls(shape, window, sides(SMALL))
