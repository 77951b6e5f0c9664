"""The door for usage: batches of events that are counted, not run through workflows one by one."""

from __future__ import annotations

from typing import Any

from litestar import Request, post
from litestar.response import Response

from counterfoil.core.event import BATCH
from counterfoil.flow.intake.usage import UsageAnswer
from counterfoil.web.http.access import application, caller, requires
from counterfoil.web.http.deprecation_headers import headers_for
from counterfoil.web.http.identity import check_same_origin
from counterfoil.web.http.permissions import Permission

BODIES = {
    ("/v1/usage", "post"): (
        BATCH,
        None,
        "Usage events: a batch, or one JSON event to a line (application/x-ndjson).",
    )
}


@post(
    "/v1/usage",
    opt=requires(Permission.USAGE_ANY_SEND),
    status_code=202,
    tags=["doors"],
    summary="A batch of usage events",
)
async def receive_usage(request: Request[Any, Any, Any]) -> Response[UsageAnswer]:
    identity = caller(request)
    if identity.csrf:
        check_same_origin(request.headers, {}, identity)
    media = request.headers.get("content-type", "")
    app = application(request)
    answer = await app.receive_usage(await request.body(), media, identity.person.id)
    return Response(answer, headers=await headers_for(app, answer.deprecated))


ROUTES = [receive_usage]
