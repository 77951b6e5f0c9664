"""Legal entities in all stores: rows of Runs, objects and Cases, and documents from before entities were declared."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from counterfoil.core.matching import FoilState
from counterfoil.store.port.documents import RebuildDocuments
from tests.contract.store import samples as s
from tests.contract.store.test_documents import admitted, foil, holds

HOME, OTHER = "acme-us", "acme-de"
INVOICE = s.foil("foil_1", key="INV-1", document="INV-1")
BOOKED = s.observation("obs_1", key="INV-1", document="erp:INV-1")


async def test_a_run_has_the_entity_with_which_it_starts(store: Any) -> None:
    await store.apply(s.receive(s.receipt()))
    event = replace(s.event("evt_1"), legal_entity=OTHER)
    await store.apply(s.admit(1, events=(event,), starts=(s.start(ref="evt_1", entity=OTHER),)))
    loaded = await store.load(s.RUN)
    assert loaded.run.entity == OTHER
    await store.apply(s.turn())
    assert (await store.load(s.RUN)).run.entity == OTHER


async def test_documents_of_different_entities_do_not_match(store: Any) -> None:
    await admitted(store, "e0", s.at(0), foils=(replace(INVOICE, entity=HOME),))
    await admitted(store, "e1", s.at(1), observations=(replace(BOOKED, entity=OTHER),))
    assert (await foil(store, "foil_1")).state is FoilState.BROKEN
    (case,) = [c for c in (await store.dump()).cases if c.foil == "foil_1"]
    row = await store.case(case.id)
    assert row.entity == HOME


async def test_documents_from_before_take_the_default_entity(store: Any) -> None:
    await admitted(store, "e0", s.at(0), foils=(INVOICE,))
    await admitted(store, "e1", s.at(1), observations=(replace(BOOKED, entity=HOME),))
    assert (await foil(store, "foil_1")).state is FoilState.BROKEN
    match = (INVOICE.rule, INVOICE.key)
    moved = await store.apply(RebuildDocuments(matches=(match,), entity=HOME, at=s.at(2)))
    row = await foil(store, "foil_1")
    assert (moved, row.entity, row.state) == (("foil_1",), HOME, FoilState.MATCHED)
    versions = [v for v in (await store.dump()).versions if v.document == "INV-1"]
    assert [v.known_to for v in versions] == [s.at(2), None]
    assert await store.apply(RebuildDocuments(matches=(match,), entity=OTHER, at=s.at(3))) == ()
    assert (await foil(store, "foil_1")).entity == HOME
    await holds(store)
