"""A PostgreSQL that is unreachable, silent or moved: callers get an error soon, and no result is wrong."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import asyncpg
import pytest

from counterfoil.core.audit import Checkpoint
from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.store.port.maintenance import PutCheckpoint, Seal
from counterfoil.store.port.wake import WakeKind
from counterfoil.store.sql import postgres as implementation
from counterfoil.store.sql import primary
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.primary import PrimaryConnector, hosts
from tests import postgres
from tests.contract.store import samples as s
from tests.network import BOTH, Direction, Network

SOON = 1.5


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary, "TRANSACTION_SECONDS", SOON)
    monkeypatch.setattr(primary, "CONNECT_SECONDS", SOON)
    monkeypatch.setattr(implementation, "LISTENER_CHECK_SECONDS", 0.2)


@pytest.fixture(scope="module")
def own() -> Iterator[postgres.Cluster]:
    """A server that the tests of this module may end; they run one after another and leave it up."""
    with postgres.running(fsync=False) as cluster:
        yield cluster


@pytest.fixture
async def place(own: postgres.Cluster) -> AsyncIterator[str]:
    """The name of an empty database in it."""
    name = await own.create()
    yield name
    await own.drop(name)


async def again(work: Callable[[], object], seconds: float = 20.0) -> object:
    """What comes of it when it is asked as often as TryAgain says."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await work()  # type: ignore[misc]
        except TryAgain:
            assert time.monotonic() < deadline, f"still away after {seconds:g} s"
            await asyncio.sleep(0.05)


def through(dsn: str, network: Network, port: int) -> str:
    return dsn.replace(f":{port}/", f":{network.port}/")


# ------------------------------------------------------------------ silence


def test_silence_is_bounded_by_ten_seconds() -> None:
    assert primary.TRANSACTION_SECONDS + primary.CONNECT_SECONDS <= 15
    assert implementation.LISTENER_CHECK_SECONDS < primary.TRANSACTION_SECONDS


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("cut", [("to_server",), ("to_client",), BOTH], ids="+".join)
async def test_a_silent_network_is_detected_and_nothing_is_lost_or_doubled(
    postgres: postgres.Cluster, dsn: str, cut: tuple[Direction, ...]
) -> None:
    async with Network(postgres.port) as network:
        store = await PostgresStore.open(through(dsn, network, postgres.port))
        try:
            # Sessions enough that the pool holds several which do not know that they are dead.
            await asyncio.gather(*(store.apply(s.receive(s.receipt(f"before{n}"))) for n in range(8)))
            await asyncio.gather(*(store.todos(10) for _ in range(8)))
            network.cut(*cut)
            began = time.monotonic()
            asked = [store.apply(s.receive(s.receipt(f"r{n}"))) for n in range(5)]
            answers = await asyncio.gather(*asked, store.todos(10), store.now(), return_exceptions=True)
            assert [type(answer) for answer in answers] == [TryAgain] * 7
            assert time.monotonic() - began < 3 * SOON
            assert network.swallowed
            network.mend()
            began = time.monotonic()
            for n in range(5):
                await again(lambda n=n: store.apply(s.receive(s.receipt(f"r{n}"))))  # type: ignore[misc]
            assert time.monotonic() - began < 3 * SOON
            kept = [receipt.ext_id for receipt in (await store.dump()).receipts]
            assert sorted(kept) == sorted([f"r{n}" for n in range(5)] + [f"before{n}" for n in range(8)])
        finally:
            await store.close()


@pytest.mark.usefixtures("impatient")
async def test_a_silent_listener_is_reconnected(postgres: postgres.Cluster, dsn: str) -> None:
    other = await PostgresStore.open(dsn)
    async with Network(postgres.port) as network:
        store = await PostgresStore.open(through(dsn, network, postgres.port))
        try:
            network.cut("to_client")
            await asyncio.sleep(2 * SOON)
            network.mend()

            async def woken() -> bool:
                await store.wait_for_wake(WakeKind.ADMIT, 0.01)  # of before
                await other.apply(s.receive(s.receipt(f"r{time.monotonic()}")))
                began = time.monotonic()
                await store.wait_for_wake(WakeKind.ADMIT, 0.5)
                return time.monotonic() - began < 0.4

            deadline = time.monotonic() + 15
            while not await woken():
                assert time.monotonic() < deadline, "the listener did not come back"
        finally:
            await store.close()
            await other.close()


# ------------------------------------------------------------------ restarts


