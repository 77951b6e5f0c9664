"""Controls as auditors ask for them: what enforces each, and what was recorded that shows it at work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, get

from counterfoil.expr import BudgetExceeded, EvaluationError, Expression
from counterfoil.model import kinds
from counterfoil.model.checks.controls import Enforcement, enforcements
from counterfoil.model.evidence import Record, names_of
from counterfoil.model.template import formula
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import EventFilter, ListFilter, Views
from counterfoil.web.api.lists import Listing
from counterfoil.web.http.access import application, requires
from counterfoil.web.http.permissions import Permission

LOOKED_AT = 200
"""The newest records of its sort that a control's evidence is looked for in."""


class EnforcedShape(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    name: str
    step: str
    fault: str
    """Why it enforces nothing; empty where it does."""


class EvidenceShape(msgspec.Struct, frozen=True, kw_only=True):
    of: str
    where: str
    looked_at: int
    """Records, the newest first."""
    found: int
    """Of these, for which the formula is true."""
    failed: int
    """Of these, for which it has no value."""
    latest: str | None
    """When the newest of those found came about; RFC 3339."""


class ControlShape(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    doc: str
    owners: Sequence[str]
    risk: str
    assertion: str
    frequency: str
    enforced: bool
    enforced_by: list[EnforcedShape]
    evidence: EvidenceShape


@get(
    "/v1/controls",
    opt=requires(Permission.AUDIT_ANY_READ),
    tags=["audit"],
    summary="Controls, what enforces them, and the evidence on record",
)
async def list_controls(request: Request[Any, Any, Any]) -> Listing[ControlShape]:
    app = application(request)
    model = app.model
    found = enforcements(model)
    records = _Records(app.store, app.views)
    rows = [
        _shape(control, model.owners_of(control), found[name], await _evidence(records, control.evidence))
        for name, control in sorted(model.of_kind(kinds.Control).items())
    ]
    return Listing(rows, None)


def _shape(
    control: kinds.Control, owners: list[str], found: list[Enforcement], evidence: EvidenceShape
) -> ControlShape:
    return ControlShape(
        name=control.name,
        doc=control.doc,
        owners=owners,
        risk=control.risk,
        assertion=control.assertion,
        frequency=control.frequency,
        enforced=bool(found) and not any(one.fault for one in found),
        enforced_by=[EnforcedShape(kind=e.kind, name=e.name, step=e.step, fault=e.fault) for e in found],
        evidence=evidence,
    )


class _Records:
    """The newest records of each sort, read once for all controls that ask."""

    def __init__(self, store: Store, views: Views) -> None:
        self._store = store
        self._views = views
        self._kept: dict[str, list[Record]] = {}
        self._approvers: dict[str, list[str]] = {}

    async def of(self, sort: str) -> list[Record]:
        if sort not in self._kept:
            self._kept[sort] = await self._read(sort, ListFilter(limit=LOOKED_AT))
        return self._kept[sort]

    async def _read(self, sort: str, page: ListFilter) -> list[Record]:
        match sort:
            case "runs":
                return [row.run for row in (await self._views.runs(page))[0]]
            case "cases":
                return [row.case for row in (await self._views.cases(page))[0]]
            case "effects":
                return [*(await self._views.effects(page))[0]]
            case "approvals":
                return [*(await self._views.approvals(page))[0]]
            case "foils":
                return [*(await self._views.foils(page))[0]]
        return [*(await self._views.events(EventFilter(limit=page.limit)))[0]]

    async def approvers(self, approval: str) -> list[str]:
        if approval not in self._approvers:
            votes = await self._store.votes([approval])
            self._approvers[approval] = [vote.person for vote in votes[approval] if vote.approve]
        return self._approvers[approval]


async def _evidence(records: _Records, asked: kinds.Evidence) -> EvidenceShape:
    where = formula(asked.where)
    found = failed = 0
    latest = None
    rows = await records.of(asked.of)
    for row in rows:
        true = _true(where, asked.of, row, await _approvers(records, where, row))
        failed += true is None
        if true:
            found += 1
            at = getattr(row, "created_at", None) or getattr(row, "received_at", None)
            latest = max(latest, at) if latest is not None and at is not None else latest or at
    return EvidenceShape(
        of=asked.of,
        where=asked.where,
        looked_at=len(rows),
        found=found,
        failed=failed,
        latest=latest.isoformat() if latest is not None else None,
    )


async def _approvers(records: _Records, where: Expression, row: Record) -> list[str]:
    return await records.approvers(row.id) if "approval.approvers" in where.paths else []


def _true(where: Expression, of: str, row: Record, approvers: list[str]) -> bool | None:
    """Whether it is evidence; None where the formula has no value for it."""
    try:
        return where(names_of(of, row, approvers)) is True
    except (EvaluationError, BudgetExceeded):
        return None


API = [list_controls]
