"""The query connector on PostgreSQL: exact values of its types, reading only, and faults of the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from counterfoil.connectors import query
from counterfoil.connectors.query.connector import QuerySystem
from counterfoil.connectors.sdk import SystemConfig
from counterfoil.core.errors import Misconfigured, TryAgain

VALUES = """
select 7::bigint as id, 1234567890123456789.10::numeric as total, 0.1::float8 as share, date '2026-03-01' as day,
  timestamptz '2026-03-01 01:00:00+01' as at, timestamp '2026-03-01 01:00:00.5' as local, null::text as note,
  'c0ffee00-0000-4000-8000-000000000000'::uuid as ref, array[1.50, 2] as parts, true as open, interval '90 minutes' as lasted
"""
KEYS = """
select * from (values (1, 'a', 1.10, date '2026-03-01', timestamptz '2026-03-01 00:00:00.000001Z'),
                      (2, 'B', 1.2, date '2026-03-02', timestamptz '2026-03-01 00:00:00.000002Z'),
                      (3, 'ä', 10, date '2026-03-10', timestamptz '2026-03-02 00:00:00Z')) as v(id, name, amount, day, at)
"""


@pytest.fixture
async def systems(postgres_dsn: str) -> AsyncIterator[Any]:
    opened: list[QuerySystem] = []

    def build(text: str, *key: str, password: str = "") -> QuerySystem:
        settings = {"books": {"book": {"query": text, "key": list(key)}}}
        secrets = {"password": password} if password else {}
        opened.append(query.connect(SystemConfig("erp", postgres_dsn, settings=settings, secrets=secrets)))
        return opened[-1]

    yield build
    for system in opened:
        await system.close()


async def test_values_of_every_type_are_exact(systems: Any) -> None:
    (delivery,) = (await systems(VALUES, "id").list_book("book", None, 10, 5)).deliveries
    assert delivery.body == {
        "id": 7,
        "total": "1234567890123456789.10",
        "share": "0.1",
        "day": "2026-03-01",
        "at": "2026-03-01T00:00:00Z",
        "local": "2026-03-01T01:00:00.500000",
        "note": None,
        "ref": "c0ffee00-0000-4000-8000-000000000000",
        "parts": ["1.50", "2"],
        "open": True,
        "lasted": "5400s",
    }


@pytest.mark.parametrize(
    "key", [("id",), ("name",), ("amount",), ("day",), ("at",), ("day", "name"), ("at", "id")]
)
async def test_keys_of_every_type_lead_from_page_to_page(systems: Any, key: tuple[str, ...]) -> None:
    system, cursor, rows = systems(KEYS, *key), None, []
    while True:
        page = await system.list_book("book", cursor, 1, 5)
        rows += [delivery.body["id"] for delivery in page.deliveries]
        cursor = page.cursor
        if not page.more:
            break
    assert sorted(rows) == [1, 2, 3]


async def test_a_book_cannot_write(systems: Any, postgres_dsn: str) -> None:
    database = await asyncpg.connect(postgres_dsn)
    await database.execute("create sequence number; create table invoice (id int)")
    await database.execute(
        "create function add() returns int language sql as 'insert into invoice values (1) returning id'"
    )
    with pytest.raises(Misconfigured, match="read-only transaction"):
        await systems("select add() as id", "id").list_book("book", None, 1, 5)
    assert await database.fetchval("select count(*) from invoice") == 0
    await database.close()


async def test_faults_of_the_database_are_separated(systems: Any) -> None:
    with pytest.raises(TryAgain, match="did not answer in time"):
        await systems("select 1 as id, pg_sleep(5)", "id").list_book("book", None, 1, 0.3)
    for text, key, message in (
        ("select * from nothing", "id", "the database refused the query"),
        ("select 1 as id", "no", "the query of book has no column `no`"),
        ("select 'x'::bytea as id", "id", "the key `id` of book has the type bytea"),
        ("select null::int as id", "id", "has a row without a key"),
        ("select 1 as id union all select 1", "id", "two rows have the key 1"),
    ):
        with pytest.raises(Misconfigured, match=message):
            await systems(text, key).list_book("book", None, 1, 5)
