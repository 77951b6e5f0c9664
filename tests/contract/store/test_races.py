"""The races of the protocol, run for real: two stores on one PostgreSQL, both sides at once, many times.

Each test would fail within its repetitions when the lock or index that closes its race is taken away.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from counterfoil.core.effect import EffectState
from counterfoil.core.foil import FoilState
from counterfoil.core.run import RunStatus
from counterfoil.store.port.intake import ReceiveResult
from counterfoil.store.port.maintenance import Seal
from counterfoil.store.port.records import TopicPost
from counterfoil.store.port.turns import Claim, Reserve, WaitOn
from counterfoil.store.port.wake import WakeKind
from tests.contract.store import samples as s

Two = tuple[Any, Any]
TIMES = 25


async def at_once(*work: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*work))


async def delivered(store: Any, count: int) -> list[int]:
    received = await store.apply(s.receive(*(s.receipt(f"d{i}") for i in range(count))))
    return list(received.numbers)


async def test_a_post_and_a_wait_at_once_never_miss_each_other(two: Two) -> None:
    a, b = two
    numbers = await delivered(a, TIMES)
    for i, no in enumerate(numbers):
        run = await s.born(a, f"run{i}")
        post = TopicPost(event=f"evt_{i}", topics=(f"topic{i}",), body=b"{}")
        await at_once(
            a.apply(s.turn(run, waits=(WaitOn(topic=f"topic{i}"),))),
            b.apply(s.admit(no, events=(s.event(f"evt_{i}", f"x{i}"),), posts=(post,))),
        )
        loaded = await a.load(run)
        assert [item.ref for item in loaded.inbox] == [f"evt_{i}"], i
        assert loaded.run.due is not None


async def test_a_parked_todo_and_its_topic_never_miss_each_other(two: Two) -> None:
    a, b = two
    numbers = await delivered(a, 2 * TIMES)
    for i in range(TIMES):
        link = s.link(f"cust-{i}", f"ext-{i}")
        waits, brings = numbers[2 * i], numbers[2 * i + 1]
        await at_once(
            a.apply(s.admit(waits, park=True, wake_topic=link.topics[1])),
            b.apply(s.admit(brings, links=(link,))),
        )
    assert len(await a.todos(1000)) == TIMES


async def test_both_halves_at_once_always_match(two: Two) -> None:
    a, b = two
    numbers = await delivered(a, 2 * TIMES)
    for i in range(TIMES):
        left, right = f"evt_l{i}", f"evt_r{i}"
        foil = s.foil(f"foil_{i}", f"cm-{i}", cause=left)
        seen = s.observation(f"obs_{i}", f"cm-{i}", event=right)
        await at_once(
            a.apply(s.admit(numbers[2 * i], events=(s.event(left, left),), foils=(foil,))),
            b.apply(s.admit(numbers[2 * i + 1], events=(s.event(right, right),), observations=(seen,))),
        )
    states = Counter(f.state for f in (await a.dump()).foils)
    assert states == {FoilState.MATCHED: TIMES}


async def test_a_confirmation_and_the_other_half_at_once_match(two: Two) -> None:
    a, b = two
    numbers = await delivered(a, TIMES)
    for i, no in enumerate(numbers):
        run = await s.born(a, f"run{i}")
        e = s.effect(run=run)
        owed = s.foil(f"foil_{i}", f"cm-{i}", run=run, effect=e.id, state=FoilState.PROVISIONAL)
        await a.apply(s.turn(run, plan=(e,), send=(s.send(e),), foils=(owed,)))
        seen = s.observation(f"obs_{i}", f"cm-{i}", event=f"evt_{i}")
        await at_once(
            a.apply(s.conclude(e)),
            b.apply(s.admit(no, events=(s.event(f"evt_{i}", f"x{i}"),), observations=(seen,))),
        )
        loaded = await a.load(run)
        assert loaded.foils[0].state is FoilState.MATCHED
        assert sorted(item.kind for item in loaded.inbox) == ["foil", "outcome"]
        assert [item.seq for item in loaded.inbox] == [2, 3]


async def test_one_turn_of_two_wins_and_the_zombie_writes_nothing(two: Two) -> None:
    a, b = two
    for i in range(TIMES):
        run = await s.born(a, f"run{i}")
        answers = await at_once(
            a.apply(s.turn(run, plan=(s.effect("a", run),))), b.apply(s.turn(run, plan=(s.effect("b", run),)))
        )
        assert sorted(x.verdict for x in answers) == ["done", "stale"]
        loaded = await a.load(run)
        assert (loaded.run.version, len(loaded.effects)) == (1, 1)


async def test_an_outcome_recorded_twice_at_once_counts_once(two: Two) -> None:
    a, b = two
    for i in range(TIMES):
        run = await s.born(a, f"run{i}")
        e = s.effect(run=run)
        await a.apply(s.turn(run, plan=(e,), send=(s.send(e),)))
        answers = await at_once(a.apply(s.conclude(e)), b.apply(s.conclude(e, EffectState.REFUSED)))
        assert Counter(x.verdict for x in answers)["won"] >= 1
        loaded = await a.load(run)
        won = [item.ref for item in loaded.inbox if item.kind == "outcome"]
        # A refusal may be told first and be overtaken by the confirmation; never the other way round.
        assert won in ([f"{e.id}:1:confirmed"], [f"{e.id}:1:refused", f"{e.id}:1:confirmed"])
        assert loaded.effects[0].state is EffectState.CONFIRMED


async def test_an_intent_and_a_drop_at_once_agree(two: Two) -> None:
    a, b = two
    for i in range(TIMES):
        run = await s.born(a, f"run{i}")
        e = s.effect(run=run)
        await a.apply(s.turn(run, plan=(e,)))
        intended, turned = await at_once(a.apply(s.intent(e)), b.apply(s.turn(run, 1, drop=(e.id,))))
        assert turned.verdict == "done"
        state = (await a.effect(e.id)).state
        assert state is {"sending": EffectState.SENDING, "lost": EffectState.DROPPED}[intended.verdict]


async def test_a_delivery_by_two_doors_at_once_is_one(two: Two) -> None:
    a, b = two
    for i in range(TIMES):
        answers = await at_once(*(x.apply(s.receive(s.receipt(f"r{i}"))) for x in (a, b, a, b)))
        assert Counter(x.verdicts[0] for x in answers) == {"new": 1, "same": 3}
        assert len({x.numbers for x in answers}) == 1


async def test_a_todo_admitted_twice_at_once_has_its_consequences_once(two: Two) -> None:
    a, b = two
    for i, no in enumerate(await delivered(a, TIMES)):
        e = s.event(f"evt_{i}", f"k{i}")
        admission = s.admit(no, events=(e,), heads=(s.head(e),), starts=(s.start(f"k{i}", e.id),))
        answers = await at_once(a.apply(admission), b.apply(admission))
        assert sorted(x.applied for x in answers) == [False, True]
    dump = await a.dump()
    assert len(dump.runs) == len(dump.inbox) == len(dump.history) == TIMES


async def test_the_same_fact_by_two_deliveries_at_once_starts_one_run(two: Two) -> None:
    a, b = two
    numbers = await delivered(a, 2 * TIMES)
    for i in range(TIMES):
        e = s.event(f"evt_{i}", f"k{i}")
        parts = {"events": (e,), "heads": (s.head(e),), "starts": (s.start(f"k{i}", e.id),)}
        await at_once(
            a.apply(s.admit(numbers[2 * i], **parts)), b.apply(s.admit(numbers[2 * i + 1], **parts))
        )
    dump = await a.dump()
    assert len(dump.runs) == len(dump.inbox) == len(dump.heads) == len(dump.history) == TIMES


async def test_two_versions_at_once_leave_the_newer_head(two: Two) -> None:
    a, b = two
    numbers = await delivered(a, 2 * TIMES)
    for i in range(TIMES):
        old, new = s.event(f"evt_o{i}", f"k{i}", 1), s.event(f"evt_n{i}", f"k{i}", 2)
        await at_once(
            a.apply(s.admit(numbers[2 * i], events=(new,), heads=(s.head(new, {"v": 2}),))),
            b.apply(s.admit(numbers[2 * i + 1], events=(old,), heads=(s.head(old, {"v": 1}),))),
        )
        assert (await a.head("invoice", f"k{i}")).state == {"v": 2}


async def test_a_vote_given_twice_at_once_counts_once(two: Two) -> None:
    a, b = two
    await a.apply(s.put_person(s.person("ann")))
    for i in range(TIMES):
        run = await s.born(a, f"run{i}")
        await a.apply(s.turn(run, approvals=(s.approval(f"apr_{i}", run, quorum=2),)))
        answers = await at_once(a.apply(s.vote(f"apr_{i}")), b.apply(s.vote(f"apr_{i}")))
        assert sorted(x.verdict for x in answers) == ["counted", "voted"]


async def test_two_votes_at_once_make_the_quorum(two: Two) -> None:
    a, b = two
    for who in ("ann", "bob"):
        await a.apply(s.put_person(s.person(who)))
    for i in range(TIMES):
        run = await s.born(a, f"run{i}")
        await a.apply(s.turn(run, approvals=(s.approval(f"apr_{i}", run, quorum=2),)))
        answers = await at_once(a.apply(s.vote(f"apr_{i}", "ann")), b.apply(s.vote(f"apr_{i}", "bob")))
        assert sorted(x.verdict for x in answers) == ["counted", "granted"]


async def test_a_limit_holds_under_twenty_turns_at_once(two: Two) -> None:
    runs = [await s.born(two[0], f"run{i}") for i in range(20)]
    want = Reserve(scope="credits", key="acme", path="p", amount=30, limit=100)
    turns = [two[i % 2].apply(s.turn(run, reserve=(want,))) for i, run in enumerate(runs)]
    answers = await at_once(*turns)
    assert Counter(x.verdict for x in answers) == {"done": 3, "limited": 17}
    dump = await two[0].dump()
    assert (dump.guards[0].used, len(dump.reservations)) == (90, 3)


async def test_guards_taken_in_opposite_order_do_not_deadlock(two: Two) -> None:
    def want(*keys: str) -> tuple[Reserve, ...]:
        return tuple(Reserve(scope="g", key=k, path="p", amount=1, limit=None) for k in keys)

    for i in range(TIMES):
        first, second = [await s.born(two[0], f"run{i}{x}") for x in "ab"]
        answers = await at_once(
            two[0].apply(s.turn(first, reserve=want("x", "y"))),
            two[1].apply(s.turn(second, reserve=want("y", "x"))),
        )
        assert [x.verdict for x in answers] == ["done", "done"]
    assert await two[0].guard_used("g", "x") == 2 * TIMES


async def test_a_serial_released_while_another_queues_is_never_forgotten(two: Two) -> None:
    a, b = two
    for i in range(TIMES):
        holder, waiter = [await s.born(a, f"run{i}{x}") for x in "ab"]
        await a.apply(s.turn(holder, hold=(f"acct{i}",)))
        released, asked = await at_once(
            a.apply(s.turn(holder, 1, unhold=(f"acct{i}",), when=s.at(5))),
            b.apply(s.turn(waiter, hold=(f"acct{i}",), when=s.at(5))),
        )
        run = await s.run_of(a, waiter)
        if asked.verdict == "held":
            assert released.woken == (waiter,)
            assert run.due == s.at(5)
        else:
            assert (f"acct{i}", waiter) in (await a.dump()).holds


async def test_a_serial_requested_by_two_at_once_has_one_holder(two: Two) -> None:
    a, b = two
    for i in range(TIMES):
        first, second = [await s.born(a, f"run{i}{x}") for x in "ab"]
        answers = await at_once(
            a.apply(s.turn(first, hold=(f"x{i}", f"y{i}"))), b.apply(s.turn(second, hold=(f"y{i}", f"x{i}")))
        )
        assert sorted(x.verdict for x in answers) == ["done", "held"]
    dump = await a.dump()
    assert len(dump.holds) == 2 * TIMES
    assert all(count == 2 for count in Counter(run for _, run in dump.holds).values())


async def test_a_queue_of_runs_goes_through_one_at_a_time_in_order_of_arrival(two: Two) -> None:
    runs = [await s.born(two[0], f"run{i}") for i in range(6)]
    await two[0].apply(s.turn(runs[0], hold=("acct",)))
    await at_once(*(two[i % 2].apply(s.turn(run, hold=("acct",))) for i, run in enumerate(runs[1:])))
    order, holder = [runs[0]], runs[0]
    while True:
        done = await two[0].apply(s.turn(holder, 1, status=RunStatus.DONE, unhold=("acct",)))
        if not done.woken:
            break
        (holder,) = done.woken
        order.append(holder)
        assert (await two[1].apply(s.turn(holder, hold=("acct",)))).verdict == "done"
    assert order == runs


async def test_runs_are_claimed_by_one_worker_each(two: Two) -> None:
    runs = {await s.born(two[0], f"run{i}") for i in range(30)}
    lease = s.T0 + timedelta(seconds=10)
    claims = [
        Claim(worker=f"w{i}", limit=7, lease_until=lease, at=s.T0 + timedelta(seconds=1)) for i in range(8)
    ]
    answers = await at_once(*(two[i % 2].apply(claim) for i, claim in enumerate(claims)))
    claimed = [run.id for answer in answers for run in answer]
    assert len(claimed) == len(set(claimed))
    rest = await two[0].apply(Claim(worker="z", limit=99, lease_until=lease, at=s.at(1)))
    assert {*claimed, *(run.id for run in rest)} == runs


async def test_leaves_sealed_by_two_at_once_make_one_tree(two: Two) -> None:
    writing = [two[i % 2].apply(s.receive(s.receipt(f"r{i}"))) for i in range(40)]
    sealing = [two[i % 2].apply(Seal(at=s.T0, limit=5)) for i in range(10)]
    await at_once(*writing, *sealing)
    sealed = await two[0].apply(Seal(at=s.T0))
    leaves = await two[0].leaves(0, 100)
    assert [index for index, _ in leaves] == list(range(40))
    assert sealed.size == 40
    assert len({leaf.id for _, leaf in leaves}) == 40


async def test_a_commit_of_one_process_wakes_the_other(two: Two) -> None:
    waiting = asyncio.create_task(two[1].wait_for_wake(WakeKind.ADMIT, 100))
    for i in range(100):  # the first ones may come before the other one listens
        await two[0].apply(s.receive(s.receipt(f"r{i}")))
        await asyncio.wait([waiting], timeout=0.2)
        if waiting.done():
            break
    assert waiting.done()


async def test_a_claim_wakes_no_worker(two: Two) -> None:
    lease = s.T0 + timedelta(seconds=10)
    await two[0].apply(Claim(worker="a", limit=1, lease_until=lease, at=s.T0))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await two[0].wait_for_wake(WakeKind.TURN, 0.2)
    assert loop.time() - began >= 0.19
    await two[0].apply(s.receive(s.receipt()))
    await asyncio.wait_for(two[0].wait_for_wake(WakeKind.ADMIT, 100), 50)


# ------------------------------------------------------------------ one process, one batch


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_poisoned_transition_fails_alone(places: s.Places, kind: str) -> None:
    store = await places(kind)
    run = await s.born(store)
    e = s.effect(run=run)
    await store.apply(s.turn(run, plan=(e,), send=(s.send(e),)))
    asked = [store.apply(s.receive(s.receipt(f"r{i}"))) for i in range(20)]
    asked.insert(10, store.apply(s.turn(run, 1, plan=(e,))))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(x).__name__ for x in answers if not isinstance(x, ReceiveResult)] == ["ValueError"]
    assert len([x for x in answers if isinstance(x, ReceiveResult)]) == 20
    assert (await store.counts())["receipt"] == 21
    assert (await s.run_of(store, run)).version == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_closing_answers_everything_in_the_queue(places: s.Places, kind: str) -> None:
    store = await places(kind)
    asked = [asyncio.create_task(store.apply(s.receive(s.receipt(f"r{i}")))) for i in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert {answer.verdicts for answer in await asyncio.gather(*asked)} == {("new",)}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_cancelled_caller_does_not_affect_others(places: s.Places, kind: str) -> None:
    store = await places(kind)
    asked = [asyncio.create_task(store.apply(s.receive(s.receipt(f"r{i}")))) for i in range(30)]
    await asyncio.sleep(0)
    for task in asked[::3]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    kept = [x for x in answers if isinstance(x, ReceiveResult)]
    assert len(kept) == 20
    assert (await store.apply(s.receive(s.receipt("after")))).verdicts == ("new",)
