"""Durability: acknowledged transitions survive a kill, uncommitted ones do not, and a file has one owner."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest

from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.store.port.maintenance import Seal, SealResult
from counterfoil.store.sql import migrate, postgres
from counterfoil.store.sql.migrate import SchemaFile
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.store.sql.sqlite_file import owner
from counterfoil.store.sql.statements import Insert
from counterfoil.store.sql.tables import PENDING
from tests.contract.store import samples as s

ROOT = Path(__file__).parents[3]
WRITER = """
import asyncio, itertools, sys
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from tests.contract.store import samples as s

async def main():
    kind, place = sys.argv[1:]
    store = await (SqliteStore if kind == "sqlite" else PostgresStore).open(place)
    numbers = itertools.count()

    async def writer():
        for number in numbers:
            await store.apply(s.receive(s.receipt(f"r{number}")))
            print(f"r{number}", flush=True)

    await asyncio.gather(*(writer() for _ in range(20)))

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_acknowledged_transitions_survive_a_kill(
    places: s.Places, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    if kind == "sqlite":
        place = str(tmp_path / "store.db")
    else:
        place = (await places("postgres"))._dsn
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, kind, place], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = [child.stdout.readline().strip() for _ in range(200)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [
        line.strip() for line in child.stdout.read().splitlines(keepends=True) if line[-1] == "\n"
    ]
    child.wait()
    child.stdout.close()
    store = await places(kind)
    kept = {r.ext_id for r in (await store.dump()).receipts}
    assert len(acknowledged) >= 200
    assert set(acknowledged) <= kept


def other_process(path: Path, script: str = "print('opened')") -> subprocess.Popen[str]:
    """A process that opens the store at this path and runs a line; its output ends with an error's message, if any."""
    program = f"""
import asyncio, os, sys
from collections.abc import Callable
from pathlib import Path
from counterfoil.core.errors import Misconfigured
from counterfoil.store.sql.sqlite import SqliteStore
from tests.contract.store import samples as s

async def main():
    try:
        store = await SqliteStore.open(Path(sys.argv[1]))
    except Misconfigured as error:
        return print(error, flush=True)
    {script}

asyncio.run(main())
"""
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize("link", [os.link, os.symlink, None], ids=["hard", "symbolic", "folder"])
async def test_a_second_owner_is_refused_under_any_name_of_the_file(
    tmp_path: Path, link: Callable[[Path, Path], None] | None
) -> None:
    folder, other = tmp_path / "a", tmp_path / "b"
    folder.mkdir()
    if link is None:
        other.symlink_to(folder)
    else:
        other.mkdir()
    first = await SqliteStore.open(folder / "store.db")
    if link is not None:
        link(folder / "store.db", other / "store.db")
    await first.apply(s.receive(s.receipt("r1")))
    with pytest.raises(Misconfigured, match=f"is open in process {os.getpid()}"):
        await SqliteStore.open(other / "store.db")
    said = other_process(other / "store.db").communicate()[0]
    assert f"is open in process {os.getpid()}, under this or another name" in said
    assert owner(other / "store.db") == os.getpid()
    await first.apply(s.receive(s.receipt("r2")))
    await first.close()
    assert owner(other / "store.db") is None
    again = await SqliteStore.open(folder / "store.db")
    assert [r.ext_id for r in (await again.dump()).receipts] == ["r1", "r2"]
    await again.close()


async def test_commits_in_the_log_of_another_name_are_not_lost(tmp_path: Path) -> None:
    path, other = tmp_path / "store.db", tmp_path / "other.db"
    script = "await store.apply(s.receive(s.receipt('r1'))); print('kept', flush=True); os._exit(9)"
    assert other_process(path, script).communicate()[0] == "kept\n"
    os.link(path, other)
    with pytest.raises(Misconfigured, match="has several names"):
        await SqliteStore.open(other)
    store = await SqliteStore.open(path)
    assert [r.ext_id for r in (await store.dump()).receipts] == ["r1"]
    await store.close()
    path.rename(tmp_path / "moved.db")
    other.unlink()
    moved = await SqliteStore.open(tmp_path / "moved.db")
    assert [r.ext_id for r in (await moved.dump()).receipts] == ["r1"]
    await moved.close()


async def test_a_second_owner_of_the_file_is_refused_by_name(tmp_path: Path) -> None:
    first = await SqliteStore.open(tmp_path / "store.db")
    with pytest.raises(Misconfigured, match=f"is open in process {os.getpid()}"):
        await SqliteStore.open(tmp_path / "store.db")
    await first.close()
    second = await SqliteStore.open(tmp_path / "store.db")
    await second.close()


async def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(Misconfigured, match=r"install apsw 3\.51\.3"):
        await SqliteStore.open(tmp_path / "store.db")


async def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="No such file"):
        await SqliteStore.open(tmp_path / "none" / "store.db")


async def test_a_missing_database_is_reported(dsn: str) -> None:
    with pytest.raises(Misconfigured, match="cannot be reached"):
        await PostgresStore.open(dsn.replace("/t", "/none_t"))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_the_file_syncs_each_commit(places: s.Places, kind: str) -> None:
    store = await places(kind)
    if kind == "sqlite":
        settings = [await asyncio.wrap_future(store._writer.submit(_pragma, store, p)) for p in PRAGMAS]
        assert settings == ["wal", 2, 1]
    else:
        async with store._pool.acquire() as connection:
            assert await connection.fetchval("show synchronous_commit") == "on"
            assert await connection.fetchval("show idle_in_transaction_session_timeout") == "5s"
            assert await connection.fetchval("show transaction_isolation") == "read committed"


