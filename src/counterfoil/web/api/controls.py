"""Controls for auditors: what enforces each one, and the records that show it at work."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from litestar import get

from counterfoil.expr import BudgetExceeded, EvaluationError, Expression
from counterfoil.model import kinds
from counterfoil.model.checks.controls import enforcements
from counterfoil.model.evidence import Record, names_of
from counterfoil.model.template import formula
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import EventFilter, ListFilter, Views
from counterfoil.web.api.shapes import copy_to
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest, application, requires

MAX_RECORDS = 200
"""Newest records of a kind that are searched for a control's evidence."""


class EnforcedShape(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    name: str
    step: str
    fault: str
    """Why it enforces nothing; empty if it does."""


class EvidenceShape(msgspec.Struct, frozen=True, kw_only=True):
    of: str
    where: str
    looked_at: int
    """Records read, the newest first."""
    found: int
    """Records read for which the formula is true."""
    failed: int
    """Records read for which the formula has no value."""
    latest: str | None
    """Time of the newest record that is evidence; RFC 3339."""


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


class ControlList(msgspec.Struct, frozen=True):
    """All controls, by name. `next` is always null: there is one page."""

    items: list[ControlShape]
    next: str | None


@get(
    "/v1/controls",
    opt=requires(Permission.AUDIT_ANY_READ),
    tags=["audit"],
    summary="List controls with their enforcement and evidence",
)
async def list_controls(request: WebRequest) -> ControlList:
    app = application(request)
    model = app.model
    enforcement = enforcements(model)
    records = _Records(app.store, app.views)
    rows = [
        copy_to(
            ControlShape,
            control,
            owners=model.owners_of(control),
            enforced=bool(enforcement[name]) and not any(rule.fault for rule in enforcement[name]),
            enforced_by=[copy_to(EnforcedShape, rule) for rule in enforcement[name]],
            evidence=await _evidence(records, control.evidence),
        )
        for name, control in sorted(model.of_kind(kinds.Control).items())
    ]
    return ControlList(rows, None)


class _Records:
    """Cache of the newest records of each kind, shared by all controls of one request."""

    def __init__(self, store: Store, views: Views) -> None:
        self._store = store
        self._views = views
        self._records: dict[str, list[Record]] = {}
        self._approvers: dict[str, list[str]] | None = None

    async def of(self, kind: str) -> list[Record]:
        if kind not in self._records:
            self._records[kind] = await self._read(kind, ListFilter(limit=MAX_RECORDS))
        return self._records[kind]

    async def _read(self, kind: str, page: ListFilter) -> list[Record]:
        match kind:
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

    async def approvers(self) -> dict[str, list[str]]:
        """Return who approved, by approval. All votes are one read."""
        if self._approvers is None:
            votes = await self._store.votes([row.id for row in await self.of("approvals")])
            self._approvers = {
                id_: [vote.person for vote in cast if vote.approve] for id_, cast in votes.items()
            }
        return self._approvers


async def _evidence(records: _Records, evidence: kinds.Evidence) -> EvidenceShape:
    where = formula(evidence.where)
    approvers = await records.approvers() if "approval.approvers" in where.paths else {}
    matches = failed = 0
    latest = None
    rows = await records.of(evidence.of)
    for row in rows:
        true = _holds(where, evidence.of, row, approvers.get(row.id, []))
        failed += true is None
        if true:
            matches += 1
            at = getattr(row, "created_at", None) or getattr(row, "received_at", None)
            latest = max(latest, at) if latest is not None and at is not None else latest or at
    return EvidenceShape(
        of=evidence.of,
        where=evidence.where,
        looked_at=len(rows),
        found=matches,
        failed=failed,
        latest=latest.isoformat() if latest is not None else None,
    )


def _holds(where: Expression, of: str, row: Record, approvers: list[str]) -> bool | None:
    """Test whether a record is evidence; None if the formula has no value for it."""
    try:
        return where(names_of(of, row, approvers)) is True
    except (EvaluationError, BudgetExceeded):
        return None


ROUTES = [list_controls]
