"""The limiter: slots, lanes, the breaker and the retry budget of one worker, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from counterfoil.connectors.sdk import Accepted, Confirmed, Outcome, Rejected, Unknown
from counterfoil.core.errors import ErrorClass
from counterfoil.flow.dispatch.circuit_breaker import MAX_CONSECUTIVE_FAILURES, MAX_OPEN_SECONDS, BreakerState
from counterfoil.flow.dispatch.limiter import ConcurrencyLimiter, Lane, LimiterClosed, Slot
from counterfoil.store.memory import MemoryStore
from tests.patience import PATIENCE_SECONDS

DONE = Confirmed({})
LOST = Unknown("reset")
BUSY = Rejected(ErrorClass.THROTTLED, "slow down")
SHUT_OUT = Rejected(ErrorClass.UNAUTHORIZED, "who are you")
NO = Rejected(ErrorClass.INVALID, "no such tax code")


T0 = datetime(2026, 3, 1, tzinfo=UTC)


class Clock:
    """Time that the test moves, the store of all workers, and their gates, which beat as time goes by."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ahead = timedelta()
        """Error of the database's clock."""
        self.store = MemoryStore()
        self.gates: list[ConcurrencyLimiter] = []

    def __call__(self) -> float:
        return self.now

    @property
    def database(self) -> datetime:
        return T0 + timedelta(seconds=self.now) + self.ahead

    def beat(self, of: ConcurrencyLimiter) -> None:
        at_once(of.beat(self.store, self.database))

    def go(self, seconds: float) -> None:
        """Let time go by, with the heartbeats of every limiter."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 3)
            for of in self.gates:
                self.beat(of)


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives that waits for nothing, as over a store in memory."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter(clock: Clock, cap: int = 4, worker: str = "w/1") -> ConcurrencyLimiter:
    of = ConcurrencyLimiter(worker, {"erp": ("erp", cap)}, clock, seed=1)
    clock.gates.append(of)
    clock.beat(of)
    return of


def take(of: ConcurrencyLimiter, lane: Lane = Lane.LIVE, retry: bool = False) -> Slot:
    ticket = of.try_enter("erp", lane, retry)
    assert ticket is not None
    return ticket


def call(of: ConcurrencyLimiter, outcome: Outcome, times: int = 1, retry: bool = False) -> None:
    for _ in range(times):
        of.leave(take(of, retry=retry), outcome)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def waiter(
    of: ConcurrencyLimiter, lane: Lane, order: list[Any], name: Any = None, retry: bool = False
) -> asyncio.Task[None]:
    """Somebody who waits, says when it is in, and leaves at once."""

    async def come() -> None:
        ticket = await of.enter("erp", lane, retry)
        order.append(lane if name is None else name)
        of.leave(ticket, DONE)

    return asyncio.create_task(come())


# ------------------------------------------------------------------ slots


def test_no_more_enter_than_there_are_slots(clock: Clock) -> None:
    of = limiter(clock, 2)
    first = take(of)
    take(of)
    assert of.try_enter("erp", Lane.CLOSE) is None
    of.leave(first, DONE)
    assert of.try_enter("erp", Lane.LIVE) is not None
    assert of.state("erp").in_flight == 2


def test_a_ticket_is_given_back_once(clock: Clock) -> None:
    of = limiter(clock)
    ticket = take(of)
    of.leave(ticket, DONE)
    with pytest.raises(ValueError, match="twice"):
        of.leave(ticket, DONE)
    assert of.state("erp").in_flight == 0


def test_the_health_of_a_system_is_that_of_its_calls(clock: Clock) -> None:
    of = limiter(clock)
    state = of.state("erp")
    assert (state.failures, state.failure, state.answered_for) == (0, "", None)
    call(of, Rejected(ErrorClass.TRANSIENT, "it refuses the connection"), times=2)
    state = of.state("erp")
    assert (state.failures, state.failure, state.answered_for) == (2, "it refuses the connection", None)
    call(of, Rejected(ErrorClass.INVALID, "a business refusal is an answer"))
    state = of.state("erp")
    assert (state.failures, state.failure, state.answered_for) == (0, "", 0.0)


def test_a_system_without_a_cap_has_no_line(clock: Clock) -> None:
    with pytest.raises(KeyError):
        limiter(clock).try_enter("crm", Lane.LIVE)


async def test_who_gives_up_waiting_frees_its_place(clock: Clock) -> None:
    of = limiter(clock, 1)
    inside = take(of)
    order: list[Any] = []
    gone, stays = waiter(of, Lane.LIVE, order, "gone"), waiter(of, Lane.LIVE, order, "stays")
    await settled()
    gone.cancel()
    await settled()
    assert of.state("erp").waiting["live"] == 1
    of.leave(inside, DONE)
    await stays
    assert order == ["stays"]


async def test_a_slot_given_to_somebody_who_gives_up_at_that_moment_is_not_lost(clock: Clock) -> None:
    of = limiter(clock, 1)
    inside = take(of)
    late = waiter(of, Lane.LIVE, [])
    await settled()
    of.leave(inside, DONE)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert of.state("erp").in_flight == 0


async def test_a_closed_gate_sends_everybody_away(clock: Clock) -> None:
    of = limiter(clock, 1)
    inside = take(of)
    waits = waiter(of, Lane.CLOSE, [])
    await settled()
    of.close()
    with pytest.raises(LimiterClosed):
        await waits
    with pytest.raises(LimiterClosed):
        await of.enter("erp", Lane.CLOSE)
    assert of.try_enter("erp", Lane.CLOSE) is None
    of.leave(inside, DONE)
    assert of.in_flight == 0


# ------------------------------------------------------------------ lanes


async def test_a_better_lane_goes_first_and_equals_in_order(clock: Clock) -> None:
    of = limiter(clock, 1)
    inside = take(of)
    order: list[Any] = []
    lanes = [Lane.REPLAY, Lane.LIVE, Lane.RETRY, Lane.CLOSE, Lane.LIVE]
    tasks = [waiter(of, lane, order, (lane, n)) for n, lane in enumerate(lanes)]
    await settled()
    of.leave(inside, DONE)
    await asyncio.gather(*tasks)
    assert order == sorted(order)


async def test_nobody_in_a_flooded_gate_starves(clock: Clock) -> None:
    """Every eighth slot is the oldest waiter's of the lower lanes."""
    of = limiter(clock, 1)
    inside = take(of)
    order: list[Any] = []
    low = [waiter(of, lane, order) for lane in (Lane.REPLAY, Lane.RETRY, Lane.LIVE)]
    await settled()
    flood = [waiter(of, Lane.CLOSE, order) for _ in range(40)]
    await settled()
    of.leave(inside, DONE)
    await asyncio.gather(*flood, *low)
    assert [order.index(lane) for lane in (Lane.REPLAY, Lane.RETRY, Lane.LIVE)] == [7, 15, 23]


