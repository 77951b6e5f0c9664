"""Names that a formula may read at its place, with their types as JSON Schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from counterfoil.model import kinds
from counterfoil.model.documents import Documents
from counterfoil.model.fields import ANY, DATE, INTEGER, MONEY, STRING, TIMESTAMP, Schema, object_schema

Types: TypeAlias = Mapping[str, Schema]

RUN: Schema = {
    "type": "object",
    "properties": {
        "id": STRING,
        "workflow": STRING,
        "key": STRING,
        "generation": INTEGER,
        "state": STRING,
        "started": TIMESTAMP,
    },
    "additionalProperties": False,
}
DATES: Schema = {
    "type": "object",
    "properties": {"document": DATE, "posting": DATE, "revenue": DATE},
    "additionalProperties": False,
}
_MONEY_BY_LEG: Schema = {"type": "object"}
PROVEN: Mapping[str, Schema] = {
    "run": RUN | {"properties": {**RUN["properties"], "status": STRING, "direction": STRING}},
    "effects": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "step": STRING, "item": STRING, "operation": STRING, "system": STRING, "state": STRING,
                "done": INTEGER, "undo": {"type": "boolean"}, "input": ANY, "approvals": INTEGER,
            },
            "additionalProperties": False,
        },
    },
    "foils": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"rule": STRING, "key": STRING, "state": STRING, "legs": _MONEY_BY_LEG},
            "additionalProperties": False,
        },
    },
    "cases": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"reason": STRING, "owner": STRING, "path": STRING},
            "additionalProperties": False,
        },
    },
    "approvals": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"step": STRING, "state": STRING, "amount": ANY, "requester": STRING},
            "additionalProperties": False,
        },
    },
}  # fmt: skip
"""Names that the invariants of a workflow read, in addition to the names of its steps."""
_TEXTS = (
    "id", "source", "type", "subject", "sequence", "legal_entity", "region", "schema_version", "system",
    "correlation_id", "causation_id", "business_txn_id", "idempotency_key", "payload_hash", "key", "version",
)  # fmt: skip
_TIMES = ("time", "occurred_at", "effective_at", "received_at")


def event_type(documents: Documents, name: str | None) -> Schema:
    """Return the type of an event with its envelope; the data of an undeclared event may be anything."""
    declared = name is not None and name in documents.events
    return {
        "type": "object",
        "properties": {
            **dict.fromkeys(_TEXTS, STRING),
            **dict.fromkeys(_TIMES, TIMESTAMP),
            "data": documents.schema_of_event(name) if declared and name is not None else ANY,
        },
        "additionalProperties": False,
    }


def head_type(documents: Documents, name: str | None) -> Schema:
    """Return the type of an object's head: its fields, and the columns that the store adds."""
    if name is None or name not in documents.objects:
        return ANY
    schema = dict(documents.schema_of_object(name))
    columns = {"id": STRING, "version": ANY, "effective_at": TIMESTAMP, "recorded_at": TIMESTAMP}
    schema["properties"] = columns | schema["properties"]
    return schema


def operation_type(documents: Documents, name: str, side: str) -> Schema:
    operation = documents.operations.get(name)
    if operation is None:
        return ANY
    fields = operation.input if side == "input" else operation.output
    if side == "output" and not fields:
        return ANY
    return object_schema(fields)


def fact_type(documents: Documents, fact: kinds.Fact) -> Schema:
    if fact.head:
        return head_type(documents, fact.head)
    if fact.limit:
        return MONEY
    if fact.read:
        return operation_type(documents, fact.read, "output")
    if fact.xref:
        return STRING
    return ANY


def start_types(documents: Documents, workflow: kinds.Workflow) -> dict[str, Schema]:
    """Return the types that every formula of a workflow may read: the Run and its start."""
    start = workflow.start
    types: dict[str, Schema] = {"run": RUN}
    if start.event:
        types["event"] = event_type(documents, start.event)
    elif start.due:
        types["object"] = head_type(documents, start.due.object)
    elif start.operation:
        types["input"] = operation_type(documents, start.operation, "input")
        types["event"] = event_type(documents, None)
    return types
