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
from msgspec.structs import replace

from counterfoil.core.document import Within
from counterfoil.core.effect import EffectState
from counterfoil.core.matching import FoilState
from counterfoil.core.run import RunStatus
from counterfoil.store.check import check
from counterfoil.store.port.documents import RebuildDocuments
from counterfoil.store.port.intake import ReceiveResult
from counterfoil.store.port.maintenance import Seal
from counterfoil.store.port.records import TopicPost
from counterfoil.store.port.turns import Claim, Reserve, WaitOn
from counterfoil.store.port.wake import WakeKind
from tests.contract.store import samples as s
from tests.patience import PATIENCE_SECONDS

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


# ------------------------------------------------------------------ documents that move between matches


async def settled_right(store: Any) -> None:
    """Every state is what matching says of the documents, and nothing is lost."""
    found = await check(store, s.at(1))
    assert [v for v in found if v[:2] in ("6:", "7:")] == []


async def shown(store: Any, name: str, *items: Any) -> None:
    received = await store.apply(s.receive(s.receipt(name)))
    rows = tuple(replace(o, event=name) for o in items)
    await store.apply(s.admit(received.numbers[0], events=(s.event(name, name),), observations=rows))


async def owed(store: Any, name: str, *foils: Any) -> None:
    received = await store.apply(s.receive(s.receipt(name)))
    rows = tuple(replace(f, cause=name) for f in foils)
    await store.apply(s.admit(received.numbers[0], events=(s.event(name, name),), foils=rows))


async def test_an_observation_that_moves_away_and_its_foil_at_once(two: Two) -> None:
    """The foil of the former match comes while the observation leaves for another one."""
    a, b = two
    for i in range(TIMES):
        await shown(a, f"first{i}", s.observation(f"obs_{i}", f"cm-{i}"))
        await owed(a, f"there{i}", s.foil(f"there_{i}", f"to-{i}"))
        await at_once(
            shown(a, f"moves{i}", s.observation(f"obs_{i}", f"to-{i}", version=2)),
            owed(b, f"owed{i}", s.foil(f"foil_{i}", f"cm-{i}")),
        )
    states = Counter((f.id.partition("_")[0], f.state) for f in (await a.dump()).foils)
    assert states == {("there", FoilState.MATCHED): TIMES, ("foil", FoilState.OPEN): TIMES}
    await settled_right(a)


@pytest.mark.parametrize("stores", [1, 2])
async def test_a_document_moved_twice_while_its_foils_come(two: Two, stores: int) -> None:
    """Whoever read the former key must not settle that match alone; in one store they share transactions."""
    a, b = two[0], two[stores - 1]
    for i in range(TIMES):
        await shown(a, f"first{i}", s.observation(f"obs_{i}", f"k1-{i}"))
        await at_once(
            shown(a, f"second{i}", s.observation(f"obs_{i}", f"k2-{i}", version=2)),
            shown(b, f"third{i}", s.observation(f"obs_{i}", f"k3-{i}", version=3)),
            *(owed((a, b)[n % 2], f"owed{i}-{n}", s.foil(f"foil_{i}_{n}", f"k{n}-{i}")) for n in (1, 2, 3)),
        )
    dump = await a.dump()
    assert {o.version for o in dump.observations} == {3}
    states = Counter((f.id[-1], f.state) for f in dump.foils)
    assert states == {
        ("1", FoilState.OPEN): TIMES,
        ("2", FoilState.OPEN): TIMES,
        ("3", FoilState.MATCHED): TIMES,
    }
    assert Counter(v.known_to is None for v in dump.versions if v.side == "right")[True] == TIMES
    await settled_right(a)


async def test_documents_moved_in_one_batch_leave_no_state_behind(two: Two) -> None:
    """The match that a document leaves is not among the keys of its transition."""
    a, _ = two
    await at_once(*(shown(a, f"first{i}", s.observation(f"obs_{i}", f"cm-{i}")) for i in range(TIMES)))
    moves = [shown(a, f"moves{i}", s.observation(f"obs_{i}", f"to-{i}", version=2)) for i in range(TIMES)]
    foils = [owed(a, f"owed{i}", s.foil(f"foil_{i}", f"cm-{i}")) for i in range(TIMES)]
    await at_once(*(work for both in zip(moves, foils, strict=True) for work in both))
    assert {f.state for f in (await a.dump()).foils} == {FoilState.OPEN}
    await settled_right(a)


async def test_a_pair_and_an_observation_of_its_match_at_once(two: Two) -> None:
    """A person pairs across keys while both matches get another document."""
    a, b = two
    for i in range(TIMES):
        await owed(a, f"owed{i}", s.foil(f"foil_{i}", f"cm-{i}"))
        await shown(a, f"shown{i}", s.observation(f"obs_{i}", f"to-{i}"))
        decision = s.pair(await a.foil(f"foil_{i}"), await a.observation(f"obs_{i}"))
        _, verdict, _ = await at_once(
            shown(a, f"more{i}", s.observation(f"more_{i}", f"cm-{i}")),
            b.apply(s.decide(decision, f"apr_{i}")),
            owed(a, f"there{i}", s.foil(f"there_{i}", f"to-{i}")),
        )
        assert verdict in ("done", "changed"), verdict
    await settled_right(a)


