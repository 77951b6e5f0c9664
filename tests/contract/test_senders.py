"""Separation of duties over HTTP: who asked and who sent are persons, whatever an event says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.bootstrap import open_store
from counterfoil.core import wire
from tests.companies.base import model_of
from tests.companies.gateway import COMPANY, Offering, offering
from tests.served import until

ASKED = """
---
kind: event
name: refund.asked.v1
produced: http
data: {refund_id: id, amount: money, requested_by: string}
---
kind: workflow
name: refund
owner: finance
failure: firm
start: {event: refund.asked.v1, key: event.data.refund_id}
serial: {key: event.data.refund_id}
steps:
  - approve: payments
    amount: event.data.amount
    covers: [event.data.amount, event.data.refund_id]
    becomes: approved
  - call: erp.payment.post
    with: {payment_id: =event.data.refund_id, amount: =event.data.amount}
    becomes: posted
"""


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Offering]:
    store = await open_store(f"sqlite:{tmp_path / 'x.db'}")
    try:
        async with offering(store, offered=model_of(COMPANY + ASKED)) as running:
            yield running
    finally:
        await store.close()


async def send(company: Offering, who: str, requested_by: str) -> None:
    event = {
        "specversion": "1.0", "id": "e1", "source": "desk", "type": "refund.asked.v1",
        "data": {"refund_id": "r1", "amount": {"minor": 50_000, "currency": "USD"}, "requested_by": requested_by},
    }  # fmt: skip
    headers = {
        "authorization": f"Bearer {company.tokens[who]}",
        "content-type": "application/cloudevents+json",
    }
    answer = await company.http.post("/v1/events", content=json.dumps(event), headers=headers)
    assert answer.status_code == 202, answer.text


async def waiting(company: Offering, what: str) -> dict[str, Any]:
    """Return the only open approval or Case, once there is one."""

    async def items() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await company.get(f"/v1/{what}?state=open", "fin")).json()["items"]
        return found

    (item,) = await until(what, items)
    return item


async def leaves(company: Offering, kind: str) -> list[Any]:
    return [leaf for _, leaf in (await company.app.store.dump()).leaves if leaf.kind == kind]


def refused(answer: httpx2.Response) -> bool:
    problem = "urn:counterfoil:problem:separation-of-duties"
    return (answer.status_code, answer.json()["type"]) == (403, problem)


async def test_who_sends_an_event_in_the_name_of_a_colleague_does_not_approve_it(company: Offering) -> None:
    await send(company, "fin", "pat")
    approval = await waiting(company, "approvals")
    assert (approval["requester"], approval["senders"]) == ("pat", ["fin"])
    assert refused(await company.decide(who="fin"))
    assert company.ledger.payments == []
    (leaf,) = await leaves(company, "decision.refused")
    assert (leaf.actor, leaf.subject, wire.loads(leaf.body)["verdict"]) == (
        "person:fin",
        approval["id"],
        "sender",
    )
    assert [leaf.actor for leaf in await leaves(company, "received")] == ["person:fin"]
    trace = (await company.get(f"/v1/runs/{approval['run']}", "fin")).json()
    assert (trace["start"]["senders"], trace["approvals"][0]["senders"]) == (["fin"], ["fin"])
    assert (await company.decide(who="both")).json()["verdict"] == "granted"


@pytest.mark.parametrize("name", ["FIN", " fin ", "Fin@ACME.example", "\uff46in"])
async def test_no_spelling_of_a_requester_approves_their_own_request(company: Offering, name: str) -> None:
    await send(company, "both", name)
    assert (await waiting(company, "approvals"))["requester"] == "fin"
    assert refused(await company.decide(who="fin"))


@pytest.mark.parametrize("name", ["user:fin", "f\u0456n", "Fin Finance", "system/desk"])
async def test_an_unknown_requester_is_a_case_and_no_approval(company: Offering, name: str) -> None:
    await send(company, "both", name)
    assert (await waiting(company, "cases"))["reason"] == "requester"
    assert (await company.get("/v1/approvals", "fin")).json()["items"] == []
