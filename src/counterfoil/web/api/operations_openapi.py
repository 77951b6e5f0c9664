"""The company's own operations as OpenAPI 3.1: what each offers, from the Release in force."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts import versions
from counterfoil.model import Model
from counterfoil.rules.versions import serve
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import PROBLEM_JSON

Json = dict[str, Any]
MONEY = {"minor": 12000, "currency": "USD"}
_HEADERS: dict[str, Json] = {
    "X-Correlation-ID": {"description": "Under which the call is followed.", "schema": {"type": "string"}},
    "Counterfoil-Version": {"description": "The version that was asked for.", "schema": {"type": "integer"}},
    "Idempotency-Replayed": {
        "description": "`true` where this is the first answer again.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "RateLimit": {
        "description": "What is left: `r` calls, all again in `t` s.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "`q` calls in `w` s.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "Location": {"description": "Where the Run is seen.", "schema": {"type": "string"}},
    "Deprecation": {"description": "RFC 9745: since when.", "schema": {"type": "string"}},
    "Sunset": {"description": "RFC 8594: until when.", "schema": {"type": "string"}},
}
_PARAMETERS: dict[str, Json] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "A text that is new for each call; the same again is given the first answer.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 202},
        "example": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
    },
    "CorrelationId": {
        "name": "X-Correlation-ID",
        "in": "header",
        "description": "Under which the call is followed; made where it is not given.",
        "schema": {"type": "string", "maxLength": 128},
    },
    "TraceParent": {
        "name": "traceparent",
        "in": "header",
        "description": "W3C trace context; its trace id is the correlation id where none is given.",
        "schema": {"type": "string"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N`: how many seconds to wait for the Run's end, at most 60.",
        "schema": {"type": "string"},
        "example": "wait=20",
    },
}
_PROBLEM: Json = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_REFUSALS = {
    "400": "The key, the version or the body cannot be read.",
    "401": "Not signed in.",
    "403": "You may not call operations, or assert this.",
    "404": "No such operation is offered to you, or the system knows no such thing.",
    "409": "The first call under this key is in flight, or what is asked for was begun before.",
    "415": "Send application/json.",
    "422": "The input does not keep its contract (`errors` has every fault with its pointer), the key belongs to another "
    "call, or the workflow does not take it.",
    "429": "More calls than the rate lets you.",
    "502": "The system refused it, or its answer does not keep the contract.",
    "503": "Not now; the same key may be used again.",
}


def offered(model: Model) -> dict[str, str]:
    """Every operation that answers to a caller, in each version, with the one that serves it."""
    found = {}
    for name in sorted(model.operations):
        served = serve(model, name)
        if served is not None:
            found[name] = served.by
    return found


def paths(model: Model) -> Json:
    """The paths of all that is offered."""
    found: Json = {}
    for name, by in offered(model).items():
        found[f"/v1/operations/{name}"] = {"post": _call(model, name, by)}
        if isinstance(model.operations[by].exposes, dict):
            found[f"/v1/operations/{name}/runs/{{run_id}}"] = {"get": _progress(name)}
    return found


def components(model: Model) -> Json:
    """Schemas, parameters, headers and problems that the paths refer to."""
    schemas: Json = {"OperationProblem": _PROBLEM}
    for name, by in offered(model).items():
        own = _schema_name(name)
        schemas[f"{own}.input"] = clean(model.schema_of_operation(name, "input"))
        schemas[f"{own}.output"] = clean(model.schema_of_operation(name, "output"))
        if isinstance(model.operations[by].exposes, dict):
            schemas[f"{own}.progress"] = _progress_schema(own)
    refusals = {f"Operation{status}": _refusal(status, about) for status, about in _REFUSALS.items()}
    return {
        "schemas": schemas,
        "parameters": _PARAMETERS,
        "headers": _HEADERS,
        "responses": refusals,
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    }


def document(model: Model) -> Json:
    """The whole description of what the company offers."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Operations",
            "version": model.digest[:12],
            "description": "What the Release in force offers to consumers.",
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths(model),
        "components": components(model),
        "security": [{"bearer": []}],
        "x-release": model.digest,
    }


# ------------------------------------------------------------------ parts


def _schema_name(name: str) -> str:
    return name.replace("/", "_")


