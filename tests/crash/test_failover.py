"""The primary dies, its replica is promoted: server and workers follow by themselves, and nothing is lost or doubled.

Real processes: a primary with a synchronous replica, the server, two workers, and the house's systems with durable
books of their own. What the senders were told with 202 is written down here and accounted for at the end.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import httpx2
import pytest

from counterfoil.core.clock import utc_now
from counterfoil.store import check
from counterfoil.store.dump import Dump
from counterfoil.store.sql.postgres import PostgresStore
from tests import postgres
from tests.companies.acme import Program
from tests.crash.house import GOVERNANCE, WRITES, Credit, House, house
from tests.patience import PATIENCE_SECONDS
from tests.served import until

CLI = ["-m", "counterfoil.cli.main"]
SENDERS = 2
PAUSE = 0.25
"""Seconds between a sender's deliveries."""
DETECTED = 0.5
"""Seconds from the primary's death to the order to promote: what in production a human or a watchdog takes."""


@pytest.fixture
def pair() -> Iterator[tuple[postgres.Cluster, postgres.Cluster]]:
    """A primary and a replica that every commit waits for."""
    with postgres.running() as primary, postgres.running(source=primary) as replica:
        asyncio.run(_synchronous(primary))
        yield primary, replica


async def _synchronous(primary: postgres.Cluster) -> None:
    connection = await asyncpg.connect(primary.dsn())
    try:
        await connection.execute("alter system set synchronous_standby_names = '*'")
        await connection.execute("select pg_reload_conf()")

        async def waits() -> bool:
            state = await connection.fetchval("select sync_state from pg_stat_replication")
            return bool(state == "sync")

        await until("the replica", waits)
    finally:
        await connection.close()


@dataclass
class Senders:
    """They deliver credits to the server's door; each is sent again until it is acknowledged, as a desk does."""

    house: House
    name: str
    acknowledged: list[tuple[float, Credit]] = field(default_factory=list)
    refused: list[httpx2.Response] = field(default_factory=list)
    stopping: bool = False

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._send(n)) for n in range(SENDERS)]
        try:
            yield
        finally:
            self.stopping = True
            await asyncio.gather(*tasks)

    async def _send(self, sender: int) -> None:
        async with httpx2.AsyncClient(
            base_url=self.house.url, trust_env=False, timeout=PATIENCE_SECONDS
        ) as http:
            number = 0
            while not self.stopping:
                credit = Credit(
                    f"c{sender}-{number}", f"customer-{sender}-{number % 12}", 1000 + number, False
                )
                if await self._acknowledged(http, credit):
                    self.acknowledged.append((time.monotonic(), credit))
                    number += 1
                await asyncio.sleep(PAUSE)

    async def _acknowledged(self, http: httpx2.AsyncClient, credit: Credit) -> bool:
        headers, body = self.house.callback(credit)
        try:
            answer = await http.post("/v1/receipts/desk", headers=headers, content=body)
        except httpx2.TransportError:
            return False
        if answer.status_code != 202:
            self.refused.append(answer)
        return answer.status_code == 202

    async def more(self, count: int) -> None:
        """Return when so many more have been acknowledged."""
        wanted = len(self.acknowledged) + count

        async def there() -> bool:
            return len(self.acknowledged) >= wanted

        await until(f"{count} more acknowledged", there, PATIENCE_SECONDS)

    @property
    def credits(self) -> list[Credit]:
        return [credit for _, credit in self.acknowledged]