async def test_nobody_overtakes_who_waits(clock: Clock) -> None:
    of = limiter(clock, 1)
    inside = take(of)
    order: list[Any] = []
    waits = waiter(of, Lane.LIVE, order)
    await settled()
    of.leave(inside, DONE)
    assert of.try_enter("erp", Lane.LIVE) is None, "the slot is the waiter's"
    await waits


def test_a_flood_of_replays_leaves_a_slot_for_live_work(clock: Clock) -> None:
    of = limiter(clock, 3)
    low = [of.try_enter("erp", lane) for lane in (Lane.REPLAY, Lane.RETRY, Lane.REPLAY, Lane.RETRY)]
    assert [ticket is not None for ticket in low] == [True, True, False, False]
    assert of.try_enter("erp", Lane.LIVE) is not None


def test_the_only_slot_is_everybodys(clock: Clock) -> None:
    of = limiter(clock, 1)
    assert of.try_enter("erp", Lane.REPLAY) is not None


# ------------------------------------------------------------------ the breaker


@pytest.mark.parametrize("failure", [LOST, SHUT_OUT, Rejected(ErrorClass.TRANSIENT, "503")])
def test_failures_in_a_row_open_the_breaker(clock: Clock, failure: Outcome) -> None:
    of = limiter(clock)
    call(of, failure, MAX_CONSECUTIVE_FAILURES - 1)
    assert of.state("erp").breaker is BreakerState.CLOSED
    call(of, failure)
    state = of.state("erp")
    assert (state.breaker, state.open_since) == (BreakerState.OPEN, clock.now)
    assert of.try_enter("erp", Lane.CLOSE) is None


