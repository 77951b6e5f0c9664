"""The operations gateway over HTTP: a consumer's call, how its Run goes on, and what is refused."""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.contracts import versions
from counterfoil.core import wire
from counterfoil.flow.gateway.calls import (
    LONGEST_WAIT,
    CallRefused,
    OperationRequest,
    Outcome,
    Pending,
    Reply,
    RunEnded,
    SystemAnswer,
    Unanswerable,
)
from counterfoil.rules.values import plain
from counterfoil.web.api import operation_headers
from counterfoil.web.http.access import application, caller, requires
from counterfoil.web.http.deprecation_headers import lifecycle_headers
from counterfoil.web.http.identity import check_same_origin
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import PROBLEM_JSON, Problem

JSON = "application/json"
_RUN = re.compile(r"run_[0-9a-z]{26}")
LOOK_AGAIN = 2
"""Seconds after which somebody whose Run goes on may look again."""
REFUSALS = {
    "unknown": (404, "not-found", "There is nothing here"),
    "contract": (422, "contract", "The input does not keep its contract"),
    "ownership": (403, "ownership", "Another system's word"),
    "changed": (422, "idempotency-key-reused", "The key belongs to another call"),
    "busy": (409, "in-flight", "The first call is not answered yet"),
    "limited": (429, "rate-limit", "Too many calls"),
    "exists": (409, "exists", "It was begun before"),
    "not-taken": (422, "not-taken", "The workflow does not take this"),
}
ANSWERS = {
    "absent": (404, "absent", "The system knows no such thing"),
    "system-refused": (502, "system-refused", "The system refused it"),
    "bad-output": (502, "bad-output", "The answer does not keep its contract"),
}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How the Run of a call stands. `output` is what the operation's contract says, once the Run came to its end."""

    run: str
    status: str
    state: str
    output: Any = None
    waiting_for: str | None = None


