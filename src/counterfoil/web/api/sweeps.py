"""Sweeps of a reconciliation: the whole books of both systems, read to find what events missed."""

from __future__ import annotations

import msgspec
from litestar import get, post
from litestar.params import FromPath

from counterfoil.application import Application
from counterfoil.core.sweep import Sweep, SweepState
from counterfoil.model import kinds
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires, trusted_caller


class SweepShape(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of one book."""

    id: str
    system: str
    book: str
    state: SweepState
    requested_at: str
    requested_by: str
    pages: int
    deliveries: int
    """Deliveries by which the book has shown its records so far; one record may be several."""
    new_deliveries: int
    """Those that were not received before. A delivery whose fact another one brought before is new, and changes nothing."""
    unlisted_documents: int
    """Documents that Counterfoil knows and the book does not list; each has a Case."""
    held_deliveries: int
    """Those that wait for a decision about their Cases, so that they count nowhere yet."""
    error: str
    ended_at: str | None


class SweepList(msgspec.Struct, frozen=True):
    """The newest sweep of each book of a reconciliation."""

    sweeps: list[SweepShape]


@get(
    "/v1/reconciliations/{name:str}/sweeps",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["counterfoils"],
    summary="Sweeps of a reconciliation",
)
async def list_sweeps(request: WebRequest, name: FromPath[str]) -> SweepList:
    """The newest sweep of each book of both systems: its progress, and what it has brought to light."""
    app = application(request)
    sweeps = await app.sweeps.latest(app.model, _rule(app, name), app.scope)
    return await _list(app, sweeps)


@post(
    "/v1/reconciliations/{name:str}/sweeps",
    opt=requires(Permission.FOILS_ANY_SWEEP),
    status_code=202,
    tags=["counterfoils"],
    summary="Read the books of both systems",
)
async def request_sweeps(request: WebRequest, name: FromPath[str]) -> SweepList:
    """Begins a sweep of each book that lists documents of the reconciliation. One that is under way goes on."""
    app = application(request)
    person = trusted_caller(request).person
    sweeps = await app.sweeps.request(app.model, _rule(app, name), app.scope, person.id)
    return await _list(app, sweeps)


async def _list(app: Application, sweeps: list[Sweep]) -> SweepList:
    return SweepList([_shape(sweep, await app.store.swept_and_held(sweep.id)) for sweep in sweeps])


def _rule(app: Application, name: str) -> kinds.Reconciliation:
    rule = app.model.reconciliations.get(name)
    if rule is None:
        raise Problem(404, f"There is no reconciliation {name}.", kind="not-found")
    return rule


def _shape(sweep: Sweep, waiting: int) -> SweepShape:
    return SweepShape(
        id=sweep.id,
        system=sweep.system,
        book=sweep.book,
        state=sweep.state,
        requested_at=sweep.requested_at.isoformat(),
        requested_by=sweep.requested_by,
        pages=sweep.pages,
        deliveries=sweep.listed,
        new_deliveries=sweep.fresh,
        unlisted_documents=sweep.missing,
        held_deliveries=waiting,
        error=sweep.error,
        ended_at=None if sweep.ended_at is None else sweep.ended_at.isoformat(),
    )


ROUTES = [list_sweeps, request_sweeps]
