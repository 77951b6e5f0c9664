"""Decisions of persons on approvals and Cases."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import post
from litestar.params import FromPath

from counterfoil.core.case import Choice
from counterfoil.web.api import decision_responses
from counterfoil.web.http.access import RequestBody, application, requires
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import JSON, WebRequest, decode_json, require_json, trusted_caller

MAX_NOTE_CHARS = 2000


class DecisionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    decision: Literal["approve", "reject"]
    comment: str = ""
    subject: str | None = None
    """Digest that the caller saw. Without it, the decision applies to the approval's present subject."""


class Resolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    choice: Choice
    note: str = ""


class Verdict(msgspec.Struct, frozen=True):
    id: str
    verdict: str


@post(
    "/v1/approvals/{approval_id:str}",
    opt=requires(Permission.APPROVALS_OWN_DECIDE, RequestBody(JSON, DecisionRequest, component="Decision")),
    status_code=200,
    tags=["approvals"],
    summary="Approve or reject",
)
async def decide(request: WebRequest, approval_id: FromPath[str]) -> Verdict:
    person = trusted_caller(request).person.id
    app = application(request)
    body = await request.body()
    require_json(request)
    decision = decode_json(body, DecisionRequest)
    subject = decision.subject
    if subject is None:
        approval = await app.store.approval(approval_id)
        subject = "" if approval is None else approval.subject
    verdict = await app.decide_approval(
        approval_id, subject, person, decision.decision == "approve", decision.comment[:MAX_NOTE_CHARS]
    )
    return Verdict(approval_id, decision_responses.decided(verdict, approval_id, person))


@post(
    "/v1/cases/{case_id:str}",
    opt=requires(Permission.CASES_OWN_RESOLVE, RequestBody(JSON, Resolution)),
    status_code=200,
    tags=["cases"],
    summary="Resolve a Case",
)
async def resolve(request: WebRequest, case_id: FromPath[str]) -> Verdict:
    person = trusted_caller(request).person.id
    body = await request.body()
    require_json(request)
    resolution = decode_json(body, Resolution)
    verdict = await application(request).resolve_case(
        case_id, person, resolution.choice, resolution.note[:MAX_NOTE_CHARS]
    )
    return Verdict(case_id, decision_responses.resolved(verdict, case_id, person))


ROUTES = [decide, resolve]
