"""A small company that offers operations, with a real ledger over HTTP, a store, a worker and a server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2

from counterfoil.application import Application
from counterfoil.connectors import openapi
from counterfoil.core.people import Person
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.web.http import server
from counterfoil.web.http.identity import new_token
from tests.companies.base import documents, failure_policy, listening, model_of, text_of
from tests.companies.web import cheap_passwords
from tests.contract.ledger_server import Ledger, running_ledger
from tests.contract.trial_http import config_of
from tests.patience import PATIENCE_SECONDS

COMPANY = documents(
    failure_policy("firm", rejected="{stop: rejected}", expired="{stop: expired}"), text_of("gateway")
)
PERSONS = {
    "pat": ["portal"],
    "rob": ["robot"],
    "sue": ["stranger"],
    "fin": ["finance"],
    "both": ["portal", "finance"],
}


@functools.cache
def model() -> Model:
    return model_of(COMPANY)


class Offering:
    """The running company, with the requests that a consumer sends to it."""

    def __init__(
        self, app: Application, ledger: Ledger, http: httpx2.AsyncClient, tokens: dict[str, str]
    ) -> None:
        self.app = app
        self.ledger = ledger
        self.http = http
        self.tokens = tokens

    async def call(
        self, name: str, body: Any, key: str | None = "", who: str = "pat", **headers: str
    ) -> httpx2.Response:
        """Call an operation. An empty key is replaced by a fresh one; None sends no key."""
        sent = {"authorization": f"Bearer {self.tokens[who]}", "content-type": "application/json"}
        if key is not None:
            sent["idempotency-key"] = key or secrets.token_hex(8)
        sent |= {head.replace("_", "-"): value for head, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(f"/v1/operations/{name}", content=content, headers=sent)

    async def get(self, path: str, who: str = "pat", **headers: str) -> httpx2.Response:
        return await self.http.get(path, headers={"authorization": f"Bearer {self.tokens[who]}"} | headers)

    async def pay(self, id_: str, minor: int = 5000, key: str | None = "", **more: str) -> httpx2.Response:
        return await self.call("erp.payment.post", payment(id_, minor), key, **more)

    async def decide(self, approve: bool = True, who: str = "fin") -> httpx2.Response:
        """Decide on the only open approval."""
        (open_,) = (await self.get("/v1/approvals?state=open", "fin")).json()["items"]
        return await self.http.post(
            f"/v1/approvals/{open_['id']}",
            json={"decision": "approve" if approve else "reject"},
            headers={"authorization": f"Bearer {self.tokens[who]}"},
        )


def payment(id_: str, minor: int = 5000) -> dict[str, Any]:
    return {"payment_id": id_, "amount": {"minor": minor, "currency": "USD"}}


@contextlib.asynccontextmanager
async def offering(store: Any, worker: bool = True, offered: Model | None = None) -> AsyncIterator[Offering]:
    """Run the company on this store and serve it on a free port. Without `worker` no Run proceeds."""
    offered = offered or model()
    with running_ledger() as ledger:
        connector = openapi.connect(config_of(ledger))
        releases = Releases(store, offered)
        await releases.publish(await store.now(), "test")
        process = Worker(store, releases, {"ledger": connector}, f"trial/{secrets.token_hex(4)}")
        app = Application(store, store, releases, {"ledger": connector}, process, lambda model, names: {})
        task = asyncio.create_task(process.run() if worker else process.attend())
        try:
            tokens = await _people(store)
            async with (
                listening(server.build(app, cheap_passwords())) as url,
                httpx2.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as http,
            ):
                yield Offering(app, ledger, http, tokens)
        finally:
            process.stop()
            await task
            await connector.close()


async def _people(store: Any) -> dict[str, str]:
    now, tokens = await store.now(), {}
    for id_, roles in PERSONS.items():
        person = Person(id=id_, name=id_, email=f"{id_}@acme.example", roles=tuple(roles))
        await store.apply(PutPerson(person=person, at=now, actor="test"))
        tokens[id_], token = new_token(id_, now + timedelta(days=1))
        await store.apply(PutToken(token=token, at=now))
    return tokens
