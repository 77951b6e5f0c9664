"""Faults of webhooks: lost, repeated, late, out of order, unknown, wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from counterfoil.core.canonical import rank_key
from counterfoil.core.case import CaseState
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from tests.companies.acme import RARELY, SOON, Company, change, token_of
from tests.patience import PATIENCE_SECONDS
from tests.served import CREDIT, CUSTOMER, INVOICE, served, until

SYNC_ON_REQUEST = {
    "workflows/customer-sync.yaml": [
        (
            "when: event.data.revision == 0",
            "when: event.data.revision < 0",
        )
    ]
}
INVOICE_CHANGED = {
    "specversion": "1.0",
    "source": "/billing",
    "id": "made-by-hand-1",
    "type": "invoice.changed.v1",
    "data": {"invoice_id": "invo_unheard_of", "status": "paid", "open": {"minor": 0, "currency": "USD"}},
}


async def test_an_invoice_before_its_customer_waits_until_the_customer_arrives(
    systems: Company,
) -> None:
    systems.twin.fault("delay_webhook", match={"type": "customer.created"}, seconds=6)
    async with served(systems, systems.governance(RARELY)) as s:
        await until("the first poll", lambda: s.app.store.cursor("billing", "events"))
        await systems.billed()
        (invoice,) = await s.run_at(INVOICE, "reviewed")
        assert await s.runs(CUSTOMER) == [], "the customer has not arrived yet"
        await s.run_at(INVOICE, "done")
        assert [run.status for run in await s.runs(CUSTOMER)] == [RunStatus.DONE]
        (done,) = await s.runs(INVOICE)
        assert done.id == invoice.id
        await s.sound()


async def test_a_customer_without_a_link_is_synced_when_an_invoice_needs_it(systems: Company) -> None:
    async with served(systems, systems.governance(SOON, SYNC_ON_REQUEST)) as s:
        customer = await asyncio.to_thread(systems.customer)
        await until("the customer", lambda: s.app.store.link_by_ext("customer", "billing", customer))
        await s.quiet()
        assert await s.runs(CUSTOMER) == []
        await asyncio.to_thread(systems.invoice, customer)
        await s.run_at(INVOICE, "done")
        assert [run.status for run in await s.runs(CUSTOMER)] == [RunStatus.DONE]
        await s.sound()


async def test_a_lost_webhook_is_found_by_polling(systems: Company) -> None:
    systems.twin.fault("lose_webhook", times=100)
    async with served(systems, systems.governance(SOON)) as s:
        await systems.billed()
        await s.run_at(INVOICE, "done")
        receipts = (await s.dump()).receipts
        assert {r.door for r in receipts if r.system == "billing"} == {"poll", "fetch"}
        await s.sound()


async def test_a_repeated_webhook_gives_one_run(systems: Company) -> None:
    systems.twin.fault("duplicate_webhook", match={"type": "invoice.finalized"}, copies=4)
    async with served(systems, systems.governance(SOON)) as s:
        await systems.billed()
        await s.run_at(INVOICE, "done")
        attempts = await until("four deliveries", lambda: _delivered(systems, "invoice.finalized", 4))
        assert {attempt["status"] for attempt in attempts} == {202}
        assert len(await s.runs(INVOICE)) == 1
        assert [r.type for r in (await s.dump()).receipts].count("invoice.finalized") == 1
        await s.sound()


async def _delivered(systems: Company, kind: str, count: int) -> list[dict[str, Any]]:
    """Return the delivery attempts for events of a type if there are at least `count`."""
    log = await asyncio.to_thread(systems.twin.control, "GET", "deliveries")
    attempts = [attempt for row in log if row["type"] == kind for attempt in row["attempts"]]
    return attempts if len(attempts) >= count else []


async def test_a_late_billing_event_does_not_overwrite_the_newer_state(systems: Company) -> None:
    async with served(systems, systems.governance(RARELY)) as s:
        await until("the first poll", lambda: s.app.store.cursor("billing", "events"))
        _, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        systems.twin.fault("delay_webhook", match={"type": "invoice.updated"}, seconds=6)
        await asyncio.to_thread(systems.stripe.invoices.update, invoice, {"description": "open still"})
        await asyncio.sleep(1.1)  # billing's times have whole seconds
        await asyncio.to_thread(systems.stripe.invoices.pay, invoice, {"paid_out_of_band": True})

        async def head_after(late: bool) -> Any:
            """Return the head once the payment came and, with `late`, a change from before it."""
            dump = await s.dump()
            (head,) = [h for h in dump.heads if h.object == "invoice"]
            versions = [e.version for e in dump.events if e.type == "invoice.changed.v1"]
            return head if versions and (min(versions) < max(versions) or not late) else None

        def of_billing(head: Any) -> dict[str, int]:
            """Return the versions of what billing says, without those of the ledger's answer to the payment.

            A rank is that of the last message about one version. Several messages may tell of the payment.
            """
            names = (
                name for name in head.versions if name.startswith("billing") and name != rank_key(name[:-1])
            )
            return {name: head.versions[name] for name in names}

        before = await until("the payment", lambda: head_after(late=False))
        assert before.state["status"] == "paid"
        assert await head_after(late=True) is None
        after = await until("the late update", lambda: head_after(late=True))
        assert after.state["status"] == "paid"
        assert after.state["open"] == Money(0, "USD")
        assert of_billing(after) == of_billing(before)
        await s.sound()


async def test_changes_of_one_second_end_as_billing_shows_them_in_every_order(systems: Company) -> None:
    """The billing clock stands still, webhooks come late, twice and in the wrong order."""
    names = [f"Globex {number}" for number in range(4)]
    async with served(systems, systems.governance(RARELY)) as s:
        await until("the first poll", lambda: s.app.store.cursor("billing", "events"))
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        systems.twin.control("POST", "clock", {"stop": True})
        systems.twin.fault("delay_webhook", match={"type": "customer.updated"}, seconds=3, times=2)
        systems.twin.fault("duplicate_webhook", match={"type": "customer.updated"}, copies=2, times=4)
        systems.twin.fault("delay_webhook", match={"type": "invoice.paid"}, seconds=1, times=1)

        def change_all() -> None:
            for name in names:
                systems.stripe.customers.update(customer, {"name": name})
            systems.stripe.invoices.update(invoice, {"description": "paid soon"})
            systems.stripe.invoices.pay(invoice, {"paid_out_of_band": True})
            systems.stripe.invoices.update(invoice, {"description": "paid"})

        await asyncio.to_thread(change_all)
        systems.twin.control("POST", "clock", {"stop": False})

        async def all_admitted() -> Any:
            dump = await s.dump()
            customers = [e for e in dump.events if e.type == "customer.changed.v1"]
            paid = [e for e in dump.events if e.type == "payment.received.v1"]
            return dump if len(customers) == 1 + len(names) and paid else None

        dump = await until("every change", all_admitted)
        assert len({e.version for e in dump.events if e.type == "customer.changed.v1"}) == 2
        await s.run_at(CUSTOMER, "done", 1 + len(names))
        await s.quiet()
        dump = await s.dump()
        heads = {head.object: head.state for head in dump.heads}
        shown = await asyncio.to_thread(systems.stripe.customers.retrieve, customer)
        assert heads["customer"]["name"] == shown.name == names[-1]
        assert (heads["invoice"]["status"], heads["invoice"]["open"]) == ("paid", Money(0, "USD"))
        assert [
            case.message for case in dump.cases if case.reason in ("tie", "clash", "generation_clash")
        ] == []
        async with systems.of_erp() as erp:
            (party,) = [p for p in await erp.parties() if p["code"] == heads_key(dump, "customer")]
        assert party["name"] == names[-1]
        await s.sound()


def heads_key(dump: Any, object_: str) -> str:
    (head,) = [head for head in dump.heads if head.object == object_]
    return str(head.key)


async def test_a_delivery_without_a_mapping_opens_a_case_and_is_admitted_after_a_mapping_is_added(
    systems: Company,
) -> None:
    folder = systems.governance(SOON, {"mappings/from-billing.yaml": [("    - product.*\n", "")]})
    async with served(systems, folder) as s:
        product = await asyncio.to_thread(systems.stripe.products.create, {"name": "Seat"})
        case = await s.case("unrouted")
        assert case.owner == "finance-operations"
        assert "product.created" in case.message
        await s.sound()
        change(
            folder, {"mappings/from-billing.yaml": [("    - price.*\n", "    - price.*\n    - product.*\n")]}
        )
        await s.change()
        await _resolve(systems, case.id, "fiona", "retry")
        resolved = await s.case("unrouted", CaseState.RESOLVED)
        assert resolved.resolved_by == "fiona"
        await s.sound()
        assert [todo for todo in (await s.dump()).todos if todo[0] == "receipt"] == []
        receipts = [r for r in (await s.dump()).receipts if r.type == "product.created"]
        assert len(receipts) == 1
        assert product.id.encode() in receipts[0].body


async def test_a_fact_that_breaks_its_contract_is_held_with_a_case(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        data = {"invoice_id": "invo_unheard_of", "status": "paid"}
        assert await _send(systems, {**INVOICE_CHANGED, "data": data}) == 202
        case = await s.case("contract")
        assert "open" in case.message
        assert [e for e in (await s.dump()).events if e.type == INVOICE_CHANGED["type"]] == []
        await s.sound()


async def test_a_fact_of_a_system_that_does_not_own_it_is_held_with_a_case(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        assert await _send(systems, {**INVOICE_CHANGED, "source": "/support"}) == 202
        case = await s.case("ownership")
        assert "support may not assert" in case.message
        assert [e for e in (await s.dump()).events if e.type == INVOICE_CHANGED["type"]] == []
        await s.sound()


async def test_a_callback_and_polling_give_one_request(systems: Company) -> None:
    async with served(systems, systems.governance(SOON)) as s:
        customer, invoice = await systems.billed()
        await s.run_at(INVOICE, "done")
        await systems.ask_credit(customer, invoice, "50.00", "inc-1")
        await s.run_at(CREDIT, "done")

        async def both() -> bool:
            doors = {r.door for r in (await s.dump()).receipts if r.system == "support"}
            return doors == {"webhook", "poll"}

        await until("callback and poll", both)
        await s.quiet()
        assert len(await s.runs(CREDIT)) == 1
        await s.sound()


async def _send(systems: Company, event: dict[str, Any]) -> int:
    return await _post(systems, "events", "admin", event, "application/cloudevents+json")


async def _resolve(systems: Company, case: str, person: str, choice: str) -> None:
    status = await _post(systems, f"cases/{case}", person, {"choice": choice, "note": "mapped now"})
    assert status == 200


async def _post(
    systems: Company, path: str, person: str, body: dict[str, Any], kind: str = "application/json"
) -> int:
    headers = {"authorization": f"Bearer {token_of(person)}", "content-type": kind}
    async with httpx2.AsyncClient(base_url=systems.url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        answer = await http.post(f"/v1/{path}", headers=headers, json=body)
    return answer.status_code