async def test_a_pair_and_another_version_of_its_observation_at_once(two: Two) -> None:
    """Either the person saw the former version and the pair ends with a Case, or the pair is refused."""
    a, b = two
    for i in range(TIMES):
        await owed(a, f"owed{i}", s.foil(f"foil_{i}", f"cm-{i}"))
        await shown(a, f"shown{i}", s.observation(f"obs_{i}", f"to-{i}"))
        decision = s.pair(await a.foil(f"foil_{i}"), await a.observation(f"obs_{i}"))
        verdict, _ = await at_once(
            b.apply(s.decide(decision, f"apr_{i}")),
            shown(a, f"other{i}", s.observation(f"obs_{i}", f"at-{i}", 9000, version=2)),
        )
        dump = await a.dump()
        item = next(o for o in dump.observations if o.id == f"obs_{i}")
        assert (item.key, item.own_key, item.state) == (f"at-{i}", "", "unmatched")
        ended = [p for p in dump.pairings if p.foil == f"foil_{i}" and p.ended_at is not None]
        assert len(ended) == (1 if verdict == "done" else 0)
    await settled_right(a)


async def test_a_waiver_and_an_observation_at_once(two: Two) -> None:
    a, b = two
    for i in range(TIMES):
        await owed(a, f"owed{i}", s.foil(f"foil_{i}", f"cm-{i}"))
        decision = s.waive(await a.foil(f"foil_{i}"))
        verdict, _ = await at_once(
            b.apply(s.decide(decision, f"apr_{i}")),
            shown(a, f"shown{i}", s.observation(f"obs_{i}", f"cm-{i}")),
        )
        assert verdict in ("done", "changed")
        assert (await a.foil(f"foil_{i}")).state is FoilState.MATCHED
    await settled_right(a)


async def test_a_pair_ends_while_its_own_match_gets_a_foil(two: Two) -> None:
    """The observation goes back to a match that the foil's version does not name."""
    a, b = two
    for i in range(TIMES):
        await owed(a, f"owed{i}", s.foil(f"foil_{i}", f"cm-{i}"))
        await shown(a, f"shown{i}", s.observation(f"obs_{i}", f"to-{i}"))
        decision = s.pair(await a.foil(f"foil_{i}"), await a.observation(f"obs_{i}"))
        assert await a.apply(s.decide(decision, f"apr_{i}")) == "done"
        await at_once(
            owed(a, f"other{i}", s.foil(f"foil_{i}", f"cm-{i}", 9000, version=1)),
            owed(b, f"there{i}", s.foil(f"there_{i}", f"to-{i}")),
        )
    states = Counter((f.id.partition("_")[0], f.state) for f in (await a.dump()).foils)
    assert states == {("there", FoilState.MATCHED): TIMES, ("foil", FoilState.OPEN): TIMES}
    await settled_right(a)


async def test_a_rebuild_and_an_observation_at_once(two: Two) -> None:
    a, b = two
    for i in range(TIMES):
        await owed(a, f"owed{i}", s.foil(f"foil_{i}", f"cm-{i}"))
        new = s.foil(f"new_{i}", f"to-{i}", document=f"invoice:{i}", version=1, cause=f"owed{i}")
        await at_once(
            a.apply(RebuildDocuments(foils=(new,), at=s.T0)),
            shown(b, f"shown{i}", s.observation(f"obs_{i}", f"to-{i}")),
            shown(b, f"stays{i}", s.observation(f"stays_{i}", f"cm-{i}")),
        )
    dump = await a.dump()
    assert Counter((f.document.partition(":")[0], f.state) for f in dump.foils) == {
        ("invoice", FoilState.MATCHED): TIMES
    }
    await settled_right(a)


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
    await asyncio.wait_for(two[0].wait_for_wake(WakeKind.ADMIT, 10 * PATIENCE_SECONDS), PATIENCE_SECONDS)


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


async def test_documents_that_use_up_one_total_at_once_never_miss_each_other(two: Two) -> None:
    """A total and two documents that use it up, each of which fits alone, settle on its locked match row."""
    a, b = two
    numbers = await delivered(a, 3 * TIMES)
    for i in range(TIMES):
        parts = [s.foil(f"credit{i}", key=f"cm{i}", minor=4000, version=1)]
        for name in ("x", "y"):
            cap = (Within("credits", f"cm{i}"),)
            parts.append(
                s.foil(f"{name}{i}", key=f"{name}{i}", minor=2500, version=1, rule="use", within=cap)
            )
        await at_once(
            *(
                store.apply(
                    s.admit(numbers[3 * i + n], events=(s.event(f"e{i}{n}", f"k{i}{n}"),), foils=(part,))
                )
                for n, (store, part) in enumerate(
                    zip((a, b, a), (replace(f, cause=f"e{i}{n}") for n, f in enumerate(parts)), strict=True)
                )
            )
        )
        credit = await a.foil(f"credit{i}")
        assert (credit.state, credit.reason[:4]) == (FoilState.BROKEN, "cap:"), i


async def test_documents_that_exchange_their_totals_at_once_do_not_wait_for_each_other(two: Two) -> None:
    a, b = two
    numbers = await delivered(a, 2 * TIMES + 2)
    totals = tuple(s.foil(f"c{n}", key=f"cm{n}", minor=4000, version=1, cause="e") for n in (0, 1))
    await a.apply(s.admit(numbers[-1], events=(s.event("e", "e"),), foils=totals))

    def use(n: int, i: int) -> Any:
        cap, name = (Within("credits", f"cm{(n + i) % 2}"),), f"u{i}{n}"
        row = s.foil(f"u{n}", key=f"u{n}", minor=4001, version=i, rule="use", within=cap, cause=name)
        return s.admit(numbers[2 * i + n], events=(s.event(name, name),), foils=(row,))

    for i in range(TIMES):
        await at_once(a.apply(use(0, i)), b.apply(use(1, i)))
        assert {(await a.foil(f"c{n}")).state for n in (0, 1)} == {FoilState.BROKEN}, i
