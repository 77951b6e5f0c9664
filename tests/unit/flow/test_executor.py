"""A worker that goes on with a Run without reading it decides on what the rows say, no less and nothing else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from counterfoil.core.run import RunStatus
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_events
from counterfoil.flow.runs import snapshot
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.base import edited
from tests.companies.external import COMPANY
from tests.unit.flow.test_external import event, settle

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BY_EVENT = edited(
    COMPANY,
    (
        "foil: {operation: bus.sale.post, key: input.sale_id, legs: {gross: input.amount}}",
        "foil: {event: sale.closed.v1, key: event.data.sale_id, legs: {gross: event.data.amount}}",
    ),
    (
        """  - {approve: any-sale, amount: event.data.amount, covers: [event.data.amount, event.data.sale_id]}
  - {id: post, call: bus.sale.post, with: {sale_id: =event.data.sale_id, amount: =event.data.amount}, becomes: posted}
""",
        "",
    ),
)


class Watched(MemoryStore):
    """A store that holds each decision of a carried Run against the rows."""

    decided = 0

    def same(self, carried: RunSnapshot, rows: RunSnapshot) -> None:
        self.decided += 1
        place = {"arrival": rows.run.arrival}
        run = msgspec.structs.replace(carried.run, **place)
        assert msgspec.structs.replace(carried, run=run, state=None) == rows


async def played(text: str) -> Watched:
    """One sale is closed, and everything happens that can."""
    model = Model.from_documents(list(YAML(typ="safe").load_all(text)))
    store = Watched(lambda: NOW)
    await receive_events(store, model, [event("shop", "sale.closed.v1", "e1")], NOW)
    worker = Worker(store, Releases(store, model), {}, "w/1")
    await worker.beat_once()
    real = worker.planner.propose

    async def propose(carried: RunSnapshot, now: datetime, slots: Any = None, told: Any = None) -> Any:
        held = await store.load(carried.run.id)
        assert held is not None
        if told is None:
            store.same(carried, snapshot.from_rows(held))
        return await real(carried, now, slots, told)

    worker.planner.propose = propose  # type: ignore[method-assign]
    for _ in range(4):
        await worker.admit_once()
        await worker.turn_once()
        await asyncio.sleep(0)
        await worker.wait_for_work()
    return store


async def test_a_run_that_is_born_knows_the_counterfoil_of_its_event() -> None:
    store = await played(BY_EVENT)
    dump = await store.dump()
    assert [(f.rule, f.state) for f in dump.foils] == [("sale-in-ledger", "open")]
    assert [r.status for r in dump.runs] == [RunStatus.WAITING]
    assert store.decided == 1
    assert not dump.cases


@pytest.mark.parametrize("made", [MemoryStore, SqliteStore], ids=["memory", "sqlite"])
async def test_a_run_whose_counterfoil_is_another_runs_does_not_wait_for_it(
    made: Any, tmp_path: Path
) -> None:
    """Two messages about one sale start a Run each, and the row of the sale is that of the first.

    The second Run carries the row that its message wrote, so without being told it would wait until its time is up.
    """
    per_message = edited(
        BY_EVENT,
        (
            "sale.closed.v1, key: event.data.sale_id}\nserial: {key: event.data.sale_id}",
            "sale.closed.v1, key: event.id}\nserial: {key: event.id}",
        ),
    )
    model = Model.from_documents(list(YAML(typ="safe").load_all(per_message)))
    store = MemoryStore(lambda: NOW) if made is MemoryStore else await SqliteStore.open(tmp_path / "store.db")
    now = await store.now()
    worker = Worker(store, Releases(store, model), {}, "w/1")
    for number in (1, 2):
        await receive_events(store, model, [event("shop", "sale.closed.v1", f"e{number}")], now)
        await settle(worker)
    await receive_events(store, model, [event("bus", "ledger.shown.v1", "e3")], now)
    await settle(worker)
    dump = await store.dump()
    assert [foil.state for foil in dump.foils] == ["matched"]
    assert [run.status for run in dump.runs] == [RunStatus.DONE, RunStatus.DONE]
    await store.close()


async def test_a_run_is_carried_through_its_call() -> None:
    store = await played(COMPANY)
    dump = await store.dump()
    assert [(e.state, e.attempt) for e in dump.effects] == [("accepted", 1)]
    assert [r.version for r in dump.runs] == [2], "the outcome and the turn after it were not one commit"
    assert not dump.cases


async def test_a_mapping_reads_the_state_in_which_the_run_calls() -> None:
    covers = "covers: [event.data.amount, event.data.sale_id]"
    mapping = "---\n{kind: mapping, name: sale, to: {operation: bus.sale.post}, with: {state: =run.state, at: =run.started}}\n"
    store = await played(edited(COMPANY, (f"{covers}}}", f"{covers}, becomes: approved}}")) + mapping)
    (effect,) = (await store.dump()).effects
    assert effect.request == b'{"at":"2026-03-02T09:00:00Z","state":"approved"}'
