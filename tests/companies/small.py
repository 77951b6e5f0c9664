"""A company with an external desk and one person, behind a real socket, for tests of API and metrics."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2

from counterfoil.application import Application
from counterfoil.bootstrap import application
from counterfoil.flow.intake.load_shedding import SheddingLimits
from counterfoil.web.http import server as web
from tests.companies.base import listening, write, write_people
from tests.patching import replace_attribute
from tests.patience import PATIENCE_SECONDS

COMPANY = """
{kind: role, name: operator, may: ["events:any:send", "metrics:any:read", "cases:any:read"]}
---
{kind: system, name: desk, role: support, connector: external, owner: operator}
"""
TOKEN = "cf_a-token-of-the-tests"


@contextlib.asynccontextmanager
async def serving(
    folder: Path, bounds: SheddingLimits | None = None, workers: int = 0, company: str = COMPANY
) -> AsyncIterator[tuple[Application, httpx2.AsyncClient]]:
    """Run the application behind a real socket. Without workers its backlog stays."""
    write(folder / "gov", company)
    write_people(folder / "people.json", {"ann": TOKEN}, {"ann": ["operator"]})
    async with application(folder / "gov", f"sqlite:{folder / 'store.db'}", folder, workers) as app:
        replace_attribute(app.intake, "bounds", bounds or SheddingLimits())
        async with (
            listening(web.build(app)) as url,
            httpx2.AsyncClient(
                base_url=url,
                headers={"authorization": f"Bearer {TOKEN}"},
                trust_env=False,
                timeout=PATIENCE_SECONDS,
            ) as client,
        ):
            yield app, client


async def send(http: httpx2.AsyncClient, id_: str, data: object = 1) -> httpx2.Response:
    event = {"specversion": "1.0", "source": "/desk", "type": "asked.v1", "id": id_, "data": data}
    return await http.post(
        "/v1/events", content=json.dumps(event), headers={"content-type": "application/cloudevents+json"}
    )


async def metric(http: httpx2.AsyncClient, name: str) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " "))
