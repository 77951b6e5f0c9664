"""OpenAPI 3.1 document of the company's exposed operations, derived from the active Release."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts import versions
from counterfoil.core.money_json import AMOUNT_PATTERN
from counterfoil.core.personal_texts import MASKED
from counterfoil.model import Model
from counterfoil.model.personal import Marks
from counterfoil.rules.versions import serve
from counterfoil.web.api.operations import REFUSALS
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import PROBLEM_JSON

Json = dict[str, Any]
MONEY = {"minor": 12000, "currency": "USD"}
MONEY_INPUT: Json = {
    "type": "object",
    "description": "Money: `amount` in major units as text, or whole `minor` units, or both if they agree.",
    "properties": {
        "amount": {"type": "string", "pattern": AMOUNT_PATTERN},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "minor": {"type": "integer"},
    },
    "required": ["currency"],
    "anyOf": [{"required": ["minor"]}, {"required": ["amount"]}],
    "additionalProperties": False,
    "examples": [{"amount": "120.00", "currency": "USD", "minor": 12000}, MONEY],
}
"""Every form of money that a caller may send; the API's own form is among them."""
_HEADERS: dict[str, Json] = {
    "X-Correlation-ID": {
        "description": "Identifies the call in logs and traces.",
        "schema": {"type": "string"},
    },
    "Counterfoil-Version": {"description": "The requested version.", "schema": {"type": "integer"}},
    "Idempotency-Replayed": {
        "description": "`true` if this is the stored first response.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "RateLimit": {
        "description": "Remaining quota: `r` calls; the full quota returns in `t` s.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "Quota: `q` calls in `w` s.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait before the next request.", "schema": {"type": "integer"}},
    "Location": {"description": "Address of the Run's progress.", "schema": {"type": "string"}},
    "Deprecation": {"description": "Date of deprecation (RFC 9745).", "schema": {"type": "string"}},
    "Sunset": {"description": "Date of sunset (RFC 8594).", "schema": {"type": "string"}},
}
_PARAMETERS: dict[str, Json] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "A new value for each call. A repeated key returns the first response.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 202},
        "example": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
    },
    "CorrelationId": {
        "name": "X-Correlation-ID",
        "in": "header",
        "description": "Identifies the call in logs and traces; generated if absent.",
        "schema": {"type": "string", "maxLength": 128},
    },
    "TraceParent": {
        "name": "traceparent",
        "in": "header",
        "description": "W3C trace context. Its trace id is the correlation id if X-Correlation-ID is absent.",
        "schema": {"type": "string"},
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N`: seconds to wait for the Run's end, at most 60.",
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
        "run": {"type": "string", "description": "Id of the Run that the call started."},
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
_TEXT_LIMITS = frozenset(["enum", "const", "pattern", "format", "maxLength"])
"""Keywords of a text that the word for a masked one may not fit."""
_EARLY_REFUSALS = {
    400: "the idempotency key, version or body is not readable",
    401: "the token is missing or invalid",
    403: "you lack the permission to call operations",
    415: "send application/json",
    503: "temporarily unavailable. Retry with the same key",
}
"""Causes of statuses that the server answers before the gateway sees the call."""


def _refusals() -> dict[str, str]:
    """Return the causes of each refusing status as one sentence."""
    causes = {status: [cause] for status, cause in _EARLY_REFUSALS.items()}
    for refusal in REFUSALS.values():
        causes.setdefault(refusal.status, []).append(refusal.cause)
    return {str(status): _sentence(causes[status]) for status in sorted(causes)}


def _sentence(clauses: list[str]) -> str:
    *first, last = clauses
    text = ", ".join(first) + (", or " if first else "") + last
    return f"{text[0].upper()}{text[1:]}."


def exposed(model: Model) -> dict[str, str]:
    """Return each exposed operation in each version, with the operation that serves it."""
    serving = {}
    for name in sorted(model.operations):
        served = serve(model, name)
        if served is not None:
            serving[name] = served.by
    return serving


def paths(model: Model) -> Json:
    """Return the paths of all exposed operations."""
    paths_: Json = {}
    for name, by in exposed(model).items():
        paths_[f"/v1/operations/{name}"] = {"post": _call(model, name, by)}
        if isinstance(model.operations[by].exposes, dict):
            paths_[f"/v1/operations/{name}/runs/{{run_id}}"] = {"get": _progress(name)}
    return paths_


def components(model: Model) -> Json:
    """Return the schemas, parameters, headers and responses that the paths refer to."""
    schemas: Json = {"OperationProblem": _PROBLEM}
    for name, by in exposed(model).items():
        own = _schema_name(name)
        schemas[f"{own}.input"] = clean(model.schema_of_operation(name, "input"), MONEY_INPUT)
        output = maskable(model.schema_of_operation(name, "output"), model.personal.outputs[name].marks)
        schemas[f"{own}.output"] = clean(output)
        if isinstance(model.operations[by].exposes, dict):
            schemas[f"{own}.progress"] = _progress_schema(own)
    refusals = {f"Operation{status}": _refusal(status, text) for status, text in _refusals().items()}
    return {
        "schemas": schemas,
        "parameters": _PARAMETERS,
        "headers": _HEADERS,
        "responses": refusals,
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    }


def document(model: Model) -> Json:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Operations",
            "version": model.digest[:12],
            "description": "Operations that the active Release exposes to consumers.",
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


def _refusal(status: str, description: str) -> Json:
    headers: Json = {"X-Correlation-ID": _header("X-Correlation-ID")}
    if status in ("409", "429", "503"):
        headers["Retry-After"] = _header("Retry-After")
    if status == "429":
        headers |= {name: _header(name) for name in ("RateLimit", "RateLimit-Policy")}
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/OperationProblem"}}}
    return {"description": description, "headers": headers, "content": content}


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _call(model: Model, name: str, by: str) -> Json:
    operation, serving, own = model.operations[name], model.operations[by], _schema_name(name)
    starts = isinstance(serving.exposes, dict)
    names = [n for n in _HEADERS if n not in ("Retry-After", "Location", "Deprecation", "Sunset")]
    if operation.deprecated is not None:
        names += ["Deprecation", "Sunset"]
    headers = {n: _header(n) for n in names}
    output = f"{own}.progress" if starts else f"{own}.output"
    sample = example(model.schema_of_operation(name, "output"))
    ended = {"run": "run_0123456789abcdefghjkmnpqrs", "status": "done", "state": "posted", "output": sample}
    responses: Json = {"200": _response("The Run has ended." if starts else "The answer.", output, headers)}
    responses["200"]["content"]["application/json"]["example"] = (
        ended | {"waiting_for": None} if starts else sample
    )
    parameters = ["IdempotencyKey", "CorrelationId", "TraceParent", *(["Prefer"] if starts else [])]
    if starts:
        later = headers | {"Location": _header("Location"), "Retry-After": _header("Retry-After")}
        responses["202"] = _response("The Run is in progress; it may wait for a person.", output, later)
    responses |= {status: {"$ref": f"#/components/responses/Operation{status}"} for status in _refusals()}
    operation_object: Json = {
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
        operation_object["description"] = operation.doc
    if operation.deprecated is not None:
        operation_object["deprecated"] = True
    return operation_object


def _response(description: str, schema: str, headers: Json) -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "headers": headers, "content": content}


def _progress(name: str) -> Json:
    own = _schema_name(name)
    return {
        "operationId": f"{name}.progress",
        "summary": f"Get the progress of your own call's Run of {name}",
        "parameters": [
            {"name": "run_id", "in": "path", "required": True, "schema": {"type": "string"}},
            {"$ref": "#/components/parameters/Prefer"},
        ],
        "responses": {
            "200": _response("The Run has ended.", f"{own}.progress", {}),
            "202": _response(
                "The Run is in progress.", f"{own}.progress", {"Retry-After": _header("Retry-After")}
            ),
            **{s: {"$ref": f"#/components/responses/Operation{s}"} for s in ("401", "403", "404", "503")},
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
                "description": "null until the Run has finished, and if it was stopped, undone or closed.",
            },
            "waiting_for": {"enum": ["approval", "system", "event", "work", None]},
        },
    }


def maskable(schema: Json, marks: Marks) -> Json:
    """Return the schema of a value whose marked fields may be masked for the caller."""
    if schema.get("type") == "array":
        return {**schema, "items": maskable(schema.get("items", {}), marks)}
    parts = dict(schema.get("properties", {}))
    for name in marks.keys() & parts.keys():
        below = marks[name]
        parts[name] = _hideable(parts[name]) if below is None else maskable(parts[name], below)
    return {**schema, "properties": parts} if parts else schema


def _hideable(schema: Json) -> Json:
    """Return the schema of a personal value: the word for a text fits a plain text, and another value may be null."""
    kind = None if "x-type" in schema else schema.get("type")
    if kind == "string" and not schema.keys() & _TEXT_LIMITS:
        return schema
    if kind == "array":
        return {**schema, "items": _hideable(schema.get("items", {}))}
    if kind == "object" and schema.get("properties"):
        return {
            **schema,
            "properties": {name: _hideable(part) for name, part in schema["properties"].items()},
        }
    return {"anyOf": [schema, {"enum": [MASKED, None]}], "description": "Masked without `pii:OBJECT:read`."}


def clean(schema: Any, money: Json | None = None) -> Any:
    """Return a schema without the keywords that only expressions read. `money` replaces the stored form of money."""
    if isinstance(schema, dict):
        if money is not None and schema.get("x-type") == "money":
            return {**money, **({"description": schema["description"]} if "description" in schema else {})}
        return {key: clean(value, money) for key, value in schema.items() if key != "x-type"}
    return [clean(value, money) for value in schema] if isinstance(schema, list) else schema


def example(schema: Any) -> Any:
    """Return a value that fits a schema that this product generated."""
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
    """Return the server's own document with the company's operations added."""
    own = components(model)
    parts = {**base.get("components", {})}
    for kind, entries in own.items():
        parts[kind] = {**parts.get(kind, {}), **entries}
    return {**base, "paths": {**base["paths"], **paths(model)}, "components": parts}
