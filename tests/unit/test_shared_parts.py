"""What the companies of a test process share leaves each of them its own life and identity."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from counterfoil.store.sql.sqlite import SqliteStore
from tests.shared_routes import copied_routes

NO_COMPANY: Any = None


async def test_companies_that_share_routes_close_their_own_queues_of_events() -> None:
    first, second = copied_routes(NO_COMPANY), copied_routes(NO_COMPANY)
    async with first.lifespan(), second.lifespan():
        queues: list[Any] = [app.event_emitter._send_stream for app in (first, second)]  # type: ignore[attr-defined]
    assert [queue.statistics().open_send_streams for queue in queues] == [0, 0]


async def test_a_server_begins_and_ends_with_its_own_company() -> None:
    company = copied_routes(NO_COMPANY)
    assert company.asgi_router.app is company


async def test_stores_with_a_copied_schema_have_ids_of_their_own(tmp_path: Path) -> None:
    ids = []
    for number in range(3):
        store = await SqliteStore.open(tmp_path / f"{number}.db")
        ids.append(await store.identity())
        await store.close()
        await asyncio.sleep(0.002)
    assert len(set(ids)) == 3
