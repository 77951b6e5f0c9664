"""Deliveries are refused before anything of them is kept when too much waits; what is kept stays promised."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.flow.intake import load_shedding
from counterfoil.flow.intake.load_shedding import Intake, SheddingLimits
from counterfoil.store.port.store import Backlog
from counterfoil.store.port.transition import Transition
from counterfoil.store.sql.group_commit import ItemResult
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.small import metric, send, serving
from tests.contract.store import samples as s
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")


async def test_a_full_backlog_refuses_what_is_new_and_keeps_its_word_for_what_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_shedding, "BACKLOG_CACHE_SECONDS", 0.0)
    async with serving(tmp_path, SheddingLimits(backlog=3)) as (app, http):
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
    monkeypatch.setattr(load_shedding, "BACKLOG_CACHE_SECONDS", 0.0)
    monkeypatch.setattr(load_shedding, "MAX_OLDER_TODOS", 1)
    async with serving(tmp_path, SheddingLimits(age=0.2)) as (_, http):
        assert (await send(http, "e0")).status_code == 202
        await asyncio.sleep(0.3)
        assert (await send(http, "e1")).status_code == 202, "one that waits alone refuses nobody"
        await asyncio.sleep(0.3)
        assert (await send(http, "e2")).status_code == 503
        assert await metric(http, 'counterfoil_intake_shed_total{over="age"}') == 1


async def test_a_backlog_that_was_worked_off_takes_deliveries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_shedding, "BACKLOG_CACHE_SECONDS", 0.0)
    async with serving(tmp_path, SheddingLimits(backlog=1), workers=1) as (_, http):
        answers = await asyncio.gather(*(send(http, f"e{n}") for n in range(40)))
        assert {answer.status_code for answer in answers} <= {202, 503}
        for n in range(40):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await send(http, f"e{n}")).status_code != 202:
                    await asyncio.sleep(0.05)


class Slow(SqliteStore):
    """A store whose disk takes its time."""

    begun: asyncio.Event
    held: asyncio.Event

    async def _commit(self, batch: Sequence[Transition[Any]]) -> list[ItemResult]:
        self.begun.set()
        await self.held.wait()
        return await super()._commit(batch)


async def test_a_long_queue_refuses_and_what_queued_before_is_kept(tmp_path: Path) -> None:
    store = await Slow.open(tmp_path / "slow.db")
    store.begun, store.held = asyncio.Event(), asyncio.Event()
    try:
        intake = Intake(store, SheddingLimits(queue=5))
        asked = [asyncio.create_task(intake.apply(s.receive(s.receipt("r0"))))]
        await store.begun.wait()
        for n in range(1, 7):
            asked.append(asyncio.create_task(intake.apply(s.receive(s.receipt(f"r{n}")))))
            while store.depth < n:
                await asyncio.sleep(0.001)
        with pytest.raises(TryAgain, match="Nothing was stored"):
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

    async def counted(most: int, place: int) -> Backlog:
        looks.append(now[0])
        found: Backlog = await read(most, place)
        return found

    store.backlog = counted
    try:
        intake = Intake(store, SheddingLimits(), lambda: now[0])
        await asyncio.gather(*(intake.apply(s.receive(s.receipt(f"a{n}"))) for n in range(50)))
        assert looks == [0.0]
        now[0] = 1.5
        await asyncio.gather(*(intake.apply(s.receive(s.receipt(f"b{n}"))) for n in range(50)))
        assert looks == [0.0, 1.5]
    finally:
        await store.close()


def test_bounds_come_from_the_environment() -> None:
    assert SheddingLimits.of({}) == SheddingLimits()
    assert SheddingLimits.of({"COUNTERFOIL_SHED_QUEUE": "7", "COUNTERFOIL_SHED_AGE": "60"}) == SheddingLimits(
        queue=7, age=60
    )
    for text in ("0", "-1", "many", "1.5"):
        with pytest.raises(Misconfigured, match="COUNTERFOIL_SHED_BACKLOG"):
            SheddingLimits.of({"COUNTERFOIL_SHED_BACKLOG": text})