@pytest.mark.parametrize("answer", [DONE, NO, Accepted("job"), BUSY])
def test_an_answer_whatever_it_says_is_no_failure(clock: Clock, answer: Outcome) -> None:
    of = limiter(clock)
    call(of, answer, 50)
    assert of.state("erp").breaker is BreakerState.CLOSED


def test_a_system_that_mostly_fails_opens_it_too(clock: Clock) -> None:
    of = limiter(clock)
    outcomes: list[Outcome] = [LOST, LOST, DONE] * 7
    for number, outcome in enumerate(outcomes):
        if of.state("erp").breaker is BreakerState.OPEN:
            assert number == 20
            return
        call(of, outcome)
    raise AssertionError("it stayed closed")


def test_half_open_lets_one_probe_through_and_an_answer_closes(clock: Clock) -> None:
    of = limiter(clock)
    call(of, LOST, MAX_CONSECUTIVE_FAILURES)
    clock.go(2)
    probe = take(of)
    assert of.state("erp").breaker is BreakerState.HALF_OPEN
    assert of.try_enter("erp", Lane.CLOSE) is None
    of.leave(probe, NO)
    assert of.state("erp").breaker is BreakerState.CLOSED
    assert of.state("erp").open_since is None
    assert of.try_enter("erp", Lane.LIVE) is not None


def test_each_failed_probe_doubles_the_wait_up_to_a_minute(clock: Clock) -> None:
    of = limiter(clock)
    call(of, LOST, MAX_CONSECUTIVE_FAILURES)
    opened, waits = clock.now, []
    for _ in range(10):
        began = clock.now
        while (probe := of.try_enter("erp", Lane.LIVE)) is None:
            clock.go(0.25)
        waits.append(clock.now - began)
        of.leave(probe, LOST)
    assert waits[0] <= 1.5
    assert all(1.0 <= wait <= MAX_OPEN_SECONDS + 0.25 for wait in waits)
    assert all(later > earlier for earlier, later in pairwise(waits[:6]))
    assert waits[-1] > 45
    assert of.state("erp").open_since == opened
    assert of.state("erp").open_for == clock.now - opened


def test_a_probe_that_was_not_made_leaves_the_next_one(clock: Clock) -> None:
    of = limiter(clock)
    call(of, LOST, MAX_CONSECUTIVE_FAILURES)
    clock.go(2)
    of.leave(take(of), None)
    assert of.try_enter("erp", Lane.LIVE) is not None


def test_calls_begun_before_it_opened_say_nothing_about_the_probe(clock: Clock) -> None:
    of = limiter(clock, 20)
    old = [take(of) for _ in range(10)]
    call(of, LOST, MAX_CONSECUTIVE_FAILURES)
    clock.go(2)
    probe = take(of)
    for ticket in old:
        of.leave(ticket, LOST)
    of.leave(probe, DONE)
    assert of.state("erp").breaker is BreakerState.CLOSED


