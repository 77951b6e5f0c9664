"""The query connector on SQLite: pages by key, exact values, faults of queries and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from counterfoil.connectors import query
from counterfoil.connectors.query.connector import QuerySystem
from counterfoil.connectors.sdk import Delivery, SystemConfig, WrongConfiguration
from counterfoil.core.errors import Misconfigured, TryAgain

TABLE = """
create table invoice (id integer, name text collate nocase, total numeric, paid real, day date);
insert into invoice values (1, 'a', 10, 0.1, '2026-03-01'), (2, 'A', 20.5, 3.0, null), (3, 'b', -1.25, 1e20, '2026-03-02');
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    database = apsw.Connection(str(tmp_path / "ledger.db"))
    database.execute(TABLE)
    database.close()
    return tmp_path / "ledger.db"


def system(file: Path, **book: Any) -> QuerySystem:
    settings = {"file": str(file), "books": {"book": {"query": "select * from invoice", "key": "id", **book}}}
    return query.connect(SystemConfig("erp", "", settings=settings))


async def listed(connector: QuerySystem, limit: int = 1) -> list[Delivery]:
    deliveries: list[Delivery] = []
    cursor: str | None = None
    while True:
        page = await connector.list_book("book", cursor, limit, 5)
        deliveries += page.deliveries
        cursor = page.cursor
        if not page.more:
            return deliveries


async def test_rows_are_exact_and_pages_of_any_size_list_the_same(file: Path) -> None:
    deliveries = await listed(system(file))
    assert [delivery.body["total"] for delivery in deliveries] == [10, "20.5", "-1.25"]
    assert [delivery.body["paid"] for delivery in deliveries] == ["0.1", "3.0", "100000000000000000000"]
    for limit in (2, 3, 4):
        assert await listed(system(file), limit) == deliveries
    database = apsw.Connection(str(file))
    database.execute("update invoice set total = 11 where id = 1")
    database.close()
    changed = await listed(system(file))
    assert [one == other for one, other in zip(changed, deliveries, strict=True)] == [False, True, True]


async def test_keys_that_differ_by_case_alone_are_two_rows_on_every_page(file: Path) -> None:
    assert [d.body["id"] for d in await listed(system(file, key="name"))] == [2, 1, 3]
    assert [d.body["id"] for d in await listed(system(file, key=["day", "id"], query="select * from invoice where day > ''"))] == [1, 3]  # fmt: skip


@pytest.mark.parametrize(
    ("book", "message"),
    [
        ({"key": "nr"}, "the query of book has no column `nr`; its columns: id, name"),
        ({"key": "idd"}, "did you mean `id`?"),
        ({"version": "dayy"}, "did you mean `day`?"),
        ({"query": "select * from invoices"}, "the query failed: no such table: invoices"),
        ({"query": "select id, id from invoice"}, "has two columns `id`"),
        ({"key": "day"}, "has a row without a key: day"),
        ({"query": "select 7 as id union all select 7"}, "two rows have the key 7"),
        ({"key": "paid"}, "the key of book is no text and no whole number"),
        ({"query": "with x as (select 1 as id) delete from invoice returning id"}, "the query failed"),
    ],
)
async def test_a_query_that_cannot_be_paged_is_refused(
    file: Path, book: dict[str, Any], message: str
) -> None:
    with pytest.raises(Misconfigured) as raised:
        await listed(system(file, **book))
    assert message in str(raised.value)
    assert len(await listed(system(file))) == 3


async def test_duplicate_keys_across_two_pages_are_found(file: Path) -> None:
    rows = "select 1 as id union all select 2 union all select 2 union all select 3"
    for limit in (1, 2, 3, 4):
        with pytest.raises(Misconfigured, match="two rows have the key 2"):
            await listed(system(file, query=f"select * from ({rows})"), limit)


async def test_a_query_that_takes_too_long_ends(file: Path) -> None:
    endless = "with recursive n(id) as (select 1 union all select id + 1 from n) select id from n"
    with pytest.raises(TryAgain, match="took too long"):
        await system(file, query=endless).list_book("book", None, 1, 0.05)


async def test_check_reads_no_row_and_names_a_wrong_column(file: Path) -> None:
    await system(file).check(5)
    with pytest.raises(Misconfigured, match="did you mean `id`"):
        await system(file, key="idd").check(5)
    with pytest.raises(TryAgain, match="there is no database"):
        await system(file.with_name("away.db")).check(5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"url": "postgresql://reader:secret@db/erp"}, "the address has a password; put it into `secrets`"),
        ({"url": "postgresql://db/erp?password=secret"}, "the address has a password"),
        ({"url": "postgresql://db"}, "not that of a PostgreSQL database; write postgresql://USER@HOST/DATABASE"),
        ({"url": "https://db.example.com/erp"}, "not that of a PostgreSQL database"),
        ({}, "the database is missing"),
        ({"settings": {"file": "x.db"}, "url": "postgresql://db/erp"}, "the system has a `url` and a `file`"),
        ({"settings": {"file": "x.db"}, "secrets": {"password": "p"}}, "unknown secret `password`"),
        ({"url": "postgresql://db/erp", "secrets": {"pasword": "p"}}, "did you mean `password`?"),
        ({"book": {"query": "delete from invoice"}}, "a book is a query that begins with `select`"),
        ({"book": {"key": []}}, "key"),
        ({"book": {"keys": ["id"]}}, "did you mean `key`?"),
    ],
)  # fmt: skip
def test_faults_of_settings_are_reported_without_secrets(changed: dict[str, Any], message: str) -> None:
    book = {"query": "select 1 as id", "key": "id", **changed.pop("book", {})}
    settings = {"books": {"b": book}, **changed.pop("settings", {})}
    with pytest.raises(WrongConfiguration) as raised:
        query.connect(SystemConfig("erp", changed.pop("url", ""), settings=settings, **changed))
    assert message in str(raised.value)
    assert "secret@" not in str(raised.value)
    assert "=secret" not in str(raised.value)
