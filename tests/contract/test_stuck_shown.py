"""What the progress scan finds is seen by who watches: metrics, health and the doctor."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.flow.worker.worker_cases import scan_stalls
from tests.companies.small import TOKEN, metric, send, serving

pytestmark = pytest.mark.xdist_group("web")


async def doctor(http: httpx2.AsyncClient, folder: Path, about: str = "progress") -> list[dict[str, Any]]:
    """Its rows about something."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from counterfoil.cli.main import main; main()", "doctor", "--format", "json",
        cwd=folder, env={**os.environ, "COUNTERFOIL_URL": str(http.base_url), "COUNTERFOIL_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    rows: list[dict[str, Any]] = json.loads(out)
    return [row for row in rows if row["check"] == about]


async def test_what_is_stuck_is_shown_until_it_moves_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as (app, http):
        assert await metric(http, 'counterfoil_stuck{kind="todo_waiting"}') == 0
        assert [row["ok"] for row in await doctor(http, tmp_path)] == [True]
        assert (await send(http, "e1")).status_code == 202
        later = await app.now() + timedelta(hours=1)
        await scan_stalls(app.store, app.releases, later)
        await scan_stalls(app.store, app.releases, later + timedelta(minutes=1))
        assert await metric(http, 'counterfoil_stuck{kind="todo_waiting"}') == 1
        assert await metric(http, 'counterfoil_stuck{kind="run_lost"}') == 0
        (row,) = [row for row in await doctor(http, tmp_path) if "todo_waiting" in row["detail"]]
        assert not row["ok"]
        assert "receipt 1" in row["detail"]
        stuck = {each["kind"]: each for each in (await http.get("/v1/health")).json()["stuck"]}
        assert row["do"] == f"See Case {stuck['todo_waiting']['case']}."
        cases = (await http.get("/v1/cases?state=open")).json()["items"]
        about = [case for case in cases if case["id"] == stuck["todo_waiting"]["case"]]
        assert [(case["owner"], case["reason"]) for case in about] == [("operator", "stuck_todo_waiting")]
