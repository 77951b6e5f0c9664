"""Fixtures of the tests of sweeps and of checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from counterfoil.flow.worker import sweeps
from counterfoil.store.memory import MemoryStore
from counterfoil.store.sql.sqlite import SqliteStore
from tests.unit.flow.swept_company import TIME, Company, now
from tests.unit.rules.driver import MONDAY


@pytest.fixture(params=["memory", "sqlite"])
async def company(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Company]:
    monkeypatch.setattr(sweeps, "MAX_PAGE_DELIVERIES", 2)
    monkeypatch.setattr(sweeps, "FAILURE_SECONDS", 0.0)
    monkeypatch.setattr(sweeps, "ADMIT_SECONDS", 0.0)
    TIME[0] = MONDAY
    store: Any = MemoryStore(clock=now)
    if request.param == "sqlite":
        store = await SqliteStore.open(tmp_path / "store.db")
    made = Company(store)
    await made.releases.publish(await store.now(), "test")
    yield made
    await store.close()
