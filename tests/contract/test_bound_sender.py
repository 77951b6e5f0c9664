"""A sender who is bound to a legal entity, on the real application: an invoice of another entity stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.application import Application, seen_by
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.event import Event
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.worker.worker import Worker
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.base import acme_model

US, DE = "acme-us", "acme-de"
NOTHING = {"minor": 0, "currency": "USD"}


def event(id_: str, type_: str, system: str, entity: str, **data: Any) -> Event:
    return Event(id=id_, source=f"/{system}", type=type_, data=data, extensions={"legalentity": entity})


async def send(app: Application, sent: Event) -> None:
    await app.receive_events([sent], "ada")


@pytest.fixture
async def app(tmp_path: Path) -> Any:
    store = await SqliteStore.open(tmp_path / "company.db")
    try:
        releases = Releases(store, acme_model())
        await releases.publish(await store.now(), "test")
        worker = Worker(store, releases, {}, "trial/1")
        yield Application(store, store, releases, {}, worker, lambda model, names: {})
    finally:
        await store.close()


async def admit(app: Application) -> None:
    for todo in await app.store.todos(10):
        await Admitter(app.store, app.releases, {}).admit(todo, await app.now())


@pytest.mark.parametrize("type_", ["invoice.changed.v1", "invoice.voided.v1"])
async def test_an_invoice_of_another_entity_is_neither_paid_nor_voided(app: Application, type_: str) -> None:
    first = event("e1", "invoice.changed.v1", "billing", US, invoice_id="i-1", status="open", open=NOTHING)
    await send(app, first)
    await admit(app)
    german = seen_by(EntityScope(frozenset({DE}), US), app)
    foreign = event("e2", type_, "billing-de", DE, invoice_id="i-1", status="paid", open=NOTHING)
    with pytest.raises(Refused) as refused:
        await send(german, foreign)
    assert refused.value.error_class is ErrorClass.NOT_FOUND
    assert await app.store.todos(10) == []
    assert await app.store.receipt(2) is None
    await send(seen_by(EntityScope(frozenset({DE, US}), US), app), foreign)
    await admit(app)
    head = await app.store.head("invoice", "i-1")
    assert head is not None
    assert (head.entity, head.state["status"]) == (US, "open")


async def test_an_event_of_the_entity_is_taken_and_admitted(app: Application) -> None:
    german = seen_by(EntityScope(frozenset({DE}), US), app)
    for n, status in enumerate(("open", "paid")):
        sent = event(
            f"e{n}", "invoice.changed.v1", "billing-de", DE, invoice_id="i-1", status=status, open=NOTHING
        )
        await send(german, sent)
        await admit(app)
    head = await app.store.head("invoice", "i-1")
    assert head is not None
    assert (head.entity, head.state["status"]) == (DE, "paid")


@pytest.mark.parametrize("sequence", ["²", "9" * 19, "9" * 5000, "x"])
async def test_a_sequence_that_is_no_number_is_no_reason_to_fail(app: Application, sequence: str) -> None:
    german = seen_by(EntityScope(frozenset({DE}), US), app)
    sent = event("e1", "invoice.changed.v1", "billing-de", DE, invoice_id="i-1", status="open", open=NOTHING)
    await send(german, replace(sent, extensions={**sent.extensions, "sequence": sequence}))
    await admit(app)
    head = await app.store.head("invoice", "i-1")
    assert head is not None
    assert head.version < 10**18
