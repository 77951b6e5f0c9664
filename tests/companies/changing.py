"""A company with changing governance: one workflow with an approval, a desk that sends events, and four persons."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from counterfoil.application import Application
from counterfoil.bootstrap import application
from counterfoil.store.dump import Dump
from counterfoil.web.http import server as web
from tests.companies.base import documents, failure_policy, listening, model_in, text_of, write_people
from tests.patience import PATIENCE_SECONDS
from tests.served import until

PEOPLE = {"pat": ["architect"], "cora": ["controller"], "eve": ["on-call"], "olga": ["operator"]}
COMPANY = documents(failure_policy(), text_of("changing"))


def token(person: str) -> str:
    return f"cf_token-of-{person}"


def prepare(folder: Path, text: str = COMPANY) -> None:
    """Write a governance folder that passes `check`, and the people file."""
    model_in(folder / "gov", text)
    write_people(folder / "people.json", {id_: token(id_) for id_ in PEOPLE}, PEOPLE)


class Changing:
    """The running company, with the requests that persons send to it."""

    def __init__(self, app: Application, url: str, folder: Path) -> None:
        self.app = app
        self.url = url
        self.folder = folder
        self.http = httpx2.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS)

    async def ask(self, method: str, path: str, person: str = "pat", **more: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {token(person)}", **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    async def plan(self, text: str, person: str = "pat", **query: Any) -> dict[str, Any]:
        """Plan a folder with this text. Return the plan report."""
        body = model_in(self.folder / "proposed", text).to_json()
        answer = await self.ask("POST", "/v1/plans", person, content=body, params={"days": 0, **query})
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        return report

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

    async def start_request(self, key: str, minor: int = 5_000, state: str = "agreed") -> str:
        """Send a request and wait until it is idle in this state. Return the id of its Run."""
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
    """Run the company behind a real socket, over the folder that `prepare` wrote."""
    url = store or f"sqlite:{folder / 'store.db'}"
    async with (
        application(folder / "gov", url, folder, workers) as app,
        listening(web.build(app)) as address,
    ):
        company = Changing(app, address, folder)
        async with company.http:
            yield company