PRAGMAS = ("journal_mode", "synchronous", "foreign_keys")


def _pragma(store: Any, name: str) -> Any:
    return store._local.connection.pragma(name)


# ------------------------------------------------------------------ connections lost


KILL_WRITERS = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null
"""


async def test_a_connection_lost_before_the_commit_leaves_nothing(
    dsn: str, places: s.Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await places("postgres")
    run = await s.born(store)
    before = await store.dump()
    answer, killed = postgres._answer, list[int]()

    async def kill_after_the_last_statement(request: Any, connection: Any) -> Any:
        rows = await answer(request, connection)
        if isinstance(request, Insert) and request.table is PENDING and not killed:
            killed.append(connection.get_server_pid())
            killer = await asyncpg.connect(dsn)
            await killer.fetchval("select pg_terminate_backend($1)", killed[0])
            await killer.close()
            while not connection.is_closed():
                await asyncio.sleep(0.005)
        return rows

    monkeypatch.setattr(postgres, "_answer", kill_after_the_last_statement)
    turn = s.turn(run, plan=(s.effect(run=run),), cases=(s.case(),))
    with pytest.raises(TryAgain):
        await store.apply(turn)
    assert await store.dump() == before
    assert (await store.apply(turn)).verdict == "done"
    assert len(killed) == 1


async def test_killing_sessions_under_load_loses_and_doubles_nothing(dsn: str, places: s.Places) -> None:
    store = await places("postgres")
    acknowledged: set[str] = set()

    async def killer() -> None:
        """Twelve rounds and no more: on a busy machine endless killing would leave no time for a commit."""
        connection = await asyncpg.connect(dsn)
        try:
            for _ in range(12):
                await connection.fetchval(KILL_WRITERS)
                await asyncio.sleep(0.05)
        finally:
            await connection.close()

    async def writer(name: str) -> None:
        for number in range(8):
            receipt = s.receipt(f"{name}-{number}")
            while True:
                try:
                    await store.apply(s.receive(receipt))
                except TryAgain:
                    await asyncio.sleep(0.01)
                    continue
                acknowledged.add(receipt.ext_id)
                break

    killing = asyncio.create_task(killer())
    await asyncio.gather(*(writer(str(i)) for i in range(10)))
    await killing
    dump = await store.dump()
    assert {r.ext_id for r in dump.receipts} == acknowledged
    assert len(dump.receipts) == len(dump.todos) == len(dump.leaves) == len(dump.pending) == 80


# ------------------------------------------------------------------ migrations


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_each_dialect_has_one_file_for_each_number(dialect: Any) -> None:
    numbers = [m.number for m in migrate.migrations(dialect)]
    assert numbers[:5] == [1, 2, 3, 4, 5]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_changed_or_unknown_migration_is_refused(
    places: s.Places, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store = await places(kind)
    await store.apply(s.receive(s.receipt()))
    await store.close()
    files = migrate.migrations(kind)  # type: ignore[arg-type]
    changed = [SchemaFile(files[0].number, files[0].name, files[0].sql + "\n"), *files[1:]]
    monkeypatch.setattr(migrate, "migrations", lambda dialect: changed)
    with pytest.raises(Misconfigured, match="0001_tables"):
        await places(kind)
    monkeypatch.setattr(migrate, "migrations", lambda dialect: files[:-1])
    with pytest.raises(Misconfigured, match="use a newer version"):
        await places(kind)
    monkeypatch.undo()
    assert (await (await places(kind)).counts())["receipt"] == 1


async def test_two_processes_that_start_at_once_migrate_once(postgres: Any) -> None:
    name = await postgres.create()
    stores = await asyncio.gather(*(PostgresStore.open(postgres.dsn(name)) for _ in range(3)))
    assert await stores[0].counts() == await stores[2].counts()
    for store in stores:
        await store.close()
    await postgres.drop(name)


async def test_a_process_waits_for_the_migrations_of_another_one_without_a_time_limit(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._SETTINGS, "lock_timeout", "50ms")
    other = await asyncpg.connect(postgres_dsn)
    await other.execute("select pg_advisory_lock($1)", postgres.MIGRATION_LOCK)
    opening = asyncio.create_task(PostgresStore.open(postgres_dsn))
    done, _ = await asyncio.wait([opening], timeout=1)
    assert not done
    await other.close()
    await (await opening).close()


@pytest.mark.parametrize(
    "setting", ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"]
)
async def test_a_migration_of_large_tables_has_no_time_limit(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    files = migrate.migrations("postgres")
    sql = f"create table if not exists seen as select current_setting('{setting}') as value;"
    later = SchemaFile(number=files[-1].number + 1, name="later.sql", sql=sql)
    monkeypatch.setattr(migrate, "migrations", lambda dialect: [*files, later])
    store = await PostgresStore.open(postgres_dsn)
    connection = await asyncpg.connect(postgres_dsn)
    assert await connection.fetchval("select value from seen") == "0"
    await connection.close()
    await store.close()


async def test_the_clock_is_the_database_s(places: s.Places) -> None:
    store = await places("postgres")
    first, second = await store.now(), await store.now()
    assert first < second
    assert first.tzinfo is not None
    assert isinstance(await store.apply(Seal(at=first)), SealResult)
