"""The operations gateway over HTTP: a consumer's call, the progress of its Run, and refusals."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from litestar import get, post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.contracts import versions
from counterfoil.core import wire
from counterfoil.flow.gateway.calls import (
    MAX_WAIT_SECONDS,
    CallRefused,
    OperationRequest,
    Outcome,
    Pending,
    ReadAnswer,
    RefusalKind,
    RunEnded,
    StoredReply,
    Unanswerable,
    UnanswerableKind,
)
from counterfoil.model import Model
from counterfoil.rules.json_values import plain
from counterfoil.web.api import operation_headers
from counterfoil.web.api.names import NameReader
from counterfoil.web.http.deprecation_headers import lifecycle_headers
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import PROBLEM_JSON, Problem
from counterfoil.web.http.request import (
    JSON,
    RequestBody,
    WebRequest,
    application,
    caller,
    media_type,
    require_json,
    requires,
    trusted_caller,
)

_RUN = re.compile(r"run_[0-9a-z]{26}")
RETRY_AFTER_SECONDS = 2
"""Before a caller should ask again about a Run in progress."""


class Refusal(NamedTuple):
    """HTTP response to a call that started nothing or that has no valid answer."""

    status: int
    kind: str
    title: str
    cause: str
    """Clause for the OpenAPI description of the status."""


REFUSALS: dict[RefusalKind | UnanswerableKind, Refusal] = {
    "unknown": Refusal(404, "not-found", "Not found", "you cannot call such an operation"),
    "absent": Refusal(404, "absent", "Not found in the system", "the system has no such record"),
    "ownership": Refusal(403, "ownership", "Another system owns this value", "another system owns a value"),
    "busy": Refusal(
        409, "in-flight", "First call still in progress", "the first call with this key is in progress"
    ),
    "exists": Refusal(409, "exists", "Already started", "the Run was started before"),
    "contract": Refusal(
        422,
        "contract",
        "The input breaks its contract",
        "the input breaks its contract (`errors` lists each fault with its pointer)",
    ),
    "changed": Refusal(
        422, "idempotency-key-reused", "Idempotency key already used", "the key was used for another call"
    ),
    "not-taken": Refusal(
        422, "not-taken", "The workflow does not accept this", "the workflow does not accept it"
    ),
    "limited": Refusal(429, "rate-limit", "Rate limit exceeded", "the rate limit is exceeded"),
    "system-refused": Refusal(502, "system-refused", "Refused by the system", "the system refused the call"),
    "bad-output": Refusal(
        502, "bad-output", "The answer breaks its contract", "its answer breaks the contract"
    ),
}


class RunProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of the Run that a call started. `output` follows the operation's contract, after the Run has finished."""

    run: str
    status: str
    state: str
    output: Any = None
    waiting_for: str | None = None


class _CallHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """Address and headers of a call."""

    name: str
    path: str
    correlation: str
    stored: dict[str, str]
    """Headers to store with the receipt."""
    wait: float | None


def _call_headers(request: WebRequest, name: str) -> _CallHeaders:
    trusted_caller(request)
    correlation = operation_headers.correlation(request.headers)
    return _CallHeaders(
        name=operation_headers.versioned_name(name, request.headers),
        path=request.url.path,
        correlation=correlation.id,
        stored=correlation.headers,
        wait=operation_headers.wait(request.headers),
    )


@post(
    "/v1/operations/{name:str}",
    opt=requires(
        Permission.OPERATIONS_OWN_CALL,
        RequestBody(
            JSON,
            None,
            "The operation's input. /v1/operations/openapi.json has the schema of each exposed operation.",
        ),
    ),
    status_code=200,
    tags=["gateway"],
    summary="Call an exposed operation",
)
async def call(request: WebRequest, name: FromPath[str]) -> Response[bytes]:
    """Executes a canonical Operation once for each `Idempotency-Key`."""
    heads, person = _call_headers(request, name), caller(request).person
    app = application(request)
    key = operation_headers.idempotency_key(request.headers)
    body = await request.body()
    require_json(request)
    value = wire.read_json(body)
    if app.mask is not None and isinstance(value, dict):
        await NameReader(app).data(value)  # a system's refusal may name them
    operation_request = OperationRequest(
        consumer=person.id,
        roles=person.roles,
        operation=heads.name,
        key=key,
        input=value,
        body=body,
        headers={"content-type": media_type(request), "idempotency-key": key, **heads.stored},
        correlation=heads.correlation,
        wait=heads.wait,
        scope=app.scope,
    )
    deprecation = _deprecation(app.model, heads.name, await app.now())
    try:
        result = await app.gateway.call(
            operation_request, lambda outcome: _render(_masked(app, heads.name, outcome), heads, deprecation)
        )
    except CallRefused as refused:
        raise _problem(refused, heads) from None
    headers = dict(result.reply.headers)
    if result.repeated:
        headers["idempotency-replayed"] = "true"
    headers |= operation_headers.rate_headers(result.rate, result.left)
    return _response(msgspec.structs.replace(result.reply, headers=headers))


