"""A clock that jumps expires nothing in that round, and somebody hears of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from counterfoil.core.clock import JumpDetector, utc_now
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from tests.contract.store import samples as s


async def test_a_jump_of_the_clock_is_a_case_of_its_own() -> None:
    roles = [{"kind": "role", "name": "finance"}]
    systems = [
        {"kind": "system", "name": "shop", "role": "billing", "connector": "external", "owner": "finance"}
    ]
    store = MemoryStore()
    worker = Worker(store, Releases(store, Model.from_documents([*roles, *systems])), {}, "w/1")
    assert await worker.watch_once() == 0
    assert not (await store.dump()).cases
    store.clock = lambda: utc_now() - timedelta(hours=1)
    await worker.watch_once()
    await worker.watch_once()
    (case,) = (await store.dump()).cases
    assert (case.reason, case.owner) == ("clock_jumped", "finance")


async def test_a_call_planned_while_the_clock_was_ahead_is_sent_once_it_is_right() -> None:
    store = MemoryStore()
    run = await s.born(store)
    await store.apply(s.turn(run, plan=(s.effect(run=run),)))
    worker = Worker(store, Releases(store, Model.from_documents([])), {}, "w/1")
    store.clock = lambda: s.at(1)
    assert await worker.send_once() == 0, "its own task sends it"
    store.clock = lambda: s.at(-3600)
    assert await worker.send_once() == 1


def test_after_a_jump_no_span_has_surely_passed_until_the_longest_one_has() -> None:
    here = [100.0]
    steady = JumpDetector(settle=60.0, here=lambda: here[0])
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    assert steady.is_reliable(now)
    here[0] += 10
    assert steady.is_reliable(now + timedelta(seconds=10))
    assert not steady.is_reliable(now + timedelta(seconds=710))
    assert steady.take_jump(now + timedelta(seconds=710)) == 700.0
    assert steady.take_jump(now + timedelta(seconds=710)) is None
    here[0] += 59
    assert not steady.is_reliable(now + timedelta(seconds=769))
    here[0] += 1
    assert steady.is_reliable(now + timedelta(seconds=770))
