"""What fails by a defect is tried again, and somebody hears of it, once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from ruamel.yaml import YAML

from counterfoil.core.run import RunStatus
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_events
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from tests.companies.external import COMPANY
from tests.unit.flow.test_external import event

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
async def worker() -> Worker:
    model = Model.from_documents(list(YAML(typ="safe").load_all(COMPANY)))
    store = MemoryStore(lambda: NOW)
    await receive_events(store, model, [event("shop", "sale.closed.v1", "e1")], NOW)
    return Worker(store, Releases(store, model), {}, "w/1")


async def rounds(worker: Worker) -> None:
    for _ in range(3):
        await worker.admit_once()
        await worker.turn_once()
        await asyncio.sleep(0)
        await worker.wait_for_work()


async def test_a_turn_that_fails_by_a_defect_opens_one_case(
    worker: Worker, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(worker.planner, "propose", broken)
    await rounds(worker)
    dump = await worker.store.dump()  # type: ignore[attr-defined]
    (case,) = dump.cases
    assert (case.reason, case.owner, case.run) == ("poisoned", "finance", dump.runs[0].id)
    assert case.message.startswith(
        f"An internal error stops the Run {case.run}. The worker's log describes it"
    )
    assert "nobody thought of this" in caplog.text
    assert dump.runs[0].status is RunStatus.READY
    assert dump.runs[0].due is not None


async def test_an_admission_that_fails_by_a_defect_opens_one_case_and_keeps_the_todo(
    worker: Worker, monkeypatch: Any
) -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(worker.admitter, "admit", broken)
    await rounds(worker)
    dump = await worker.store.dump()  # type: ignore[attr-defined]
    (case,) = dump.cases
    assert (case.reason, case.receipt) == ("poisoned", 1)
    assert [(kind, ref) for kind, ref, _ in dump.todos] == [("receipt", "1")]
