"""`usage_vs_limit`: usage over HTTP, durable before the response, relative to the bare insert of the same rows.

The server is `counterfoil up` with its worker in a separate process. The clients send prepared batches. The limit is the
store's own insert in this process at full speed, without HTTP, validation or leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import asyncpg

from bench.startup import COMMAND, free_port
from counterfoil.core.usage import UsageRow, read_batch
from counterfoil.model import Model, read
from counterfoil.rules.usage import Meters, check_batch
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.store.sql.statements import lite_insert
from counterfoil.store.sql.verbs.usage import INSERT
from tests import postgres as real_postgres

BATCHES = 100
BATCH_EVENTS = 1000
"""Events of one batch, and rows of one transaction of the limit."""
CLIENTS = 4
TIMEOUT_SECONDS = 60.0
MEDIA = "application/cloudevents-batch+json"
GOVERNANCE = """
{kind: role, name: sender, may: ["usage:any:send"]}
---
{kind: system, name: product, role: product, connector: external, owner: sender}
---
kind: event
name: usage.recorded.v1
produced: http
usage: {subscription: subscription_id, meter: meter}
data: {subscription_id: id, meter: {enum: [api_calls, storage_gb_hours]}, quantity: decimal}
"""


def batches(count: int) -> list[bytes]:
    """Return request bodies; each event has its own id."""
    now = datetime.now(UTC)
    bodies = []
    for _ in range(count):
        events = []
        for n in range(BATCH_EVENTS):
            at = now - timedelta(seconds=n)
            data = {"subscription_id": f"sub_{n % 500:05}", "meter": "api_calls", "quantity": n % 97 + 0.5}
            events.append(
                {
                    "specversion": "1.0", "id": secrets.token_hex(12), "source": "/product/eu-1",
                    "type": "usage.recorded.v1", "time": f"{at:%Y-%m-%dT%H:%M:%S}.{n:03}Z", "data": data,
                }
            )  # fmt: skip
        bodies.append(json.dumps(events).encode())
    return bodies


def governance(folder: Path) -> Model:
    (folder / "governance").mkdir()
    (folder / "governance" / "usage.yaml").write_text(GOVERNANCE)
    return read(folder / "governance")[0]


class Usage:
    """Both sides of the comparison on one kind of store."""

    unit = "usage events per second"
    peer = "a raw batch insert of the same rows into the same store"
    target = ">= 0.6"

    def __init__(self, count: int = BATCHES) -> None:
        self.count = count
        self.bodies: list[bytes] = []
        self.cpu: list[float] = []

    def met(self, ours: float, ratio: float) -> bool:
        return ratio >= 0.6

    @contextlib.contextmanager
    def place(self, folder: Path) -> Iterator[str]:
        """Return the URL of a new store."""
        yield f"sqlite:{folder / 'usage.sqlite'}"

    def insert(self, url: str, rows: list[list[UsageRow]]) -> float:
        """Insert the rows with one transaction per batch, and return the seconds."""
        raise NotImplementedError

    def count_rows(self, url: str) -> int:
        raise NotImplementedError

    def ours(self) -> float:
        self.bodies = batches(self.count)
        with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as name:
            folder = Path(name)
            governance(folder)
            with self.place(folder) as url:
                with server(folder, url) as (process, port, token):
                    began = time.perf_counter()
                    with ThreadPoolExecutor(CLIENTS) as clients:
                        shares = [self.bodies[n::CLIENTS] for n in range(CLIENTS)]
                        accepted = sum(clients.map(lambda share: post(port, token, share), shares))
                    seconds = time.perf_counter() - began
                    self.cpu.append(processor(process.pid) / accepted * 1e6)
                if not accepted == self.count_rows(url) == self.count * BATCH_EVENTS:
                    raise RuntimeError(f"{accepted} accepted and {self.count_rows(url)} stored")
        return accepted / seconds

    def against(self) -> float:
        with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as name:
            folder = Path(name)
            meters, now, rows = Meters(governance(folder)), datetime.now(UTC), []
            for n, body in enumerate(self.bodies):
                rows.append(check_batch(*read_batch(body, MEDIA), meters, f"usage_{n:020}", now).rows)
            with self.place(folder) as url:
                seconds = self.insert(url, rows)
                if self.count_rows(url) != self.count * BATCH_EVENTS:
                    raise RuntimeError("the limit did not insert the same rows")
        return self.count * BATCH_EVENTS / seconds

    def note(self) -> str:
        return (
            f"{self.count} batches of {BATCH_EVENTS} from {CLIENTS} connections; each batch is authenticated by token, "
            f"validated, deduplicated and recorded with a leaf. Server and clients share the machine. Server: "
            f"{sorted(self.cpu)[len(self.cpu) // 2]:.0f} µs of processor time per event, including its start."
        )


class UsageSqlite(Usage):
    def insert(self, url: str, rows: list[list[UsageRow]]) -> float:
        path = url.removeprefix("sqlite:")
        asyncio.run(_create_store(path))
        connection = apsw.Connection(path)
        for setting in ("journal_mode = wal", "synchronous = full", "cache_size = -65536"):
            connection.execute(f"pragma {setting}")
        sql = lite_insert(t.USAGE, True, "")
        began = time.perf_counter()
        for batch in rows:
            connection.execute("begin immediate")
            list(connection.executemany(sql, batch))
            connection.execute("commit")
        seconds = time.perf_counter() - began
        connection.close()
        return seconds

    def count_rows(self, url: str) -> int:
        connection = apsw.Connection(url.removeprefix("sqlite:"))
        try:
            return int(next(iter(connection.execute("select count(*) from usage_event")))[0])
        finally:
            connection.close()


class UsagePostgres(Usage):
    @contextlib.contextmanager
    def place(self, folder: Path) -> Iterator[str]:
        with real_postgres.running() as cluster:
            yield cluster.dsn()

    def insert(self, url: str, rows: list[list[UsageRow]]) -> float:
        async def timed() -> float:
            await (await PostgresStore.open(url)).close()
            connection = await asyncpg.connect(url)
            began = time.perf_counter()
            for batch in rows:
                columns = [list(column) for column in zip(*batch, strict=True)]
                async with connection.transaction():
                    await connection.fetch(INSERT, *columns)
            seconds = time.perf_counter() - began
            await connection.close()
            return seconds

        return asyncio.run(timed())

    def count_rows(self, url: str) -> int:
        async def count() -> int:
            connection = await asyncpg.connect(url)
            rows: int = await connection.fetchval("select count(*) from usage_event")
            await connection.close()
            return rows

        return asyncio.run(count())


async def _create_store(path: str) -> None:
    await (await SqliteStore.open(path)).close()


@contextlib.contextmanager
def server(folder: Path, url: str) -> Iterator[tuple[subprocess.Popen[bytes], int, str]]:
    """Run `counterfoil up` on this store until it is ready; on leaving, terminate it."""
    token = secrets.token_urlsafe(32)
    person = {"id": "bench", "name": "Bench", "email": "bench@example.com", "roles": ["sender"]}
    person["token_sha256"] = hashlib.sha256(token.encode()).hexdigest()
    (folder / "people.json").write_text(json.dumps([person]))
    port = free_port()
    command = [
        sys.executable,
        "-c",
        COMMAND,
        "up",
        str(folder / "governance"),
        "--port",
        str(port),
        "--store",
        url,
    ]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "COUNTERFOIL_PEOPLE": str(folder / "people.json")},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.perf_counter() + TIMEOUT_SECONDS
        while not ready(port):
            if process.poll() is not None or time.perf_counter() > until:
                raise RuntimeError(f"the server did not start:\n{(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield process, port, token
    finally:
        process.terminate()
        process.wait(60)


def ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def post(port: int, token: str, bodies: list[bytes]) -> int:
    """Send the bodies one after another over one connection, and return the number of accepted events."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    headers = {"authorization": f"Bearer {token}", "content-type": MEDIA}
    accepted = 0
    for body in bodies:
        connection.request("POST", "/v1/usage", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 202:
            raise RuntimeError(f"the server answered {answer.status} to usage: {text[:500]!r}")
        accepted += _accepted(json.loads(text))
    connection.close()
    return accepted


def _accepted(answer: dict[str, Any]) -> int:
    if answer["refused"] or answer["repeated"]:
        raise RuntimeError(f"a batch was not accepted completely: {str(answer)[:500]}")
    return int(answer["accepted"])


def processor(pid: int) -> float:
    """Return the seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
