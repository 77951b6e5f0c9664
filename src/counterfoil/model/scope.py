"""Names that a formula may read at its place, with their types as JSON Schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from counterfoil.model import kinds
from counterfoil.model.documents import Documents
from counterfoil.model.entity_names import ENTITY
from counterfoil.model.fields import (
    ANY,
    BOOLEAN,
    DATE,
    INTEGER,
    MONEY,
    STRING,
    TIMESTAMP,
    Schema,
    closed_object,
    list_of,
    object_schema,
)

Types: TypeAlias = Mapping[str, Schema]

_RUN = {
    **dict.fromkeys(("id", "workflow", "key", "state", "legal_entity"), STRING),
    "generation": INTEGER,
    "started": TIMESTAMP,
}
RUN = closed_object(_RUN)
DATES = closed_object(dict.fromkeys(("document", "posting", "revenue"), DATE))
_EFFECT = dict.fromkeys(("step", "item", "operation", "system", "state"), STRING)
_APPROVAL = {"step": STRING, "state": STRING, "amount": ANY, "requester": STRING}
_MONEY_BY_LEG: Schema = {"type": "object"}
PROVEN: Mapping[str, Schema] = {
    "run": closed_object({**_RUN, "status": STRING, "direction": STRING}),
    "effects": list_of(
        closed_object({**_EFFECT, "done": INTEGER, "undo": BOOLEAN, "input": ANY, "approvals": INTEGER})
    ),
    "foils": list_of(closed_object({"rule": STRING, "key": STRING, "state": STRING, "legs": _MONEY_BY_LEG})),
    "cases": list_of(closed_object({"reason": STRING, "owner": STRING, "path": STRING})),
    "approvals": list_of(closed_object(_APPROVAL)),
}
"""Names that the invariants of a workflow read, in addition to the names of its steps."""
_TEXTS = (
    "id", "source", "type", "subject", "sequence", "legal_entity", "region", "schema_version", "system",
    "correlation_id", "causation_id", "business_txn_id", "idempotency_key", "payload_hash", "key", "version",
)  # fmt: skip
_TIMES = ("time", "occurred_at", "effective_at", "received_at")


def event_type(documents: Documents, name: str | None) -> Schema:
    """Return the type of an event with its envelope; the data of an undeclared event may be anything."""
    data = documents.schema_of_event(name) if name is not None and name in documents.events else ANY
    return closed_object(
        {
            **dict.fromkeys(_TEXTS, STRING),
            **dict.fromkeys(_TIMES, TIMESTAMP),
            "senders": list_of(STRING),
            "data": data,
        }
    )


def head_type(documents: Documents, name: str | None) -> Schema:
    """Return the type of an object's head: its fields, and the columns that the store adds."""
    if name is None or name not in documents.objects:
        return ANY
    schema = dict(documents.schema_of_object(name))
    columns = {"id": STRING, "version": ANY, "effective_at": TIMESTAMP, "recorded_at": TIMESTAMP}
    columns["legal_entity"] = STRING
    schema["properties"] = columns | schema["properties"]
    return schema


def entity_type(documents: Documents) -> Schema:
    """Return the type of `entity`: a declared legal entity, else the head of the object `legal_entity`."""
    return ENTITY if documents.legal_entities else head_type(documents, "legal_entity")


def operation_type(documents: Documents, name: str, side: str) -> Schema:
    operation = documents.operations.get(name)
    if operation is None or (side == "output" and not operation.output):
        return ANY
    return object_schema(operation.input if side == "input" else operation.output)


def fact_type(documents: Documents, fact: kinds.Fact) -> Schema:
    if fact.head:
        return head_type(documents, fact.head)
    if fact.limit:
        return MONEY
    if fact.read:
        return operation_type(documents, fact.read, "output")
    return STRING if fact.xref else ANY


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
    if documents.legal_entities:
        types["entity"] = ENTITY
    return types
