"""Each CloudEvent of another source, id or version is a delivery of its own."""

from __future__ import annotations

from datetime import UTC, datetime

from counterfoil.core.event import Event
from counterfoil.flow.intake.receive import receive_events
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MODEL = Model.from_documents(
    [
        {"kind": "role", "name": "finance"},
        {"kind": "system", "name": "shop", "role": "billing", "connector": "external", "owner": "finance"},
    ]
)


async def test_two_sources_and_ids_never_share_a_receipt() -> None:
    store = MemoryStore()
    named = [
        ("shop/a:b", "c", 1),
        ("shop/a", "b:c", 1),
        ("shop/a%3Ab", "c", 1),
        ("shop/a", "c", 2),
        ("shop/a", "c:v2", 1),
        ("shop/a", "c:v2", 2),
        ("shop/a", "c:v2:v1", 1),
    ]
    events = [
        Event(id=id_, source=source, type=f"sale.closed.v{version}", time=NOW, data={})
        for source, id_, version in named
    ]
    answers = await receive_events(store, MODEL, events, NOW)
    assert [answer.verdict for answer in answers] == ["new"] * len(named)
    assert len({r.ext_id for r in (await store.dump()).receipts}) == len(named)
    again = await receive_events(store, MODEL, events, NOW)
    assert {answer.verdict for answer in again} == {"same"}
