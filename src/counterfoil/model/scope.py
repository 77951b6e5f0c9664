"""Which names a formula may read at its place, and their types as JSON Schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from counterfoil.model import kinds
from counterfoil.model.fields import ANY, DATE, INTEGER, MONEY, STRING, TIMESTAMP, Schema, object_schema

if TYPE_CHECKING:
    from counterfoil.model.model import Model

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
"""What a workflow's own invariants read beside the names of its steps."""
_TEXTS = (
    "id", "source", "type", "subject", "sequence", "legal_entity", "region", "schema_version", "system",
    "correlation_id", "causation_id", "business_txn_id", "idempotency_key", "payload_hash", "key", "version",
)  # fmt: skip
_TIMES = ("time", "occurred_at", "effective_at", "received_at")


def event_type(model: Model, name: str | None) -> Schema:
    """An event with its envelope; its data is anything when the event is not declared."""
    known = name is not None and name in model.events
    return {
        "type": "object",
        "properties": {
            **dict.fromkeys(_TEXTS, STRING),
            **dict.fromkeys(_TIMES, TIMESTAMP),
            "data": model.schema_of_event(name) if known and name is not None else ANY,
        },
        "additionalProperties": False,
    }


def head_type(model: Model, name: str | None) -> Schema:
    """An object as we hold it: its fields, and what the store knows of every object."""
    if name is None or name not in model.objects:
        return ANY
    schema = dict(model.schema_of_object(name))
    held = {"id": STRING, "version": ANY, "effective_at": TIMESTAMP, "recorded_at": TIMESTAMP}
    schema["properties"] = held | schema["properties"]
    return schema


def operation_type(model: Model, name: str, side: str) -> Schema:
    operation = model.operations.get(name)
    if operation is None:
        return ANY
    fields = operation.input if side == "input" else operation.output
    if side == "output" and not fields:
        return ANY
    return object_schema(fields)


def fact_type(model: Model, fact: kinds.Fact) -> Schema:
    if fact.head:
        return head_type(model, fact.head)
    if fact.limit:
        return MONEY
    if fact.read:
        return operation_type(model, fact.read, "output")
    if fact.xref:
        return STRING
    return ANY


def start_types(model: Model, workflow: kinds.Workflow) -> dict[str, Schema]:
    """What every formula of a workflow reads: the run and what began it."""
    start = workflow.start
    types: dict[str, Schema] = {"run": RUN}
    if start.event:
        types["event"] = event_type(model, start.event)
    elif start.due:
        types["object"] = head_type(model, start.due.object)
    elif start.operation:
        types["input"] = operation_type(model, start.operation, "input")
        types["event"] = event_type(model, None)
    return types