def _refusal(status: str, about: str) -> Json:
    headers: Json = {"X-Correlation-ID": _header("X-Correlation-ID")}
    if status in ("409", "429", "503"):
        headers["Retry-After"] = _header("Retry-After")
    if status == "429":
        headers |= {name: _header(name) for name in ("RateLimit", "RateLimit-Policy")}
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/OperationProblem"}}}
    return {"description": about, "headers": headers, "content": content}


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _call(model: Model, name: str, by: str) -> Json:
    operation, serving, own = model.operations[name], model.operations[by], _schema_name(name)
    starts = isinstance(serving.exposes, dict)
    answers = [n for n in _HEADERS if n not in ("Retry-After", "Location", "Deprecation", "Sunset")]
    if operation.deprecated is not None:
        answers += ["Deprecation", "Sunset"]
    headers = {n: _header(n) for n in answers}
    output = f"{own}.progress" if starts else f"{own}.output"
    shown = example(model.schema_of_operation(name, "output"))
    ended = {"run": "run_0123456789abcdefghjkmnpqrs", "status": "done", "state": "posted", "output": shown}
    responses: Json = {"200": _answer("It is done." if starts else "The answer.", output, headers)}
    responses["200"]["content"]["application/json"]["example"] = (
        ended | {"waiting_for": None} if starts else shown
    )
    parameters = ["IdempotencyKey", "CorrelationId", "TraceParent", *(["Prefer"] if starts else [])]
    if starts:
        later = headers | {"Location": _header("Location"), "Retry-After": _header("Retry-After")}
        responses["202"] = _answer("It goes on, and may wait for a person.", output, later)
    responses |= {status: {"$ref": f"#/components/responses/Operation{status}"} for status in _REFUSALS}
    described: Json = {
        "operationId": name,
        "summary": operation.doc.split(". ")[0].rstrip(".") or name,
        "tags": [serving.system],
        "parameters": [{"$ref": f"#/components/parameters/{p}"} for p in parameters],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{own}.input"},
                    "example": example(model.schema_of_operation(name, "input")),
                }
            },
        },
        "responses": responses,
        "security": [{"bearer": []}],
        "x-permission": str(Permission.OPERATIONS_OWN_CALL),
        "x-version": versions.number(name),
        "x-exposes": "starts" if starts else "read",
    }
    if operation.doc:
        described["description"] = operation.doc
    if operation.deprecated is not None:
        described["deprecated"] = True
    return described


def _answer(about: str, schema: str, headers: Json) -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": about, "headers": headers, "content": content}


def _progress(name: str) -> Json:
    own = _schema_name(name)
    return {
        "operationId": f"{name}.progress",
        "summary": f"How the Run of one's own call of {name} stands",
        "parameters": [
            {"name": "run_id", "in": "path", "required": True, "schema": {"type": "string"}},
            {"$ref": "#/components/parameters/Prefer"},
        ],
        "responses": {
            "200": _answer("It has ended.", f"{own}.progress", {}),
            "202": _answer("It goes on.", f"{own}.progress", {"Retry-After": _header("Retry-After")}),
            "401": {"$ref": "#/components/responses/Operation401"},
            "404": {"$ref": "#/components/responses/Operation404"},
        },
        "security": [{"bearer": []}],
        "x-permission": str(Permission.OPERATIONS_OWN_CALL),
    }


def _progress_schema(own: str) -> Json:
    return {
        "type": "object",
        "required": ["run", "status", "state", "output", "waiting_for"],
        "properties": {
            "run": {"type": "string"},
            "status": {"enum": ["ready", "waiting", "done", "undone", "closed"]},
            "state": {"type": "string", "description": "The business state that the workflow names."},
            "output": {
                "oneOf": [{"$ref": f"#/components/schemas/{own}.output"}, {"type": "null"}],
                "description": "null until it came to its end, and where it was stopped, undone or closed.",
            },
            "waiting_for": {"enum": ["approval", "system", "event", "work", None]},
        },
    }


def clean(schema: Any) -> Any:
    """A schema without what only expressions read of it."""
    if isinstance(schema, dict):
        return {key: clean(value) for key, value in schema.items() if key != "x-type"}
    return [clean(value) for value in schema] if isinstance(schema, list) else schema


def example(schema: Any) -> Any:
    """A value that keeps a schema of our own making."""
    match schema.get("x-type"):
        case "money":
            return dict(MONEY)
        case "date":
            return "2026-03-31"
        case "timestamp":
            return "2026-03-31T12:00:00Z"
        case "decimal":
            return 1.5
        case "duration":
            return "P1D"
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            inner = schema.get("properties", {})
            return {name: example(part) for name, part in inner.items() if name in required}
        case "array":
            return [example(schema.get("items", {}))]
        case "integer":
            return 1
        case "boolean":
            return True
        case "string":
            return "text"
    return "anything"


def merged(base: Json, model: Model) -> Json:
    """The server's own description with the company's operations in it."""
    own = components(model)
    parts = {**base.get("components", {})}
    for kind, found in own.items():
        parts[kind] = {**parts.get(kind, {}), **found}
    return {**base, "paths": {**base["paths"], **paths(model)}, "components": parts}
