"""Servers of the gateway that die, and several on one store: one Run and one answer for each key, whoever is left."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.bootstrap import open_store
from counterfoil.core.clock import utc_now
from counterfoil.store.check import check
from tests.companies.gateway import offering, payment
from tests.patience import PATIENCE_SECONDS
from tests.source import ROOT

SHORT = "wait=2"


class Victim:
    """A server that can be killed."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "tests.contract.gateway_process", url]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url, self.token = self.process.stdout.readline().split()

    def ask(self, id_: str, key: str, prefer: str = SHORT) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.token}", "idempotency-key": key, "prefer": prefer}
        with httpx2.Client(base_url=self.url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
            return http.post("/v1/operations/erp.payment.post", json=payment(id_), headers=headers)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def later(store: Any, seconds: float) -> None:
    """As if so much time had passed."""
    real = store.now

    async def now() -> Any:
        return await real() + timedelta(seconds=seconds)

    store.now = now


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_killed_server_leaves_its_calls_to_the_next(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = f"sqlite:{tmp_path / 'company.db'}"
    if kind == "postgres":
        cluster = request.getfixturevalue("postgres")
        url = cluster.dsn(await cluster.create())
    victim = await asyncio.to_thread(Victim, url)
    answered = await asyncio.to_thread(victim.ask, "p-0", "k0", "respond-async")
    assert answered.status_code == 202
    asking = [asyncio.to_thread(victim.ask, f"p-{n}", f"k{n}") for n in range(1, 4)]
    dying = asyncio.gather(*asking, return_exceptions=True)
    watcher = await open_store(url) if kind == "postgres" else None
    if watcher is not None:
        while await watcher.call("pat", "erp.payment.post", "k3") is None:
            await asyncio.sleep(0.02)
        await watcher.close()
    else:
        await asyncio.sleep(1.0)  # nobody else reads a store that a process owns
    victim.kill()
    await dying

    store = await open_store(url)
    try:
        left = (await store.dump()).calls
        assert {call.key: call.status for call in left}["k0"] == 202
        assert [call.key for call in left if call.status is None] != []
        async with offering(store) as company:
            later(store, 60)
            repeated = await company.pay("p-0", key="k0", Prefer="respond-async")
            assert (repeated.status_code, repeated.content) == (202, answered.content)
            for n in range(1, 4):
                answer = await company.pay(f"p-{n}", key=f"k{n}", Prefer="wait=20")
                assert (answer.status_code, answer.json()["status"]) == (200, "done")
                held = next((call for call in left if call.key == f"k{n}"), None)
                assert held is None or held.run == answer.json()["run"]
                again = await company.pay(f"p-{n}", key=f"k{n}")
                assert again.content == answer.content
            await _done(store, 4)
            assert len(company.ledger.payments) == 4
            dump = await store.dump()
            assert (len(dump.runs), len(dump.receipts), len(dump.calls)) == (4, 4, 4)
            assert await check(store, await store.now()) == []
    finally:
        await store.close()


async def _done(store: Any, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Counter(run.status for run in (await store.dump()).runs)["done"] < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_two_servers_on_one_store_answer_each_key_once(postgres_dsn: str) -> None:
    one, other = await open_store(postgres_dsn), await open_store(postgres_dsn)
    try:
        async with offering(one) as first, offering(other) as second:
            second.tokens = first.tokens = {**first.tokens, **second.tokens}
            both = (first, second)
            answers = await asyncio.gather(
                *(both[n % 2].pay(f"p-{n // 8}", key=f"k{n // 8}") for n in range(48))
            )
            counts = Counter(answer.status_code for answer in answers)
            assert set(counts) <= {200, 409}, counts
            for key in range(6):
                given = {a.content for n, a in enumerate(answers) if n // 8 == key and a.status_code == 200}
                settled = await both[key % 2].pay(f"p-{key}", key=f"k{key}")
                assert settled.status_code == 200
                assert given <= {settled.content}
                assert json.loads(settled.content)["status"] == "done"
            dump = await one.dump()
            assert (len(dump.runs), len(dump.receipts), len(dump.calls)) == (6, 6, 6)
            assert len(first.ledger.payments) + len(second.ledger.payments) == 6
            assert await check(one, utc_now()) == []
    finally:
        await one.close()
        await other.close()
