"""The company's events as AsyncAPI 3: their payloads, their CloudEvents heads, and who produces them."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts import versions
from counterfoil.model import Model, kinds
from counterfoil.model.walk import steps
from counterfoil.web.api.operations_openapi import clean, example

Json = dict[str, Any]
_TEXT: Json = {"type": "string", "minLength": 1}


def document(model: Model) -> Json:
    """Every declared event as a channel, from the Release in force. Without servers: where it is served, it is."""
    names = sorted(model.events)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Events",
            "version": model.digest[:12],
            "description": "The facts that the Release in force declares. A sender hands in a CloudEvent at "
            "POST /v1/events (usage at POST /v1/usage); what there is can be read at GET /v1/events.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(model, name) for name in names},
        "operations": {key: found for name in names for key, found in _operations(model, name)},
        "components": {
            "messages": {name: _message(model, name) for name in names},
            "schemas": {name: clean(model.schema_of_event(name)) for name in names},
        },
        "x-release": model.digest,
    }


def producers(model: Model, name: str) -> Json:
    """Who brings an event about: systems through mappings, workflows, or whoever hands it in."""
    mappings = model.producers(name)
    found: Json = {
        "systems": sorted({m.from_.system for m in mappings if m.from_ is not None}),
        "mappings": sorted(m.name for m in mappings),
        "workflows": sorted(
            workflow.name
            for workflow in model.workflows.values()
            if any(isinstance(p.step, kinds.Emit) and p.step.emit == name for p in steps(workflow))
        ),
    }
    return found | {"declared": model.events[name].produced}


def _channel(model: Model, name: str) -> Json:
    kind = model.events[name]
    found: Json = {
        "address": name,
        "title": name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "x-producers": producers(model, name),
    }
    if kind.doc:
        found["description"] = kind.doc
    if kind.object:
        found["x-object"] = kind.object
    return found


def _operations(model: Model, name: str) -> list[tuple[str, Json]]:
    """AsyncAPI speaks from this application's side: it receives what systems and callers tell, and sends what its
    workflows say."""
    told = producers(model, name)
    found = []
    if told["declared"] == "http" or told["systems"]:
        found.append(
            (f"receive.{name}", _operation("receive", name, ", ".join(told["systems"]) or "callers"))
        )
    if told["workflows"] or told["declared"] == "counterfoil":
        by = ", ".join(told["workflows"]) or "the engine"
        found.append((f"send.{name}", _operation("send", name, by)))
    return found


def _operation(action: str, name: str, by: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": f"{'Told' if action == 'receive' else 'Said'} by {by}",
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
    }


def _message(model: Model, name: str) -> Json:
    kind, schema = model.events[name], model.schema_of_event(name)
    found: Json = {
        "name": name,
        "title": name,
        "contentType": "application/json",
        "headers": _heads(model, name),
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "correlationId": {"location": "$message.header#/ce-correlationid"},
        "examples": [{"name": "one", "payload": example(schema)}],
        "x-version": versions.number(name),
    }
    if kind.doc:
        found["summary"] = kind.doc
    if kind.deprecated is not None:
        found["x-deprecated"] = (
            kind.deprecated if isinstance(kind.deprecated, str) else kind.deprecated.model_dump()
        )
    return found


def _heads(model: Model, name: str) -> Json:
    """CloudEvents 1.0 in binary mode: attributes and the extensions that are read stand in the head, data is the body."""
    systems = sorted(model.systems)
    return {
        "type": "object",
        "required": [f"ce-{attribute}" for attribute in ("specversion", "id", "source", "type")],
        "properties": {
            "ce-specversion": {"const": "1.0"},
            "ce-id": _TEXT,
            "ce-source": {**_TEXT, "description": f"Begins with the name of a system: {', '.join(systems)}."},
            "ce-type": {"const": name},
            "ce-time": {"type": "string", "format": "date-time"},
            "ce-subject": _TEXT,
            "ce-sequence": {"type": "string", "description": "Orders the facts of one object."},
            "ce-correlationid": _TEXT,
            "ce-legalentity": _TEXT,
        },
    }
