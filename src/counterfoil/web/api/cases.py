"""Shapes of Cases, with the names of what they are about and what happened in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core.case import Case, CaseState
from counterfoil.core.foil import Foil, Observation
from counterfoil.store.port.views import CaseRow
from counterfoil.web.api import shapes
from counterfoil.web.api.case_facts import with_facts
from counterfoil.web.api.case_words import explain_case, with_names
from counterfoil.web.api.match_words import explain, explain_item, item_systems
from counterfoil.web.api.names import DocumentName, NameReader


async def case_shapes(app: Application, rows: Sequence[CaseRow]) -> list[shapes.CaseShape]:
    """Return the shapes of Cases. A Case without a Run has the names of its counterfoil, unmatched item, event or delivery."""
    reader = NameReader(app)
    cases = [row.case for row in rows]
    by_key = await reader.documents(row.bkey for row in rows)
    foils = await _foils(app, cases)
    items = await _items(app, cases)
    by_foil = await reader.foils(foils.values())
    by_item = await reader.items(items.values())
    by_event = await reader.events(await app.views.events_of(sorted({c.event for c in cases if c.event})))
    by_receipt = await _deliveries(app, cases)
    in_text = await reader.in_text(text for case in cases for text in (case.message, case.next_action))
    matched = await _explained(app, cases, foils, items)

    def shape(row: CaseRow) -> shapes.CaseShape:
        case = row.case
        names = (
            by_key.get(row.bkey or ""),
            by_foil.get(case.foil or ""),
            by_item.get(case.observation or ""),
            by_event.get(case.event or ""),
            by_receipt.get(case.receipt or 0),
        )
        return shapes.case_shape(
            row,
            next((name for name in names if name is not None and any(name)), DocumentName()),
            app.model.default_entity,
            summary=matched.get(case.id) or explain_case(case, in_text),
            next_action=with_names(case.next_action, in_text),
        )

    return await with_facts(app, rows, await _with_assignees(app, [shape(row) for row in rows]))


async def _with_assignees(app: Application, cases: list[shapes.CaseShape]) -> list[shapes.CaseShape]:
    """Return the shapes with the names of the persons who work on them."""
    if not any(case.assignee for case in cases):
        return cases
    names = {person.id: person.name for person in await app.store.persons()}
    return [replace(case, assignee_name=names.get(case.assignee, case.assignee)) for case in cases]


async def _foils(app: Application, cases: Sequence[Case]) -> dict[str, Foil]:
    ids = dict.fromkeys(case.foil for case in cases if case.foil is not None)
    foils = [await app.store.foil(id_) for id_ in ids]
    return {foil.id: foil for foil in foils if foil is not None}


async def _items(app: Application, cases: Sequence[Case]) -> dict[str, Observation]:
    ids = dict.fromkeys(case.observation for case in cases if case.observation is not None)
    items = [await app.store.observation(id_) for id_ in ids]
    return {item.id: item for item in items if item is not None}


async def _deliveries(app: Application, cases: Sequence[Case]) -> dict[int, DocumentName]:
    """Return the ids of the deliveries that Cases are about, which name a delivery that says nothing of a document."""
    numbers = dict.fromkeys(case.receipt for case in cases if case.receipt is not None)
    receipts = [await app.store.receipt(number) for number in numbers]
    return {receipt.no: DocumentName(receipt.ext_id) for receipt in receipts if receipt is not None}


async def _explained(
    app: Application, cases: Sequence[Case], foils: dict[str, Foil], items: dict[str, Observation]
) -> dict[str, str]:
    """Return what open Cases about matches say now, by Case: the reason of the state of their documents."""
    open_ = [case for case in cases if case.state is CaseState.OPEN]
    matches = await app.views.matches_of(sorted({(foil.rule, foil.key) for foil in foils.values()}))
    observations = {(match.rule, match.key): match.observations for match in matches}
    texts = {}
    for case in open_:
        if (foil := foils.get(case.foil or "")) is not None and case.reason.startswith("foil_"):
            texts[case.id] = explain(foil, observations.get((foil.rule, foil.key), ()))
        elif (item := items.get(case.observation or "")) is not None and case.reason == "unmatched":
            texts[case.id] = explain_item(item, *item_systems(item, app.model.reconciliations))
    return texts
