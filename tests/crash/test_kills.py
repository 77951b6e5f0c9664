"""A credit is carried to its end, once, whatever the point at which the server was killed.

A few points here; all of them, over and over, in `python -m tests.campaign --kills N`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.company import company
from tests.crash.points import OPERATIONS, SURE, slice_of
from tests.crash.rounds import Life

SEED = 20261
MORE = 4


@pytest.fixture(scope="module")
def life() -> Iterator[Life]:
    with company() as systems:
        yield Life(systems)


@pytest.mark.timeout(240)
async def test_a_round_without_kills_passes_every_point_and_ends_well(life: Life) -> None:
    played = await life.round()
    assert played.violations == []
    assert played.killed == []
    assert set(SURE) - set(played.points) == set()
    called = {point.split(":")[2] for point in played.points if point.startswith("send:")}
    assert called == set(OPERATIONS), "a write is not in the list"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("point", slice_of(SEED, MORE))
async def test_a_credit_is_done_once_although_the_server_was_killed(life: Life, point: str) -> None:
    played = await life.round([[point]])
    assert played.violations == []
    assert played.killed == [point]


@pytest.mark.timeout(240)
async def test_a_credit_is_done_once_although_its_recovery_was_killed_too(life: Life) -> None:
    first, second = "send:after:erp.credit_memo.post:1", "find:after:erp.credit_memo.post:1"
    played = await life.round([[first], [second]])
    assert played.violations == []
    assert played.killed == [first, second]
