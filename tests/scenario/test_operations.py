"""Acme's offered operations on real systems: read a document of the ERP, and charge back a credit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx2

from tests.companies.acme import SOON, Company, token_of
from tests.served import CREDIT, INVOICE, served

BACK = "billing.debit_memo.issue"


async def ask(
    systems: Company, person: str, operation: str, body: Any, key: str, prefer: str = "wait=30"
) -> httpx2.Response:
    headers = {"authorization": f"Bearer {token_of(person)}", "idempotency-key": key, "prefer": prefer}
    async with httpx2.AsyncClient(base_url=systems.url, trust_env=False, timeout=60) as http:
        return await http.post(f"/v1/operations/{operation}", json=body, headers=headers)


async def test_only_the_workflow_charges_back_a_credit_and_a_document_can_be_read(
    systems: Company,
) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice = await systems.billed(300_000)
        (posted,) = await s.run_at(INVOICE, "done")
        document = await ask(systems, "shop", "erp.invoice.get", {"invoice_id": posted.bkey}, "read-1")
        assert document.json()["total"] == {"minor": 300_000, "currency": "USD"}
        assert (await ask(systems, "shop", BACK, {}, "no")).status_code == 404
        await systems.ask_credit(customer, invoice, "500.00", "inc-1")
        assert await s.vote(await s.open_approval(), "lead") == "granted"
        (credit,) = await s.run_at(CREDIT, "done")

        canonical = next(e.data["customer_id"] for e in (await s.dump()).events if "customer_id" in e.data)
        back = {
            "credit_id": credit.bkey,
            "customer_id": canonical,
            "amount": {"minor": 50_000, "currency": "USD"},
        }
        too_much = back | {"amount": {"minor": 50_001, "currency": "USD"}}
        refused = await ask(systems, "fiona", BACK, too_much, "too-much")
        assert (refused.status_code, refused.json()["state"], refused.json()["output"]) == (
            200,
            "refused",
            None,
        )
        accepted = await ask(systems, "fiona", BACK, back, "k-1", "wait=0")
        assert accepted.status_code == 202, accepted.text
        approval = await s.open_approval()
        assert (approval.roles, approval.requester) == (("controller",), "fiona")
        assert (await ask(systems, "fiona", BACK, back, "k-2")).status_code == 409
        assert [e for e in (await s.dump()).effects if e.operation == BACK] == []
        assert await s.vote(approval, "fiona") == "requester"
        assert await s.vote(approval, "carl") == "granted"
        async with httpx2.AsyncClient(base_url=systems.url, trust_env=False, timeout=60) as http:
            where = {"authorization": f"Bearer {token_of('fiona')}", "prefer": "wait=30"}
            done = await http.get(accepted.headers["location"], headers=where)
        assert done.status_code == 200, (done.text, await s.report())
        assert done.json()["state"] == "reconciled"
        assert done.json()["output"]["debit"]
        repeated = await ask(systems, "fiona", BACK, back, "k-1", "wait=0")
        assert (repeated.status_code, repeated.content) == (202, accepted.content)
        async with systems.of_erp() as erp:
            documents = [d for d in await erp.invoices() if d["reference"] == f"{credit.bkey}/undo"]
        assert [d["total_amount"] for d in documents] == [Decimal("500.00")]
        await s.sound()
