"""Decisions on several Cases or approvals at once. Each is recorded, or refused, by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from litestar import post

from counterfoil.application import Application
from counterfoil.core.case import Choice
from counterfoil.web.api.decisions import MAX_NOTE_CHARS, resolution_result, vote
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

MAX_BULK_ROWS = 200


class BulkResolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ids: list[str]
    """Up to 200 Cases."""
    choice: Choice
    note: str


class BulkDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    subjects: dict[str, str]
    """Up to 200 approvals by their ids, each with the digest of the subject that the caller saw."""
    decision: Literal["approve", "reject"]
    comment: str = ""


class BulkLine(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    verdict: str
    """As for a decision on one; `refused` with a detail."""
    detail: str = ""


class BulkResult(msgspec.Struct, frozen=True, kw_only=True):
    """Results of the decisions, in the order of the request."""

    items: list[BulkLine]
    done: int
    refused: int


@post(
    "/v1/cases/resolutions",
    opt=requires(Permission.CASES_OWN_RESOLVE, RequestBody(JSON, BulkResolution)),
    status_code=200,
    tags=["cases"],
    summary="Resolve several Cases",
)
async def resolve_several(request: WebRequest) -> BulkResult:
    """Resolve up to 200 Cases by the same choice. Each is resolved or refused by itself."""
    person = trusted_caller(request).person.id
    body = await request.body()
    require_json(request)
    bulk = decode_json(body, BulkResolution)
    return await resolve_all(application(request), bulk.ids, person, bulk.choice, bulk.note)


@post(
    "/v1/approvals/decisions",
    opt=requires(Permission.APPROVALS_OWN_DECIDE, RequestBody(JSON, BulkDecision)),
    status_code=200,
    tags=["approvals"],
    summary="Approve or reject several",
)
async def decide_several(request: WebRequest) -> BulkResult:
    """Decide up to 200 approvals the same way, each on the subject that the caller saw."""
    person = trusted_caller(request).person.id
    body = await request.body()
    require_json(request)
    bulk = decode_json(body, BulkDecision)
    return await decide_all(
        application(request), bulk.subjects, person, bulk.decision == "approve", bulk.comment
    )


async def resolve_all(
    app: Application, ids: Sequence[str], person: str, choice: Choice, note: str
) -> BulkResult:
    """Resolve Cases by one choice. Raises Problem 422 for none, too many, and without a note."""
    ids = _checked(list(dict.fromkeys(ids)), "Cases")
    note = note.strip()[:MAX_NOTE_CHARS]
    if not note:
        raise Problem(422, "Enter a note: later readers of the Cases need the reason.", field="note")
    lines = []
    for id_ in ids:
        try:
            verdict = await app.resolve_case(id_, person, choice, note)
            lines.append(BulkLine(id=id_, verdict=resolution_result(verdict, id_, person)))
        except Problem as problem:
            lines.append(BulkLine(id=id_, verdict="refused", detail=problem.detail))
    return _result(lines)


async def decide_all(
    app: Application, subjects: Mapping[str, str], person: str, approve: bool, comment: str
) -> BulkResult:
    """Decide approvals. Raises Problem 422 for none, too many, and for a rejection without a comment."""
    ids = _checked(list(subjects), "approvals")
    if not approve and not comment.strip():
        raise Problem(
            422, "Enter a comment: it stays with each decision, for all who read the Run.", field="comment"
        )
    lines = []
    for id_ in ids:
        try:
            verdict = await vote(app, id_, subjects[id_], person, approve, comment.strip())
            lines.append(BulkLine(id=id_, verdict=verdict))
        except Problem as problem:
            lines.append(BulkLine(id=id_, verdict="refused", detail=problem.detail))
    return _result(lines)


def _checked(ids: list[str], what: str) -> list[str]:
    if not ids:
        raise Problem(422, f"Select the {what} to decide on.", field="ids")
    if len(ids) > MAX_BULK_ROWS:
        raise Problem(
            422, f"Decide on at most {MAX_BULK_ROWS} {what} at once; these are {len(ids)}.", field="ids"
        )
    return ids


def _result(lines: list[BulkLine]) -> BulkResult:
    refused = sum(line.verdict == "refused" for line in lines)
    return BulkResult(items=lines, done=len(lines) - refused, refused=refused)


ROUTES = [resolve_several, decide_several]
