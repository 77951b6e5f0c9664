"""Matches of the company for API and pages: a difference, a changed document, and two items that nothing asserts."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.core.terms import Legs, Terms
from counterfoil.store.port.documents import OpenItemCases
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.sql.store import SqlStore
from tests.companies.web_rows import case_of, entity_of

RULE = "invoice-in-erp"
PARTS = "debit-in-erp"
"""Reconciliation of a document that the ERP shows in parts."""


def foil_of(document: str, rule: str = RULE) -> str:
    return ids.derive("foil", rule, document)


def item_of(document: str) -> str:
    return ids.derive("obs", RULE, document)


async def fill_matches(store: SqlStore, prefix: str = "") -> None:
    """Write, for documents that begin with `prefix`, INV-9 with 10.00 too little in the ERP, INV-10 that changed an hour ago, and two unmatched items."""
    now = await store.now()
    early, later, last = (now - timedelta(minutes=minutes) for minutes in (180, 90, 60))
    await admit(
        store,
        early,
        foils=(
            invoice_foil(f"{prefix}INV-9", 10_000, 1, early),
            invoice_foil(f"{prefix}INV-10", 5_500, 1, early),
        ),
    )
    await admit(store, early, foils=(invoice_foil(f"{prefix}INV-12", 2_000, 1, early),))
    await admit(store, later, items=(bill_item(f"{prefix}INV-9", f"{prefix}INV-9", 9_000, later),))
    await admit(store, later, items=(bill_item(f"{prefix}BILL/2026/11", f"{prefix}X-77", 6_000, later),))
    await admit(store, last, foils=(invoice_foil(f"{prefix}INV-10", 6_000, 2, last),))
    await admit(store, last, items=(bill_item(f"{prefix}BILL/2026/12", f"{prefix}INV-l2", 2_000, last),))
    await _in_parts(store, prefix, last)
    await store.apply(OpenItemCases(items=(item_of(f"{prefix}BILL/2026/11"),), at=now))


async def _in_parts(store: SqlStore, prefix: str, at: datetime) -> None:
    """Write REM-20 over 1,500.00, and two items of other keys that come to it."""
    terms = {"rule": PARTS, "terms": Terms(shape="1:n")}
    document = f"{prefix}REM-20"
    foil = replace(invoice_foil(document, 150_000, 1, at), id=foil_of(document, PARTS), **terms)
    await admit(store, at, foils=(foil,))
    for number, minor in ((21, 90_000), (22, 60_000)):
        name = f"{prefix}BILL/2026/{number}"
        item = replace(bill_item(name, f"{prefix}X-{number}", minor, at), effective="2026-11-24", **terms)
        await admit(store, at, items=(item,))


def invoice_foil(document: str, minor: int, version: int, at: datetime) -> Foil:
    return Foil(
        id=foil_of(document), rule=RULE, key=document, document=document, version=version, object="invoice",
        left="billing", right="erp", legs=_legs(minor), entity=entity_of(document) or "acme-us", effective="2026-11-20",
        due=at + timedelta(days=2), cause="", owner="controller", created_at=at,
        known_from=at,
    )  # fmt: skip


def bill_item(document: str, key: str, minor: int, at: datetime) -> Observation:
    return Observation(
        id=item_of(document), rule=RULE, key=key, document=document, version=1, system="erp",
        legs=_legs(minor), entity=entity_of(document) or "acme-us", effective="2026-11-21", event="",
        owner="controller", case_at=at + timedelta(minutes=5), since=at, at=at,
    )  # fmt: skip


def _legs(minor: int) -> Legs:
    return {"gross": Money(minor, "USD")}


async def admit(
    store: SqlStore, at: datetime, foils: tuple[Foil, ...] = (), items: tuple[Observation, ...] = ()
) -> None:
    name = ":".join([row.document for row in (*foils, *items)] + [at.isoformat()])
    system = "billing" if foils else "erp"
    receipt = Receipt(
        system=system, ext_id=name, type="document", identity=wire.digest(name), sha256=wire.digest(b"{}"),
        door="webhook", headers={}, body=b"{}", received_at=at,
    )  # fmt: skip
    clash = case_of(f"case_m_{wire.digest(name)[:8]}", "clash", "finance-operations", at)
    received = await store.apply(
        Receive(receipts=(receipt,), clashes=(clash,), at=at, actor=f"system:{system}")
    )
    event = CanonicalEvent(
        id=ids.event_id(system, "invoice", name, "1", "document.v1"), type="document.v1", system=system,
        object="invoice", key=name, version=1, data={}, legal_entity=entity_of(name), occurred_at=at, effective_at=at, received_at=at,
        receipt=received.numbers[0],
    )  # fmt: skip
    foils = tuple(replace(foil, cause=event.id) for foil in foils)
    items = tuple(replace(item, event=event.id) for item in items)
    admitted = await store.apply(
        Admit(
            todo=("receipt", str(received.numbers[0])), events=(event,), foils=foils, observations=items,
            at=at, actor="worker:t",
        )
    )  # fmt: skip
    assert admitted.applied
