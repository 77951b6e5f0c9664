"""Heads of customers and of documents that name them, of both legal entities, for the page of a customer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from counterfoil.core import ids, wire
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.money import Money
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.sql.store import SqlStore
from tests.companies.web_rows import case_of, customer_of, entity_of

Document = tuple[str, str, dict[str, Any]]
"""Object, key and state of a head."""


def documents_of(prefix: str) -> list[Document]:
    """Return a customer with an open and a paid invoice, a credit on it, and the credit and payment of that."""
    customer = customer_of(prefix)
    return [
        ("customer", customer, {"name": f"{prefix}Home Software"}),
        ("invoice", f"{prefix}INV-9", {
            "number": f"{prefix}INV-2026-9", "customer_id": customer, "status": "open",
            "total": Money(50_000, "USD"), "open": Money(30_000, "USD"),
        }),
        ("invoice", f"{prefix}INV-8", {
            "number": f"{prefix}INV-2026-8", "customer_id": customer, "status": "paid",
            "total": Money(20_000, "EUR"), "open": Money(0, "EUR"),
        }),
        ("credit", f"{prefix}CR-1003", {"number": f"{prefix}CM-3", "invoice_id": f"{prefix}INV-9"}),
        ("credit", f"{prefix}CR-1001", {"number": f"{prefix}CM-1", "customer_id": customer}),
        ("ticket", f"{prefix}CR-1002", {"title": f"{prefix}X ticket", "customer_id": customer, "status": "open"}),
    ]  # fmt: skip


async def fill_customers(store: SqlStore) -> None:
    await write_heads(store, documents_of(""))
    await write_heads(store, documents_of("DE-"))


async def write_heads(store: SqlStore, documents: list[Document], at: datetime | None = None) -> None:
    """Write heads as one delivery of billing would."""
    now = at or await store.now()
    name = ids.derive("heads", *(key for _, key, _ in documents))
    receipt = Receipt(
        system="billing", ext_id=name, type="t", identity=name, sha256=wire.digest(name), door="webhook", headers={},
        body=b"{}", received_at=now,
    )  # fmt: skip
    clash = case_of(f"case_{name}", "clash", "controller", now)
    received = await store.apply(Receive(receipts=(receipt,), clashes=(clash,), at=now, actor="t"))
    number = received.numbers[0]
    events = tuple(
        CanonicalEvent(
            id=ids.event_id("billing", object_, key, "h", f"{object_}.changed.v1"), type=f"{object_}.changed.v1",
            system="billing", object=object_, key=key, version=1, data=state, legal_entity=entity_of(key),
            occurred_at=now, effective_at=now, received_at=now, receipt=number,
        )
        for object_, key, state in documents
    )  # fmt: skip
    heads = tuple(
        Head(
            object=event.object, key=event.key, version=1, state=event.data, system="billing", effective_at=now,
            recorded_at=now, event=event.id, entity=event.legal_entity,
        )
        for event in events
    )  # fmt: skip
    todo = ("receipt", str(number))
    admitted = await store.apply(Admit(todo=todo, events=events, heads=heads, at=now, actor="t"))
    assert admitted.applied
