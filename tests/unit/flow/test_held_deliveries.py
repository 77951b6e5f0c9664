"""A held delivery opens one Case for its fact, with the money in it, however often the fact is delivered."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.canonical import Receipt
from counterfoil.core.case import Case
from counterfoil.core.event import Event
from counterfoil.core.money import Money
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.intake.receive import receive_events
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.intake import Receive
from tests.companies.base import acme_model
from tests.contract.store import samples as s
from tests.unit.flow.test_external import NOW, Clock

ACME = acme_model()
USD = Money(250_00, "USD")


def ticket(**more: Any) -> dict[str, Any]:
    """A request for credit whose incident has no date that can be read."""
    body = {
        "id": "77", "revision": 4, "title": "outage", "status": "credit-requested", "creator": "sam",
        "account_ref": "cus_1", "invoice_ref": "in_1", "credit_amount": "250.00", "credit_currency": "USD",
        "credit_reason": "sla", "incident_ref": "inc-1", "incident_on": "the third",
    }  # fmt: skip
    return body | more


async def held(*receipts: Receipt, model: Model = ACME) -> tuple[list[Case], MemoryStore]:
    """Receive deliveries of a known customer and admit each once. Return the Cases of the mapping that failed."""
    store = MemoryStore(Clock())
    await know_customer(store)
    clashes = tuple(s.case(f"clash_{r.ext_id}", reason="clash") for r in receipts)
    await store.apply(Receive(receipts=receipts, clashes=clashes, at=NOW, actor="test"))
    await admit(store, model)
    return list((await store.dump()).cases), store


async def know_customer(store: MemoryStore) -> None:
    first = delivery("customer", "webhook", {}, "customer.created", "billing")
    await store.apply(Receive(receipts=(first,), clashes=(s.case("clash"),), at=NOW, actor="test"))
    (todo,) = await store.todos(10)
    link = s.link("cust_1", "cus_1", system="billing")
    known = s.head(s.event("customer", key="cust_1", legal_entity="acme-us"), {})
    heads = (replace(known, object="customer", entity="acme-us"),)
    await store.apply(s.admit(todo.ref, links=(link,), heads=heads))


async def admit(store: MemoryStore, model: Model) -> None:
    releases = Releases(store, model)
    await releases.publish(NOW, "test")
    admitter = Admitter(store, releases, {})
    for todo in await store.todos(10):
        await admitter.admit(todo, NOW)


def delivery(
    name: str, door: str, body: Any, type_: str = "issue.updated", system: str = "support"
) -> Receipt:
    raw = wire.write_json(body)
    return s.receipt(name, name, system=system, type=type_, door=door, body=raw, received_at=NOW)


async def test_a_callback_and_a_sweep_of_one_revision_share_a_case_with_the_amount() -> None:
    callback = delivery("delivery-1", "webhook", ticket())
    sweep = delivery("issue/77@4", "poll", ticket(swept=True))
    (case,), store = await held(callback, sweep)
    assert (case.reason, case.count, case.exposure) == ("mapping_failed", 2, (USD,))
    assert case.message.endswith("(2 in all)")
    assert [topic for _, _, topic in (await store.dump()).todos] == ["", f"case:{case.id}"]


async def test_another_revision_is_another_cause() -> None:
    first, second = delivery("d1", "webhook", ticket()), delivery("d2", "webhook", ticket(revision=5))
    cases, _ = await held(first, second)
    assert [case.count for case in cases] == [1, 1]


async def test_a_delivery_whose_key_cannot_be_read_is_a_cause_of_its_own() -> None:
    lost = [{name: value for name, value in ticket().items() if name != "revision"} for _ in range(2)]
    cases, _ = await held(*(delivery(f"d{n}", "webhook", body) for n, body in enumerate(lost)))
    assert [case.count for case in cases] == [1, 1]


async def test_a_delivery_that_no_mapping_accepts_names_the_money_of_its_body() -> None:
    body = {
        "id": "1",
        "fee": {"amount": "2.50", "currency": "USD"},
        "lines": [{"minor": 900, "currency": "EUR"}],
    }
    (case,), _ = await held(delivery("d1", "webhook", body, "issue.vanished"))
    assert (case.reason, case.exposure) == ("unrouted", (Money(900, "EUR"), Money(250, "USD")))


async def test_a_cloud_event_that_breaks_its_contract_names_its_money() -> None:
    store = MemoryStore(Clock())
    data = {"invoice_id": 7, "total": {"amount": "12.00", "currency": "USD"}, "lines": []}
    event = Event(
        id="e1", source="billing", type="invoice.finalized.v1", time=NOW, data=json.loads(json.dumps(data))
    )
    await receive_events(store, ACME, [event], NOW)
    await admit(store, ACME)
    (case,) = (await store.dump()).cases
    assert (case.reason, case.exposure) == ("contract", (Money(1200, "USD"),))
