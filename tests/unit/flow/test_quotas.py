"""Gates of several workers on one store: slots pass from one to another and never add up to more than the cap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from counterfoil.connectors.sdk import Confirmed, Rejected
from counterfoil.core.errors import ErrorClass, TryAgain
from counterfoil.core.quota import Quota, share_of
from counterfoil.flow.dispatch.limiter import HEARTBEAT_LIFETIME, ConcurrencyLimiter, Lane, Slot, caps_of
from counterfoil.model.kinds import System
from counterfoil.store.check import violations
from counterfoil.store.port.workers import Heartbeat, SetCap
from tests.patience import PATIENCE_SECONDS
from tests.unit.flow.test_limiter import Clock, at_once, limiter
from tests.unit.flow.test_limiter import limiter as gate

DONE = Confirmed({})
BUSY = Rejected(ErrorClass.THROTTLED, "slow down")


def all_of(of: ConcurrencyLimiter, lane: Lane = Lane.LIVE) -> list[Slot]:
    """Every slot that is to be had."""
    found = []
    while (ticket := of.try_enter("erp", lane)) is not None:
        found.append(ticket)
    return found


def quotas(clock: Clock) -> int:
    dump = at_once(clock.store.dump())
    assert violations(dump, clock.database) == []
    return sum(quota.n for quota in dump.quotas if quota.until > clock.database)


# ------------------------------------------------------------------ one worker


def test_nobody_enters_before_the_first_heartbeat() -> None:
    clock = Clock()
    of = ConcurrencyLimiter("w/1", {"erp": ("erp", 4)}, clock)
    assert of.try_enter("erp", Lane.CLOSE) is None
    assert of.heartbeat_due.is_set()
    clock.beat(of)
    assert not of.heartbeat_due.is_set()
    assert len(all_of(of)) == 4


def test_calls_go_on_when_a_clock_that_was_ahead_is_put_right() -> None:
    clock = Clock()
    clock.ahead = timedelta(days=3650)
    of = limiter(clock)
    clock.ahead = timedelta()
    clock.go(60)
    assert of.alive
    assert len(all_of(of)) == 4


def test_a_worker_whose_heartbeats_the_store_refuses_says_so() -> None:
    clock = Clock()
    of = limiter(clock)
    later = clock.database + timedelta(seconds=14)
    at_once(clock.store.apply(Heartbeat(worker=of.worker, until=later + HEARTBEAT_LIFETIME, at=later)))
    clock.now += 10
    clock.beat(of)
    assert of.alive, "it may send until its slots end"
    clock.ahead = -timedelta(seconds=10)
    clock.now += 5
    clock.beat(of)
    assert not of.alive
    clock.ahead = timedelta()
    clock.beat(of)
    assert of.alive


def test_a_quota_that_was_not_renewed_lets_nobody_in() -> None:
    clock = Clock()
    of = limiter(clock)
    ticket = of.try_enter("erp", Lane.LIVE)
    assert ticket is not None
    assert of.holds(ticket)
    clock.now += HEARTBEAT_LIFETIME.total_seconds() - 1
    assert of.try_enter("erp", Lane.CLOSE) is None
    assert of.state("erp").slots == 0
    assert not of.holds(ticket), "the store is about to give it to others"


def test_a_slot_held_through_a_sleep_is_not_held_any_more() -> None:
    clock = Clock()
    of, other = limiter(clock), limiter(clock, worker="w/2")
    ticket = of.try_enter("erp", Lane.LIVE)
    assert ticket is not None
    clock.now += 60
    clock.beat(other)
    assert len(all_of(other)) == 4
    clock.beat(of)
    assert not of.holds(ticket)
    assert of.try_enter("erp", Lane.CLOSE) is None


def test_the_caps_are_those_of_the_systems() -> None:
    base = {"role": "erp", "connector": "external", "url": "https://erp.example"}
    systems = {
        "erp": System.model_validate({**base, "name": "erp", "account": "acme", "caps": {"concurrency": 7}}),
        "crm": System.model_validate({**base, "name": "crm"}),
    }
    assert caps_of(systems) == {"erp": ("erp/acme", 7), "crm": ("crm", 4)}


def test_a_new_release_brings_systems_and_caps() -> None:
    clock = Clock()
    of = limiter(clock)
    all_of(of)
    of.configure({"erp": ("erp", 6), "crm": ("crm", 1)})
    clock.beat(of)
    assert len(all_of(of)) == 2
    assert of.try_enter("crm", Lane.LIVE) is not None


def test_a_heartbeat_that_fails_leaves_quotas_until_their_end() -> None:
    clock = Clock()
    of = limiter(clock)

    class Down:
        async def apply(self, transition: Any) -> Any:
            raise TryAgain("the database is away")

    clock.now += 3
    with pytest.raises(TryAgain):
        at_once(of.beat(Down(), clock.database))
    assert of.try_enter("erp", Lane.LIVE) is not None
    clock.now += HEARTBEAT_LIFETIME.total_seconds()
    assert of.try_enter("erp", Lane.LIVE) is None


# ------------------------------------------------------------------ several workers


def test_a_second_worker_gets_its_part_from_one_that_has_no_use_for_it() -> None:
    clock = Clock()
    first = limiter(clock)
    second = limiter(clock, worker="w/2")
    assert second.try_enter("erp", Lane.LIVE) is None
    assert not second.heartbeat_due.is_set(), "it has just asked"
    clock.now += 1
    assert second.try_enter("erp", Lane.LIVE) is None
    assert second.heartbeat_due.is_set()
    clock.beat(first)
    clock.beat(second)
    assert second.try_enter("erp", Lane.LIVE) is not None


def test_a_second_worker_gets_its_part_from_one_that_is_busy() -> None:
    clock = Clock()
    first = limiter(clock)
    inside = all_of(first)
    second = limiter(clock, worker="w/2")
    clock.beat(first)
    assert first.state("erp").slots == 2
    for ticket in inside[:2]:
        first.leave(ticket, DONE)
        assert first.try_enter("erp", Lane.CLOSE) is None, "these slots are on their way to the other"
    clock.now += 1
    assert first.state("erp").in_flight == 2
    assert [second.try_enter("erp", Lane.LIVE) for _ in range(3)] == [None] * 3
    clock.beat(first)
    clock.beat(second)
    assert len(all_of(second)) == 2
    assert quotas(clock) == 4


def test_freed_slots_are_handed_over_at_once() -> None:
    clock = Clock()
    first = limiter(clock)
    inside = all_of(first)
    limiter(clock, worker="w/2")
    clock.beat(first)
    clock.now += 1
    assert not first.heartbeat_due.is_set()
    first.leave(inside[0], DONE)
    assert first.heartbeat_due.is_set()


async def test_who_waits_for_others_slots_asks_again_and_again() -> None:
    clock = Clock()
    busy = limiter(clock, 1)
    inside = all_of(busy)
    waits = limiter(clock, 1, "w/2")
    entering = asyncio.create_task(waits.enter("erp", Lane.LIVE))
    asked = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(3):
            clock.now += 0.3
            await waits.heartbeat_due.wait()
            clock.beat(waits)
            asked += 1
        busy.leave(inside[0], DONE)
        busy.close()
        assert at_once(busy.give_back(clock.store, clock.database))
        clock.now += 0.3
        await waits.heartbeat_due.wait()
        clock.beat(waits)
        await entering
    assert asked == 3


class Meanwhile:
    """A store in whose answering time something happens in the limiter."""

    def __init__(self, clock: Clock, kind: type, happens: Callable[[], object]) -> None:
        self.clock = clock
        self.kind = kind
        self.happens = happens

    async def apply(self, transition: Any) -> Any:
        answer = await self.clock.store.apply(transition)
        if isinstance(transition, self.kind):
            self.happens()
        return answer


def test_calls_begun_while_a_heartbeat_is_on_its_way_are_in_the_quota() -> None:
    clock = Clock()
    first = limiter(clock)
    second = limiter(clock, worker="w/2")
    second.try_enter("erp", Lane.LIVE)
    inside: list[Slot] = []
    at_once(first.beat(Meanwhile(clock, Heartbeat, lambda: inside.extend(all_of(first))), clock.database))
    assert len(inside) == 4
    clock.beat(second)
    assert len(inside) + len(all_of(second)) <= 4


def test_with_more_workers_than_slots_idle_ones_ask_for_none() -> None:
    clock = Clock()
    busy, *idle = [limiter(clock, 2, f"w/{n}") for n in range(4)]
    clock.go(12)
    for _ in range(20):
        inside = all_of(busy)
        clock.go(3)
        assert [of.state("erp").slots for of in idle] == [0, 0, 0]
        for ticket in inside:
            busy.leave(ticket, DONE)
    assert len(inside) == 2


def test_an_idle_worker_leaves_the_slots_to_a_busy_one() -> None:
    clock = Clock()
    idle, busy = limiter(clock, 8), limiter(clock, 8, "w/2")
    for _ in range(10):
        all_of(busy)
        clock.go(3)
    assert (idle.state("erp").slots, busy.state("erp").slots) == (1, 7)


def test_a_worker_that_stops_gives_everything_back() -> None:
    clock = Clock()
    stops, stays = limiter(clock), limiter(clock, worker="w/2")
    ticket = stops.try_enter("erp", Lane.LIVE)
    assert ticket is not None
    assert not at_once(stops.give_back(clock.store, clock.database)), "a call is under way"
    for _ in range(20):
        inside = all_of(stays)
        clock.go(3)
    assert (len(inside), stays.state("erp").in_flight) == (0, 3), "and counts until it has ended"
    stops.leave(ticket, DONE)
    assert at_once(stops.give_back(clock.store, clock.database))
    clock.beat(stops)
    assert [worker.id for worker in at_once(clock.store.dump()).workers] == ["w/2"]
    clock.go(3)
    assert stays.state("erp").slots == 4


# ------------------------------------------------------------------ the cap in use


def test_what_one_worker_is_told_holds_for_all() -> None:
    clock = Clock()
    first, second = limiter(clock, 8), limiter(clock, 8, "w/2")
    clock.go(6)
    first.leave(all_of(first)[0], BUSY)
    assert first.heartbeat_due.is_set()
    clock.go(6)
    assert first.state("erp").present_cap == second.state("erp").present_cap == 4


def test_two_workers_that_are_told_the_same_halve_the_cap_once() -> None:
    clock = Clock()
    pair = [limiter(clock, 8, name) for name in ("w/1", "w/2")]
    clock.go(6)
    for of in pair:
        of.leave(all_of(of)[0], BUSY)
    clock.go(6)
    assert {of.state("erp").present_cap for of in pair} == {4}


def test_throttling_while_a_heartbeat_is_on_its_way_is_not_forgotten() -> None:
    clock = Clock()
    of = limiter(clock, 8)
    inside = all_of(of)
    at_once(of.beat(Meanwhile(clock, Heartbeat, lambda: of.leave(inside.pop(), BUSY)), clock.database))
    assert (of.state("erp").slots, of.state("erp").present_cap) == (4, 4)
    lower = Meanwhile(clock, SetCap, lambda: of.leave(of_new.pop(), BUSY))
    while inside:
        of.leave(inside.pop(), DONE)
    of_new = [ticket for ticket in [of.try_enter("erp", Lane.LIVE)] if ticket is not None]
    at_once(of.beat(lower, clock.database))
    clock.go(1)
    assert of.state("erp").present_cap == 2


def test_a_cap_that_nobody_uses_up_does_not_rise() -> None:
    clock = Clock()
    of = limiter(clock, 8)
    of.leave(of.try_enter("erp", Lane.LIVE), BUSY)  # type: ignore[arg-type]
    for _ in range(30):
        clock.go(1)
        of.leave(of.try_enter("erp", Lane.LIVE), DONE)  # type: ignore[arg-type]
    assert of.state("erp").present_cap == 4


def test_the_cap_comes_back_slowly_and_costs_a_write_for_each_step() -> None:
    clock = Clock()
    of = limiter(clock, 8)
    of.leave(of.try_enter("erp", Lane.LIVE), BUSY)  # type: ignore[arg-type]
    clock.go(1)
    tunes = []

    class Counted:
        async def apply(self, transition: Any) -> Any:
            if isinstance(transition, SetCap):
                tunes.append(transition.cap)
            return await clock.store.apply(transition)

    inside = all_of(of)
    began = clock.now
    calls = 0
    while of.state("erp").present_cap < 8:
        for ticket in inside:
            of.leave(ticket, DONE)
            again = of.try_enter("erp", Lane.LIVE)
            calls += 1
            if again is not None:
                inside = [*inside[1:], again]
        clock.now += 1
        at_once(of.beat(Counted(), clock.database))
        inside += all_of(of)
        assert clock.now < began + 60
    assert tunes == [5, 6, 7, 8]
    assert clock.now >= began + 20
    assert calls > 50


# ------------------------------------------------------------------ any story

MOVES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(
            ["enter", "enter", "enter", "replay", "leave", "leave", "beat", "beat", "pass", "sleep"]
        ),
    ),
    max_size=150,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cap=st.integers(1, 6), moves=MOVES)
def test_whatever_workers_do_slots_in_hand_never_exceed_the_cap(
    cap: int, moves: list[tuple[int, str]]
) -> None:
    """Also of workers that sleep through their quotas' end: what they still hold is not `held` any more."""
    clock = Clock()
    gates = [limiter(clock, cap, f"w/{n}") for n in range(4)]
    inside: dict[ConcurrencyLimiter, list[Slot]] = {of: [] for of in gates}
    for number, move in moves:
        of = gates[number]
        if move in ("enter", "replay"):
            ticket = of.try_enter("erp", Lane.LIVE if move == "enter" else Lane.REPLAY)
            if ticket is not None:
                inside[of].append(ticket)
        elif move == "leave" and inside[of]:
            of.leave(inside[of].pop(0), DONE)
        elif move == "beat":
            clock.beat(of)
        elif move == "pass":
            clock.go(2)
        elif move == "sleep":
            clock.now += 7
        held = [t for each in gates for t in inside[each] if each.holds(t)]
        assert len(held) <= cap
        assert quotas(clock) <= cap


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    cap=st.integers(1, 6),
    workers=st.integers(1, 8),
    wants=st.lists(st.integers(0, 6), min_size=8, max_size=8),
)
@example(cap=1, workers=7, wants=[1, 1, 1, 2, 1, 2, 2, 0])
def test_every_worker_that_wants_something_gets_it_in_time(cap: int, workers: int, wants: list[int]) -> None:
    clock = Clock()
    gates = [gate(clock, cap, f"w/{n}") for n in range(workers)]
    done = dict.fromkeys(range(workers), 0)
    for _ in range(60):
        for number, of in enumerate(gates):
            inside = []
            for _ in range(wants[number]):
                ticket = of.try_enter("erp", Lane.LIVE)
                if ticket is not None:
                    inside.append(ticket)
            done[number] += len(inside)
            for ticket in inside:
                of.leave(ticket, DONE)
        clock.go(3)
    for number in range(workers):
        assert (done[number] > 0) == (wants[number] > 0), (done, wants)


