"""AsyncAPI 3 document of the company's events: payloads, CloudEvents headers and producers."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts import versions
from counterfoil.model import Model, kinds
from counterfoil.model.walk import steps
from counterfoil.web.api.operations_openapi import MONEY_INPUT, clean, example

Json = dict[str, Any]
_TEXT: Json = {"type": "string", "minLength": 1}


def document(model: Model) -> Json:
    """Return the document of a model: each declared event is a channel. It names no servers."""
    names = sorted(model.events)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Events",
            "version": model.digest[:12],
            "description": "Events that the active Release declares. Send a CloudEvent to POST /v1/events, usage to "
            "POST /v1/usage. Read stored events at GET /v1/events.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(model, name) for name in names},
        "operations": {key: value for name in names for key, value in _operations(model, name)},
        "components": {
            "messages": {name: _message(model, name) for name in names},
            "schemas": {name: _payload(model, name) for name in names},
        },
        "x-release": model.digest,
    }


def producers(model: Model, name: str) -> Json:
    """Return the producers of an event: systems through mappings, workflows, or callers of the API."""
    mappings = model.producers(name)
    result: Json = {
        "systems": sorted({m.from_.system for m in mappings if m.from_ is not None}),
        "mappings": sorted(m.name for m in mappings),
        "workflows": sorted(
            workflow.name
            for workflow in model.workflows.values()
            if any(isinstance(p.step, kinds.Emit) and p.step.emit == name for p in steps(workflow))
        ),
    }
    return result | {"declared": model.events[name].produced}


def _payload(model: Model, name: str) -> Json:
    """Return the schema of an event's data. A caller may send money in each of its forms."""
    money = MONEY_INPUT if model.events[name].produced == "http" else None
    payload: Json = clean(model.schema_of_event(name), money)
    return payload


def _channel(model: Model, name: str) -> Json:
    kind = model.events[name]
    channel: Json = {
        "address": name,
        "title": name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "x-producers": producers(model, name),
    }
    if kind.doc:
        channel["description"] = kind.doc
    if kind.object:
        channel["x-object"] = kind.object
    return channel


def _operations(model: Model, name: str) -> list[tuple[str, Json]]:
    """Return the operations of an event from this application's side.

    It receives what systems and callers send, and sends what its workflows emit.
    """
    by = producers(model, name)
    operations = []
    if by["declared"] == "http" or by["systems"]:
        senders = ", ".join(by["systems"]) or "callers"
        operations.append((f"receive.{name}", _operation("receive", name, f"Sent by {senders}")))
    if by["workflows"] or by["declared"] == "counterfoil":
        emitters = ", ".join(by["workflows"]) or "the engine"
        operations.append((f"send.{name}", _operation("send", name, f"Emitted by {emitters}")))
    return operations


def _operation(action: str, name: str, summary: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
    }


def _message(model: Model, name: str) -> Json:
    kind, schema = model.events[name], model.schema_of_event(name)
    message: Json = {
        "name": name,
        "title": name,
        "contentType": "application/json",
        "headers": _headers(model, name),
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "correlationId": {"location": "$message.header#/ce-correlationid"},
        "examples": [{"name": "one", "payload": example(schema)}],
        "x-version": versions.number(name),
    }
    if kind.doc:
        message["summary"] = kind.doc
    if kind.deprecated is not None:
        message["x-deprecated"] = (
            kind.deprecated if isinstance(kind.deprecated, str) else kind.deprecated.model_dump()
        )
    return message


def _headers(model: Model, name: str) -> Json:
    """Return the headers of CloudEvents 1.0 in binary mode: attributes and supported extensions; the body is the data."""
    systems = sorted(model.systems)
    return {
        "type": "object",
        "required": [f"ce-{attribute}" for attribute in ("specversion", "id", "source", "type")],
        "properties": {
            "ce-specversion": {"const": "1.0"},
            "ce-id": _TEXT,
            "ce-source": {**_TEXT, "description": f"Starts with the name of a system: {', '.join(systems)}."},
            "ce-type": {"const": name},
            "ce-time": {"type": "string", "format": "date-time"},
            "ce-subject": _TEXT,
            "ce-sequence": {"type": "string", "description": "Orders the events of one object."},
            "ce-correlationid": _TEXT,
            "ce-legalentity": _TEXT,
        },
    }