@get(
    "/v1/operations/{name:str}/runs/{run_id:str}",
    opt=requires(Permission.OPERATIONS_OWN_CALL),
    tags=["gateway"],
    summary="Get the progress of your own call's Run",
)
async def progress(request: WebRequest, name: FromPath[str], run_id: FromPath[str]) -> Response[bytes]:
    """200 after the Run has ended, 202 while it is in progress."""
    heads, person = _call_headers(request, name), caller(request).person
    app = application(request)
    operation_request = OperationRequest(
        consumer=person.id,
        roles=person.roles,
        operation=heads.name,
        key="",
        input=None,
        body=b"",
        headers={},
        correlation=heads.correlation,
        wait=heads.wait,
        scope=app.scope,
    )
    if not _RUN.fullmatch(run_id):
        raise Problem(404, "None of your calls started this Run.")
    try:
        outcome = await app.gateway.of_run(operation_request, run_id)
    except CallRefused as refused:
        raise _problem(refused, heads) from None
    outcome = _masked(app, heads.name, outcome)
    return _response(_render(outcome, heads, _deprecation(app.model, heads.name, await app.now())))


# ------------------------------------------------------------------ answers


def _masked(app: Application, name: str, outcome: Outcome) -> Outcome:
    """Return an outcome without personal data that the caller may not read. The store keeps it so for repeats."""
    if app.mask is None:
        return outcome
    if isinstance(outcome, Unanswerable):
        return msgspec.structs.replace(outcome, detail=app.mask.prose(outcome.detail))
    if not isinstance(outcome, ReadAnswer | RunEnded):
        return outcome
    return msgspec.structs.replace(outcome, output=app.mask.output(name, outcome.output))


def _render(outcome: Outcome, heads: _CallHeaders, deprecation: dict[str, str]) -> StoredReply:
    """Return an outcome as the caller sees it and as the store keeps it."""
    headers = {
        "content-type": JSON,
        operation_headers.CORRELATION: heads.correlation,
        operation_headers.VERSION: str(versions.number(heads.name)),
        **deprecation,
    }
    if heads.wait is not None:
        headers["preference-applied"] = f"wait={min(heads.wait, MAX_WAIT_SECONDS):g}"
    match outcome:
        case ReadAnswer(output=output):
            return StoredReply(status=200, headers=headers, body=msgspec.json.encode(plain(output)))
        case RunEnded():
            headers["content-location"] = _address(heads, outcome.run)
            run_progress = RunProgress(
                run=outcome.run, status=outcome.status, state=outcome.state, output=plain(outcome.output)
            )
            return StoredReply(status=200, headers=headers, body=msgspec.json.encode(run_progress))
        case Pending():
            headers |= {"location": _address(heads, outcome.run), "retry-after": str(RETRY_AFTER_SECONDS)}
            run_progress = RunProgress(
                run=outcome.run, status=outcome.status, state=outcome.state, waiting_for=outcome.waiting_for
            )
            return StoredReply(status=202, headers=headers, body=msgspec.json.encode(run_progress))
        case Unanswerable():
            status, kind, title, _ = REFUSALS[outcome.kind]
            more = {"run": outcome.run} if outcome.run else {}
            problem = Problem(status, outcome.detail, kind=kind, title=title, more=more)
            headers["content-type"] = PROBLEM_JSON
            return StoredReply(status=status, headers=headers, body=problem.body(heads.path))


def _address(heads: _CallHeaders, run: str) -> str:
    return f"/v1/operations/{quote(heads.name)}/runs/{quote(run)}"


def _deprecation(model: Model, name: str, now: datetime) -> dict[str, str]:
    """Return the deprecation headers of the requested version."""
    operation = model.operations.get(name)
    return {} if operation is None else lifecycle_headers(operation, now)


def _problem(refused: CallRefused, heads: _CallHeaders) -> Problem:
    status, kind, title, _ = REFUSALS[refused.kind]
    headers = {operation_headers.CORRELATION: heads.correlation} | operation_headers.rate_headers(
        refused.rate, refused.left
    )
    if refused.after is not None:
        headers["retry-after"] = str(max(1, math.ceil(refused.after)))
    more: dict[str, Any] = {}
    if refused.faults:
        more["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in refused.faults]
    return Problem(status, str(refused), kind=kind, title=title, headers=headers, more=more)


def _response(reply: StoredReply) -> Response[bytes]:
    headers = dict(reply.headers)
    media = headers.pop("content-type", JSON)
    return Response(reply.body, status_code=reply.status, media_type=media, headers=headers)


ROUTES = [call, progress]
