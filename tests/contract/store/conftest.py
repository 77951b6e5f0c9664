"""The stores under one contract: `store` is each of them in turn, `sql_store` those that keep what they hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from counterfoil.store.memory import MemoryStore
from counterfoil.store.sqlite import SqliteStore


async def _opened(kind: str, request: pytest.FixtureRequest, folder: Path) -> Any:
    if kind == "memory":
        return MemoryStore()
    return await SqliteStore.open(folder / "store.db")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    opened = await _opened(request.param, request, tmp_path)
    yield opened
    await opened.close()