@pytest.mark.timeout(900)
async def test_a_promotion_loses_and_doubles_nothing(
    pair: tuple[postgres.Cluster, postgres.Cluster], capsys: pytest.CaptureFixture[str]
) -> None:
    primary, replica = pair
    dsn = replica.dsn().replace("@", f"@127.0.0.1:{primary.port},")
    with house(0.02) as systems, ExitStack() as ends:
        programs = _programs(systems, dsn)
        for program in programs:
            ends.callback(program.stop)
        await asyncio.to_thread(programs[0].up)
        for worker in programs[1:]:
            worker.start()
        senders = Senders(systems, "c")
        async with senders.sending():
            await senders.more(12)
            await until("work under way", lambda: _made(systems, 10), PATIENCE_SECONDS)
            killed = time.monotonic()
            await asyncio.to_thread(primary.end, signal.SIGKILL)
            assert await _not_ready(systems)
            await asyncio.sleep(max(0.0, killed + DETECTED - time.monotonic()))
            await _promote(replica)
            promoted = time.monotonic()
            await senders.more(12)
        store = await PostgresStore.open(replica.dsn())
        try:
            await _all_done(store, senders)
            done = time.monotonic()
            # The former primary comes back, and nobody has fenced it.
            await asyncio.to_thread(primary.begin)
            before = await _receipts(primary)
            programs[1].stop()
            programs[1].start()
            later = Senders(systems, "later")
            async with later.sending():
                await later.more(4)
            assert await _receipts(primary) == before, "somebody wrote to the former primary"
            dump = await _all_done(store, later)
            credits = senders.credits + later.credits
            found = await check.check(store, utc_now(), frozenset(WRITES))
            assert found + systems.violations(dump, credits) + systems.interleaved() == []
            assert [case.message for case in dump.cases if case.state == "open"] == []
        finally:
            await store.close()
        assert [program.name for program in programs if program.ended() is not None] == []
    assert {answer.status_code for answer in senders.refused} == {503}, (
        "the doors did not say that it may be sent again"
    )
    for answer in senders.refused:
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
    first = min(at for at, _ in senders.acknowledged if at > killed)
    with capsys.disabled():
        print(
            f"\nfailover: promoted {promoted - killed:.2f} s after the kill, first commit after "
            f"{first - killed:.2f} s, all {len(senders.credits)} done after {done - killed:.2f} s, "
            f"of which the last was sent after {senders.acknowledged[-1][0] - killed:.2f} s"
        )


def _programs(systems: House, dsn: str) -> list[Program]:
    """The server without work of its own, and two workers."""
    environment = systems.environment()
    store = [str(GOVERNANCE), "--store", dsn]
    serve = [*CLI, "up", *store, "--workers", "0", "--port", str(systems.port)]
    return [
        Program("server", serve, systems.port, systems.home, environment),
        *(
            Program(
                f"worker-{n}", [*CLI, "worker", *store], 0, systems.home,
                environment | {"COUNTERFOIL_WORKER": f"worker-{n}"},
            )
            for n in (1, 2)
        ),
    ]  # fmt: skip


async def _made(systems: House, count: int) -> bool:
    return len(systems.made()) >= count


async def _not_ready(systems: House) -> bool:
    async with httpx2.AsyncClient(base_url=systems.url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        return (await http.get("/readyz")).status_code == 503


async def _promote(replica: postgres.Cluster) -> None:
    connection = await asyncpg.connect(replica.dsn())
    assert await connection.fetchval("select pg_promote()")
    await connection.close()


async def _all_done(store: PostgresStore, senders: Senders) -> Dump:
    """The store's content once every acknowledged credit has come to its end."""
    wanted = {credit.id for credit in senders.credits}

    async def done() -> Dump | None:
        dump = await store.dump()
        return dump if wanted <= {run.bkey for run in dump.runs if run.status == "done"} else None

    try:
        return await until("all credits", done, PATIENCE_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{_told(await store.dump(), wanted)}") from error


def _told(dump: Dump, wanted: set[str]) -> str:
    """What there is, for a test that fails."""
    lines = [
        f"run {run.bkey} {run.status} {run.state} due {run.due}" for run in dump.runs if run.status != "done"
    ]
    lines += [f"no run of {key}" for key in sorted(wanted - {run.bkey for run in dump.runs})]
    lines += [
        f"effect {e.operation} {e.state} {e.attempt} {e.error}"
        for e in dump.effects
        if e.state != "confirmed"
    ]
    lines += [f"case {case.reason} {case.state} {case.message}" for case in dump.cases]
    return "\n".join([*lines, *(f"todo {todo}" for todo in dump.todos)])


async def _receipts(cluster: postgres.Cluster) -> int:
    connection = await asyncpg.connect(cluster.dsn())
    count: int = await connection.fetchval("select count(*) from receipt")
    await connection.close()
    return count
