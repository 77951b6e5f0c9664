"""Requests of persons on matches that wait for the agreement of others, and what a Case or a page says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core.approval import Approval
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.people import Person
from counterfoil.flow.runs.match_decisions import open_waiver
from counterfoil.model import Model
from counterfoil.rules.entities import deciding_roles
from counterfoil.store.port.documents import Decision, decision_of
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api.shapes import CaseShape

_PAGE_ROWS = 200


async def open_requests(app: Application) -> list[tuple[Approval, Decision]]:
    """Return the open approvals of decisions on matches, with what each decides; such approvals belong to no Run."""
    requests: list[tuple[Approval, Decision]] = []
    page: ListFilter | None = ListFilter(run="", state="open", limit=_PAGE_ROWS)
    while page is not None:
        approvals, cursor = await app.views.approvals(page)
        requests += [(approval, decision_of(approval)) for approval in approvals]
        page = None if cursor is None else replace(page, cursor=cursor)
    return requests


async def with_requests(
    app: Application, cases: Sequence[Case], rows: Sequence[CaseShape]
) -> list[CaseShape]:
    """Return the shapes of Cases; one whose waiver was requested says for whom it waits and offers it no more."""
    waiting: dict[str, Approval] = {}
    for case in cases:
        if case.state is CaseState.OPEN and case.foil is not None and Choice.WAIVE in case.choices:
            foil = await app.store.foil(case.foil)
            request = None if foil is None else await open_waiver(app.store, foil)
            waiting |= {} if request is None else {case.id: request}
    if not waiting:
        return list(rows)
    persons = await app.store.persons()
    return [
        row if row.id not in waiting else _waits(app.model, row, waiting[row.id], persons) for row in rows
    ]


def _waits(model: Model, row: CaseShape, request: Approval, persons: Iterable[Person]) -> CaseShape:
    return replace(
        row,
        next_action=f"{waits_text(model, request, persons)}. Rejected, the Case can be decided again",
        choices=[choice for choice in row.choices if choice != Choice.WAIVE],
        approval=request.id,
    )


def waits_text(model: Model, request: Approval, persons: Iterable[Person]) -> str:
    """Return for whom a request waits: `Wait for controller (Cory Controller) until 2026-12-14 17:00 UTC: Fay asked ...`."""
    persons = list(persons)
    able = [
        p.name
        for p in persons
        if p.active
        and deciding_roles(model, p, request.policy, request.entity, request.created_at.date())
        & set(request.roles)
        and not request.part_of(p)
    ]
    names = {p.id: p.name for p in persons}
    roles = " or ".join(role.replace("-", " ").replace("_", " ") for role in request.roles)
    who = f"{roles} ({', '.join(able)})" if able else f"{roles}, a role that no other person has"
    request_words = f"{names.get(request.requester, request.requester)} asked to accept the difference"
    return f"Wait for {who} until {request.expires:%Y-%m-%d %H:%M} UTC: {request_words}"
