"""Queries of PostgreSQL as exports: the report is that of the same rows in a file, and a failure names its cause."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from counterfoil.cli.commands import app_with
from counterfoil.cli.failure import CommandFailed
from tests.unit.reconcile.pairs import pair

INVOICES = [
    ("INV-1", Decimal("120.00"), "EUR", "2026-06-01"),
    ("INV-2", Decimal("-35.10"), "EUR", "2026-06-03"),
    ("INV-3", Decimal("80.00"), "USD", "2026-06-07"),
    ("INV-4", Decimal("900.00"), "EUR", "2026-06-09"),
]
LEDGER = [*INVOICES[:2], ("INV-3", Decimal("79.00"), "USD", "2026-06-07")]


async def invoke(*words: str) -> Any:
    """Run the command outside of the test's event loop, because it runs one of its own."""
    runner = CliRunner()
    return await asyncio.to_thread(runner.invoke, app_with(["observe"]), ["observe", *words])


@pytest.fixture
async def books(postgres_dsn: str) -> str:
    database = await asyncpg.connect(postgres_dsn)
    for table, rows in (("invoice", INVOICES), ("booking", LEDGER)):
        await database.execute(
            f"create table {table} (number text, amount numeric(12, 2), currency text, day date)"
        )
        values = ", ".join(f"('{number}', {amount}, '{code}', '{day}')" for number, amount, code, day in rows)
        await database.execute(f"insert into {table} values {values}")
    await database.close()
    return postgres_dsn


def written(path: Path, rows: list[tuple[str, Decimal, str, str]]) -> str:
    lines = ["number,amount,currency,day", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


async def test_a_query_is_compared_like_a_file(books: str, tmp_path: Path) -> None:
    left = f"{books}: select * from invoice order by number"
    right = f"{books}: select * from booking"
    queries = await invoke(left, right, "--format", "json")
    assert queries.exit_code == 1, queries.output
    report = json.loads(queries.output)
    assert report["totals"]["difference"] == {"EUR": "900.00", "USD": "1.00"}
    assert {(d["cause"], d["key"]) for d in report["differences"]} == {
        ("missing_right", "INV-4"),
        ("amount", "INV-3"),
    }
    files = await invoke(
        written(tmp_path / "left.csv", INVOICES), written(tmp_path / "right.csv", LEDGER), "--format", "json"
    )
    other = json.loads(files.output)
    for key in ("matched", "totals"):
        assert report[key] == other[key]
    told = [[(d["cause"], d["key"], d["amounts"]) for d in r["differences"]] for r in (report, other)]
    assert told[0] == told[1]


@pytest.mark.parametrize("seed", [2, 5, 11, 17])
async def test_tables_compared_inside_of_their_engine_give_the_same_report(
    seed: int, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pair(seed)
    database = await asyncpg.connect(postgres_dsn)
    for name, rows in (("billing", made.left), ("ledger", made.right)):
        await database.execute(
            f"create table {name} (document text, day date, currency text, amount numeric(12, 2), entity text, fee numeric)"
        )
        await database.copy_records_to_table(
            name, records=[(f"{r.key} ", r.day, r.currency, r.amount, r.entity, r.fee) for r in rows]
        )
    await database.close()
    queries = [f"{postgres_dsn}: select * from {name}" for name in ("billing", "ledger")]
    expected = json.loads((await invoke(*queries, "--format", "json")).output)
    assert expected["matched"] == made.matched
    monkeypatch.delattr("counterfoil.reconcile.exports.queries._postgres")
    engine = await invoke("billing", "ledger", "--engine", postgres_dsn, "--format", "json")
    assert engine.output, engine.exception
    assert json.loads(engine.output) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("update booking set number = 'Größe-' || number", "keys beyond ASCII"),
        ("alter table booking alter amount type float8", "decimal numbers only"),
        ("drop table booking", "booking is no table"),
    ],
)
async def test_an_engine_says_what_it_cannot_compare(books: str, change: str, message: str) -> None:
    database = await asyncpg.connect(books)
    await database.execute(change)
    await database.close()
    result = await invoke("invoice", "booking", "--keys", "number", "--engine", books)
    assert isinstance(result.exception, CommandFailed)
    assert message in str(result.exception)


async def test_a_query_only_reads(books: str) -> None:
    result = await invoke(
        f"{books}: with gone as (delete from invoice returning *) select * from gone", "x.csv"
    )
    assert isinstance(result.exception, CommandFailed)
    assert "read-only transaction" in str(result.exception)
    database = await asyncpg.connect(books)
    assert await database.fetchval("select count(*) from invoice") == len(INVOICES)
    await database.close()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select * from nothing", 'relation "nothing" does not exist'),
        ("select * form invoice", "syntax error"),
    ],
)
async def test_a_query_that_fails_says_why(books: str, query: str, message: str) -> None:
    result = await invoke(f"{books}: {query}", "x.csv")
    assert isinstance(result.exception, CommandFailed)
    assert message in str(result.exception)


async def test_a_server_that_is_away_is_named() -> None:
    result = await invoke("postgresql://127.0.0.1:1/books: select 1", "x.csv")
    assert isinstance(result.exception, CommandFailed)
    assert "books cannot be reached" in str(result.exception)
