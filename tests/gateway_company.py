"""A small company that offers operations: a real ledger over HTTP, its store, its worker and its server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import secrets
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from counterfoil.application import Application
from counterfoil.connectors import openapi
from counterfoil.core.people import Person
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model, read
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.web.http import server
from counterfoil.web.http.identity import new_token
from tests.contract.ledger_server import Ledger, running_ledger
from tests.contract.trial_http import config_of
from tests.web_company import cheap_passwords

FILES = """
{kind: system, name: ledger, role: erp, connector: http, owner: finance}
---
{kind: system, name: desk, role: support, connector: external, owner: finance}
---
{kind: role, name: finance, may: ["runs:any:read", "approvals:any:read", "approvals:own:decide", "cases:any:read", "metrics:any:read", "events:any:send"]}
---
kind: role
name: portal
may: ["operations:own:call"]
calls: [erp.payment.post, erp.invoice.get.v2, erp.invoice.list, erp.note.ask]
---
{kind: role, name: robot, may: ["operations:own:call"], calls: [erp.note.ask], speaks: [desk]}
---
{kind: role, name: stranger, may: ["operations:own:call"]}
---
{kind: object, name: note, system: desk, fields: {text: string, mood: {type: string, system: ledger}}}
---
{kind: policy, name: few, rate: {at_most: 2, every: 1h}}
---
kind: operation
name: erp.payment.post
doc: A payment in the ledger. Above 100 USD finance decides.
system: ledger
repeat: unique
irreversible: a payment is corrected by another
input: {payment_id: id, amount: money, requested_by?: string}
output: {payment: string}
exposes: {starts: payment}
---
kind: mapping
name: payment
to: {operation: erp.payment.post}
with: {amount: =input.amount.minor}
---
kind: operation
name: erp.invoice.get
system: ledger
repeat: read
input: {id: string}
output: {number: string}
deprecated: {since: 2026-01-01, sunset: 2036-01-01, use: erp.invoice.get.v2}
---
kind: operation
name: erp.invoice.get.v2
doc: One invoice.
system: ledger
repeat: read
timeout: 2s
input: {invoice: string}
output: {number: string, customer: string}
exposes: read
---
kind: mapping
name: get-invoice
to: {operation: erp.invoice.get.v2}
with: {id: =input.invoice}
returns: {result: {number: =result.number, customer: =result.customer}}
---
kind: mapping
name: get-1-2
cast: {from: erp.invoice.get, to: erp.invoice.get.v2}
with: {invoice: =input.id}
returns: {result: {number: =result.number}}
loses: {result.customer: the first version never told it}
---
kind: operation
name: erp.invoice.list
system: ledger
repeat: read
rate: few
input: {}
output: {pages: int}
exposes: read
---
kind: operation
name: erp.note.ask
system: ledger
object: note
repeat: read
input: {note_id: id, text?: string, mood?: string}
output: {length: int}
exposes: {starts: noting}
---
kind: operation
name: erp.note.add
system: ledger
executor: identity
repeat: blind
irreversible: what was read stays read
input: {text: string}
output: {note: string}
---
kind: policy
name: payments
approval: {currency: USD, matrix: [{up_to: 100, automatic: true}, {roles: [finance]}]}
---
kind: workflow
name: payment
owner: finance
failure: firm
start: {operation: erp.payment.post, key: input.payment_id, when: input.amount.minor > 0}
serial: {key: input.payment_id}
steps:
  - approve: payments
    amount: input.amount
    covers: [input.amount, input.payment_id]
    outcomes: {rejected: {stop: rejected}}
    becomes: approved
  - id: posted
    call: erp.payment.post
    with: {payment_id: =input.payment_id, amount: =input.amount}
    becomes: posted
returns: {payment: =posted.payment}
---
kind: workflow
name: noting
owner: finance
failure: firm
start: {operation: erp.note.ask, key: input.note_id}
serial: {key: input.note_id}
steps: [{check: 1 == 1, becomes: noted}]
returns: {length: "=has(input.text) ? size(input.text) : 1 / 0"}
---
kind: policy
name: firm
failure: {transient: retry, throttled: retry, conflict: retry, invalid: park, warning: park, period_closed: park,
  not_found: park, unauthorized: park, already_done: park, refused: park, unknown: park, timeout: park,
  rejected: {stop: rejected}, expired: {stop: expired}}
---
{kind: event, name: ping.sent.v1, produced: http, doc: Somebody is there., data: {day: date, amount: money}}
"""
PERSONS = {
    "pat": ["portal"],
    "rob": ["robot"],
    "sue": ["stranger"],
    "fin": ["finance"],
    "both": ["portal", "finance"],
}


@functools.cache
def model() -> Model:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "company.yaml").write_text(FILES)
        found, findings = read(Path(folder))
    assert [str(finding) for finding in findings if finding.severity == "error"] == []
    return found


class Offering:
    """The running company, and how a consumer speaks to it."""

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
        """A call; without a key a new one is made, with None none is sent."""
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
        """Decide on the one approval that is open."""
        (open_,) = (await self.get("/v1/approvals?state=open", "fin")).json()["items"]
        return await self.http.post(
            f"/v1/approvals/{open_['id']}",
            json={"decision": "approve" if approve else "reject"},
            headers={"authorization": f"Bearer {self.tokens[who]}"},
        )


def payment(id_: str, minor: int = 5000) -> dict[str, Any]:
    return {"payment_id": id_, "amount": {"minor": minor, "currency": "USD"}}


@contextlib.asynccontextmanager
async def offering(store: Any, worker: bool = True) -> AsyncIterator[Offering]:
    """The company on this store, served on a free port; with `worker`, its Runs are carried."""
    found = model()
    with running_ledger() as ledger:
        connector = openapi.connect(config_of(ledger))
        releases = Releases(store, found)
        await releases.publish(await store.now(), "test")
        pump = Worker(store, releases, {"ledger": connector}, f"trial/{secrets.token_hex(4)}")
        app = Application(store, store, releases, {"ledger": connector}, pump, lambda model, names: {})
        task = asyncio.create_task(pump.run() if worker else pump.attend())
        try:
            tokens = await _people(store)
            async with (
                _served(app) as url,
                httpx2.AsyncClient(base_url=url, trust_env=False, timeout=20) as http,
            ):
                yield Offering(app, ledger, http, tokens)
        finally:
            pump.stop()
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


@contextlib.asynccontextmanager
async def _served(app: Application) -> AsyncIterator[str]:
    sock = server.listen("127.0.0.1", 0)
    process = uvicorn.Server(server.config(server.build(app, cheap_passwords()), port=0))
    process.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(process.serve(sockets=[sock]))
    while not process.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        process.should_exit = True
        await task
        with contextlib.suppress(OSError):
            sock.close()