def test_a_call_not_made_that_began_earlier_is_not_the_probe(clock: Clock) -> None:
    of = limiter(clock, 20)
    old = take(of)
    call(of, LOST, MAX_CONSECUTIVE_FAILURES)
    clock.go(2)
    take(of)
    of.leave(old, None)
    assert of.state("erp").breaker is BreakerState.HALF_OPEN
    assert of.try_enter("erp", Lane.LIVE) is None


def test_failures_before_it_closed_are_forgotten(clock: Clock) -> None:
    of = limiter(clock)
    for _ in range(4):
        call(of, DONE, 2)
        call(of, LOST, MAX_CONSECUTIVE_FAILURES - 2)
    assert of.state("erp").breaker is BreakerState.OPEN
    clock.go(2)
    call(of, DONE)
    call(of, LOST)
    assert of.state("erp").breaker is BreakerState.CLOSED


async def test_who_waits_at_an_open_breaker_goes_when_it_may() -> None:
    of, store = ConcurrencyLimiter("w/1", {"erp": ("erp", 4)}, seed=1), MemoryStore()
    await of.beat(store, await store.now())
    call(of, LOST, MAX_CONSECUTIVE_FAILURES)
    order: list[Any] = []
    await asyncio.wait_for(
        asyncio.gather(*(waiter(of, Lane.LIVE, order) for _ in range(5))), PATIENCE_SECONDS
    )
    assert len(order) == 5


# ------------------------------------------------------------------ the retry budget


def test_retries_are_a_share_of_the_first_attempts(clock: Clock) -> None:
    of = limiter(clock)
    went = Counter[bool]()
    for _ in range(500):
        call(of, DONE)
        retry = of.try_enter("erp", Lane.RETRY, retry=True)
        went[retry is not None] += 1
        if retry is not None:
            of.leave(retry, DONE)
    # What was there at the start, a fifth of the first attempts, and the one of this second.
    assert 110 <= went[True] <= 112


def test_one_retry_a_second_may_go_whatever_the_budget(clock: Clock) -> None:
    of = limiter(clock)
    while (ticket := of.try_enter("erp", Lane.LIVE, retry=True)) is not None:
        of.leave(ticket, DONE)
    went = 0
    for _ in range(100):
        clock.go(0.1)
        ticket = of.try_enter("erp", Lane.LIVE, retry=True)
        if ticket is not None:
            of.leave(ticket, NO)
            went += 1
    assert went == 10


def test_a_retry_that_was_not_made_costs_nothing(clock: Clock) -> None:
    of = limiter(clock)
    before = of.state("erp").retry_tokens
    of.leave(take(of, retry=True), None)
    assert of.state("erp").retry_tokens == before


async def test_a_retry_without_a_token_does_not_hold_first_attempts_back(clock: Clock) -> None:
    of = limiter(clock)
    while (ticket := of.try_enter("erp", Lane.LIVE, retry=True)) is not None:
        of.leave(ticket, DONE)
    order: list[Any] = []
    retry = waiter(of, Lane.LIVE, order, "retry", retry=True)
    await settled()
    await waiter(of, Lane.LIVE, order, "first")
    assert order == ["first"]
    clock.go(1)
    of.leave(take(of, Lane.REPLAY), DONE)
    await retry


# ------------------------------------------------------------------ throttling


def test_a_system_that_says_when_is_left_alone_until_then(clock: Clock) -> None:
    of = limiter(clock)
    of.leave(take(of), Rejected(ErrorClass.THROTTLED, "later", retry_after=7.0))
    clock.go(6.9)
    assert of.try_enter("erp", Lane.CLOSE) is None
    clock.go(0.2)
    assert of.try_enter("erp", Lane.CLOSE) is not None


def test_one_burst_of_refusals_halves_the_cap_once(clock: Clock) -> None:
    of = limiter(clock, 16)
    burst = [take(of) for _ in range(16)]
    for ticket in burst:
        of.leave(ticket, BUSY)
    assert of.state("erp").present_cap == 8
    assert of.state("erp").slots == 8
    call(of, BUSY, 10)
    assert of.state("erp").present_cap == 1