async def test_a_restart_under_load_loses_and_doubles_nothing(own: postgres.Cluster, place: str) -> None:
    """A fast shutdown, an immediate one, and the machine gone."""
    store = await PostgresStore.open(own.dsn(place))
    acknowledged: list[str] = []
    failed = 0
    stopping = False

    async def deliver(name: str) -> None:
        nonlocal failed
        n = 0
        while not stopping:
            try:
                await store.apply(s.receive(s.receipt(f"{name}-{n}")))
            except TryAgain:
                failed += 1
                await asyncio.sleep(0.05)
            else:
                acknowledged.append(f"{name}-{n}")
                n += 1

    load = [asyncio.create_task(deliver(f"d{k}")) for k in range(8)]
    try:
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            await _more(acknowledged)
            failed = 0
            await asyncio.to_thread(own.end, how)
            with pytest.raises(TryAgain):
                await store.now()
            await asyncio.sleep(0.1)
            assert failed, "nobody was told"
            await asyncio.to_thread(own.begin)
        await _more(acknowledged)
        stopping = True
        await asyncio.gather(*load)
        # A delivery whose last attempt was not answered may be kept; its sender would send it again.
        kept = [receipt.ext_id for receipt in (await store.dump()).receipts]
        assert len(kept) == len(set(kept))
        assert set(acknowledged) <= set(kept)
        assert len(kept) <= len(acknowledged) + len(load)
    finally:
        stopping = True
        await asyncio.gather(*load)
        await store.close()


async def _more(acknowledged: list[str], count: int = 50, seconds: float = 20) -> None:
    deadline, before = time.monotonic() + seconds, len(acknowledged)
    while len(acknowledged) < before + count:
        assert time.monotonic() < deadline, f"not going on after {seconds:g} s"
        await asyncio.sleep(0.01)


# ------------------------------------------------------------------ replicas


@pytest.mark.usefixtures("impatient")
async def test_nothing_is_acknowledged_before_a_replica_has_it(own: postgres.Cluster, place: str) -> None:
    """Not by a cancelled COMMIT, and not by telling of a receipt that only the primary has."""
    dsn = own.dsn(place)
    store = await PostgresStore.open(dsn)
    try:
        await store.apply(s.receive(s.receipt("r0")))
        await _set(own, "synchronous_standby_names", "*")
        with pytest.raises(TryAgain):
            await store.apply(s.receive(s.receipt("r1")))
        # The first attempt waits in the server, unseen; had it been cancelled, it would be there for all to see.
        assert await _receipts(dsn) == ["r0"]
        with pytest.raises(TryAgain):
            await store.apply(s.receive(s.receipt("r1")))
        await asyncio.to_thread(own.end)
        await asyncio.to_thread(own.begin)
        await again(store.now)
        assert await _receipts(dsn) == ["r0", "r1"], "it was in the log of the primary when that was killed"
        for _ in range(3):  # once is not enough to tell: a sequence is written to the log now and then
            with pytest.raises(TryAgain):
                await store.apply(s.receive(s.receipt("r1")))
        await _set(own, "synchronous_standby_names", "")
        told = await again(lambda: store.apply(s.receive(s.receipt("r1"))))
        assert told.verdicts == ("same",)  # type: ignore[attr-defined]
    finally:
        await _set(own, "synchronous_standby_names", "")
        await store.close()


async def _set(cluster: postgres.Cluster, name: str, value: str) -> None:
    """Set a setting that a reload takes up; returns once commits wait, if it is one that makes them wait."""
    connection = await asyncpg.connect(cluster.dsn())
    await connection.execute(f"alter system set {name} = '{value}'")
    await connection.execute("select pg_reload_conf()")
    while await connection.fetchval(f"show {name}") != value:
        await asyncio.sleep(0.02)
    if name == "synchronous_standby_names" and value:
        await _commits_wait(cluster, connection)
    await connection.close()


async def _commits_wait(cluster: postgres.Cluster, observer: asyncpg.Connection[Any]) -> None:
    """Return once a commit waits for a replica: the checkpointer says so to all, some time after the reload."""
    probe = await asyncpg.connect(cluster.dsn())
    pid = probe.get_server_pid()
    while True:
        commit = asyncio.create_task(probe.execute("select pg_logical_emit_message(true, 'probe', '')"))
        event = None
        while not commit.done() and event != "SyncRep":
            await asyncio.sleep(0.01)
            event = await observer.fetchval("select wait_event from pg_stat_activity where pid = $1", pid)
        if event == "SyncRep":
            await observer.execute("select pg_terminate_backend($1)", pid)
            await asyncio.gather(commit, return_exceptions=True)
            return
        await commit


