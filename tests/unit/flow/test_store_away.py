"""A store that is away for a while stops nothing for good, and is not blamed on anybody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ruamel.yaml import YAML

from counterfoil.core.effect import EffectState
from counterfoil.core.errors import TryAgain
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_events
from counterfoil.flow.runs import outcomes
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.effects import Conclude
from counterfoil.store.port.turns import ConcludeAndTurn, Turn
from tests.companies.external import COMPANY
from tests.unit.flow.test_external import NOW, Clock, event, settle


class Away:
    """A store that passes everything on, except while it is away."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.away = False
        self.refuse: dict[type, int] = {}
        """How often each kind of transition is still refused."""
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **named: Any) -> Any:
            kind = type(args[0]) if args else None
            if kind is not None and name == "apply" and self.refuse.get(kind, 0) > 0:
                self.refuse[kind] -= 1
                self.refused += 1
                raise TryAgain("away", after=0.001)
            if self.away:
                self.refused += 1
                raise TryAgain("away", after=0.001)
            return await getattr(self._store, name)(*args, **named)

        return call


@pytest.fixture
async def company() -> tuple[Away, Worker]:
    store = Away(MemoryStore(Clock()))
    releases = Releases(store, Model.from_documents(list(YAML(typ="safe").load_all(COMPANY))))  # type: ignore[arg-type]
    await releases.publish(NOW, "test")
    return store, Worker(store, releases, {}, "w/1")  # type: ignore[arg-type]


async def reached(look: Any) -> None:
    for _ in range(2000):
        if look():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("not reached")


async def test_a_worker_begins_when_the_store_has_come_back(company: tuple[Away, Worker]) -> None:
    store, worker = company
    store.away = True
    running = asyncio.create_task(worker.run())
    await reached(lambda: store.refused >= 3)
    store.away = False
    await receive_events(store, worker.releases.present, [event("shop", "sale.closed.v1", "e1")], NOW)  # type: ignore[arg-type]
    for _ in range(2000):
        if (await store.dump()).runs:
            break
        await asyncio.sleep(0.002)
    assert (await store.dump()).runs
    assert not running.done()
    worker.stop()
    await running


async def test_a_feed_goes_on_after_the_store_was_away_and_nobody_is_blamed(
    company: tuple[Away, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, worker = company
    store.away = True
    monkeypatch.setattr(worker.feeds, "_interval", lambda system, feed: 0.0001)
    polling = asyncio.create_task(worker.feeds.run("shop", "sales"))
    await reached(lambda: store.refused >= 40 or polling.done())
    assert not polling.done(), polling.exception()
    assert worker.feeds.states["shop", "sales"].failures == 0
    store.away = False
    await asyncio.sleep(0.01)
    assert not (await store.dump()).cases
    worker.stop()
    await polling


async def test_an_outcome_is_kept_until_the_store_takes_it(
    company: tuple[Away, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the turn that rests on it can be committed, nor, for a while, the outcome alone."""
    monkeypatch.setattr(outcomes, "RECORD_RETRY_SECONDS", (0.001,) * 5)
    store, worker = company
    await receive_events(store, worker.releases.present, [event("shop", "sale.closed.v1", "e1")], NOW)  # type: ignore[arg-type]
    store.refuse = {ConcludeAndTurn: 1, Conclude: 3}
    await settle(worker)
    (effect,) = (await store.dump()).effects
    assert store.refused == 4
    assert (effect.state, effect.attempt) == (EffectState.ACCEPTED, 1)


async def test_a_run_does_not_wait_for_its_lease_to_end_when_the_store_is_back(
    company: tuple[Away, Worker],
) -> None:
    store, worker = company
    await receive_events(store, worker.releases.present, [event("shop", "sale.closed.v1", "e1")], NOW)  # type: ignore[arg-type]
    store.refuse = {Turn: 3}
    await settle(worker)  # the company's clock stands still
    assert store.refused == 3
    assert [effect.state for effect in (await store.dump()).effects] == [EffectState.ACCEPTED]
