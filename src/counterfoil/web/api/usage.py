"""Intake of usage: batches of events that are counted, without a workflow for each."""

from __future__ import annotations

from litestar import post
from litestar.response import Response

from counterfoil.core.event import BATCH
from counterfoil.flow.intake.usage import UsageAnswer
from counterfoil.web.http.access import RequestBody, application, requires
from counterfoil.web.http.deprecation_headers import headers_for
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.request import WebRequest, trusted_caller


@post(
    "/v1/usage",
    opt=requires(
        Permission.USAGE_ANY_SEND,
        RequestBody(
            BATCH, None, "Usage events: a batch, or one JSON event on each line (application/x-ndjson)."
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


ROUTES = [receive_usage]
