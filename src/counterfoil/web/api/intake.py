"""Intake of deliveries: webhooks of systems, CloudEvents of declared senders, and usage without a workflow."""

from __future__ import annotations

import msgspec
from litestar import post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.core import event as cloudevents
from counterfoil.core.finding import did_you_mean
from counterfoil.flow.intake.usage import UsageAnswer
from counterfoil.store.port.intake import ReceiveVerdict
from counterfoil.web.http.deprecation_headers import headers_for
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import (
    RequestBody,
    WebRequest,
    application,
    headers_by_name,
    requires,
    trusted_caller,
)


class ReceiptResponse(msgspec.Struct, frozen=True):
    """`new`: stored now. `same`: stored before. `clash`: other content under the same id; a Case is open."""

    verdict: ReceiveVerdict
    receipt: int


class EventsResponse(msgspec.Struct, frozen=True):
    items: list[ReceiptResponse]


@post(
    "/v1/receipts/{system:str}",
    opt=requires(
        Open.SIGNATURE, RequestBody("*/*", None, "The webhook's body, exactly as the system sent it.")
    ),
    status_code=202,
    tags=["doors"],
    summary="Receive a system's webhook",
)
async def receive(request: WebRequest, system: FromPath[str]) -> Response[ReceiptResponse]:
    app = application(request)
    if system not in app.model.systems:
        near = did_you_mean(system, app.model.systems)
        raise Problem(
            404,
            " ".join(
                [f"The governance folder declares no system {system[:100]}.", near.capitalize()]
            ).strip(),
        )
    answer = await app.receive(system, headers_by_name(request), await request.body())
    deprecated = app.uses.deprecated(await app.now())
    emitted = app.model.events_of(system, answer.type) if deprecated else []
    return Response(ReceiptResponse(answer.verdict, answer.receipt), headers=await headers_for(app, emitted))


@post(
    "/v1/events",
    opt=requires(
        Permission.EVENTS_ANY_SEND,
        RequestBody(
            cloudevents.STRUCTURED,
            None,
            f"A CloudEvent, a batch ({cloudevents.BATCH}), or binary mode with ce- headers. "
            "One about a record of a legal entity that its sender does not act for is answered with 404.",
        ),
    ),
    status_code=202,
    tags=["doors"],
    summary="Receive CloudEvents: binary, structured or batch",
)
async def receive_events(request: WebRequest) -> Response[EventsResponse]:
    sender = trusted_caller(request).person.id
    app = application(request)
    headers = request.headers
    events = cloudevents.parse(
        await request.body(), headers.get("content-type", ""), headers_by_name(request)
    )
    answers = await app.receive_events(events, sender)
    received = EventsResponse([ReceiptResponse(answer.verdict, answer.receipt) for answer in answers])
    now = await app.now()
    used = [event.type for event in events if app.uses.note(event.type, "sends", f"person:{sender}", now)]
    return Response(received, headers=await headers_for(app, used))


@post(
    "/v1/usage",
    opt=requires(
        Permission.USAGE_ANY_SEND,
        RequestBody(
            cloudevents.BATCH,
            None,
            "Usage events: a batch, or one JSON event on each line (application/x-ndjson). `legalentity` names their entity.",
        ),
    ),
    status_code=202,
    tags=["doors"],
    summary="Receive a batch of usage events",
)
async def receive_usage(request: WebRequest) -> Response[UsageAnswer]:
    sender = trusted_caller(request).person.id
    media = request.headers.get("content-type", "")
    app = application(request)
    answer = await app.receive_usage(await request.body(), media, sender)
    return Response(answer, headers=await headers_for(app, answer.deprecated))


ROUTES = [receive, receive_events, receive_usage]
