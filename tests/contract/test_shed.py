"""Deliveries are refused before anything of them is kept when too much waits; what is kept stays promised."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from counterfoil.app import Application, application
from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.flow import shed
from counterfoil.flow.shed import Bounds, Intake
from counterfoil.store import store as port
from counterfoil.store.commit import Outcome
from counterfoil.store.sqlite import SqliteStore
from counterfoil.web import server as web
from tests.contract.store import samples as s

pytestmark = pytest.mark.xdist_group("web")

COMPANY = """
{kind: role, name: operator, may: ["events:any:send", "metrics:any:read", "cases:any:read"]}
---
{kind: system, name: desk, role: support, connector: external, owner: operator}
"""
TOKEN = "cf_a-token-of-the-tests"


@contextlib.asynccontextmanager
async def serving(
    folder: Path, bounds: Bounds, workers: int = 0
) -> AsyncIterator[tuple[Application, httpx2.AsyncClient]]:
    """The application behind a real socket, with or without the worker that would empty its backlog."""
    (folder / "gov").mkdir()
    (folder / "gov" / "company.yaml").write_text(COMPANY)
    person = {"id": "ann", "name": "Ann", "email": "ann@example.com", "roles": ["operator"]}
    token = {"token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
    (folder / "people.json").write_text(json.dumps([person | token]))
    async with application(folder / "gov", f"sqlite:{folder / 'store.db'}", folder, workers) as app:
        app.intake.bounds = bounds
        server = uvicorn.Server(web.config(web.build(app)))
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        sock = web.listen("127.0.0.1", 0)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            async with httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{sock.getsockname()[1]}",
                headers={"authorization": f"Bearer {TOKEN}"},
                trust_env=False,
                timeout=20,
            ) as client:
                yield app, client
        finally:
            server.should_exit = True
            await task


async def send(http: httpx2.AsyncClient, id_: str, data: object = 1) -> httpx2.Response:
    event = {"specversion": "1.0", "source": "/desk", "type": "asked.v1", "id": id_, "data": data}
    return await http.post(
        "/v1/events", content=json.dumps(event), headers={"content-type": "application/cloudevents+json"}
    )


async def metric(http: httpx2.AsyncClient, name: str) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " "))


async def test_a_full_backlog_refuses_what_is_new_and_keeps_its_word_for_what_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shed, "LOOK_EVERY", 0.0)
    async with serving(tmp_path, Bounds(backlog=3)) as (app, http):
        for n in range(4):
            assert (await send(http, f"e{n}")).status_code == 202
        refused = await send(http, "e4")
        assert refused.status_code == 503
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["type"] == "urn:counterfoil:problem:try-again"
        assert len((await app.store.dump()).receipts) == 4  # type: ignore[attr-defined]
        again = await send(http, "e2")
        assert (again.status_code, again.json()["items"][0]["verdict"]) == (202, "same")
        assert (await send(http, "e2", "other")).status_code == 503
        assert await metric(http, 'counterfoil_intake_shed_total{over="backlog"}') == 2
        assert (await http.get("/v1/cases")).status_code == 200


async def test_an_old_backlog_refuses_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shed, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(shed, "PLACE", 1)
    async with serving(tmp_path, Bounds(age=0.2)) as (_, http):
        assert (await send(http, "e0")).status_code == 202
        await asyncio.sleep(0.3)
        assert (await send(http, "e1")).status_code == 202, "one that waits alone refuses nobody"
        await asyncio.sleep(0.3)
        assert (await send(http, "e2")).status_code == 503
        assert await metric(http, 'counterfoil_intake_shed_total{over="age"}') == 1


async def test_a_backlog_that_was_worked_off_takes_deliveries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shed, "LOOK_EVERY", 0.0)
    async with serving(tmp_path, Bounds(backlog=1), workers=1) as (_, http):
        answers = await asyncio.gather(*(send(http, f"e{n}") for n in range(40)))
        assert {answer.status_code for answer in answers} <= {202, 503}
        for n in range(40):
            async with asyncio.timeout(20):
                while (await send(http, f"e{n}")).status_code != 202:
                    await asyncio.sleep(0.05)


class Slow(SqliteStore):
    """A store whose disk takes its time."""

    held: asyncio.Event

    async def _commit(self, batch: Sequence[port.Transition]) -> list[Outcome]:
        await self.held.wait()
        return await super()._commit(batch)


async def test_a_long_queue_refuses_and_what_queued_before_is_kept(tmp_path: Path) -> None:
    store = await Slow.open(tmp_path / "slow.db")
    store.held = asyncio.Event()
    try:
        intake = Intake(store, Bounds(queue=5))
        asked = []
        for n in range(6):
            asked.append(asyncio.create_task(intake.apply(s.receive(s.receipt(f"r{n}")))))
            await asyncio.sleep(0.02)
        while store.depth < 5:
            await asyncio.sleep(0.01)
        asked.append(asyncio.create_task(intake.apply(s.receive(s.receipt("r6")))))
        await asyncio.sleep(0.05)
        with pytest.raises(TryAgain, match="Nothing was kept"):
            await intake.apply(s.receive(s.receipt("late")))
        assert intake.refused == {"queue": 1}
        store.held.set()
        assert [(await task).verdicts for task in asked] == [("new",)] * 7
        assert {r.ext_id for r in (await store.dump()).receipts} == {f"r{n}" for n in range(7)}
    finally:
        store.held.set()
        await store.close()


async def test_the_backlog_is_read_once_a_second_whatever_comes(tmp_path: Path) -> None:
    store: Any = await SqliteStore.open(tmp_path / "store.db")
    looks, now = [], [0.0]
    read = store.backlog

    async def counted(most: int, place: int) -> port.Backlog:
        looks.append(now[0])
        found: port.Backlog = await read(most, place)
        return found

    store.backlog = counted
    try:
        intake = Intake(store, Bounds(), lambda: now[0])
        await asyncio.gather(*(intake.apply(s.receive(s.receipt(f"a{n}"))) for n in range(50)))
        assert looks == [0.0]
        now[0] = 1.5
        await asyncio.gather(*(intake.apply(s.receive(s.receipt(f"b{n}"))) for n in range(50)))
        assert looks == [0.0, 1.5]
    finally:
        await store.close()


def test_bounds_come_from_the_environment() -> None:
    assert Bounds.of({}) == Bounds()
    assert Bounds.of({"COUNTERFOIL_SHED_QUEUE": "7", "COUNTERFOIL_SHED_AGE": "60"}) == Bounds(queue=7, age=60)
    for text in ("0", "-1", "many", "1.5"):
        with pytest.raises(Misconfigured, match="COUNTERFOIL_SHED_BACKLOG"):
            Bounds.of({"COUNTERFOIL_SHED_BACKLOG": text})
