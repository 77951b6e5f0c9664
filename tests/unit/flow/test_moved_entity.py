"""A fact of one legal entity does not move an object that a system of another entity reported."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core.case import Case
from counterfoil.core.event import Event
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.intake.receive import receive_events
from counterfoil.rules.entities import moved_head
from counterfoil.store.memory import MemoryStore
from tests.companies.base import acme_model
from tests.contract.store import samples as s
from tests.unit.flow.test_external import NOW, Clock

ACME = acme_model()
US, DE = "acme-us", "acme-de"
OPEN = {"minor": 0, "currency": "USD"}


class Doors:
    """Acme on a memory store, to which systems send CloudEvents that are admitted at once."""

    def __init__(self) -> None:
        self.store = MemoryStore(Clock())
        self.releases = Releases(self.store, ACME)
        self._sent = 0

    async def send(self, type_: str, system: str, entity: str = "", **data: Any) -> None:
        self._sent += 1
        extensions: Any = {"legalentity": entity} if entity else {}
        event = Event(id=f"e{self._sent}", source=f"/{system}", type=type_, data=data, extensions=extensions)
        await receive_events(self.store, ACME, [event], NOW.replace(minute=self._sent))
        await self.releases.publish(NOW, "test")
        for todo in await self.store.todos(10):
            await Admitter(self.store, self.releases, {}).admit(todo, NOW)

    async def head(self, object_: str, key: str) -> tuple[str, str]:
        """Return entity and status of an object."""
        head = await self.store.head(object_, key)
        assert head is not None
        return head.entity, head.state["status"]

    async def cases(self) -> list[Case]:
        return list((await self.store.dump()).cases)


@pytest.mark.parametrize("type_", ["invoice.changed.v1", "invoice.voided.v1"])
@pytest.mark.parametrize("named", ["", DE])
async def test_a_fact_of_another_entity_does_not_move_an_invoice(type_: str, named: str) -> None:
    doors = Doors()
    await doors.send("invoice.changed.v1", "billing", invoice_id="i-1", status="open", open=OPEN)
    foil = s.foil("foil_1", rule="invoice-in-erp", key="i-1", document="i-1", entity=US)
    await doors.store.apply(s.receive(s.receipt("foil")))
    (todo,) = await doors.store.todos(10)
    cause = s.event("foil", "i-1")
    await doors.store.apply(s.admit(todo.ref, events=(cause,), foils=(replace(foil, cause=cause.id),)))
    before = await doors.store.foil("foil_1")
    await doors.send(type_, "billing-de", named, invoice_id="i-1", status="void", open=OPEN)
    assert await doors.head("invoice", "i-1") == (US, "open")
    assert await doors.store.foil("foil_1") == before
    (case,) = await doors.cases()
    assert case.reason == "ownership"
    assert case.message.endswith(
        f"{type_} is a fact of the legal entity acme-de, but invoice i-1 belongs to acme-us: billing reported it"
    )


async def test_facts_of_the_same_entity_by_other_systems_are_taken() -> None:
    doors = Doors()
    await doors.send("invoice.changed.v1", "billing-de", invoice_id="i-1", status="open", open=OPEN)
    await doors.send("invoice.changed.v1", "billing-de", DE, invoice_id="i-1", status="paid", open=OPEN)
    assert await doors.head("invoice", "i-1") == (DE, "paid")
    assert await doors.cases() == []


async def test_a_ticket_with_the_default_entity_moves_when_its_customer_is_known() -> None:
    doors = Doors()
    ticket = {"ticket_id": "t-1", "title": "outage", "requested_by": "sam"}
    await doors.send("ticket.changed.v1", "support", status="new", **ticket)
    assert await doors.head("ticket", "t-1") == (US, "new")
    await doors.send("ticket.changed.v1", "support", DE, status="credit-requested", **ticket)
    assert await doors.head("ticket", "t-1") == (DE, "credit-requested")
    assert await doors.cases() == []


async def test_a_system_of_the_entity_that_once_reported_the_object_is_evidence_too() -> None:
    event = s.event("e2", "i-1", legal_entity=US, system="billing")
    head = replace(s.head(s.event("e1", "i-1", system="support")), entity=DE)
    assert moved_head(ACME, event, head) is None
    assert moved_head(ACME, event, replace(head, versions={"billing-de": 1})) is not None
    assert (
        moved_head(ACME, replace(event, legal_entity=DE), replace(head, versions={"billing-de": 1})) is None
    )


async def test_what_another_system_shows_moves_nothing_and_is_admitted_as_an_observation() -> None:
    shown = s.event("e2", "i-1", legal_entity=US, system="erp")
    head = replace(s.head(s.event("e1", "i-1", system="billing-de")), entity=DE)
    assert moved_head(ACME, shown, head) is None


async def test_a_head_without_an_entity_belongs_to_the_default_one() -> None:
    head = s.head(s.event("e1", "i-1"))
    assert moved_head(ACME, s.event("e2", "i-1", legal_entity=US), head) is None
    assert moved_head(ACME, s.event("e2", "i-1", legal_entity=DE), head) is not None
