"""A credit is carried to its end, once, on the real systems, whatever the point at which the server was killed.

A few points here, as the fast company takes all of them; over and over in `python -m tests.campaign --kills N`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.companies.acme import company
from tests.crash.points import missing, pick, sure
from tests.crash.rounds import NOT_OF_A_CREDIT, OPERATIONS, Life

SEED = 20261
MORE = 1
ALWAYS = ("send:after:billing.credit_memo.issue:1", "send:after:erp.credit_memo.post:1")
"""Between sending and conclusion, where a vendor dedupes and where none does."""


@pytest.fixture(scope="module")
def life() -> Iterator[Life]:
    with company() as systems:
        yield Life(systems)


@pytest.mark.timeout(900)
async def test_a_credit_is_done_once_although_the_server_was_killed(life: Life) -> None:
    dry = await life.round()
    assert dry.violations == []
    assert dry.killed == []
    assert missing(dry.points, OPERATIONS) == []
    for point in pick(sure([dry.points], NOT_OF_A_CREDIT), ALWAYS, SEED, MORE):
        played = await life.round([[point]])
        assert (point, played.violations) == (point, [])
        if point in ALWAYS:
            assert played.killed == [point]


@pytest.mark.timeout(900)
async def test_a_credit_is_done_once_although_its_recovery_was_killed_too(life: Life) -> None:
    first, second = "send:after:erp.credit_memo.post:1", "find:after:erp.credit_memo.post:1"
    played = await life.round([[first], [second]])
    assert played.violations == []
    assert played.killed == [first, second]