@pytest.mark.parametrize("room", range(-1, 4))
@pytest.mark.parametrize("count", [2, 3, 5])
def test_holders_come_down_to_a_room_that_became_smaller(room: int, count: int) -> None:
    """Each worker holds two slots when the room shrinks: a lowered cap, or calls that dead workers left."""
    until = datetime(2026, 1, 1, tzinfo=UTC)
    quotas = [Quota(account="erp", worker=f"w/{n}", n=2, wanted=2, cap=9, until=until) for n in range(count)]
    for _ in range(3):
        for n, own in enumerate(quotas):
            others = [quota for quota in quotas if quota is not own]
            free = max(0, room - sum(quota.n for quota in others))
            share = min(share_of(own, own.n, others, room, free), max(free, own.n))
            quotas[n] = structs.replace(own, n=share)
    assert sum(quota.n for quota in quotas) <= max(0, room)


def test_the_database_is_told_the_time_it_told() -> None:
    """Quotas end by the database's time, which the limiter is given."""
    clock = Clock()
    of = limiter(clock)
    (quota,) = at_once(clock.store.dump()).quotas
    assert isinstance(quota.until, datetime)
    assert quota.until == clock.database + HEARTBEAT_LIFETIME
    assert of.state("erp").slots == quota.n == 4
