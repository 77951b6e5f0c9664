"""Decisions of persons on approvals and Cases. A refusal of the store becomes a problem with the next action."""

from __future__ import annotations

from typing import Literal, cast

import msgspec
from litestar import post
from litestar.params import FromPath

from counterfoil.application import Application
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Choice
from counterfoil.store.port.people import DecideVerdict, ResolveVerdict, VoteRefusal, VoteResult
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

MAX_NOTE_CHARS = 2000
_DECIDE: dict[VoteRefusal, tuple[int, str, str]] = {
    "not_found": (404, "not-found", "There is no approval {id}."),
    "closed": (409, "closed", "Approval {id} is already decided. Your vote was not counted."),
    "expired": (409, "expired", "Approval {id} has expired. The workflow decides how the Run continues."),
    "subject": (
        409,
        "subject",
        "The content of approval {id} has changed since you opened it. Review it again before you decide.",
    ),
    "requester": (
        403,
        "separation-of-duties",
        "{person} requested {id} and cannot approve it. Ask another person to decide.",
    ),
    "sender": (
        403,
        "separation-of-duties",
        "{person} sent an event that {id} rests on and cannot approve it. Ask another person to decide.",
    ),
    "role": (403, "role", "Approval {id} requires a role that {person} does not have."),
    "inactive": (403, "inactive", "{person} is not active and cannot decide."),
    "voted": (
        409,
        "voted",
        "{person} has already voted on {id}, or a vote was cast for the same person. Each person has one vote.",
    ),
    "delegation": (
        403,
        "delegation",
        "The delegation by which {person} would decide {id} has ended, or does not reach so far.",
    ),
}
_RESOLVE: dict[ResolveVerdict, tuple[int, str, str]] = {
    "not_found": (404, "not-found", "There is no Case {id}."),
    "closed": (409, "closed", "Case {id} is already resolved. Nothing was changed."),
    "choice": (422, "choice", "Case {id} does not offer that choice. Its page lists the choices."),
    "role": (403, "role", "Case {id} belongs to a role that {person} does not have."),
    "inactive": (403, "inactive", "{person} is not active and cannot resolve Cases."),
    "changed": (
        409,
        "changed",
        "The documents changed since you opened Case {id}. Review them again before you decide.",
    ),
    "settled": (
        409,
        "settled",
        "Nothing is missing any more: there is no difference to accept in Case {id}.",
    ),
    "differs": (
        409,
        "differs",
        "The documents of Case {id} differ in more than amounts, which a waiver cannot accept. Correct one.",
    ),
    "cap": (409, "cap", "With Case {id}, more would be accepted this month than the reconciliation allows."),
    "tier": (403, "tier", "The amount of Case {id} is above every tier of the approval policy."),
}
_TITLES = {
    "separation-of-duties": "Separation of duties",
    "subject": "The approval has changed",
    "role": "Another role decides",
}


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
    verdict: VoteResult | Literal["resolved", "requested"]
    """`requested`: another person must agree; see the approvals."""


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
    approve = decision.decision == "approve"
    return Verdict(approval_id, await vote(app, approval_id, subject, person, approve, decision.comment))


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
    return Verdict(case_id, resolution_result(verdict, case_id, person))


async def vote(
    app: Application, approval_id: str, subject: str, person: str, approve: bool, comment: str
) -> VoteResult:
    """Count a vote and return its result.

    Raises Problem for a refusal, and for a granted decision on a match whose documents changed since the request.
    """
    verdict = await app.decide_approval(approval_id, subject, person, approve, comment[:MAX_NOTE_CHARS])
    result = vote_result(verdict, approval_id, person)
    if result == "granted":
        approval = await app.store.approval(approval_id)
        if approval is not None and approval.state is ApprovalState.STALE:
            raise Problem(
                409,
                f"The documents changed since approval {approval_id} was requested. Nothing was done. "
                "Review them, and request the decision again.",
                kind="changed",
            )
    return result


def vote_result(verdict: DecideVerdict, id_: str, person: str) -> VoteResult:
    """Return `counted`, `granted` or `rejected`. Raises Problem for a refusal."""
    if verdict in ("counted", "granted", "rejected"):
        return verdict
    raise _problem(_DECIDE[cast(VoteRefusal, verdict)], id_, person)


def resolution_result(verdict: ResolveVerdict, id_: str, person: str) -> Literal["resolved", "requested"]:
    """Return `resolved` or `requested`. Raises Problem for a refusal."""
    if verdict in ("resolved", "requested"):
        return verdict
    raise _problem(_RESOLVE[verdict], id_, person)


def _problem(refusal: tuple[int, str, str], id_: str, person: str) -> Problem:
    status, kind, message = refusal
    return Problem(status, message.format(id=id_, person=person), kind=kind, title=_TITLES.get(kind, ""))


ROUTES = [decide, resolve]
