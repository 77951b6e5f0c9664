"""The doors of the API: deliveries and events in, and persons' decisions on approvals and Cases."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec
from litestar import Request, post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.core import event as cloudevents
from counterfoil.core.case import Choice
from counterfoil.core.wire import read_json
from counterfoil.web.api import decision_responses
from counterfoil.web.api.queries import approval_by_id
from counterfoil.web.http.access import application, caller, requires
from counterfoil.web.http.deprecation_headers import headers_for
from counterfoil.web.http.identity import check_same_origin
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.problems import Problem

Asked = Request[Any, Any, Any]
S = TypeVar("S", bound=msgspec.Struct)


class Received(msgspec.Struct, frozen=True):
    """`new`: kept now. `same`: kept before. `clash`: another content under the same id; a Case is open."""

    verdict: str
    receipt: int


class EventsReceived(msgspec.Struct, frozen=True):
    items: list[Received]


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    decision: Literal["approve", "reject"]
    comment: str = ""
    subject: str | None = None
    """The digest that the caller was shown; without it, whatever the approval covers now."""


class Resolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    choice: Choice
    note: str = ""


class Verdict(msgspec.Struct, frozen=True):
    id: str
    verdict: str


BODIES: dict[tuple[str, str], tuple[str, type[msgspec.Struct] | None, str]] = {
    ("/v1/receipts/{system}", "post"): ("*/*", None, "The webhook's body, exactly as the system sends it."),
    ("/v1/events", "post"): (
        cloudevents.STRUCTURED,
        None,
        f"A CloudEvent, a batch ({cloudevents.BATCH}), or binary mode with ce- headers.",
    ),
    ("/v1/approvals/{approval_id}", "post"): ("application/json", Decision, ""),
    ("/v1/cases/{case_id}", "post"): ("application/json", Resolution, ""),
}
"""Request bodies for the OpenAPI description: handlers read raw bytes, which no framework sees into."""


@post(
    "/v1/receipts/{system:str}",
    opt=requires(Open.SIGNATURE),
    status_code=202,
    tags=["doors"],
    summary="A system's webhook",
)
async def receive(request: Asked, system: FromPath[str]) -> Response[Received]:
    app = application(request)
    if system not in app.model.systems:
        raise Problem(404, f"No system {system[:100]} is declared in the governance folder.")
    answer = await app.receive(system, dict(request.headers.items()), await request.body())
    deprecated = app.uses.deprecated(await app.now())
    emitted = app.model.events_of(system, answer.type) if deprecated else []
    return Response(Received(answer.verdict, answer.receipt), headers=await headers_for(app, emitted))


@post(
    "/v1/events",
    opt=requires(Permission.EVENTS_ANY_SEND),
    status_code=202,
    tags=["doors"],
    summary="CloudEvents: binary, structured, batch",
)
async def receive_events(request: Asked) -> Response[EventsReceived]:
    _check_browser(request)
    app = application(request)
    headers = request.headers
    events = cloudevents.parse(await request.body(), headers.get("content-type", ""), dict(headers.items()))
    answers = await app.receive_events(events)
    received = EventsReceived([Received(answer.verdict, answer.receipt) for answer in answers])
    now = await app.now()
    who = f"person:{caller(request).person.id}"
    used = [event.type for event in events if app.uses.note(event.type, "sends", who, now)]
    return Response(received, headers=await headers_for(app, used))


@post(
    "/v1/approvals/{approval_id:str}",
    opt=requires(Permission.APPROVALS_OWN_DECIDE),
    status_code=200,
    tags=["approvals"],
    summary="Approve or reject",
)
async def decide(request: Asked, approval_id: FromPath[str]) -> Verdict:
    _check_browser(request)
    app = application(request)
    asked = _read(await request.body(), request.headers.get("content-type", ""), Decision)
    person = caller(request).person.id
    subject = asked.subject
    if subject is None:
        held = await approval_by_id(app, approval_id)
        if held is None:
            decision_responses.decided("not_found", approval_id, person)
        subject = held.subject if held is not None else ""
    verdict = await app.decide_approval(
        approval_id, subject, person, asked.decision == "approve", asked.comment[:2000]
    )
    return Verdict(approval_id, decision_responses.decided(verdict, approval_id, person))


@post(
    "/v1/cases/{case_id:str}",
    opt=requires(Permission.CASES_OWN_RESOLVE),
    status_code=200,
    tags=["cases"],
    summary="Resolve a Case",
)
async def resolve(request: Asked, case_id: FromPath[str]) -> Verdict:
    _check_browser(request)
    asked = _read(await request.body(), request.headers.get("content-type", ""), Resolution)
    person = caller(request).person.id
    verdict = await application(request).resolve_case(case_id, person, asked.choice, asked.note[:2000])
    return Verdict(case_id, decision_responses.resolved(verdict, case_id, person))


def _check_browser(request: Asked) -> None:
    """A browser's session needs its CSRF token here as on pages; bearer tokens come from programs."""
    identity = caller(request)
    if identity.csrf:
        check_same_origin(request.headers, {}, identity)


def _read(body: bytes, content_type: str, kind: type[S]) -> S:
    media = content_type.partition(";")[0].strip().lower()
    if media != "application/json":
        raise Problem(415, "Send application/json.", headers={"accept-post": "application/json"})
    try:
        return msgspec.convert(read_json(body), kind)
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}.") from None


ROUTES = [receive, receive_events, decide, resolve]
