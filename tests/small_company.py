"""The application with an external desk and one person, behind a real socket: for tests of doors and figures."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import uvicorn

from counterfoil.application import Application
from counterfoil.bootstrap import application
from counterfoil.flow.intake.load_shedding import BacklogLimits
from counterfoil.web.http import server as web

COMPANY = """
{kind: role, name: operator, may: ["events:any:send", "metrics:any:read", "cases:any:read"]}
---
{kind: system, name: desk, role: support, connector: external, owner: operator}
"""
TOKEN = "cf_a-token-of-the-tests"


@contextlib.asynccontextmanager
async def serving(
    folder: Path, bounds: BacklogLimits | None = None, workers: int = 0, company: str = COMPANY
) -> AsyncIterator[tuple[Application, httpx2.AsyncClient]]:
    """The application behind a real socket, with or without the worker that would empty its backlog."""
    (folder / "gov").mkdir()
    (folder / "gov" / "company.yaml").write_text(company)
    person = {"id": "ann", "name": "Ann", "email": "ann@example.com", "roles": ["operator"]}
    token = {"token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
    (folder / "people.json").write_text(json.dumps([person | token]))
    async with application(folder / "gov", f"sqlite:{folder / 'store.db'}", folder, workers) as app:
        app.intake.bounds = bounds or BacklogLimits()
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
