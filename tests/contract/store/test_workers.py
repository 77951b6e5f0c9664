"""Heartbeats and quotas, on all stores: the calls that workers may have in flight never exceed the cap."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from counterfoil.core.effect import EffectState
from counterfoil.store.check import violations
from counterfoil.store.port.turns import Claim
from counterfoil.store.port.workers import (
    Heartbeat,
    HeartbeatResult,
    QuotaGrant,
    QuotaRequest,
    RemoveWorker,
    SetCap,
)
from tests.contract.store import samples as s

TTL = timedelta(seconds=15)


def beat(
    worker: str, slots_wanted: int = 9, in_use: int = 0, second: float = 0, cap: int = 4, **more: Any
) -> Heartbeat:
    fields: dict[str, Any] = {"account": "erp", "cap": cap, "slots_wanted": slots_wanted, "in_use": in_use}
    want = QuotaRequest(**{**fields, **more})
    return Heartbeat(worker=worker, until=s.at(second) + TTL, wants=(want,), at=s.at(second))


async def granted(store: Any, *args: Any, **named: Any) -> QuotaGrant:
    beaten: HeartbeatResult = await store.apply(beat(*args, **named))
    (grant,) = beaten.grants
    return grant


async def rounds(
    store: Any, wants: dict[str, int], times: int, second: float = 0, cap: int = 4, has: Any = None
) -> Any:
    """Workers that beat in turn and hold what they were given; what they have after all rounds."""
    has = dict.fromkeys(wants, 0) if has is None else has
    for number in range(times):
        for worker, slots_wanted in wants.items():
            grant = await granted(store, worker, slots_wanted, has[worker], second + number, cap)
            has[worker] = grant.n
        assert violations(await store.dump(), s.at(second + number)) == []
    return has


async def sending(store: Any, worker: str, number: int = 0, when: Any = s.T0) -> Any:
    """An effect that a worker has in flight."""
    run = await s.born(store, f"inv-{worker}-{number}")
    e = s.effect(run=run)
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e, when=when, worker=worker),)))
    return e


# ------------------------------------------------------------------ sharing


async def test_a_worker_alone_has_what_it_wants_up_to_the_cap(store: Any) -> None:
    assert await granted(store, "a", 9) == QuotaGrant(
        account="erp", n=4, counted=4, cap=4, until=s.at(0) + TTL
    )
    assert (await granted(store, "a", 2, in_use=2)).n == 2


async def test_a_second_worker_gets_its_share_once_the_first_has_fewer_calls(store: Any) -> None:
    assert (await granted(store, "a")).n == 4
    assert (await granted(store, "b")).n == 0
    told = await granted(store, "a", in_use=4)
    assert (told.n, told.counted) == (2, 4), "it counts in full until its holder says less"
    assert (await granted(store, "b")).n == 0
    assert (await granted(store, "a", in_use=2)).counted == 2
    assert (await granted(store, "b")).n == 2


async def test_slots_that_a_worker_does_not_want_go_to_others(store: Any) -> None:
    assert await rounds(store, {"a": 1, "b": 9, "c": 3}, 4, cap=8) == {"a": 1, "b": 4, "c": 3}
    assert await rounds(store, {"a": 0, "b": 9, "c": 0}, 4, second=10, cap=8) == {"a": 0, "b": 8, "c": 0}


async def test_accounts_are_shared_independently(store: Any) -> None:
    wants = tuple(
        QuotaRequest(account=name, cap=cap, slots_wanted=9, in_use=0)
        for name, cap in (("erp/x", 2), ("erp/y", 3))
    )
    beaten = await store.apply(Heartbeat(worker="a", until=s.at(15), wants=wants, at=s.T0))
    assert [(grant.account, grant.n) for grant in beaten.grants] == [("erp/x", 2), ("erp/y", 3)]


async def test_more_workers_than_slots_take_turns(store: Any) -> None:
    workers = dict.fromkeys("abcde", 9)
    had: set[str] = set()
    has = dict.fromkeys(workers, 0)
    for second in range(0, 120, 2):
        for worker in workers:
            has[worker] = (await granted(store, worker, 9, has[worker], second, 2)).n
        assert sum(has.values()) <= 2
        had |= {worker for worker, n in has.items() if n}
    assert had == set(workers)


async def test_the_others_are_counted(store: Any) -> None:
    await store.apply(beat("a"))
    await store.apply(beat("b"))
    assert (await store.apply(beat("c"))).others == 2
    assert (await store.apply(beat("c", second=16))).others == 0


# ------------------------------------------------------------------ workers that are gone


async def test_the_share_of_a_dead_worker_goes_to_the_others(store: Any) -> None:
    await store.apply(beat("a"))
    assert (await granted(store, "b", second=14.9)).n == 0
    assert (await granted(store, "b", second=15)).n == 4


async def test_possible_calls_of_a_dead_worker_still_count(store: Any) -> None:
    await store.apply(beat("a"))
    e = await sending(store, "a", 0, s.at(10))
    await sending(store, "a", 1, s.at(10))
    assert (await granted(store, "b", second=15)).n == 2
    await store.apply(s.conclude(e, when=s.at(16)))
    assert (await granted(store, "b", in_use=2, second=17)).n == 3
    past_call_until = 41
    assert (await granted(store, "b", in_use=3, second=past_call_until)).n == 4


async def test_room_left_by_dead_workers_is_shared_fairly(store: Any) -> None:
    await store.apply(beat("a"))
    await sending(store, "a", 0, s.at(10))
    await sending(store, "a", 1, s.at(10))
    assert (await granted(store, "b", second=15)).n == 2
    assert (await granted(store, "c", second=16)).n == 0
    assert (await granted(store, "b", in_use=2, second=17)).n == 1
    await granted(store, "b", in_use=1, second=18)
    assert (await granted(store, "c", second=19)).n == 1


async def test_calls_in_flight_of_other_systems_do_not_count(store: Any) -> None:
    run = await s.born(store)
    e = s.effect(run=run, system="crm")
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e, worker="a"),)))
    assert (await granted(store, "b")).n == 4


async def test_a_worker_that_wakes_late_gets_no_more_than_is_left(store: Any) -> None:
    await store.apply(beat("a"))
    assert (await granted(store, "b", slots_wanted=3, second=20)).n == 3
    late = await granted(store, "a", in_use=4, second=21)
    assert (late.n, late.counted) == (1, 1)


async def test_a_late_worker_whose_calls_were_counted_keeps_them(store: Any) -> None:
    await store.apply(beat("a"))
    for number in range(3):
        await sending(store, "a", number, s.at(10))
    assert (await granted(store, "b", second=16)).n == 1
    late = await granted(store, "a", in_use=3, second=17)
    assert (late.n, late.counted) == (2, 3)
    assert (await granted(store, "b", in_use=1, second=18)).n == 1


async def test_a_heartbeat_older_than_the_last_one_changes_nothing(store: Any) -> None:
    await store.apply(beat("a", second=5))
    before = await store.dump()
    assert (await store.apply(beat("a", 1, 1, second=4))).grants == ()
    assert await store.dump() == before


async def test_heartbeats_go_on_after_a_clock_that_was_ahead_is_put_right(store: Any) -> None:
    await store.apply(beat("a", second=3600))
    assert (await granted(store, "a", in_use=2, second=5)).n == 4
    assert (await granted(store, "a", in_use=2, second=6)).n == 4
    assert (await store.apply(beat("a", second=5.5))).grants == (), "the order of heartbeats counts again"


async def test_a_worker_that_died_while_the_clock_was_ahead_blocks_nothing(store: Any) -> None:
    await store.apply(beat("a", second=3600))
    e = await sending(store, "a")
    assert (await granted(store, "b", second=5)).n == 0, "it may be alive and beat soon"
    assert (await granted(store, "b", second=20)).n == 3, "its call may still be in flight"
    assert [x.id for x in await store.effects_of_gone_workers(s.at(20), 9)] == [e.id]
    assert violations(await store.dump(), s.at(20)) == []


async def test_a_live_worker_keeps_its_slots_while_the_clock_is_put_right(store: Any) -> None:
    await rounds(store, {"a": 9, "b": 9}, 4, second=3600)
    assert (await granted(store, "a", in_use=2, second=5)).n == 2
    assert (await granted(store, "b", in_use=2, second=9)).n == 2
    assert (await granted(store, "a", in_use=2, second=10)).n == 2


async def test_a_cap_changes_after_a_clock_that_was_ahead_is_put_right(store: Any) -> None:
    await store.apply(beat("a", cap=8))
    await store.apply(SetCap(account="erp", expected_cap=8, cap=6, at=s.at(3600)))
    lower = SetCap(account="erp", expected_cap=6, cap=3, quiet=timedelta(seconds=5), at=s.at(5))
    assert (await store.apply(lower)).applied


async def test_a_lease_given_while_the_clock_was_ahead_is_over(store: Any) -> None:
    run = await s.born(store)
    ten = timedelta(seconds=10)

    async def claim(worker: str, second: float) -> list[str]:
        now = s.at(second)
        claimed = await store.apply(Claim(worker=worker, limit=9, lease_until=now + ten, at=now))
        return [run.id for run in claimed]

    assert await claim("a", 3600) == [run]
    assert await claim("b", 3590.1) == [], "another worker may have read the time a little earlier"
    assert await claim("b", 1) == [run]


async def test_a_worker_that_leaves_gives_everything_back(store: Any) -> None:
    await store.apply(beat("a"))
    assert await store.apply(RemoveWorker(worker="a", at=s.T0))
    assert not await store.apply(RemoveWorker(worker="a", at=s.T0))
    assert (await granted(store, "b")).n == 4
    dump = await store.dump()
    assert [worker.id for worker in dump.workers] == ["b"]


async def test_a_restarted_worker_ends_the_quotas_of_its_former_processes(store: Any) -> None:
    await store.apply(beat("office/1"))
    await store.apply(beat("office-2/1", 1, second=1))
    assert (await granted(store, "office/2", second=2)).n == 0
    assert await store.apply(RemoveWorker(worker="office/2", at=s.at(3), lives=True))
    assert not await store.apply(RemoveWorker(worker="office/2", at=s.at(3), lives=True))
    assert (await granted(store, "office/2", second=4)).n >= 3
    assert sorted(worker.id for worker in (await store.dump()).workers) == ["office-2/1", "office/2"]


async def test_workers_dead_for_a_day_are_deleted(store: Any) -> None:
    await store.apply(beat("a"))
    await store.apply(beat("b", second=15 + 86_399))
    assert len((await store.dump()).workers) == 2
    await store.apply(beat("b", second=15 + 86_400))
    assert [worker.id for worker in (await store.dump()).workers] == ["b"]


async def test_calls_of_dead_workers_are_found(store: Any) -> None:
    await store.apply(beat("a"))
    await store.apply(beat("b", second=10))
    e = await sending(store, "a")
    await sending(store, "b", 1)
    never = await sending(store, "never-beat", 2)
    assert [x.id for x in await store.effects_of_gone_workers(s.at(14), 9)] == [never.id]
    found = await store.effects_of_gone_workers(s.at(15), 9)
    assert [x.id for x in found] == sorted([e.id, never.id])
    assert len(await store.effects_of_gone_workers(s.at(15), 1)) == 1
    await store.apply(s.conclude(e, EffectState.UNKNOWN, look_at=s.at(20)))
    assert [x.id for x in await store.effects_of_gone_workers(s.at(15), 9)] == [never.id]


# ------------------------------------------------------------------ caps that change


async def test_a_lowered_cap_applies_as_slots_are_returned(store: Any) -> None:
    has = await rounds(store, {"a": 9, "b": 9}, 4, cap=8)
    assert has == {"a": 4, "b": 4}
    assert await rounds(store, {"a": 9, "b": 9}, 4, second=4, cap=2, has=has) == {"a": 1, "b": 1}
    (account,) = (await store.dump()).accounts
    assert (account.cap, account.aim) == (2, 2)


async def test_while_two_releases_run_the_lower_cap_holds(store: Any) -> None:
    await store.apply(beat("old", slots_wanted=1, cap=8))
    assert (await granted(store, "new", cap=4)).n == 3
    assert (await granted(store, "old", slots_wanted=9, in_use=1, cap=8)).n == 1


async def test_a_throttled_account_has_less_for_all(store: Any) -> None:
    await rounds(store, {"a": 9, "b": 9}, 4, cap=8)
    assert (await store.apply(SetCap(account="erp", expected_cap=8, cap=4, at=s.at(5)))).applied
    told = await granted(store, "a", in_use=4, second=6, cap=8)
    assert (told.n, told.cap) == (2, 4)
    assert await rounds(store, {"a": 9, "b": 9}, 3, second=7, cap=8) == {"a": 2, "b": 2}


async def test_workers_that_learn_the_same_change_the_cap_once(store: Any) -> None:
    await store.apply(beat("a", cap=8))
    first = await store.apply(SetCap(account="erp", expected_cap=8, cap=4, at=s.at(1)))
    second = await store.apply(SetCap(account="erp", expected_cap=8, cap=4, at=s.at(1)))
    assert (first.applied, second.applied, second.cap) == (True, False, 4)


async def test_a_cap_is_not_raised_twice_within_its_quiet_time(store: Any) -> None:
    await store.apply(beat("a", cap=8))
    await store.apply(SetCap(account="erp", expected_cap=8, cap=4, at=s.at(1)))
    rise = {"account": "erp", "quiet": timedelta(seconds=5)}
    assert not (await store.apply(SetCap(expected_cap=4, cap=5, at=s.at(5.9), **rise))).applied
    assert (await store.apply(SetCap(expected_cap=4, cap=5, at=s.at(6), **rise))).cap == 5
    assert (await granted(store, "a", in_use=4, second=7, cap=8)).cap == 5


async def test_a_cap_in_use_stays_between_one_and_the_configured_one(store: Any) -> None:
    await store.apply(beat("a", cap=4))
    assert (await store.apply(SetCap(account="erp", expected_cap=4, cap=0, at=s.at(1)))).cap == 1
    assert (await store.apply(SetCap(account="erp", expected_cap=1, cap=9, at=s.at(2)))).cap == 4
    assert not (await store.apply(SetCap(account="crm", expected_cap=4, cap=1, at=s.at(1)))).applied


# ------------------------------------------------------------------ all at once


class Peer:
    """A worker that behaves: it never has more in flight than it was told, and falls asleep at times."""

    def __init__(self, name: str, store: Any, pick: random.Random) -> None:
        self.name, self.store, self.pick = name, store, pick
        self.slots = self.in_flight = 0

    async def live(self, second: float, cap: int) -> None:
        if self.pick.random() < 0.2:
            return
        self.in_flight = self.pick.randint(0, max(self.slots, self.in_flight))
        wanted = self.pick.choice((0, 1, self.in_flight, 9))
        held = max(self.slots, self.in_flight)
        beaten = await self.store.apply(beat(self.name, wanted, held, second, cap))
        for grant in beaten.grants:
            self.slots = grant.n


@pytest.mark.parametrize("seed", range(4))
async def test_quotas_of_many_workers_beating_at_once_never_exceed_the_cap(two: Any, seed: int) -> None:
    pick = random.Random(seed)
    peers = [Peer(f"w{n}", two[n % 2], pick) for n in range(12)]
    cap = 5
    for number in range(15):
        second = number * 3.0
        await asyncio.gather(*(peer.live(second, cap) for peer in peers))
        dump = await two[0].dump()
        assert sum(q.n for q in dump.quotas if q.until > s.at(second)) <= cap, number
        assert violations(dump, s.at(second)) == []
    assert len(dump.quotas) > 2


async def test_first_beats_on_a_new_account_at_once_share_it(two: Any) -> None:
    for number in range(20):
        name = f"erp/{number}"
        beats = [beat(f"w{n}", account=name) for n in range(6)]
        beaten = await asyncio.gather(*(two[n % 2].apply(b) for n, b in enumerate(beats)))
        assert sum(b.grants[0].counted for b in beaten) == 4


async def test_workers_that_leave_and_arrive_at_once_never_deadlock(two: Any) -> None:
    wants = tuple(QuotaRequest(account=f"erp/{n}", cap=2, slots_wanted=2, in_use=0) for n in range(5))
    for number in range(20):
        work = []
        for n in range(4):
            b = Heartbeat(
                worker=f"w{n}",
                until=s.at(number + 15),
                wants=wants[::-1] if n % 2 else wants,
                at=s.at(number),
            )
            work.append(two[n % 2].apply(b))
            work.append(two[(n + 1) % 2].apply(RemoveWorker(worker=f"w{(n + number) % 4}", at=s.at(number))))
        await asyncio.gather(*work)
        assert violations(await two[0].dump(), s.at(number)) == []
