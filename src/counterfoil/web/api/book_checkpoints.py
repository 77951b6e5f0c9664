"""Checkpoints of a reconciliation: prepared by one person, signed by another, and what has changed in them since."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import FromPath

from counterfoil.application import Application
from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.flow.worker.book_listing import CheckpointRefused
from counterfoil.web.api.checkpoint_shapes import BookCheckpointShape, CheckpointList, checkpoint_shape
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import (
    JSON,
    RequestBody,
    WebRequest,
    application,
    decode_json,
    require_json,
    requires,
    trusted_caller,
)

MAX_NOTE_CHARS = 2_000
DayText = Annotated[str, msgspec.Meta(max_length=10, description="Date, such as 2026-11-30.")]


class PrepareRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: DayText
    """The cut-off: the last document date that counts."""
    entity: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    """Only of this legal entity; default: of each one that has documents."""


class SignRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    decision: Literal["sign"]
    note: Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARS)] = ""


@get(
    "/v1/reconciliations/{name:str}/checkpoints",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["counterfoils"],
    summary="Checkpoints of a reconciliation",
)
async def list_checkpoints(request: WebRequest, name: FromPath[str]) -> CheckpointList:
    """The prepared and signed checkpoints, latest cut-off first."""
    app = application(request)
    _rule(app, name)
    rows = await app.checkpoints.all_of(name, app.scope)
    return CheckpointList([checkpoint_shape(row, app.model, app.scope) for row in rows])


@post(
    "/v1/reconciliations/{name:str}/checkpoints",
    opt=requires(Permission.CHECKPOINTS_ANY_PREPARE, RequestBody(JSON, PrepareRequest)),
    status_code=201,
    tags=["counterfoils"],
    summary="Prepare checkpoints",
)
async def prepare_checkpoints(request: WebRequest, name: FromPath[str]) -> CheckpointList:
    """Counts both sides up to the cut-off, for each legal entity that has documents. 409 if a book was never read."""
    app = application(request)
    rule = app.model.reconciliations[_rule(app, name)]
    person = trusted_caller(request).person
    body = await request.body()
    require_json(request)
    data = decode_json(body, PrepareRequest)
    if data.entity is not None and not app.scope.sees(data.entity):
        raise Problem(403, f"You see no records of the legal entity {data.entity}.", kind="forbidden")
    try:
        rows = await app.checkpoints.prepare(rule, _day(data.at), data.entity, app.scope, person.id)
    except CheckpointRefused as error:
        raise Problem(409, str(error)) from None
    return CheckpointList([checkpoint_shape(row, app.model, app.scope) for row in rows])


@get(
    "/v1/checkpoints/{checkpoint_id:str}",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["counterfoils"],
    summary="One checkpoint",
)
async def get_checkpoint(request: WebRequest, checkpoint_id: FromPath[str]) -> BookCheckpointShape:
    """Its counts, its two persons, and the documents inside it that have changed since."""
    app = application(request)
    row = await known_checkpoint(app, checkpoint_id)
    return checkpoint_shape(row, app.model, app.scope, await app.checkpoints.changes(row))


@post(
    "/v1/checkpoints/{checkpoint_id:str}",
    opt=requires(Permission.CHECKPOINTS_ANY_SIGN, RequestBody(JSON, SignRequest)),
    status_code=200,
    tags=["counterfoils"],
    summary="Sign a checkpoint",
)
async def sign_checkpoint(request: WebRequest, checkpoint_id: FromPath[str]) -> BookCheckpointShape:
    """The person who prepared it cannot sign it. 409 names what stands against the signature."""
    app = application(request)
    row = await known_checkpoint(app, checkpoint_id)
    person = trusted_caller(request).person
    body = await request.body()
    require_json(request)
    data = decode_json(body, SignRequest)
    try:
        signed = await app.checkpoints.sign(row.id, person.id, data.note)
    except CheckpointRefused as error:
        raise Problem(409, str(error)) from None
    return checkpoint_shape(signed, app.model, app.scope)


async def known_checkpoint(app: Application, id_: str) -> BookCheckpoint:
    """Return a checkpoint that the caller sees. Raises Problem 404."""
    row = await app.checkpoints.one(id_)
    if row is None or not app.scope.sees(row.entity):
        raise Problem(404, f"There is no checkpoint {id_[:100]}.", kind="not-found")
    return row


def _rule(app: Application, name: str) -> str:
    if name not in app.model.reconciliations:
        raise Problem(404, f"There is no reconciliation {name}.", kind="not-found")
    return name


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
        if day.isoformat() != text:
            raise ValueError(text)
        return day
    except ValueError:
        raise Problem(422, f"{text!r} is not a date such as 2026-11-30.") from None


ROUTES = [list_checkpoints, prepare_checkpoints, get_checkpoint, sign_checkpoint]