class _Asking(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what, as its heads and address say it."""

    name: str
    path: str
    correlation: str
    kept: dict[str, str]
    wait: float | None


def _asking(request: Request[Any, Any, Any], name: str) -> _Asking:
    identity = caller(request)
    if identity.csrf:
        check_same_origin(request.headers, {}, identity)
    followed = operation_headers.trace(request.headers)
    return _Asking(
        name=operation_headers.named(name, request.headers),
        path=request.url.path,
        correlation=followed.correlation,
        kept=followed.kept,
        wait=operation_headers.wait(request.headers),
    )


@post(
    "/v1/operations/{name:str}",
    opt=requires(Permission.OPERATIONS_OWN_CALL),
    status_code=200,
    tags=["gateway"],
    summary="Call an operation that the company offers",
)
async def call(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A canonical Operation, answered once under each `Idempotency-Key`."""
    asking, person = _asking(request, name), caller(request).person
    app = application(request)
    key = operation_headers.idempotency_key(request.headers)
    body = await request.body()
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != JSON:
        raise Problem(415, f"Send {JSON}.", headers={"accept-post": JSON})
    asked = OperationRequest(
        consumer=person.id,
        roles=person.roles,
        operation=asking.name,
        key=key,
        input=wire.read_json(body),
        body=body,
        headers={"content-type": media, "idempotency-key": key, **asking.kept},
        correlation=asking.correlation,
        wait=asking.wait,
    )
    late = _late(app.model, asking.name, await app.now())
    try:
        answered = await app.gateway.call(asked, lambda outcome: _render(outcome, asking, late))
    except CallRefused as refused:
        raise _problem(refused, asking) from None
    headers = dict(answered.reply.headers)
    if answered.repeated:
        headers["idempotency-replayed"] = "true"
    headers |= operation_headers.rate_headers(answered.rate, answered.left)
    return _response(msgspec.structs.replace(answered.reply, headers=headers))


@get(
    "/v1/operations/{name:str}/runs/{run_id:str}",
    opt=requires(Permission.OPERATIONS_OWN_CALL),
    tags=["gateway"],
    summary="How the Run of one's own call stands",
)
async def progress(
    request: Request[Any, Any, Any], name: FromPath[str], run_id: FromPath[str]
) -> Response[bytes]:
    """200 once it has ended, 202 while it goes on."""
    asking, person = _asking(request, name), caller(request).person
    asked = OperationRequest(
        consumer=person.id,
        roles=person.roles,
        operation=asking.name,
        key="",
        input=None,
        body=b"",
        headers={},
        correlation=asking.correlation,
        wait=asking.wait,
    )
    if not _RUN.fullmatch(run_id):
        raise Problem(404, "No call of yours began such a Run.")
    app = application(request)
    try:
        outcome = await app.gateway.of_run(asked, run_id)
    except CallRefused as refused:
        raise _problem(refused, asking) from None
    return _response(_render(outcome, asking, _late(app.model, asking.name, await app.now())))


# ------------------------------------------------------------------ answers


def _render(outcome: Outcome, asking: _Asking, late: dict[str, str]) -> Reply:
    """An outcome as its caller sees it, and as it is kept."""
    headers = {
        "content-type": JSON,
        operation_headers.CORRELATION: asking.correlation,
        operation_headers.VERSION: str(versions.number(asking.name)),
        **late,
    }
    if asking.wait is not None:
        headers["preference-applied"] = f"wait={min(asking.wait, LONGEST_WAIT):g}"
    match outcome:
        case SystemAnswer(output=output):
            return Reply(status=200, headers=headers, body=msgspec.json.encode(plain(output)))
        case RunEnded():
            headers["content-location"] = _place(asking, outcome.run)
            shown = Progress(
                run=outcome.run, status=outcome.status, state=outcome.state, output=plain(outcome.output)
            )
            return Reply(status=200, headers=headers, body=msgspec.json.encode(shown))
        case Pending():
            headers |= {"location": _place(asking, outcome.run), "retry-after": str(LOOK_AGAIN)}
            shown = Progress(
                run=outcome.run, status=outcome.status, state=outcome.state, waiting_for=outcome.waiting_for
            )
            return Reply(status=202, headers=headers, body=msgspec.json.encode(shown))
        case Unanswerable():
            status, kind, title = ANSWERS[outcome.kind]
            more = {"run": outcome.run} if outcome.run else {}
            problem = Problem(status, outcome.detail, kind=kind, title=title, more=more)
            headers["content-type"] = PROBLEM_JSON
            return Reply(status=status, headers=headers, body=problem.body(asking.path))


def _place(asking: _Asking, run: str) -> str:
    return f"/v1/operations/{quote(asking.name)}/runs/{quote(run)}"


def _late(model: Any, name: str, now: Any) -> dict[str, str]:
    """What is to be told of a version on its way out."""
    operation = model.operations.get(name)
    return {} if operation is None else lifecycle_headers(operation, now)


def _problem(refused: CallRefused, asking: _Asking) -> Problem:
    status, kind, title = REFUSALS[refused.kind]
    headers = {operation_headers.CORRELATION: asking.correlation} | operation_headers.rate_headers(
        refused.rate, refused.left
    )
    if refused.after is not None:
        headers["retry-after"] = str(max(1, math.ceil(refused.after)))
    more: dict[str, Any] = {}
    if refused.faults:
        more["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in refused.faults]
    return Problem(status, str(refused), kind=kind, title=title, headers=headers, more=more)


def _response(reply: Reply) -> Response[bytes]:
    headers = dict(reply.headers)
    media = headers.pop("content-type", JSON)
    return Response(reply.body, status_code=reply.status, media_type=media, headers=headers)


BODIES = {
    ("/v1/operations/{name}", "post"): (
        JSON,
        None,
        "The operation's input; /v1/operations/openapi.json has the schema of each operation that is offered.",
    )
}
ROUTES = [call, progress]
"""The gateway's routes that speak of one operation."""
