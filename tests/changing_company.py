"""A company whose governance changes: a desk that asks and answers, a workflow with an approval, four persons."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from counterfoil.application import Application
from counterfoil.bootstrap import application
from counterfoil.model import Model, read
from counterfoil.store.dump import Dump
from counterfoil.web.http import server as web
from tests.served import until

PEOPLE = {"pat": ["architect"], "cora": ["controller"], "eve": ["on-call"], "olga": ["operator"]}
COMPANY = """\
{kind: role, name: architect, may: ["releases:any:plan", "releases:any:apply", "releases:any:read", "approvals:any:read", "approvals:own:decide", "runs:any:migrate", "runs:any:read"]}
---
{kind: role, name: controller, may: ["approvals:any:read", "approvals:own:decide", "releases:any:read"]}
---
{kind: role, name: on-call, may: ["releases:any:plan", "releases:any:apply", "releases:any:read", "cases:any:read"]}
---
{kind: role, name: operator, may: ["events:any:send", "runs:any:read", "cases:any:read"]}
---
{kind: system, name: desk, role: support, connector: external, owner: operator}
---
kind: object
name: request
system: desk
fields: {name: string, amount: money}
---
kind: event
name: request.asked.v1
produced: http
object: request
data: {request_id: id, amount: money, requested_by: string}
---
kind: event
name: request.answered.v1
produced: http
data: {request_id: id}
---
kind: policy
name: careful
failure:
  transient: retry
  throttled: retry
  conflict: retry
  invalid: park
  warning: park
  period_closed: park
  not_found: park
  unauthorized: park
  already_done: park
  refused: park
  unknown: park
  timeout: park
---
kind: policy
name: spending
approval:
  currency: USD
  matrix: [{up_to: 100, automatic: true}, {roles: [controller]}]
---
kind: policy
name: changes
change:
  approve:
    - {of: [approval, money, security], roles: [controller]}
    - {of: [breaking], owners: true}
    - {of: [other], automatic: true}
  emergency: [on-call]
---
kind: workflow
name: request
owner: operator
failure: careful
start: {event: request.asked.v1, key: event.data.request_id}
steps:
  - id: agreed
    approve: spending
    amount: event.data.amount
    covers: [event.data.amount, event.data.request_id]
    outcomes: {rejected: {stop: rejected}, expired: park, stale: park}
    becomes: agreed
  - id: answered
    wait: {event: request.answered.v1, where: event.data.request_id == start.data.request_id, until: +30d}
    outcomes: {timeout: park}
    becomes: answered
"""


def model_of(folder: Path, text: str) -> Model:
    """The model of a text, which passes check."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "company.yaml").write_text(text)
    model, findings = read(folder)
    assert [str(f) for f in findings if f.severity == "error"] == []
    return model


def token(person: str) -> str:
    return f"cf_token-of-{person}"


def prepare(folder: Path, text: str = COMPANY) -> None:
    """A governance folder and the people file."""
    model_of(folder / "gov", text)
    people = [
        {
            "id": id_, "name": id_.title(), "email": f"{id_}@example.com", "roles": roles,
            "token_sha256": hashlib.sha256(token(id_).encode()).hexdigest(),
        }
        for id_, roles in PEOPLE.items()
    ]  # fmt: skip
    (folder / "people.json").write_text(json.dumps(people))


class Changing:
    """The running company, as persons talk to it."""

    def __init__(self, app: Application, url: str, folder: Path) -> None:
        self.app = app
        self.url = url
        self.folder = folder
        self.http = httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30)

    async def ask(self, method: str, path: str, person: str = "pat", **more: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {token(person)}", **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    async def plan(self, text: str, person: str = "pat", **query: Any) -> dict[str, Any]:
        """Plan a folder with this text; the answer."""
        body = model_of(self.folder / "proposed", text).to_json()
        answer = await self.ask("POST", "/v1/plans", person, content=body, params={"days": 0, **query})
        assert answer.status_code == 200, answer.text
        answered: dict[str, Any] = answer.json()
        return answered

    async def decide(self, approval: str, person: str, decision: str = "approve") -> httpx2.Response:
        return await self.ask("POST", f"/v1/approvals/{approval}", person, json={"decision": decision})

    async def apply(self, plan: str, person: str = "pat", **more: Any) -> httpx2.Response:
        return await self.ask("POST", "/v1/releases", person, json={"plan": plan, "reason": "agreed", **more})

    async def change(self, text: str, **query: Any) -> dict[str, Any]:
        """Plan, approve and apply."""
        planned = await self.plan(text, **query)
        for approval in planned["approvals"]:
            assert (await self.decide(approval["id"], "cora")).status_code == 200
        done = await self.apply(planned["plan"]["digest"])
        assert done.status_code == 200, done.text
        return planned

    async def send(self, type_: str, id_: str, data: dict[str, Any]) -> None:
        event = {"specversion": "1.0", "source": "/desk", "type": type_, "id": id_, "data": data}
        answer = await self.ask("POST", "/v1/events", "olga", json=event,
                                headers={"content-type": "application/cloudevents+json"})  # fmt: skip
        assert answer.status_code == 202, answer.text

    async def asked(self, key: str, minor: int = 5_000, state: str = "agreed") -> str:
        """A request that is at a state, waiting; the id of its Run."""
        amount = {"minor": minor, "currency": "USD"}
        data = {"request_id": key, "amount": amount, "requested_by": "olga"}
        await self.send("request.asked.v1", f"asked-{key}", data)

        async def there() -> str | None:
            runs = [run for run in (await self.dump()).runs if run.bkey == key]
            quiet = [run for run in runs if run.state == state and run.consumed == run.inbox_n]
            return quiet[0].id if quiet else None

        return await until(f"{key} at {state}", there)

    async def dump(self) -> Dump:
        return await self.app.store.dump()  # type: ignore[attr-defined,no-any-return]


@contextlib.asynccontextmanager
async def changing(folder: Path, store: str | None = None, workers: int = 1) -> AsyncIterator[Changing]:
    """The company behind a real socket, over the folder that `prepare` made."""
    url = store or f"sqlite:{folder / 'store.db'}"
    async with application(folder / "gov", url, folder, workers) as app:
        server = uvicorn.Server(web.config(web.build(app)))
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        sock = web.listen("127.0.0.1", 0)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        while not server.started:
            await asyncio.sleep(0.01)
        company = Changing(app, f"http://127.0.0.1:{sock.getsockname()[1]}", folder)
        try:
            async with company.http:
                yield company
        finally:
            server.should_exit = True
            await task