async def _receipts(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("select ext_id from receipt order by ext_id")
    await connection.close()
    return [row[0] for row in rows]


@pytest.mark.usefixtures("impatient")
async def test_only_the_primary_of_the_newest_timeline_is_used(own: postgres.Cluster, place: str) -> None:
    """Neither a replica, nor a former primary that comes back although another was promoted in its place."""
    replica = await asyncio.to_thread(partial(postgres.start, fsync=False, source=own))
    store = late = None
    both = own.dsn(place).replace("@", f"@127.0.0.1:{replica.port},")
    try:
        with pytest.raises(Misconfigured, match="cannot be reached"):
            await PostgresStore.open(replica.dsn(place))
        store = await PostgresStore.open(both)
        await store.apply(s.receive(s.receipt("r0")))
        await _reached(replica, own)
        await asyncio.to_thread(own.end)
        connection = await asyncpg.connect(replica.dsn())
        assert await connection.fetchval("select pg_promote()")
        await connection.close()
        await again(lambda: store.apply(s.receive(s.receipt("r1"))))
        await asyncio.to_thread(own.begin)  # nobody fenced it: it takes writes as if nothing had been
        await store._pool.expire_connections()
        await store.apply(s.receive(s.receipt("r2")))
        late = await PostgresStore.open(both)
        await late.apply(s.receive(s.receipt("r3")))
        assert await _receipts(replica.dsn(place)) == ["r0", "r1", "r2", "r3"]
        await asyncio.to_thread(replica.end)
        with pytest.raises(TryAgain):  # that its session is gone
            await store.apply(s.receive(s.receipt("r4")))
        with pytest.raises(TryAgain):
            await store.apply(s.receive(s.receipt("r4")))
        assert "behind the primary" in store.problem
        assert await _receipts(own.dsn(place)) == ["r0"]
    finally:
        for opened in (store, late):
            if opened is not None:
                await opened.close()
        replica.stop()


@pytest.mark.usefixtures("impatient")
async def test_a_replica_without_the_published_checkpoint_is_not_used(
    own: postgres.Cluster, place: str
) -> None:
    replica = await asyncio.to_thread(partial(postgres.start, fsync=False, source=own))
    store = await PostgresStore.open(own.dsn(place).replace("@", f"@127.0.0.1:{replica.port},"))
    try:
        await store.apply(s.receive(s.receipt("r0")))
        await _reached(replica, own)
        await asyncio.to_thread(replica.end)
        sealed = await store.apply(Seal(at=s.T0))
        mark = Checkpoint(size=sealed.size, root=sealed.root, at=s.T0, text="signed")
        await store.apply(PutCheckpoint(checkpoint=mark))
        await asyncio.to_thread(own.end)
        await asyncio.to_thread(replica.begin)
        connection = await asyncpg.connect(replica.dsn())
        assert await connection.fetchval("select pg_promote()")
        await connection.close()
        with pytest.raises(
            Misconfigured, match="a checkpoint over 1 leaves was published, its newest is over 0"
        ):
            await again(lambda: store.apply(s.receive(s.receipt("r1"))))
        assert await _receipts(replica.dsn(place)) == ["r0"]
    finally:
        await store.close()
        replica.stop()
        await asyncio.to_thread(own.begin)


async def _reached(replica: postgres.Cluster, primary: postgres.Cluster) -> None:
    """Return once the replica has all that the primary has now."""
    here, there = await asyncpg.connect(primary.dsn()), await asyncpg.connect(replica.dsn())
    end = await here.fetchval("select pg_current_wal_lsn()::text")
    while not await there.fetchval("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", end):
        await asyncio.sleep(0.02)
    await here.close()
    await there.close()


@pytest.mark.usefixtures("impatient")
async def test_a_silent_host_does_not_block_the_other_one(postgres: postgres.Cluster, dsn: str) -> None:
    async with Network(postgres.port) as network:
        network.cut(*BOTH)
        began = time.monotonic()
        here = dsn.replace("@", f"@127.0.0.1:{network.port},")
        connection = await PrimaryConnector(here).connect()
        assert time.monotonic() - began < 2 * SOON
        connection.terminate()


def test_an_address_is_split_by_host() -> None:
    assert hosts("postgresql://u:p%40@a:1,b:2/db?x=1") == [
        "postgresql://u:p%40@a:1/db?x=1",
        "postgresql://u:p%40@b:2/db?x=1",
    ]
    assert hosts("postgres://[::1]:5,[::2]:6") == ["postgres://[::1]:5", "postgres://[::2]:6"]
    assert hosts("postgresql:///db?host=/run") == ["postgresql:///db?host=/run"]
